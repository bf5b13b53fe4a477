"""What both kinds of call share: their states, the verbs inside the dialog, the BYE, and what the other side asks.

RFC 3261 sections 12.2, 14 and 15; RFC 3311, RFC 3428, RFC 6086.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Literal, cast

from sipcli.errors import LocalProtocolError
from sipcli.sip.calls.consequences import consequence
from sipcli.sip.calls.dialogrequests import DialogRequests
from sipcli.sip.calls.farewell import Farewell
from sipcli.sip.calls.infopackage import RECEIVED, is_refused
from sipcli.sip.calls.refer import Referrals
from sipcli.sip.calls.reliable import supported
from sipcli.sip.calls.reoffer import PendingOffer, Reoffer
from sipcli.sip.calls.session_timer import MIN_INTERVAL, SessionTimer, is_too_brief
from sipcli.sip.calls.transfer import Transfer
from sipcli.sip.events import AnyCall, CallEnded, CallLeaving, InfoReceived, MessageReceived, Why
from sipcli.sip.flow import Flow
from sipcli.sip.oneshot import OneShot, patience_for
from sipcli.sip.subscriptions.notified import allowed_events
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.syntax.uri import NameAddr
from sipcli.sip.targets import ANONYMOUS_USER, contact_uri
from sipcli.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.auth import AuthSession
    from sipcli.sip.core import Core
    from sipcli.sip.dialog import Dialog

__all__ = ["Call", "CallState"]

Party = Literal["local", "remote", "network"]


class CallState(Enum):
    """Outgoing::

        IDLE → INVITING → EARLY → CONFIRMED → ENDING → ENDED
               INVITING → CANCEL_WANTED (no 1xx yet) → CANCELLING → ENDED
               INVITING, EARLY → REDIRECTED (3xx, somebody decides) → INVITING or ENDED

    Incoming: ``RINGING → ACCEPTED (2xx out, no ACK yet) → CONFIRMED → ENDING → ENDED``.
    """

    IDLE = "idle"
    INVITING = "inviting"
    EARLY = "early"
    CANCEL_WANTED = "cancel wanted"
    CANCELLING = "cancelling"
    REDIRECTED = "redirected"
    RINGING = "ringing"
    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"
    ENDING = "ending"
    ENDED = "ended"


class Call:
    """Base of :class:`~sipcli.sip.calls.invite.OutgoingCall` and :class:`~sipcli.sip.calls.answer.IncomingCall`.

    ``id`` is short and ours, ``sip_call_id`` is the Call-ID on the wire;
    ``account`` is None for a call of no account.
    """

    direction: Literal["outgoing", "incoming"]

    def __init__(self, core: Core, account: AccountState | None, sip_call_id: str, remote: NameAddr) -> None:
        self._core = core
        self._account = account
        self._session: AuthSession | None = account.session_for(shared=None) if account is not None else None
        self.id = core.new_id("call")
        self.account = account.name if account is not None else None
        self.sip_call_id = sip_call_id
        self.remote = remote
        self.state = CallState.IDLE
        self.dialog: Dialog | None = None
        self._reoffer = Reoffer(core, self)
        self._last_words: tuple[Party, Why, Response | None] = ("local", None, None)
        self._bye: Farewell | None = None
        self.requests = DialogRequests(core, self)
        self.timer = SessionTimer(core, self)
        self.referrals = Referrals(core, self)
        self.transfer: Transfer | None = None
        core.calls[self.id] = self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state.value} {self.remote.uri}>"

    @property
    def me(self) -> AnyCall:
        """This call, typed as the events want it."""
        return cast("AnyCall", self)

    @property
    def owns_call_id(self) -> bool:
        """Whether we made the Call-ID: after a glare its owner waits longer (RFC 3261 section 14.1)."""
        return self.direction == "outgoing"

    def belongs_to(self, accounts: Container[AccountState | None]) -> bool:
        return self._account in accounts

    @property
    def settled(self) -> bool:
        """The first offer, answer and ACK are through: the session may be changed."""
        raise TypeError("an outgoing or an incoming call")

    @property
    def over(self) -> bool:
        return self.state in (CallState.ENDING, CallState.ENDED)

    @property
    def made_over(self) -> Flow | None:
        """The flow that its INVITE took."""
        raise TypeError("an outgoing or an incoming call")

    def may_be_referred(self, dialog: Dialog, flow: Flow) -> bool:
        """Is a REFER that came over *flow* the other side's?  It came as the call did, or by our own server (T22)."""
        if dialog is not self.dialog or not self.settled:
            return False
        if self._account is not None and dialog.at_home and self._account.origin(flow).bound:
            return True
        made = self.made_over
        return not dialog.at_home and made is not None and made.remote[0] == flow.remote[0]

    @property
    def adrift(self) -> bool:
        """The call is up, and what carried it is gone: the other side cannot reach us until a re-INVITE says where."""
        if self.state is not CallState.CONFIRMED or self.dialog is None:
            return False
        flow = self.dialog.flow
        return flow is None or not self._core.flows.alive(flow)

    @property
    def answered(self) -> bool:
        """The first INVITE has its 2xx, and the call is not over."""
        return self.state in (CallState.CONFIRMED, CallState.ACCEPTED)

    def pending_offer(self, dialog: Dialog) -> PendingOffer:
        """Of the INVITE's offer and answer, in *dialog*."""
        raise TypeError("an outgoing or an incoming call")

    def offer_way(self) -> tuple[str, Dialog] | None:
        """The method, and the dialog, by which a new offer of ours may go now; None: it must wait, or cannot be."""
        return ("INVITE", self.dialog) if self.settled and self.dialog is not None else None

    # -- commands --------------------------------------------------------------------------------------

    def hangup(self) -> None:
        """End the call in whatever state it is.  Idempotent; ``CallEnded`` follows."""
        raise TypeError("an outgoing or an incoming call")

    def reinvite(self, sdp: bytes) -> None:
        """Offer *sdp* anew (hold, resume…); ``CallReanswered`` follows.  Waits its turn; the latest offer wins.

        Before the call is answered it goes by UPDATE, and only where the first answer came reliably (RFC 3311).
        """
        if self.state not in (CallState.CONFIRMED, CallState.ACCEPTED) and self.offer_way() is None:
            raise LocalProtocolError("a session can be changed once the call is answered, and before it ends")
        self._reoffer.offer(sdp)

    def replace_offer(self, sdp: bytes) -> None:
        """Fresh SDP for a re-INVITE that has not gone out yet (``CallOfferStale``).  Nothing waits: nothing is done."""
        self._reoffer.replace(sdp)

    def answer_reinvite(self, sdp: bytes) -> bool:
        """Accept their re-INVITE or UPDATE.  False: it was withdrawn meanwhile, and nothing went out."""
        return self._reoffer.answer(sdp)

    def reject_reinvite(self, code: int = 488) -> bool:
        """Refuse it: the session stays as it was (RFC 3261 section 14.2)."""
        return self._reoffer.reject(code)

    def request(
        self,
        method: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> OneShot:
        """A request inside the call (INFO, MESSAGE, OPTIONS…); ``RequestDone`` follows."""
        patience = patience_for(method, self._core.config.timers.f)
        return self.requests.send(method, headers, body, content_type, patience=patience)

    def refer(self, target: str, headers: Sequence[tuple[str, str]] = ()) -> Transfer:
        """Ask the other side to call *target*, a whole Refer-To; ``TransferChanged`` follows.  One at a time."""
        if self.transfer is not None and not self.transfer.done:
            raise LocalProtocolError("the call is being transferred already")
        self.transfer = Transfer(self._core, self, target)
        self.transfer.start(headers)
        return self.transfer

    def keep_session(self, interval: int) -> SessionTimer:
        """Refresh the session every *interval* / 2 seconds, and hang up if that fails (RFC 4028)."""
        if interval < MIN_INTERVAL:
            raise LocalProtocolError(f"a session interval is {MIN_INTERVAL} s at least")
        if self.state is not CallState.CONFIRMED:
            raise LocalProtocolError("a session can be kept once the call is answered, and before it ends")
        self.timer.keep(interval)
        return self.timer

    # -- the end ---------------------------------------------------------------------------------------

    def _say_bye(self, by: Party, *, why: Why = None, response: Response | None = None, wait: bool = True) -> None:
        """Hang up a session: BYE, and ``CallEnded`` when it is through (RFC 3261 section 15.1.1).

        Without *wait* it is over at once: nobody waits for an answer from who gives none.
        """
        if self.state in (CallState.ENDING, CallState.ENDED):
            return
        self.state = CallState.ENDING
        self._reoffer.stop()
        self.timer.stop()
        self.requests.stop()
        self._core.wheel.disarm(self)
        self._last_words = (by, why, response)
        assert self.dialog is not None
        self._bye = Farewell(self._core, self.dialog, self if wait else None)
        self._bye.exchange.closing = self._account is not None and self._account.closed
        self._bye.start()
        if wait:
            self._core.emit(CallLeaving(self.me))
        else:
            self._end(by, why=why, response=response)

    def on_farewell(self, response: Response | None, why: Why) -> None:
        """The BYE ended, well or not: either way the session is over (section 15.1.1)."""
        by, cause, final = self._last_words
        cause, said = cause if cause is not None else why, response is not None
        self._end(by, why=cause, response=final, bye_answered=said)

    def _end(
        self,
        by: Party,
        *,
        code: int | None = None,
        reason: str = "",
        why: Why = None,
        response: Response | None = None,
        bye_answered: bool | None = None,
    ) -> None:
        if self.state is CallState.ENDED:
            return
        self.state = CallState.ENDED
        self._reoffer.stop()
        self.timer.stop()
        self.requests.stop()
        self._on_end()
        if self.transfer is not None:
            self.transfer.call_ended(by)
        core = self._core
        core.wheel.disarm(self)
        core.calls.pop(self.id, None)
        if self.dialog is not None:
            self.dialog.close()
        self._after_end()
        if response is not None and code is None:
            code, reason = response.status, response.reason
        core.emit(CallEnded(self.me, by, code, reason, why, response, bye_answered))

    def _on_end(self) -> None:
        """What a kind of call has to put away."""

    def _after_end(self) -> None:
        """What a kind of call has yet to answer when its dialog has closed."""

    def on_request_done(self, method: str, response: Response | None, why: Why) -> None:
        """A request inside the dialog ended, and the call with it where the answer is a word on more than that."""
        found = consequence(method, response, why)
        if found is None or self.state not in (CallState.CONFIRMED, CallState.ACCEPTED):
            return
        if self.adrift and response is not None and response.status not in (408, 481):
            return  # a proxy that was rebooted may have lost them, too: whoever seeks the way has a deadline of his own
        if found.bye:  # nobody waits: whoever has lost the call has nothing to say to it
            self._say_bye(found.by, why=found.why, response=response, wait=False)
        else:
            self._end(found.by, why=found.why, response=response)

    def on_silence(self, why: str) -> None:
        """The other side does not answer where it must: hang up (sections 12.2.1.2, 13.3.1.4)."""
        self._say_bye("network", why=why, wait=False)

    def on_timer(self, name: str) -> None:
        """Whatever a state waits for at most."""

    # -- their requests --------------------------------------------------------------------------------

    def on_request(self, dialog: Dialog, tx: ServerTransaction, request: Request) -> None:
        """A request inside *dialog* that is well formed, in order and of an allowed method."""
        if self.state in (CallState.ENDING, CallState.ENDED) and request.method != "BYE":
            tx.reply(481)
            return
        if request.method in ("INVITE", "UPDATE") and is_too_brief(request):
            tx.reply(422, headers=(("Min-SE", str(MIN_INTERVAL)),))
            return
        match request.method:
            case "BYE":
                self._on_bye(dialog, tx)
            case "INVITE":
                self._reoffer.on_invite(dialog, tx, request)
            case "UPDATE":
                self._reoffer.on_update(dialog, tx, request)
            case "PRACK":
                self._on_prack(tx, request)
            case "INFO" if is_refused(request):
                tx.reply(469, headers=(RECEIVED,))
            case "INFO":
                tx.reply(200)
                self._core.emit(InfoReceived(self.me, request))
            case "MESSAGE":
                tx.reply(200)
                self._core.emit(MessageReceived(self.account, request, tx.flow))
            case "REFER":
                self.referrals.on_refer(dialog, tx, request)
            case "SUBSCRIBE":
                self.referrals.on_subscribe(tx, request)
            case _:
                tx.reply(200, headers=self._abilities())

    def acknowledge_again(self, response: Response) -> bool:
        """A 2xx to an INVITE of ours that has no transaction any more; False if we know nothing of it."""
        return self._reoffer.acknowledge_again(response.cseq.number)

    def _on_bye(self, dialog: Dialog, tx: ServerTransaction) -> None:
        tx.reply(200)
        self._reoffer.stop()  # a re-INVITE of theirs that still waits is answered 487 (section 15.1.2)
        if self.state is CallState.ENDING:  # both hung up at once: our BYE finds its own end (RFC 5407 section 3.3)
            by, why, response = self._last_words
            self._end(by, why=why, response=response, bye_answered=True)
        else:
            self._end("remote")

    def _on_prack(self, tx: ServerTransaction, request: Request) -> None:
        tx.reply(481)  # we said nothing that wants one (RFC 3262 section 3)

    def _abilities(self) -> tuple[tuple[str, str], ...]:
        config = self._core.config
        return (
            config.allow_header,
            ("Accept", ", ".join(config.accept)),
            ("Supported", ", ".join(supported(self._core, self._account))),
            *allowed_events(config),
        )

    def contact(self, flow: Flow, *, secure: bool) -> str:
        """Our Contact in a response (section 12.1.1)."""
        if self._account is None:
            return f"<{contact_uri(ANONYMOUS_USER, flow, secure=secure)}>"
        return f"<{self._account.outbound.contact(flow, secure=secure)}>"
