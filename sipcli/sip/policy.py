"""What an account is willing to answer: the policy, the pins, and the choice among a server's challenges.

RFC 8760 section 2.4: the topmost challenge that we support wins, "unless a
local policy dictates otherwise"; what we do not understand is ignored.  This
room is that local policy.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from sipcli.sip.challenge import AKA, Challenge, Skipped
from sipcli.sip.origin import Origin

__all__ = ["RELAYED", "AuthPolicy", "GiveUp", "Pins", "choose", "shows_acceptance"]

_STRENGTH = {"MD5": 1, "SHA-256": 2, "SHA-512-256": 3, "AKAv1-MD5": 4, "AKAv2-MD5": 5}
"""RFC 7616 section 3.7 and the hashes' own standing; only the order counts.

AKA's passwords serve once and the server proves itself, so no list of words helps
against them; its second version binds them to their use (RFC 4169 section 1).
"""


MAX_PINS = 256
"""Realms, and doors, of one account."""
K = TypeVar("K")
V = TypeVar("V")

RELAYED = "it came through our server from the other end of the call"

_Door: TypeAlias = tuple[tuple[str, int, str | None], str, bool]
"""A server, a realm, and whether it is asked for as a proxy (407) or not (401)."""


class GiveUp(enum.Enum):
    """Why an exchange ends without the answer it was asked for."""

    NO_CREDENTIALS = "nobody has credentials for this realm"
    TOO_MANY_ATTEMPTS = "the server refused too many answers"
    UNSUPPORTED = "the server offers no scheme or algorithm that we may use"
    FOREIGN_ORIGIN = "the challenge came from a server that is not the account's own"
    ABANDONED = "the challenge was abandoned"
    LOST = "the challenge was dropped without an answer"
    DEADLINE = "nobody answered the challenge in time"
    REFUSED = "the server refused the only credentials there are"
    NO_CHALLENGE = "the server wants credentials and does not say which"
    STALE_LOOP = "the server calls every nonce stale"
    DOWNGRADE = "the server offers less protection than it did before"
    PERSON = "a person is awaited"
    SIGN_IN = "nobody signed in in time"


# Final responses that only somebody who was let in gets to see, besides 2xx and 3xx.
_ACCEPTING = frozenset((404, 410, 423, 480, 484, 485, 486, 488, 491, 600, 603, 604, 606))


def shows_acceptance(status: int) -> bool:
    """Does this final response mean that the credentials were good?  5xx, 408, 481, 487 say nothing either way."""
    return 200 <= status < 400 or status in _ACCEPTING


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthPolicy:
    """How far we go.  Times are in seconds, *realms* are compared exactly.

    ============== ================================================================================
    max_attempts   distinct secrets per realm and exchange (RFC 3261 section 22.1)
    max_stale      ``stale=true`` in a row, answered with the same secret
    max_realms     realms one exchange may be asked for: each would be a fresh start for a bad server
    schemes        ``digest`` and ``bearer``, less what this account never answers with
    algorithms     the hashes we accept, ``-sess`` included; drop MD5 to refuse it, and name AKA's
                   where a signing key answers them
    min_qop        refuse a digest challenge that offers less (threat T06)
    realms         the account's realms; None: any, from its own servers
    proxy_realms   the configured outbound proxy's own realms: only for these may a proxy's nonce
                   serve another dialog (RFC 3261 section 22.3)
    token_ceiling  no challenge waits longer, whoever forgot it
    late_answer    an answer that left this long after its challenge was late, not wrong: see the
                   decision on changed nonces without ``stale``
    md5_over_udp   MD5 where nothing encrypts: answer, warn once, or refuse
    pin_algorithm  what a realm once accepted is the least it may ask for later (threat T05)
    ============== ================================================================================
    """

    max_attempts: int = 3
    max_stale: int = 3
    max_realms: int = 8
    schemes: tuple[str, ...] = ("digest", "bearer")
    algorithms: tuple[str, ...] = ("SHA-512-256", "SHA-256", "MD5")
    min_qop: Literal["none", "auth", "auth-int"] = "none"
    realms: frozenset[str] | None = None
    proxy_realms: frozenset[str] = frozenset()
    token_ceiling: float = 180.0
    late_answer: float = 20.0
    md5_over_udp: Literal["warn", "allow", "refuse"] = "warn"
    pin_algorithm: bool = True

    def attempts_for(self, challenge: Challenge) -> int:
        """A refused token is refreshed once: a new one is not a new guess (RFC 8898 section 2.1.1)."""
        return min(2, self.max_attempts) if challenge.scheme == "bearer" else self.max_attempts


@dataclass(slots=True)
class Pins:
    """What one account's servers have accepted before.

    The protection of each realm: less is a downgrade (threats T05, T06).  And
    which server asks for which realm, at which door, when we call: what comes
    through it from inside a call must be one of these (threat T01).
    """

    _strength: dict[str, int] = field(default_factory=dict)
    _qop: dict[str, None] = field(default_factory=dict)
    _doors: dict[_Door, None] = field(default_factory=dict)

    def learn(self, challenge: Challenge, origin: Origin, method: str) -> None:
        """*challenge* to a request of *method* was answered, and the account's own server took the answer."""
        if not origin.relays and method != "REGISTER":
            _note(self._doors, (origin.server, challenge.realm, challenge.proxy), None)
        if challenge.scheme == "digest":
            strongest = max(_strength(challenge), self._strength.get(challenge.realm, 0))
            _note(self._strength, challenge.realm, strongest)
            if challenge.qop:
                _note(self._qop, challenge.realm, None)

    def knows(self, challenge: Challenge, origin: Origin) -> bool:
        """Has *origin* itself asked this when we called, and taken the answer?"""
        return (origin.server, challenge.realm, challenge.proxy) in self._doors

    def objection(self, challenge: Challenge) -> str:
        """Why *challenge* is less than what its realm accepted before; empty if it is not."""
        if _strength(challenge) < self._strength.get(challenge.realm, 0):
            return "weaker than the algorithm this realm accepted before"
        if not challenge.qop and challenge.realm in self._qop:
            return "this realm sent a qop before"
        return ""


