"""Which of our addresses a peer should send its audio to, before any request has gone out."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.targets import preferring

if TYPE_CHECKING:
    from sipcli.sip.flow import Hop
    from sipcli.ua.account import Account
    from sipcli.ua.agent import UserAgent

__all__ = ["local_host"]


async def local_host(agent: UserAgent, account: Account | None, target: SipUri) -> str:
    """The source address of packets to whatever the INVITE goes to first; no packet is sent.

    A registered account knows it from its REGISTER.  Raises ResolveError.
    """
    if account is not None and (known := account.local_address) is not None:
        return known
    hop = _first_hop(account, target)
    for candidate in await agent.endpoint.resolve(hop):
        source = source_towards(candidate.host, candidate.port)
        if source is not None:
            return source
    return "127.0.0.1"


def _first_hop(account: Account | None, target: SipUri) -> Hop:
    if account is None:
        return target.hop
    config = account.config
    if config.proxy is not None:
        return preferring(config.proxy.hop, config.transport)
    ours = target.host in (config.aor.host, config.registrar.host)
    return preferring((config.registrar if ours else target).hop, config.transport)


def source_towards(host: str, port: int) -> str | None:
    """The address that the routing table gives us towards *host*; None without a route."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port or 9))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return address
