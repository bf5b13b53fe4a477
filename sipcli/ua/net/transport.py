"""All ways in and out of one endpoint: sockets by address family, connections by whom they lead to.

A UDP socket is bound when the first request needs its family, and serves all
that follow.  A connection is used again for the same remote address and, over
TLS, only for the very domain that its handshake proved, with the same trust
(RFC 5922, RFC 5923; the fault behind CVE-2020-15260).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeAlias

from sipcli.errors import NetworkError
from sipcli.sip.flow import ENCRYPTED, Address, Flow, Transport
from sipcli.sip.syntax.framing import KEEPALIVE
from sipcli.ua.net.listener import Guests, Listener
from sipcli.ua.net.resolve import Candidate
from sipcli.ua.net.stream import StreamConnection, connect
from sipcli.ua.net.tls import TlsFacts, TlsSettings, client_context, error_words, server_context
from sipcli.ua.net.udp import Sink, UdpSocket

__all__ = ["EndpointConfig", "Transports"]

MAX_ENDED: Final = 64
_TRIES: Final = 64
"""Connections whose end is remembered."""

_PoolKey: TypeAlias = tuple[Candidate, str | None, TlsSettings | None]


class EndpointConfig(NamedTuple):
    """How an endpoint meets the network.  Durations are in seconds.

    *bind_host* is a literal address; None lets the kernel choose one per
    destination.  *bind_port* is for UDP, 0 lets the kernel choose.  Keep-alives
    (double CRLF, RFC 5626 section 3.5) go out on flows that we chose, unless the
    core watches them itself, when nothing else did for *keepalive_udp* or *keepalive_stream*; 0 sends none.
    *connect_limit* bounds one connection attempt, and one handshake.
    """

    bind_host: str | None = None
    bind_port: int = 0
    tls: TlsSettings = TlsSettings()
    keepalive_udp: float = 25.0
    keepalive_stream: float = 95.0
    connect_limit: float = 5.0


class Transports:
    """Sockets and connections of one endpoint.  Everything happens on the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sink: Sink,
        config: EndpointConfig,
        tls_for: Callable[[str | None], TlsSettings] | None = None,
        aside: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None,
    ) -> None:
        """*aside* runs what blocks - reading a hundred authorities - on another thread."""
        self._loop = loop
        self.sink = sink
        self._config = config
        self._tls_for = tls_for
        self._aside = aside
        self._ids = itertools.count(1)
        self._udp: dict[bool, UdpSocket] = {}
        self._extra_udp: list[UdpSocket] = []
        self._udp_by_local: dict[Address, UdpSocket] = {}
        self._udp_sent: dict[int, float] = {}
        self._watched: set[int] = set()
        self._ended: dict[int, str] = {}
        self._streams: dict[int, StreamConnection] = {}
        self._pool: dict[_PoolKey, StreamConnection] = {}
        self._opening: dict[_PoolKey, asyncio.Task[StreamConnection]] = {}
        self._awaiting: Counter[_PoolKey] = Counter()
        self._guests = Guests()
        self._listeners: list[tuple[Transport, Listener]] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    # --- flows -----------------------------------------------------------------

    def allows(self, candidate: Candidate) -> bool:
        """Can *candidate* be reached from the address we are bound to at all?"""
        host = self._config.bind_host
        return host is None or (":" in host) == (":" in candidate.host)

    def udp_flow(self, candidate: Candidate) -> Flow:
        """At once, for UDP has nothing to wait for.  Raises NetworkError."""
        six = ":" in candidate.host
        udp = self._udp.get(six)
        if udp is None:
            udp = self._bind_udp(self._config.bind_host or ("::" if six else "0.0.0.0"), self._config.bind_port)  # noqa: S104
        flow = udp.flow_to(candidate.host, candidate.port)
        self._udp_by_local[flow.local] = udp
        self._udp_sent.setdefault(flow.id, self._loop.time())
        self._start_sweep()
        return flow

    async def open(self, candidate: Candidate, domain: str, account: str | None) -> Flow:
        """A flow to *candidate* for the sake of *domain*; an open connection is used again.  Raises NetworkError."""
        if candidate.transport == "udp":
            return self.udp_flow(candidate)
        settings = self._settings(account) if candidate.transport in ENCRYPTED else None
        key = (candidate, domain if settings is not None else None, settings)
        known = self._pool.get(key)
        if known is not None and known.flow is not None:
            return known.flow
        task = self._opening.get(key)
        if task is None:
            task = self._opening[key] = self._loop.create_task(self._connect(key, domain))
            task.add_done_callback(lambda done: self._opened(key, done))
        self._awaiting[key] += 1
        try:
            connection = await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._awaiting[key] == 1:  # the race was won by another, and nobody else wants this one
                task.cancel()
            raise
        finally:
            self._awaiting -= Counter({key: 1})
        if connection.flow is None or connection.closed.done():
            raise NetworkError(connection.ended or f"connect: {candidate.host} port {candidate.port} hung up at once")
        return connection.flow

    async def _connect(self, key: _PoolKey, domain: str) -> StreamConnection:
        candidate, _, settings = key
        context: ssl.SSLContext | None = None
        if settings is not None:
            trust = functools.partial(client_context, settings)
            context = trust() if self._aside is None else await self._aside(trust)
        make: Callable[..., StreamConnection] = StreamConnection
        if candidate.transport in ("ws", "wss"):
            make = websocket()
        connection = await connect(
            self._loop,
            candidate,
            lambda: make(self._loop, self, domain=domain, settings=settings),
            domain=domain,
            context=context,
            bind_host=self._config.bind_host,
            limit=self._config.connect_limit,
        )
        try:
            await connection.usable(self._config.connect_limit)
        except BaseException:
            connection.abort("closed: by us")  # also when the race is won by another: nobody else knows of it
            raise
        return connection

    def _opened(self, key: _PoolKey, task: asyncio.Task[StreamConnection]) -> None:
        del self._opening[key]
        if not task.cancelled() and task.exception() is None and not task.result().closed.done():
            self._pool[key] = task.result()
            self._start_sweep()

    def _settings(self, account: str | None) -> TlsSettings:
        return self._tls_for(account) if self._tls_for is not None else self._config.tls

    def send(self, flow: Flow, data: bytes) -> None:
        """Never raises; what cannot be sent is told as a lost flow."""
        if flow.transport == "udp":
            udp = self._udp_by_local.get(flow.local) or self._udp.get(":" in flow.local[0])
            if udp is not None:
                if flow.id in self._udp_sent:
                    self._udp_sent[flow.id] = self._loop.time()
                udp.send(flow, data)
        elif (connection := self._streams.get(flow.id)) is not None:
            connection.send(data)
        else:
            self.sink.on_lost(flow, self._ended.get(flow.id, "lost: the connection is closed"))

    def release(self, flow: Flow) -> None:
        """Nobody needs *flow* any more: a connection closes once it has sent what waits."""
        self._watched.discard(flow.id)
        if flow.transport == "udp":
            self._udp_sent.pop(flow.id, None)
            if (udp := self._udp_by_local.get(flow.local)) is not None:
                udp.release(flow)
        elif (connection := self._streams.get(flow.id)) is not None:
            connection.close()

    def watched(self, flow: Flow, *, by_core: bool) -> None:
        """The core keeps *flow* alive itself, or does not any more."""
        if by_core:
            self._watched.add(flow.id)
        else:
            self._watched.discard(flow.id)

    def network_changed(self) -> None:
        """What the kernel would send from is asked anew."""
        for udp in (*self._udp.values(), *self._extra_udp):
            udp.forget_sources()

    def tls_facts(self, flow: Flow) -> TlsFacts | None:
        connection = self._streams.get(flow.id)
        return connection.tls if connection is not None else None

    # --- what connections tell us (stream.Home) --------------------------------------

    def new_id(self) -> int:
        return next(self._ids)

    def on_open(self, connection: StreamConnection) -> None:
        assert connection.flow is not None
        self._streams[connection.flow.id] = connection
        if self._closed:
            connection.abort("closed: by us")

    def on_closed(self, connection: StreamConnection) -> None:
        assert connection.flow is not None
        self._streams.pop(connection.flow.id, None)
        self._watched.discard(connection.flow.id)
        if connection.ended is not None:  # whoever sends before he hears of it is told why, too
            self._ended[connection.flow.id] = connection.ended
            while len(self._ended) > MAX_ENDED:
                del self._ended[next(iter(self._ended))]
        for key in [key for key, known in self._pool.items() if known is connection]:
            del self._pool[key]

    # --- listening ---------------------------------------------------------------

    async def listen(self, transport: Transport, host: str, port: int) -> Address:
        """Bind *host*:*port* (0: any port) and take what comes.  Raises NetworkError.

        The first UDP socket of a family is also the one that we send from.
        """
        try:
            if transport == "udp":
                udp = self._bind_udp(host, port)
                return udp.host, udp.port
            context = server_context(self._config.tls) if transport == "tls" else None
            listener = Listener(
                self._loop,
                host,
                port,
                guests=self._guests,
                make=lambda: StreamConnection(self._loop, self),
                context=context,
            )
        except OSError as error:
            where = f"{transport} {host} port {port}"
            raise NetworkError(f"connect: cannot listen on {where}: {error_words(error)}") from error
        self._listeners.append((transport, listener))
        return listener.address

    async def listen_both(self, host: str, port: int) -> Address:
        """UDP and TCP on one *port* (0: any that both have free).  Raises NetworkError."""
        if port:
            await self.listen("udp", host, port)
            return await self.listen("tcp", host, port)
        for _ in range(_TRIES):
            _, chosen = await self.listen("tcp", host, 0)  # first, for it can be closed again
            try:
                return await self.listen("udp", host, chosen)
            except NetworkError:
                await self._listeners.pop()[1].close()
        raise NetworkError(f"connect: no port of {host} is free for both UDP and TCP")

    def _bind_udp(self, host: str, port: int) -> UdpSocket:
        try:
            udp = UdpSocket(self._loop, self.sink, host, port, self.new_id)
        except OSError as error:
            raise NetworkError(f"connect: cannot bind UDP {host} port {port}: {error.strerror}") from error
        if (":" in host) in self._udp:
            self._extra_udp.append(udp)
        else:
            self._udp[":" in host] = udp
        self._udp_by_local[(udp.host, udp.port)] = udp
        return udp

    @property
    def listening(self) -> list[tuple[Transport, str, int]]:
        """What others can send to: bound UDP sockets and listening ones."""
        found: list[tuple[Transport, str, int]] = []
        for udp in (*self._udp.values(), *self._extra_udp):
            found.append(("udp", udp.host, udp.port))  # noqa: PERF401 - a tuple that the type checkers recognise
        for transport, listener in self._listeners:
            host, port = listener.address
            found.append((transport, host, port))
        return found

    # --- keep-alives ---------------------------------------------------------------

    def _start_sweep(self) -> None:
        intervals = [s for s in (self._config.keepalive_udp, self._config.keepalive_stream) if s > 0]
        if self._sweep is None and intervals and not self._closed:
            self._sweep = self._loop.call_later(min(intervals) / 4, self._keep_alive)

    def _keep_alive(self) -> None:
        self._sweep = None
        now = self._loop.time()
        udp_s, stream_s = self._config.keepalive_udp, self._config.keepalive_stream
        if udp_s > 0:
            for udp in self._udp.values():
                for flow in udp.chosen:
                    if flow.id not in self._watched and now - self._udp_sent.get(flow.id, now) >= udp_s:
                        self._udp_sent[flow.id] = now
                        udp.send(flow, KEEPALIVE)
        if stream_s > 0:
            for connection in tuple(self._pool.values()):
                if connection.flow is not None and connection.flow.id in self._watched:
                    continue
                if now - connection.last_sent >= stream_s:
                    connection.ping()
        if self._udp_sent or self._pool:
            self._start_sweep()

    # --- the end -------------------------------------------------------------------

    async def close(self) -> None:
        """Close everything; connections get a second to send what waits."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        while self._listeners:
            await self._listeners.pop()[1].close()
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        connections = list(self._streams.values())
        for connection in connections:
            connection.close()
        waits = [connection.closed for connection in connections]
        if waits or opening:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await asyncio.gather(*waits, *opening, return_exceptions=True)
        for connection in connections:
            connection.abort("closed: by us")
        for udp in (*self._udp.values(), *self._extra_udp):
            udp.close()


def websocket() -> Callable[..., StreamConnection]:
    """What makes WebSocket connections.  Raises NetworkError where their library is not installed."""
    try:
        from sipcli.ua.net.websocket import WebSocketConnection
    except ImportError as error:
        raise NetworkError(f"connect: WebSocket needs {error.name}: pip install 'sipcli[ws]'") from error
    return WebSocketConnection
