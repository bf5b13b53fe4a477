"""Which flow carries a request: the dialog's own, one that is known, one that is wished for.

RFC 3263 section 4.3 (never again a server that failed) and RFC 3261 section
18.1.1 (TCP for what is too large for UDP, and UDP after all where TCP is refused).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sipcli.sip.flow import Address, Flow, Hop
from sipcli.sip.flowbook import Wish
from sipcli.sip.letter import Letter
from sipcli.sip.syntax.message import Request
from sipcli.sip.targets import Target

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.core import Core

__all__ = ["FlowSearch", "Seeker"]

UDP_LIMIT = 1300
"""Octets that may travel over UDP where the path's MTU is unknown (RFC 3261 section 18.1.1)."""
KEYS = b"a=crypto:"
"""Where an SDP has keys (RFC 4568 section 9.1)."""
_NONE: frozenset[Address] = frozenset()  # an empty set for each of ten thousand would be two megabytes


class Seeker(Protocol):
    """Whose search it is: told within the call where a flow is known, else later."""

    def on_found(self, flow: Flow) -> None: ...
    def on_nothing_found(self, why: str) -> None: ...


class FlowSearch:
    """The way out of one request, over all its attempts.

    It knows its seeker while something is wished for, and no longer: two that
    refer to each other could only be freed by the collector.
    """

    __slots__ = ("_account", "_core", "_failed", "_fallback", "_home", "_hop", "_seeker", "_wish")

    def __init__(self, core: Core, account: AccountState | None, home: Callable[[Hop], Flow | None] | None) -> None:
        """*home*: a dialog's own idea of the flow for a hop, asked first."""
        self._core = core
        self._account = account
        self._home = home
        self._hop: Hop | None = None
        self._failed: frozenset[Address] = _NONE
        self._fallback: Flow | None = None
        self._seeker: Seeker | None = None
        self._wish: Wish | None = None

    def begin(self, seeker: Seeker, letter: Letter, target: Target) -> None:
        """Find a flow for *letter* to *target*."""
        flows, hop = self._core.flows, target.hop
        self._hop, self._fallback = hop, None
        flow = self._home(hop) if self._home is not None else None
        if flow is None or flow.remote in self._failed:
            flow = flows.find(self._account, hop, self._failed)
        if flow is not None:
            seeker.on_found(flow)
            return
        size = letter.estimate(target)
        stream = flows.stream_hop(self._account, hop) if size > UDP_LIMIT else None
        self._go_by(seeker, stream or hop, size)

    def outgrown(self, seeker: Seeker, request: Request, flow: Flow, hop: Hop) -> bool:
        """Has *request*, as stamped, grown beyond what may go to *hop* by *flow*?  Then TCP is being looked for."""
        if flow.reliable or self._fallback is not None or (size := len(request.to_bytes())) <= UDP_LIMIT:
            return False
        stream = self._core.flows.stream_hop(self._account, hop)
        if stream is None:
            return False
        self._hop, self._fallback = hop, flow
        self._go_by(seeker, stream, size)
        return True

    def unfit(self, request: Request, flow: Flow, hop: Hop) -> str | None:
        """Why *request* must not leave by *flow*, nor by any other; None: it may.

        Nobody slows down for a large MESSAGE over UDP, and MESSAGEs come in numbers: there it is TCP or nothing
        (RFC 3428 section 8).  Other requests fall back to UDP where TCP is refused (RFC 3261 section 18.1.1).
        Whoever reads the SDP has its keys, so they leave over TLS or not at all (RFC 4568 section 7, T10).
        """
        if KEYS in request.body and not flow.encrypted:
            return f"keys: those of the audio are in the SDP, and {flow.transport.upper()} would show them to everybody"
        if request.method != "MESSAGE" or flow.reliable or (size := len(request.to_bytes())) <= UDP_LIMIT:
            return None
        if self._fallback is None and self._core.flows.stream_hop(self._account, hop) is not None:
            return None  # TCP is about to be tried
        return f"size: {size} octets are too many for UDP, which takes messages of {UDP_LIMIT}, and there is no TCP"

    def exclude(self, flow: Flow) -> None:
        """Its server failed us: this request does not go there again."""
        self._failed |= {flow.remote}

    def stop(self) -> None:
        """Nothing is looked for any more."""
        if self._wish is not None:
            self._wish.withdraw(self)
        self._wish = self._seeker = None

    # -- what the book of flows tells ----------------------------------------------------------------

    def on_flow(self, flow: Flow) -> None:
        _, seeker = self._end_wish()
        if seeker is not None:
            seeker.on_found(flow)

    def on_no_flow(self, why: str) -> None:
        wish, seeker = self._end_wish()
        if wish is None or seeker is None or self._hop is None:
            return
        if wish.key[1] == self._hop:
            seeker.on_nothing_found(why)
            return
        self._core.flows.stream_refused(self._account, self._hop)  # we asked for TCP because of the size alone
        if self._fallback is not None:
            seeker.on_found(self._fallback)
        else:
            self._go_by(seeker, self._hop, UDP_LIMIT)

    def _end_wish(self) -> tuple[Wish | None, Seeker | None]:
        """Both None where the search was stopped by whoever was told of the same flow before us."""
        ended = self._wish, self._seeker
        self._wish = self._seeker = None
        return ended

    def _go_by(self, seeker: Seeker, hop: Hop, size: int) -> None:
        flows = self._core.flows
        flow = flows.find(self._account, hop, self._failed)
        if flow is not None:
            seeker.on_found(flow)
        else:
            self._seeker = seeker
            self._wish = flows.want(self, self._account, hop, excluding=self._failed, size=size)
