"""What the core keeps about one account: its own hops, whom it trusts, its registration (RFC 3261 section 10.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sipcli.sip.authn.origin import HomeGround, Origin
from sipcli.sip.flow import Flow, Hop
from sipcli.sip.profile import AccountProfile
from sipcli.sip.registrations.outbound import Outbound
from sipcli.sip.syntax.uri import NameAddr
from sipcli.sip.targets import CSeqCounter, loose, preferring, secured

if TYPE_CHECKING:
    from sipcli.sip.auth import AuthSession
    from sipcli.sip.registrations.register import Registration

__all__ = ["AccountState"]


class AccountState:
    """One account while the engine runs.

    *home* holds the servers that its registrar, its outbound proxy and their
    Service-Route led to: only those may challenge us (threat T01).
    """

    __slots__ = (
        "_origins",
        "_own_hops",
        "aor_text",
        "closed",
        "domains",
        "home",
        "name",
        "outbound",
        "preloaded",
        "profile",
        "proxy_routes",
        "register_call_id",
        "register_cseq",
        "registrar_hop",
        "registration",
        "sender",
        "session",
    )

    def __init__(self, profile: AccountProfile, session: AuthSession, call_id: str) -> None:
        self.profile = profile
        self.name = profile.name
        self.session = session
        self.closed = False
        self.home = HomeGround()
        self._origins: dict[int, tuple[Flow, Origin]] = {}
        self.registration: Registration | None = None
        self.outbound = Outbound(profile)
        # One Call-ID for all registrations of a boot cycle (RFC 3261 section 10.2).
        self.register_call_id = call_id
        self.register_cseq = CSeqCounter()
        aor = profile.aor.aor
        self.aor_text = str(aor).lower()
        self.sender = str(NameAddr(profile.display_name, aor))
        self.domains = (profile.aor.host, profile.registrar.host)
        proxy = profile.proxy
        if proxy is not None and profile.registrar.secure:
            proxy = secured(proxy)  # the way to a sips registrar is secure from its first hop (RFC 5630 5.1.1.1)
        self.proxy_routes: tuple[str, ...] = () if proxy is None else (loose(proxy),)
        first = profile.registrar if proxy is None else proxy
        self.registrar_hop: Hop = preferring(first.hop, profile.transport)
        self.preloaded: tuple[str, ...] = self.proxy_routes
        self._own_hops: tuple[Hop, ...] = (self.registrar_hop,)

    def use_service_route(self, routes: tuple[str, ...]) -> None:
        """What the registrar wants new requests to go through (RFC 3608 section 6.1); empty when it no longer does."""
        self.preloaded = (*self.proxy_routes, *routes)
        self._own_hops = (self.registrar_hop,)
        if routes and not self.proxy_routes:
            self._own_hops += (preferring(NameAddr.parse(routes[0]).sip_uri.hop, self.profile.transport),)

    def session_for(self, *, shared: bool | None) -> AuthSession:
        """Who answers for a new call or request: the account's session, or one of its own.  None: as configured."""
        return self.session if (self.profile.shared_auth if shared is None else shared) else self.session.private()

    def owns(self, hop: Hop) -> bool:
        """Is this the registrar, the outbound proxy or their route?

        A transport taken for size makes no difference, nor does TLS for the sake of ``sips``, which proves the name.
        """
        if hop in self._own_hops:
            return True
        if hop.secure:
            return any(hop[:2] == own[:2] for own in self._own_hops)
        return hop.transport == "tcp" and Hop(hop.host, hop.port, None, hop.secure) in self._own_hops

    def learn(self, flow: Flow) -> None:
        self.home.learn(flow)
        self._origins.clear()

    def moved(self, flows: Iterable[Flow]) -> None:
        """An address of ours is gone; *flows* still lead to hops of the account."""
        self.home.leave()
        for flow in flows:
            self.home.learn(flow)
        self._origins.clear()

    def origin(self, flow: Flow) -> Origin:
        """Who is at the other end of *flow*, judged once per flow."""
        known = self._origins.get(flow.id)
        if known is not None and known[0] is flow:
            return known[1]
        origin = self.home.judge(flow)
        if len(self._origins) >= 64:
            self._origins.clear()
        self._origins[flow.id] = (flow, origin)
        return origin
