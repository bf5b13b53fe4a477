"""Comfort noise: what a peer that fell silent wants heard instead of a dead line (RFC 3389)."""

from __future__ import annotations

from array import array

from sipcli.media.tone import pcm_of

__all__ = ["ComfortNoise"]

_SEED = 0x2545F491
_PATTERN_S = 0.5
_FULL_SCALE = 32768


class ComfortNoise:
    """White noise of *level_dbov* (0 is the loudest 16-bit square wave), cut out of half a second of it.

    Each 20 ms begin at another place, for what comes back every half second is heard as a beat; white noise has no
    seams.

    A payload may also hold reflection coefficients of the noise's spectrum; they are optional to use (RFC 3389
    section 3.2), and nobody would hear the difference at -50 dBov.
    """

    def __init__(self, level_dbov: int, rate: int) -> None:
        self._frame_octets = 2 * (rate // 50)
        self._noise = pcm_of(_white(int(rate * _PATTERN_S), _FULL_SCALE * 10 ** (-level_dbov / 20)))
        self._state = _SEED

    @classmethod
    def parse(cls, payload: bytes, rate: int) -> ComfortNoise:
        """The level is the first octet's lower seven bits, in -dBov (section 3.1); an empty payload means silence."""
        return cls(payload[0] & 0x7F if payload else 127, rate)

    def read(self) -> bytes:
        """The next 20 ms."""
        self._state = _stepped(self._state)
        at = 2 * (self._state % ((len(self._noise) - self._frame_octets) // 2))
        return self._noise[at : at + self._frame_octets]


def _stepped(state: int) -> int:
    """The next of 2 ** 32 numbers (Marsaglia's xorshift): this is no secret and must cost nothing."""
    state ^= state << 13 & 0xFFFFFFFF
    state ^= state >> 17
    return state ^ (state << 5 & 0xFFFFFFFF)


def _white(count: int, rms: float) -> array[int]:
    """*count* samples, evenly distributed."""
    reach = min(32767.0, rms * 3**0.5)
    state, samples = _SEED, array("h")
    for _ in range(count):
        state = _stepped(state)
        samples.append(int((state / 2**31 - 1) * reach))
    return samples
