"""Reliable provisional responses, heard: each is acknowledged by PRACK, in order (RFC 3262, as the calling side).

Who says them is in :mod:`~sipcli.sip.calls.reliable_uas`. One fork counts by itself: RSeq belongs to an early dialog.
A PRACK that is challenged is of use for 64*T1 only, for then the callee gives the call up (section 3), and nobody
should be asked for a secret that comes too late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipcli.sip.oneshot import OneShot, patience_for
from sipcli.sip.syntax.message import Message, Response

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.calls.invite import OutgoingCall
    from sipcli.sip.core import Core
    from sipcli.sip.dialog import Dialog
    from sipcli.sip.profile import Reliability

__all__ = ["OPTION", "Provisionals", "is_reliable", "option_tags", "reliability", "supported"]

OPTION = "100rel"


def reliability(account: AccountState | None) -> Reliability:
    """What *account* wants; somebody without one takes it where it is offered."""
    return "supported" if account is None else account.profile.reliable


def supported(core: Core, account: AccountState | None) -> tuple[str, ...]:
    """The option tags that we understand on behalf of *account*."""
    off = reliability(account) == "off"
    return tuple(tag for tag in core.config.supported if not (off and tag == OPTION))


def option_tags(message: Message, *names: str) -> frozenset[str]:
    """The option tags in the header fields *names* of *message*, in lower case."""
    return frozenset(tag.lower() for name in names for tag in message.values(name))


def is_reliable(response: Response) -> bool:
    """Does *response* demand a PRACK?  Only 101 to 199 may (section 3)."""
    return 100 < response.status < 200 and OPTION in option_tags(response, "Require")


class Provisionals:
    """The reliable provisional responses of one early dialog, and our PRACKs to them."""

    __slots__ = ("_call", "_core", "_last", "_pracks", "dialog", "sdp", "settled", "updates")

    def __init__(self, core: Core, call: OutgoingCall, dialog: Dialog) -> None:
        self._core = core
        self._call = call
        self.dialog = dialog
        self.sdp: bytes | None = None
        """The description that came in this early dialog last; the first reliable one stays."""
        self.settled = False
        """It came reliably, so that it *is* the answer to our offer (RFC 3262 section 5)."""
        self.updates = False
        """The other side says that it takes UPDATE (RFC 3311 section 4)."""
        self._last: int | None = None
        self._pracks: set[OneShot] = set()

    def take(self, response: Response) -> bool:
        """Acknowledge *response* if its turn has come.  False: it must not be looked at (section 4).

        That is so for one that was heard before, and for one that came before its predecessor: the callee repeats it.
        """
        number = _rseq(response)
        if number is None:
            self._core.warn("100rel", "a provisional response demands PRACK and has no RSeq")
            return True  # nothing that could be acknowledged: it rings all the same
        if self._last is not None and number != self._last + 1:
            return False
        self._last = number
        headers = (("RAck", f"{number} {response.cseq.number} {response.cseq.method}"),)
        prack = OneShot(
            self._core,
            self.dialog.account,
            self.dialog.letter("PRACK", headers=headers),
            call=self._call,
            patience=patience_for("PRACK", self._core.config.timers.f),
            flow_home=self.dialog.flow_for,
            on_done=lambda response, why: self._pracks.discard(prack),
        )
        self._pracks.add(prack)
        prack.start()
        return True

    def describe(self, response: Response, sdp: bytes | None) -> bytes | None:
        """What is new in *sdp*, which *response* brought: nothing, after an answer that came reliably."""
        if "allow" in response.headers:
            self.updates = "UPDATE" in (method.upper() for method in response.values("Allow"))
        if sdp is None or self.settled:
            return None
        self.sdp, self.settled = sdp, is_reliable(response)
        return sdp

    def stop(self) -> None:
        """The early dialog is over: a PRACK that waits for a secret is not sent any more."""
        for prack in tuple(self._pracks):
            prack.stop()
        self._pracks.clear()


def _rseq(response: Response) -> int | None:
    """1 to 2**31 - 1 in the first of a row, up to 2**32 - 1 after it (section 7.1)."""
    text = response.find("RSeq") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) < 2**32 else None
