"""Incoming calls: ring, accept with 2xx until the ACK, reject, CANCEL (RFC 3261 9.2, 13.3, 15.1.2; RFC 3262)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from sipcli.errors import LocalProtocolError
from sipcli.sip.calls.acknowledge import Acceptance
from sipcli.sip.calls.indialog import Call, CallState
from sipcli.sip.calls.infopackage import receives
from sipcli.sip.calls.reliable import OPTION, option_tags, reliability, supported
from sipcli.sip.calls.reliable_uas import ReliableResponses
from sipcli.sip.calls.reoffer import PendingOffer
from sipcli.sip.dialog import Dialog
from sipcli.sip.events import CallConfirmed, CallEarlyAnswer, CallIncoming
from sipcli.sip.flow import Flow
from sipcli.sip.subscriptions.notified import allowed_events
from sipcli.sip.syntax.bodies import session_of
from sipcli.sip.syntax.message import Request
from sipcli.sip.targets import asks_for_sips
from sipcli.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core

__all__ = ["Asserted", "IncomingCall"]

Asserted: TypeAlias = Literal["absent", "untrusted", "trusted"]
"""What a P-Asserted-Identity is worth: ours is the trust domain of the account's own server, nobody else's."""

SDP = "application/sdp"
AGAIN, AGAIN_RELIABLY = 60.0, 150.0
"""Seconds after which what rings says so again: a proxy that hears nothing for three minutes cancels (RFC 3261 section
13.3.1.1, RFC 3262 section 3)."""


class IncomingCall(Call):
    """Somebody calls us.  ``offer`` is their SDP, None for a late offer: then what ``accept`` gets is ours."""

    direction = "incoming"

    def __init__(
        self,
        core: Core,
        account: AccountState | None,
        tx: ServerTransaction,
        request: Request,
        replaces: Call | None = None,
    ) -> None:
        """*replaces* is hung up once this call is accepted.  Raises ParseError when the INVITE cannot make a dialog."""
        dialog = Dialog.of_request(core, account, request, tx.local_tag, tx.flow)
        super().__init__(core, account, request.call_id, request.from_.without_params())
        self.invite = request
        self.offer = session_of(request)
        dialog.session = self._session
        self.dialog = dialog
        self._tx = tx
        self._acceptance: Acceptance | None = None
        self._hangup_wanted = False
        self.replaces = replaces
        self._reliable = ReliableResponses(core, self, tx, theirs=self.offer is not None)
        self._said: tuple[int, bytes | None] = (180, None)
        self._held_back: bytes | None = None  # the answer of a 2xx that waits for a PRACK
        self._must = OPTION in option_tags(request, "Require")
        can = self._must or OPTION in option_tags(request, "Supported")
        self._may = can and reliability(account) != "off"

    def start(self) -> None:
        self.state = CallState.RINGING
        self._tx.user = self
        assert self.dialog is not None
        self.dialog.open(self)
        self._core.arm(self, "ring", self._patience())
        self._core.emit(CallIncoming(self))

    def _patience(self) -> float:
        """How long it may ring: our own limit, or the caller's Expires (section 13.3.1)."""
        expires = self.invite.expires
        limit = self._core.config.ring_limit
        return min(limit, float(expires)) if expires else limit

    @property
    def settled(self) -> bool:
        return self.state is CallState.CONFIRMED

    @property
    def made_over(self) -> Flow | None:
        return self._tx.flow

    @property
    def asserted(self) -> Asserted:
        """Does a server say who calls, and is it one of the account's own (RFC 3325 section 5)?"""
        if "p-asserted-identity" not in self.invite.headers:
            return "absent"
        return "trusted" if self.dialog is not None and self.dialog.at_home else "untrusted"

    @property
    def answered(self) -> bool:
        return super().answered and self._held_back is None

    def pending_offer(self, dialog: Dialog) -> PendingOffer:
        if self.state is CallState.ACCEPTED and self._held_back is None:
            return None if self.offer is not None or self._reliable.carried_sdp else "ours"
        return None if self.state is CallState.CONFIRMED else self._reliable.pending

    def offer_way(self) -> tuple[str, Dialog] | None:
        """Early, by UPDATE, once our answer went out reliably and was acknowledged (RFC 3311 section 5.1)."""
        through = self._reliable.carried_sdp and not self._reliable.holds_the_2xx and self._reliable.pending is None
        if self.state is not CallState.RINGING or not through or self.dialog is None:
            return super().offer_way()
        takes = "UPDATE" in (method.upper() for method in self.invite.values("Allow"))
        return ("UPDATE", self.dialog) if takes else None

    @property
    def takes_early_media(self) -> bool:
        """Whether ``ring`` may carry SDP: an offer of ours must come reliably (RFC 3261 section 13.2.1)."""
        return self.offer is not None or self._may

    # -- commands --------------------------------------------------------------------------------------

    def ring(self, code: int = 180, sdp: bytes | None = None) -> None:
        """Say 180 (or 181, 182, 183 with early media in *sdp*), reliably where the caller can (RFC 3262).

        To a late offer *sdp* is our offer; ``CallEarlyAnswer`` follows.
        """
        if self.state is not CallState.RINGING:
            raise LocalProtocolError("this call is not ringing any more")
        if not 100 < code < 200:
            raise LocalProtocolError(f"{code} is no provisional response")
        if sdp is not None and not self.takes_early_media:
            raise LocalProtocolError("the caller takes no offer before the call is answered")
        # The first reliable response to a late offer must bring ours (RFC 3262 section 5): without one it is not said.
        if self._may and (self.offer is not None or sdp is not None or self._reliable.carried_sdp):
            self._reliable.say(code, self._headers(), sdp)
        elif not self._must:
            self._tx.reply(code, headers=self._headers(), body=sdp or b"", content_type=SDP if sdp else None)
        self._said = code, sdp
        self._core.arm(self, "again", AGAIN_RELIABLY if self._may else AGAIN)

    def accept(self, sdp: bytes) -> None:
        """200 with *sdp*: the answer, or our offer; ``CallConfirmed`` follows with the ACK.

        It waits while early media of ours is not acknowledged, and then *sdp* has gone out with that (RFC 3262 5).
        """
        if self.state is not CallState.RINGING:
            raise LocalProtocolError("this call is not ringing any more")
        self._core.wheel.disarm(self)
        self.state = CallState.ACCEPTED
        self._held_back = sdp
        if not self._reliable.holds_the_2xx:
            self._send_2xx(sdp)

    def _send_2xx(self, sdp: bytes) -> None:
        self._held_back = None
        self._reliable.stop()
        body = b"" if self._reliable.carried_sdp else sdp
        headers = (*self._headers(), *self.timer.answers(self.invite))
        response = self.invite.reply(
            200, to_tag=self._tx.local_tag, headers=headers, body=body, content_type=SDP if body else None
        )
        self._acceptance = Acceptance(self._core, self, self._tx, response)
        self._acceptance.start()
        if self.replaces is not None:
            self.replaces.hangup()  # BYE, or CANCEL where we still call him (RFC 3891 section 3)

    def reject(self, code: int = 486, reason: str | None = None) -> None:
        """A final refusal: 486 busy, 603 declined, 480, 488…"""
        if self.state is not CallState.RINGING:
            raise LocalProtocolError("this call is not ringing any more")
        if not 300 <= code < 700:
            raise LocalProtocolError(f"{code} refuses nothing")
        self._refuse(code, reason)

    def _refuse(self, code: int, reason: str | None = None) -> None:
        self._tx.reply(code, reason)
        response = self._tx.response
        self._end("local", code=code, reason=response.reason if response is not None else reason or "")

    def hangup(self) -> None:
        match self.state:
            case CallState.RINGING:
                self.reject(480)
            case CallState.ACCEPTED if self._held_back is not None:
                self._refuse(480)
            case CallState.ACCEPTED:
                self._hangup_wanted = True  # a callee sends no BYE before the ACK (section 15)
            case CallState.CONFIRMED:
                self._say_bye("local")
            case _:
                pass

    def _headers(self) -> tuple[tuple[str, str], ...]:
        config = self._core.config
        contact = self.contact(self._tx.flow, secure=asks_for_sips(self.invite))
        tags = () if self._account is None else self._account.outbound.tags
        return (
            ("Contact", contact),
            config.allow_header,
            ("Supported", ", ".join((*supported(self._core, self._account), *tags))),
            ("User-Agent", config.user_agent),
            *allowed_events(config),
            *receives(self.invite),
        )

    # -- as the owner of the acceptance ----------------------------------------------------------------

    def on_acknowledged(self, acceptance: Acceptance, ack: Request) -> None:
        if self.state is not CallState.ACCEPTED:
            return
        self.state = CallState.CONFIRMED
        self._core.emit(CallConfirmed(self, session_of(ack)))
        if self._hangup_wanted:
            self._say_bye("local")
        else:
            self._reoffer.proceed()

    def on_unacknowledged(self, acceptance: Acceptance) -> None:
        self.on_silence("timeout: nobody acknowledged our answer")

    # -- as the owner of the reliable responses --------------------------------------------------------

    def _on_prack(self, tx: ServerTransaction, request: Request) -> None:
        self._reliable.take(tx, request)

    def on_early_answer(self, sdp: bytes | None) -> None:
        self._core.emit(CallEarlyAnswer(self, sdp))

    def on_early_offer(self, tx: ServerTransaction, request: Request) -> None:
        assert self.dialog is not None
        self._reoffer.on_prack(self.dialog, tx, request)

    def on_all_pracked(self) -> None:
        if self._held_back is not None:
            self._send_2xx(self._held_back)
        else:
            self._reoffer.proceed()

    def on_unpracked(self) -> None:
        if not self._tx.answered:
            self._tx.reply(504)
            self._end("network", code=504, why="timeout: the caller never acknowledged that it rings (PRACK)")

    def _on_end(self) -> None:
        self._reliable.stop()

    def _after_end(self) -> None:
        if self._acceptance is None and self.dialog is not None:
            self._reliable.linger(self.dialog)

    # -- as the user of the INVITE's transaction -------------------------------------------------------

    def _on_bye(self, dialog: Dialog, tx: ServerTransaction) -> None:
        if not self._tx.answered:  # the caller may leave an early dialog so, too (section 15.1.2)
            self._tx.reply(487)
        if self._acceptance is not None:
            self._acceptance.stop()
        super()._on_bye(dialog, tx)

    def on_cancelled(self, tx: ServerTransaction, cancel: Request) -> None:
        tx.reply(487)
        self._end("remote", code=487, reason="Request Terminated")

    def on_ack(self, tx: ServerTransaction, ack: Request) -> None:
        """Not before a 2xx, and then it is the Acceptance's."""

    def on_timeout(self, tx: ServerTransaction) -> None:
        """Our refusal was never acknowledged: the call is over all the same."""

    def on_transport_error(self, tx: ServerTransaction, why: str) -> None:
        if not self._tx.answered:
            self._end("network", why=why)
            tx.reply(500)  # ends the transaction; nobody will hear it (RFC 6026 section 8.8)

    def on_timer(self, name: str) -> None:
        if self.state is CallState.RINGING and name == "again":
            self.ring(*self._said)
        elif self.state is CallState.RINGING:
            self._tx.reply(480)
            self._end("local", code=480, reason="Temporarily Unavailable", why="timeout: nobody answered the call")
