"""What every codec has: its names and clocks as a value, and the two machines as protocols.

PCM is ``bytes``: signed 16 bit, little-endian, mono, :attr:`Codec.sample_rate` samples a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

__all__ = ["Codec", "Decoder", "Encoder", "Format"]

Format: TypeAlias = Mapping[str, str]
"""The parameters of an ``a=fmtp`` line, names in lower case."""


@dataclass(frozen=True, slots=True)
class Codec:
    """*name* is the encoding name of SDP, *payload_type* its static number, or the dynamic one of our offers.

    The RTP clock and the sampling rate are not the same thing: G.722 samples at 16 kHz and stamps
    at 8 kHz, for a mistake of RFC 1890 that RFC 3551 section 4.5.2 had to keep; Opus always stamps
    at 48 kHz and always says two channels (RFC 7587 section 7).
    """

    name: str
    payload_type: int
    clock_rate: int = 8000
    sample_rate: int = 8000
    channels: int = 1
    fmtp: str = ""
    """Of our offers and answers; empty: no line."""
    rests_s: float = 0.0
    """How long it may send nothing for a silence that goes on: its decoder knows how that sounds."""

    @property
    def rtpmap(self) -> str:
        """``PCMU/8000``, ``opus/48000/2``."""
        name = "opus" if self.name == "OPUS" else self.name
        return f"{name}/{self.clock_rate}" + (f"/{self.channels}" if self.channels > 1 else "")

    @property
    def key(self) -> tuple[str, int, int]:
        """What an rtpmap must say to mean this codec; encoding names have no case (RFC 8866 section 6.6)."""
        return self.name, self.clock_rate, self.channels

    @property
    def frame(self) -> int:
        """Samples in 20 ms."""
        return self.sample_rate // 50

    @property
    def ticks(self) -> int:
        """RTP clock units in 20 ms."""
        return self.clock_rate // 50


class Encoder(Protocol):
    """Belongs to one outgoing stream."""

    def encode(self, pcm: bytes) -> bytes:
        """The payload of 20 ms; empty when nothing need be sent (discontinuous transmission)."""
        ...

    def expect_loss(self, percent: float) -> None:
        """What the peer's reports say of our packets: an encoder may protect them better."""


class Decoder(Protocol):
    """Belongs to one incoming stream.  A gap is told in its place: decoders remember what they heard."""

    def decode(self, payload: bytes) -> bytes:
        """The PCM of one packet; ParseError when it is none of this codec's."""
        ...

    def samples_in(self, payload: bytes) -> int:
        """How many samples it will become; ParseError likewise."""
        ...

    def conceal(self, samples: int, following: bytes | None) -> bytes | None:
        """*samples* in place of a lost packet, out of the packet *following* it where that helps.

        None: the codec has no way of its own.
        """
        ...
