"""From one sampling rate to another by a windowed-sinc filter (Smith, "Digital Audio Resampling"; Kaiser window).

Pure Python: some 10 us per output sample when 48 kHz become 8 kHz, 8 % of a core for a call. The filter lets
3.0 kHz pass and stops 4.15 kHz by 70 dB when 8 kHz is the lower rate: telephone band in, no aliases out.
"""

from __future__ import annotations

from array import array
from functools import cache, lru_cache
from math import ceil, gcd, pi, sin, sqrt
from operator import mul

__all__ = ["Resampler", "filter_taps"]

_ZERO_CROSSINGS = 16
_CUTOFF = 0.9
"""Of half the lower rate."""
_BETA = 6.76
"""Kaiser's for 70 dB."""
_KERNEL_STEPS = 8192
_PREPARED_TAPS = 100_000
"""All the rates that sound cards and files have need fewer, against 8 kHz."""


class Resampler:
    """16-bit mono in, 16-bit mono out, in chunks of any size; keeps its place between them."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        divisor = gcd(rate_in, rate_out)
        self._up, self._down = rate_out // divisor, rate_in // divisor
        self._half = ceil(_ZERO_CROSSINGS * max(1.0, rate_in / rate_out))
        # Silence before the first sample: the output is not delayed, the filter looks half its length ahead.
        self._waiting: array[int] = array("h", bytes(2 * (self._half - 1)))
        self._phase = 0
        if self._up != self._down and 2 * self._half * self._up <= _PREPARED_TAPS:
            # Now, and not while the first sound is due.
            for phase in range(self._up):
                filter_taps(self._up, self._down, phase)

    def push(self, samples: array[int]) -> array[int]:
        """What can be said after *samples*; the last half filter waits for more."""
        if self._up == self._down:
            return samples
        self._waiting += samples
        # The last step may have led beyond what had come: whole samples of it are skipped now.
        skip = min(self._phase // self._up, len(self._waiting))
        del self._waiting[:skip]
        self._phase -= skip * self._up
        count = self._countable()
        out = self._filter(count)
        steps = self._phase + count * self._down
        kept = min(steps // self._up, len(self._waiting))
        del self._waiting[:kept]
        self._phase = steps - kept * self._up
        return out

    def _countable(self) -> int:
        """How many outputs have all of their inputs."""
        room = len(self._waiting) - 2 * self._half
        if room < 0 or self._phase >= self._up:
            return 0
        return ((room + 1) * self._up - 1 - self._phase) // self._down + 1

    def _filter(self, count: int) -> array[int]:
        waiting, taps, up, down = self._waiting, 2 * self._half, self._up, self._down
        out: array[int] = array("h")
        steps = self._phase
        for _ in range(count):
            start, phase = divmod(steps, up)
            value = sum(map(mul, filter_taps(up, down, phase), waiting[start : start + taps]))
            out.append(max(-32768, min(32767, round(value))))
            steps += down
        return out

    def flush(self) -> array[int]:
        """The last half filter, against silence."""
        return self.push(array("h", bytes(2 * self._half)))


@lru_cache(maxsize=4096)
def filter_taps(up: int, down: int, phase: int) -> array[float]:
    """The filter of an output that lies ``phase / up`` of an input sample behind the tap before the middle; sum 1."""
    reach = _ZERO_CROSSINGS * max(1.0, down / up)
    half = ceil(reach)
    shift, scale, kernel = half - 1 + phase / up, _KERNEL_STEPS / reach, _kernel()
    values = []
    for i in range(2 * half):
        whole, part = divmod(abs(i - shift) * scale, 1.0)
        at = int(whole)
        values.append(kernel[at] + part * (kernel[at + 1] - kernel[at]) if at < _KERNEL_STEPS else 0.0)
    total = sum(values)
    return array("d", (value / total for value in values))


@cache
def _kernel() -> array[float]:
    """Half of the windowed sinc, from its middle to its end; between the steps a straight line is 100 dB good."""
    points = (n / _KERNEL_STEPS for n in range(_KERNEL_STEPS + 1))
    return array("d", (_sinc(_CUTOFF * _ZERO_CROSSINGS * x) * _kaiser(x) for x in points))


def _sinc(x: float) -> float:
    return sin(pi * x) / (pi * x) if x else 1.0


def _kaiser(x: float) -> float:
    return _bessel(_BETA * sqrt(1 - x * x)) / _bessel_of_beta()


@cache
def _bessel_of_beta() -> float:
    return _bessel(_BETA)


def _bessel(x: float) -> float:
    """The modified Bessel function of order zero, by its series."""
    term = total = 1.0
    n = 1
    while term > 1e-12 * total:
        term *= (x / (2 * n)) ** 2
        total += term
        n += 1
    return total
