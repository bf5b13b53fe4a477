"""An event loop that wakes in time: asyncio's own is up to a millisecond late, for epoll counts in milliseconds."""

from __future__ import annotations

import asyncio
import select
import selectors
import sys

__all__ = ["new_loop"]


def new_loop() -> asyncio.AbstractEventLoop:
    """For ``asyncio.Runner(loop_factory=new_loop)``.  Elsewhere than on Linux it is asyncio's own."""
    if sys.platform != "linux":
        return asyncio.new_event_loop()
    return asyncio.SelectorEventLoop(_PunctualSelector())


if sys.platform == "linux":

    class _PunctualSelector(selectors.EpollSelector):
        """Waits by select(2), which counts in microseconds, for the one descriptor that epoll itself is."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            # FD_SETSIZE: select cannot look at a descriptor above, which this one is only in a process full of them.
            if timeout is not None and timeout > 0 and self.fileno() < 1024:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0
            return super().select(timeout)
