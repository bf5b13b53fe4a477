"""Subscriptions: to be told what happens to a mailbox, to somebody's presence, to the calls of others (RFC 6665).

::

    TRYING → ALIVE (its notifiers refresh) → LEAVING → GONE
             what was granted once, and is lost: → RETRYING → TRYING, with a Call-ID and tag of its own
             the first SUBSCRIBE failed, or the notifier wants us no more: → GONE

A NOTIFY makes the dialog, not the 2xx, which it may overtake (sections 4.1.2.4
and 4.4.1); a SUBSCRIBE that forked makes several, all of which are kept where
the event package merges them.
"""

from __future__ import annotations

from collections.abc import Container
from enum import Enum
from typing import TYPE_CHECKING

from sipcli.errors import ParseError
from sipcli.sip.dialog import Dialog
from sipcli.sip.events import NotifyReceived, SubscriptionChanged, SubscriptionPhase, Why
from sipcli.sip.exchange import Exchange
from sipcli.sip.flow import Flow
from sipcli.sip.letter import Letter
from sipcli.sip.pauses import backoff, retry_after
from sipcli.sip.softstate import SoftState, granted, verdict
from sipcli.sip.subscriptions.notifier import Notifier
from sipcli.sip.subscriptions.substate import EventType, SubscriptionState
from sipcli.sip.syntax.message import Request, Response, code_and_reason
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.targets import CSeqCounter, out_of_dialog
from sipcli.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core

__all__ = ["Phase", "Subscription"]

MAX_NOTIFIERS = 16
"""Forks of one SUBSCRIBE that we keep: what a stranger may make us hold (threat T23)."""
STEADY = 120.0
"""Seconds after which a subscription that is lost was a good one, and is asked for again at once."""


class Phase(Enum):
    TRYING = "trying"
    ALIVE = "alive"
    RETRYING = "retrying"
    LEAVING = "leaving"
    GONE = "gone"


