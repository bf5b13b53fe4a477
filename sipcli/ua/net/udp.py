"""UDP: one non-blocking socket under ``add_reader``, drained a batch at a time (RFC 3261 section 18, RFC 3581).

No asyncio datagram transport: a datagram's round trip costs 38 us this way and
75 us that way, 10 us in a drained batch.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from sipcli.errors import NetworkError
from sipcli.sip.flow import Address, Flow
from sipcli.sip.registrations.stun import is_stun

__all__ = ["BATCH", "Sink", "UdpSocket", "address_of"]

BATCH: Final = 32
"""Datagrams that one wake takes at most, so that timers and other sockets get their turn."""
MAX_FLOWS: Final = 4096
"""Remote addresses of strangers that we remember (threat T23); those we chose ourselves do not count."""
MAX_RATE: Final = 2000
"""Datagrams a second that we look at from one host that we did not choose (threat T23); more are dropped."""
SOURCE_TIME: Final = 1.0
"""Seconds for which the address that the kernel sends from, towards one host, is taken to be the same."""
MAX_QUEUE: Final = 1024
"""Datagrams that wait while the kernel's buffer is full; more are dropped, as UDP may."""

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to

# linux/in.h, linux/in6.h and linux/errqueue.h: Python 3.11 does not name them.
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_LOST = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EACCES, errno.EPERM)


class Sink(Protocol):
    """Who takes what comes in."""

    def on_octets(self, batch: Sequence[tuple[bytes, Flow]]) -> None: ...
    def on_lost(self, flow: Flow, why: str) -> None: ...


def address_of(sockaddr: Any) -> Address:
    """The literal address (no scope) and port of what the socket module calls an address."""
    return sockaddr[0].partition("%")[0], sockaddr[1]


