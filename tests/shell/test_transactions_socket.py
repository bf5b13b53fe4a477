"""The client tables on the loop's timers and a real socket, with T1 of 40 ms; the clock is stepped."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import accumulate

import pytest

from sipcli.sip.engine import Engine
from sipcli.sip.events import CallEnded, RequestDone
from sipcli.sip.profile import EngineConfig
from sipcli.sip.syntax.message import Request, parse_message
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.transactions.timers import TimerValues
from sipcli.ua.net.endpoint import Endpoint
from tests.support.clock import live, stepped

FAST = TimerValues(t1=0.04, t2=0.32, t4=0.05)


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

    def elapsed(self) -> list[float]:
        """Since the first, in units of T1."""
        return [(later - self.times[0]) / FAST.t1 for later in self.times[1:]]

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()


@asynccontextmanager
async def fast_endpoint() -> AsyncIterator[tuple[Endpoint, asyncio.Queue[object]]]:
    events: asyncio.Queue[object] = asyncio.Queue()
    endpoint = Endpoint(Engine(EngineConfig(timers=FAST)), on_event=events.put_nowait)
    await endpoint.start()
    try:
        yield endpoint, events
    finally:
        await live(endpoint.close())


async def until(events: asyncio.Queue[object], kind: type) -> object:
    while not isinstance(event := await events.get(), kind):
        pass
    return event


@stepped
async def test_an_invite_to_a_silent_server() -> None:
    server = Silent()
    try:
        async with fast_endpoint() as (phone, events):
            with phone.turn() as engine:
                engine.invite(None, server.uri, b"v=0\r\n")
            ended = await live(until(events, CallEnded))
            assert isinstance(ended, CallEnded)
            assert str(ended.why).startswith("timeout:")
            assert server.elapsed() == pytest.approx(list(accumulate([1, 2, 4, 8, 16, 32])))
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(None, [1, 2, 4, 8, 8, 8, 8, 8, 8, 8]), (100, [1, 8, 8, 8, 8, 8, 8, 8])],
    ids=["silent", "says only 100"],
)
def test_options_to_a_server_without_an_answer(answer: int | None, expected: list[float]) -> None:
    @stepped
    async def run() -> None:
        server = Silent(answer)
        try:
            async with fast_endpoint() as (phone, events):
                with phone.turn() as engine:
                    engine.options(None, server.uri)
                done = await live(until(events, RequestDone))
                assert isinstance(done, RequestDone)
                assert done.response is None
                assert server.elapsed() == pytest.approx(list(accumulate(expected)))
        finally:
            server.close()

    run()
