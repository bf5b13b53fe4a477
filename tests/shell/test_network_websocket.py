"""WebSocket connections to a server of the library's other half: handshake, messages, pings, refusals (RFC 7118)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)

from sipcli.errors import NetworkError
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.framing import KEEPALIVE, PONG
from sipcli.ua.net.resolve import Candidate
from sipcli.ua.net.transport import EndpointConfig, Transports
from tests.support.clock import until
from tests.support.wires import Notebook, options


class Server(asyncio.Protocol):
    """Answers a handshake with *reply*; keeps what came."""

    def __init__(self, reply: Event | None) -> None:
        self.reply = reply
        self.ws = WSConnection(ConnectionType.SERVER)
        self.got: list[Event] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.ws.receive_data(data)
        for event in self.ws.events():
            self.got.append(event)
            if isinstance(event, Request) and self.reply is not None:
                self.say(self.reply)
            elif isinstance(event, Ping):
                self.say(event.response())

    def say(self, event: Event) -> None:
        self.transport.write(self.ws.send(event))  # type: ignore[attr-defined]

    def messages(self) -> list[object]:
        return [event.data for event in self.got if isinstance(event, TextMessage | BytesMessage)]


AGREED = AcceptConnection(subprotocol="sip")


class Site:
    def __init__(self) -> None:
        self.servers: list[Server] = []
        self.notebook = Notebook()
        self.ways = Transports(
            asyncio.get_running_loop(), self.notebook, EndpointConfig(connect_limit=0.5, keepalive_stream=0)
        )

    async def open(self, reply: Event | None = AGREED) -> Flow:
        def make() -> Server:
            self.servers.append(Server(reply))
            return self.servers[-1]

        self.listener = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        port = self.listener.sockets[0].getsockname()[1]
        return await self.ways.open(Candidate("ws", "127.0.0.1", port), "127.0.0.1", None)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    yield made
    await made.ways.close()
    made.listener.close()
    for server in made.servers:
        server.transport.close()


async def test_C01_messages_go_both_ways_in_frames(site: Site) -> None:
    flow = await site.open()
    [server] = site.servers
    assert flow.transport == "ws"
    request = server.got[0]
    assert isinstance(request, Request)
    assert request.subprotocols == ["sip"]
    site.ways.send(flow, options())
    await until(server.messages)
    assert server.messages() == [options().decode()]
    server.say(TextMessage(data=options(2).decode()[:30], message_finished=False))
    server.say(TextMessage(data=options(2).decode()[30:]))
    server.say(BytesMessage(data=options(3) + b"\xff"))
    await until(lambda: len(site.notebook.messages) == 2)
    assert site.notebook.messages == [options(2), options(3) + b"\xff"]


async def test_C05_a_keep_alive_is_a_ping_of_the_frames(site: Site) -> None:
    flow = await site.open()
    [server] = site.servers
    site.ways.send(flow, KEEPALIVE)
    await until(lambda: site.notebook.messages)
    assert isinstance(server.got[-1], Ping)
    assert site.notebook.messages == [PONG]
    server.say(TextMessage(data="\r\n\r\n"))
    server.say(TextMessage(data=options().decode()))
    await until(lambda: len(site.notebook.messages) == 2)
    assert site.notebook.messages[1] == options()


async def test_a_server_that_goes(site: Site) -> None:
    flow = await site.open()
    site.servers[0].say(CloseConnection(code=1001))
    await until(lambda: site.notebook.lost)
    assert site.notebook.lost == [(flow, "lost: the WebSocket was closed, code 1001")]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (RejectConnection(status_code=404), r"connect: 127\.0\.0\.1 wants no WebSocket \(HTTP 404\)"),
        (AcceptConnection(), r"protocol: 127\.0\.0\.1 has a WebSocket, and does not speak SIP in it"),
        (None, r"connect: 127\.0\.0\.1 did not answer as a WebSocket in 0\.5 s"),
    ],
    ids=["404", "another subprotocol", "silence"],
)
async def test_who_does_not_speak_it(site: Site, reply: Event | None, says: str) -> None:
    with pytest.raises(NetworkError, match=says):
        await site.open(reply)


async def test_T23_a_message_without_end(site: Site) -> None:
    """Fails without the count in ``_gather``."""
    flow = await site.open()
    for _ in range(20):
        site.servers[0].say(TextMessage(data="x" * 8192, message_finished=False))
    await until(lambda: site.notebook.lost)
    assert site.notebook.lost == [(flow, "lost: a message of more than 65536 octets")]


async def test_without_the_library_it_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sipcli.ua.net.websocket", raising=False)
    monkeypatch.setitem(sys.modules, "wsproto", None)
    with pytest.raises(NetworkError, match=r"connect: WebSocket needs wsproto: pip install 'sipcli\[ws\]'"):
        await site.open()


async def test_what_breaks_the_frames(site: Site) -> None:
    flow = await site.open()
    site.servers[0].transport.write(b"\xff\xff\xff\xff")  # type: ignore[attr-defined]
    await until(lambda: site.notebook.lost)
    assert site.notebook.lost == [(flow, "lost: the WebSocket was closed, code 1002")]


async def test_T23_who_is_not_waited_for_any_more_is_left(site: Site) -> None:
    """Fails without the abort in ``Transports._connect``: the other family won, and this one waits for ever."""
    opening = asyncio.create_task(site.open(None))
    await until(lambda: site.servers and site.servers[0].got)
    opening.cancel()
    await until(lambda: not site.ways._streams)
    with pytest.raises(asyncio.CancelledError):
        await opening