class Subscription(SoftState):
    """What one ``subscribe`` asked for, over all its dialogs.

    *accept* are the media types that NOTIFYs may carry; *forks* keeps every
    notifier that answers, else the first; *expires* is in seconds, 0 asks for
    the state once (section 4.4.3).
    """

    __slots__ = (
        "_account",
        "_begun_at",
        "_cseq",
        "_granted",
        "_granted_once",
        "_losses",
        "_notifiers",
        "_numbers",
        "_session",
        "_tag",
        "_told",
        "_until",
        "accept",
        "call_id",
        "event",
        "forks",
        "id",
        "phase",
        "target",
    )

    def __init__(
        self,
        core: Core,
        account: AccountState | None,
        target: SipUri,
        event: str,
        *,
        accept: tuple[str, ...],
        expires: int,
        forks: bool,
        shared_auth: bool | None = None,
    ) -> None:
        super().__init__(core, expires=expires)
        self._account = account
        self._session = None if account is None else account.session_for(shared=shared_auth)
        self.id = core.new_id("sub")
        self.target = target
        self.event = EventType(event)
        self.accept = accept
        self.forks = forks
        self.phase = Phase.TRYING
        self.call_id = self._tag = ""
        self._cseq = CSeqCounter()
        self._notifiers: dict[str, Notifier] = {}
        self._numbers = 0
        self._granted: int | None = None
        self._granted_once = False
        self._until = 0.0
        """Timer N: until then a NOTIFY may make another dialog."""
        self._begun_at = core.now
        self._losses = 0
        self._told: str | None = None
        core.standing.add(self)

    @property
    def account(self) -> str | None:
        return None if self._account is None else self._account.name

    def headers(self, expires: int) -> tuple[tuple[str, str], ...]:
        """What every SUBSCRIBE of ours carries (sections 3.1.2 and 8.2.1)."""
        return (("Event", str(self.event)), ("Expires", str(expires)), ("Accept", ", ".join(self.accept)))

    # -- commands ------------------------------------------------------------------------------------

    def start(self) -> None:
        self._subscribe()

    def refresh(self) -> None:
        """Ask every notifier for its state now."""
        for notifier in tuple(self._notifiers.values()):
            notifier.refresh()

    def unsubscribe(self) -> None:
        """End it; ``terminated`` is told when the last NOTIFY has come, or was waited for in vain.

        Before the first nothing is sent: it will earn a 481, which ends what there is (section 4.2.2).
        """
        if self.phase in (Phase.LEAVING, Phase.GONE):
            return
        self._core.wheel.disarm(self)
        self._drop_exchange()
        if not self._notifiers:
            self._gone("terminated")
            return
        self.phase = Phase.LEAVING
        for notifier in tuple(self._notifiers.values()):
            notifier.leave()

    def close(self, why: str) -> None:
        if self.phase is not Phase.GONE:
            self._gone("terminated", why=why)

    def belongs_to(self, accounts: Container[AccountState | None]) -> bool:
        return self._account in accounts

    def flow_lost(self, flow: Flow) -> None:
        """Our Contact named a connection that broke: no NOTIFY comes until a refresh names another (RFC 5626)."""
        if self.phase is not Phase.ALIVE:
            return
        for notifier in tuple(self._notifiers.values()):
            ours = notifier.dialog.flow
            if ours is None or (ours.id == flow.id and flow.reliable):  # None: its address is ours no more
                pause = self._pause()
                if pause:
                    self._core.arm(notifier, "refresh", pause)
                else:
                    notifier.refresh()

    def on_timer(self, name: str) -> None:
        if name == "again":
            self._subscribe()
        elif not self._notifiers:
            self._lost(None, "timeout: it was accepted, but no NOTIFY came")

    # -- SUBSCRIBE outside of a dialog -----------------------------------------------------------------

    def _subscribe(self) -> None:
        self._forget()
        core = self._core
        self.phase = Phase.TRYING
        self.call_id, self._tag, self._cseq = core.new_call_id(), core.new_tag(), CSeqCounter()
        self._granted, self._numbers, self._begun_at = None, 0, core.now
        core.notified.add(self.call_id, self._tag, self)
        self._tell("trying")
        self._send()

    def _send(self) -> None:
        letter = Letter.outside(
            "SUBSCRIBE",
            self._account,
            self.target,
            tag=self._tag,
            call_id=self.call_id,
            cseq=self._cseq,
            contact="",
            headers=self.headers(self.expires),
            session=self._session,
        )
        patience = self._core.config.timers.f
        self._start(Exchange(self._core, self, self._account, letter, patience=patience))

    def _not_granted(self, exchange: Exchange, response: Response | None, why: Why) -> None:
        if self._notifiers:
            self._until = 0.0  # a notifier that notifies us has accepted, whatever became of its answer
        elif self.asks_longer(response):
            self._send()
        else:
            self._failed(response, why)

    def _succeeded(self, exchange: Exchange, response: Response) -> None:
        self._granted = granted(response, self.expires)
        self._until = exchange.sent_at + self._core.config.timers.f
        for notifier in self._notifiers.values():
            if notifier.state.expires is None:
                notifier.lasts(self._granted)
        if not self._notifiers:
            self._core.wheel.arm(self, "notify", self._until)

    def _failed(self, response: Response | None, why: Why) -> None:
        if self._granted_once:
            self._losses += 1
            self._retry(max(backoff(self._losses, self._core.uniform), retry_after(response)), response, why)
        else:
            self._gone(verdict(response), response, why)

    # -- NOTIFY ----------------------------------------------------------------------------------------

    def takes(self, event: EventType) -> bool:
        return event == self.event

    def on_notify(
        self, dialog: Dialog | None, tx: ServerTransaction, request: Request, state: SubscriptionState, flow: Flow
    ) -> None:
        if request.body and "*/*" not in self.accept and request.content_type not in self.accept:
            tx.reply(415, headers=(("Accept", ", ".join(self.accept)),))
            return
        notifier = self._notifiers.get(request.from_.tag or "")
        if notifier is None:
            notifier = self._join(tx, request, state, flow)
            if notifier is None:
                return
        elif dialog is not None:
            dialog.refresh(request)
        tx.reply(200, headers=self._reached_at(flow))
        self._core.wheel.disarm(self, "notify")
        over = state.over or self.expires == 0  # who asked once is told once, however the notifier puts it
        if not over:
            notifier.heard(state)
        self._core.emit(NotifyReceived(self, notifier.number, state, request))
        if over:
            self._terminated(notifier, state)
        elif self.phase in (Phase.TRYING, Phase.ALIVE):
            self._alive()

    def _reached_at(self, flow: Flow) -> tuple[tuple[str, str], ...]:
        """Our Contact, in the 2xx to what refreshes the target (RFC 3261 section 12.2.2)."""
        account = self._account
        return () if account is None else (("Contact", f"<{account.outbound.contact(flow, secure=False)}>"),)

    def _join(self, tx: ServerTransaction, request: Request, state: SubscriptionState, flow: Flow) -> Notifier | None:
        """The first NOTIFY of a notifier makes its dialog; None: it was answered otherwise (section 4.4.1)."""
        others = len(self._notifiers)
        late = self._exchange is None and self._core.now > self._until
        if late or self.phase is Phase.LEAVING or others >= (MAX_NOTIFIERS if self.forks else 1):
            tx.reply(481, "Subscription does not exist")
            return None
        try:
            dialog = Dialog.of_request(self._core, self._account, request, self._tag, flow)
        except ParseError as error:
            tx.reply(400, f"Bad Request: {error}"[:80])
            return None
        # We made it, by our SUBSCRIBE; and nobody is answered in it whom we did not reach through our own server (T01).
        dialog.ours = True
        dialog.at_home = dialog.at_home and self._went_home
        dialog.local_cseq = CSeqCounter(self._cseq.last)
        dialog.session = self._session
        self._numbers += 1
        notifier = self._notifiers[request.from_.tag or ""] = Notifier(self._core, self, dialog, self._numbers, state)
        dialog.open(notifier)
        if state.expires is None:
            notifier.lasts(self.expires if self._granted is None else self._granted)
        return notifier

    @property
    def _went_home(self) -> bool:
        """Did the SUBSCRIBE go to a server of the account?"""
        account = self._account
        return account is not None and account.owns(out_of_dialog(account, self.target).hop)

    def _alive(self) -> None:
        self.phase = Phase.ALIVE
        self._granted_once, self._too_brief = True, False
        states = {notifier.state.state for notifier in self._notifiers.values()}
        phase: SubscriptionPhase = "active" if "active" in states else "pending"
        if phase != self._told:
            left = max(notifier.expires_at for notifier in self._notifiers.values()) - self._core.now
            self._tell(phase, expires_s=round(left))

    # -- the end of a notifier, and of all -------------------------------------------------------------

    def _terminated(self, notifier: Notifier, state: SubscriptionState) -> None:
        """Section 4.1.3: each reason says whether, and when, to come back."""
        self._part_with(notifier)
        if self._notifiers:
            return
        again = state.again_in(backoff(0, self._core.uniform))
        if self.phase is Phase.LEAVING or self.expires == 0:
            self._gone("terminated")
        elif again is None or not (self._granted_once or state.reason == "deactivated"):
            self._gone("terminated", reason=state.reason or "")
        else:
            self._retry(max(again, self._pause()), None, None, reason=state.reason or "")

    def on_gone(self, notifier: Notifier, response: Response | None, why: Why) -> None:
        """*notifier* knows us no more, or we could not keep it."""
        self._part_with(notifier)
        if not self._notifiers:
            if self.phase is Phase.LEAVING:
                self._gone("terminated")
            else:
                self._lost(response, why)

    def _part_with(self, notifier: Notifier) -> None:
        notifier.close()
        self._notifiers = {tag: known for tag, known in self._notifiers.items() if known is not notifier}

    def _lost(self, response: Response | None, why: Why) -> None:
        if self._granted_once:
            self._retry(max(self._pause(), retry_after(response)), response, why)
        else:
            self._gone("failed", response, why)

    def _pause(self) -> float:
        """Seconds: none after a good time; whoever drops us again and again is not asked as fast as he drops us."""
        self._losses = 0 if self._core.now - self._begun_at >= STEADY else self._losses + 1
        return 0.0 if self._losses < 2 else backoff(self._losses - 1, self._core.uniform)

    def _retry(self, delay: float, response: Response | None, why: Why, *, reason: str = "") -> None:
        self._forget()
        self.phase = Phase.RETRYING
        self._core.arm(self, "again", delay)
        self._tell("retrying", response, retry_in_s=delay, why=why, reason=reason)

    def _gone(
        self, phase: SubscriptionPhase, response: Response | None = None, why: Why = None, *, reason: str = ""
    ) -> None:
        self._forget()
        self.phase = Phase.GONE
        self._core.standing.discard(self)
        self._tell(phase, response, why=why, reason=reason)

    def _forget(self) -> None:
        """Leave every dialog and the book of NOTIFYs; what still comes earns 481."""
        self._core.wheel.disarm(self)
        self._drop_exchange()
        for notifier in tuple(self._notifiers.values()):
            self._part_with(notifier)
        self._core.notified.remove(self.call_id, self._tag, self)

    def _tell(
        self,
        phase: SubscriptionPhase,
        response: Response | None = None,
        *,
        reason: str = "",
        expires_s: int | None = None,
        retry_in_s: float | None = None,
        why: Why = None,
    ) -> None:
        self._told = phase
        code, phrase = code_and_reason(response)
        self._core.emit(SubscriptionChanged(self, phase, code, reason or phrase, expires_s, retry_in_s, why, response))
