"""The loudspeaker in the microphone: what takes it out again, and how both are kept in step until it does."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

__all__ = ["EchoCanceller", "EchoPolicy", "join_pairs", "split_pairs"]

EchoPolicy: TypeAlias = Literal["off", "auto", "required"]
"""``auto``: where the library for it is installed."""


class EchoCanceller(Protocol):
    """Belongs to one microphone and one loudspeaker, and learns the room between them.

    PCM is signed 16 bit, little-endian, mono, at the rate it was made for.
    """

    def cancel(self, captured: bytes, played: bytes) -> bytes:
        """What of whole 10 ms that were *captured* is not the echo of what was *played*; as many octets as each has.

        *played* was given to the loudspeaker at the moment at which *captured* was taken from the microphone.
        """
        ...


def join_pairs(captured: bytes, played: bytes) -> bytes:
    """Sample beside sample, so that they stay together on their way: an echo keeps its delay."""
    pairs = bytearray(2 * len(captured))
    for at, pcm in ((0, captured), (2, played)):
        pairs[at::4], pairs[at + 1 :: 4] = pcm[0::2], pcm[1::2]
    return bytes(pairs)


def split_pairs(pairs: bytes) -> tuple[bytes, bytes]:
    """What was captured, and what was played meanwhile."""
    captured, played = bytearray(len(pairs) // 2), bytearray(len(pairs) // 2)
    for at, pcm in ((0, captured), (2, played)):
        pcm[0::2], pcm[1::2] = pairs[at::4], pairs[at + 1 :: 4]
    return bytes(captured), bytes(played)
