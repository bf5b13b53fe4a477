"""Key logs of TLS connections: what a server agreed on is what is written, where it was asked for (T31, T32)."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sipcli.config import parse_config
from sipcli.errors import TlsError
from sipcli.ua.agent import UserAgent
from sipcli.ua.net import tls as tls_module
from sipcli.ua.net.endpoint import EndpointConfig
from sipcli.ua.net.tls import TlsSettings, client_context, server_context
from tests.support.certs import certificates
from tests.support.clock import until
from tests.support.real import require
from tests.support.streams import Serve, tls, transports
from tests.support.wires import Notebook, options, tls_server

Lines = set[tuple[str, ...]]


@pytest.fixture
def key_log(tmp_path: Path) -> Path:
    require("openssl")
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    return path


def keys_in(path: Path) -> Lines:
    """(label, client random, secret) of each line that is no comment."""
    return {tuple(line.split(" ")) for line in path.read_text().splitlines() if not line.startswith("#")}


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_they_are_the_keys_that_the_server_has(
    serve: Serve, key_log: Path, tmp_path: Path, highest: ssl.TLSVersion
) -> None:
    theirs = tmp_path / "theirs"
    context = tls_server("good", highest=highest)
    context.keylog_filename = str(theirs)
    server = await serve(context)
    notebook = Notebook()
    ways = transports(notebook, tls=TlsSettings(ca_file=certificates().ca_file, key_log=key_log))
    try:
        await ways.open(tls(server), "sip.test", None)
        server.transports[0].write(options())
        await until(lambda: notebook.messages)
    finally:
        await ways.close()
    ours = keys_in(key_log)
    assert ours == keys_in(theirs)
    labels = {label for label, _, _ in ours}
    wanted = "CLIENT_RANDOM" if highest is ssl.TLSVersion.TLSv1_2 else "CLIENT_TRAFFIC_SECRET_0"
    assert wanted in labels
    for _, random, secret in ours:
        assert len(bytes.fromhex(random)) == 32
        assert len(bytes.fromhex(secret)) >= 32
    assert stat.S_IMODE(key_log.stat().st_mode) == 0o600


def settings_with(key_log: Path) -> TlsSettings:
    leaf = certificates().leaf("good")
    return TlsSettings(
        ca_file=certificates().ca_file, cert_file=leaf.cert_file, key_file=leaf.key_file, key_log=key_log
    )


def test_T31_a_key_log_that_was_asked_for_is_the_only_one(
    key_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "environment"))
    for make in (client_context, server_context):
        assert make(settings_with(key_log)).keylog_filename == str(key_log)
    assert not (tmp_path / "environment").exists()


def _not_there(path: Path) -> None:
    path.unlink()


def _linked(path: Path) -> None:
    path.rename(path.with_name("precious"))
    path.symlink_to("precious")


def _linked_twice(path: Path) -> None:
    path.with_name("precious").hardlink_to(path)


def _readable(path: Path) -> None:
    path.chmod(0o640)


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


@pytest.mark.parametrize("spoil", [_not_there, _linked, _linked_twice, _readable, _a_folder])
@pytest.mark.parametrize("make", [client_context, server_context])
def test_T32_keys_go_into_a_file_of_ours_alone(
    key_log: Path, spoil: Callable[[Path], None], make: Callable[[TlsSettings], ssl.SSLContext]
) -> None:
    """Fails without the first look of ``_log_keys``: OpenSSL makes what is not there, and follows links."""
    spoil(key_log)
    with pytest.raises(TlsError, match=r"^tls: the key log "):
        make(settings_with(key_log))
    if key_log.is_file():
        assert key_log.read_text() == ""


def test_T32_a_file_that_was_exchanged_meanwhile_gets_no_key(key_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody puts another file there before OpenSSL opens it.  Fails without the second look of ``_log_keys``."""
    look: Callable[[Path], tuple[int, int]] = tls_module._private
    looks: list[tuple[int, int]] = []

    def exchanged(path: Path) -> tuple[int, int]:
        looks.append(look(path))
        if len(looks) == 1:
            path.rename(path.with_name("the first"))
            path.touch(mode=0o600)
        return looks[-1]

    monkeypatch.setattr(tls_module, "_private", exchanged)
    with pytest.raises(TlsError, match="is not the file that it was"):
        client_context(settings_with(key_log))
    assert len(looks) == 2


async def test_an_account_with_authorities_of_its_own_logs_its_keys_too(key_log: Path) -> None:
    ca_file = certificates().ca_file
    config = parse_config(
        f"""
        [accounts.own]
        aor = "sip:alice@sip.test"
        ca_file = "{ca_file}"
        [accounts.plain]
        aor = "sip:alice@sip.test"
        """
    )
    agent = UserAgent(config, endpoint_config=EndpointConfig(tls=TlsSettings(key_log=key_log)))
    await agent.start()
    try:
        agent.account("own")
        agent.account("plain")
        assert agent._tls_for("own") == TlsSettings(ca_file=ca_file, key_log=key_log)
        for name in ("plain", "nobody", None):
            assert agent._tls_for(name) == TlsSettings(key_log=key_log)
    finally:
        await agent.close()
