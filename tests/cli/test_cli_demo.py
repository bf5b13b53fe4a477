"""`sipcli demo` on a machine that has no time for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest

from sipcli.cli.demo import _hear
from sipcli.media.quality import AudioVerdict, MediaReport
from sipcli.ua.calls.call import Call
from tests.support.clock import live, stepped


class Torn:
    """A call whose audio has holes, until the last of *tones* is heard."""

    is_over = False

    def __init__(self, *tones: float | None) -> None:
        self._tones: Iterator[float | None] = iter(tones)
        self._last: float | None = None
        self.session: Any = self

    def report(self) -> MediaReport:
        self._last = next(self._tones, self._last)
        return MediaReport(audio=AudioVerdict(tone_hz=self._last))


@pytest.mark.parametrize(
    ("tones", "heard", "seconds"),
    [
        ((440.2,), 440.2, 2.0),
        ((None, None, 600.0, 439.0), 439.0, 2.75),
        ((None,), None, 20.0),
    ],
)
def test_the_demo_waits_for_a_tone_without_holes(tones: tuple[float | None, ...], heard: float, seconds: float) -> None:
    @stepped
    async def run() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await live(_hear(cast("Call", Torn(*tones)))) == heard
        assert loop.time() - began == pytest.approx(seconds, abs=0.3)

    run()
