"""Where a request goes: the next hop, the Route header fields and what we say about ourselves on a flow.

RFC 3261 sections 8.1.2 and 12.2.1.1, RFC 3608 section 6.1, RFC 5630.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.flow import Flow, Hop, Transport
from sipcli.sip.syntax.grammar import Params
from sipcli.sip.syntax.headers import Via
from sipcli.sip.syntax.uri import NameAddr, SipUri

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.syntax.message import Request

__all__ = [
    "ANONYMOUS_USER",
    "DEFAULT_PORTS",
    "CSeqCounter",
    "Target",
    "asks_for_sips",
    "contact_uri",
    "is_literal",
    "loose",
    "out_of_dialog",
    "preferring",
    "secured",
    "sent_by",
    "through",
    "via_of",
]

ANONYMOUS_USER = "sipcli"
"""The user part of our Contact where no account names one."""

DEFAULT_PORTS: dict[Transport | None, int] = {None: 5060, "udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}


class CSeqCounter:
    """The CSeq numbers of one Call-ID or dialog, taken when a request is sent and never before (RFC 3261 12.2.1.1)."""

    __slots__ = ("last",)

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def next(self) -> int:
        self.last += 1
        return self.last


class Target(NamedTuple):
    """The envelope of a request: Request-URI, Route header fields in order, and the hop that they lead to."""

    uri: SipUri
    routes: tuple[str, ...]
    hop: Hop

    @property
    def secure(self) -> bool:
        """``sips`` in the Request-URI or the topmost Route: then our Contact is ``sips``, too (section 8.1.1.8)."""
        return self.uri.secure or (bool(self.routes) and self.hop.secure)


@lru_cache(maxsize=4096)
def is_literal(host: str) -> bool:
    """An IP address: it has no other records to fail over to (RFC 3263 section 4.2)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def preferring(hop: Hop, transport: Transport | None) -> Hop:
    """*hop*, with the account's transport where the URI leaves it open."""
    if transport is None or hop.transport is not None:
        return hop
    return hop._replace(transport=transport)


def loose(uri: SipUri) -> str:
    """A configured proxy as a Route: we always mean a loose router, also where somebody forgot the ``;lr``."""
    return f"<{uri if uri.has_param('lr') else uri.with_params(lr=None)}>"


def secured(uri: SipUri) -> SipUri:
    """The same with ``sips``: nothing else changes (RFC 5630 section 5.1.1.1)."""
    return uri.replace(scheme="sips")


def through(uri: SipUri, routes: tuple[str, ...]) -> Target:
    """Apply a route set (RFC 3261 section 12.2.1.1): loose routing, or the exchange of places for a strict router.

    Nothing that goes to a ``sips`` URI takes a route of ``sip`` URIs: they are changed (RFC 5630 section 5.1.1.1).
    """
    if not routes:
        return Target(uri, (), uri.hop)
    if uri.secure:
        routes = tuple(_secured_route(route) for route in routes)
    first = NameAddr.parse(routes[0]).sip_uri
    if first.has_param("lr"):
        return Target(uri, routes, first.hop)
    return Target(first.replace(headers=()).without_param("method"), (*routes[1:], f"<{uri}>"), first.hop)


def _secured_route(route: str) -> str:
    parsed = NameAddr.parse(route)
    return route if parsed.sip_uri.secure else str(parsed._replace(uri=secured(parsed.sip_uri)))


def out_of_dialog(account: AccountState | None, target: SipUri) -> Target:
    """The first hop of a new request.

    The account's preloaded routes (its outbound proxy, then what the registrar
    gave as Service-Route) come first.  Without them a target in the domain of
    the account, or at its registrar, goes where the REGISTER went.
    """
    uri = target.replace(headers=()).without_param("method")
    if account is None:
        return Target(uri, (), uri.hop)
    routes = account.preloaded
    if routes:
        aimed = through(uri, routes)
        return aimed._replace(hop=preferring(aimed.hop, account.profile.transport))
    own = account.registrar_hop
    if uri.host in account.domains and uri.port in (None, own.port) and (own.secure or not uri.secure):
        return Target(uri, (), own)
    return Target(uri, (), preferring(uri.hop, account.profile.transport))


def sent_by(flow: Flow) -> str:
    host, port = flow.local
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def via_of(flow: Flow, branch: str) -> Via:
    """Our Via on *flow*: where the answer comes back to (RFC 3261 section 18.1.1), by RFC 3581 over UDP."""
    host, port = flow.local
    rport: Params = () if flow.reliable else (("rport", None),)
    return Via(flow.transport.upper(), host, port, (*rport, ("branch", branch)))


def asks_for_sips(request: Request) -> bool:
    """Must our Contact in the answer be ``sips``?  The Request-URI, the top Record-Route or, without one, the Contact
    says so (RFC 3261 section 12.1.1)."""
    try:
        said = request.record_routes[:1] or request.contacts[:1]
    except ParseError:
        said = ()
    return request.uri.secure or any(isinstance(one.uri, SipUri) and one.uri.secure for one in said)


def contact_uri(user: str, flow: Flow, *, secure: bool) -> str:
    """Our Contact on *flow*; ``sips`` where the request is (RFC 3261 section 8.1.1.8)."""
    if secure and flow.encrypted:
        return f"sips:{user}@{sent_by(flow)}" + (";transport=ws" if flow.transport == "wss" else "")
    if flow.transport == "udp":
        return f"sip:{user}@{sent_by(flow)}"
    transport = "ws" if flow.transport == "wss" else flow.transport  # RFC 7118 section 5.2.4 knows no other word
    return f"sip:{user}@{sent_by(flow)};transport={transport}"
