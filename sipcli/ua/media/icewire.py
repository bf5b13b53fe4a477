"""aioice under our sockets: STUN goes to it, the audio does not, and nothing that arrives can break either.

aioice brings the checks, the roles and consent (RFC 8445, RFC 7675). What it gives to its callers, a queue of datagrams
of which nobody says where they came from, is passed by: audio that was not proven to be the peer's is dropped here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, cast

import aioice
from aioice.ice import CandidatePair, StunProtocol
from aioice.stun import Message, TransactionError

from sipcli.media.candidates import Candidate, LocalIce, PeerIce, Selected
from sipcli.media.demux import kind_of

__all__ = ["Address", "Checks", "Desk", "OwnSocket", "Wire"]

Address = tuple[str, int]
Arrived = Callable[["Wire", bytes, Address], None]

_MOST_SOURCES = 100
"""RFC 8445 section 6.1.2.5 suggests so many pairs."""

GRACE = 1.0
"""Seconds for which a relay waits for something better.  Where two NATs are dug through at once the first check of one
end is often dropped by the other's NAT, and repeated after 0.5 s; the relay, which answers at once, would have won."""
_LOOK = 0.02
_OPEN = (CandidatePair.State.FROZEN, CandidatePair.State.WAITING, CandidatePair.State.IN_PROGRESS)

_log = logging.getLogger(__name__)


