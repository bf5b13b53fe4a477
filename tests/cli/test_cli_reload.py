"""SIGHUP while the one before it is still at work."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from sipcli.cli.reload import Reloader


class Slow(Reloader):
    """Counts the times the configuration was read; each takes until it is let go."""

    def __init__(self) -> None:
        nothing = cast("Any", None)
        super().__init__(nothing, nothing, tuple)
        self.read = 0
        self.go = asyncio.Event()

    async def _reload(self) -> None:
        self.read += 1
        await self.go.wait()


async def test_a_second_signal_is_not_lost() -> None:
    """What was written after the first reading would otherwise never be seen."""
    reloader = Slow()
    reloader()
    await asyncio.sleep(0)
    reloader()
    reloader()
    assert reloader.read == 1
    reloader.go.set()
    assert reloader._task is not None
    await reloader._task
    assert reloader.read == 2
