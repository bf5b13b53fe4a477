"""REFER from the other side of a call: what it asks, who decides, and how it is told what came of it.

RFC 3515; RFC 4488 (no subscription), RFC 3892 (Referred-By), RFC 3891 (Replaces), RFC 5589.  Nothing here follows
anything: the core waits for a word, and declines when nobody says one (threat T22).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.calls.replaces import Replaces
from sipcli.sip.events import CallReferred, Why
from sipcli.sip.oneshot import OneShot
from sipcli.sip.reasons import REASONS
from sipcli.sip.subscriptions.notified import allowed_events
from sipcli.sip.subscriptions.substate import EventType
from sipcli.sip.syntax.grammar import unescape
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.syntax.uri import NameAddr, SipUri
from sipcli.sip.targets import asks_for_sips

if TYPE_CHECKING:
    from sipcli.sip.calls.indialog import Call
    from sipcli.sip.core import Core
    from sipcli.sip.dialog import Dialog
    from sipcli.sip.transactions.transaction import ServerTransaction

__all__ = ["SIPFRAG", "Reference", "Referral", "ReferralState", "Referrals", "read_refer"]

SIPFRAG = "message/sipfrag"
DECIDE_LIMIT = 16.0
"""Seconds until a REFER that nobody decides is declined; its sender waits for 32 (RFC 3515 section 2.4.2)."""
LIFETIME = 360
"""Seconds a subscription lasts: longer than anything may ring."""
_MAX_REFERRED_BY = 512


class Reference(NamedTuple):
    """What a REFER asks for.

    *target* has neither headers nor a method; of its headers only *replaces* is
    taken, *dropped* names the others.  *referred_by* is for the new INVITE, word
    for word.  *subscribe* False: nobody wants to hear of it (RFC 4488).
    """

    target: SipUri
    replaces: Replaces | None = None
    referred_by: str | None = None
    subscribe: bool = True
    dropped: tuple[str, ...] = ()


def read_refer(request: Request) -> Reference:
    """Raises ParseError, whose ``status`` is the answer: 400, or 416 for a target that is not SIP."""
    values = request.values("Refer-To")
    if len(values) != 1:
        raise ParseError("a REFER has exactly one Refer-To")  # section 2.4.2
    uri = NameAddr.parse(values[0]).sip_uri
    if (method := uri.param("method")) is not None and method.upper() != "INVITE":
        raise ParseError(f"a REFER to {method[:16]} is not taken", status=403)
    headers = [(unescape(name).lower(), unescape(value)) for name, value in uri.headers]
    asked = [value for name, value in headers if name == "replaces"]
    if len(asked) > 1:
        raise ParseError("a Refer-To with more than one Replaces")
    return Reference(
        target=uri.replace(headers=(), password=None).without_param("method"),
        replaces=Replaces.parse(asked[0]) if asked else None,
        referred_by=_referred_by(request),
        subscribe=(request.find("Refer-Sub") or "true").partition(";")[0].strip().lower() != "false",
        dropped=tuple(sorted({name for name, _ in headers} - {"replaces"})),
    )


def _referred_by(request: Request) -> str | None:
    """Copied, not trusted (RFC 3892 section 2.2); the token that a ``cid`` points to stays behind, and so does it."""
    values = request.values("Referred-By")
    if not values:
        return None
    value, *more = values
    if more or len(value) > _MAX_REFERRED_BY:
        raise ParseError("a REFER has one Referred-By at most")
    who = NameAddr.parse(value)
    return str(NameAddr(who.display, who.uri, tuple(p for p in who.params if p[0].lower() != "cid")))


class ReferralState(Enum):
    """``ASKED → PENDING (202 out, a person decides) → ACTIVE → OVER``; each may be left for OVER."""

    ASKED = "asked"
    PENDING = "pending"
    ACTIVE = "active"
    OVER = "over"


class Referral:
    """One REFER of theirs.  ``refuse`` or ``accept`` it, then ``report`` how the new call goes."""

    __slots__ = ("_core", "_dialog", "_event", "_next", "_notify", "_said", "_tx", "call", "reference", "state")

    def __init__(
        self, core: Core, call: Call, dialog: Dialog, tx: ServerTransaction, request: Request, reference: Reference
    ) -> None:
        self._core = core
        self._dialog = dialog
        self._tx = tx
        self._event = EventType("refer", str(request.cseq.number))
        self._next: tuple[int, str, str] | None = None
        self._notify: OneShot | None = None
        self._said = (100, "Trying")
        self.call = call
        self.reference = reference
        self.state = ReferralState.ASKED

    @property
    def open(self) -> bool:
        """Is a word still wanted?"""
        return self.state is not ReferralState.OVER

    @property
    def undecided(self) -> bool:
        """Has nobody said yes or no?  Of two who are asked the first one decides."""
        return self.state in (ReferralState.ASKED, ReferralState.PENDING)

    def start(self) -> None:
        self._core.arm(self, "decide", DECIDE_LIMIT)
        self._core.emit(CallReferred(self.call.me, self))

    # -- commands --------------------------------------------------------------------------------------

    def refuse(self, code: int = 603, reason: str | None = None) -> None:
        """Say no: to the REFER, or, where a 202 went out already, by the last NOTIFY."""
        if self.state is ReferralState.ASKED:
            self._over()
            self._tx.reply(code, reason)
        else:
            self.report(code, reason)

    def accept(self, *, pending: bool = False) -> bool:
        """202 and the immediate NOTIFY; *pending*: somebody is asked, and it is called again.  False: too late."""
        if not self.open:
            return False
        first = self.state is ReferralState.ASKED
        self.state = ReferralState.PENDING if pending else ReferralState.ACTIVE
        if first:
            subscribe = self.reference.subscribe
            contact = self.call.contact(self._tx.flow, secure=asks_for_sips(self._tx.request))
            self._tx.reply(202, headers=(("Contact", contact), *(() if subscribe else (("Refer-Sub", "false"),))))
            self._core.arm(self, "expire", LIFETIME)
            self._core.wheel.disarm(self, "decide")
        if first or not pending:
            self._say(100, "Trying", self._alive())
        return True

    def report(self, code: int, reason: str | None = None) -> None:
        """How the new call goes: a status as its callee gave it; 200 and above is the last word."""
        if not self.open:
            return
        reason = reason or REASONS.get(code, "Unknown")
        final = code >= 200
        state = "terminated;reason=noresource" if final else self._alive()
        if final:
            self._over()
        elif (code, reason) == self._said:
            return
        self._say(code, reason, state)

    def unsubscribe(self) -> None:
        """They want to hear no more; that is no word on the new call (RFC 3515 section 2.4.4)."""
        self._over()
        self._say(*self._said, "terminated;reason=timeout")

    def covers(self, event: EventType) -> bool:
        return self.open and self.reference.subscribe and event in (self._event, EventType("refer"))

    def on_timer(self, name: str) -> None:
        if name == "decide":
            self.refuse()
        elif self.state is ReferralState.PENDING:
            self.report(603)
        else:
            self.report(408)

    # -- NOTIFYs, one after the other ------------------------------------------------------------------

    def _over(self) -> None:
        self.state = ReferralState.OVER
        self._core.wheel.disarm(self)

    def _alive(self) -> str:
        return f"{'pending' if self.state is ReferralState.PENDING else 'active'};expires={LIFETIME}"

    def _say(self, code: int, reason: str, state: str) -> None:
        """Two in flight could arrive in the wrong order; what changed meanwhile is told by the next."""
        self._said = (code, reason)
        if self.reference.subscribe:
            self._next = (code, reason, state)
            self._flush()

    def _flush(self) -> None:
        if self._next is None or self._notify is not None:
            return
        (code, reason, state), self._next = self._next, None
        letter = self._dialog.letter(
            "NOTIFY",
            contact="",
            headers=(("Event", str(self._event)), ("Subscription-State", state)),
            body=f"SIP/2.0 {code} {reason}\r\n".encode(),
            content_type=f"{SIPFRAG};version=2.0",
        )
        # Not one of the call's own requests: the subscription outlives its BYE.
        self._notify = OneShot(
            self._core,
            self._dialog.account,
            letter,
            call=self.call.me,
            flow_home=self._dialog.flow_for,
            on_done=self._notified,
        )
        self._notify.start()

    def _notified(self, response: Response | None, why: Why) -> None:
        self._notify = None
        if response is not None and response.status < 300:
            self._flush()
        else:
            self._next = None  # nobody listens any more (RFC 6665 section 4.2.2)
            self.reference = self.reference._replace(subscribe=False)
            self.call.on_request_done("NOTIFY", response, why)


class Referrals:
    """The REFERs that one call got: one at a time."""

    __slots__ = ("_call", "_core", "_last")

    def __init__(self, core: Core, call: Call) -> None:
        self._core = core
        self._call = call
        self._last: Referral | None = None

    def on_refer(self, dialog: Dialog, tx: ServerTransaction, request: Request) -> None:
        if not self._call.may_be_referred(dialog, self._core.arrival or tx.flow):
            self._core.warn("refer", f"{self._call.id}: a REFER from {tx.flow} is not the other side's")
            tx.reply(403)
            return
        if self._last is not None and self._last.open:
            tx.reply(491)
            return
        try:
            reference = read_refer(request)
        except ParseError as error:
            tx.reply(error.status, str(error)[:80] if error.status == 400 else None)
            return
        if _secure(self._call, dialog) and not reference.target.secure:
            self._core.warn("refer", f"{self._call.id}: a transfer from sips to sip is refused")
            tx.reply(403)
            return
        dialog.refresh(request)
        self._last = Referral(self._core, self._call, dialog, tx, request, reference)
        self._last.start()

    def on_subscribe(self, tx: ServerTransaction, request: Request) -> None:
        """Refresh or end what a REFER began; it cannot be begun so (section 2.4.4)."""
        try:
            event = EventType.of(request)
        except ParseError:
            tx.reply(400)
            return
        last = self._last
        if event.package != "refer":
            tx.reply(489, headers=allowed_events(self._core.config))
        elif last is None or not last.covers(event):
            tx.reply(403)
        elif request.expires == 0:
            tx.reply(200, headers=(("Expires", "0"),))
            last.unsubscribe()
        else:
            tx.reply(200, headers=(("Expires", str(LIFETIME)),))
            last.accept(pending=last.state is ReferralState.PENDING)


def _secure(call: Call, dialog: Dialog) -> bool:
    """Was the call made with sips?"""
    uris = (call.remote.uri, dialog.remote_target)
    return dialog.secure or any(uri.scheme == "sips" for uri in uris)
