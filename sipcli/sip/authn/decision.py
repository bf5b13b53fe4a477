"""What the authentication machine and those around it say to each other: exchanges, tokens, plans, events.

Down go verbs (``reinit_request``, ``send_request``, ``abandon``, ``decline``);
up come events.  A token is the right to decide one challenge; it is LIVE or
SPENT, and it is spent once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from sipcli.credentials import Credentials
from sipcli.sip.authn.challenge import Challenge, Skipped
from sipcli.sip.authn.origin import Origin
from sipcli.sip.authn.policy import GiveUp
from sipcli.sip.authn.realm import Answers, RealmState

if TYPE_CHECKING:
    from sipcli.sip.auth import AuthSession
    from sipcli.sip.syntax.message import Request, Response

__all__ = [
    "AuthAccepted",
    "AuthChallenged",
    "AuthEvent",
    "AuthForbidden",
    "AuthRejected",
    "AuthRepeated",
    "AuthSettled",
    "AuthUnanswerable",
    "Cause",
    "ChallengeToken",
    "Challenged",
    "Outcome",
    "Pending",
    "Plan",
    "PolicyWarning",
    "Retry",
    "Settlement",
    "Used",
]

Cause: TypeAlias = Literal["fresh", "stale", "refused"]
"""Why somebody must decide: a first challenge, a stale one whose secret is gone, or a refused secret."""

Settlement: TypeAlias = Literal["answered", "abandoned", "declined", "expired", "revoked"]

Used: TypeAlias = tuple[tuple[str, Credentials], ...]
"""Realms, and the very credentials that were sent for them."""


class Challenged(Protocol):
    """What an :class:`~sipcli.sip.auth.AuthSession` knows of an exchange: one request and its retries."""

    @property
    def account(self) -> str:
        """The account's name."""
        ...

    @property
    def method(self) -> str: ...

    @property
    def call_id(self) -> str: ...

    @property
    def interactive(self) -> bool:
        """False at tear-down and in the background: a person must not be asked."""
        ...

    @property
    def realms(self) -> dict[str, RealmState]:
        """Kept here for the session, which alone writes to it."""
        ...

    @property
    def request(self) -> Request:
        """As last sent."""
        ...

    @property
    def origin(self) -> Origin:
        """Whom it was last sent to, or is about to be sent to."""
        ...

    def resume(self) -> None:
        """Build the next attempt - new CSeq, Via and branch -, have it authorised, and send it."""

    def give_up(self, why: GiveUp) -> None:
        """There will be no next attempt."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class ChallengeToken:
    """The right to decide one challenge, once.

    *challenges* holds one per realm: the topmost that policy lets us answer.
    What else the server would take for that realm is in ``realms[realm].offers``.
    *expires_at* is on the session's clock; no token outlives it.
    """

    id: str
    exchange: Challenged
    request: Request
    response: Response
    challenges: tuple[Challenge, ...]
    realms: Mapping[str, RealmState]
    skipped: tuple[Skipped, ...]
    expires_at: float
    cause: Cause
    doors: tuple[RealmState, ...] = field(repr=False)
    """Every state to be answered; more than ``realms`` only if one realm asks at both doors."""
    outcome: Settlement | None = None
    """How it was spent; None while it lives."""

    @classmethod
    def of(
        cls,
        name: str,
        exchange: Challenged,
        response: Response,
        doors: tuple[RealmState, ...],
        skipped: tuple[Skipped, ...],
        expires_at: float,
    ) -> ChallengeToken:
        """The token for *doors*, each of which has heard its challenge and waits for an answer."""
        realms: dict[str, RealmState] = {}
        for state in doors:
            realms.setdefault(state.realm, state)
        cause: Cause = "fresh"
        if any(state.rejected for state in doors):
            cause = "refused"
        elif any(challenge.stale for state in doors for challenge in state.offers):
            cause = "stale"
        challenges = tuple(state.offers[0] for state in realms.values())
        shown = MappingProxyType(realms)
        return cls(name, exchange, exchange.request, response, challenges, shown, skipped, expires_at, cause, doors)

    @property
    def live(self) -> bool:
        """It can still be decided."""
        return self.outcome is None


class Plan(NamedTuple):
    """What *token* will be answered with.  Making one changes nothing; :meth:`send_request` carries it out."""

    token: ChallengeToken
    answers: Answers

    @property
    def used(self) -> Used:
        return tuple((state.realm, credentials) for state, _, credentials in self.answers)


# -- what AuthSession.challenge() returns ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Retry:
    """Nobody need be asked: call ``exchange.resume()``."""


class Pending(NamedTuple):
    """Somebody must decide *token*; the exchange waits, with no transaction of its own."""

    token: ChallengeToken


Outcome: TypeAlias = Retry | Pending | GiveUp


# -- events ----------------------------------------------------------------------------------------


class AuthChallenged(NamedTuple):
    """Somebody above must decide *token*."""

    session: AuthSession
    token: ChallengeToken

    @property
    def account(self) -> str:
        return self.token.exchange.account


class AuthRepeated(NamedTuple):
    """Nobody was asked: the same secret goes out again for a fresh nonce (``stale=true``, or ours was late)."""

    session: AuthSession
    id: str
    exchange: Challenged
    response: Response
    challenges: tuple[Challenge, ...]

    @property
    def account(self) -> str:
        return self.exchange.account


class AuthUnanswerable(NamedTuple):
    """Nobody may even be asked: *why*, and what was *skipped* of what the server offered."""

    session: AuthSession
    id: str
    exchange: Challenged
    response: Response
    why: GiveUp
    skipped: tuple[Skipped, ...]

    @property
    def account(self) -> str:
        return self.exchange.account


class AuthAccepted(NamedTuple):
    """The account's own server took these credentials for the first time with this nonce: they are good."""

    session: AuthSession
    account: str
    used: Used
    exchange: Challenged


class AuthRejected(NamedTuple):
    """These credentials are wrong: a challenge without ``stale`` came back, or 403 to a REGISTER."""

    session: AuthSession
    account: str
    used: Used
    status: int
    exchange: Challenged


class AuthForbidden(NamedTuple):
    """403 came back for credentials.  *used* are those that nobody has taken yet: they, or the request, are to blame.

    Empty: the account's servers took them all before, or it rang, so it is the request.
    """

    session: AuthSession
    account: str
    used: Used
    exchange: Challenged


class AuthSettled(NamedTuple):
    """A token was spent.  *scheme* and *algorithm* are those of its first challenge, as answered."""

    session: AuthSession
    token: ChallengeToken
    outcome: Settlement
    cause: Cause
    scheme: str
    algorithm: str


class PolicyWarning(NamedTuple):
    """Something a person should know: ``md5-in-clear``, ``downgrade``, ``rspauth``."""

    account: str
    code: str
    message: str


AuthEvent: TypeAlias = (
    AuthChallenged
    | AuthRepeated
    | AuthUnanswerable
    | AuthAccepted
    | AuthRejected
    | AuthForbidden
    | AuthSettled
    | PolicyWarning
)
