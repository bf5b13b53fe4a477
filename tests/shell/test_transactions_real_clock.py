"""The client tables on the loop's clock and a real socket, with T1 of 20 ms."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from sipcli.sip.engine import Engine
from sipcli.sip.events import CallEnded, RequestDone
from sipcli.sip.message import Request, parse_message
from sipcli.sip.profile import EngineConfig
from sipcli.sip.timers import TimerValues
from sipcli.sip.uri import SipUri
from sipcli.ua.endpoint import Endpoint

FAST = TimerValues(t1=0.02, t2=0.16, t4=0.05)


class Silent:
    """A UDP socket that notes when what came, and may answer."""

    def __init__(self, answer: int | None = None) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.uri = SipUri.parse(f"sip:nobody@127.0.0.1:{self.socket.getsockname()[1]}")
        self.times: list[float] = []
        self._answer = answer
        asyncio.get_running_loop().add_reader(self.socket, self._read)

    def _read(self) -> None:
        data, peer = self.socket.recvfrom(65536)
        message = parse_message(data)
        assert isinstance(message, Request)
        self.times.append(asyncio.get_running_loop().time())
        if self._answer is not None:
            self.socket.sendto(message.reply(self._answer).to_bytes(), peer)

    def intervals(self) -> list[float]:
        """In units of T1."""
        return [(after - before) / FAST.t1 for before, after in zip(self.times, self.times[1:], strict=False)]

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[Endpoint, asyncio.Queue[object]]]:
    events: asyncio.Queue[object] = asyncio.Queue()
    endpoint = Endpoint(Engine(EngineConfig(timers=FAST)), on_event=events.put_nowait)
    await endpoint.start()
    yield endpoint, events
    await endpoint.close()


async def until(events: asyncio.Queue[object], kind: type) -> object:
    async with asyncio.timeout(10):
        while not isinstance(event := await events.get(), kind):
            pass
        return event


def roughly(measured: list[float], expected: list[float]) -> bool:
    """Never early; late by what a busy machine costs, so that the very last one may fall behind Timer B or F."""
    return len(expected) - 1 <= len(measured) <= len(expected) and all(
        want * 0.9 <= got <= want * 1.5 + 5 for got, want in zip(measured, expected, strict=False)
    )


async def test_an_invite_to_a_silent_server(endpoint: tuple[Endpoint, asyncio.Queue[object]]) -> None:
    phone, events = endpoint
    server = Silent()
    try:
        with phone.turn() as engine:
            engine.invite(None, server.uri, b"v=0\r\n")
        ended = await until(events, CallEnded)
        assert isinstance(ended, CallEnded)
        assert str(ended.why).startswith("timeout:")
        assert roughly(server.intervals(), [1, 2, 4, 8, 16, 32]), server.intervals()
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(None, [1, 2, 4, 8, 8, 8, 8, 8, 8, 8]), (100, [1, 8, 8, 8, 8, 8, 8, 8])],
    ids=["silent", "says only 100"],
)
async def test_options_to_a_server_without_an_answer(
    endpoint: tuple[Endpoint, asyncio.Queue[object]], answer: int | None, expected: list[float]
) -> None:
    phone, events = endpoint
    server = Silent(answer)
    try:
        with phone.turn() as engine:
            engine.options(None, server.uri)
        done = await until(events, RequestDone)
        assert isinstance(done, RequestDone)
        assert done.response is None
        assert roughly(server.intervals(), expected), server.intervals()
    finally:
        server.close()
