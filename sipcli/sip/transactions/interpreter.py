"""What both halves of a transaction share: a state, a table, and the octets last sent (RFC 3261 section 17)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.transactions.matching import Key
from sipcli.sip.transactions.tables import Do, In, Machine, State

if TYPE_CHECKING:
    from sipcli.sip.transactions.transaction import TransactionLayer

__all__ = ["Action", "Program", "Transaction", "compile_machine"]

Action: TypeAlias = Callable[[Any], None]
Program: TypeAlias = dict[tuple[State, In], tuple[State, tuple[Action, ...]]]


class Transaction:
    """The interpreter of one machine.  An action is a method ``do_…``, named as in ``tables.Do``."""

    __slots__ = ("_interval", "_last", "_layer", "_message", "_program", "_why", "flow", "key", "request", "state")

    def __init__(
        self, layer: TransactionLayer, machine: Machine, program: Program, request: Request, flow: Flow, key: Key
    ) -> None:
        self.request = request
        self.flow = flow
        self.state = machine.start
        self.key = key
        self._layer = layer
        self._program = program
        self._last: bytes | None = None
        self._message: Any = None  # what the current input brought
        self._why = ""
        self._interval = 0.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.request.method} {self.state} {self.flow}>"

    @property
    def terminated(self) -> bool:
        return self.state is State.TERMINATED

    def feed(self, event: In, message: Request | Response | None = None) -> None:
        """One input: look up the row, enter its state, do its actions.  What is in no row is ignored."""
        row = self._program.get((self.state, event))
        if row is None:
            return
        self._message = message
        self.state, actions = row
        if self.state is State.TERMINATED:  # "destroyed the instant it enters the state"
            self._layer.forget(self)
        for act in actions:
            act(self)
        self._message = None  # a finished transaction lingers for seconds; what it was told need not

    def on_timer(self, name: str) -> None:
        self.feed(In(name))

    def on_flow_lost(self, why: str) -> None:
        self._why = why
        self.feed(In.TRANSPORT_ERROR)

    def arm(self, name: str) -> None:
        """Start a timer with the duration that RFC 3261 table 4 gives it on this transport."""
        seconds = self._layer.timers.duration(name, reliable=self.flow.reliable)
        if seconds is None:
            return
        if seconds == 0:  # D, I, J and K on a reliable transport: over at once
            message = self._message
            self.feed(In(name))
            self._message = message  # the row that armed it is not finished
        elif name in "AEG":
            self.repeat(name, seconds)
        else:
            self._layer.wheel.arm(self, name, self._layer.clock() + seconds)

    def repeat(self, name: str, interval: float) -> None:
        """Start A, E or G, whose intervals grow: the next one follows from *interval*."""
        self._interval = interval
        self._layer.wheel.arm(self, name, self._layer.clock() + interval)

    def do_stop(self) -> None:
        self._layer.wheel.disarm(self)

    def do_resend(self) -> None:
        if self._last is not None:
            self._layer.send(self.flow, self._last)


def compile_machine(machine: Machine, half: type[Transaction]) -> tuple[tuple[Action, ...], Program]:
    """The opening and the rows of *machine* with the methods of *half* for the names of their actions."""
    return (
        tuple(_method(do, half) for do in machine.opening),
        {pair: (state, tuple(_method(do, half) for do in actions)) for pair, (state, actions) in machine.table.items()},
    )


def _method(do: Do, half: type[Transaction]) -> Action:
    if do.startswith("ARM_"):
        name = do.removeprefix("ARM_")
        return lambda tx: tx.arm(name)
    action: Action = getattr(half, f"do_{do.lower()}")
    return action
