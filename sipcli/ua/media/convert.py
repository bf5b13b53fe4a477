"""From one sampling rate to another, 20 ms for 20 ms: by numpy where it is installed, else in pure Python."""

from __future__ import annotations

from array import array

from sipcli.media.resample import Resampler, filter_taps
from sipcli.media.tone import pcm_of, samples_of

__all__ = ["FrameConverter", "make_resampler"]


class _FastResampler(Resampler):
    """The same filter by numpy, which the extra ``sipcli[audio]`` brings along: ten times as fast."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        super().__init__(rate_in, rate_out)
        import numpy as np

        self._np = np
        self._bank = np.array([filter_taps(self._up, self._down, phase) for phase in range(self._up)])

    def _filter(self, count: int) -> array[int]:
        if not count:
            return array("h")
        np = self._np
        windows = np.lib.stride_tricks.sliding_window_view(np.array(self._waiting), 2 * self._half)
        starts, phases = np.divmod(self._phase + self._down * np.arange(count), self._up)
        values = np.einsum("ij,ij->i", windows[starts], self._bank[phases])
        return array("h", np.clip(np.rint(values), -32768, 32767).astype(np.int16).tobytes())


def make_resampler(rate_in: int, rate_out: int) -> Resampler:
    """The fastest there is."""
    try:
        return _FastResampler(rate_in, rate_out)
    except ImportError:
        return Resampler(rate_in, rate_out)


class FrameConverter:
    """One frame of PCM in, one frame out, always whole; the filter's look-ahead becomes some silence at the start."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._octets = 2 * (rate_out // 50)
        self._resampler = None if rate_in == rate_out else make_resampler(rate_in, rate_out)
        self._ready = bytearray()
        self._begun = False

    def push(self, pcm: bytes) -> bytes:
        """*pcm* at the other rate."""
        if self._resampler is None:
            return pcm
        self._ready += pcm_of(self._resampler.push(samples_of(pcm)))
        if not self._begun and self._ready:
            self._begun = True
            self._ready[:0] = bytes(max(0, self._octets - len(self._ready)))
        out = bytes(self._ready[: self._octets])
        del self._ready[: self._octets]
        return out + bytes(self._octets - len(out))
