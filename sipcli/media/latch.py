"""From whom a stream is accepted: symmetric RTP, learnt once, then locked (RFC 4961; threat: RTP injection)."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["Address", "SourceLatch"]

Address: TypeAlias = tuple[str, int]


class SourceLatch:
    """The negotiated address is always right; another one is learnt if nothing came from the negotiated one.

    Behind a NAT the peer's SDP names an address that its packets never come from. So three packets in a row
    of one SSRC from one other address teach it, once; from then on strangers are not heard. Packets from the
    negotiated address take over even then: the signalling vouches for it, and whoever was first does not.
    """

    PACKETS = 3

    def __init__(self) -> None:
        self._negotiated: Address | None = None
        self._open = False
        self._locked: Address | None = None
        self._candidate: tuple[Address, int] | None = None
        self._seen = 0
        self.strangers = 0
        """Packets that were not believed."""

    def negotiate(self, address: Address | None) -> None:
        """An offer/answer exchange named *address*; the same as before keeps what was learnt.

        None: it named a host that we cannot know the address of. Before the first call nobody is believed.
        """
        if address != self._negotiated or not self._open:
            self._negotiated, self._locked, self._open = address, None, True
            self._candidate, self._seen = None, 0

    def pin(self, address: Address) -> None:
        """The peer has proven that he is at *address* (ICE): there, and nowhere else, until the next negotiation."""
        self._negotiated = self._locked = address
        self._open = True

    def learn(self, address: Address) -> None:
        """Keys were agreed on with somebody at *address* who has the peer's certificate: that is where the peer is."""
        self._locked = address

    @property
    def destination(self) -> Address | None:
        """Where our packets go."""
        return self._locked or self._negotiated

    @property
    def locked(self) -> Address | None:
        """Whose packets are heard, once it is decided."""
        return self._locked

    @property
    def learnt(self) -> bool:
        """The peer is elsewhere than its SDP said."""
        return self._locked is not None and self._locked != self._negotiated

    def accepts(self, source: Address, ssrc: int, *, learn: bool = True) -> bool:
        """Whether a packet of *ssrc* from *source* is the peer's; *learn*: packets are expected at all."""
        if source == self._locked:
            return True
        if source == self._negotiated:
            self._locked = source
            return True
        if self._locked is None and self._open and learn:
            candidate = (source, ssrc)
            self._seen = self._seen + 1 if candidate == self._candidate else 1
            self._candidate = candidate
            if self._seen >= self.PACKETS:
                self._locked = source
                return True
        self.strangers += 1
        return False
