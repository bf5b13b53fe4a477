"""The 20 ms grid: beats that do not drift, and that are skipped, never bunched, when we are late."""

from __future__ import annotations

__all__ = ["Pacer"]


class Pacer:
    """Beat n is at ``start + n * period_s``, by multiplication: no error adds up.  Seconds of the caller's clock."""

    EARLY_S = 0.001
    """A timer that fires this much before its time has fired for it."""

    def __init__(self, start: float, period_s: float = 0.02) -> None:
        self._start = start
        self._period_s = period_s
        self._beat = 0

    def due(self, now: float) -> int:
        """How many beats are due at *now*: 0 is too early, 1 in time; of more, all but the last were missed."""
        beat = int((now - self._start + self.EARLY_S) / self._period_s) + 1 if now + self.EARLY_S >= self._start else 0
        beats = max(0, beat - self._beat)
        self._beat += beats
        return beats
