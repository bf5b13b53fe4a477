"""A sound card that writes down what it played, and whose microphone hums at 300 Hz."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sipcli.media.tone import Oscillator
from sipcli.ua.media import sound

__all__ = ["Card", "Cards"]


class Card:
    """An ``AudioPort``; frames are counted so that a test can wait for them."""

    def __init__(
        self, name: str | None = None, warn: Callable[[str, str], None] | None = None, **settings: Any
    ) -> None:
        self.name, self.warn, self.settings = name, warn, settings
        self.played: list[bytes] = []
        self.reads = 0
        self.rate = 8000
        self.closed = 0
        self._hum = Oscillator(300)
        self._beaten = asyncio.Event()

    def tune(self, rate: int) -> None:
        self.rate = rate
        self._hum = Oscillator(300, rate=rate)

    def read(self) -> bytes:
        self.reads += 1
        return self._hum.read()

    def write(self, pcm: bytes) -> None:
        assert not self.closed
        assert len(pcm) == 2 * (self.rate // 50)
        self.played.append(pcm)
        self._beaten.set()

    def close(self) -> None:
        self.closed += 1

    async def play(self, frames: int) -> None:
        """Until so many were played."""
        async with asyncio.timeout(10):
            while len(self.played) < frames:
                self._beaten.clear()
                await self._beaten.wait()

    def last(self, seconds: float) -> bytes:
        """What was played last."""
        return b"".join(self.played[-round(seconds * 50) :])


class Cards:
    """Every card that is opened from now on; *broken*: none can be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: list[Card] = []
        self.broken: Exception | None = None
        monkeypatch.setattr(sound, "DevicePort", self._open)

    def _open(self, *arguments: Any, **settings: Any) -> Card:
        if self.broken is not None:
            raise self.broken
        self.opened.append(Card(*arguments, **settings))
        return self.opened[-1]
