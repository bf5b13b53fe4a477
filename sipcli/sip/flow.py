"""Where requests go and what carries them: frozen values, no socket (RFC 3261 section 18, RFC 5626 section 2)."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

__all__ = ["ENCRYPTED", "Address", "Flow", "Hop", "Ticket", "Transport", "carries"]

Transport: TypeAlias = Literal["udp", "tcp", "tls", "ws", "wss"]
"""``ws`` and ``wss``: messages in the frames of a WebSocket, without and with TLS (RFC 7118)."""
ENCRYPTED: frozenset[Transport] = frozenset(("tls", "wss"))
Address: TypeAlias = tuple[str, int]
"""A literal IP address (no brackets, no scope) and a port."""


class Hop(NamedTuple):
    """A next hop as the URI names it, before DNS (RFC 3263 section 4).

    *port* and *transport* are None where the URI leaves them open; *secure* is
    True for ``sips:`` and forbids anything but TLS; *domain* is the name that a
    TLS certificate must prove (RFC 5922 section 4): the host, before SRV.
    """

    host: str
    port: int | None = None
    transport: Transport | None = None
    secure: bool = False

    @property
    def domain(self) -> str:
        return self.host.lower()

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = host if self.port is None else f"{host}:{self.port}"
        return where if self.transport is None else f"{where};transport={self.transport}"


class Flow(NamedTuple):
    """One way to exchange octets with one remote address: a connection, or a UDP association.

    *local* is the address that goes into Via and Contact; *verified_identity*
    is the SIP domain that TLS proved, None without TLS.
    """

    id: int
    transport: Transport
    local: Address
    remote: Address
    verified_identity: str | None = None

    @property
    def reliable(self) -> bool:
        return self.transport != "udp"

    @property
    def encrypted(self) -> bool:
        return self.transport in ENCRYPTED

    @property
    def secure(self) -> bool:
        """TLS with a verified peer: the only place for a Bearer token (RFC 8898 section 2.1.3)."""
        return self.encrypted and self.verified_identity is not None

    def __str__(self) -> str:
        host, port = self.remote
        return f"{self.transport}:[{host}]:{port}" if ":" in host else f"{self.transport}:{host}:{port}"


def carries(transport: Transport, named: Transport | None) -> bool:
    """Does a URI that names *named* mean *transport*?  ``transport=ws`` is written for ``wss``, too (RFC 7118 5)."""
    return named in (None, transport) or (named == "ws" and transport == "wss")


class Ticket(NamedTuple):
    """Names one wish for a flow; answered by ``flow_ready`` or ``flow_failed``."""

    id: int
