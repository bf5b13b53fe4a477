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
from sipcli.sip.flow import Flow, Transport
from sipcli.sip.syntax.framing import KEEPALIVE, PONG
from sipcli.sip.syntax.message import MAX_MESSAGE
from sipcli.ua.net.stream import StreamConnection

__all__ = ["WebSocketConnection"]

SUBPROTOCOL = "sip"


class WebSocketConnection(StreamConnection):
    """A connection of ours; others do not come to us this way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, home: Any, **more: Any) -> None:
        super().__init__(loop, home, **more)
        self._frames = WSConnection(ConnectionType.CLIENT)
        self._parts: list[bytes] = []
        self._size = 0
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
        flow = self.flow
        if flow is None or self.parting:
            return
        batch: list[tuple[bytes, Flow]] = []
        pongs = bytearray()  # written at once, as a stream's are
        try:
            self._frames.receive_data(data)
            for event in self._frames.events():
                if isinstance(event, Ping):
                    pongs += self._frames.send(event.response())
                elif (whole := self._take(event)) is not None:
                    batch.append((whole, flow))
        except ProtocolError as error:
            self.abort(f"lost: the other side breaks the WebSocket: {error}")
        if pongs:
            self.write(bytes(pongs))
        self.hand_up(batch)

    def _take(self, event: Event) -> bytes | None:
        """What *event* completes: a message, or a pong."""
        match event:
            case TextMessage() | BytesMessage():
                return self._gather(event)
            case Pong():
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
        self._parts.append(part)
        if not event.message_finished:
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
