"""Which flow leads to a hop: what is known, what is wished for, what was lost (RFC 3263 section 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sipcli.sip.events import FlowReleased, FlowWanted
from sipcli.sip.flow import Address, Flow, Hop, Ticket

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core

__all__ = ["FlowBook", "Waiter", "Wish"]

_Key: TypeAlias = tuple[str | None, Hop]
_WishKey: TypeAlias = tuple[str | None, Hop, frozenset[Address]]

MAX_VISITED = 256
"""Hops that are no account's own and are kept although nothing uses them: callers choose what their Contact names."""


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

    __slots__ = (
        "_by_key",
        "_core",
        "_last_ticket",
        "_no_stream",
        "_open",
        "_tidy_at",
        "_visited",
        "_wished",
        "_wishes",
    )

    def __init__(self, core: Core) -> None:
        self._core = core
        self._by_key: dict[_Key, Flow] = {}
        self._visited: dict[_Key, None] = {}  # those of _by_key that lead to strangers, oldest first
        self._tidy_at = MAX_VISITED
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
            else:
                self._visited[(name, hop)] = None
        for waiter in tuple(wish.waiters):
            waiter.on_flow(flow)
        if len(self._visited) > self._tidy_at:
            self._tidy()

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

    def __iter__(self) -> Iterator[Flow]:
        """Every way that is known, a flow to several hops more than once."""
        return iter((*self._by_key.values(), *self._open.values()))

    def own(self, account: AccountState) -> list[Flow]:
        """Those that were opened for hops of *account*."""
        return [flow for (name, hop), flow in self._by_key.items() if name == account.name and account.owns(hop)]

    def alive(self, flow: Flow) -> bool:
        return not flow.reliable or flow.id in self._open

    def forget(self, flow: Flow) -> None:
        """*flow* did not serve: the next request asks for another."""
        for key in [key for key, known in self._by_key.items() if known.id == flow.id]:
            self._drop(key)
        self._release(flow)

    def lost(self, flow: Flow) -> None:
        self._open.pop(flow.id, None)
        self.forget(flow)

    def forget_accounts(self, names: Container[str | None]) -> None:
        """Accounts are gone, and with them the connections that nobody else uses."""
        orphans = [key for key in self._by_key if key[0] in names]
        flows = {flow.id: flow for flow in map(self._drop, orphans)}
        self._no_stream = {key for key in self._no_stream if key[0] not in names}
        used = self._used() if flows else ()
        for flow in flows.values():
            self._release(flow, used)

    def _drop(self, key: _Key) -> Flow:
        self._visited.pop(key, None)
        return self._by_key.pop(key)

    def _tidy(self) -> None:
        """Forget the older half of the strangers' hops, but for the last of a flow that a call still uses."""
        used = self._used()
        hops = Counter(flow.id for flow in self._by_key.values())
        for key in list(self._visited)[: len(self._visited) // 2]:
            flow = self._by_key[key]
            if flow.id not in used or hops[flow.id] > 1:
                hops[flow.id] -= 1
                self._drop(key)
                self._release(flow, used)
        self._tidy_at = max(MAX_VISITED, 2 * len(self._visited))

    def _used(self) -> set[int]:
        core = self._core
        dialogs = {dialog.flow.id for dialog in core.dialogs.values() if dialog.flow is not None}
        return dialogs | {tx.flow.id for tx in core.layer}

    def _release(self, flow: Flow, used: Collection[int] | None = None) -> None:
        """Let the shell forget a flow that leads nowhere - close a connection -, unless a call still lives on it."""
        if flow.reliable and flow.id not in self._open:
            return
        if any(known.id == flow.id for known in self._by_key.values()):
            return
        if flow.id not in (self._used() if used is None else used):
            self._core.emit(FlowReleased(flow))

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
