"""What every usage needs of its engine: the instant, the timers, the flows, the way out; no usage is known here."""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from typing import TYPE_CHECKING, Protocol

from sipcli.sip.account import AccountState
from sipcli.sip.events import Event, ProtocolWarning
from sipcli.sip.flow import Flow
from sipcli.sip.flowbook import FlowBook
from sipcli.sip.profile import EngineConfig
from sipcli.sip.subscriptions.notified import NotifyBook
from sipcli.sip.transactions.timers import TimerOwner, Wheel
from sipcli.sip.transactions.transaction import TransactionLayer
from sipcli.sip.warningration import WarningRation

if TYPE_CHECKING:
    from sipcli.sip.calls.indialog import Call
    from sipcli.sip.dialog import Dialog, DialogId
    from sipcli.sip.exchange import Exchange
    from sipcli.sip.registrations.keepalive import FlowKeeper

__all__ = ["Core", "StandingUsage"]


class StandingUsage(Protocol):
    """What an account keeps up beside its registration and its calls: a subscription, a publication."""

    def belongs_to(self, accounts: Container[AccountState | None]) -> bool: ...

    def flow_lost(self, flow: Flow) -> None:
        """Nothing goes through *flow* any more."""

    def close(self, why: str) -> None:
        """The account goes: nothing more is sent."""


class Core:
    """The inside of an engine.

    ``now`` is one instant per turn: whoever calls in sets it once, everybody
    inside reads it, so that one turn cannot see two times.
    """

    __slots__ = (
        "_last_id",
        "accounts",
        "arrival",
        "calls",
        "config",
        "departed",
        "dialogs",
        "events",
        "exchanges",
        "flows",
        "keepers",
        "layer",
        "notified",
        "now",
        "outbox",
        "standing",
        "warnings",
        "wheel",
    )

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.now = 0.0
        self.events: deque[Event] = deque()
        self.outbox: list[tuple[Flow, bytes]] = []
        self.wheel = Wheel()
        self.flows = FlowBook(self)
        self.layer = TransactionLayer(
            timers=config.timers, wheel=self.wheel, send=self.send, clock=self.clock, random=config.random
        )
        self.accounts: dict[str, AccountState] = {}
        self.dialogs: dict[DialogId, Dialog] = {}
        self.departed: deque[DialogId] = deque(maxlen=64)
        """The dialogs that closed last: who would replace one of them is declined, and nobody's phone rings."""
        self.calls: dict[str, Call] = {}
        self.notified = NotifyBook(config)
        self.exchanges: set[Exchange] = set()
        self.standing: set[StandingUsage] = set()
        self.warnings = WarningRation()
        self.keepers: dict[int, FlowKeeper] = {}
        """Who watches a flow, by its id."""
        self.arrival: Flow | None = None
        """The flow of the octets that are being received right now."""
        self._last_id = 0

    def clock(self) -> float:
        return self.now

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def warn(self, code: str, message: str) -> None:
        """Tell the user of the engine, unless a flood of others like it was told just now."""
        told = self.warnings.take(code, message, self.now)
        if told is not None:
            self.events.append(ProtocolWarning(code, told))

    def send(self, flow: Flow, data: bytes) -> None:
        self.outbox.append((flow, data))

    def arm(self, owner: TimerOwner, name: str, seconds: float) -> None:
        self.wheel.arm(owner, name, self.now + seconds)

    # -- names that nobody can guess (RFC 3261 sections 8.1.1.4 and 19.3) ------------------------

    def new_tag(self) -> str:
        return self.config.random(8).hex()

    def new_call_id(self) -> str:
        return self.config.random(16).hex()

    def new_id(self, prefix: str) -> str:
        """A short name for people and for ``--json``; unique within this engine."""
        self._last_id += 1
        return f"{prefix}{self._last_id}"

    def uniform(self, low: float, high: float) -> float:
        """A random number in [low, high)."""
        return low + (high - low) * int.from_bytes(self.config.random(4)) / 2**32
