"""What is played in place of a lost packet: the last pitch period again, fading (after ITU-T G.711 Appendix I)."""

from __future__ import annotations

from array import array
from math import dist, hypot

from sipcli.media.tone import FRAME, SAMPLE_RATE, pcm_of, samples_of

__all__ = ["Concealer"]

_SHORTEST, _LONGEST = 40, 120
"""Pitch periods looked for, in samples of 8 kHz: 200 Hz down to 66 Hz, as the appendix has it."""
_FADE_PER_STEP = 0.2
_BLEND = 32


class Concealer:
    """Sees every frame that is played; invents one where :meth:`lost` is asked.

    The first 10 ms of a gap sound as before, then 20 % is taken off per 10 ms, so that
    60 ms into it there is silence.
    """

    def __init__(self, rate: int = SAMPLE_RATE) -> None:
        """*rate*: of the PCM, a multiple of 8 kHz; pitch is looked for in every so many-th sample."""
        self._scale = rate // SAMPLE_RATE
        self._step = rate // 100
        self._silence = bytes(rate // 25)
        self._kept = self._scale * (FRAME + 2 * _LONGEST)
        self._history = bytes(2 * self._kept)
        self._period: array[int] = array("h")
        self._phase = 0
        self._steps_lost = 0

    def heard(self, pcm: bytes, *, goes_on: bool = True) -> bytes:
        """*pcm* is real: it comes back as it should be played, blended with the invention before it, if any.

        *goes_on* False: something else begins than what was heard before, and would click; that is led out by 4 ms.
        """
        if not goes_on and not self._steps_lost:
            self._begin()
        if self._steps_lost or not goes_on:
            samples = samples_of(pcm)
            tail = self._invent(min(_BLEND * self._scale, len(samples)), gain=self._gain())
            for i, old in enumerate(tail):
                samples[i] = old + (samples[i] - old) * (i + 1) // (len(tail) + 1)
            pcm = pcm_of(samples)
            self._steps_lost, self._phase = 0, 0
        self._history = (self._history + pcm)[-2 * self._kept :]
        return pcm

    def lost(self) -> bytes:
        """20 ms for a gap."""
        if self._steps_lost * _FADE_PER_STEP > 1:
            return self._silence
        if not self._steps_lost:
            self._begin()
        if not any(self._period):
            self._steps_lost += 2
            return self._silence
        out: array[int] = array("h")
        for _ in range(2):
            start = self._gain()
            self._steps_lost += 1
            out += self._invent(self._step, gain=start, end=self._gain())
        pcm = pcm_of(out)
        # The next loss may come soon: its period must not be looked for across a hole.
        self._history = (self._history + pcm)[-2 * self._kept :]
        return pcm

    def _begin(self) -> None:
        period = self._scale * self._find_period()
        self._period, self._phase = samples_of(self._history[-2 * period :]), 0

    def _gain(self) -> float:
        return max(0.0, min(1.0, 1.2 - _FADE_PER_STEP * self._steps_lost)) if self._steps_lost else 1.0

    def _invent(self, count: int, *, gain: float, end: float | None = None) -> array[int]:
        period, phase = self._period, self._phase
        self._phase = (phase + count) % len(period)
        turns = -(-(phase + count) // len(period))
        wave = (period * turns)[phase : phase + count]
        if end is None or end == gain == 1.0:
            return wave if gain == 1.0 else array("h", [int(value * gain) for value in wave])
        slope = (end - gain) / count
        return array("h", [int(value * (gain + slope * i)) for i, value in enumerate(wave)])

    def _find_period(self) -> int:
        """The lag at which the last 20 ms look most like what was before them.

        Looked for in every other sample and at every fourth lag first, then around the best of those, as the appendix
        does it: a gap comes when packets are late, often because this machine has too much to do, and must not cost
        more than the packet would have.
        """
        history = samples_of(self._history)[:: self._scale]
        recent = history[-FRAME:]
        if not any(recent):
            return _LONGEST  # silence goes on as silence
        near = 2 * _best_lag(history[::2], len(recent) // 2, range(_SHORTEST // 2, _LONGEST // 2 + 1, 2))
        around = range(max(_SHORTEST, near - 3), min(_LONGEST, near + 3) + 1)
        return _best_lag(history, len(recent), around)


def _best_lag(history: array[int], count: int, lags: range) -> int:
    """Of *lags* the one by which the last *count* samples correlate best with what was before them."""
    heard = tuple(history)
    recent = heard[-count:]
    energy = hypot(*recent) ** 2

    def likeness(lag: int) -> float:
        earlier = heard[len(heard) - lag - count : len(heard) - lag]
        # 2ab = a2 + b2 - (a - b)2: these two functions do in C what a sum of products would do in Python.
        length = hypot(*earlier)
        return (energy + length**2 - dist(recent, earlier) ** 2) / length if length else 0.0

    return max(lags, key=likeness)
