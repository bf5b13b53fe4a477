"""TCP and TLS connections as flows: framed, timed, identified (RFC 3261 section 18, RFC 5626 4.4.1, RFC 5922)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Final, Protocol

from sipcli.errors import NetworkError, ParseError, TlsError
from sipcli.sip.flow import Flow, Transport
from sipcli.sip.syntax.framing import KEEPALIVE, PONG, Ping, StreamFramer
from sipcli.ua.net.resolve import Candidate
from sipcli.ua.net.tls import TlsFacts, TlsSettings, error_words, handshake_error, parting_words, verify
from sipcli.ua.net.udp import Sink, address_of

__all__ = ["FIRST_OCTET", "MESSAGE_TIME", "Home", "StreamConnection", "connect"]

FIRST_OCTET: Final = 30.0
"""Seconds that a connection somebody made to us may stay silent at first (threat T23)."""
MESSAGE_TIME: Final = 10.0
"""Seconds that a message may take from its first octet to its last."""
MAX_UNSENT: Final = 1 << 20
"""Octets that wait for a peer who does not read, before we give it up."""


class Home(Protocol):
    """What a connection needs of those who keep it."""

    @property
    def sink(self) -> Sink: ...
    def new_id(self) -> int: ...
    def on_open(self, connection: StreamConnection) -> None: ...
    def on_closed(self, connection: StreamConnection) -> None: ...


class StreamConnection(asyncio.Protocol):
    """One connection.  *domain* is whom we set out for: None when somebody came to us."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        home: Home,
        *,
        domain: str | None = None,
        settings: TlsSettings | None = None,
    ) -> None:
        self._loop = loop
        self._home = home
        self._domain = domain
        self._settings = settings
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._why: str | None = None
        self.flow: Flow | None = None
        self.tls: TlsFacts | None = None
        self.refused: TlsError | None = None
        self.ended: str | None = None
        """Why it is over, once it is."""
        self.closed: asyncio.Future[None] = loop.create_future()
        self.last_sent = loop.time()

    # --- asyncio.Protocol ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        secured = transport.get_extra_info("ssl_object")
        if secured is not None and self._domain is not None and self._settings is not None:
            try:
                self.tls = verify(secured, self._domain, self._settings)
            except TlsError as error:
                # RFC 5922 section 7.3: close at once, before an octet of SIP.
                self.refused = error
                _abort(transport)
                return
        self.flow = Flow(
            self._home.new_id(),
            self.named(encrypted=secured is not None),
            address_of(transport.get_extra_info("sockname")),
            address_of(transport.get_extra_info("peername")),
            self._domain.lower() if self.tls is not None and self._domain is not None else None,
        )
        self._home.on_open(self)
        if self._domain is None:
            self._limit(FIRST_OCTET, "nothing came for a while")

    def named(self, *, encrypted: bool) -> Transport:
        """What Via calls it."""
        return "tls" if encrypted else "tcp"

    def data_received(self, data: bytes) -> None:
        flow = self.flow
        if flow is None or self.parting:
            return
        batch: list[tuple[bytes, Flow]] = []
        lost: ParseError | None = None
        pings = 0
        try:
            for frame in self._framer.feed(data):
                if frame is Ping.PING:
                    pings += 1
                else:
                    batch.append((PONG if frame is Ping.PONG else frame, flow))
        except ParseError as error:
            lost = error
        if pings:
            # At once: from Python 3.12 on asyncio adds up all that waits at every write, and pings are small (T23).
            self.write(PONG * pings)
        self._watch_message(bool(batch))
        self.hand_up(batch)
        if lost is not None:
            self._farewell(lost)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.closed.done():
            self.closed.set_result(None)
        if self.flow is None:
            return
        self.ended = self._why or (parting_words(exc) if exc is not None else "lost: the other side closed it")
        self._home.on_closed(self)
        self._home.sink.on_lost(self.flow, self.ended)

    @property
    def parting(self) -> bool:
        """We closed it, or are about to."""
        return self._why is not None

    @property
    def domain(self) -> str:
        """Whom we set out for; empty when somebody came to us."""
        return self._domain or ""

    @property
    def unfinished(self) -> bool:
        """A message has begun, and not ended."""
        return self._framer.pending

    def hand_up(self, batch: list[tuple[bytes, Flow]]) -> None:
        """Whole messages that came in together."""
        if batch:
            self._home.sink.on_octets(batch)

    # --- ours ------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        if data == KEEPALIVE:
            self._framer.pinged()
        self.write(data)

    async def usable(self, limit: float) -> None:
        """Return when messages may be sent, in *limit* seconds.  Raises NetworkError."""

    def ping(self) -> None:
        """A keep-alive where no pong was promised (RFC 5626 section 4.4): many servers never send one.

        That the ping is acknowledged is watched, by TCP (see :func:`connect`).
        """
        self.send(KEEPALIVE)

    def close(self) -> None:
        """Send what waits, then close; nothing is told to anybody."""
        self._why = self._why or "closed: by us"
        if self._transport is not None:
            self._transport.close()

    def abort(self, why: str) -> None:
        self._why = self._why or why
        if self._transport is not None:
            _abort(self._transport)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            self.last_sent = self._loop.time()
            if self._transport.get_write_buffer_size() > MAX_UNSENT:  # pongs, too: pings cost their sender little (T23)
                self.abort("lost: the other side does not read")

    def _farewell(self, error: ParseError) -> None:
        # RFC 3261 section 18.3: where the frame is lost, say 400 if that is possible, and close.
        self._why = f"lost: {error}"
        if error.partial is not None:
            self.write(error.partial.reply(error.status).to_bytes())
        self.close()

    def _watch_message(self, whole: bool) -> None:
        """A message that began must end in time; each message has its own time."""
        if not self.unfinished:
            self._limit(None, "")
        elif whole or self._deadline is None:
            self._limit(MESSAGE_TIME, "a message did not end in time")

    def _limit(self, seconds: float | None, why: str) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if seconds is not None:
            self._deadline = self._loop.call_later(seconds, self.abort, f"lost: {why}")


