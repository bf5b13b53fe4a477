"""Signals and what can be told of them: tones, DTMF pairs, RMS, Goertzel, dominant tone (ITU-T Q.23, P.56 in spirit).

PCM is ``bytes``: signed 16 bit, little-endian, mono; 8000 samples a second where no *rate* says otherwise.
"""

from __future__ import annotations

import sys
from array import array
from cmath import exp
from functools import lru_cache
from math import cos, gcd, hypot, log10, pi, sin, sqrt
from operator import mul

from sipcli.errors import ConfigError

__all__ = [
    "FLOOR_DBFS",
    "FRAME",
    "SAMPLE_RATE",
    "SILENCE",
    "Oscillator",
    "dbfs",
    "dominant_hz",
    "dtmf_frequencies",
    "goertzel",
    "pcm_of",
    "rms",
    "samples_of",
    "sum_of_squares",
]

SAMPLE_RATE = 8000
FRAME = 160
"""Samples in 20 ms."""
SILENCE = bytes(2 * FRAME)
FLOOR_DBFS = -96.0
"""Said of digital silence, for JSON has no minus infinity; the least 16-bit signal is -90.3."""

_BIG_ENDIAN = sys.byteorder == "big"
_ROWS = (697, 770, 852, 941)
_COLUMNS = (1209, 1336, 1477, 1633)
_BLOCK = 20
"""Samples of 8 kHz that a search looks at as one, once the frequency is known to some 50 Hz."""
_KEYPAD = "123A456B789C*0#D"


def samples_of(pcm: bytes) -> array[int]:
    """Little-endian octets as numbers; an odd last octet is left out."""
    samples = array("h", pcm[: len(pcm) & ~1])
    if _BIG_ENDIAN:
        samples.byteswap()
    return samples


def pcm_of(samples: array[int]) -> bytes:
    """Numbers (typecode ``h``) as little-endian octets."""
    if _BIG_ENDIAN:
        samples = array("h", samples)
        samples.byteswap()
    return samples.tobytes()


