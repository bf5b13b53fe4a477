"""Who may challenge us: the server behind a flow, and whether it is one of the account's own (RFC 3261 section 22).

The digest leak: somebody calls us, and when we hang up he answers our BYE with
407 and *our* realm.  A phone that looks at the realm alone sends him a digest
he can take home and crack.  So credentials are bound to the server that an
account's registrar or proxy led to; a challenge from anybody else is not
answered, and nobody is asked for a secret.

Nor is the address enough inside a call: a proxy that stays in the path carries
the other phone's words, and a 407 that came through it may be his
(``Dialog.standing`` says when).
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from sipcli.sip.flow import ENCRYPTED, Flow, Transport

__all__ = ["HomeGround", "Origin"]


class Origin(NamedTuple):
    """The server a request was sent to: its address, what TLS proved, and whether the account knows it.

    *host* and *port* are the flow's remote address; *identity* is the SIP domain
    that TLS verified (RFC 5922), None without TLS.  *bound* is True when the
    account's registrar, outbound proxy or their route set led there.  *relays*:
    the request goes on from there to the other end of a call, so that only what
    this server is known to ask for by itself is taken for its own challenge.
    """

    host: str
    port: int
    transport: Transport = "udp"
    identity: str | None = None
    bound: bool = False
    relays: bool = False

    @classmethod
    def of(cls, flow: Flow, *, bound: bool) -> Origin:
        host, port = flow.remote
        return cls(host, port, flow.transport, flow.verified_identity, bound)

    @property
    def server(self) -> tuple[str, int, str | None]:
        """What makes two origins the same server: UDP and TCP to one port are (a request may outgrow UDP meanwhile)."""
        return self.host, self.port, self.identity

    @property
    def secure(self) -> bool:
        """TLS with a verified peer: the only place for a Bearer token (RFC 8898 section 2.1.2)."""
        return self.transport in ENCRYPTED and self.identity is not None

    @property
    def name(self) -> str:
        """The domain that TLS verified, else address and port: nothing else is known of who is there."""
        return self.identity or self._address

    @property
    def _address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        where = f"{self.transport}:{self._address}"
        return f"{self.identity} ({where})" if self.identity else where


_NOBODY: frozenset[str] = frozenset()  # shared by all who are reached without TLS


class HomeGround:
    """The servers that one account's own hops led to; judges every other flow by them.

    Over TLS the verified identity decides, wherever the connection ends: one
    domain may have many addresses.  Elsewhere nothing but the address and port
    is known, so they decide.  An account reached over TLS is therefore never at
    home on an unencrypted flow to the same machine.
    """

    __slots__ = ("_addresses", "_identities")

    def __init__(self) -> None:
        self._addresses: tuple[tuple[str, int], ...] = ()
        self._identities: frozenset[str] = _NOBODY

    def learn(self, flow: Flow) -> None:
        """*flow* was opened for the account's registrar or proxy hop."""
        if not flow.encrypted:
            if flow.remote not in self._addresses:
                self._addresses += (flow.remote,)
        elif flow.verified_identity is not None:
            self._identities |= {flow.verified_identity.lower()}

    def leave(self) -> None:
        """We left a network: who has a private address of it elsewhere is another machine, and no server of ours."""
        self._addresses = tuple(known for known in self._addresses if ipaddress.ip_address(known[0]).is_global)

    def judge(self, flow: Flow) -> Origin:
        """The origin behind *flow*, bound only if it is one of the account's own."""
        if flow.encrypted:
            bound = flow.verified_identity is not None and flow.verified_identity.lower() in self._identities
        else:
            bound = flow.remote in self._addresses
        return Origin.of(flow, bound=bound)
