"""The transaction layer: which message belongs to which transaction (RFC 3261 sections 8.2.2.2, 9.2, 17 and 18.1.2).

A transaction is an opaque handle for its user, who says ``respond`` or
``cancel`` to it and is called back by ``on_…``.  Every decision of section 17
is a row of :mod:`sipcli.sip.transactions.tables`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from os import urandom
from typing import ClassVar, Final, TypeVar

from sipcli.errors import LocalProtocolError, ParseError
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.transactions.client_transaction import ClientTransaction, ClientUser
from sipcli.sip.transactions.interpreter import Transaction
from sipcli.sip.transactions.matching import (
    MAGIC_COOKIE,
    Key,
    ack_keys,
    client_key,
    dialog_key,
    has_cookie,
    merge_key,
    server_key,
    via_count,
)
from sipcli.sip.transactions.server_transaction import ServerTransaction, ServerUser
from sipcli.sip.transactions.tables import In
from sipcli.sip.transactions.timers import TimerValues, Wheel

__all__ = ["ClientTransaction", "ClientUser", "ServerTransaction", "ServerUser", "TransactionLayer"]

_T = TypeVar("_T", bound=Transaction)
_CANCELLABLE: Final = (
    "INVITE",
    *("BYE", "INFO", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE", "UPDATE"),
)


class TransactionLayer:
    """All transactions of one engine.

    *send* takes octets and must not call back; *clock* gives the instant of the
    current turn.  ``dropped`` counts, by reason, what was thrown away.
    """

    MAX_SERVERS: ClassVar[int] = 20_000
    """Server transactions at a time; further requests are dropped, and their senders repeat them."""

    def __init__(
        self,
        *,
        timers: TimerValues,
        wheel: Wheel,
        send: Callable[[Flow, bytes], None],
        clock: Callable[[], float],
        random: Callable[[int], bytes] = urandom,
    ) -> None:
        self.timers = timers
        self.wheel = wheel
        self.send = send
        self.clock = clock
        self.dropped: Counter[str] = Counter()
        self._random = random
        self._clients: dict[Key, ClientTransaction] = {}
        self._servers: dict[Key, ServerTransaction] = {}
        self._merges: dict[Key, ServerTransaction] = {}
        self._accepted: dict[Key, ServerTransaction] = {}

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)

    def __iter__(self) -> Iterator[Transaction]:
        """A snapshot: transactions may end while one walks."""
        return iter((*self._clients.values(), *self._servers.values()))

    def new_branch(self) -> str:
        """Unique, and not to be guessed: 128 random bits keep an off-path liar from answering for a server."""
        return f"{MAGIC_COOKIE}{self._random(16).hex()}"

    def new_tag(self) -> str:
        """RFC 3261 section 19.3 asks for 32 random bits; these are 64."""
        return self._random(8).hex()

    # -- client side ----------------------------------------------------------------------------

    def request(self, request: Request, flow: Flow, user: ClientUser) -> ClientTransaction:
        """Send *request*, which carries its Via already, and repeat it as its transport demands.

        LocalProtocolError for an ACK, which has no transaction, and for a branch that is in use.
        """
        if request.method == "ACK":
            raise LocalProtocolError("an ACK has no client transaction (RFC 3261 section 17)")
        key = client_key(request.via.branch, request.method)
        if key in self._clients:
            raise LocalProtocolError(f"branch {request.via.branch} is in use already")
        tx = self._clients[key] = ClientTransaction(self, request, flow, key, user)
        tx.open()
        return tx

    def on_response(self, response: Response, flow: Flow) -> bool:
        """True when the response was dealt with, also by dropping it; False when it belongs to no transaction.

        ParseError when the header fields that it is matched by make no sense.
        """
        try:
            via = response.via
            tx = self._clients.get(client_key(via.branch, response.cseq.method))
            if tx is None:
                return False
            vias = via_count(response)
        except ParseError:
            self.dropped["malformed response"] += 1
            raise
        if vias != tx.via_count:  # RFC 3261 section 8.1.3.3: more of them than our request had: not meant for us
            self.dropped["response with other Vias"] += 1
            return True
        if via.port != tx.sent_by[1] or via.host.lower() != tx.sent_by[0]:  # section 18.1.2
            self.dropped["response to another sent-by"] += 1
            return True
        status = response.status
        tx.feed(In.RX_1XX if status < 200 else In.RX_2XX if status < 300 else In.RX_3XX, response)
        return True

    # -- server side ----------------------------------------------------------------------------

    def on_request(self, request: Request, flow: Flow) -> ServerTransaction | None:
        """The new transaction that *request* begins, for the caller to answer; None when there is nothing to do.

        ParseError when the header fields that identify it make no sense.
        """
        if request.method == "ACK":
            self._on_ack(request)
            return None
        key = server_key(request)
        if (known := self._servers.get(key)) is not None:
            known.feed(In.RX_REQUEST, request)
            return None
        if len(self._servers) >= self.MAX_SERVERS:
            self.dropped["request beyond the limit"] += 1
            return None
        merging = merge_key(request)
        tx = self._servers[key] = ServerTransaction(self, request, flow, key)
        tx.open()
        if request.method == "CANCEL":
            self._on_cancel(tx)
            return None
        if merging is not None and self._merges.setdefault(merging, tx) is not tx:
            tx.reply(482)  # RFC 3261 section 8.2.2.2: the same request, by another way
            return None
        return tx

    def _on_ack(self, ack: Request) -> None:
        cookie = has_cookie(ack.via.branch)
        for key in ack_keys(ack):
            tx = self._servers.get(key)
            # Only without a cookie does the To tag count (section 17.2.3).
            if tx is not None and (cookie or tx.response is None or tx.response.to.tag == ack.to.tag):
                tx.feed(In.RX_ACK, ack)
                return
        tx = self._accepted.get(dialog_key(ack, ack.to.tag))
        if tx is None:
            self.dropped["ACK of nothing"] += 1
        else:
            tx.feed(In.RX_ACK, ack)

    def _on_cancel(self, tx: ServerTransaction) -> None:
        # Section 9.2: "assuming that the request method is anything but CANCEL or ACK".
        keys = (server_key(tx.request, method) for method in _CANCELLABLE)
        target = next((self._servers[key] for key in keys if key in self._servers), None)
        if target is None:
            tx.reply(481)
            return
        tx.respond(tx.request.reply(200, to_tag=target.local_tag))
        if target.request.method == "INVITE" and not target.answered and target.user is not None:
            target.user.on_cancelled(target, tx.request)

    def file_accepted(self, tx: ServerTransaction, response: Response) -> None:
        """Remember where the ACK to a 2xx goes: it has a branch of its own and would match nothing."""
        tx.accepted_key = dialog_key(tx.request, response.to.tag)
        self._accepted[tx.accepted_key] = tx

    # -- both -----------------------------------------------------------------------------------

    def flow_lost(self, flow: Flow, why: str) -> None:
        """Nothing can be sent over *flow* any more, and nothing will come."""
        for tx in self:
            if tx.flow.id == flow.id:
                tx.on_flow_lost(why)

    def forget(self, tx: Transaction) -> None:
        """Drop a transaction that has ended, with its timers."""
        self.wheel.disarm(tx)
        if isinstance(tx, ServerTransaction):
            _remove(self._servers, tx.key, tx)
            _remove(self._merges, merge_key(tx.request), tx)
            _remove(self._accepted, tx.accepted_key, tx)
        elif isinstance(tx, ClientTransaction):
            _remove(self._clients, tx.key, tx)


def _remove(table: MutableMapping[Key, _T], key: Key | None, tx: Transaction) -> None:
    if key is not None and table.get(key) is tx:
        del table[key]
