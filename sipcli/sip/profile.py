"""Who we are (an account) and how the core behaves (its settings): frozen values, given once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from sipcli.sip.flow import Transport
from sipcli.sip.syntax.letterbody import MESSAGE_TYPES
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.transactions.timers import TimerValues

__all__ = ["AccountProfile", "EngineConfig", "Reliability"]

Reliability: TypeAlias = Literal["off", "supported", "required"]
"""Of provisional responses (RFC 3262): ``supported`` with whoever can; ``required``: no call with anybody else."""


class AccountProfile(NamedTuple):
    """One address-of-record and the way to its registrar.

    *contact_user* is the user part of our Contact; make it random per run, so
    that a stranger who scans addresses cannot call it (Asterisk calls this the
    ``line`` parameter).  *transport* is what the account wants where a URI
    leaves it open.  *expires* is in seconds.  *shared_auth*: calls and requests
    share the account's AuthSession; otherwise each has one of its own.
    *instance* is who we are among the account's devices, a URN that stays the
    same when we come back (RFC 5626 section 4.1); without one neither *outbound*
    (``auto``: where the registrar and its proxies can) nor *gruu* is asked for.
    *register_headers* go into each REGISTER, beside its own.
    """

    name: str
    aor: SipUri
    registrar: SipUri
    contact_user: str
    proxy: SipUri | None = None
    display_name: str = ""
    expires: int = 600
    transport: Transport | None = None
    shared_auth: bool = True
    instance: str = ""
    outbound: Literal["auto", "on", "off"] = "auto"
    gruu: bool = False
    reliable: Reliability = "supported"
    register_headers: tuple[tuple[str, str], ...] = ()


class EngineConfig(NamedTuple):
    """Settings of one :class:`~sipcli.sip.engine.Engine`.

    *accept_calls* says whose INVITE and MESSAGE are looked at: ``bound`` takes
    those that came from an account's registrar or proxy, or that name a random
    contact user of ours; ``any`` takes all (a listener without a registrar, the
    sandbox); ``none`` takes none.  What is not taken is dropped in silence: a
    scanner learns nothing.

    Durations are in seconds.  *ring_limit* ends a call that rings for ever,
    *flow_limit* a wish for a flow that nobody grants, *answer_limit* an offer
    inside a call that nobody answers.
    """

    user_agent: str = "sipcli"
    timers: TimerValues = TimerValues()
    random: Callable[[int], bytes] = os.urandom
    allow: tuple[str, ...] = (
        *("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "MESSAGE", "INFO", "UPDATE"),
        *("NOTIFY", "SUBSCRIBE", "REFER", "PRACK"),
    )
    accept: tuple[str, ...] = ("application/sdp", *MESSAGE_TYPES, "application/dtmf-relay", "application/dtmf")
    supported: tuple[str, ...] = ("timer", "replaces", "norefersub", "100rel")
    accept_calls: Literal["bound", "any", "none"] = "bound"
    ring_limit: float = 300.0
    flow_limit: float = 64.0
    answer_limit: float = 20.0
    max_sends: int = 16
    """Requests one exchange may put on the wire, whatever servers say (threat T04)."""

    @property
    def allow_header(self) -> tuple[str, str]:
        """The methods that we take, as every request and answer of ours says it (RFC 3261 section 20.5)."""
        return "Allow", ", ".join(self.allow)
