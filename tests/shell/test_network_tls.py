"""TLS on loopback: whose certificate is believed, and what a connection then is good for (RFC 5922, RFC 5923; T19)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest

from sipcli.errors import TlsError
from sipcli.ua.net.listener import MAX_ACCEPTED, MAX_OF_ONE_HOST
from sipcli.ua.net.resolve import Candidate
from sipcli.ua.net.tls import TlsSettings, client_context, server_context
from sipcli.ua.net.transport import EndpointConfig, Transports
from tests.support.certs import certificates
from tests.support.clock import until
from tests.support.real import require
from tests.support.streams import Serve, tls, transports
from tests.support.wires import Notebook, StreamServer, options, tls_server


@pytest.fixture
def settings() -> TlsSettings:
    require("openssl")
    return TlsSettings(ca_file=certificates().ca_file)


async def opened(server: StreamServer, domain: str, settings: TlsSettings) -> tuple[Transports, Notebook, str | None]:
    """Open one TLS flow for *domain*; (transports, notebook, verified identity)."""
    notebook = Notebook()
    ways = transports(notebook, tls=settings)
    try:
        flow = await ways.open(tls(server), domain, None)
    except BaseException:
        await ways.close()
        raise
    return ways, notebook, flow.verified_identity


@pytest.mark.parametrize(
    ("kind", "domain"),
    [
        ("good", "sip.test"),
        ("good", "SIP.Test"),
        ("strict", "sip.test"),
        ("uri-only", "sip.test"),
        ("cn-only", "sip.test"),
        ("good", "127.0.0.1"),
        ("good", "localhost"),
    ],
)
async def test_the_right_certificate(serve: Serve, settings: TlsSettings, kind: str, domain: str) -> None:
    server = await serve(tls_server(kind.replace("-", "")))
    if domain == "localhost":
        with pytest.raises(TlsError):  # a sip: URI is there, so the DNS names are none of ours (RFC 5922 section 7.1)
            await opened(server, domain, settings)
        return
    ways, notebook, identity = await opened(server, domain, settings)
    assert identity == domain.lower()
    assert server.names == [None if domain[0].isdigit() else domain]
    server.transports[0].write(options())
    await until(lambda: notebook.messages)
    flow = notebook.flows[0]
    assert flow.secure
    facts = ways.tls_facts(flow)
    assert facts is not None
    assert facts.version in ("TLSv1.3", "TLSv1.2")
    assert facts.not_after.endswith("GMT")
    await ways.close()
    assert ways.tls_facts(flow) is None


@pytest.mark.parametrize(
    ("kind", "domain", "says"),
    [
        ("wrong", "sip.test", "the certificate there is for other.test, not for sip.test"),
        ("dnsuri", "sip.test", "the certificate there is for other.test, not for sip.test"),
        ("wildcard", "pbx.sip.test", "the certificate there is for *.sip.test, not for pbx.sip.test"),
        ("strict", "127.0.0.1", "the certificate there is for sip.test, not for 127.0.0.1"),
        ("strict", "test", "the certificate there is for sip.test, not for test"),
        ("expired", "sip.test", "the certificate of sip.test is not trusted: certificate has expired"),
        ("foreign", "sip.test", "the certificate of sip.test is not trusted: unable to get local issuer certificate"),
        ("selfsigned", "sip.test", "the certificate of sip.test is not trusted: self-signed certificate"),
    ],
)
async def test_C02_T19_the_wrong_certificate(
    serve: Serve, settings: TlsSettings, kind: str, domain: str, says: str
) -> None:
    server = await serve(tls_server(kind))
    with pytest.raises(TlsError) as caught:
        await opened(server, domain, settings)
    assert str(caught.value) == f"tls: {says}"
    await until(lambda: server.lost == len(server.transports))
    assert server.got == b""


@pytest.mark.parametrize("kind", ["good", "wrong", "expired"])
def test_certificates_on_uvloop(settings: TlsSettings, kind: str) -> None:
    async def run() -> str | None:
        server = await StreamServer.start(tls_server(kind))
        try:
            ways, _, identity = await opened(server, "sip.test", settings)
            await ways.close()
        finally:
            server.close()
        return identity

    with asyncio.Runner(loop_factory=pytest.importorskip("uvloop").new_event_loop) as runner:
        if kind == "good":
            assert runner.run(run()) == "sip.test"
        else:
            with pytest.raises(TlsError, match="not for sip" if kind == "wrong" else "has expired"):
                runner.run(run())


async def test_C02_a_wildcard_for_those_who_insist(serve: Serve, settings: TlsSettings) -> None:
    server = await serve(tls_server("wildcard"))
    lax = TlsSettings(ca_file=settings.ca_file, allow_wildcard=True)
    ways, _, identity = await opened(server, "pbx.sip.test", lax)
    assert identity == "pbx.sip.test"
    await ways.close()
    with pytest.raises(TlsError):
        await opened(server, "a.pbx.sip.test", lax)


async def test_the_authorities_of_the_system_do_not_know_us(serve: Serve) -> None:
    require("openssl")
    server = await serve(tls_server("good"))
    with pytest.raises(TlsError, match="is not trusted"):
        await opened(server, "sip.test", TlsSettings())


async def test_T19_nothing_older_than_tls_1_2(serve: Serve, settings: TlsSettings) -> None:
    old = tls_server("good")
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(TlsError, match=r"no handshake with sip\.test"):
        await opened(await serve(old), "sip.test", settings)


async def test_a_server_that_speaks_no_tls(serve: Serve, settings: TlsSettings) -> None:
    plain = await serve()
    plain.on_data = lambda: plain.transports[-1].write(b"SIP/2.0 400 Bad Request\r\n\r\n")
    with pytest.raises(TlsError, match=r"no handshake with sip\.test: wrong version number"):
        await opened(plain, "sip.test", settings)


async def test_a_server_that_hangs_up(serve: Serve, settings: TlsSettings) -> None:
    plain = await serve()
    plain.on_data = plain.close
    with pytest.raises(
        TlsError, match=r"no handshake with sip\.test: (the other side hung up|connection reset by peer)"
    ):
        await opened(plain, "sip.test", settings)


async def test_a_file_that_is_not_there(serve: Serve, settings: TlsSettings) -> None:
    server = await serve(tls_server("good"))
    assert settings.ca_file is not None
    missing = settings.ca_file.with_name("nobody.pem")
    with pytest.raises(TlsError, match=r"the authorities in .*nobody\.pem cannot be read: no such file"):
        await opened(server, "sip.test", TlsSettings(ca_file=missing))
    with pytest.raises(TlsError, match=r"the key .*nobody\.pem cannot be read: no such file"):
        await opened(server, "sip.test", TlsSettings(ca_file=settings.ca_file, cert_file=missing))
    assert server.transports == []


async def test_a_server_that_asks_for_ours(serve: Serve, settings: TlsSettings) -> None:
    assert settings.ca_file is not None
    ours = certificates().leaf("client")
    # TLS 1.2, so that a refusal is part of the handshake.
    server = await serve(tls_server("good", highest=ssl.TLSVersion.TLSv1_2, ask=settings.ca_file))
    with pytest.raises(TlsError, match="no handshake"):
        await opened(server, "sip.test", settings)
    known = TlsSettings(ca_file=settings.ca_file, cert_file=ours.cert_file, key_file=ours.key_file)
    ways, _, identity = await opened(server, "sip.test", known)
    assert identity == "sip.test"
    await until(lambda: server.transports)
    assert server.transports[-1].get_extra_info("peercert")["subject"] == ((("commonName", "alice"),),)
    await ways.close()


async def test_C03_T19_a_connection_is_one_domains_only(serve: Serve, settings: TlsSettings) -> None:
    """C03: the same address, another name: another handshake, and here none that ends well."""
    server = await serve(tls_server("strict"))
    ways = transports(Notebook(), tls=settings)
    first = await ways.open(tls(server), "sip.test", None)
    assert await ways.open(tls(server), "sip.test", None) is first
    with pytest.raises(TlsError, match=r"not for other\.test"):
        await ways.open(tls(server), "other.test", None)
    assert len(server.names) == 2
    await ways.close()


async def test_C03_a_connection_is_one_trusts_only(serve: Serve, settings: TlsSettings) -> None:
    """What one account trusts, another need not."""
    server = await serve(tls_server("good"))
    by_account = {"a": settings, "b": settings, "c": TlsSettings()}
    ways = Transports(
        asyncio.get_running_loop(), Notebook(), EndpointConfig(), lambda account: by_account[account or ""]
    )
    first = await ways.open(tls(server), "sip.test", "a")
    assert await ways.open(tls(server), "sip.test", "b") is first
    with pytest.raises(TlsError, match="is not trusted"):
        await ways.open(tls(server), "sip.test", "c")
    await ways.close()


async def test_both_ends_are_ours(settings: TlsSettings) -> None:
    leaf = certificates().leaf("good")
    at_home, here = Notebook(), Notebook()
    server = transports(at_home, tls=TlsSettings(cert_file=leaf.cert_file, key_file=leaf.key_file))
    client = transports(here, tls=settings)
    host, port = await server.listen("tls", "127.0.0.1", 0)
    flow = await client.open(Candidate("tls", host, port), "sip.test", None)
    client.send(flow, options())
    await until(lambda: at_home.messages)
    assert at_home.flows[0].transport == "tls"
    assert at_home.flows[0].verified_identity is None
    server.send(at_home.flows[0], options(2))
    await until(lambda: here.messages)
    await client.close()
    await until(lambda: at_home.lost)
    await server.close()


@pytest.fixture
async def hall(settings: TlsSettings) -> AsyncIterator[tuple[Transports, str, int]]:
    """What listens for TLS, and where."""
    leaf = certificates().leaf("good")
    server = transports(Notebook(), tls=TlsSettings(cert_file=leaf.cert_file, key_file=leaf.key_file))
    yield server, *await server.listen("tls", "127.0.0.1", 0)
    await server.close()


async def test_a_failed_handshake_takes_no_place(hall: tuple[Transports, str, int]) -> None:
    server, host, port = hall
    for _ in range(3):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"OPTIONS sip:h SIP/2.0\r\n\r\n")
        await reader.read()
        writer.close()
    await until(lambda: not len(server._guests))


async def test_T23_whoever_never_ends_his_handshakes_leaves_room_for_others(
    hall: tuple[Transports, str, int], settings: TlsSettings
) -> None:
    """Fails without the check in ``Guests.admit``: counted only once they were shaken, 100 of them took every place."""
    server, host, port = hall
    held = [await asyncio.open_connection(host, port) for _ in range(MAX_ACCEPTED + 20)]
    await until(lambda: len(server._guests) == MAX_OF_ONE_HOST)
    context = client_context(settings)
    other, writer = await asyncio.open_connection(
        host, port, ssl=context, server_hostname="sip.test", local_addr=("127.0.0.2", 0)
    )
    writer.write(b"\r\n\r\n")
    assert await other.readexactly(2) == b"\r\n"
    for _, each in [*held, (other, writer)]:
        each.close()
    await until(lambda: not len(server._guests))


async def test_T23_who_shakes_hands_when_we_close_is_left(hall: tuple[Transports, str, int]) -> None:
    server, host, port = hall
    reader, writer = await asyncio.open_connection(host, port)
    await until(lambda: len(server._guests) == 1)
    await server.close()
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert len(server._guests) == 0
    writer.close()


def test_T31_the_key_log_of_the_environment_is_ignored(
    settings: TlsSettings, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Threat T31: ``ssl.create_default_context`` would write our session keys there."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path_factory.mktemp("keys") / "log"))
    leaf = certificates().leaf("good")
    ours = TlsSettings(ca_file=settings.ca_file, cert_file=leaf.cert_file, key_file=leaf.key_file, allow_wildcard=True)
    for context in (client_context(ours), server_context(ours)):
        assert context.keylog_filename is None
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
