"""Changing a session: our re-INVITEs and theirs, UPDATE and PRACK with an offer, and what happens when they meet.

RFC 3261 section 14, RFC 3262 section 5, RFC 3311 section 5, RFC 5407.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from sipcli.sip.calls.acknowledge import Acceptance, Acknowledgement
from sipcli.sip.calls.infopackage import RECEIVED, receives
from sipcli.sip.events import CallOfferStale, CallReanswered, CallReoffered, Why
from sipcli.sip.exchange import Exchange, ExchangeState
from sipcli.sip.syntax.bodies import session_of
from sipcli.sip.syntax.message import Request, Response, code_and_reason
from sipcli.sip.targets import asks_for_sips
from sipcli.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcli.sip.calls.indialog import Call
    from sipcli.sip.core import Core
    from sipcli.sip.dialog import Dialog, DialogId

__all__ = ["PendingOffer", "Reoffer"]

PendingOffer: TypeAlias = Literal["ours", "theirs"] | None
"""Whose first offer has no answer yet; None: that is through."""

SDP = "application/sdp"
MAX_GLARES = 8
"""491 in a row that we take for chance; after that the other side simply does not want."""
MAX_PAUSE = 10
"""Seconds of ``Retry-After`` that a 500 may ask for (RFC 3261 section 14.2); whoever asks for more does not want."""
PROMPT = 8.0
"""Seconds for our answer to an UPDATE, which nobody repeats for longer than 32 s, or asks a person about (RFC 3311)."""


class Reoffer:
    """One call's offers and answers after the first.

    At most one INVITE runs in the dialog, in either direction (section 14.1).
    A re-INVITE of ours that is *challenged* does not run: no transaction
    exists, so theirs is taken meanwhile (item A20), and ours goes out after it
    with fresh SDP.
    """

    __slots__ = (
        "_acceptance",
        "_ack",
        "_call",
        "_changed",
        "_core",
        "_dialog",
        "_exchange",
        "_glares",
        "_late",
        "_ours",
        "_queued",
        "_tx",
        "_wanted",
    )

    def __init__(self, core: Core, call: Call) -> None:
        self._core = core
        self._call = call
        self._wanted: bytes | None = None  # our offer that is under way: sent, challenged, or waiting after a glare
        self._queued: bytes | None = None  # the one after it
        self._exchange: Exchange | None = None
        self._ours: Dialog | None = None  # where it goes
        self._ack: tuple[Exchange, Acknowledgement] | None = None
        self._glares = 0
        self._tx: ServerTransaction | None = None  # their offer, unanswered
        self._dialog: Dialog | None = None  # where it came
        self._changed: set[DialogId] = set()  # where a later offer than the INVITE's was agreed on
        self._acceptance: Acceptance | None = None  # our 2xx, unacknowledged
        self._late = False  # ... which carried our offer

    def stop(self) -> None:
        """The call ends: forget ours, refuse theirs."""
        self._wanted = self._queued = None
        self._core.wheel.disarm(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._abandon(exchange)
        if self._acceptance is not None:
            self._acceptance.stop()
            self._acceptance = None
        if self._tx is not None:
            self._tx.reply(487)
            self._tx = None

    def _abandon(self, exchange: Exchange) -> None:
        # An INVITE on the wire keeps its transaction: whatever final response comes is still acknowledged.
        if exchange.state is ExchangeState.SENT and exchange.tx is not None:
            exchange.closing = True
            if exchange.letter.method == "INVITE":
                exchange.tx.cancel()
        else:
            exchange.stop()

    def touched(self, dialog: Dialog) -> bool:
        """Was the session of *dialog* changed since its first answer, or is it about to be?"""
        return dialog.id in self._changed or (self._exchange is not None and self._ours is dialog)

    def leave_all_but(self, winner: Dialog) -> None:
        """One fork answered: what was offered in the others is of no use, in either direction."""
        if self._tx is not None and self._dialog is not None and self._dialog.id != winner.id:
            self._tx.reply(481)
            self._tx = None
            self._core.wheel.disarm(self, "answer")
        if self._exchange is not None and self._ours is not None and self._ours.id != winner.id:
            exchange, self._exchange = self._exchange, None
            self._abandon(exchange)
            self._settled(exchange.letter.method, None, "closed: another one answered the call")

    # -- ours --------------------------------------------------------------------------------------------

    def offer(self, sdp: bytes) -> None:
        if self._wanted is not None:
            self._queued = sdp
            return
        self._wanted = sdp
        self._go()

    def replace(self, sdp: bytes) -> None:
        if self._wanted is None or (self._exchange is not None and self._exchange.state is ExchangeState.SENT):
            return
        self._wanted = sdp
        if self._exchange is not None:
            self._exchange.letter.body = sdp

    def _clear(self) -> bool:
        """No offer of theirs is running, and the first one is through."""
        return self._tx is None and self._acceptance is None and self._call.offer_way() is not None

    def _go(self) -> None:
        """Send what is wanted, if it may go now."""
        if self._wanted is None or not self._clear() or "glare" in self._core.wheel.armed(self):
            return
        if self._exchange is not None:
            self._exchange.release()
            return
        way = self._call.offer_way()
        assert way is not None
        method, dialog = way
        letter = dialog.letter(
            method,
            contact="",
            headers=(self._core.config.allow_header, RECEIVED, *self._call.timer.headers()),
            body=self._wanted,
            content_type=SDP,
        )
        self._ours = dialog
        self._exchange = Exchange(
            self._core, self, dialog.account, letter, patience=self._call.timer.patience, flow_home=dialog.flow_for
        )
        self._exchange.gate = self._clear
        self._exchange.start()

    def proceed(self) -> None:
        """Something that stood in the way is gone."""
        self._go()

    def on_provisional(self, exchange: Exchange, response: Response) -> None:
        if exchange.letter.method != "INVITE":
            return
        if exchange.closing and exchange.tx is not None:
            exchange.tx.cancel()
        else:  # an INVITE that is never answered would block the session for ever
            self._core.arm(self, "ring", self._core.config.answer_limit)

    def on_final(self, exchange: Exchange, response: Response | None, why: Why) -> None:
        if response is not None and response.status < 300 and exchange.letter.method == "INVITE":
            self._acknowledge(exchange, response)
        if exchange is not self._exchange:
            return
        self._exchange = None
        self._core.wheel.disarm(self)
        pause = None if response is None or self._glares >= MAX_GLARES else self._pause(response)
        if pause is not None:
            self._glares += 1
            self._core.arm(self, "glare", pause)
            return
        if response is not None and response.status < 300 and exchange.letter.method == "UPDATE":
            self._updated(response)
        self._settled(exchange.letter.method, response, why)

    def _pause(self, response: Response) -> float | None:
        """When the same offer may go again: after a glare, when the other side asks for a moment, or for more time."""
        if self._call.timer.raised(response):
            return 0.0
        if response.status == 491:
            low, high = (2.1, 4.0) if self._call.owns_call_id else (0.0, 2.0)
            return round(self._core.uniform(low, high), 2)  # in units of 10 ms
        asked = (response.find("Retry-After") or "").strip()
        short = asked.isascii() and asked.isdigit() and len(asked) < 3 and int(asked) <= MAX_PAUSE
        return float(asked) if response.status == 500 and short else None

    def _updated(self, response: Response) -> None:
        assert self._ours is not None
        here = self._here(self._ours)
        here.refresh(response)
        self._changed.add(here.id)
        if self._call.settled:
            self._call.timer.heard(response)

    def _here(self, dialog: Dialog) -> Dialog:
        """*dialog*, or what the 2xx made of it while it was early."""
        return self._core.dialogs.get(dialog.id, dialog)

    def _settled(self, method: str, response: Response | None, why: Why) -> None:
        call = self._call
        self._glares = 0
        self._wanted = None
        answer = session_of(response) if response is not None and response.status < 300 else None
        code, reason = code_and_reason(response)
        self._core.emit(CallReanswered(call.me, answer, code, reason, why))
        call.on_request_done(method, response, why)
        if self._queued is not None:
            self._wanted, self._queued = self._queued, None
            self._go()

    def _acknowledge(self, exchange: Exchange, response: Response) -> None:
        """ACK the 2xx to a re-INVITE: the first time, and every time it is repeated (section 13.2.2.4)."""
        if self._ack is not None and self._ack[0] is exchange:
            self._ack[1].repeat()
            return
        dialog = self._call.dialog
        assert dialog is not None
        dialog.refresh(response)
        dialog.flow = exchange.flow
        self._call.timer.heard(response)
        ack = Acknowledgement(self._core, dialog, exchange.request, exchange.flow)
        self._ack = (exchange, ack)
        ack.send()

    def acknowledge_again(self, number: int) -> bool:
        """A 2xx that has no transaction any more: is it to our last re-INVITE?"""
        if self._ack is None or self._ack[0].request.cseq.number != number:
            return False
        self._ack[1].repeat()
        return True

    # -- theirs ------------------------------------------------------------------------------------------

    def on_invite(self, dialog: Dialog, tx: ServerTransaction, request: Request) -> None:
        if dialog is not self._call.dialog or not self._call.answered:  # the first INVITE is not through
            if self._call.direction == "incoming":
                self._later(tx)
            else:
                tx.reply(491)
        elif not self._busy(dialog, tx):
            self._offered(dialog, tx, request, session_of(request))

    def on_update(self, dialog: Dialog, tx: ServerTransaction, request: Request) -> None:
        """RFC 3311 section 5.2: with an offer like a re-INVITE, but answered at once and without ACK."""
        offer = session_of(request)
        if offer is None:
            if self._tx is not None and self._tx.request.method == "UPDATE":
                self._later(tx)
                return
            dialog.refresh(request)
            tx.reply(200, headers=self._answering(tx, request))
        elif not self._busy(dialog, tx):
            self._offered(dialog, tx, request, offer)

    def on_prack(self, dialog: Dialog, tx: ServerTransaction, request: Request) -> None:
        """A PRACK with an offer (RFC 3262 section 5); what it acknowledges is acknowledged whatever becomes of that."""
        if not self._busy(dialog, tx):
            self._offered(dialog, tx, request, session_of(request))

    def _busy(self, dialog: Dialog, tx: ServerTransaction) -> bool:
        """491 while an offer of ours has no answer, 500 and a random pause while one of theirs has none.

        RFC 3261 section 14.2, RFC 3311 section 5.2.  That our 2xx is not acknowledged is no reason where it carried
        the answer (RFC 5407 section 3.1.4), but one where it carried our offer (section 3.1.5).
        """
        first = self._call.pending_offer(dialog)
        sent = self._exchange is not None and self._exchange.state is ExchangeState.SENT
        if self._tx is not None or first == "theirs":
            self._later(tx)
        elif sent or first == "ours" or (self._acceptance is not None and self._late):
            tx.reply(491)
        else:
            return False
        return True

    def _later(self, tx: ServerTransaction) -> None:
        tx.reply(500, headers=(("Retry-After", str(int(self._core.uniform(0, 11)))),))

    def _offered(self, dialog: Dialog, tx: ServerTransaction, request: Request, offer: bytes | None) -> None:
        self._tx, self._dialog = tx, dialog
        tx.user = self
        limit = self._core.config.answer_limit
        self._core.arm(self, "answer", limit if request.method == "INVITE" else min(limit, PROMPT))
        self._core.emit(CallReoffered(self._call.me, offer, request))

    def _answering(self, tx: ServerTransaction, request: Request) -> tuple[tuple[str, str], ...]:
        contact = self._call.contact(tx.flow, secure=asks_for_sips(request))
        timing = self._call.timer.answers(request) if self._call.answered else ()
        return (("Contact", contact), self._core.config.allow_header, *timing, *receives(request))

    def answer(self, sdp: bytes) -> bool:
        tx, self._tx = self._tx, None
        if tx is None:
            return False
        self._core.wheel.disarm(self, "answer")
        assert self._dialog is not None
        dialog, request = self._here(self._dialog), tx.request
        dialog.refresh(request)  # only a 2xx refreshes the target (section 12.2.2)
        self._changed.add(dialog.id)
        headers = () if request.method == "PRACK" else self._answering(tx, request)
        response = request.reply(200, headers=headers, body=sdp, content_type=SDP)
        if request.method == "INVITE":
            self._late = session_of(request) is None
            if self._acceptance is not None:
                self._acceptance.stop()  # who offers again has our 2xx to the one before
            self._acceptance = Acceptance(self._core, self, tx, response)
            self._acceptance.start()
        else:
            tx.respond(response)
        if self._wanted is not None:
            self._core.emit(CallOfferStale(self._call.me))
        return True

    def reject(self, code: int) -> bool:
        tx, self._tx = self._tx, None
        if tx is None:
            return False
        self._core.wheel.disarm(self, "answer")
        tx.reply(code)
        self._go()
        return True

    def on_acknowledged(self, acceptance: Acceptance, ack: Request) -> None:
        if acceptance is not self._acceptance:
            return
        self._acceptance = None
        if self._late:
            self._core.emit(CallReanswered(self._call.me, session_of(ack), 200, "OK", asked=True))
        self._go()

    def on_unacknowledged(self, acceptance: Acceptance) -> None:
        self._acceptance = None
        self._call.on_silence("timeout: nobody acknowledged our answer")

    # -- as the user of their transaction, while it waits for an answer ------------------------------------

    def on_cancelled(self, tx: ServerTransaction, cancel: Request) -> None:
        """They take the offer back: the session stays as it was, ``answer_reinvite`` now gives False."""
        if tx is self._tx:
            self.reject(487)

    def on_ack(self, tx: ServerTransaction, ack: Request) -> None:
        """Not before a 2xx, and then it is the Acceptance's."""

    def on_timeout(self, tx: ServerTransaction) -> None:
        if tx is self._tx:
            self._tx = None
            self._go()

    def on_transport_error(self, tx: ServerTransaction, why: str) -> None:
        self.on_timeout(tx)

    def on_timer(self, name: str) -> None:
        match name:
            case "answer":  # an UPDATE that a person would have to think about is refused with 504 (RFC 3311 5.2)
                self.reject(504 if self._tx is not None and self._tx.request.method == "UPDATE" else 500)
            case "glare":
                self._go()
            case _:  # our re-INVITE was never answered (section 14.1 treats that as 408)
                exchange = self._exchange
                if exchange is not None and exchange.tx is not None:
                    exchange.closing = True
                    exchange.tx.cancel()
