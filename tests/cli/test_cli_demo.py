"""`sipcli demo` on a machine that has no time for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sipcli.cli.demo import _hear, _judge
from sipcli.cli.runtime import Run
from sipcli.media.quality import AudioVerdict, MediaReport
from sipcli.ua.calls.call import Call
from tests.support.clock import live, stepped


@pytest.mark.parametrize(
    ("tone", "share", "wrong"),
    [
        (440.1, 96.0, None),
        (None, 20.0, None),  # torn, and the verdict says so
        (None, 0.0, "silence"),
        (600.0, 96.0, "600.0 Hz, not 440"),
    ],
)
def test_what_came_back_is_judged(tone: float | None, share: float, wrong: str | None) -> None:
    facts = {"stats": {"rx": {"packets": 90}}, "audio": {"tone_hz": tone, "speech_pct": share}}
    run = SimpleNamespace(tally=SimpleNamespace(attempts=1, provider="store"))
    said = _judge(cast("Run", run), facts)
    assert (wrong is None and not said) or (wrong is not None and wrong in said[0])


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
