"""What an account is willing to answer: the policy, and the choice among a server's challenges.

RFC 8760 section 2.4: the topmost challenge that we support wins, "unless a
local policy dictates otherwise"; what we do not understand is ignored.  This
room is that local policy.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from sipcli.sip.authn.challenge import AKA, Challenge, Skipped
from sipcli.sip.authn.origin import Origin
from sipcli.sip.authn.pins import Pins, weaker

__all__ = [
    "AuthPolicy",
    "Choice",
    "GiveUp",
    "Md5OverUdp",
    "MinQop",
    "Pins",
    "RealmChange",
    "choose",
    "ends_here",
    "new_realm",
    "shows_acceptance",
]


MinQop: TypeAlias = Literal["none", "auth", "auth-int"]
RealmChange: TypeAlias = Literal["refuse", "ask", "allow"]
Md5OverUdp: TypeAlias = Literal["warn", "allow", "refuse"]


class GiveUp(enum.Enum):
    """Why an exchange ends without the answer it was asked for."""

    NO_CREDENTIALS = "nobody has credentials for this realm"
    TOO_MANY_ATTEMPTS = "the server refused too many answers"
    UNSUPPORTED = "the server offers no scheme or algorithm that we may use"
    FOREIGN_ORIGIN = "whoever asked is not the account's own server, or may be the other end of a call"
    ABANDONED = "the challenge was abandoned"
    LOST = "the challenge was dropped without an answer"
    DEADLINE = "nobody answered the challenge in time"
    REFUSED = "the server refused the only credentials there are"
    NO_CHALLENGE = "the server wants credentials and does not say which"
    STALE_LOOP = "the server calls every nonce stale"
    DOWNGRADE = "the server offers less protection than it did before"
    AT_ODDS = "the server asks for one realm twice (401 and 407), with no algorithm and qop in common"
    PERSON = "a person is awaited"
    SIGN_IN = "nobody signed in in time"
    REALM = "the server asks for a realm that is not one of the account's"
    REALM_CHANGED = "the server asks for another realm than it did before"


# Final responses that only somebody who was let in gets to see, besides 2xx and 3xx.
_ACCEPTING = frozenset((404, 410, 423, 480, 484, 485, 486, 488, 491, 600, 603, 604, 606))


def shows_acceptance(status: int) -> bool:
    """Does this final response mean that the credentials were good?  5xx, 408, 481, 487 say nothing either way."""
    return 200 <= status < 400 or status in _ACCEPTING


class AuthPolicy(NamedTuple):
    """How far we go.  Times are in seconds, *realms* are compared exactly.

    ============== ================================================================================
    max_attempts   distinct secrets per realm and exchange (RFC 3261 section 22.1)
    max_stale      ``stale=true`` in a row, answered with the same secret
    max_realms     realms one exchange may be asked for: each would be a fresh start for a bad server
    schemes        ``digest`` and ``bearer``, less what this account never answers with
    prefer         schemes in our order, where a server offers several; empty: in the server's
    algorithms     the hashes we accept, ``-sess`` included; drop MD5 to refuse it, and name AKA's
                   where a signing key answers them
    min_qop        refuse a digest challenge that offers less (threat T06)
    realms         the account's realms; None: any, from its own servers
    own_realms     realms that are the account's by name, though *realms* is None: no change of realm
    realm_change   another realm than the one a server asked for before, over verified TLS (threat T02):
                   refuse, ask (whoever decides may, with a warning), or allow
    proxy_realms   the configured outbound proxy's own realms: only for these may a proxy's nonce
                   serve another dialog (RFC 3261 section 22.3)
    token_ceiling  no challenge waits longer, whoever forgot it
    late_answer    an answer that left this long after its challenge was late, not wrong: see the
                   decision on changed nonces without ``stale``
    md5_over_udp   MD5 where nothing encrypts: answer, warn once, or refuse
    pin_algorithm  what a realm once accepted, or was just answered with, is the least it may ask
                   for later, and where it asks at both doors one algorithm answers (threat T05)
    ============== ================================================================================
    """

    max_attempts: int = 3
    max_stale: int = 3
    max_realms: int = 8
    schemes: tuple[str, ...] = ("digest", "bearer")
    prefer: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ("SHA-512-256", "SHA-256", "MD5")
    min_qop: MinQop = "none"
    realms: frozenset[str] | None = None
    own_realms: frozenset[str] = frozenset()
    realm_change: RealmChange = "refuse"
    proxy_realms: frozenset[str] = frozenset()
    token_ceiling: float = 180.0
    late_answer: float = 20.0
    md5_over_udp: Md5OverUdp = "warn"
    pin_algorithm: bool = True

    def preferred(self, challenges: Sequence[Challenge]) -> Sequence[Challenge]:
        """*challenges* in our order of schemes; RFC 8760 section 2.4 lets local policy outrank the server's."""
        if not self.prefer:
            return challenges
        rank = {scheme: place for place, scheme in enumerate(self.prefer)}
        return sorted(challenges, key=lambda challenge: rank.get(challenge.scheme, len(rank)))

    @property
    def integrity(self) -> bool:
        """The body is to be covered where the server offers that (``auth-int``)."""
        return self.min_qop == "auth-int"

    def attempts_for(self, challenge: Challenge) -> int:
        """A refused token is refreshed once: a new one is not a new guess (RFC 8898 section 2.1.1)."""
        return min(2, self.max_attempts) if challenge.scheme == "bearer" else self.max_attempts