class Wire(StunProtocol):
    """One candidate's base: a socket of ours or a relay's allocation, for one component.

    *arrived* gets what is not STUN. *candidate* is the base itself; reflexive ones share its wire.
    """

    candidate: Candidate

    def __init__(self, desk: Desk, component: int, arrived: Arrived) -> None:
        super().__init__(cast("aioice.Connection", desk))
        self.component = component
        self._arrived = arrived

    def become(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.local_candidate = to_aioice(candidate)

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        octets, source = cast("bytes", data), (addr[0].partition("%")[0], addr[1])
        if kind_of(octets) != "stun":
            self._arrived(self, octets, source)
            return
        try:
            # Attributes too short, or missing, or of the other component: aioice trusts more than it should.
            super().datagram_received(octets, source)
        except Exception as error:
            _log.debug("a STUN message of %d octets makes no sense: %r", len(octets), error)

    def send(self, data: bytes, address: Address) -> None:
        self.transport.sendto(data, address)


class Desk:
    """In the place of the connection that aioice's protocols report to: there may be two during a restart."""

    def __init__(self) -> None:
        self.sessions: dict[str, Checks] = {}
        """By our user name fragment."""

    def request_received(self, message: Message, addr: Address, protocol: StunProtocol) -> None:
        ours = str(message.attributes.get("USERNAME", "")).partition(":")[0]
        session = self.sessions.get(ours) or next(iter(self.sessions.values()), None)
        if session is not None:
            session.request_received(message, addr, protocol)  # which refuses what is not for it

    def data_received(self, data: bytes, component: int) -> None:
        """What looked like STUN and was none."""

    def protocol_lost(self, protocol: StunProtocol) -> None:
        """Consent finds it out."""


class OwnSocket(asyncio.DatagramTransport):
    """What aioice takes for a transport: *send* goes out of a socket that the audio has anyway, bound to *address*."""

    def __init__(self, send: Callable[[bytes, Address], None], address: Address) -> None:
        super().__init__({"sockname": address})
        self._send = send

    def sendto(self, data: Any, addr: Any = None) -> None:
        self._send(data, cast("Address", addr))

    def close(self) -> None:
        """It is closed where it was opened."""

    def is_closing(self) -> bool:
        return False


class Checks(aioice.Connection):
    """One ICE session: the checks under one pair of credentials, with at most one peer."""

    def __init__(self, local: LocalIce, wires: Iterable[Wire], *, components: int = 2) -> None:
        super().__init__(
            ice_controlling=True, components=components, local_username=local.ufrag, local_password=local.pwd
        )
        # aioice nominates with every check, which RFC 8445 section 8.1.1 has done away with - two ends may believe in
        # two pairs then -, or, with lite peers, the first pair of all that works.  Which one is best we say ourselves.
        self.remote_is_lite = True
        self._nominating = set(range(1, components + 1))
        self._settled: set[int] = set()
        self._began = 0.0
        self.proven: set[tuple[Wire, Address]] = set()
        """Whoever knows our password has sent a check from there."""
        self._wires = tuple(wires)

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[aioice.Candidate]:
        """What was gathered, in place of gathering."""
        ours = [wire for wire in self._wires if wire.component == component]
        self._protocols += ours
        return [wire.local_candidate for wire in ours]

    def request_received(self, message: Message, addr: Address, protocol: StunProtocol) -> None:
        if len(self._early_checks) < _MOST_SOURCES:  # they wait for the other side's SDP, which may never come
            super().request_received(message, addr, protocol)

    def check_incoming(self, message: Message, addr: Address, protocol: StunProtocol) -> None:
        source = (cast("Wire", protocol), addr)
        if source not in self.proven and len(self.proven) >= _MOST_SOURCES:
            return  # a peer that checks from ever new addresses would have us check them all back, and remember them
        self.proven.add(source)
        super().check_incoming(message, addr, protocol)

    async def seek(self, peer: PeerIce, *, controlling: bool) -> tuple[Selected, ...]:
        """Find a path to *peer*.  ConnectionError when there is none; it may take longer than a caller should wait."""
        self.ice_controlling = controlling
        self._began = asyncio.get_running_loop().time()
        self.remote_username, self.remote_password = peer.ufrag, peer.pwd
        await self.gather_candidates()
        for candidate in peer.candidates:
            await self.add_remote_candidate(to_aioice(candidate))
        await self.add_remote_candidate(None)
        await self.connect()
        return tuple(
            Selected(cast("Wire", pair.protocol).candidate, _from_aioice(pair.remote_candidate))
            for _, pair in sorted(self._nominated.items())
        )

    def check_complete(self, pair: CandidatePair) -> None:
        """A pair works, or does not.  One that works is not done before we know whether it is the one."""
        if pair.state is CandidatePair.State.SUCCEEDED and self.ice_controlling and not pair.nominated:
            self.check_state(pair, CandidatePair.State.IN_PROGRESS)
            pair.task = asyncio.create_task(self._nominate(pair))
        else:
            super().check_complete(pair)

    async def _nominate(self, pair: CandidatePair) -> None:
        """RFC 8445 section 8.1.1: the first that works and needs no relay; a relay, once nothing better may come."""
        component, clock = pair.component, asyncio.get_running_loop().time
        while _relayed(pair) and self._may_improve(component) and clock() < self._began + GRACE:
            await asyncio.sleep(_LOOK)
        if not self.ice_controlling:  # a conflict of roles was decided meanwhile: it is the other's choice now
            pair.nominated = pair.remote_nominated
        elif component not in self._settled:
            self._settled.add(component)
            wire, password = cast("Wire", pair.protocol), cast("str", self.remote_password)
            request = self.build_request(pair, nominate=True)
            try:
                await wire.request(request, pair.remote_addr, integrity_key=password.encode())
            except TransactionError:
                self._settled.discard(component)
                self.check_state(pair, CandidatePair.State.FAILED)
                super().check_complete(pair)
                return
            pair.nominated = True
        self.check_state(pair, CandidatePair.State.SUCCEEDED)
        super().check_complete(pair)

    def _may_improve(self, component: int) -> bool:
        """Is a pair without a relay still being tried, and no pair chosen yet?"""
        if component in self._settled:
            return False
        return any(
            pair.component == component and pair.state in _OPEN and not _relayed(pair) for pair in self._check_list
        )

    def wire_of(self, component: int) -> Wire | None:
        pair = self._nominated.get(component)
        return None if pair is None else cast("Wire", pair.protocol)

    async def close(self) -> None:
        """Also what aioice does when consent is gone; the wires stay, for the next session."""
        self._protocols.clear()
        await super().close()


def _relayed(pair: CandidatePair) -> bool:
    return "relay" in (pair.local_candidate.type, pair.remote_candidate.type)


def to_aioice(candidate: Candidate) -> aioice.Candidate:
    return aioice.Candidate(
        foundation=candidate.foundation,
        component=candidate.component,
        transport="udp",
        priority=candidate.priority,
        host=candidate.host,
        port=candidate.port,
        type=candidate.kind,
        related_address=None if candidate.related is None else candidate.related[0],
        related_port=None if candidate.related is None else candidate.related[1],
    )


def _from_aioice(candidate: aioice.Candidate) -> Candidate:
    return Candidate(
        candidate.foundation, candidate.component, candidate.priority, candidate.host, candidate.port,
        cast("Any", candidate.type),
    )  # fmt: skip