def _note(store: dict[K, V], key: K, value: V) -> None:
    """Keep the latest: a server that invents a realm per challenge must not make us grow (threat T04)."""
    store.pop(key, None)
    store[key] = value
    if len(store) > MAX_PINS:
        del store[next(iter(store))]


def choose(
    challenges: Iterable[Challenge], origin: Origin, policy: AuthPolicy, pins: Pins
) -> tuple[tuple[Challenge, ...], tuple[Skipped, ...], str]:
    """Sort *challenges* into those we may answer (in the server's order) and those we may not.

    The third value says in what a pin stood in the way of one - an attack, or a
    server that was set back - and is empty if none did.
    """
    usable: list[Challenge] = []
    skipped: list[Skipped] = []
    downgrade = ""
    for challenge in challenges:
        why = _objection(challenge, origin, policy)
        if not why and origin.relays and not pins.knows(challenge, origin):
            why = RELAYED
        if not why and policy.pin_algorithm and challenge.scheme == "digest":
            why = pins.objection(challenge)
            downgrade = why or downgrade
        if why:
            skipped.append(Skipped(challenge.scheme, challenge.realm, challenge.algorithm, why))
        else:
            usable.append(challenge)
    return tuple(usable), tuple(skipped), downgrade


def _objection(challenge: Challenge, origin: Origin, policy: AuthPolicy) -> str:
    """Why policy forbids an answer; empty if it does not."""
    if policy.realms is not None and challenge.realm not in policy.realms:
        return "not one of the account's realms"
    if challenge.scheme not in policy.schemes:
        return "scheme not allowed by policy"
    if challenge.scheme == "bearer":
        # Whoever reads a bearer token has it: RFC 8898 section 2.1.2.  No setting overrides this.
        return "" if origin.secure else "a token is sent over verified TLS only"
    algorithm = challenge.algorithm.removesuffix("-sess")
    if algorithm not in policy.algorithms:
        return "no SIM of this account signs it" if algorithm in AKA else "algorithm not allowed by policy"
    if algorithm == "MD5" and policy.md5_over_udp == "refuse" and not origin.secure:
        return "MD5 without TLS is refused by policy"
    if policy.min_qop == "auth-int" and "auth-int" not in challenge.qop:
        return "no integrity protection"
    if policy.min_qop == "auth" and not challenge.qop:
        return "no qop"
    return ""


def _strength(challenge: Challenge) -> int:
    return _STRENGTH.get(challenge.algorithm.removesuffix("-sess"), 0)
