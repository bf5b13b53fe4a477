"""Where a call's audio comes from and goes to, 20 ms at a time: the contract, and the ports made of nothing."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from itertools import cycle
from typing import Protocol

from sipcli.media.tone import FRAME, SAMPLE_RATE, SILENCE, Oscillator, pcm_of
from sipcli.ua.media.convert import make_resampler

__all__ = ["AudioPort", "EchoPort", "MelodyPort", "NullPort", "SampledPort", "TonePort"]


class AudioPort(Protocol):
    """One call's microphone and loudspeaker, or what stands for them.  No method waits."""

    def tune(self, rate: int) -> None:
        """From now on PCM has *rate* samples a second; 8000 before the first call."""
        ...

    def read(self) -> bytes:
        """The next 20 ms to send."""
        ...

    def write(self, pcm: bytes) -> None:
        """20 ms that were heard."""
        ...

    def close(self) -> None: ...


class NullPort:
    def __init__(self) -> None:
        self._silence = SILENCE

    def tune(self, rate: int) -> None:
        self._silence = bytes(2 * (rate // 50))

    def read(self) -> bytes:
        return self._silence

    def write(self, pcm: bytes) -> None:
        pass

    def close(self) -> None:
        pass


class TonePort(NullPort):
    def __init__(self, hz: int) -> None:
        super().__init__()
        self._hz = hz
        self._oscillator = Oscillator(hz)

    def tune(self, rate: int) -> None:
        super().tune(rate)
        self._oscillator = Oscillator(self._hz, rate=rate)

    def read(self) -> bytes:
        return self._oscillator.read()


class MelodyPort(NullPort):
    def __init__(self, notes: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self._notes = notes
        self._frames = self._play(notes, SAMPLE_RATE)

    def tune(self, rate: int) -> None:
        super().tune(rate)
        self._frames = self._play(self._notes, rate)

    def read(self) -> bytes:
        return next(self._frames)

    @staticmethod
    def _play(notes: tuple[tuple[int, int], ...], rate: int) -> Iterator[bytes]:
        silence = bytes(2 * (rate // 50))
        for hz, ms in cycle(notes):
            oscillator = Oscillator(hz, rate=rate) if hz else None
            for _ in range(max(1, ms // 20)):
                yield oscillator.read() if oscillator else silence


class EchoPort(NullPort):
    """Written just before it is read, on the same beat: so it adds nothing to the jitter buffer's delay."""

    def __init__(self) -> None:
        super().__init__()
        self._heard: deque[bytes] = deque(maxlen=1)

    def tune(self, rate: int) -> None:
        super().tune(rate)
        self._heard.clear()

    def read(self) -> bytes:
        return self._heard.popleft() if self._heard else super().read()

    def write(self, pcm: bytes) -> None:
        self._heard.append(pcm)


class SampledPort(NullPort):
    """Samples of a rate of their own, converted as they are read, 20 ms at a time; silence after their end."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self._rate = rate
        self._frame = FRAME
        self._resampler = make_resampler(rate, SAMPLE_RATE)
        self._samples: array[int] = array("h")
        self.finished = False

    def tune(self, rate: int) -> None:
        if rate // 50 != self._frame:
            super().tune(rate)
            self._frame = rate // 50
            self._resampler = make_resampler(self._rate, rate)
            self._samples = array("h")  # some milliseconds are lost where a call changes its codec in the middle

    def read(self) -> bytes:
        while len(self._samples) < self._frame and not self.finished:
            # 20 ms at a time: the conversion in pure Python takes some 4 ms of them.
            samples = self._take(-(-self._rate // 50))
            if samples is None:
                self.finished = True
                self._samples += self._resampler.flush()
            else:
                self._samples += self._resampler.push(samples)
        frame = pcm_of(self._samples[: self._frame])
        del self._samples[: self._frame]
        return frame + bytes(2 * self._frame - len(frame))

    def _take(self, count: int) -> array[int] | None:
        """Some *count* samples, mono; None at the end."""
        raise NotImplementedError
