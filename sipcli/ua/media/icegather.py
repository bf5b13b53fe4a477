"""Where we can be reached: our addresses, as a STUN server sees them, and what a TURN server lends (RFC 8445 5.1).

A server that does not answer, or refuses, costs its candidates and a sentence, never the call: everything here has a
limit, and all of it is done before the offer, because SIP has no trickling.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from aioice import stun, turn
from aioice.candidate import candidate_foundation
from aioice.ice import get_host_addresses

from sipcli.config.iceserver import IceServer
from sipcli.credentials import PasswordCredentials
from sipcli.errors import ConfigError
from sipcli.media.candidates import Candidate, priority_of
from sipcli.ua.media.icesettings import IceSettings
from sipcli.ua.media.icewire import Address, Desk, Wire
from sipcli.ua.net.tls import web_context

__all__ = ["Gathered", "Gatherer"]

STUN_WAIT = 2.5
"""Seconds for one server's answer: three tries at 0, 0.5 and 1.5 s (RFC 8489 section 6.2.1)."""
_MOST_ADDRESSES = 4
"""Of ours, besides the one that the routing table chose."""


@dataclass(slots=True)
class Gathered:
    """Our candidates, the dearest first, and the wires behind them."""

    candidates: list[Candidate] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)


class Gatherer:
    """One round of gathering.  *warn(code, sentence)* is told what did not work."""

    def __init__(
        self,
        settings: IceSettings,
        desk: Desk,
        arrived: Callable[[Wire, bytes, Address], None],
        warn: Callable[[str, str], None],
    ) -> None:
        self._settings = settings
        self._desk = desk
        self._arrived = arrived
        self._warn = warn
        self._said: set[str] = set()

    async def gather(self, main: dict[int, Wire], host: str, found: Gathered) -> None:
        """Fill *found*; *main*: component → the wire over the socket that we have at *host* already."""
        if self._settings.policy != "relay":
            for component, wire in main.items():
                self._add_host(found, wire, component, wire.transport.get_extra_info("sockname"), 0)
            await self._open_others(found, host)
        work: list[Coroutine[Any, Any, None]] = []
        if self._settings.stun is not None and found.wires:
            work.append(self._ask_stun(found, self._settings.stun))
        if self._settings.turn is not None:
            work.append(self._ask_turn(found, self._settings.turn))
        await asyncio.gather(*work)
        found.candidates.sort(key=lambda candidate: -candidate.priority)

    def _add_host(self, found: Gathered, wire: Wire, component: int, address: Address, rank: int) -> None:
        host, port = address[:2]
        foundation = candidate_foundation("host", "udp", host)
        candidate = Candidate(foundation, component, priority_of("host", component, 65535 - rank), host, port, "host")
        wire.become(candidate)
        found.candidates.append(candidate)
        found.wires.append(wire)

    async def _open_others(self, found: Gathered, host: str) -> None:
        """The machine's other addresses; none where the first is loopback, and the peer on this machine."""
        if host.startswith("127.") or host == "::1":
            return
        loop = asyncio.get_running_loop()
        others = [a for a in get_host_addresses(use_ipv4=True, use_ipv6=True) if a != host]
        for rank, address in enumerate(others[:_MOST_ADDRESSES], start=1):
            for component in (1, 2):

                def make(component: int = component) -> Wire:
                    return Wire(self._desk, component, self._arrived)

                try:
                    transport, wire = await loop.create_datagram_endpoint(make, local_addr=(address, 0))
                except OSError:
                    continue  # an address that is only just coming or going
                self._add_host(found, wire, component, transport.get_extra_info("sockname"), rank)

    # --- STUN -------------------------------------------------------------------------------------------------

    async def _ask_stun(self, found: Gathered, server: IceServer) -> None:
        try:
            async with asyncio.timeout(STUN_WAIT):
                addresses = await _resolve(server)
                wires = [(w, addresses[f]) for w in found.wires if (f := _family(w.candidate.host)) in addresses]
                seen = await asyncio.gather(*(self._seen_by(w, a) for w, a in wires), return_exceptions=True)
        except (OSError, TimeoutError) as error:
            self._complain(server, "does not answer" if isinstance(error, TimeoutError) else f"is not found: {error}")
            return
        for (wire, _), mapped in zip(wires, seen, strict=True):
            base = wire.candidate
            if isinstance(mapped, BaseException) or mapped == base.address:
                continue  # nothing between us and the world (RFC 8445 section 5.1.3)
            foundation = candidate_foundation("srflx", "udp", base.host)
            preference = (base.priority >> 8) & 0xFFFF
            rank = priority_of("srflx", base.component, preference)
            found.candidates.append(
                Candidate(foundation, base.component, rank, mapped[0], mapped[1], "srflx", base.address)
            )
        if wires and all(isinstance(one, BaseException) for one in seen):
            self._complain(server, "does not answer")

    async def _seen_by(self, wire: Wire, server: Address) -> Address:
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        response, _ = await wire.request(request, server, retransmissions=1)
        mapped = response.attributes.get("XOR-MAPPED-ADDRESS")
        if mapped is None:
            raise ConnectionError("no XOR-MAPPED-ADDRESS")
        host, port = mapped
        return host, port

    # --- TURN -------------------------------------------------------------------------------------------------

    async def _ask_turn(self, found: Gathered, server: IceServer) -> None:
        try:
            async with asyncio.timeout(STUN_WAIT):
                address = next(iter((await _resolve(server)).values()))
                realm = await self._realm_of(server, address)
            credentials = None
            if realm is not None:
                # A person may be asked: how long that may take is the broker's affair.
                credentials = await self._credentials(server, address, realm)
            allocations = (self._patient(server, address, component, credentials) for component in (1, 2))
            wires = await asyncio.gather(*allocations, return_exceptions=True)
        except ConfigError as error:
            self._complain(server, f"{error}")
            return
        except ssl.SSLError as error:
            self._complain(server, f"does not prove who it is: {error.reason or error}")
            return
        except (OSError, TimeoutError, stun.TransactionError) as error:
            self._complain(server, _refused(error, None))
            return
        good = [wire for wire in wires if isinstance(wire, Wire)]
        for wire in good:
            found.wires.append(wire)
            found.candidates.append(wire.candidate)
        refusal = next((w for w in wires if isinstance(w, BaseException)), None)
        if credentials is not None and (good or _code(refusal) in (401, 441)):
            self._settings.verdict(credentials, bool(good))
        if refusal is not None:
            self._complain(server, _refused(refusal, credentials))

    async def _patient(
        self, server: IceServer, address: Address, component: int, credentials: PasswordCredentials | None
    ) -> Wire:
        async with asyncio.timeout(STUN_WAIT):
            return await self._allocate(server, address, component, credentials)

    async def _realm_of(self, server: IceServer, address: Address) -> str | None:
        """What the server asks a password for (RFC 8489 section 9.2.4); None: it asks for none."""
        try:
            wire = await self._allocate(server, address, 1, None)
        except stun.TransactionFailed as error:
            if _code(error) != 401 or "REALM" not in error.response.attributes:
                raise
            return str(error.response.attributes["REALM"])
        await wire.close()
        return None

    async def _credentials(self, server: IceServer, address: Address, realm: str) -> PasswordCredentials:
        if self._settings.authenticate is None:
            raise ConfigError(f"wants a password for {realm!r}: say who knows it in turn_credentials")
        return await self._settings.authenticate(server, address, realm)

    async def _allocate(
        self, server: IceServer, address: Address, component: int, credentials: PasswordCredentials | None
    ) -> Wire:
        password = None if credentials is None else credentials.password.reveal().decode()
        # Over TLS the certificate is checked against the name, so the name is what is connected to.
        secure = server.scheme == "turns"
        context = web_context(self._settings.ca_file) if secure else None
        transport, wire = await turn.create_turn_endpoint(
            lambda: Wire(self._desk, component, self._arrived),
            server_addr=(server.host, server.port) if secure else address,
            username=None if credentials is None else credentials.username,
            password=password,
            ssl=context,
            transport=server.transport,
        )
        host, port = transport.get_extra_info("sockname")
        # Where we are seen from is not told to everybody by those who hide behind the relay (RFC 8839 section 5.1).
        hidden = ("::" if ":" in host else "0.0.0.0", 9)  # noqa: S104 - written, not bound to
        related = hidden if self._settings.policy == "relay" else transport.get_extra_info("related_address")
        foundation = candidate_foundation("relay", "udp", host)
        wire.become(Candidate(foundation, component, priority_of("relay", component), host, port, "relay", related))
        return wire

    def _complain(self, server: IceServer, what: str) -> None:
        sentence = f"the {server.scheme.upper().rstrip('S')} server {server} {what}"
        if sentence not in self._said:
            self._said.add(sentence)
            self._warn(f"{server.scheme.rstrip('s')}-failed", sentence)


def _code(error: BaseException | None) -> int | None:
    return error.response.error_code if isinstance(error, stun.TransactionFailed) else None


def _refused(error: BaseException, credentials: PasswordCredentials | None) -> str:
    if isinstance(error, TimeoutError | stun.TransactionTimeout):
        return "does not answer"
    code = _code(error)
    who = "us" if credentials is None else credentials.username
    match code:
        case 401 | 441:
            return f"refused the password of {who}"
        case 403:
            return f"does not let {who} relay anything"
        case 486:
            return f"gives {who} no more relays: its quota is used up"
        case 508:
            return "has no relay left"
        case None:
            return f"cannot be used: {error}"
    return f"refused a relay: {error}"


async def _resolve(server: IceServer) -> dict[int, Address]:
    """The address family → an address of *server*.  OSError (gaierror) when there is none."""
    loop = asyncio.get_running_loop()
    found: dict[int, Address] = {}
    for family, _, _, _, address in await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM):
        found.setdefault(4 if family == socket.AF_INET else 6, (str(address[0]), int(address[1])))
    return found


def _family(host: str) -> int:
    return 6 if ":" in host else 4
