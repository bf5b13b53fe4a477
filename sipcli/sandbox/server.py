"""The sandbox's core: an engine whose requests pass a gate first, and that keeps a log (sans-IO)."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from functools import cached_property
from os import urandom
from typing import TYPE_CHECKING, Final

from sipcli.errors import LocalProtocolError, ParseError
from sipcli.sandbox.config import SandboxConfig
from sipcli.sandbox.gate import Gate
from sipcli.sip.calls.invite import OutgoingCall
from sipcli.sip.engine import Engine
from sipcli.sip.events import FlowWanted
from sipcli.sip.flow import Flow, Hop
from sipcli.sip.oneshot import OneShot
from sipcli.sip.profile import EngineConfig
from sipcli.sip.reception import Reception
from sipcli.sip.syntax.message import Request, Response, parse_message
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.transactions.server_transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core

__all__ = ["SandboxEngine", "Seen"]

_LOG: Final = 20_000


@dataclasses.dataclass(frozen=True)
class Seen:
    """One message on the wire, parsed when somebody looks at it.  *at* is in seconds of the loop's clock."""

    at: float
    flow: Flow
    data: bytes

    @cached_property
    def message(self) -> Request | Response | None:
        """None when it is no SIP."""
        try:
            return parse_message(self.data)
        except ParseError:
            return None


class SandboxEngine(Engine):
    """Registrar and proxy by its gate; the phone of its extensions by what it inherits.

    ``received`` and ``sent`` hold the latest 20,000 messages, retransmissions included.
    """

    __slots__ = ("_lost", "gate", "received", "sent")

    def __init__(self, config: SandboxConfig, *, random: Callable[[int], bytes] = urandom) -> None:
        plain = EngineConfig()
        super().__init__(
            EngineConfig(
                user_agent="sipcli-sandbox",
                timers=config.timers,
                random=random,
                allow=(*plain.allow, "REGISTER"),
                accept_calls="any",
            )
        )
        self.gate = Gate(config, self._core.layer, random)
        self._reception = _GatedReception(self._core, self.gate)
        self.received: deque[Seen] = deque(maxlen=_LOG)
        self.sent: deque[Seen] = deque(maxlen=_LOG)
        self._lost = 0

    # -- in and out, with the log -------------------------------------------------------------------------

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        self.received.append(Seen(now, flow, data))
        if self._lost < self.gate.config.lose and not data.startswith(b"SIP/2.0 "):
            self._lost += 1
            return
        super().receive(data, flow, now)

    def packets_to_send(self) -> Iterator[tuple[Flow, bytes]]:
        self._grant_flows()
        for flow, data in super().packets_to_send():
            self.sent.append(Seen(self.now, flow, data))
            yield flow, data

    def flow_lost(self, flow: Flow, why: str, now: float) -> None:
        self.gate.forget_flow(flow)
        super().flow_lost(flow, why, now)

    def _grant_flows(self) -> None:
        """A wish for a flow to somebody who registered needs no shell: the way back is the way they came."""
        events = self._core.events
        for event in [event for event in events if isinstance(event, FlowWanted)]:
            if (flow := self._flow_to(event.hop)) is not None:
                events.remove(event)
                self.flow_ready(event.ticket, flow, self.now)

    def _flow_to(self, hop: Hop) -> Flow | None:
        for binding in self.gate.location.all(self.now):
            if isinstance(binding.contact.uri, SipUri) and _same_host(binding.contact.uri.hop, hop):
                return binding.flow
        return None

    # -- to its users ---------------------------------------------------------------------------------------

    def call_user(self, user: str, sdp: bytes | None) -> OutgoingCall:
        """Call a registered user.  LocalProtocolError when nobody is bound."""
        return self.invite(None, self._contact(user), sdp)

    def message_user(self, user: str, body: bytes, content_type: str = "text/plain") -> OneShot:
        return self.message(None, self._contact(user), body, content_type)

    def _contact(self, user: str) -> SipUri:
        bindings = self.gate.location.find(user, self.now)
        if not bindings:
            raise LocalProtocolError(f"{user} is not registered")
        return bindings[-1].contact.sip_uri


def _same_host(one: Hop, other: Hop) -> bool:
    return (one.host, one.port or 5060) == (other.host, other.port or 5060)


class _GatedReception(Reception):
    """What the gate does not deal with goes the engine's usual way."""

    __slots__ = ("_gate",)

    def __init__(self, core: Core, gate: Gate) -> None:
        super().__init__(core)
        self._gate = gate

    def take(self, tx: ServerTransaction, request: Request, account: AccountState | None, flow: Flow) -> None:
        try:
            if self._gate.admit(tx):
                return
        except ParseError as error:
            tx.reply(error.status)
            return
        super().take(tx, request, account, flow)