class Choice(NamedTuple):
    """A server's challenges, sorted: *usable* in its order, *skipped* each with its reason.

    *why* is what to give up with if nothing is usable; *warnings* are codes and
    sentences for a person.
    """

    usable: tuple[Challenge, ...]
    skipped: tuple[Skipped, ...]
    why: GiveUp
    warnings: tuple[tuple[str, str], ...]


# The most telling first: an attack, or a server that was set back, before what was never allowed.
_TELLING = (GiveUp.DOWNGRADE, GiveUp.REALM_CHANGED, GiveUp.REALM, GiveUp.FOREIGN_ORIGIN, GiveUp.UNSUPPORTED)


def choose(
    challenges: Iterable[Challenge],
    origin: Origin,
    policy: AuthPolicy,
    pins: Pins,
    *,
    method: str = "REGISTER",
    answered: Collection[Challenge] = (),
    may_ask: bool = True,
) -> Choice:
    """Sort *challenges* to a request of *method* into those we may answer and those we may not.

    *answered* is what the request carried answers to when these came back.  *may_ask*: somebody decides each of them.
    """
    usable: list[Challenge] = []
    refused: dict[GiveUp, str] = {}
    skipped: list[Skipped] = []
    warnings: list[tuple[str, str]] = []
    for challenge in challenges:
        before = new_realm(challenge, origin, policy, pins)
        asks = f"{origin} asks for realm {challenge.realm!r}, and asked for {' and '.join(map(repr, before))} before"
        stranger = bool(before) and not (may_ask and _asks(policy))
        found = _refusal(challenge, origin, policy, pins, method, stranger=stranger)
        if (
            found is None
            and policy.pin_algorithm
            and challenge.scheme == "digest"
            and (less := weaker(challenge, answered))
        ):
            found = GiveUp.DOWNGRADE, less
        if found is None:
            usable.append(challenge)
        else:
            skipped.append(Skipped(challenge.scheme, challenge.realm, challenge.algorithm, found[1]))
            refused.setdefault(*found)
        if before and (found is None or found[0] is GiveUp.REALM_CHANGED) and ("realm-changed", asks) not in warnings:
            warnings.append(("realm-changed", asks))
    why = next((telling for telling in _TELLING if telling in refused), GiveUp.UNSUPPORTED)
    if why is GiveUp.DOWNGRADE and not usable:
        warnings.append(("downgrade", f"{origin} asks for a digest {refused[why]}"))
    return Choice(tuple(usable), tuple(skipped), why, tuple(warnings))


def new_realm(challenge: Challenge, origin: Origin, policy: AuthPolicy, pins: Pins) -> tuple[str, ...]:
    """The realms that *origin* asked for before, if this one is new and nobody said that it is the account's."""
    listed = policy.realms is not None or challenge.realm in policy.own_realms or policy.realm_change == "allow"
    return () if listed else pins.realms_before(challenge, origin)


def ends_here(challenge: Challenge, method: str) -> bool:
    """Does what answers *challenge*, to a request of *method*, go no further than the server that asks?

    Authorization goes on to the other end of whatever is no REGISTER, and whoever reads a token has it.
    """
    return challenge.proxy or method == "REGISTER"


def _asks(policy: AuthPolicy) -> bool:
    return policy.realm_change == "ask"


def _refusal(
    challenge: Challenge, origin: Origin, policy: AuthPolicy, pins: Pins, method: str, *, stranger: bool
) -> tuple[GiveUp, str] | None:
    """Why there may be no answer, for the program and for a person; None if there may."""
    if policy.realms is not None and challenge.realm not in policy.realms:
        return GiveUp.REALM, "not one of the account's realms"
    if why := _objection(challenge, origin, policy):
        return GiveUp.UNSUPPORTED, why
    if origin.relays and not pins.knows(challenge, origin):
        return GiveUp.FOREIGN_ORIGIN, "not asked when we called, so it may come from the other end of the call"
    if challenge.scheme == "bearer" and not ends_here(challenge, method):
        return GiveUp.FOREIGN_ORIGIN, "a token for a 401 would go on to whoever is called"
    if stranger:
        return GiveUp.REALM_CHANGED, "not the realm that this server asked for before"
    if policy.pin_algorithm and challenge.scheme == "digest" and (why := pins.objection(challenge)):
        return GiveUp.DOWNGRADE, why
    return None


def _objection(challenge: Challenge, origin: Origin, policy: AuthPolicy) -> str:
    """Why the kind of *challenge* is not allowed; empty if it is."""
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