async def connect(
    loop: asyncio.AbstractEventLoop,
    candidate: Candidate,
    make: Callable[[], StreamConnection],
    *,
    domain: str,
    context: ssl.SSLContext | None,
    bind_host: str | None = None,
    limit: float = 5.0,
) -> StreamConnection:
    """Connect, and for TLS (*context* given) shake hands and verify.  Raises NetworkError or TlsError.

    *limit* is in seconds, for the connection and again for the handshake.
    """
    where = f"{candidate.host} port {candidate.port}"
    made = socket.socket(candidate.family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        _tune(made)
        if bind_host is not None:
            made.bind((bind_host, 0))
        async with asyncio.timeout(limit):
            await loop.sock_connect(made, (candidate.host, candidate.port))
    except TimeoutError:
        made.close()
        raise NetworkError(f"connect: no answer from {where} in {limit:g} s") from None
    except OSError as error:
        made.close()
        raise NetworkError(f"connect: no connection to {where}: {error_words(error)}") from error
    except BaseException:
        made.close()
        raise
    return await _take_over(loop, made, make, domain, context, limit)


async def _take_over(
    loop: asyncio.AbstractEventLoop,
    made: socket.socket,
    make: Callable[[], StreamConnection],
    domain: str,
    context: ssl.SSLContext | None,
    limit: float,
) -> StreamConnection:
    try:
        # Server name indication names the domain, never what SRV made of it (RFC 5922 section 7.3).
        _, connection = await loop.create_connection(
            make,
            sock=made,
            ssl=context,
            server_hostname=domain if context is not None else None,
            ssl_handshake_timeout=limit if context is not None else None,
        )
    except (ssl.SSLError, ssl.CertificateError, OSError) as error:
        made.close()
        if context is None:
            raise NetworkError(f"connect: {domain} hung up: {error_words(error)}") from error
        raise handshake_error(error, domain) from error
    except BaseException:
        made.close()
        raise
    if connection.refused is not None:
        raise connection.refused
    return connection


def _tune(made: socket.socket) -> None:
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        # A peer that vanished is noticed 30 s after the first octet it did not acknowledge, not after 15 minutes.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)


def _abort(transport: asyncio.BaseTransport) -> None:
    """Close at once, what is unsent is lost.

    The TLS transport of Python 3.11.2, which is Debian 12's, raises AttributeError when its connection is gone already.
    """
    with contextlib.suppress(AttributeError):
        transport.abort()  # type: ignore[attr-defined]
