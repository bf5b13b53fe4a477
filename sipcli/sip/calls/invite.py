"""Outgoing calls: ringing, forks, the races of CANCEL, ACK (RFC 3261 sections 9.1, 13.2, 15)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sipcli.errors import LocalProtocolError, ParseError
from sipcli.sip.calls import reliable
from sipcli.sip.calls.acknowledge import Acknowledgement
from sipcli.sip.calls.farewell import Farewell
from sipcli.sip.calls.indialog import Call, CallState
from sipcli.sip.calls.infopackage import RECEIVED
from sipcli.sip.calls.redirect import DECIDE_LIMIT, redirected_to, sent_on
from sipcli.sip.calls.reliable import Provisionals, is_reliable, reliability
from sipcli.sip.calls.reoffer import PendingOffer
from sipcli.sip.dialog import Dialog
from sipcli.sip.events import CallAnswered, CallLeaving, CallProgress, CallRedirected, Why
from sipcli.sip.exchange import Exchange, ExchangeState
from sipcli.sip.flow import Flow
from sipcli.sip.letter import Letter
from sipcli.sip.subscriptions.notified import allowed_events
from sipcli.sip.syntax.bodies import session_of
from sipcli.sip.syntax.message import Response
from sipcli.sip.syntax.uri import NameAddr, SipUri
from sipcli.sip.targets import CSeqCounter, out_of_dialog
from sipcli.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core

__all__ = ["OutgoingCall"]

SDP = "application/sdp"
MAX_FORKS = 32
"""Early dialogs we keep at a time, and answers we acknowledge; a proxy that forks wider is none of ours."""

_OVER = (CallState.ENDING, CallState.ENDED)
_UNWANTED = (CallState.CANCEL_WANTED, CallState.CANCELLING, *_OVER)


class OutgoingCall(Call):
    """One call we place: one exchange, possibly many dialogs, of which the first answered one wins."""

    direction = "outgoing"

    def __init__(
        self,
        core: Core,
        account: AccountState | None,
        target: SipUri,
        sdp: bytes | None,
        headers: Sequence[tuple[str, str]] = (),
        *,
        shared_auth: bool | None = None,
    ) -> None:
        """*sdp* None makes a late offer: the 2xx brings the offer, ``acknowledge`` gives the answer."""
        super().__init__(core, account, core.new_call_id(), NameAddr("", target.aor))
        if account is not None and shared_auth is not None:
            self._session = account.session_for(shared=shared_auth)
        self.target = target
        self.late_offer = sdp is None
        sender = account.sender if account is not None else "<sip:anonymous@anonymous.invalid>"
        where = out_of_dialog(account, target)
        letter = Letter(
            method="INVITE",
            target=lambda: where,
            sender=f"{sender};tag={core.new_tag()}",
            recipient=f"<{target.aor}>",
            call_id=self.sip_call_id,
            cseq=CSeqCounter(),
            contact="",
            headers=(
                *headers,
                core.config.allow_header,
                RECEIVED,
                *_options(core, account, late=sdp is None),
                ("Accept", SDP),
                *allowed_events(core.config),
            ),
            body=sdp or b"",
            content_type=SDP if sdp is not None else None,
            session=self._session,
        )
        self.exchange = Exchange(core, self, account, letter)
        self._forks: dict[str, Dialog] = {}
        self._provisionals: dict[str, Provisionals] = {}
        self._acks: dict[str, Acknowledgement] = {}
        self._unanswered: Acknowledgement | None = None
        self._rang_out: str | None = None
        self.redirects = False
        """Shall a 3xx wait for a word (``CallRedirected``)?  Otherwise it is a refusal."""
        self._moved: Response | None = None

    def start(self) -> None:
        self.state = CallState.INVITING
        self.exchange.start()

    @property
    def settled(self) -> bool:
        return self.state is CallState.CONFIRMED and self._unanswered is None

    @property
    def made_over(self) -> Flow | None:
        return self.exchange.flow

    def pending_offer(self, dialog: Dialog) -> PendingOffer:
        if self.state is CallState.CONFIRMED:
            return None if self._unanswered is None else "theirs"
        early = self._provisionals.get(dialog.id[2])
        return None if early is not None and early.settled else "theirs" if self.late_offer else "ours"

    def offer_way(self) -> tuple[str, Dialog] | None:
        """Early, by UPDATE, in the one dialog whose answer came reliably (RFC 3311 section 5.1)."""
        if self.state is not CallState.EARLY:
            return super().offer_way()
        ready = [early for early in self._provisionals.values() if early.settled and early.updates]
        return ("UPDATE", ready[0].dialog) if len(ready) == 1 else None

    # -- commands --------------------------------------------------------------------------------------

    def hangup(self) -> None:
        match self.state:
            case CallState.INVITING | CallState.EARLY:
                self._take_back()
            case CallState.REDIRECTED:
                self._end("local", reason="Cancelled")
            case CallState.CONFIRMED:
                self.acknowledge(b"")  # whatever happens, their 2xx is acknowledged before the BYE
                self._say_bye("local")
            case _:
                pass

    def acknowledge(self, sdp: bytes) -> None:
        """Answer the offer that came with the 2xx; only after a late offer, else the ACK is out already."""
        ack, self._unanswered = self._unanswered, None
        if ack is not None:
            self._core.wheel.disarm(self, "answer")
            ack.send(sdp, SDP)
            self._reoffer.proceed()

    def _take_back(self) -> None:
        """Hang up before the answer (section 9.1): what goes on the wire depends on how far the INVITE came."""
        exchange = self.exchange
        if exchange.state is not ExchangeState.SENT or exchange.tx is None:
            # Challenged or not sent at all: there is no transaction to cancel, and nobody rings.
            exchange.stop()
            self._end("local", reason="Cancelled")
            return
        exchange.closing = True
        self.state = CallState.CANCEL_WANTED  # before the first 1xx, a CANCEL might overtake its INVITE
        if exchange.tx.cancel() is not None:
            self.state = CallState.CANCELLING
        self._core.emit(CallLeaving(self))

    # -- what the INVITE earns ---------------------------------------------------------------------------

    def on_provisional(self, exchange: Exchange, response: Response) -> None:
        if self.state is CallState.CANCEL_WANTED:
            if exchange.tx is not None and exchange.tx.cancel() is not None:
                self.state = CallState.CANCELLING
            return
        if self.state not in (CallState.INVITING, CallState.EARLY):
            return
        if "ring" not in self._core.wheel.armed(self):
            self._core.arm(self, "ring", self._core.config.ring_limit)
        # To a late offer nothing early is either an offer or an answer, unless it came reliably.
        sdp = None if self.late_offer else session_of(response)
        if response.status == 100:
            self._core.emit(CallProgress(self, "trying", response))
            return
        self.state = CallState.EARLY
        self._early_dialog(exchange, response)
        early_dialog = self._provisionals.get(response.to.tag or "")
        if early_dialog is not None:
            # One that was heard before, or comes before its turn, is not looked at (RFC 3262 section 4).
            if is_reliable(response) and not early_dialog.take(response):
                return
            sdp = early_dialog.describe(response, sdp)
        early = sdp is not None or response.status == 183
        self._core.emit(CallProgress(self, "early" if early else "ringing", response, sdp))

    def _early_dialog(self, exchange: Exchange, response: Response) -> None:
        """A provisional response with a To tag makes an early dialog, one per fork (section 12.1)."""
        tag = response.to.tag
        if not tag or tag in self._forks or len(self._forks) >= MAX_FORKS:
            return
        try:
            dialog = Dialog.of_response(self._core, self._account, exchange.request, response, exchange.flow)
        except ParseError as error:
            self._core.warn("early-dialog", str(error))
            return
        dialog.session = self._session
        self._forks[tag] = dialog
        self._provisionals[tag] = Provisionals(self._core, self, dialog)
        dialog.open(self)

    def on_final(self, exchange: Exchange, response: Response | None, why: Why) -> None:
        if response is not None and response.status < 300:
            self._on_success(exchange, response)
            return
        if self.state in _OVER:
            return
        by_us = self.state in (CallState.CANCEL_WANTED, CallState.CANCELLING)
        if self.redirects and not by_us and response is not None and (targets := redirected_to(response)):
            self._wait_for_word(targets, response)
            return
        if not by_us and response is not None and self.timer.raised(response):
            self._grant_longer()
            return
        lost = response is None and not by_us
        if by_us and self._rang_out is not None:
            self._end("local", why=self._rang_out)
            return
        self._end("local" if by_us else "network" if lost else "remote", why=why, response=response)

    def _grant_longer(self) -> None:
        """A proxy refused the session interval of another one (422): INVITE again with its Min-SE (RFC 4028 7.3)."""
        self._core.wheel.disarm(self)
        self._close_forks()
        letter = self.exchange.letter
        kept = (header for header in letter.headers if header[0] != "Min-SE")
        letter = dataclasses.replace(letter, headers=(*kept, *self.timer.least()))
        self.exchange = Exchange(self._core, self, self._account, letter)
        self.start()

    # -- redirected (section 8.1.3.4) ----------------------------------------------------------------------

    def _wait_for_word(self, targets: tuple[SipUri, ...], response: Response) -> None:
        self._core.wheel.disarm(self)
        self._close_forks()
        self.state = CallState.REDIRECTED
        self._moved = response
        self._core.arm(self, "redirect", DECIDE_LIMIT)
        self._core.emit(CallRedirected(self, targets, response))

    def redirect(self, target: SipUri) -> bool:
        """Call *target* instead, under the same Call-ID; nothing that was proven to others goes along (threat T22).

        False: it is too late.
        """
        if self.state is not CallState.REDIRECTED:
            return False
        self._core.wheel.disarm(self)
        self._moved = None
        self.target, self.remote = target, NameAddr("", target.aor)
        self.exchange = Exchange(self._core, self, self._account, sent_on(self.exchange.letter, self._account, target))
        self.start()
        return True

    def stay(self) -> None:
        """Go nowhere: the 3xx is the end of the call."""
        if self.state is CallState.REDIRECTED:
            self._end("remote", response=self._moved)

    def _on_success(self, exchange: Exchange, response: Response) -> None:
        """Each 2xx is acknowledged, each repetition of it again, and every fork but the first gets a BYE (13.2.2.4)."""
        tag = response.to.tag or ""
        known = self._acks.get(tag)
        if known is not None:
            known.repeat()
            return
        if len(self._acks) >= MAX_FORKS:  # each would cost an ACK, a BYE and a place in memory (threat T23)
            return
        try:
            dialog = Dialog.of_response(self._core, self._account, exchange.request, response, exchange.flow)
        except ParseError as error:
            self._core.warn("answer", f"the 2xx cannot be followed: {error}")
            if self.state not in _OVER:
                self._end("network", response=response, why=f"protocol: {error}")
            return
        dialog.session = self._session
        early = self._forks.pop(tag, None)
        if early is not None:
            dialog.remote_cseq = early.remote_cseq
            dialog.local_cseq = early.local_cseq  # a PRACK has counted on
            early.close()
        ack = Acknowledgement(self._core, dialog, exchange.request, exchange.flow, on_failure=self._ack_failed)
        self._acks[tag] = ack
        if self.dialog is not None or self.state in _OVER:
            ack.send()
            Farewell(self._core, dialog, None).start()
        else:
            self._established(dialog, ack, response)

    def _established(self, dialog: Dialog, ack: Acknowledgement, response: Response) -> None:
        self._core.wheel.disarm(self)
        sdp = self._answer_of(response)
        self._close_forks(winner=dialog)
        self.timer.heard(response)
        self.dialog = dialog
        dialog.open(self)
        if self.state in _UNWANTED:  # the 200 won the race against our CANCEL
            ack.send()
            self._say_bye("local")
            return
        self.state = CallState.CONFIRMED
        if self.late_offer and session_of(response) is not None:
            self._unanswered = ack
            self._core.arm(self, "answer", self._core.config.answer_limit)
        else:
            ack.send()
        self._core.emit(CallAnswered(self, sdp, response))
        self._reoffer.proceed()

    def _answer_of(self, response: Response) -> bytes | None:
        """The answer in *response*, or the early one of the same fork: media of another fork is not this one's.

        One that came reliably is not replaced by the 2xx (RFC 3261 section 13.2.1).  None: UPDATE has changed it since.
        """
        early = self._provisionals.get(response.to.tag or "")
        if early is not None and early.settled:
            return None if self._reoffer.touched(early.dialog) else early.sdp
        return session_of(response) or (None if early is None else early.sdp)

    def _on_bye(self, dialog: Dialog, tx: ServerTransaction) -> None:
        """A callee has no right to end an early dialog with BYE (section 15); the INVITE's final response will tell."""
        if dialog is self.dialog:
            super()._on_bye(dialog, tx)
            return
        tx.reply(200)
        dialog.close()

    def _on_end(self) -> None:
        self._close_forks()

    def _close_forks(self, winner: Dialog | None = None) -> None:
        for dialog in self._forks.values():
            dialog.close()
        if winner is not None:
            self._reoffer.leave_all_but(winner)
        for provisionals in self._provisionals.values():
            provisionals.stop()
        self._forks.clear()
        self._provisionals.clear()

    def _ack_failed(self, why: str) -> None:
        """There is no way to the other side: without the ACK it will hang up by itself."""
        if self.state is CallState.CONFIRMED:
            self._end("network", why=why)

    def acknowledge_again(self, response: Response) -> bool:
        """A 2xx that has no transaction any more (it was repeated for more than 64*T1)."""
        if response.cseq.number != self.exchange.request.cseq.number:
            return self._reoffer.acknowledge_again(response.cseq.number)
        ack = self._acks.get(response.to.tag or "")
        if ack is not None:
            ack.repeat()
        return ack is not None

    def on_timer(self, name: str) -> None:
        match name:
            case "ring" if self.state in (CallState.INVITING, CallState.EARLY):
                self._ring_out()
            case "redirect":
                self.stay()
            case "answer" if self._unanswered is not None:
                self.hangup()
            case _:
                pass

    def _ring_out(self) -> None:
        """End what rang too long.  Time counts from the last INVITE: nobody rings while a challenge to it waits."""
        exchange, limit = self.exchange, self._core.config.ring_limit
        since = exchange.sent_at if exchange.state is ExchangeState.SENT else self._core.now
        left = since + limit - self._core.now
        if left > 0:
            self._core.arm(self, "ring", left)
            return
        self._core.warn("ring-limit", f"{self.remote.uri} rang for {limit:.0f} s")
        self._rang_out = f"timeout: nobody answered within {limit:.0f} s"
        self._take_back()

    def reinvite(self, sdp: bytes) -> None:
        if self.exchange.last is None:
            raise LocalProtocolError("there is no session yet")
        super().reinvite(sdp)


def _options(core: Core, account: AccountState | None, *, late: bool) -> tuple[tuple[str, str], ...]:
    """``Supported`` and ``Require`` of an INVITE.

    Without an offer of ours a reliable response could bring theirs, and the PRACK had to answer it: not with us.
    """
    wanted = "off" if late else reliability(account)
    tags = [tag for tag in core.config.supported if tag != reliable.OPTION or wanted != "off"]
    tags += () if account is None else account.outbound.tags
    required = (("Require", reliable.OPTION),) if wanted == "required" else ()
    return (("Supported", ", ".join(tags)), *required)
