"""One request to us and our responses (RFC 3261 section 17.2, RFC 6026 section 7.1, RFC 4320 section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

from sipcli.errors import LocalProtocolError
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.transactions import tables
from sipcli.sip.transactions.interpreter import Transaction, compile_machine
from sipcli.sip.transactions.matching import Key
from sipcli.sip.transactions.tables import In, State

if TYPE_CHECKING:
    from sipcli.sip.transactions.transaction import TransactionLayer

__all__ = ["ServerTransaction", "ServerUser"]


class ServerUser(Protocol):
    """Whoever answers a request."""

    def on_cancelled(self, tx: ServerTransaction, cancel: Request) -> None:
        """An INVITE without a final response was cancelled: answer it 487.  The CANCEL is answered already."""

    def on_ack(self, tx: ServerTransaction, ack: Request) -> None:
        """The ACK to our 2xx.  Any other ACK is absorbed here."""

    def on_timeout(self, tx: ServerTransaction) -> None:
        """Timer H: nobody acknowledged our final response; or it is too late for any response at all (RFC 4320)."""

    def on_transport_error(self, tx: ServerTransaction, why: str) -> None:
        """A response cannot be sent.  An INVITE stays where it is (RFC 6026): answer it nevertheless, to end it."""


class ServerTransaction(Transaction):
    """The server half.

    *user* is set by whoever takes the transaction from the layer; *response* is
    the latest one that went out.
    """

    __slots__ = ("_tag", "accepted_key", "response", "user")

    def __init__(self, layer: TransactionLayer, request: Request, flow: Flow, key: Key) -> None:
        self.user: ServerUser | None = None
        self.response: Response | None = None
        self.accepted_key: Key | None = None
        self._tag: str | None = None
        machine = tables.INVITE_SERVER if request.method == "INVITE" else tables.SERVER
        super().__init__(layer, machine, _COMPILED[machine.name][1], request, flow, key)

    def open(self) -> None:
        """Arm the timers.  Called once, by the layer."""
        for act in _COMPILED["INVITE_SERVER" if self.request.method == "INVITE" else "SERVER"][0]:
            act(self)

    @property
    def local_tag(self) -> str:
        """The To tag of our responses: the request's, that of a response already given, or else a new random one."""
        if (tag := self.request.to.tag) is not None:
            return tag
        if self._tag is None:
            self._tag = self._layer.new_tag()
        return self._tag

    @property
    def answered(self) -> bool:
        """A final response was given, or it is too late to give one."""
        return self.state not in (State.TRYING, State.PROCEEDING)

    def respond(self, response: Response) -> None:
        """Send *response*; one that comes after the final one is discarded (RFC 3261 section 17.2.2).

        To a request that is no INVITE, a provisional response other than 100 and
        a 408 are forbidden (RFC 4320 section 4): LocalProtocolError.  A 100 before
        its time is kept back; the transaction says it itself when it is due.
        """
        if self.request.method != "INVITE":
            if response.status == 408 or 100 < response.status < 200:
                raise LocalProtocolError(
                    f"{response.status} must not answer {self.request.method} (RFC 4320 section 4)"
                )
            if response.status == 100 and not self.flow.reliable:
                return
        self.feed(_input(response.status), response)

    def reply(
        self,
        status: int,
        reason: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> None:
        """Build a response with our ``local_tag`` (RFC 3261 section 8.2.6) and send it."""
        tag = self.local_tag  # which a 100 leaves out (section 8.2.6.2)
        response = self.request.reply(status, reason, to_tag=tag, headers=headers, body=body, content_type=content_type)
        self.respond(response)

    # -- actions --------------------------------------------------------------------------------

    def do_send(self) -> None:
        response: Response = self._message
        self.response = response
        if response.status > 100:
            self._tag = response.to.tag
        self._last = response.to_bytes()
        if self.state is State.ACCEPTED and self.accepted_key is None:
            self._layer.file_accepted(self, response)
        self._layer.send(self.flow, self._last)

    def do_trying(self) -> None:
        self._message = self.request.reply(100)  # without a To tag, section 17.2.1
        self.do_send()

    def do_double_g(self) -> None:
        self.repeat("G", min(2 * self._interval, self._layer.timers.t2))

    def do_deliver(self) -> None:
        if self.user is not None:
            self.user.on_ack(self, self._message)

    def do_timeout(self) -> None:
        if self.user is not None:
            self.user.on_timeout(self)

    def do_error(self) -> None:
        if self.user is not None:
            self.user.on_transport_error(self, self._why)


def _input(status: int) -> In:
    return In.TX_1XX if status < 200 else In.TX_2XX if status < 300 else In.TX_3XX


_COMPILED: Final = {
    machine.name: compile_machine(machine, ServerTransaction) for machine in (tables.INVITE_SERVER, tables.SERVER)
}
