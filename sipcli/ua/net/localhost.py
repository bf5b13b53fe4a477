"""Which of our addresses a peer should send its audio to, before any request has gone out."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from sipcli.sip.syntax.uri import SipUri

if TYPE_CHECKING:
    from sipcli.ua.account import Account
    from sipcli.ua.agent import UserAgent

__all__ = ["local_host"]


async def local_host(agent: UserAgent, account: Account | None, target: SipUri) -> str:
    """The source address of packets to whatever the INVITE goes to first; no packet is sent.

    A registered account knows it from its REGISTER.  Raises ResolveError.
    """
    if account is not None and (known := account.local_address) is not None:
        return known
    hop, _ = agent.engine.way_to(None if account is None else account.name, target)
    for candidate in await agent.endpoint.resolve(hop):
        source = source_towards(candidate.host, candidate.port)
        if source is not None:
            return source
    return "127.0.0.1"


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
