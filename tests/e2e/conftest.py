"""Fixtures of the end-to-end tests: servers nobody here wrote, and the real command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.certs import make_ca
from tests.support.cli import Cli
from tests.support.figures import figures as figures
from tests.support.real import require
from tests.support.servers.baresip import Baresip
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.oidc import OidcProvider
from tests.support.servers.openbao import OpenBao

StartKamailio = Callable[..., Kamailio]


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``ca.pem`` and the good and bad server certificates."""
    require("openssl")
    return make_ca(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="session")
def running_kamailio(tmp_path_factory: pytest.TempPathFactory, certs: Path) -> Iterator[StartKamailio]:
    """Start a Kamailio with switches; the same arguments give the same server for the whole session."""
    require("kamailio")
    running: dict[tuple[object, ...], Kamailio] = {}

    def start(*switches: str, tls: bool = False, **options: object) -> Kamailio:
        key = (switches, tls, *sorted(options.items()))
        if key not in running:
            directory = tmp_path_factory.mktemp("kamailio")
            running[key] = Kamailio(directory, *switches, certs=certs if tls else None, **options)  # type: ignore[arg-type]
        return running[key]

    yield start
    for server in running.values():
        server.stop()


@pytest.fixture
def start_kamailio(running_kamailio: StartKamailio) -> StartKamailio:
    """A Kamailio with switches, which knows nobody of the tests before."""
    known: list[Kamailio] = []

    def start(*switches: str, tls: bool = False, **options: object) -> Kamailio:
        server = running_kamailio(*switches, tls=tls, **options)
        if server not in known:
            known.append(server)
            server.forget()
        return server

    return start


@pytest.fixture
def kamailio(start_kamailio: StartKamailio) -> Kamailio:
    """The ordinary one: MD5, UDP and TCP."""
    return start_kamailio()


@pytest.fixture
def bob(kamailio: Kamailio, tmp_path: Path) -> Iterator[Baresip]:
    """A baresip registered as bob, answering by itself and playing 880 Hz."""
    require("baresip")
    phone = Baresip(tmp_path / "baresip", kamailio.address())
    yield phone
    phone.stop()


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    require("openbao", "openssl")
    server = OpenBao(tmp_path_factory.mktemp("openbao"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def oidc_server(tmp_path_factory: pytest.TempPathFactory, certs: Path) -> Iterator[OidcProvider]:
    require("oidc")
    server = OidcProvider(tmp_path_factory.mktemp("oidc"), certs)
    yield server
    server.stop()


@pytest.fixture
def oidc(oidc_server: OidcProvider) -> OidcProvider:
    """The provider, with its settings as they were before other tests changed them."""
    oidc_server.reset()
    return oidc_server


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


def account(
    server: str, *, transport: str = "udp", user: str = "alice", credentials: str = '"secret"', more: str = ""
) -> str:
    """A configuration with one account on *server* (``host:port``)."""
    return f"""
[defaults]
account = "work"

[accounts.work]
aor = "sip:{user}@sip.test"
registrar = "sip:sip.test"
proxy = "sip:{server};transport={transport};lr"
transport = "{transport}"
credentials = [{credentials}]
{more}
"""


FILE_PROVIDER = """
[providers.secret]
type = "file"
path = "{path}"
"""
