"""SIP in the frames of a WebSocket (RFC 7118): a connection that begins with HTTP and needs no Content-Length.

The frames are wsproto's business (extra ``ws``); here they become messages and keep-alives.
"""

from __future__ import annotations

import asyncio
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from sipcli.errors import NetworkError
from sipcli.sip.flow import Transport
from sipcli.sip.syntax.framing import KEEPALIVE, PONG
from sipcli.sip.syntax.message import MAX_MESSAGE
from sipcli.ua.net.stream import StreamConnection

__all__ = ["WebSocketConnection"]

SUBPROTOCOL = "sip"
PIECE = 4096
"""Octets that are looked at before the next ones: whoever is given up meanwhile costs no more than these."""
SMALL = 32
"""Octets; no part of a message that anybody sends is smaller."""
MAX_SMALL, SMALL_TIME = 256, 10.0
"""Frames of less, control frames included, that may come in so many seconds."""
MAX_WORDS = 80
"""Characters of what is wrong with a handshake: it quotes the other side."""


class WebSocketConnection(StreamConnection):
    """A connection of ours; others do not come to us this way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, home: Any, **more: Any) -> None:
        super().__init__(loop, home, **more)
        self._frames = WSConnection(ConnectionType.CLIENT)
        self._parts: list[bytes] = []
        self._size = 0
        self._whole = True
        self._pinged = 0
        self._small = 0
        self._since = 0.0
        self._agreed: asyncio.Future[None] = loop.create_future()

    def named(self, *, encrypted: bool) -> Transport:
        return "wss" if encrypted else "ws"

    async def usable(self, limit: float) -> None:
        """The server agreed to speak SIP here (RFC 7118 section 4.1)."""
        try:
            async with asyncio.timeout(limit):
                await asyncio.wait((self._agreed, self.closed), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            self.abort(f"connect: {self.domain} did not answer as a WebSocket in {limit:g} s")
        if not self._agreed.done():
            raise NetworkError(self.ended or f"connect: {self.domain} did not answer as a WebSocket in {limit:g} s")

    # --- asyncio.Protocol ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.flow is not None:
            host, port = self.domain, self.flow.remote[1]
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            self.write(self._frames.send(Request(host=where, target="/", subprotocols=[SUBPROTOCOL])))

    def data_received(self, data: bytes) -> None:
        """Piece by piece: a frame costs two octets to send and thirty microseconds to read (threat T23)."""
        batch: list[bytes] = []
        pongs = bytearray()  # written at once, as a stream's are
        for at in range(0, len(data), PIECE):
            if self.flow is None or self.parting:
                break
            try:
                self._frames.receive_data(data[at : at + PIECE])
                for event in self._frames.events():
                    self._count(event)
                    if self.parting:
                        break
                    if isinstance(event, Ping):
                        pongs += self._frames.send(event.response())
                    elif (whole := self._take(event)) is not None:
                        batch.append(whole)
            except (ProtocolError, UnicodeError) as error:  # a header that is no ASCII is the latter
                self.abort(f"lost: the other side breaks the WebSocket: {str(error)[:MAX_WORDS]}")
        if pongs:
            self.write(bytes(pongs))
        if self.flow is not None:
            if not self.parting:
                self._watch_message(bool(batch))
            self.hand_up([(whole, self.flow) for whole in batch])

    @property
    def unfinished(self) -> bool:
        return not self._whole

    def _count(self, event: Event) -> None:
        """Give up whoever sends frames of next to nothing: no message is made of them, and each takes its time."""
        if isinstance(event, TextMessage | BytesMessage) and (len(event.data) >= SMALL or not event.frame_finished):
            return  # what TCP cut is no frame
        now = self._loop.time()
        if now - self._since > SMALL_TIME:
            self._since, self._small = now, 0
        self._small += 1
        if self._small > MAX_SMALL:
            self.abort(f"lost: {MAX_SMALL} empty frames in {SMALL_TIME:.0f} s")

    def _take(self, event: Event) -> bytes | None:
        """What *event* completes: a message, or the pong to a ping of ours."""
        match event:
            case TextMessage() | BytesMessage():
                return self._gather(event)
            case Pong() if self._pinged:
                self._pinged -= 1
                return PONG
            case AcceptConnection(subprotocol=subprotocol):
                if subprotocol == SUBPROTOCOL:
                    self._agreed.set_result(None)
                else:
                    self.abort(f"protocol: {self.domain} has a WebSocket, and does not speak SIP in it")
            case RejectConnection(status_code=status):
                self.abort(f"connect: {self.domain} wants no WebSocket (HTTP {status})")
            case CloseConnection(code=code):
                self.write(self._frames.send(event.response()))
                self.abort(f"lost: the WebSocket was closed, code {int(code)}")
        return None

    def _gather(self, event: Message[Any]) -> bytes | None:
        part = event.data.encode() if isinstance(event.data, str) else bytes(event.data)
        self._size += len(part)
        if self._size > MAX_MESSAGE:  # threat T23
            self.abort(f"lost: a message of more than {MAX_MESSAGE} octets")
            return None
        self._whole = event.message_finished
        if part:
            self._parts.append(part)
        if not self._whole:
            return None
        whole, self._parts, self._size = b"".join(self._parts), [], 0
        # Line ends alone are a keep-alive here, too (RFC 7118 section 6): nobody waits for them.
        return whole if whole.strip() else None

    # --- ours ------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """A message, in a text frame where it is text (RFC 7118 section 4.2); a keep-alive is a ping of the frames."""
        if not self._agreed.done() or self.parting:
            return
        if data == KEEPALIVE:
            self._pinged += 1
            self.write(self._frames.send(Ping()))
            return
        try:
            event: Event = TextMessage(data=data.decode())
        except UnicodeDecodeError:
            event = BytesMessage(data=data)
        super().send(self._frames.send(event))

    def close(self) -> None:
        if self._agreed.done() and not self.parting:
            self.write(self._frames.send(CloseConnection(code=1000)))
        super().close()
