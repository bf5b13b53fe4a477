"""ICE's part of offers and answers: what of it goes out, and what theirs comes to (RFC 8839 section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sipcli.errors import MediaFailed
from sipcli.media.agreement import Agreement
from sipcli.media.candidates import IceMismatch, LocalIce, PeerIce, Selected, find_ice
from sipcli.media.sdp import Attribute, MediaDescription, SessionDescription

__all__ = ["IceSide"]


class IceSide:
    """What a :class:`~sipcli.media.offer.Negotiator` knows of ICE.

    *local* is what we say of ourselves; whoever owns the sockets sets it, and a restart by the peer renews it.
    *required*: no agreement without ICE. *mismatch* says why the last exchange ended it.
    """

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._agreed: LocalIce | None = None
        self.local: LocalIce | None = None
        self.required = False
        self.mismatch: str | None = None
        self.update_due = False
        """The pair that was selected is another than the SDP says, and the peer wants to be told (RFC 8839 4.3.4)."""

    def begin(self, local: LocalIce) -> None:
        """We are elsewhere now: nothing of before may come back."""
        self.local = self._agreed = local

    def select(self, selected: Sequence[Selected], *, controlling: bool, tell: bool) -> None:
        """The checks are over; *tell*: the peer is of those who want an offer that says so."""
        if self.local is None:
            return
        before = self.local.default(1)
        self.local = self._agreed = self.local.settled(selected, controlling=controlling)
        self.update_due = tell and controlling and self.local.default(1) != before

    def restart(self) -> None:
        """The next offer, or this answer, begins anew (RFC 8839 section 4.4.1.1.1)."""
        if self.local is not None:
            self.local = self.local.restarted(self._random)

    def withdraw(self) -> None:
        """Our offer was refused: ICE goes on as if it had not been made (RFC 8839 section 4.4)."""
        if self._agreed is not None:
            self.local = self._agreed

    def offered(self, agreement: Agreement | None) -> list[Attribute]:
        """For an offer of ours; once the peer did without, ICE is over for this session (RFC 8839 section 4.3.3)."""
        if self.local is None or (agreement is not None and agreement.ice is None):
            return []
        # A peer that does not mux needs the second component, unless it has agreed to mux already.
        return self.local.attributes(mux=agreement is not None and agreement.rtcp_mux, asking=True)

    def answered(self, agreement: Agreement) -> list[Attribute]:
        """For an answer of ours that comes to *agreement*."""
        if agreement.ice is not None and self.local is not None:
            return self.local.attributes(mux=agreement.rtcp_mux, asking=False)
        # RFC 8839 section 4.2.5 case 1: they learn why there is none of ours.
        return [Attribute("ice-mismatch")] if self.mismatch and self.local is not None else []

    def hear(
        self, description: SessionDescription, media: MediaDescription, *, mux: bool, before: Agreement | None
    ) -> PeerIce | None:
        """What an answer says; MediaFailed (488) where ICE must be and is not."""
        self.mismatch = None
        if self.local is None:
            return None
        found = find_ice(description, media, mux=mux, known=None if before is None else before.ice)
        if isinstance(found, PeerIce):
            return found
        if isinstance(found, IceMismatch):
            self.mismatch = found.why
        if self.required:
            why = self.mismatch or "the other side does no ICE"
            raise MediaFailed(f"{why}, and we insist on it", code=488, reason="Not Acceptable Here")
        return None

    def hear_offer(
        self, description: SessionDescription, media: MediaDescription, *, mux: bool, before: Agreement | None
    ) -> PeerIce | None:
        """What an offer says; a restart is answered by one of ours."""
        found = self.hear(description, media, mux=mux, before=before)
        last = None if before is None else before.ice
        if found is not None and last is not None and found.is_restart_of(last):
            self.restart()
        return found

    def settle(self) -> None:
        """An exchange is complete."""
        self._agreed = self.local
