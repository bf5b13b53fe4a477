"""From any thread onto the loop: many calls, one wake (docs/architecture.md)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["BATCH", "Inbox"]

BATCH: Final = 32
"""Calls that one wake runs at most, so that sockets and timers get their turn."""


class Inbox:
    """Calls from other threads, run on *loop* in the order in which they came.

    ``call_soon_threadsafe`` wakes the loop by a pipe for every call: two system
    calls, at each of which the threads fight for the interpreter.  Here whoever
    comes while a wake is on its way joins it.  Takes no lock: the deque is
    atomic, and the worst that a race on the flag does is a second wake.
    """

    __slots__ = ("_calls", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], object]] = deque()
        self._woken = False

    def put(self, act: Callable[[], object]) -> None:
        """Run *act* on the loop, soon.  Any thread.  RuntimeError when the loop is closed."""
        self._calls.append(act)
        if not self._woken or self._loop.is_closed():
            self._woken = True
            self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        self._woken = False  # before looking: whoever comes from now on wakes us again
        for _ in range(BATCH):
            if not self._calls:
                return
            act = self._calls.popleft()
            try:
                act()
            except Exception as error:
                # One caller's fault must not cost the others their calls.
                self._loop.call_exception_handler({"message": "a call from a thread failed", "exception": error})
        self._woken = True
        self._loop.call_soon(self._run)
