"""Codecs without a memory: G.711 by table, and L16, which is PCM in network order (RFC 3551 section 4.5)."""

from __future__ import annotations

from sipcli.errors import ParseError
from sipcli.media import g711

__all__ = ["G711Decoder", "G711Encoder", "L16Decoder", "L16Encoder"]


class G711Encoder:
    """PCMU or PCMA."""

    def __init__(self, law: g711.Law) -> None:
        self._law: g711.Law = law

    def encode(self, pcm: bytes) -> bytes:
        return g711.encode(pcm, self._law)

    def expect_loss(self, percent: float) -> None:
        pass


class G711Decoder:
    """Every octet is a sample."""

    def __init__(self, law: g711.Law) -> None:
        self._law: g711.Law = law

    def decode(self, payload: bytes) -> bytes:
        return g711.decode(payload, self._law)

    def samples_in(self, payload: bytes) -> int:
        return len(payload)

    def conceal(self, samples: int, following: bytes | None) -> bytes | None:
        return None


class L16Encoder:
    """Nothing is lost, and 256 kbit/s are spent: for test benches on their own network."""

    def encode(self, pcm: bytes) -> bytes:
        return _swapped(pcm)

    def expect_loss(self, percent: float) -> None:
        pass


class L16Decoder:
    """The other way round."""

    def decode(self, payload: bytes) -> bytes:
        if len(payload) % 2:
            raise ParseError("L16: half a sample at the end")
        return _swapped(payload)

    def samples_in(self, payload: bytes) -> int:
        return len(payload) // 2

    def conceal(self, samples: int, following: bytes | None) -> bytes | None:
        return None


def _swapped(octets: bytes) -> bytes:
    """Our little-endian and the network's big-endian samples, whatever the machine's own order is."""
    out = bytearray(len(octets))
    out[0::2], out[1::2] = octets[1::2], octets[0::2]
    return bytes(out)
