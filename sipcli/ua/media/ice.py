"""The audio's own path: in the place of :class:`~sipcli.ua.media.rtp_sockets.RtpSockets`, with ICE (RFC 8445) between.

Three things sit at one port, told apart by the first octet: STUN goes to the checks; RTP and DTLS go up, from the peer
alone. With a peer that does no ICE it is the two plain sockets that it was made of, and nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Literal, TypeAlias

from sipcli.media.candidates import LocalIce, PeerIce, Selected
from sipcli.media.demux import Kind, kind_of
from sipcli.media.stream import Datagram
from sipcli.ua.media.icegather import Gathered, Gatherer
from sipcli.ua.media.icesettings import IceSettings
from sipcli.ua.media.icewire import Address, Checks, Desk, OwnSocket, Wire
from sipcli.ua.media.rtp_sockets import Diverted, Received, RtpSockets

__all__ = ["IcePath", "IceState"]

IceState: TypeAlias = Literal["plain", "checking", "connected", "failed", "lost"]
"""``plain``: the peer does no ICE; ``lost``: he took his consent back, or is gone (RFC 7675)."""

CONNECT_WAIT = 20.0
"""Seconds to find a path.  A check is repeated for 32 s (RFC 8489 section 6.2.1): nobody listens to silence so long."""
_CLOSE_WAIT = 1.0
_EARLY = 8
"""Datagrams of a handshake that are kept: a first flight with a large certificate is less."""

_log = logging.getLogger(__name__)


class IcePath:
    """Bound at creation, as the sockets are; :meth:`gather`, then :meth:`expect` and :meth:`agree` at every exchange.

    *on_state* hears of every change; *warn(code, sentence)* of servers that do not help.
    """

    def __init__(
        self,
        host: str,
        ports: range | None,
        on_rtp: Received,
        on_rtcp: Received,
        *,
        settings: IceSettings,
        on_state: Callable[[IceState], None],
        warn: Callable[[str, str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ports, self._settings = ports, settings
        self._on_rtp, self._on_rtcp = on_rtp, on_rtcp
        self._on_state, self._warn = on_state, warn
        self._diverted: dict[Kind, Diverted] = {}
        self._wires: list[Wire] = []
        self._desk = Desk()
        self._session: tuple[str, PeerIce] | None = None
        self._seeking: asyncio.Task[None] | None = None
        self._paths: dict[int, tuple[Wire, Address]] = {}
        self._proven: set[tuple[Wire, Address]] = set()
        self._ends: set[asyncio.Task[None]] = set()
        self._closed = False
        self._early: list[tuple[Wire, bytes, Address]] = []
        self._pathless = 0
        self.strangers = 0
        """Datagrams that were not the peer's."""
        self.state: IceState = "plain"
        self.selected: tuple[Selected, ...] = ()
        """The nominated pairs, by component; kept while a restart looks for better ones."""
        self.controlling = False
        self._sockets = self._bind(host)

    def _bind(self, host: str) -> RtpSockets:
        sockets = RtpSockets(host, self._ports, partial(self._from_own, 1), partial(self._from_own, 2))
        sockets.divert("stun", lambda data, source, rtcp: self._from_own(2 if rtcp else 1, data, source))
        self._host = host
        self._main: dict[int, Wire] = {}
        return sockets

    # --- as the plain sockets ---------------------------------------------------------------------------------

    @property
    def local(self) -> Address:
        return self._sockets.local

    @property
    def rtcp_port(self) -> int:
        return self._sockets.rtcp_port

    @property
    def unsent(self) -> int:
        """Datagrams that the system would not take, or for which there was no path yet."""
        return self._sockets.unsent + self._pathless

    def divert(self, kind: Kind, received: Diverted) -> None:
        """As :meth:`RtpSockets.divert`; STUN is taken."""
        self._diverted[kind] = received

    def send(self, datagrams: Iterable[Datagram]) -> None:
        """Along the nominated pair, wherever the datagram wanted to go (RFC 8445 section 12.1); nowhere before."""
        if self.state == "plain":
            self._sockets.send(datagrams)
            return
        for datagram in datagrams:
            path = self._paths.get(2 if datagram.rtcp else 1)
            if path is None or self.state == "lost":
                self._pathless += 1
            else:
                path[0].send(datagram.data, path[1])

    def beat(self, *, hurry: bool) -> None:
        """Nothing waits for a beat here: a check is answered at once, for it measures a round trip."""

    def close(self) -> None:
        """Nothing is sent or heard from now on; :meth:`finish` gives relays back."""
        self._closed = True
        self._stop_seeking()
        self._drop_sessions()
        self._sockets.close()

    async def finish(self) -> None:
        """After :meth:`close`: what takes a round trip to a server, for a second at most."""
        await self._let_go([wire for wire in self._wires if wire not in self._main.values()])
        if self._ends:
            await asyncio.wait(self._ends, timeout=_CLOSE_WAIT)

    async def _let_go(self, wires: list[Wire]) -> None:
        closing = [self._loop.create_task(wire.close()) for wire in wires]
        if closing:
            _, late = await asyncio.wait(closing, timeout=_CLOSE_WAIT)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- gathering --------------------------------------------------------------------------------------------

    async def gather(self, random: Callable[[int], bytes]) -> LocalIce:
        """Open and ask for everything that may be a way to us, in a few seconds at most."""
        for component in (1, 2):
            wire = Wire(self._desk, component, self._arrived)
            address = (self._host, self._sockets.local[1] if component == 1 else self._sockets.rtcp_port)
            wire.connection_made(OwnSocket(partial(self._send_own, component), address))
            self._main[component] = wire
        found = Gathered()
        self._wires = found.wires  # also what is open already when somebody loses patience
        try:
            await Gatherer(self._settings, self._desk, self._arrived, self._warn).gather(self._main, self._host, found)
        finally:
            if self._closed:  # meanwhile: what was opened since is known to nobody else
                await self.finish()
        return LocalIce.new(found.candidates, random)

    async def move(self, host: str, random: Callable[[int], bytes]) -> LocalIce:
        """Our address is *host* now: new sockets, candidates and credentials.  NetworkError; then all is as it was."""
        before, mains = self._sockets, list(self._main.values())
        self._sockets = self._bind(host)
        before.close()
        self._stop_seeking()
        self._drop_sessions()
        self._end(self._let_go([wire for wire in self._wires if wire not in mains]))
        self._paths, self._proven, self._session = {}, set(), None
        return await self.gather(random)

    def _send_own(self, component: int, data: bytes, address: Address) -> None:
        self._sockets.send([Datagram(data, address, rtcp=component == 2)])

    # --- offers and answers -----------------------------------------------------------------------------------

    def expect(self, local: LocalIce) -> Checks:
        """*local* is in an SDP of ours: its checks may come before the other side's SDP does."""
        known = self._desk.sessions.get(local.ufrag)
        if known is None:
            known = self._desk.sessions[local.ufrag] = Checks(local, self._wires)
        return known

    def agree(self, local: LocalIce | None, peer: PeerIce | None, *, controlling: bool) -> None:
        """An exchange is complete: do nothing, or look for a path to *peer*; None: the plain sockets do."""
        if local is None or peer is None:
            self._stop_seeking()
            self._session = None
            self._drop_sessions()
            self._become("plain")
            return
        before, self._session = self._session, (local.ufrag, peer)
        if before is not None and before[0] == local.ufrag:
            if not peer.is_restart_of(before[1]):
                return
            # Another branch of a forked call answered: the same credentials of ours, another peer.
            self._end(self._desk.sessions.pop(local.ufrag).close())
        checks = self.expect(local)
        self._stop_seeking()
        # RFC 8445 section 6.1.1: who offers controls, and whoever is full does where the other is lite.
        self.controlling = controlling or peer.lite
        self._become("checking")
        self._seeking = self._loop.create_task(self._seek(checks, peer))

    async def _seek(self, checks: Checks, peer: PeerIce) -> None:
        try:
            async with asyncio.timeout(CONNECT_WAIT):
                selected = await checks.seek(peer, controlling=self.controlling)
        except (ConnectionError, TimeoutError) as error:
            _log.info("ICE found no path: %s", error or "time is up")
            self._become("failed")
            return
        self.controlling = checks.ice_controlling  # a conflict of roles may have changed it (RFC 8445 section 7.3.1.1)
        self.selected = selected
        self._proven = checks.proven
        self._paths = {
            pair.local.component: (wire, pair.remote.address)
            for pair in selected
            if (wire := checks.wire_of(pair.local.component)) is not None
        }
        self._drop_sessions(but=checks)  # until now the peer could go on asking whether we still want the old path
        self._become("connected")
        self._hear_early()
        await checks.get_event()
        # Nobody closed it but aioice itself: six checks of consent in a row had no answer, about 30 s.
        self._become("lost")

    def _stop_seeking(self) -> None:
        task, self._seeking = self._seeking, None
        if task is not None:
            task.cancel()

    def _drop_sessions(self, *, but: Checks | None = None) -> None:
        for ufrag, session in list(self._desk.sessions.items()):
            if session is not but:
                del self._desk.sessions[ufrag]
                self._end(session.close())

    def _end(self, ending: Coroutine[object, object, None]) -> None:
        task = self._loop.create_task(ending)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    def _become(self, state: IceState) -> None:
        changed, self.state = state != self.state, state
        if changed and not self._closed:
            self._on_state(state)

    # --- what arrives -----------------------------------------------------------------------------------------

    def _from_own(self, component: int, data: bytes, source: Address, _waited_s: float = 0.0) -> None:
        wire = self._main.get(component)
        if wire is not None:
            wire.datagram_received(data, source)

    def _hear_early(self) -> None:
        """The peer may know the path before we do, and shakes hands at once: he would repeat it in a second or two."""
        early, self._early = self._early, []
        for datagram in early:
            self._arrived(*datagram)

    def _arrived(self, wire: Wire, data: bytes, source: Address) -> None:
        """What is not STUN, at *wire*.  With ICE it is the peer's only if he has proven that he sends from there."""
        if self._closed:
            return
        if self.state == "plain":
            if wire not in self._main.values():
                return
        else:
            path = self._paths.get(wire.component)
            if path is None or ((wire, source) != path and (wire, source) not in self._proven):
                if self.state == "checking" and kind_of(data) == "dtls" and len(self._early) < _EARLY:
                    self._early.append((wire, data, source))
                else:
                    self.strangers += 1
                return
            source = path[1]
        rtcp = wire.component == 2
        diverted = self._diverted.get(kind_of(data))
        if diverted is not None:
            diverted(data, source, rtcp)
        else:
            (self._on_rtcp if rtcp else self._on_rtp)(data, source, 0.0)