class Oscillator:
    """A steady sum of sines, each at *dbfs*; phases run on from frame to frame.

    A second of it is computed once (the frequencies are whole Hz, so it repeats) and then sliced.  All
    frequencies fit into 8 kHz audio, whatever *rate* is, for nobody knows what the far end can hear.
    """

    def __init__(self, *frequencies: int, level_dbfs: float = -12.0, rate: int = SAMPLE_RATE) -> None:
        for hz in frequencies:
            if not 1 <= hz < SAMPLE_RATE // 2:
                raise ConfigError(f"a tone of {hz} Hz does not fit into 8 kHz audio", hint="1 to 3999 Hz")
        self._frame = rate // 50
        self._period = _period(frequencies, level_dbfs, rate)
        self._position = 0

    def read(self, samples: int | None = None) -> bytes:
        """The next *samples* of it, 20 ms by default."""
        samples = self._frame if samples is None else samples
        start = 2 * self._position
        period = self._period
        self._position = (self._position + samples) % (len(period) // 2)
        out = period[start : start + 2 * samples]
        while len(out) < 2 * samples:
            out += period[: 2 * samples - len(out)]
        return out


@lru_cache(maxsize=32)
def _period(frequencies: tuple[int, ...], level_dbfs: float, rate: int) -> bytes:
    # A sine of RMS 1.0 would be clipped: full scale of dBFS is a full-scale *sine*, as meters have it (AES17).
    amplitude = 32767 * 10 ** (level_dbfs / 20)
    length = rate // gcd(rate, *frequencies)
    steps = [2 * pi * hz / rate for hz in frequencies]
    values = (sum(sin(step * n) for step in steps) * amplitude for n in range(length))
    return pcm_of(array("h", (max(-32768, min(32767, round(value))) for value in values)))


def dtmf_frequencies(digit: str) -> tuple[int, int]:
    """The pair of ITU-T Q.23."""
    row, column = divmod(_KEYPAD.index(digit), 4)
    return _ROWS[row], _COLUMNS[column]


def sum_of_squares(samples: array[int]) -> int:
    """Exact for up to a million samples: ``hypot`` adds with more digits than a float has, in a third of the time."""
    return round(hypot(*samples) ** 2)


def rms(pcm: bytes) -> float:
    """Root mean square, in units of the 16-bit sample; 0 for nothing."""
    samples = samples_of(pcm)
    return sqrt(sum_of_squares(samples) / len(samples)) if samples else 0.0


def dbfs(value: float) -> float:
    """An RMS value against that of a full-scale sine, not below FLOOR_DBFS."""
    return max(FLOOR_DBFS, 20 * log10(value * sqrt(2) / 32768)) if value > 0 else FLOOR_DBFS


def goertzel(samples: array[int], hz: float) -> float:
    """The share (0..1) of the signal's power that is at *hz*: near 1 for a pure tone."""
    total = sum_of_squares(samples)
    if not total:
        return 0.0
    return 2 * _power(samples, hz) / (total * len(samples))


def _power(samples: array[int], hz: float) -> float:
    coefficient = 2 * cos(2 * pi * hz / SAMPLE_RATE)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + coefficient * last - before
    return before * before + last * last - coefficient * before * last


def dominant_hz(samples: array[int], *, share: float = 0.5, rate: int = SAMPLE_RATE) -> float | None:
    """The frequency that holds at least *share* of the power, to 1 Hz or better; None when none does.

    A coarse Goertzel sweep of 10 ms of it; then the signal is moved down by what was found, and narrower sweeps go
    over ever more of it, 20 samples at a time: 1.3 ms for half a second, for which no beat of another call is missed.
    Looked for below 4 kHz only: test tones are made to pass through any codec.  So what has a higher *rate* is brought
    down to 8 kHz first.
    """
    if (scale := rate // SAMPLE_RATE) > 1:
        low = array("h", (sum(samples[n : n + scale]) // scale for n in range(0, len(samples) - scale + 1, scale)))
        if sum_of_squares(low) * scale < share * sum_of_squares(samples):
            return None  # most of it was above, and what is left of that would pass for something else
        samples = low
    if len(samples) < FRAME:
        return None
    if not (total := sum_of_squares(samples)):
        return None
    middle, step = len(samples) // 2, 50.0
    window = samples[middle - FRAME // 4 : middle + FRAME // 4]
    near = max(_sweep(50.0, 3950.0, step), key=lambda hz: _power(window, hz))
    blocks = _moved_down(samples, near)
    count, off = FRAME // _BLOCK // 2, 0.0
    while count < len(blocks):
        count = min(2 * count, len(blocks))
        width, step = step, step / 2
        off = max(_sweep(off - 1.5 * width, off + 1.5 * width, step), key=lambda hz: _block_power(blocks[:count], hz))
    below, at, above = (_block_power(blocks, off + offset) for offset in (-step, 0.0, step))
    if 2 * at < share * total * len(samples):
        return None
    curve = below - 2 * at + above
    return round(near + off + (step * (below - above) / (2 * curve) if curve else 0.0), 1)


def _moved_down(samples: array[int], hz: float) -> list[complex]:
    """The signal about *hz*, which becomes 0 Hz: the sums of its blocks."""
    turn = -2j * pi * hz / SAMPLE_RATE
    turns = [exp(turn * n) for n in range(_BLOCK)]
    starts = range(0, len(samples) - _BLOCK + 1, _BLOCK)
    return [sum(map(mul, samples[start : start + _BLOCK], turns)) * exp(turn * start) for start in starts]


def _block_power(blocks: list[complex], hz: float) -> float:
    turn, total = exp(-2j * pi * hz * _BLOCK / SAMPLE_RATE), 0j
    for block in reversed(blocks):
        total = total * turn + block
    return abs(total) ** 2


def _sweep(start: float, stop: float, step: float) -> list[float]:
    return [start + n * step for n in range(round((stop - start) / step) + 1)]
