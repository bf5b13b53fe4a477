"""Who else uses our SSRC, or the peer's, and what that means (RFC 3550 section 8.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

from sipcli.media.rtcp import ReceiverReport, RtcpPacket, RtcpSchedule, SenderReport, SourceDescription

__all__ = ["Collisions", "sources_of"]

Address: TypeAlias = tuple[str, int]

_FORGOTTEN_S = 10 * RtcpSchedule.MINIMUM_S
"""Section 8.2: ten report intervals after its last packet, an address that collided may do so anew."""
_MOST = 16


class Collisions:
    """*cname* is ours: the only thing by which our own packets, sent back, differ from another's with our SSRC."""

    def __init__(self, cname: str) -> None:
        self._cname = cname
        self._conflicting: dict[Address, float] = {}
        self._peer: tuple[int, str] | None = None
        self.looped = 0
        """Packets of ours that came back."""
        self.third_party = 0
        """Reports of somebody who has the peer's SSRC and another name."""

    def is_new(self, source: Address, now: float) -> bool:
        """Somebody at *source* sends with our SSRC: must we take another?  Not again for who only sends ours back."""
        last = self._conflicting.pop(source, None)
        for address, seen in list(self._conflicting.items()):
            if now - seen > _FORGOTTEN_S or len(self._conflicting) >= _MOST:
                del self._conflicting[address]
        self._conflicting[source] = now
        if last is not None and now - last <= _FORGOTTEN_S:
            self.looped += 1
            return False
        return True

    def is_ours(self, packets: Collection[RtcpPacket]) -> bool:
        """A compound of our own that came back: it has our name in it."""
        ours = self._cname in _names(packets).values()
        self.looped += ours
        return ours

    def is_foreign(self, packets: Collection[RtcpPacket], peer: int | None) -> bool:
        """A compound about *peer*, whom we hear, under another name than his: the one who was first is kept."""
        name = None if peer is None else _names(packets).get(peer)
        if peer is None or name is None:
            return False
        if self._peer is None or self._peer[0] != peer:
            self._peer = peer, name
        foreign = self._peer[1] != name
        self.third_party += foreign
        return foreign


def sources_of(packets: Collection[RtcpPacket]) -> set[int]:
    """The SSRCs that speak in a compound."""
    reporters = {packet.ssrc for packet in packets if isinstance(packet, SenderReport | ReceiverReport)}
    return reporters | _names(packets).keys()


def _names(packets: Collection[RtcpPacket]) -> Mapping[int, str]:
    return {ssrc: name for packet in packets if isinstance(packet, SourceDescription) for ssrc, name in packet.cnames}
