"""The other end of a call, on the same loop: SIP by hand, over UDP or TCP, and a socket that counts what is heard."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sipcli.sip.flow import Transport
from sipcli.sip.syntax.uri import SipUri
from tests.support.clock import live, settle
from tests.support.peer import Caller, Heard, response

__all__ = ["FarEnd", "far_end"]


class _Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.packets.append(data)


class FarEnd(asyncio.DatagramProtocol):
    """``heard`` is what came, ``rtp`` the packets at the port of its SDP; :meth:`comes` waits for a message."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.heard: list[Heard] = []
        self.ear = _Ear()
        self.place: Any = None  # where the last message came from
        self.caller: Caller
        self._taken = 0
        self._stream: Any = None
        self._buffer = b""

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._ears, _ = await loop.create_datagram_endpoint(lambda: self.ear, local_addr=("127.0.0.1", 0))
        if self.transport == "udp":
            self._socket, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
            self.port: int = self._socket.get_extra_info("sockname")[1]
        else:
            self._server = await loop.create_server(lambda: _Wire(self), "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._ears.close()
        if self.transport == "udp":
            self._socket.close()
        else:
            self.break_off()
            self._server.close()
            await self._server.wait_closed()
        await settle()

    def break_off(self) -> None:
        """The connection is lost, without a word."""
        if self._stream is not None:
            self._stream.abort()

    @property
    def uri(self) -> SipUri:
        return SipUri.parse(f"sip:bob@127.0.0.1:{self.port};transport={self.transport}")

    @property
    def sdp(self) -> bytes:
        """PCMU, where the ear is."""
        port = self._ears.get_extra_info("sockname")[1]
        lines = ("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0", f"m=audio {port} RTP/AVP 0")
        return "\r\n".join((*lines, "")).encode()

    @property
    def rtp(self) -> int:
        return len(self.ear.packets)

    # --- SIP --------------------------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.place = addr
        if data.strip():
            self.heard.append(Heard(data))

    def stream_received(self, wire: Any, data: bytes) -> None:
        self._stream = wire
        self._buffer += data
        while True:
            self._buffer = self._buffer.lstrip(b"\r\n")
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            length = re.search(rb"(?im)^Content-Length: *(\d+)", head)
            if not found or length is None or len(rest) < int(length[1]):
                return
            self.heard.append(Heard(head + found + rest[: int(length[1])]))
            self._buffer = rest[int(length[1]) :]

    def say(self, data: bytes) -> None:
        if self.transport == "udp":
            self._socket.sendto(data, self.place)
        else:
            self._stream.write(data)

    def respond(self, request: Heard, status: int, *lines: str, body: bytes = b"") -> None:
        contact = f"Contact: <{self.uri}>"
        self.say(response(request, status, "So It Is", contact, *lines, body=body))

    async def comes(self, what: str) -> Heard:
        """The next message that is *what*, a method or a status; those before it are passed over.  Time goes by."""

        async def comes() -> Heard:
            while True:
                while self._taken < len(self.heard):
                    found = self.heard[self._taken]
                    self._taken += 1
                    if (str(found.status) if found.is_response else found.method) == what:
                        return found
                await asyncio.sleep(0.01)

        return await live(comes())

    async def answers(self, *lines: str, body: bytes | None = None) -> Heard:
        """It is called, and answers; the INVITE."""
        invite = await self.comes("INVITE")
        self.respond(invite, 200, *lines, body=self.sdp if body is None else body)
        await self.comes("ACK")
        self.called(invite)
        return invite

    def called(self, invite: Heard) -> None:
        """From now on ``caller`` writes requests in the dialog of *invite*."""
        self.caller = Caller.called(invite, transport=self.transport.upper(), contact=str(self.uri))
        self.caller.address = f"127.0.0.1:{self.port}"


class _Wire(asyncio.Protocol):
    """One connection of a far end that listens on TCP."""

    def __init__(self, end: FarEnd) -> None:
        self._end = end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._end.stream_received(self._transport, data)


@asynccontextmanager
async def far_end(transport: Transport = "udp") -> AsyncIterator[FarEnd]:
    end = FarEnd(transport)
    await end.open()
    try:
        yield end
    finally:
        await end.close()