class UdpSocket:
    """One bound socket and the flows - remote addresses - that go through it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sink: Sink, host: str, port: int, new_id: Callable[[], int]
    ) -> None:
        """Bind.  Raises OSError."""
        self._loop = loop
        self._sink = sink
        self._new_id = new_id
        self._socket = _bound(host, port)
        self.host, self.port = address_of(self._socket.getsockname())
        self._chosen: dict[Address, Flow] = {}
        self._strangers: dict[Address, Flow] = {}
        self._second = 0
        self._seen: dict[str, int] = {}
        self._scoped: dict[Address, Any] = {}
        self._sources: dict[str, tuple[float, str]] = {}
        self._buffer = bytearray(65536)
        self._view = memoryview(self._buffer)
        self._waiting: deque[tuple[Flow, bytes]] = deque()
        self._errors = _report_errors(self._socket)
        # libuv stops watching a socket that has an error to report, and does not say so: uvloop must be told again.
        self._forgetful = type(loop).__module__.startswith("uvloop")
        loop.add_reader(self._socket, self._on_readable)

    @property
    def family(self) -> int:
        return self._socket.family

    # --- flows ---------------------------------------------------------------

    def flow_to(self, host: str, port: int) -> Flow:
        """The flow to an address that we chose.  Raises NetworkError when there is no route."""
        remote = (host.partition("%")[0], port)
        if "%" in host and remote not in self._scoped:
            self._scoped[remote] = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0][4]
        local = self._local(self._scoped.get(remote, (host, port)))
        flow = self._chosen.get(remote) or self._strangers.pop(remote, None)
        if flow is None or flow.local != local:  # another network since: our Contact must not name the old one
            flow = Flow(self._new_id(), "udp", local, remote)
        self._chosen[remote] = flow
        return flow

    def _flow_from(self, sockaddr: Any) -> Flow | None:
        """The flow that a datagram came on; None when its host sends too much, or cannot be answered."""
        remote = address_of(sockaddr)
        flow = self._chosen.get(remote)
        if flow is not None:
            return flow
        host = remote[0]
        seen = self._seen[host] = self._seen.get(host, 0) + 1
        if seen > MAX_RATE:
            return None
        flow = self._strangers.get(remote)
        if flow is None:
            try:
                local = self._local(sockaddr)
            except NetworkError:
                return None  # whoever cannot be answered was not heard: the others of his batch are
            if "%" in sockaddr[0]:
                self._scoped[remote] = sockaddr
            flow = self._strangers[remote] = Flow(self._new_id(), "udp", local, remote)
            if len(self._strangers) > MAX_FLOWS:
                oldest = next(iter(self._strangers))
                del self._strangers[oldest]
                self._scoped.pop(oldest, None)
        return flow

    def _local(self, sockaddr: Any) -> Address:
        if self.host not in _WILDCARDS:
            return self.host, self.port
        host, now = sockaddr[0], self._loop.time()
        until, source = self._sources.get(host, (now, ""))
        if until <= now:  # a socket of its own and four system calls: not for each of a thousand accounts that begin
            source = _source_for(self.family, sockaddr)
            if len(self._sources) >= MAX_FLOWS:
                self._sources.clear()
            self._sources[host] = now + SOURCE_TIME, source
        return source, self.port

    def forget_sources(self) -> None:
        """The routes are others now."""
        self._sources.clear()

    @property
    def chosen(self) -> tuple[Flow, ...]:
        return tuple(self._chosen.values())

    def release(self, flow: Flow) -> None:
        if self._chosen.get(flow.remote) is flow:
            del self._chosen[flow.remote]

    # --- out -----------------------------------------------------------------

    def send(self, flow: Flow, data: bytes) -> None:
        if self._waiting:
            self._wait(flow, data)
            return
        try:
            self._socket.sendto(data, self._scoped.get(flow.remote, flow.remote))
        except BlockingIOError:
            self._wait(flow, data)
        except OSError as error:
            self._send_failed(flow, data, error)

    def _send_failed(self, flow: Flow, data: bytes, error: OSError) -> None:
        if self._errors and self._read_errors():
            # The kernel told this call about another's datagram: report that one, and try ours again.
            try:
                self._socket.sendto(data, self._scoped.get(flow.remote, flow.remote))
                return
            except OSError as again:
                error = again
        host, port = flow.remote
        self._sink.on_lost(flow, f"connect: nothing can be sent to {host} port {port}: {_words(error.errno)}")

    def _wait(self, flow: Flow, data: bytes) -> None:
        if not self._waiting:
            self._loop.add_writer(self._socket, self._on_writable)
        if len(self._waiting) < MAX_QUEUE:
            self._waiting.append((flow, data))

    def _on_writable(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        self._loop.remove_writer(self._socket)
        for flow, data in waiting:
            self.send(flow, data)

    # --- in ------------------------------------------------------------------

    def _on_readable(self) -> None:
        batch: list[tuple[bytes, Flow]] = []
        receive, view = self._socket.recvfrom_into, self._view
        if (second := int(self._loop.time())) != self._second:
            self._second, self._seen = second, {}
        for _ in range(BATCH):
            try:
                size, sockaddr = receive(view)
            except BlockingIOError:
                if self._errors and not batch and not self._read_errors():
                    self._watch_again()
                break
            except OSError:
                if self._errors:
                    self._read_errors()
                continue
            # Line ends alone are a keep-alive (RFC 5626); other control characters begin DTLS, anything but SIP.
            wanted = size > 4 and (view[0] > 0x20 or view[0] == 0x0D or self._is_answer(view[:size], sockaddr))
            if wanted and (flow := self._flow_from(sockaddr)) is not None:
                batch.append((bytes(view[:size]), flow))
        if batch:
            self._sink.on_octets(batch)

    def _is_answer(self, data: memoryview, sockaddr: Any) -> bool:
        """STUN from somebody whom we chose: he may answer a keep-alive.  Strangers' is not looked at."""
        return is_stun(data) and address_of(sockaddr) in self._chosen

    def _read_errors(self) -> bool:
        """Take what ICMP said about our datagrams (RFC 3261 section 18.4).  True if there was anything."""
        anything = False
        while True:
            try:
                _, control, _, sockaddr = self._socket.recvmsg(0, 256, socket.MSG_ERRQUEUE)
            except OSError:
                if anything:
                    self._watch_again()
                return anything
            anything = True
            code = next((struct.unpack_from("=I", data)[0] for *_, data in control if len(data) >= 4), 0)
            if code in _LOST and sockaddr:
                host, port = remote = address_of(sockaddr)
                flow = self._chosen.get(remote) or self._strangers.get(remote)
                if flow is not None:
                    self._sink.on_lost(flow, f"connect: nobody at {host} port {port}: {_words(code)}")

    def _watch_again(self) -> None:
        if self._forgetful and self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.add_reader(self._socket, self._on_readable)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            if self._waiting:
                self._loop.remove_writer(self._socket)
            self._socket.close()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        if family == socket.AF_INET6:
            # IPv4 has a socket of its own: mapped addresses would turn up in Via and Contact.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # A burst of 1,000 challenges must not be lost between two wakes.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def _report_errors(made: socket.socket) -> bool:
    """Ask the kernel to tell us of ICMP errors; an unconnected socket hears of none otherwise."""
    if sys.platform != "linux":
        return False
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    return True


def _source_for(family: int, sockaddr: Any) -> str:
    """The address that the kernel would send from: a connected socket knows it, without sending anything."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(sockaddr)
            return address_of(probe.getsockname())[0]
    except OSError as error:
        raise NetworkError(f"connect: no route to {sockaddr[0]}: {_words(error.errno)}") from error


def _words(code: int | None) -> str:
    return os.strerror(code).lower() if code else "unknown error"
