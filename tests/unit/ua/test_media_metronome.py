"""The beats that calls share, on a loop whose time is stepped."""

from __future__ import annotations

import asyncio
import gc
import heapq
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest

from sipcli.ua.media.metronome import Metronome, metronome_of


class SteppedLoop:
    """Timers as a loop has them; a *cost* is what each beat takes."""

    def __init__(self) -> None:
        self.now = 100.0
        self.failures: list[dict[str, Any]] = []
        self._timers: list[tuple[float, int, Callable[..., object], tuple[object, ...]]] = []
        self._count = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., object], *args: object) -> None:
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, callback, args))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)

    @property
    def idle(self) -> bool:
        return not self._timers

    def run_until(self, end: float) -> int:
        """How many timers fired."""
        fired = 0
        while self._timers and self._timers[0][0] <= end:
            when, _, callback, args = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            callback(*args)
            fired += 1
        self.now = max(self.now, end)
        return fired


@pytest.fixture
def stepped() -> SteppedLoop:
    return SteppedLoop()


def as_loop(stepped: SteppedLoop) -> asyncio.AbstractEventLoop:
    return cast("asyncio.AbstractEventLoop", stepped)


def test_calls_share_a_few_slots_and_each_keeps_to_its_grid(stepped: SteppedLoop) -> None:
    metronome = Metronome(stepped.now)
    beats: dict[int, list[float]] = {n: [] for n in range(20)}
    firsts = []
    for n, times in beats.items():
        stepped.run_until(stepped.now + 0.0017)
        firsts.append(metronome.join(as_loop(stepped), lambda times=times: times.append(stepped.now)))  # type: ignore[misc]
        assert stepped.now <= firsts[n] < stepped.now + 0.02 + 1e-9
    stepped.run_until(stepped.now + 60)
    phases = [round((first - 100.0) / 0.004) % 5 for first in firsts]
    assert sorted(phases.count(phase) for phase in set(phases)) == [10, 10]
    for first, times in zip(firsts, beats.values(), strict=True):
        assert len(times) in (3000, 3001, 3002)
        assert times == pytest.approx([first + 0.02 * n for n in range(len(times))], abs=1e-9)


def test_who_joins_while_a_later_slot_is_waited_for_is_called_in_time(stepped: SteppedLoop) -> None:
    metronome = Metronome(stepped.now)
    beaten: list[float] = []
    for _ in range(10):
        metronome.join(as_loop(stepped), lambda: None)
    stepped.run_until(100.003)
    first = metronome.join(as_loop(stepped), lambda: beaten.append(stepped.now))
    assert first == pytest.approx(100.004)
    stepped.run_until(100.09)
    assert beaten == pytest.approx([100.004, 100.024, 100.044, 100.064, 100.084])


def test_one_timer_wakes_all_that_share_a_slot(stepped: SteppedLoop) -> None:
    metronome = Metronome(stepped.now)
    beaten: list[int] = []
    for n in range(100):
        metronome.join(as_loop(stepped), lambda n=n: beaten.append(n))  # type: ignore[misc]
    stepped.run_until(stepped.now + 0.02)
    beaten.clear()
    assert stepped.run_until(stepped.now + 1) == 250
    assert len(beaten) == 5000
    assert set(Counter(beaten).values()) == {50}


def test_who_was_held_up_is_called_once(stepped: SteppedLoop) -> None:
    metronome = Metronome(stepped.now)
    beaten: list[float] = []
    metronome.join(as_loop(stepped), lambda: beaten.append(stepped.now))
    stepped.run_until(100.1)
    beaten.clear()
    stepped.now = 3700.0  # a laptop slept for an hour
    fired = stepped.run_until(3700.1)
    assert len(beaten) <= 7
    assert fired <= 7


def test_who_leaves_is_not_called_and_nobody_is_woken_for_nobody(stepped: SteppedLoop) -> None:
    metronome = Metronome(stepped.now)
    beaten: list[str] = []

    def first() -> None:
        beaten.append("first")
        metronome.leave(first)
        metronome.leave(second)

    def second() -> None:
        beaten.append("second")

    loop = as_loop(stepped)
    metronome.join(loop, first)
    metronome.join(loop, second)  # in one slot with the first, after him
    stepped.run_until(stepped.now + 0.1)
    assert beaten == ["first"]
    alone = Metronome(stepped.now)
    empty = SteppedLoop()
    alone.join(as_loop(empty), second)
    alone.leave(second)
    empty.run_until(empty.now + 1)
    assert empty.idle
    alone.join(as_loop(empty), second)
    assert not empty.idle


def test_a_beat_that_fails_ends_itself_and_no_other(stepped: SteppedLoop) -> None:
    metronome = Metronome(stepped.now)
    beaten: list[float] = []

    def fails() -> None:
        raise ValueError("boom")

    loop = as_loop(stepped)
    metronome.join(loop, fails)
    for _ in range(10):
        metronome.join(loop, lambda: beaten.append(stepped.now))
    stepped.run_until(stepped.now + 0.1)
    assert len(stepped.failures) == 1
    assert str(stepped.failures[0]["exception"]) == "boom"
    assert len(beaten) >= 10 * 4


def test_a_loop_has_one_and_is_not_kept_alive_by_it() -> None:
    loop = asyncio.new_event_loop()
    assert metronome_of(loop) is metronome_of(loop)
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None
