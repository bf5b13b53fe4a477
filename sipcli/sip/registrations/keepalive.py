"""A flow kept alive, and noticed when it is not: pings and pongs, STUN over UDP (RFC 5626 section 4.4).

::

    WAITING ── uniform(80 %, 100 %) of the interval ──> ASKED ── pong ──> WAITING
                                                        ASKED ── 10 s, or STUN's last answer due ──> the flow is lost
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sipcli.errors import ParseError
from sipcli.sip.events import FlowWatched
from sipcli.sip.flow import Address, Flow
from sipcli.sip.registrations.outage import abandon
from sipcli.sip.registrations.stun import binding_request, is_stun, parse_answer
from sipcli.sip.syntax.framing import KEEPALIVE, PONG

if TYPE_CHECKING:
    from sipcli.sip.core import Core

__all__ = ["FlowKeeper", "is_keepalive", "keep_alive", "leave_alone"]

PONG_WAIT: Final = 10.0
STREAM_INTERVAL: Final = 120.0
DATAGRAM_INTERVAL: Final = 29.0
"""Many a NAT forgets a UDP mapping after 30 s (section 4.4.2)."""
DATAGRAM_LEAST: Final = 24.0
RTO: Final = 0.5
SENDINGS: Final = 7
AWAY: Final = 4
"""Sendings of which only the last is answered: at 0, 0.5 and 1.5 s nobody was there."""
LAST_WAIT: Final = 16 * RTO
"""STUN's own patience (RFC 8489 section 6.2.1): sent at 0, 0.5, 1.5 ... 31.5 s, given up at 39.5 s."""


def is_keepalive(data: bytes) -> bool:
    """A ping, a pong or STUN: on the flow, and no SIP message."""
    return data in (PONG, KEEPALIVE) or is_stun(data)


def keep_alive(core: Core, flow: Flow, flow_timer: int | None) -> None:
    """*flow* leads to somebody who answers keep-alives; *flow_timer* in seconds is what he asked for, if he did."""
    keeper = core.keepers.get(flow.id)
    if keeper is None:
        keeper = core.keepers[flow.id] = FlowKeeper(core, flow)
        core.emit(FlowWatched(flow, watched=True))
    keeper.begin(flow_timer)


def leave_alone(core: Core, flow: Flow) -> None:
    """Nobody promised to answer on *flow* (any more), unless to another account that is bound over it."""
    if flow.id not in core.keepers:
        return  # as nearly always: a thousand accounts need not be asked for each of their registrations
    for account in core.accounts.values():
        kept = account.registration.flow if account.registration is not None else None
        if kept is not None and kept.id == flow.id and account.outbound.keeps_flow:
            return
    _dismiss(core, flow)


def _dismiss(core: Core, flow: Flow) -> None:
    keeper = core.keepers.pop(flow.id, None)
    if keeper is not None:
        keeper.stop()
        core.emit(FlowWatched(flow, watched=False))


class FlowKeeper:
    """Watches one flow.  *answered*: it was alive at least once since it was made (section 4.5 counts on that)."""

    __slots__ = ("_asked", "_core", "_flow", "_interval", "_mapped", "_sendings", "answered")

    def __init__(self, core: Core, flow: Flow) -> None:
        self._core = core
        self._flow = flow
        self._interval = (0.0, 0.0)
        self._asked: bytes | None = None  # the STUN transaction that is out, or b"" for a ping
        self._sendings = 0
        self._mapped: Address | None = None
        self.answered = False

    def begin(self, flow_timer: int | None) -> None:
        """From now on, at the pace of the latest answer of the registrar."""
        if flow_timer is not None:
            self._interval = (0.8 * flow_timer, float(flow_timer))
        elif self._flow.reliable:
            self._interval = (0.8 * STREAM_INTERVAL, STREAM_INTERVAL)
        else:
            self._interval = (DATAGRAM_LEAST, DATAGRAM_INTERVAL)
        if self._asked is None:
            self._rest()

    def stop(self) -> None:
        self._core.wheel.disarm(self)

    def _rest(self) -> None:
        self._asked = None
        self._core.wheel.disarm(self)
        self._core.arm(self, "ask", self._core.uniform(*self._interval))

    # -- asking ----------------------------------------------------------------------------------------

    def on_timer(self, name: str) -> None:
        if name == "ask":
            self._ask()
        elif name == "repeat":
            self._repeat()
        else:
            self._unanswered()

    def _ask(self) -> None:
        core = self._core
        if self._flow.reliable:
            self._asked = b""
            core.send(self._flow, KEEPALIVE)
            core.arm(self, "give up", PONG_WAIT)
        else:
            self._asked, self._sendings = core.config.random(12), 0
            self._repeat()

    def _repeat(self) -> None:
        assert self._asked is not None
        self._core.send(self._flow, binding_request(self._asked))
        self._sendings += 1
        if self._sendings < SENDINGS:
            self._core.arm(self, "repeat", RTO * 2 ** (self._sendings - 1))
        else:
            self._core.arm(self, "give up", LAST_WAIT)

    def _unanswered(self) -> None:
        if not self._flow.reliable and not self.answered:
            # It never did: no STUN there, whatever the registrar promised.  Line ends keep the NAT open all the same.
            _dismiss(self._core, self._flow)
            return
        self._fail(f"lost: {self._flow} does not answer keep-alives")

    def _fail(self, why: str) -> None:
        abandon(self._core, self._flow, why)

    def _doubt(self) -> None:
        for account in self._core.accounts.values():
            registration = account.registration
            if registration is not None and registration.flow is not None and registration.flow.id == self._flow.id:
                registration.doubt()

    # -- answers ---------------------------------------------------------------------------------------

    def heard(self, data: bytes) -> None:
        """What came on the flow and is no SIP message.  Only what answers our question counts."""
        if self._flow.reliable:
            if data == PONG and self._asked is not None:
                self.answered = True
                self._rest()
            return
        try:
            answer = parse_answer(data)
        except ParseError:
            return
        if answer is None or self._asked is None or answer.transaction != self._asked:
            return
        if answer.error is not None:
            self._fail(f"lost: {self._flow} answers keep-alives with error {answer.error}")
        elif self._mapped is not None and answer.mapped != self._mapped:
            # Another mapping: what the registrar sends to the old one reaches nobody (section 4.4.2).
            self._fail(f"lost: the way to {self._flow} changed behind our back")
        else:
            self.answered, self._mapped = True, answer.mapped
            if self._sendings >= AWAY:
                self._doubt()
            self._rest()
