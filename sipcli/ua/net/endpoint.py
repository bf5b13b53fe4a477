"""One loop, one Engine: datagrams and timers become turns, events become calls (docs/architecture.md).

::

    socket ──► on_octets ─┐                         ┌─► packets ──► socket
    timer ──► handle_timer ├─► turn: engine.now ──► pump ─► events ──► on_event
    thread ──► post ──────┘                         └─► next timer ──► loop.call_at

The pump is a loop with a re-entry flag: what a handler of an event causes is
sent and told by the same pump, so nobody can forget to transmit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from sipcli.errors import AgentClosed, NetworkError, SipcliError
from sipcli.sip.engine import Engine
from sipcli.sip.events import Event, FlowReleased, FlowWanted, FlowWatched
from sipcli.sip.flow import Address, Flow, Hop, Transport
from sipcli.sip.registrations.keepalive import is_keepalive
from sipcli.ua.net.eyeballs import connect_first, races
from sipcli.ua.net.resolve import Candidate, Records, Resolver, look_up
from sipcli.ua.net.tls import TlsFacts, TlsSettings
from sipcli.ua.net.transport import EndpointConfig, Transports
from sipcli.ua.net.wirelog import WireRecord

__all__ = ["Endpoint", "EndpointConfig", "TlsSettings"]


class Endpoint:
    """Drives *engine* on the running loop.

    *on_event* gets every event but FlowWanted, FlowReleased and FlowWatched,
    which are answered here; what it raises goes to the loop's exception handler.
    *tls_for* gives an account's TLS settings (None: no account); *wire* sees
    every message, unmasked; *records* replaces DNS.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        config: EndpointConfig | None = None,
        on_event: Callable[[Event], None],
        tls_for: Callable[[str | None], TlsSettings] | None = None,
        wire: Callable[[WireRecord], None] | None = None,
        records: Records | None = None,
    ) -> None:
        self._engine = engine
        self._config = config if config is not None else EndpointConfig()
        self._on_event = on_event
        self._tls_for = tls_for
        self.wire = wire
        self._records = records
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transports: Transports | None = None
        self._resolver: Resolver | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for: float | None = None
        self._pumping = False
        self._closed = False
        self._turn = _Turn(engine, self._pump)

    # --- life ------------------------------------------------------------------

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop it lives on.  AgentClosed before :meth:`start`."""
        if self._loop is None:
            raise AgentClosed("the endpoint is not started")
        return self._loop

    @property
    def engine(self) -> Engine:
        """To look at; to change anything, use :meth:`turn`."""
        return self._engine

    @property
    def transports(self) -> Transports:
        if self._transports is None:
            raise AgentClosed("the endpoint is not started")
        return self._transports

    @property
    def closed(self) -> bool:
        return self._closed

    async def start(self) -> None:
        """Take the running loop.  Binds nothing: sockets come with the first request, or with :meth:`listen`."""
        if self._closed:
            raise AgentClosed("the endpoint is closed")
        if self._loop is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._resolver = Resolver(self._loop, self._records)
        self._transports = Transports(self._loop, self, self._config, self._tls_for, self._resolver.aside)
        self._pump()

    async def close(self) -> None:
        """Send what is ready, close all sockets.  Harmless twice."""
        if self._closed or self._transports is None:
            self._closed = True
            return
        self._pump()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._transports.close()
        if self._resolver is not None:
            self._resolver.close()

    async def listen(self, transport: Transport, host: str, port: int) -> Address:
        """Bind and take what comes; port 0 takes any.  Raises NetworkError."""
        return await self.transports.listen(transport, host, port)

    async def listen_both(self, host: str, port: int) -> Address:
        """The same by UDP and TCP, on one port."""
        return await self.transports.listen_both(host, port)

    @property
    def listening(self) -> list[tuple[Transport, str, int]]:
        return self._transports.listening if self._transports is not None else []

    async def resolve(self, hop: Hop) -> list[Candidate]:
        """The addresses of *hop*, best first.  Raises ResolveError."""
        if self._resolver is None or self._closed:
            raise AgentClosed("the endpoint is not open")
        return await self._resolver.resolve(hop)

    def network_changed(self) -> None:
        """Other addresses, other routes, perhaps another name server: nothing that was looked up holds any more."""
        if self._transports is not None and self._resolver is not None:
            self._transports.network_changed()
            self._resolver.forget()

    def tls_facts(self, flow: Flow) -> TlsFacts | None:
        """What the handshake of *flow* proved, while it is open."""
        return self._transports.tls_facts(flow) if self._transports is not None else None

    # --- turns -------------------------------------------------------------------

    def turn(self) -> AbstractContextManager[Engine]:
        """One instant of the engine; afterwards packets are sent, events told, the timer armed.  Loop thread only."""
        if self._closed:
            raise AgentClosed("the endpoint is closed")
        self._engine.now = self.loop.time()
        return self._turn

    def post(self, act: Callable[[], None]) -> None:
        """Run *act* in a turn, soon; from any thread.  Raises AgentClosed when there is nobody to run it."""
        if self._closed or self._loop is None:
            raise AgentClosed("the endpoint is closed")
        try:
            self._loop.call_soon_threadsafe(self._run_posted, act)
        except RuntimeError as error:
            raise AgentClosed("the loop is closed") from error

    def _run_posted(self, act: Callable[[], None]) -> None:
        if not self._closed:
            with self.turn():
                act()

    def _pump(self) -> None:
        if self._pumping or self._transports is None or self._closed:
            return
        self._pumping = True
        engine = self._engine
        try:
            while True:
                packets = list(engine.packets_to_send())
                for flow, data in packets:
                    self._send(flow, data)
                event = engine.next_event()
                if event is not None:
                    self._dispatch(event)
                elif not packets:
                    break
        finally:
            self._pumping = False
            self._arm()

    def _send(self, flow: Flow, data: bytes) -> None:
        if self.wire is not None and not is_keepalive(data):
            self.wire(WireRecord("out", flow, data, self.loop.time()))
        self.transports.send(flow, data)

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, FlowWanted):
            self._find_flow(event)
        elif isinstance(event, FlowReleased):
            self.transports.release(event.flow)
        elif isinstance(event, FlowWatched):
            self.transports.watched(event.flow, by_core=event.watched)
        else:
            try:
                self._on_event(event)
            except Exception as error:
                # One handler's fault must not cost the others their events.
                self.loop.call_exception_handler(
                    {"message": f"a handler of {type(event).__name__} failed", "exception": error}
                )

    def _arm(self) -> None:
        when = self._engine.next_timer()
        armed = self._armed_for
        # Most timers are stopped before they are due.  So one that rings too early rings for nothing, and is set anew
        # then: cheaper than to set the loop's timer at every packet.
        if when is None or (armed is not None and armed <= when):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(when, self._on_timer, when)
        self._armed_for = when

    def _on_timer(self, when: float) -> None:
        self._timer = self._armed_for = None
        if self._closed:
            return
        now = max(self.loop.time(), when)  # the loop may call us a clock tick early; what was due at `when` is due
        due = self._engine.next_timer()
        if due is None or due > now:
            self._arm()
            return
        with self.turn() as engine:
            engine.handle_timer(now)

    # --- what transports tell (udp.Sink) ---------------------------------------------

    def on_octets(self, batch: Sequence[tuple[bytes, Flow]]) -> None:
        """Whole messages that came in together: one turn."""
        if self._closed:
            return
        with self.turn() as engine:
            now = engine.now
            for data, flow in batch:
                if self.wire is not None and not is_keepalive(data):
                    self.wire(WireRecord("in", flow, data, now))
                engine.receive(data, flow, now)

    def on_lost(self, flow: Flow, why: str) -> None:
        if not self._closed:
            with self.turn() as engine:
                engine.flow_lost(flow, why, engine.now)

    # --- flows for the engine -----------------------------------------------------------

    def _find_flow(self, wanted: FlowWanted) -> None:
        flow = self._flow_at_once(wanted)
        if flow is not None:
            self._engine.flow_ready(wanted.ticket, flow, self.loop.time())
            return
        task = self.loop.create_task(self._find_flow_later(wanted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _flow_at_once(self, wanted: FlowWanted) -> Flow | None:
        """UDP to a literal address needs nobody's help."""
        try:
            candidates = look_up(wanted.hop, _NoRecords())
            candidate = candidates[0]
            if len(candidates) == 1 and candidate.transport == "udp" and self._usable(candidate, wanted):
                return self.transports.udp_flow(candidate)
        except (SipcliError, OSError):
            pass  # told, or done, by _find_flow_later
        return None

    def _usable(self, candidate: Candidate, wanted: FlowWanted) -> bool:
        address = (candidate.host.partition("%")[0], candidate.port)
        return address not in wanted.excluding and self.transports.allows(candidate)

    async def _find_flow_later(self, wanted: FlowWanted) -> None:
        flow, why = None, "connect: no flow"
        try:
            flow = await self._try_all(wanted)
        except SipcliError as error:
            why = str(error)
        except Exception as error:  # whatever it is, whoever wished for the flow must hear of it
            why = f"connect: {type(error).__name__}: {error}"
        if self._closed:
            return
        with self.turn() as engine:
            if flow is not None:
                engine.flow_ready(wanted.ticket, flow, engine.now)
            else:
                engine.flow_failed(wanted.ticket, why, engine.now)

    async def _try_all(self, wanted: FlowWanted) -> Flow:
        """The first candidate that can be reached (RFC 3263 section 4.3).  Raises the last NetworkError.

        One server's addresses of both families race for the connection (RFC 8305).
        """
        hop = wanted.hop
        assert self._resolver is not None
        candidates = [c for c in await self._resolver.resolve(hop) if self._usable(c, wanted)]
        failure = NetworkError(
            f"connect: no other address of {hop} is left" if wanted.excluding else f"connect: no address of {hop} fits"
        )
        for race in races(candidates):
            try:
                return await connect_first(race, lambda c: self.transports.open(c, hop.domain, wanted.account))
            except NetworkError as error:
                failure = error
        raise failure


class _Turn:
    """The ``with`` of a turn; without a generator, which costs thrice as much."""

    __slots__ = ("_engine", "_pump")

    def __init__(self, engine: Engine, pump: Callable[[], None]) -> None:
        self._engine = engine
        self._pump = pump

    def __enter__(self) -> Engine:
        return self._engine

    def __exit__(self, *_: object) -> None:
        self._pump()


class _NoRecords:
    """Nothing is known without asking: what is left are literal addresses."""

    def naptr(self, name: str) -> tuple[()]:
        return ()

    def srv(self, name: str) -> tuple[()]:
        return ()

    def addresses(self, host: str) -> tuple[()]:
        return ()
