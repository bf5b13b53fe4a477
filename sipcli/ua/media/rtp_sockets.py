"""Two UDP sockets for one stream, RTP on an even port and RTCP on the next (RFC 3550 section 11), on one event loop."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from sipcli.errors import NetworkError
from sipcli.media.demux import Kind, kind_of
from sipcli.media.stream import Datagram

__all__ = ["Diverted", "Received", "RtpSockets"]

Address: TypeAlias = tuple[str, int]
Received: TypeAlias = Callable[[bytes, Address, float], None]
"""The third: for how many seconds it has waited in the socket."""
Diverted: TypeAlias = Callable[[bytes, Address, bool], None]
"""The third: it came at the RTCP port."""

_TRIES = 64
_BURST = 32
_LARGEST = 2048
"""No audio packet is longer; what is, is cut and then counted as malformed or played short."""

# asm-generic/socket.h: Python does not name it.  The kernel notes when a datagram came.
_SO_TIMESTAMPNS = 35
_STAMP = struct.Struct("@ll")
_STAMP_SPACE = socket.CMSG_SPACE(_STAMP.size) if hasattr(socket, "CMSG_SPACE") else 0
_LONGEST_WAIT_S = 1.0
"""More is no wait: the clock of the machine was set meanwhile."""


class RtpSockets:
    """Bound at creation; *on_rtp* and *on_rtcp* are called on the loop for every datagram that nobody else wants.

    A packet is played at a beat, so nobody need be woken for it before: from the first :meth:`beat` on the RTP port is
    read there, where the kernel tells when each packet came.  A wake for each costs as much as all that is done to it.
    """

    def __init__(self, host: str, ports: range | None, on_rtp: Received, on_rtcp: Received) -> None:
        self._loop = asyncio.get_running_loop()
        self._rtp, self._rtcp = _bind_pair(host, ports)
        self.unsent = 0
        """Datagrams that the system would not take: nothing is queued, the next one is due in 20 ms."""
        self._diverted: dict[Kind, Diverted] = {}
        self._stamped = _stamped(self._rtp)
        self._resting = False
        self._receivers = on_rtp, on_rtcp
        self._watch()

    def _watch(self) -> None:
        self._resting = False
        for sock, receive in zip((self._rtp, self._rtcp), self._receivers, strict=True):
            self._loop.add_reader(sock.fileno(), self._drain, sock, receive)

    def move(self, host: str, ports: range | None) -> None:
        """Two other sockets, at *host*: the address of the old ones is gone.  NetworkError: nothing has moved."""
        rtp, rtcp = _bind_pair(host, ports)
        self.close()
        self._rtp, self._rtcp, self._stamped = rtp, rtcp, _stamped(rtp)
        self._watch()

    def beat(self, *, hurry: bool) -> None:
        """Hand out the RTP that has come since the last beat; *hurry*: what comes until the next cannot wait for it."""
        if self._resting is hurry and self._stamped:
            self._resting = not hurry
            if hurry:
                self._loop.add_reader(self._rtp.fileno(), self._drain, self._rtp, self._receivers[0])
            else:
                self._loop.remove_reader(self._rtp.fileno())
        if self._resting:
            self._drain(self._rtp, self._receivers[0])

    @property
    def local(self) -> Address:
        host, port = self._rtp.getsockname()[:2]
        return host, port

    @property
    def rtcp_port(self) -> int:
        port: int = self._rtcp.getsockname()[1]
        return port

    def divert(self, kind: Kind, received: Diverted) -> None:
        """From now on datagrams of *kind*, at either port, are given to *received* (RFC 7983)."""
        self._diverted[kind] = received

    def _drain(self, sock: socket.socket, receive: Received) -> None:
        for _ in range(_BURST):
            try:
                data, stamps, _, source = sock.recvmsg(_LARGEST, _STAMP_SPACE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # ICMP "port unreachable" for something sent earlier: the peer is not there yet, or no more.
                continue
            # A link-local IPv6 source carries its zone, which is not part of the address in SDP.
            address = source if len(source) == 2 else (source[0].partition("%")[0], source[1])
            diverted = self._diverted.get(kind_of(data)) if self._diverted else None
            if diverted is not None:
                diverted(data, address, sock is self._rtcp)
            else:
                receive(data, address, _waited_s(stamps) if stamps else 0.0)
            if sock.fileno() < 0:
                return
        if self._resting and sock is self._rtp:
            self._loop.call_soon(self._drain_rest, sock)

    def _drain_rest(self, sock: socket.socket) -> None:
        """After a burst, when others have had their turn: what is still there does not wait for a beat either."""
        if sock is self._rtp and sock.fileno() >= 0:
            self._drain(sock, self._receivers[0])

    def send(self, datagrams: Iterable[Datagram]) -> None:
        for data, destination, rtcp in datagrams:
            try:
                (self._rtcp if rtcp else self._rtp).sendto(data, destination)
            except OSError:
                self.unsent += 1

    def close(self) -> None:
        for sock in (self._rtp, self._rtcp):
            if sock.fileno() >= 0:
                self._loop.remove_reader(sock.fileno())
                sock.close()


def _stamped(sock: socket.socket) -> bool:
    """Whether the kernel notes when a datagram comes: without that, one that waits would look like jitter."""
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def _waited_s(stamps: list[tuple[int, int, bytes]]) -> float:
    for _, kind, value in stamps:
        if kind == _SO_TIMESTAMPNS and len(value) == _STAMP.size:
            seconds, nanoseconds = _STAMP.unpack(value)
            waited: float = time.time() - seconds - nanoseconds * 1e-9
            return waited if 0 <= waited <= _LONGEST_WAIT_S else 0.0
    return 0.0


def _bind_pair(host: str, ports: range | None) -> tuple[socket.socket, socket.socket]:
    """An even port and its neighbour; after many tries, any two."""
    candidates = [0] * _TRIES if ports is None else [port for port in ports if port % 2 == 0]
    failure: OSError | None = None
    for port in candidates:
        try:
            rtp = _bound(host, port)
        except OSError as error:
            failure = error
            if port == 0:
                break
            continue
        port = rtp.getsockname()[1]
        if port % 2 == 0 and port < 65535:
            try:
                return rtp, _bound(host, port + 1)
            except OSError as error:
                failure = error
        rtp.close()
    if ports is None:
        try:
            return _bound(host, 0), _bound(host, 0)
        except OSError as error:
            failure = error
    raise _no_ports(host, failure)


def _no_ports(host: str, failure: OSError | None) -> NetworkError:
    code = errno.EADDRINUSE if failure is None or failure.errno is None else failure.errno
    hints = {
        errno.EADDRNOTAVAIL: "is this address one of this machine's?",
        errno.EADDRINUSE: "hang up other calls, or let it have more ports",
        errno.EMFILE: "fewer calls at once (--max-calls N), or more open files (ulimit -n)",
    }
    return NetworkError(f"no UDP ports for audio at {host}: {os.strerror(code).lower()}", hint=hints.get(code))


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
