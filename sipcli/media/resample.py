"""From one sampling rate to another by a windowed-sinc filter (Smith, "Digital Audio Resampling"; Kaiser window).

Pure Python: some 10 us per output sample when 48 kHz become 8 kHz, 8 % of a core for a call. The filter lets
3.0 kHz pass and stops 4.15 kHz by 70 dB when 8 kHz is the lower rate: telephone band in, no aliases out.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from math import ceil, gcd, pi, sin, sqrt
from operator import mul

__all__ = ["Resampler"]

_ZERO_CROSSINGS = 16
_CUTOFF = 0.9
"""Of half the lower rate."""
_BETA = 6.76
"""Kaiser's for 70 dB."""


class Resampler:
    """16-bit mono in, 16-bit mono out, in chunks of any size; keeps its place between them."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        divisor = gcd(rate_in, rate_out)
        self._up, self._down = rate_out // divisor, rate_in // divisor
        self._half = ceil(_ZERO_CROSSINGS * max(1.0, rate_in / rate_out))
        # Silence before the first sample: the output is not delayed, the filter looks half its length ahead.
        self._waiting: array[int] = array("h", bytes(2 * (self._half - 1)))
        self._phase = 0

    def push(self, samples: array[int]) -> array[int]:
        """What can be said after *samples*; the last half filter waits for more."""
        if self._up == self._down:
            return samples
        self._waiting += samples
        self._settle()
        waiting = self._waiting
        taps, up, down = 2 * self._half, self._up, self._down
        out: array[int] = array("h")
        position, phase = 0, self._phase
        while position + taps <= len(waiting):
            value = sum(map(mul, _taps(up, down, self._half, phase), waiting[position : position + taps]))
            out.append(max(-32768, min(32767, round(value))))
            phase += down
            position += phase // up
            phase %= up
        # A big step down may lead beyond what has come: the rest of the step is owed.
        kept = min(position, len(waiting))
        self._waiting = waiting[kept:]
        self._phase = phase + (position - kept) * up
        return out

    def _settle(self) -> None:
        """Skip the whole samples that the last step owes."""
        skip = min(self._phase // self._up, len(self._waiting))
        del self._waiting[:skip]
        self._phase -= skip * self._up

    def flush(self) -> array[int]:
        """The last half filter, against silence."""
        return self.push(array("h", bytes(2 * self._half)))


@lru_cache(maxsize=1024)
def _taps(up: int, down: int, half: int, phase: int) -> array[float]:
    """The filter for an output that lies ``phase / up`` of a sample behind tap ``half - 1``; its sum is 1."""
    scale = _CUTOFF * min(1.0, up / down)
    shift = half - 1 + phase / up
    values = [_sinc(scale * (i - shift)) * _kaiser((i - shift) / half) for i in range(2 * half)]
    total = sum(values)
    return array("d", (value / total for value in values))


def _sinc(x: float) -> float:
    return sin(pi * x) / (pi * x) if x else 1.0


def _kaiser(x: float) -> float:
    return _bessel(_BETA * sqrt(1 - x * x)) / _bessel(_BETA) if abs(x) < 1 else 0.0


def _bessel(x: float) -> float:
    """The modified Bessel function of order zero, by its series."""
    term = total = 1.0
    n = 1
    while term > 1e-12 * total:
        term *= (x / (2 * n)) ** 2
        total += term
        n += 1
    return total
