"""Those who come to us by TCP and TLS: each is counted from his first packet on, and a host gets few places (T23).

asyncio's own servers make a protocol before they know who came, and tell nobody of a handshake that failed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Final

from sipcli.sip.flow import Address
from sipcli.ua.net.stream import MESSAGE_TIME, StreamConnection
from sipcli.ua.net.udp import address_of

__all__ = ["MAX_ACCEPTED", "MAX_OF_ONE_HOST", "Guests", "Listener", "party_of"]

MAX_ACCEPTED: Final = 100
"""Connections that strangers may hold at a time, those who shake hands still included (threat T23)."""
MAX_OF_ONE_HOST: Final = 20
"""Of these, how many one host may hold: else it alone would leave no place for others."""
BREATH: Final = 1.0
"""Seconds until we look again where no descriptor was left to accept with."""
_BACKLOG: Final = 100


class Guests:
    """Who has how many of the places; of all listeners of one endpoint."""

    def __init__(self) -> None:
        self._of: Counter[str | bytes] = Counter()

    def __len__(self) -> int:
        return self._of.total()

    def admit(self, host: str) -> bool:
        """Give *host* a place, until :meth:`leave`; False: there is none, or none for him."""
        party = party_of(host)
        if len(self) >= MAX_ACCEPTED or self._of[party] >= MAX_OF_ONE_HOST:
            return False
        self._of[party] += 1
        return True

    def leave(self, host: str) -> None:
        self._of -= Counter((party_of(host),))


def party_of(host: str) -> str | bytes:
    """What one party holds: an IPv4 address, or 64 bits of an IPv6 one (RFC 4291 section 2.5.1)."""
    return socket.inet_pton(socket.AF_INET6, host)[:8] if ":" in host else host


class Listener:
    """One listening socket.  *make* makes what takes a connection; *context*: he shakes hands first."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        port: int,
        *,
        guests: Guests,
        make: Callable[[], StreamConnection],
        context: ssl.SSLContext | None,
    ) -> None:
        """Bind; *port* 0 takes any.  Raises OSError."""
        self._loop = loop
        self._guests = guests
        self._make = make
        self._context = context
        self._coming: dict[asyncio.Task[None], socket.socket] = {}
        self._pause: asyncio.TimerHandle | None = None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._socket.setblocking(False)
        self.address: Address = address_of(self._socket.getsockname())
        self._watch()

    async def close(self) -> None:
        """Take nobody any more; who shakes hands is left."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        coming = dict(self._coming)
        for task, made in coming.items():
            if task.cancel():
                made.close()
        await asyncio.gather(*coming, return_exceptions=True)

    def _watch(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(_BACKLOG):
            try:
                made, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left, and he still waits: he would wake us at once, for ever
                self._loop.remove_reader(self._socket)
                self._pause = self._loop.call_later(BREATH, self._watch)
                return
            host, _ = address_of(address)
            if not self._guests.admit(host):
                made.close()
                continue
            made.setblocking(False)
            task = self._loop.create_task(self._receive(made, host))
            self._coming[task] = made
            task.add_done_callback(self._coming.pop)

    async def _receive(self, made: socket.socket, host: str) -> None:
        """Until he is connected, or is not; his place is his until the connection ends."""
        connection = self._make()
        limit = None if self._context is None else MESSAGE_TIME
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, made, ssl=self._context, ssl_handshake_timeout=limit
            )
        except BaseException as error:
            self._guests.leave(host)
            if not isinstance(error, OSError):  # what is wrong with his handshake is his affair; SSLError is one, too
                raise
        else:
            connection.closed.add_done_callback(lambda _: self._guests.leave(host))
