"""Which flow leads to a hop: what is known, what is wished for, what was lost (RFC 3263 section 4)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sipcli.sip.events import FlowReleased, FlowWanted
from sipcli.sip.flow import Address, Flow, Hop, Ticket

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core

__all__ = ["FlowBook", "Waiter", "Wish"]

_Key: TypeAlias = tuple[str | None, Hop]
_WishKey: TypeAlias = tuple[str | None, Hop, frozenset[Address]]


class Waiter(Protocol):
    """Whoever wished for a flow."""

    def on_flow(self, flow: Flow) -> None: ...
    def on_no_flow(self, why: str) -> None: ...


class Wish:
    """One ticket and all who wait for it."""

    __slots__ = ("_book", "account", "key", "ticket", "waiters")

    def __init__(self, book: FlowBook, ticket: Ticket, account: AccountState | None, key: _WishKey) -> None:
        self._book = book
        self.ticket = ticket
        self.account = account
        self.key = key
        self.waiters: list[Waiter] = []

    def withdraw(self, waiter: Waiter) -> None:
        """*waiter* wants nothing any more.  The wish itself lives on: its flow may serve the next request."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)

    def on_timer(self, name: str) -> None:
        self._book.failed(self.ticket, f"connect: no connection to {self.key[1]} in time")


class FlowBook:
    """Flows by account and hop.

    A flow stays the way to its hop until it fails: a registration and the calls
    that follow it stay with one server.  Several wishes for the same are one ticket.
    """

    __slots__ = ("_by_key", "_core", "_last_ticket", "_no_stream", "_open", "_wished", "_wishes")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._by_key: dict[_Key, Flow] = {}
        self._wishes: dict[Ticket, Wish] = {}
        self._wished: dict[_WishKey, Wish] = {}
        self._open: dict[int, Flow] = {}  # connections; a UDP association needs no opening
        self._no_stream: set[_Key] = set()
        self._last_ticket = 0

    def find(self, account: AccountState | None, hop: Hop, excluding: Collection[Address] = ()) -> Flow | None:
        flow = self._by_key.get((account.name if account else None, hop))
        return None if flow is None or flow.remote in excluding else flow

    def want(
        self,
        waiter: Waiter,
        account: AccountState | None,
        hop: Hop,
        *,
        excluding: frozenset[Address] = frozenset(),
        size: int = 0,
    ) -> Wish:
        """Emit FlowWanted, or join the wish for the very same; *waiter* is told later, never from within this call."""
        name = account.name if account else None
        key = (name, hop, excluding)
        wish = self._wished.get(key)
        if wish is None or wish.account is not account:
            self._last_ticket += 1
            wish = Wish(self, Ticket(self._last_ticket), account, key)
            self._wishes[wish.ticket] = self._wished[key] = wish
            core = self._core
            core.wheel.arm(wish, "wish", core.now + core.config.flow_limit)
            core.emit(FlowWanted(wish.ticket, hop, excluding, size, name))
        wish.waiters.append(waiter)
        return wish

    def ready(self, ticket: Ticket, flow: Flow) -> None:
        """The shell has a flow: it is bound to the account if it was wished for one of the account's own hops."""
        wish = self._take(ticket)
        if wish is None:
            return
        if flow.reliable:
            self._open[flow.id] = flow
        account, (name, hop, _) = wish.account, wish.key
        if account is None or not account.closed:
            self._by_key[(name, hop)] = flow
            if account is not None and account.owns(hop):
                account.learn(flow)
        for waiter in tuple(wish.waiters):
            waiter.on_flow(flow)

    def failed(self, ticket: Ticket, why: str) -> None:
        wish = self._take(ticket)
        if wish is not None:
            for waiter in tuple(wish.waiters):
                waiter.on_no_flow(why)

    def _take(self, ticket: Ticket) -> Wish | None:
        wish = self._wishes.pop(ticket, None)
        if wish is not None:
            self._core.wheel.disarm(wish)
            if self._wished.get(wish.key) is wish:
                del self._wished[wish.key]
        return wish

    # -- life and death -------------------------------------------------------------------------

    def seen(self, flow: Flow) -> None:
        """Octets came in on *flow*: somebody connected to us."""
        if flow.reliable and flow.id not in self._open:
            self._open[flow.id] = flow

    def alive(self, flow: Flow) -> bool:
        return not flow.reliable or flow.id in self._open

    def forget(self, flow: Flow) -> None:
        """*flow* did not serve: the next request asks for another."""
        for key in [key for key, known in self._by_key.items() if known.id == flow.id]:
            del self._by_key[key]
        self._release(flow)

    def lost(self, flow: Flow) -> None:
        self._open.pop(flow.id, None)
        self.forget(flow)

    def forget_account(self, account: AccountState) -> None:
        """The account is gone, and with it the connections that nobody else uses."""
        orphans = [(key, flow) for key, flow in self._by_key.items() if key[0] == account.name]
        for key, _ in orphans:
            del self._by_key[key]
        self._no_stream = {key for key in self._no_stream if key[0] != account.name}
        for _, flow in orphans:
            self._release(flow)

    def _release(self, flow: Flow) -> None:
        """Let the shell close a connection that leads nowhere, unless a call still lives on it."""
        if flow.id not in self._open or any(known.id == flow.id for known in self._by_key.values()):
            return
        core = self._core
        talking = any(dialog.flow is not None and dialog.flow.id == flow.id for dialog in core.dialogs.values())
        if talking or any(tx.flow.id == flow.id for tx in core.layer):
            return
        core.emit(FlowReleased(flow))

    # -- large requests -------------------------------------------------------------------------

    def stream_refused(self, account: AccountState | None, hop: Hop) -> None:
        self._no_stream.add((account.name if account else None, hop))

    def stream_hop(self, account: AccountState | None, hop: Hop) -> Hop | None:
        """Where more than 1300 octets go instead of UDP (RFC 3261 section 18.1.1).

        None where the URI or the account insists on UDP, and where TCP was refused already.
        """
        if hop.transport is not None or (account.name if account else None, hop) in self._no_stream:
            return None
        return hop._replace(transport="tcp")
