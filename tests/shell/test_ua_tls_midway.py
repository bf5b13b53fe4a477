"""The man in the middle who waits for the 401: the retry goes to whoever proves the name again, or nowhere (T19)."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sipcli.cli.exits import ExitStatus, status_of
from sipcli.config import AccountConfig
from sipcli.credentials import CredentialRequest, Credentials
from sipcli.errors import TlsError
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.agent import UserAgent
from sipcli.ua.brokered import BrokeredAccount
from tests.support.authkit import password
from tests.support.brokerkit import FakeProvider
from tests.support.certs import certificates
from tests.support.pair import Heard, response
from tests.support.real import require
from tests.support.softphone import eventually
from tests.support.wires import StreamServer, tls_server

ASKS = 'WWW-Authenticate: Digest realm="sip.test", nonce="n1", qop="auth", algorithm=SHA-256'


class Turncoat:
    """A registrar on TLS: each connection shows the next certificate; the first asks, and breaks."""

    def __init__(self, server: StreamServer) -> None:
        self.server = server
        self.first = b""

    @classmethod
    async def start(cls, *kinds: str) -> Turncoat:
        faces = iter([tls_server(kind) for kind in kinds])
        door = tls_server("good")
        server = await StreamServer.start(door)

        def show(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = next(faces)

        door.sni_callback = show
        made = cls(server)
        server.on_data = made._answer
        return made

    def _answer(self) -> None:
        if not self.server.got.endswith(b"\r\n\r\n"):
            return
        request = Heard(self.server.got[len(self.first) :])
        if not self.first:
            self.first = self.server.got
            self.server.transports[-1].write(response(request, 401, "Unauthorized", ASKS))
            self.server.transports[-1].close()
        else:
            contact = f"Contact: {request.header('contact')};expires=600"
            self.server.transports[-1].write(response(request, 200, "OK", contact))

    @property
    def later(self) -> bytes:
        """What came on the connections after the first."""
        return self.server.got[len(self.first) :]


class Slow(FakeProvider):
    """Answers when :attr:`ready` is set: until then the challenge is pending."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.ready = threading.Event()

    def _wait(self, _request: CredentialRequest) -> Credentials:
        assert self.ready.wait(20)
        return password("wonderland")


@pytest.fixture
async def provider() -> AsyncIterator[Slow]:
    made = Slow()
    yield made
    made.ready.set()


async def registered_between(provider: Slow, *kinds: str) -> tuple[Turncoat, Any]:
    """Register where the connection breaks after the 401, and the secret comes after that; (server, how it ended)."""
    require("openssl")
    server = await Turncoat.start(*kinds)
    uri = SipUri.parse(f"sip:127.0.0.1:{server.server.port};transport=tls")
    config = AccountConfig(
        name="work",
        aor=SipUri.parse("sip:alice@127.0.0.1"),
        registrar=uri,
        transport="tls",
        username="alice",
        ca_file=certificates().ca_file,
        credentials=("p",),
    )
    try:
        async with UserAgent(providers={"p": provider}.__getitem__) as agent:
            account = agent.add_account(config, BrokeredAccount)
            task = asyncio.ensure_future(account.register(keep=False))
            await eventually(lambda: bool(provider.requests) and not agent.endpoint.transports._streams)
            provider.ready.set()
            try:
                return server, await task
            except TlsError as error:
                return server, error
    finally:
        server.server.close()


async def test_T19_the_retry_goes_over_a_new_connection_to_who_proves_the_name(provider: Slow) -> None:
    """Without this one, the tests below would show no more than that nothing works."""
    server, ended = await registered_between(provider, "good", "good", "good")
    assert not isinstance(ended, TlsError)
    assert b"\r\nAuthorization: Digest " in server.later


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("wrong", "the certificate there is for other.test, not for 127.0.0.1"),
        ("selfsigned", "the certificate of 127.0.0.1 is not trusted: self-signed certificate"),
    ],
)
async def test_T19_whoever_steps_in_between_the_401_and_the_retry_gets_nothing(
    provider: Slow, kind: str, says: str
) -> None:
    """The same address, another certificate of the same authority or one of nobody: not an octet, exit status 7.

    Fails for another name without the check of RFC 5922 section 7.3 in verify, and for the
    self-signed one without CERT_REQUIRED in client_context.
    """
    server, ended = await registered_between(provider, "good", kind, kind)
    assert isinstance(ended, TlsError)
    assert says in str(ended)
    assert "\n" not in str(ended)
    assert status_of(ended) == ExitStatus.NETWORK
    assert server.later == b""
    assert b"Authorization" not in server.server.got
    assert len(provider.requests) == 1
