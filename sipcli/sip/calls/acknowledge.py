"""The two ends of the three-way handshake that transactions leave to us: ACK to a 2xx, and 2xx until the ACK.

RFC 3261 sections 13.2.2.4 and 13.3.1.4, RFC 6026.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.targets import via_of
from sipcli.sip.transactions.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcli.sip.core import Core
    from sipcli.sip.dialog import Dialog

__all__ = ["Acceptance", "AcceptanceOwner", "Acknowledgement"]


class Acknowledgement:
    """Our ACK to one dialog's 2xx: sent once, and again for every repetition of the 2xx.

    *invite* is the INVITE as it was sent, *over* the flow it went by.  The ACK
    repeats its credentials (section 22.1), but only to the very server they
    were meant for: where no proxy stayed in the path, the ACK goes to the
    other phone, and our digest is not for him (threat T01).
    """

    __slots__ = ("_body", "_content_type", "_core", "_dialog", "_invite", "_on_failure", "_over", "_sent")

    def __init__(
        self,
        core: Core,
        dialog: Dialog,
        invite: Request,
        over: Flow | None,
        *,
        on_failure: Callable[[str], None] | None = None,
    ) -> None:
        self._core = core
        self._dialog = dialog
        self._invite = invite
        self._over = over
        self._on_failure = on_failure
        self._body = b""
        self._content_type: str | None = None
        self._sent: tuple[Flow, bytes] | None = None

    def send(self, body: bytes = b"", content_type: str | None = None) -> None:
        """The first time; *body* is the answer to an offer that came in the 2xx."""
        self._body = body
        self._content_type = content_type if body else None
        core, dialog = self._core, self._dialog
        hop = dialog.target().hop
        flow = dialog.flow_for(hop) or core.flows.find(dialog.account, hop)
        if flow is not None:
            self.on_flow(flow)
        else:
            core.flows.want(self, dialog.account, hop, size=len(body) + 500)

    def repeat(self) -> None:
        """The same octets; a new ACK, by another way, if the connection of the first one broke."""
        if self._sent is None:
            return
        if self._core.flows.alive(self._sent[0]):
            self._core.send(*self._sent)
        else:
            self._sent = None
            self.send(self._body, self._content_type)

    def on_flow(self, flow: Flow) -> None:
        data = self._build(flow).to_bytes()
        self._sent = (flow, data)
        self._core.send(flow, data)

    def on_no_flow(self, why: str) -> None:
        if self._on_failure is not None:
            self._on_failure(why)

    def _build(self, flow: Flow) -> Request:
        core, dialog, invite = self._core, self._dialog, self._invite
        target = dialog.target()
        headers = [
            ("Via", str(via_of(flow, core.layer.new_branch()))),
            *(("Route", route) for route in target.routes),
            ("Max-Forwards", "70"),
            ("From", dialog.local),
            ("To", dialog.remote),
            ("Call-ID", dialog.call_id),
            ("CSeq", f"{invite.cseq.number} ACK"),
        ]
        if self._over is not None and flow.remote == self._over.remote:
            headers += [
                (name, value) for name in ("Authorization", "Proxy-Authorization") for value in invite.all(name)
            ]
        headers.append(("User-Agent", core.config.user_agent))
        if self._content_type is not None:
            headers.append(("Content-Type", self._content_type))
        return Request.build("ACK", target.uri, headers, self._body)


class AcceptanceOwner(Protocol):
    """Whoever accepted an INVITE."""

    def on_acknowledged(self, acceptance: Acceptance, ack: Request) -> None: ...

    def on_unacknowledged(self, acceptance: Acceptance) -> None:
        """64*T1 without an ACK: the session is to be ended with BYE (section 13.3.1.4)."""


class Acceptance:
    """A 2xx of ours, repeated until the ACK comes: at T1, then twice as long each time up to T2, on any transport.

    The server transaction never repeats a 2xx by itself (RFC 6026 section 7.1),
    because only the two ends of a call can know that it arrived.
    """

    __slots__ = ("_core", "_interval", "_owner", "acknowledged", "response", "tx")

    def __init__(self, core: Core, owner: AcceptanceOwner, tx: ServerTransaction, response: Response) -> None:
        self._core = core
        self._owner = owner
        self.tx = tx
        self.response = response
        self.acknowledged = False
        self._interval = core.config.timers.t1

    def start(self) -> None:
        self.tx.user = self
        self.tx.respond(self.response)
        self._core.arm(self, "repeat", self._interval)
        self._core.arm(self, "limit", self._core.config.timers.h)

    def stop(self) -> None:
        self._core.wheel.disarm(self)

    def on_timer(self, name: str) -> None:
        if name == "limit":
            self.stop()
            self._owner.on_unacknowledged(self)
            return
        self.tx.respond(self.response)
        self._interval = min(2 * self._interval, self._core.config.timers.t2)
        self._core.arm(self, "repeat", self._interval)

    # -- as the user of the transaction --------------------------------------------------------------

    def on_ack(self, tx: ServerTransaction, ack: Request) -> None:
        if not self.acknowledged:
            self.acknowledged = True
            self.stop()
            self._owner.on_acknowledged(self, ack)

    def on_cancelled(self, tx: ServerTransaction, cancel: Request) -> None:
        """Too late: the 2xx went out (section 9.2)."""

    def on_timeout(self, tx: ServerTransaction) -> None:
        pass

    def on_transport_error(self, tx: ServerTransaction, why: str) -> None:
        """The 2xx could not be sent; the next repetition may, and the limit ends it."""
