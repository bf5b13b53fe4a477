"""From a next hop to addresses: literals, NAPTR, SRV, A and AAAA (RFC 3263 section 4, RFC 2782).

DNS is asked through dnspython, imported when first needed; hosts through the
system's resolver, so that ``/etc/hosts`` and ``localhost`` work.  Both block, so
both run on daemon threads of their own: never ``loop.getaddrinfo``, whose
executor would hold the exit of the process behind a stuck look-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import queue
import random
import socket
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from sipcli.errors import ResolveError, SipcliError
from sipcli.sip.flow import ENCRYPTED, Hop, Transport

__all__ = ["Candidate", "Naptr", "Records", "Resolver", "Srv", "SystemRecords", "look_up", "settled"]

_SERVICE = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
_NAPTR_SERVICES: dict[str, Transport] = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
_DEFAULT_PORT = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}


class Candidate(NamedTuple):
    """One address to try.  *host* is a literal address; a link-local one keeps its ``%scope``."""

    transport: Transport
    host: str
    port: int

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET


class Srv(NamedTuple):
    priority: int
    weight: int
    port: int
    target: str


class Naptr(NamedTuple):
    order: int
    preference: int
    service: str
    replacement: str


class Records(Protocol):
    """Where records come from.  Blocking; an empty answer means "none", whatever the reason.

    ``addresses`` raises ResolveError when nobody could be asked, for then the name may well be right.
    """

    def naptr(self, name: str) -> Sequence[Naptr]: ...
    def srv(self, name: str) -> Sequence[Srv]: ...
    def addresses(self, host: str) -> Sequence[str]: ...


class SystemRecords:
    """DNS as the system is set up, or as *nameservers* and *port* say; *lifetime* in seconds per question."""

    def __init__(self, nameservers: Sequence[str] = (), port: int = 53, lifetime: float = 4.0) -> None:
        self._nameservers = list(nameservers)
        self._port = port
        self._lifetime = lifetime
        self._resolver: Any = None

    def naptr(self, name: str) -> Sequence[Naptr]:
        return [
            Naptr(r.order, r.preference, r.service.decode("ascii", "replace").upper(), r.replacement.to_text())
            for r in self._ask(name, "NAPTR")
            if r.flags.lower() == b"s"
        ]

    def srv(self, name: str) -> Sequence[Srv]:
        return [Srv(r.priority, r.weight, r.port, r.target.to_text()) for r in self._ask(name, "SRV")]

    def addresses(self, host: str) -> Sequence[str]:
        try:
            # AI_ADDRCONFIG is left out: on a host that has nothing but loopback it hides 127.0.0.1.
            found = socket.getaddrinfo(host.rstrip("."), None, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise ResolveError(f"dns: no name server could be asked about {host}") from error
            return []
        except (OSError, UnicodeError):
            return []
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def forget(self) -> None:
        """Read how the system is set up once more."""
        self._resolver = None

    def _ask(self, name: str, kind: str) -> Sequence[Any]:
        import dns.exception
        import dns.resolver

        try:
            if self._resolver is None:
                self._resolver = dns.resolver.Resolver(configure=not self._nameservers)
                if self._nameservers:
                    self._resolver.nameservers, self._resolver.port = self._nameservers, self._port
            return list(self._resolver.resolve(name, kind, lifetime=self._lifetime, search=False))
        except (dns.exception.DNSException, OSError):
            return []


def look_up(hop: Hop, records: Records, *, shuffle: random.Random | None = None) -> list[Candidate]:
    """Every address that *hop* leads to, best first (RFC 3263 section 4).  Blocks.  Raises ResolveError.

    A literal address or an explicit port skips the service records; ``sips``
    is TLS, or a WebSocket in it, and nothing else.  A WebSocket's server has no
    service records (RFC 7118 section 6 leaves finding it to others).
    """
    if hop.secure and hop.transport is not None and hop.transport not in ENCRYPTED:
        raise ResolveError(f"dns: {hop} is to be secure, and {hop.transport} is not")
    wanted = _said(hop)
    transport: Transport = wanted or "udp"
    if is_address(hop.host):
        return [Candidate(transport, hop.host, hop.port or _DEFAULT_PORT[transport])]
    if _is_service(hop) and wanted not in ("ws", "wss"):
        found = _by_service(hop.host, wanted, records, shuffle or random.SystemRandom())
        if found is not None:
            if not found:
                raise ResolveError(f"dns: {hop.host} says that it does not offer {wanted or 'SIP'}")
            return found
    addresses = records.addresses(hop.host)
    if not addresses:
        raise ResolveError(f"dns: nobody knows a host {hop.host}")
    return [Candidate(transport, address, hop.port or _DEFAULT_PORT[transport]) for address in addresses]


def settled(hop: Hop) -> Transport | None:
    """The transport to *hop*, as far as DNS has no word in it: None where its service records may choose one."""
    if (said := _said(hop)) is not None:
        return said
    return None if _is_service(hop) and not is_address(hop.host) else "udp"


def _said(hop: Hop) -> Transport | None:
    return hop.transport or ("tls" if hop.secure else None)


def _is_service(hop: Hop) -> bool:
    """A name whose service records are asked for, unless it is an address."""
    return hop.port is None and _has_services(hop.host)


@lru_cache(maxsize=1024)
def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _has_services(host: str) -> bool:
    # Names that DNS cannot know: asking costs a time-out, where there is no DNS.
    return "." in host.rstrip(".") and not host.endswith((".localhost", ".local"))


def _by_service(
    host: str, wanted: Transport | None, records: Records, shuffle: random.Random
) -> list[Candidate] | None:
    """None when there are no service records, so that the host itself is asked for (RFC 3263 section 4.2)."""
    if wanted is not None:
        return _by_srv([(wanted, f"{_SERVICE[wanted]}.{host}")], records, shuffle)
    naptr = sorted(record for record in records.naptr(host) if record.service in _NAPTR_SERVICES)
    if naptr:
        return _by_srv([(_NAPTR_SERVICES[r.service], r.replacement) for r in naptr], records, shuffle)
    names: list[tuple[Transport, str]] = [(t, f"{_SERVICE[t]}.{host}") for t in ("udp", "tcp", "tls")]
    return _by_srv(names, records, shuffle)


def _by_srv(names: Sequence[tuple[Transport, str]], records: Records, shuffle: random.Random) -> list[Candidate] | None:
    found: list[Candidate] = []
    anything = False
    for transport, name in names:
        for record in _in_turn(records.srv(name), shuffle):
            anything = True
            if record.target != ".":  # "the service is decidedly not available at this domain" (RFC 2782)
                with contextlib.suppress(ResolveError):  # the next one may be known
                    found += [Candidate(transport, a, record.port) for a in records.addresses(record.target)]
    return found if anything else None


def _in_turn(records: Sequence[Srv], shuffle: random.Random) -> list[Srv]:
    """By priority; inside one, drawn by weight, the weightless rarely first (RFC 2782, "Usage rules")."""
    ordered: list[Srv] = []
    for priority in sorted({record.priority for record in records}):
        rest = sorted((r for r in records if r.priority == priority), key=lambda r: r.weight)
        while rest:
            draw = shuffle.randint(0, sum(r.weight for r in rest))
            running = itertools.accumulate(r.weight for r in rest)
            ordered.append(rest.pop(next(at for at, total in enumerate(running) if total >= draw)))
    return ordered


class Resolver:
    """:func:`look_up` for the loop: on daemon threads, each question asked once at a time, answers kept *ttl* s."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        records: Records | None = None,
        *,
        ttl: float = 30.0,
        limit: float = 15.0,
        width: int = 8,
    ) -> None:
        self._loop = loop
        self._records = SystemRecords() if records is None else records
        self._ttl = ttl
        self._limit = limit
        self._lane = _Lane(loop, width)
        self._known: dict[Hop, tuple[float, list[Candidate]]] = {}
        self._asked: dict[Hop, asyncio.Future[list[Candidate]]] = {}

    async def resolve(self, hop: Hop) -> list[Candidate]:
        """Raises ResolveError."""
        known = self._known.get(hop)
        if known is not None and known[0] > self._loop.time():
            return known[1]
        answer = self._asked.get(hop)
        if answer is None:
            answer = self._asked[hop] = self._lane.submit(lambda: look_up(hop, self._records))
            answer.add_done_callback(lambda done: self._settle(hop, done))
        try:
            async with asyncio.timeout(self._limit):
                return await asyncio.shield(answer)
        except TimeoutError:
            # The thread may be stuck; the next wish asks again, on another one.
            self._asked.pop(hop, None)
            raise ResolveError(f"dns: no answer about {hop.host} in {self._limit:g} s") from None

    def _settle(self, hop: Hop, answer: asyncio.Future[list[Candidate]]) -> None:
        if self._asked.get(hop) is answer:
            del self._asked[hop]
        if not answer.cancelled() and answer.exception() is None:
            now = self._loop.time()
            self._known = {key: value for key, value in self._known.items() if value[0] > now}
            self._known[hop] = (now + self._ttl, answer.result())

    def forget(self) -> None:
        """Another network, perhaps another name server: what is known is asked anew."""
        self._known.clear()
        if isinstance(self._records, SystemRecords):
            self._records.forget()

    def aside(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run anything else that blocks for a moment on these threads."""
        return self._lane.submit(work)

    def close(self) -> None:
        self._lane.close()


class _Lane:
    """At most *width* daemon threads, made on demand; a stuck one holds nobody's exit."""

    def __init__(self, loop: asyncio.AbstractEventLoop, width: int) -> None:
        self._loop = loop
        self._width = width
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0

    def submit(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._busy += 1
        future.add_done_callback(self._done)
        if self._busy > self._threads and self._threads < self._width:
            self._threads += 1
            threading.Thread(target=self._main, name=f"sipcli-resolve-{self._threads}", daemon=True).start()
        self._jobs.put((work, future))
        return future

    def _done(self, _: asyncio.Future[Any]) -> None:
        self._busy -= 1

    def close(self) -> None:
        for _ in range(self._threads):
            self._jobs.put(None)

    def _main(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, future = job
            result: Any = None
            error: Exception | None = None
            try:
                result = work()
            except SipcliError as caught:
                error = caught
            except Exception as caught:
                error = ResolveError(f"dns: {type(caught).__name__}: {caught}")
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
                self._loop.call_soon_threadsafe(_answer, future, result, error)


def _answer(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
