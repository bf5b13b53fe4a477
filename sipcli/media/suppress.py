"""Silence suppression: which 20 ms need not be sent, and what the other side hears instead (RFC 3389, RFC 3551 4.1)."""

from __future__ import annotations

from math import log10

from sipcli.media.tone import samples_of, sum_of_squares

__all__ = ["SilenceSuppressor"]

_SPEECH_POWER = (10 ** (-45 / 20) * 32768) ** 2 / 2
"""-45 dBFS, as a mean square: a quiet room through a microphone is below it, and a voice is not."""
_HANGOVER = 15
"""Beats after the last sound that are sent as they are: words end softly."""
_EVERY = 20
"""Beats from one description of the noise to the next: as often as Opus sends one, so that none is missed for long."""


class SilenceSuppressor:
    """Fed every 20 ms; what is quiet for longer than 300 ms becomes a packet of comfort noise now and then."""

    def __init__(self) -> None:
        self._quiet = 0
        self._power = 0.0

    def judge(self, pcm: bytes) -> bytes | None:
        """The payload that describes the silence, empty where it was described; None: *pcm* is to be heard."""
        samples = samples_of(pcm)
        power = sum_of_squares(samples) / len(samples) if samples else 0.0
        if power >= _SPEECH_POWER:
            self._quiet = 0
            return None
        self._quiet += 1
        # The room, not one click in it: an average over the last beats.
        self._power = power if self._quiet == 1 else 0.8 * self._power + 0.2 * power
        if self._quiet <= _HANGOVER:
            return None
        return bytes([self._level]) if (self._quiet - _HANGOVER - 1) % _EVERY == 0 else b""

    @property
    def _level(self) -> int:
        """The noise level in -dBov (RFC 3389 section 3.1)."""
        return 127 if self._power < 1 else max(0, min(127, round(-10 * log10(self._power / 32768**2))))
