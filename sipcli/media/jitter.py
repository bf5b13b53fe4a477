"""Packets in as the network brings them, out as playout wants them: order, adaptive delay, loss (RFC 3550 6.4.1).

The depth follows the jitter. A late packet stretches the delay by the frame it missed; when every packet of two
seconds has waited longer than it need have, one or more are dropped. So the delay breathes with the
network, and a peer whose clock runs faster or slower than ours does no harm.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from sipcli.media.rtp import RtpPacket

__all__ = ["JitterBuffer", "Nothing", "Putting"]


class Nothing(Enum):
    """Why :meth:`JitterBuffer.take` has no packet."""

    LOST = auto()
    """This packet will not be played any more: conceal one packet and ask again when that is used up."""
    EMPTY = auto()
    """Nothing is due: conceal or be silent for this frame, the packet may still come."""


class Putting(Enum):
    """What became of a packet."""

    KEPT = auto()
    LATE = auto()
    DUPLICATE = auto()


class _Held(NamedTuple):
    packet: RtpPacket
    arrived: float


class JitterBuffer:
    """Keyed by extended sequence number.  All times in seconds; *now* never goes back."""

    FRAME_S = 0.02
    _CAPACITY = 50
    _REVIEW_TAKES = 100
    _STARVED_TAKES = 5

    def __init__(self, *, minimum_s: float = 0.04, maximum_s: float = 0.2) -> None:
        self._minimum_s, self.maximum_s = minimum_s, maximum_s
        self._held: dict[int, _Held] = {}
        self._next: int | None = None
        self._playing = False
        self._given_up: set[int] = set()
        self._starved = 0
        self._takes = 0
        self._least_wait_s = float("inf")
        self.packet_s = self.FRAME_S
        self.target_s = minimum_s
        self.delay_s = 0.0
        """How long packets wait here: a moving average."""
        self.late = 0
        self.duplicates = 0
        self.dropped = 0
        """Packets left out to shorten the delay."""
        self.waited_for = 0
        """Lost packets whose time has passed already, while we waited for them: they get no LOST of their own."""

    @property
    def playing(self) -> bool:
        """False while it fills up: before the first packet, and after a pause."""
        return self._playing

    def __len__(self) -> int:
        return len(self._held)

    def put(self, sequence: int, packet: RtpPacket, now: float, jitter_s: float) -> Putting:
        """Keep *packet*; *sequence* is extended, *jitter_s* the stream's present estimate."""
        # Three times the mean deviation covers nearly all arrivals of a network that is not broken.
        self.target_s = min(self.maximum_s, max(self._minimum_s, self.packet_s + 3 * jitter_s))
        if self._next is not None and sequence < self._next:
            if sequence not in self._given_up:
                self.duplicates += 1
                return Putting.DUPLICATE
            self._given_up.discard(sequence)
            self.late += 1
            return Putting.LATE
        if sequence in self._held:
            self.duplicates += 1
            return Putting.DUPLICATE
        self._held[sequence] = _Held(packet, now)
        if len(self._held) > self._CAPACITY:
            self._shorten(len(self._held) - max(1, round(self.target_s / self.packet_s)))
        return Putting.KEPT

    def take(self, now: float) -> RtpPacket | Nothing:
        """The next packet to play, or why there is none."""
        if not self._held:
            return self._starve()
        # Nothing that is kept comes before what is due, so in an orderly stream nothing need be looked for.
        first = self._next if self._playing and self._next in self._held else min(self._held)
        if not self._playing:
            if now - self._held[first].arrived < self.target_s - self.FRAME_S / 2:
                return Nothing.EMPTY
            # What went missing during a pause is not concealed afterwards.
            self._playing, self._next = True, first
        assert self._next is not None
        if first != self._next:
            return self._miss(first, now)
        self._starved = 0
        held = self._held.pop(first)
        self._next = first + 1
        self.delay_s += (now - held.arrived - self.delay_s) / 16
        self._review(now - held.arrived)
        return held.packet

    @property
    def following(self) -> RtpPacket | None:
        """The packet right after the one that :meth:`take` just called lost, if it is here: it may hold redundancy."""
        held = None if self._next is None else self._held.get(self._next)
        return None if held is None else held.packet

    def reset(self) -> None:
        """A new source: forget the packets, keep the counts."""
        self._held.clear()
        self._given_up.clear()
        self._next, self._playing, self._starved = None, False, 0

    def _starve(self) -> Nothing:
        if self._playing:
            self._starved += 1
            self._least_wait_s = 0.0
            if self._starved >= self._STARVED_TAKES:
                self._playing = False
        return Nothing.EMPTY

    def _miss(self, first: int, now: float) -> RtpPacket | Nothing:
        """The packet that is due is not here, *first* is the next that is."""
        assert self._next is not None
        gap = first - self._next
        # By the packet that was the least delayed of those that are here: the others' jitter is no reason to wait.
        expected = min(held.arrived - (number - self._next) * self.packet_s for number, held in self._held.items())
        overdue_s = now - expected
        if overdue_s < self.target_s - self.FRAME_S / 2 and self._starved < self._STARVED_TAKES:
            # Too shallow to tell loss from reordering: wait for it, which deepens the buffer by a frame.
            return self._starve()
        if (first - self._next) * self.packet_s > self.maximum_s:
            # Longer than anything that could still come: the peer has jumped ahead.
            self._next = first
            return self.take(now)
        # What was filled up while we waited is not concealed again: or each loss would deepen the buffer.
        filled, self._starved = min(int(self._starved * self.FRAME_S / self.packet_s + 1e-6), gap), 0
        if filled:
            self._give_up(filled)
            self.waited_for += filled
            return self.take(now)
        self._give_up(1)
        return Nothing.LOST

    def _give_up(self, count: int) -> None:
        """Go on after *count* more packets that did not come."""
        assert self._next is not None
        self._given_up.update(range(self._next, self._next + count))
        if len(self._given_up) > 4 * self._CAPACITY:
            self._given_up = {sequence for sequence in self._given_up if sequence > self._next - self._CAPACITY}
        self._next += count

    def _review(self, waited_s: float) -> None:
        self._takes += 1
        self._least_wait_s = min(self._least_wait_s, waited_s)
        if self._takes >= self._REVIEW_TAKES:
            # Even the latest waited so much longer than the first had to: less would do.
            excess = (self._least_wait_s - self.target_s + self.FRAME_S / 2) / self.packet_s + 1e-6
            if excess >= 1:
                self._shorten(max(1, int(excess / 2)))
            self._takes, self._least_wait_s = 0, float("inf")

    def _shorten(self, packets: int) -> None:
        for sequence in sorted(self._held)[:packets]:
            del self._held[sequence]
            self._next = sequence + 1
            self.dropped += 1
