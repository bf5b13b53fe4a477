"""REFER to the other side of a call: a transfer that we asked for, and what it reports (RFC 3515, RFC 5589)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sipcli.errors import LocalProtocolError
from sipcli.sip.calls.replaces import Replaces
from sipcli.sip.events import TransferChanged, TransferState, Why
from sipcli.sip.subscriptions.substate import EventType, SubscriptionState
from sipcli.sip.syntax.message import Request, Response, code_and_reason
from sipcli.sip.syntax.uri import NameAddr, SipUri

if TYPE_CHECKING:
    from sipcli.sip.calls.indialog import Call
    from sipcli.sip.core import Core
    from sipcli.sip.dialog import Dialog
    from sipcli.sip.exchange import Exchange
    from sipcli.sip.flow import Flow
    from sipcli.sip.oneshot import OneShot
    from sipcli.sip.transactions.transaction import ServerTransaction

__all__ = ["Transfer", "refer_to", "status_of"]

LIFETIME = 360.0
"""Seconds after which a transfer that nobody reports on any more has failed, where no NOTIFY says how long it lasts."""
LAST_WORD = 4.0
"""Seconds in which somebody who hung up may still say how it went."""
_STATUS_LINE = re.compile(rb"\s*SIP/2\.0 ([1-6]\d\d)(?: ([^\r\n]*)|(?=\r|\n|\Z))")


def status_of(sipfrag: bytes) -> tuple[int, str] | None:
    """The status line that a NOTIFY's body begins with (RFC 3515 section 2.4.5), or None."""
    found = _STATUS_LINE.match(sipfrag[:1024])
    return None if found is None else (int(found[1]), (found[2] or b"").decode("utf-8", "backslashreplace").strip())


def refer_to(call: Call) -> str:
    """A Refer-To that puts a new call in the place of *call*, at its other end (RFC 5589 section 7.3).

    Where proxies stay in the path, his Contact may be of use to them alone: then
    it is his address, whose phones but one say 481.  A GRUU always leads to him.
    """
    dialog = call.dialog
    if dialog is None:
        raise LocalProtocolError("a call that is not answered cannot be handed over")
    where, address = dialog.remote_target, call.remote.uri
    if dialog.route_set and not where.has_param("gr") and isinstance(address, SipUri):
        where = address
    return f"<{where.replace(headers=(('Replaces', Replaces.of(dialog).escaped),))}>"


class Transfer:
    """One REFER of ours and the subscription that it makes; ``TransferChanged`` tells how it goes."""

    __slots__ = ("_core", "_heard", "_key", "_oneshot", "call", "done", "target")

    def __init__(self, core: Core, call: Call, target: str) -> None:
        """*target* is the whole Refer-To."""
        self._core = core
        self._oneshot: OneShot | None = None
        self._key: tuple[str, str] | None = None
        self._heard = False
        self.call = call
        self.target = target
        self.done = False

    def start(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Raises LocalProtocolError when the call is not up."""
        dialog = self.call.dialog
        if dialog is None or not self.call.settled:
            raise LocalProtocolError("a call can be transferred once it is answered, and before it ends")
        NameAddr.parse(self.target)  # ours: a ParseError is a fault of our caller
        self._key = dialog.id[:2]
        self._core.notified.add(*self._key, self)
        self._tell("trying")
        self._oneshot = self.call.requests.send("REFER", (("Refer-To", self.target), *headers), on_done=self._answered)

    @property
    def exchange(self) -> Exchange | None:
        """The REFER's, once it is out."""
        return None if self._oneshot is None else self._oneshot.exchange

    # -- their answer ----------------------------------------------------------------------------------

    def _answered(self, response: Response | None, why: Why) -> None:
        if self.done:
            return
        if response is None or response.status >= 300:
            code, reason = code_and_reason(response)
            self._finish("failed", code, reason, why)
            return
        self._tell("accepted", response.status, response.reason)
        if not self._heard:  # a NOTIFY may come before the 202 (section 2.4.4)
            self._core.arm(self, "report", self._core.config.timers.f)

    # -- their reports ---------------------------------------------------------------------------------

    def takes(self, event: EventType) -> bool:
        if event.package != "refer":
            return False
        refer = None if self._oneshot is None else self._oneshot.exchange.last
        return event.id is None or (refer is not None and event.id == str(refer.cseq.number))

    def on_notify(
        self, dialog: Dialog | None, tx: ServerTransaction, request: Request, state: SubscriptionState, flow: Flow
    ) -> None:
        tx.reply(200)
        if dialog is not None:
            dialog.refresh(request)
        self._heard = True
        said = status_of(request.body)
        if self.done:
            if state.over:
                self._forget()
        elif said is not None and said[0] >= 200:
            self._finish("done" if said[0] < 300 else "failed", *said)
            if state.over:
                self._forget()
        elif state.over:
            self._finish("failed", why=f"protocol: no word on how it went ({state.reason or 'no reason'})")
            self._forget()
        else:
            self._core.arm(self, "report", min(float(state.expires or LIFETIME), LIFETIME))
            if said is not None:
                self._tell("progress", *said)

    def on_timer(self, name: str) -> None:
        if name == "linger":
            self._forget()
        elif self.call.dialog is None or self.call.over:
            self._finish("done", None, "the other side hung up without a word")
        else:
            self._finish("failed", why="timeout: nothing was heard of the transfer")

    # -- the end ---------------------------------------------------------------------------------------

    def call_ended(self, by: str) -> None:
        """Whoever hangs up after a 202 went where he was sent, or says so in a moment; if we did, it is our affair."""
        if self.done:
            return
        if by == "remote" and (self._heard or "report" in self._core.wheel.armed(self)):
            self._core.arm(self, "report", LAST_WORD)
        else:
            self._finish("failed", why="closed: the call is over")

    def _finish(self, state: TransferState, code: int | None = None, reason: str = "", why: Why = None) -> None:
        self.done = True
        self._core.wheel.disarm(self)
        self._core.arm(self, "linger", self._core.config.timers.f)  # a last NOTIFY may follow the last word
        self._tell(state, code, reason, why)

    def _forget(self) -> None:
        self._core.wheel.disarm(self)
        if self._key is not None:
            self._core.notified.remove(*self._key, self)

    def _tell(self, state: TransferState, code: int | None = None, reason: str = "", why: Why = None) -> None:
        self._core.emit(TransferChanged(self.call.me, self, state, code, reason, why))
