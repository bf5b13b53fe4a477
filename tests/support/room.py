"""A room with a loudspeaker and a microphone, and voices to fill it: what an echo canceller is judged by."""

from __future__ import annotations

from math import log10
from typing import Any

import numpy as np

PEAK = 12000


def voice(seconds: float, rate: int, *, pitch: float, seed: int) -> Any:
    """Speech without words, samples as floats: a gliding pitch, syllables of three formants, pauses."""
    source, count = np.random.default_rng(seed), int(seconds * rate)
    glide = pitch * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * np.arange(count) / rate + seed))
    pulses = ((np.cumsum(glide / rate) % 1) < 0.3) - 0.3 + 0.05 * source.normal(size=count)
    syllable, spoken = int(0.18 * rate), np.zeros(count)
    frequencies = np.fft.rfftfreq(2 * syllable, 1 / rate)
    for at in range(0, count - syllable, syllable):
        formants = ((source.uniform(300, 800), 90), (source.uniform(900, 2300), 120), (source.uniform(2400, 3200), 160))
        mouth = sum(1 / (1 + ((frequencies - hz) / width) ** 2) for hz, width in formants)
        if source.random() < 0.8:
            sound = np.fft.irfft(np.fft.rfft(pulses[at : at + syllable], 2 * syllable) * mouth)[:syllable]
            spoken[at : at + syllable] = sound * np.hanning(syllable)
    return spoken / np.abs(spoken).max() * PEAK


class Room:
    """Block by block: what the microphone hears of what the loudspeaker plays, after *delay_s* and with a tail.

    The walls swallow 60 dB in 0.35 s; a microphone has noise of its own.  Another *seed* is another place in the room.
    """

    def __init__(self, rate: int, *, delay_s: float = 0.06, gain: float = 0.35, seed: int = 1) -> None:
        self._rate, self._delay, self._gain = rate, int(delay_s * rate), gain
        self._noise = np.random.default_rng(9)
        self.move(seed)
        self._coming = np.zeros(0)

    def move(self, seed: int) -> None:
        """Somebody carries the microphone elsewhere."""
        tail = int(0.25 * self._rate)
        source, decay = np.random.default_rng(seed), np.exp(-np.arange(tail) / (0.05 * self._rate))
        self._response = np.zeros(self._delay + tail)
        # As much energy in the tail at every rate.
        self._response[self._delay :] = source.normal(size=tail) * decay * 0.02 * (16000 / self._rate) ** 0.5
        self._response[self._delay] += self._gain

    def hear(self, played: Any, spoken: Any) -> Any:
        """16-bit samples, as many as were *played*; *spoken* is what a person says meanwhile."""
        count = len(played)
        size = 1 << (count + len(self._response) - 1).bit_length()
        echo = np.fft.irfft(np.fft.rfft(played, size) * np.fft.rfft(self._response, size), size)
        echo[: len(self._coming)] += self._coming
        self._coming = echo[count:]
        heard = echo[:count] + spoken + self._noise.normal(0, 4, count)
        return heard.round().clip(-32768, 32767).astype("<i2")


def level_db(samples: Any) -> float:
    """Mean power."""
    return 10 * log10(float(np.mean(np.asarray(samples, dtype=float) ** 2)) + 1e-9)


def likeness(heard: Any, spoken: Any, rate: int) -> tuple[float, float]:
    """How much of *heard* is *spoken* (correlation: 0 to 1), and how much louder in dB, at the best delay."""
    reach = int(0.03 * rate)
    heard, spoken = np.asarray(heard, dtype=float), np.asarray(spoken[: len(heard) - reach], dtype=float)
    size = 1 << (2 * len(heard)).bit_length()
    products = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(spoken, size).conj(), size)[:reach]
    part = heard[int(products.argmax()) :][: len(spoken)]
    alike = float(products.max() / np.sqrt((part @ part) * (spoken @ spoken)))
    return alike, level_db(part) - level_db(spoken)
