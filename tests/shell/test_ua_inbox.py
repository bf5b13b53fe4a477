"""Calls from other threads: in order, few wakes, never too many at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sipcli.ua.lanes.inbox import BATCH, Inbox


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts the wakes that threads ask for."""

    wakes = 0

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, **more: Any) -> asyncio.Handle:  # type: ignore[override]
        self.wakes += 1
        return super().call_soon_threadsafe(callback, *args, **more)


def on_loop(main: Callable[[CountingLoop, Inbox], Any]) -> None:
    loop = CountingLoop()
    try:
        loop.run_until_complete(main(loop, Inbox(loop)))
    finally:
        loop.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0)


def from_thread(work: Callable[[], None]) -> None:
    """Run *work* on a thread to its end while the loop stands still."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def put_numbers(inbox: Inbox, seen: list[int], count: int) -> None:
    for n in range(count):
        inbox.put(partial(seen.append, n))


def test_many_calls_are_one_wake_and_keep_their_order() -> None:
    async def main(loop: CountingLoop, inbox: Inbox) -> None:
        seen: list[int] = []
        from_thread(lambda: put_numbers(inbox, seen, BATCH))
        assert seen == []  # never on the caller's thread
        await until(lambda: len(seen) == BATCH)
        assert seen == list(range(BATCH))
        assert loop.wakes == 1

    on_loop(main)


def test_others_get_their_turn_between_two_batches() -> None:
    async def main(loop: CountingLoop, inbox: Inbox) -> None:
        seen: list[int] = []
        between: list[int] = []
        from_thread(lambda: put_numbers(inbox, seen, 3 * BATCH))
        while len(seen) < 3 * BATCH:
            await asyncio.sleep(0)
            between.append(len(seen))
        assert {BATCH, 2 * BATCH} <= set(between)
        assert seen == list(range(3 * BATCH))

    on_loop(main)


def test_a_call_that_fails_costs_the_others_nothing() -> None:
    async def main(loop: CountingLoop, inbox: Inbox) -> None:
        reports: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        seen: list[int] = []

        def put() -> None:
            inbox.put(lambda: 1 // 0)
            inbox.put(lambda: seen.append(1))

        from_thread(put)
        await until(lambda: bool(seen))
        assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]

    on_loop(main)


def test_no_call_is_lost_between_eight_threads() -> None:
    async def main(loop: CountingLoop, inbox: Inbox) -> None:
        seen: list[tuple[int, int]] = []

        def put(who: int) -> None:
            for n in range(500):
                inbox.put(partial(seen.append, (who, n)))

        threads = [threading.Thread(target=put, args=(who,)) for who in range(8)]
        for thread in threads:
            thread.start()
        await until(lambda: len(seen) == 4000)
        for thread in threads:
            thread.join()
        for who in range(8):
            assert [n for by, n in seen if by == who] == list(range(500))

    on_loop(main)


def test_a_closed_loop_is_told_even_if_a_wake_was_on_its_way() -> None:
    loop = CountingLoop()
    inbox = Inbox(loop)
    inbox.put(lambda: None)
    loop.close()
    with pytest.raises(RuntimeError):
        inbox.put(lambda: None)
