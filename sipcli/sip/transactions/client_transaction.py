"""One request of ours and its responses (RFC 3261 sections 9.1 and 17.1, RFC 6026 section 7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.transactions import tables
from sipcli.sip.transactions.interpreter import Transaction, compile_machine
from sipcli.sip.transactions.matching import Key, via_count
from sipcli.sip.transactions.tables import In, State

if TYPE_CHECKING:
    from sipcli.sip.transactions.transaction import TransactionLayer

__all__ = ["ClientTransaction", "ClientUser"]


class ClientUser(Protocol):
    """Whoever sends a request.  *tx* says which: a user may have several transactions over time.

    After the final response nothing more comes, with two exceptions: further
    2xx to an INVITE, and ``on_transport_error`` when its ACK could not be sent.
    """

    def on_response(self, tx: ClientTransaction, response: Response) -> None: ...

    def on_timeout(self, tx: ClientTransaction) -> None:
        """Timer B or F, or 64*T1 after a CANCEL: treat it as a 408 (RFC 3261 section 8.1.3.1)."""

    def on_transport_error(self, tx: ClientTransaction, why: str) -> None:
        """Treat it as a 503 (RFC 3261 section 8.1.3.1)."""


class ClientTransaction(Transaction):
    """The client half.  Its user gets the responses; an ACK to anything but a 2xx is sent here, and at once."""

    __slots__ = ("_ack", "_cancelled", "branch", "sent_by", "user", "via_count")

    def __init__(self, layer: TransactionLayer, request: Request, flow: Flow, key: Key, user: ClientUser) -> None:
        via = request.via
        self.branch: str = via.branch or ""
        self.sent_by = (via.host.lower(), via.port)
        self.via_count = via_count(request)
        self.user = user
        self._ack: bytes | None = None
        self._cancelled = False
        machine = tables.INVITE_CLIENT if request.method == "INVITE" else tables.CLIENT
        super().__init__(layer, machine, _COMPILED[machine.name][1], request, flow, key)

    def open(self) -> None:
        """Send the request and arm the timers.  Called once, by the layer."""
        for act in _COMPILED["INVITE_CLIENT" if self.request.method == "INVITE" else "CLIENT"][0]:
            act(self)

    def cancel(self) -> ClientTransaction | None:
        """Send CANCEL for this INVITE, in a transaction of its own (RFC 3261 section 9.1).

        None, and nothing is sent, unless a provisional response has come and no
        final one: before the first, a CANCEL might overtake its INVITE, so the
        caller waits for it.  A second call sends nothing either.  When no final
        response follows within 64*T1, the user's ``on_timeout`` is called.
        """
        if self.request.method != "INVITE" or self.state is not State.PROCEEDING or self._cancelled:
            return None
        self._cancelled = True
        self.arm(In.CANCEL)
        return self._layer.request(self._derived("CANCEL", self.request), self.flow, NOBODY)

    def stop(self) -> None:
        """End here and now; nobody is told, nothing is sent."""
        self.state = State.TERMINATED
        self._layer.forget(self)

    def _derived(self, method: str, to_of: Request | Response) -> Request:
        """An ACK or a CANCEL: sections 17.1.1.3 and 9.1 name the same header fields, equal to those of the INVITE."""
        invite = self.request
        headers = [
            ("Via", str(invite.via)),
            *(("Route", route) for route in invite.all("Route")),
            ("Max-Forwards", "70"),
            ("From", invite.get("From")),
            ("To", to_of.get("To")),
            ("Call-ID", invite.call_id),
            ("CSeq", f"{invite.cseq.number} {method}"),
        ]
        return Request.build(method, invite.uri_text, headers)

    # -- actions --------------------------------------------------------------------------------

    def do_send(self) -> None:
        self._last = self.request.take_bytes()  # the request may live for long, waiting for a secret; these do not
        self._layer.send(self.flow, self._last)

    def do_ack(self) -> None:
        # Built once: the same octets answer every repetition of the response.
        if self._ack is None:
            self._ack = self._derived("ACK", self._message).to_bytes()
        self._layer.send(self.flow, self._ack)

    def do_double_a(self) -> None:
        self.repeat("A", 2 * self._interval)

    def do_double_e(self) -> None:
        self.repeat("E", min(2 * self._interval, self._layer.timers.t2))

    def do_e_at_t2(self) -> None:
        self.repeat("E", self._layer.timers.t2)

    def do_deliver(self) -> None:
        self.user.on_response(self, self._message)

    def do_timeout(self) -> None:
        self.user.on_timeout(self)

    def do_error(self) -> None:
        self.user.on_transport_error(self, self._why)


class _Nobody:
    """The user of a CANCEL: its answer changes nothing, and a challenge to it is ignored (RFC 3261 section 22.1)."""

    def on_response(self, tx: ClientTransaction, response: Response) -> None:
        pass

    def on_timeout(self, tx: ClientTransaction) -> None:
        pass

    def on_transport_error(self, tx: ClientTransaction, why: str) -> None:
        pass


NOBODY: Final = _Nobody()
_COMPILED: Final = {
    machine.name: compile_machine(machine, ClientTransaction) for machine in (tables.INVITE_CLIENT, tables.CLIENT)
}
