"""A call in which nothing is heard: who is asked, how often, and when it is over.  Fakes on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from sipcli.sip.events import Why
from sipcli.sip.syntax.message import Response
from sipcli.ua.calls.vigil import Vigil
from tests.support.clock import advance, stepped

OK = Response.build(200, "OK", [])


class House:
    """A call that is up: what it hears, and what its core was asked."""

    id = "call1"

    def __init__(self, limit: float = 20.0) -> None:
        self._loop = asyncio.get_running_loop()
        self.account: Any = SimpleNamespace(config=SimpleNamespace(silence=limit))
        self.agent: Any = self
        self.media: Any = SimpleNamespace(listens=True, heard_at=None)
        self.core: Any = SimpleNamespace(adrift=False, over=False, requests=SimpleNamespace(send=self._ask))
        self.is_over = False
        self.asked: list[float] = []
        self.notices: list[Any] = []
        self.tell = self.notices.append
        self.answer: Callable[[Response | None, Why], None] | None = None
        self.began = self._loop.time()
        self.vigil = Vigil(self)  # type: ignore[arg-type]
        self.vigil.begin()

    @contextmanager
    def turn(self) -> Iterator[None]:
        yield

    def _ask(self, method: str, *, headers: Sequence[tuple[str, str]], on_done: Any) -> None:
        assert method == "OPTIONS"
        self.asked.append(self._loop.time() - self.began)
        self.answer = on_done

    def hears(self) -> None:
        self.media.heard_at = self._loop.time()

    def answers(self, response: Response | None, why: Why = None) -> None:
        assert self.answer is not None
        self.answer(response, why)

    @property
    def states(self) -> list[str]:
        return [notice.state for notice in self.notices]


async def talk(house: House, seconds: int) -> None:
    for _ in range(seconds):
        house.hears()
        await advance(1.0)


@stepped
async def test_who_is_heard_is_not_asked() -> None:
    house = House()
    await talk(house, 300)
    assert house.asked == []


@stepped
async def test_who_falls_silent_is_asked_after_the_limit_and_gone_without_an_answer() -> None:
    house = House()
    await talk(house, 30)
    await advance(18.9)
    assert house.asked == []
    await advance(0.2)
    assert house.asked == [pytest.approx(49.0)] and house.states == ["asking"]
    await advance(32.0)
    house.answers(None, "timeout: no answer from 192.0.2.1:5060")
    assert house.states == ["asking", "gone"]
    assert house.notices[-1].quiet_s == pytest.approx(52.0, abs=0.5)
    assert house.vigil.verdict == "nothing was heard for 52 s, and the other side does not answer"
    house.is_over = True
    await advance(600)
    assert len(house.asked) == 1


@pytest.mark.parametrize("status", [200, 405, 501, 403])
def test_who_answers_is_alive_and_asked_rarely(status: int) -> None:
    @stepped
    async def run() -> None:
        house = House()
        await talk(house, 10)
        await advance(20)
        house.answers(Response.build(status, "Whatever", []))
        alive = status < 500
        assert house.states[-1] == ("alive" if alive else "unknown")
        await advance(19 if not alive else 119)
        assert len(house.asked) == 1
        await advance(2)
        assert len(house.asked) == 2

    run()


@stepped
async def test_who_speaks_again_is_asked_soon_when_he_falls_silent_again() -> None:
    house = House()
    await talk(house, 10)
    await advance(20)
    house.answers(OK)
    await advance(30)
    await talk(house, 30)
    before = len(house.asked)
    await advance(39)
    assert len(house.asked) == before + 1


@stepped
async def test_who_never_sent_anything_is_asked_after_six_times_as_long() -> None:
    """Peers without media - test tools, machines - are no less there, and some choke on what they do not expect."""
    house = House()
    await advance(119.5)
    assert house.asked == []
    await advance(1)
    assert len(house.asked) == 1


@pytest.mark.parametrize("status", [404, 408, 481, 502])
def test_who_knows_no_call_is_gone(status: int) -> None:
    @stepped
    async def run() -> None:
        house = House()
        await talk(house, 10)
        await advance(20)
        house.answers(Response.build(status, "Gone", []))
        assert house.states == ["asking", "gone"] and house.vigil.verdict

    run()


@stepped
async def test_a_question_that_did_not_get_through_is_asked_again() -> None:
    """Our own proxy is being rebooted: that says nothing of the other side."""
    house = House()
    await talk(house, 10)
    await advance(20)
    house.answers(None, "connect: refused")
    assert house.states == ["asking", "unknown"]
    await advance(21)
    assert len(house.asked) == 2


@pytest.mark.parametrize("why", ["held", "adrift", "over"])
def test_where_nothing_has_to_come_nobody_is_asked(why: str) -> None:
    @stepped
    async def run() -> None:
        house = House()
        await talk(house, 10)
        house.media.listens = why != "held"
        house.core.adrift, house.core.over = why == "adrift", why == "over"
        await advance(600)
        assert house.asked == []
        if why != "over":  # it counts from the end of it
            house.media.listens, house.core.adrift = True, False
            house.vigil.note()
            await advance(19)
            assert house.asked == []
            await advance(21)
            assert len(house.asked) == 1

    run()


@stepped
async def test_zero_is_never() -> None:
    house = House(0)
    await talk(house, 1)
    await advance(3600)
    assert house.asked == []


@stepped
async def test_an_end_is_the_end() -> None:
    house = House()
    await talk(house, 1)
    house.vigil.stop()
    await advance(600)
    assert house.asked == []
