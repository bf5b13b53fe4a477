"""Those who listen to an agent: callbacks, and streams that are iterated over."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable

from sipcli.ua.notices import Notice

__all__ = ["Listeners"]

log = logging.getLogger(__name__)


class Listeners:
    """Everything is for the loop's thread.  True while somebody listens."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._callbacks: dict[int, Callable[[Notice], None]] = {}
        self._streams: set[asyncio.Queue[Notice | None]] = set()
        self._closed = False

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def subscribe(self, callback: Callable[[Notice], None]) -> Callable[[], None]:
        """Call *callback* with every notice, at once.  Returns what ends that."""
        number = next(self._numbers)
        self._callbacks[number] = callback

        def unsubscribe() -> None:
            self._callbacks.pop(number, None)

        return unsubscribe

    def stream(self) -> AsyncIterator[Notice]:
        """Every notice from now on, until :meth:`close`."""
        queue: asyncio.Queue[Notice | None] = asyncio.Queue()
        if self._closed:
            queue.put_nowait(None)
        self._streams.add(queue)
        return self._iterate(queue, self.subscribe(queue.put_nowait))

    def tell(self, notice: Notice) -> None:
        """Give *notice* to everybody; one that fails does not cost the others theirs."""
        for callback in tuple(self._callbacks.values()):
            try:
                callback(notice)
            except Exception:
                log.exception("a listener failed")

    def close(self) -> None:
        """Let the streams end, when what was told is read."""
        self._closed = True
        for stream in self._streams:
            stream.put_nowait(None)

    async def _iterate(
        self, queue: asyncio.Queue[Notice | None], unsubscribe: Callable[[], None]
    ) -> AsyncIterator[Notice]:
        try:
            while (notice := await queue.get()) is not None:
                yield notice
        finally:
            unsubscribe()
            self._streams.discard(queue)
