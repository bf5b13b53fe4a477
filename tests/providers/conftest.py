"""Servers and certificates for the provider tests: one of each per worker process, started when first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sipcli_providers import _oauth_signin
from tests.support.certs import make_ca
from tests.support.loginserver import Login
from tests.support.real import require
from tests.support.servers.oidc import OidcProvider
from tests.support.servers.openbao import OpenBao


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own stores may help or disturb a test."""
    for name in (
        "VAULT_TOKEN",
        "VAULT_ADDR",
        "VAULT_NAMESPACE",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("PYTHON_KEYRING_BACKEND", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("openssl")
    return make_ca(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    require("openbao", "openssl")
    server = OpenBao(tmp_path_factory.mktemp("openbao"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def _oidc(tmp_path_factory: pytest.TempPathFactory, certs: Path) -> Iterator[OidcProvider]:
    require("oidc")
    server = OidcProvider(tmp_path_factory.mktemp("oidc"), certs)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def oidc(_oidc: OidcProvider) -> OidcProvider:
    """The provider, with its settings as they were."""
    _oidc.reset()
    return _oidc


@pytest.fixture
def login(certs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Login]:
    """A login server of the test's own, polled without pauses."""
    monkeypatch.setattr(_oauth_signin, "_INTERVAL", 0.05)
    server = Login(certs)
    with server.server:
        yield server


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    """Where the client's secret is."""
    path = tmp_path / "secret"
    path.write_text("hunter2-canary")
    path.chmod(0o600)
    return str(path)
