"""An event loop whose time stands still until a test steps it."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast
from unittest.mock import patch

from sipcli.ua.media import rtp_sockets

__all__ = ["SteppedLoop", "advance", "live", "live_until", "self_stepping", "settle", "stepped", "until"]

T = TypeVar("T")


class SteppedLoop(asyncio.SelectorEventLoop):
    """``loop.time()`` is :attr:`now`.  Sockets and threads are real; timers fire when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()

    def time(self) -> float:
        return self.now

    def next_timer(self) -> float | None:
        """When the next timer that is still wanted is due."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return min((handle.when() for handle in scheduled if not handle.cancelled()), default=None)


def stepped(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a coroutine test on a :class:`SteppedLoop`.

    What waits in a socket waits for no time of that clock, however long a busy machine lets it wait in the kernel's.
    """

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        no_wait = patch.object(rtp_sockets, "_LONGEST_WAIT_S", 0.0)
        with no_wait, asyncio.Runner(loop_factory=SteppedLoop) as runner:
            runner.run(cast("Any", test(*args, **kwargs)))

    return run


def self_stepping(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """The same for one that never asks what time it is: its time goes by at the pace of this machine."""

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        await live(test(*args, **kwargs))

    return stepped(run)


def _loop() -> SteppedLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteppedLoop)
    return loop


async def settle() -> None:
    """Let everything run that is ready."""
    for _ in range(10):
        await asyncio.sleep(0)


async def advance(seconds: float) -> None:
    """Step from timer to timer, and then to *seconds* from now."""
    loop = _loop()
    end = loop.now + seconds
    while True:
        await settle()
        when = loop.next_timer()
        if when is None or when > end:
            break
        loop.now = max(loop.now, when)
    loop.now = end
    await settle()


async def until(check: Callable[[], object], *, within: float = 60.0) -> None:
    """Let the loop run until *check* holds: for what real threads do meanwhile.  *within* is real time."""
    end = time.monotonic() + within
    while not check():
        assert time.monotonic() < end, "it never came to that"
        await asyncio.sleep(0)
        time.sleep(0)  # hand the interpreter to the other threads


async def live(awaitable: Awaitable[T], *, within: float = 60.0, step: float = 0.01) -> T:
    """Wait while time goes by in *step* s; *within* is real time."""
    end = time.monotonic() + within
    task = asyncio.ensure_future(awaitable)
    try:
        while not task.done():
            assert time.monotonic() < end, "it never came to that"
            await advance(step)
            time.sleep(0)
        return task.result()
    finally:
        task.cancel()


async def live_until(check: Callable[[], object]) -> None:
    """Let time go by until *check* holds."""

    async def comes() -> None:
        while not check():
            await asyncio.sleep(0.01)

    await live(comes())
