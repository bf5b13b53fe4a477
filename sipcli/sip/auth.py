"""Client authentication: a challenge comes in, a token goes out, somebody answers it - later, once, or never.

RFC 3261 section 22, RFC 7616, RFC 8760, RFC 8898.  Sans-IO: no socket, no
thread, no clock but the one injected.  The walk of a 401::

    challenge(exchange, response)
        not the account's own server          -> GiveUp      nobody is asked, nothing is parsed
        nothing that policy lets us answer    -> GiveUp
        the same secret will do (stale, late) -> Retry       nobody is asked
        a secret is wanted, and we may wait   -> Pending     AuthChallenged tells who must decide:
                                                             send_request | abandon | decline
        a secret is wanted, and we may not    -> Retry       the configured credentials, or GiveUp

    authorize(exchange, request)              at every sending: the one door through which credentials leave

A token is LIVE or SPENT.  Every verb spends first and acts second, so that no
error and no re-entry can use one twice.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from sipcli.credentials import Credentials, DigestInput, SignedCredentials, SigningCredentials
from sipcli.errors import LocalProtocolError, TokenSpent
from sipcli.sip.authn.authorizer import NEVER, Authorizer
from sipcli.sip.authn.challenge import Challenge, Skipped, parse_challenges
from sipcli.sip.authn.decision import (
    AuthAccepted,
    AuthChallenged,
    AuthEvent,
    AuthForbidden,
    AuthRejected,
    AuthRepeated,
    AuthSettled,
    AuthUnanswerable,
    Challenged,
    ChallengeToken,
    Outcome,
    Pending,
    Plan,
    PolicyWarning,
    Retry,
    Settlement,
    Used,
)
from sipcli.sip.authn.origin import Origin
from sipcli.sip.authn.pins import Pins
from sipcli.sip.authn.policy import AuthPolicy, GiveUp, shows_acceptance
from sipcli.sip.authn.proof import Proof
from sipcli.sip.authn.realm import Answers, Meaning, RealmState, choose_for, keep_in_step, pick_all, shown, state_of
from sipcli.sip.authn.verdicts import Verdicts

if TYPE_CHECKING:
    from sipcli.sip.syntax.message import Request, Response

__all__ = [
    "AuthAccepted",
    "AuthChallenged",
    "AuthEvent",
    "AuthForbidden",
    "AuthPolicy",
    "AuthRejected",
    "AuthRepeated",
    "AuthSession",
    "AuthSettled",
    "AuthUnanswerable",
    "Challenge",
    "ChallengeToken",
    "Challenged",
    "GiveUp",
    "Origin",
    "Outcome",
    "Pending",
    "Plan",
    "PolicyWarning",
    "RealmState",
    "Retry",
    "Skipped",
]

_DEFAULT_POLICY = AuthPolicy()
_RETRY = Retry()

_MAX_WARNED = 64


class AuthSession:
    """One account's client authentication, shared by all its usages (the ``use_shared_auth`` of PJSIP).

    :meth:`private` makes one for a single call or request.

    *asynchronous*: challenges become tokens and ``AuthChallenged`` events;
    otherwise the configured *credentials* answer at once.  *random* gives n
    random octets.  *clock* gives seconds, and *emit* takes events; an engine sets
    both.  ``emit`` must queue: the exchange does not wait yet when it is called.
    """

    _ids: ClassVar[Iterator[int]] = itertools.count(1)  # unique in the process, for logs and --json

    def __init__(
        self,
        credentials: Iterable[Credentials] = (),
        *,
        asynchronous: bool = False,
        policy: AuthPolicy = _DEFAULT_POLICY,
        random: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.asynchronous = asynchronous
        self.policy = policy
        self.clock: Callable[[], float] = clock if clock is not None else lambda: 0.0
        self.emit: Callable[[AuthEvent], None] = lambda event: None
        self._credentials = tuple(credentials)
        self._pending: dict[int, ChallengeToken] = {}  # by id(exchange), which the token keeps alive
        self._authorizer = Authorizer(random)
        self._verdicts = Verdicts(self._authorizer.proofs)
        self.pins = Pins()
        """What its servers accepted before; the shell may keep a snapshot across restarts."""
        self._warned: dict[tuple[str, str], None] = {}

    def private(self) -> AuthSession:
        """One for a single call or request: it takes no accepted nonce along from others, and leaves them none.

        It begins with our credentials.  Pins stay common, for what guards against a downgrade must
        not be forgotten, and so does what is known to be good; so do nonce counts, for a server may
        give the same nonce to both (docs/decisions/0061-private-auth-sessions.md).
        """
        private = AuthSession(self._credentials, asynchronous=self.asynchronous, policy=self.policy, clock=self.clock)
        private.emit = self.emit
        private.pins, private._warned = self.pins, self._warned
        private._authorizer = self._authorizer.private()
        private._verdicts = self._verdicts.private(private._authorizer.proofs)
        return private

    @property
    def pending(self) -> tuple[ChallengeToken, ...]:
        """The live tokens, oldest first."""
        return tuple(self._pending.values())

    @property
    def credentials(self) -> tuple[Credentials, ...]:
        """The account's own: they answer where nobody else does."""
        return self._credentials

    def set_credentials(self, credentials: Iterable[Credentials]) -> None:
        """Replace the account's own, all of them.  Pending tokens and accepted nonces stay as they are."""
        self._credentials = tuple(credentials)

    def is_registered(self, realm: str, credentials: Credentials) -> bool:
        """Did the registrar take this user name and secret?  Then a no to anything but a REGISTER blames neither."""
        return self._verdicts.is_registered(realm, credentials)

    # -- by the exchange -------------------------------------------------------------------------

    def challenge(self, exchange: Challenged, response: Response) -> Outcome:
        """A 401 or 407 came back: try again, wait for a decision, or give up?"""
        self.revoke(exchange)  # a second challenge, while one is pending, replaces it
        if exchange.method in NEVER:
            return GiveUp.NO_CHALLENGE
        if not exchange.origin.bound:
            return self._unanswerable(exchange, response, GiveUp.FOREIGN_ORIGIN)
        parsed, unusable = parse_challenges(response)
        states, origin = exchange.realms.values(), exchange.origin
        may_ask, method = self.asynchronous, exchange.method
        choice = choose_for(states, parsed, origin, self.policy, self.pins, method, may_ask=may_ask)
        skipped = unusable + choice.skipped
        for code, words in choice.warnings:
            self._warn(exchange.account, code, words)
        if not choice.usable:
            why = choice.why if parsed or unusable else GiveUp.NO_CHALLENGE
            return self._unanswerable(exchange, response, why, skipped)
        doors = self._hear(exchange, choice.usable, response.status)
        if isinstance(doors, GiveUp):
            return doors
        undecided = tuple(state for state in doors if state.proof is None)
        if not undecided:
            again = tuple(state.proof.challenge for state in doors if state.proof is not None)
            self.emit(AuthRepeated(self, self._next_id(), exchange, response, again))
            return _RETRY
        if not self.asynchronous:
            return self._answer_ourselves(exchange, undecided)
        expires_at = self.clock() + self.policy.token_ceiling
        token = ChallengeToken.of(self._next_id(), exchange, response, undecided, skipped, expires_at)
        self._pending[id(exchange)] = token
        self.emit(AuthChallenged(self, token))
        return Pending(token)

    def _next_id(self) -> str:
        return f"c{next(self._ids)}"

    def _unanswerable(
        self, exchange: Challenged, response: Response, why: GiveUp, skipped: tuple[Skipped, ...] = ()
    ) -> GiveUp:
        self.emit(AuthUnanswerable(self, self._next_id(), exchange, response, why, skipped))
        return why

    def authorize(self, exchange: Challenged, request: Request) -> Request:
        """*request* with its credentials: those of this exchange, and accepted ones that the server will want again.

        Called at every sending, when CSeq, Request-URI and body are final: nonce
        count and cnonce are taken now, not when the challenge came.
        """
        return self._authorizer.authorize(exchange, request, self.clock(), self.policy, self.pins)

    def accepted(self, exchange: Challenged, response: Response) -> None:
        """A final response that is neither 401 nor 407 came: keep what it shows to be good.

        Statuses that say nothing about a secret (5xx, 408, 487...) change nothing.
        """
        if not shows_acceptance(response.status):
            return
        used, impostor = self._verdicts.accepted(exchange, response, self.clock(), self.policy, self.pins)
        if impostor is not None:
            words = f"{exchange.origin} could not prove that it knows the secret of realm {impostor.realm!r}"
            self._warn(exchange.account, "rspauth", words)
        elif used:
            self.emit(AuthAccepted(self, exchange.account, used, exchange))

    def passed(self, exchange: Challenged) -> None:
        """It rings: who asked let the request through, and may ask again in that call, its PRACK to begin with."""
        for state, proof in shown(exchange.realms.values(), exchange.origin):
            self.pins.admit(proof.challenge, exchange.origin, exchange.method)
            if state.sent is not None:
                state.sent = state.sent._replace(passed=True)

    def refused(self, exchange: Challenged, response: Response) -> GiveUp | None:
        """403 came back for credentials: None if they are good, and it is the request that is forbidden.

        To a REGISTER, which asks for nothing but to be let in, it says that what is not
        known to be good is wrong; to any other request that this is, or that nobody gets
        there (docs/decisions/0032-what-403-means.md).
        """
        used, cleared = self._verdicts.doubt(exchange)
        if used and exchange.method == "REGISTER":
            self._reject(exchange, used, response.status)
        elif used or cleared:
            self.emit(AuthForbidden(self, exchange.account, used, exchange))
        return None if cleared else GiveUp.REFUSED

    def revoke(self, exchange: Challenged) -> None:
        """The exchange ended first (hang-up, close): its token dies with it, and the exchange is told nothing."""
        token = self._pending.get(id(exchange))
        if token is not None:
            self._spend(token, "revoked")
            self._settled(token)

    # -- by whoever holds the token, on the loop's thread ------------------------------------------

    def reinit_request(self, token: ChallengeToken, credentials: Iterable[Credentials] = ()) -> Plan | None:
        """What would be sent: one answer for every realm, or None if one is missing.  Changes nothing.

        *credentials* serve this token's exchange only; none given: the account's
        own.  What this exchange saw refused is not used again.
        """
        answers = pick_all(token.doors, tuple(credentials) or self._credentials, self.policy)
        return None if isinstance(answers, GiveUp) else Plan(token, answers)

    def why_no_plan(self, token: ChallengeToken, credentials: Iterable[Credentials] = ()) -> GiveUp | None:
        """Why :meth:`reinit_request` gives None: NO_CREDENTIALS, AT_ODDS, or REFUSED if what we have was before."""
        answers = pick_all(token.doors, tuple(credentials) or self._credentials, self.policy)
        return answers if isinstance(answers, GiveUp) else None

    def digest_inputs(self, token: ChallengeToken, key: SigningCredentials) -> tuple[DigestInput, ...]:
        """What *key* must sign to answer *token*, one for each door that it serves; none where it was refused.

        Reserves a nonce count and a cnonce each, so ask once for each answer.  What
        was signed goes into :meth:`reinit_request` as :class:`~sipcli.credentials.SignedCredentials`.
        """
        return self._authorizer.digest_inputs(token.request, token.doors, key, self.policy)

    def send_request(self, token: ChallengeToken, plan: Plan) -> None:
        """Answer: the exchange sends its request again, with *plan*.  Raises TokenSpent the second time."""
        if plan.token is not token:
            raise LocalProtocolError("this plan was made for another token")
        self._spend(token, "answered")
        self._carry_out(token.exchange, plan.answers)
        self._settled(token)
        token.exchange.resume()

    def abandon(self, token: ChallengeToken, why: GiveUp = GiveUp.ABANDONED) -> None:
        """There will be no answer: the exchange fails with *why*.  Raises TokenSpent the second time."""
        self._spend(token, "expired" if why is GiveUp.DEADLINE else "abandoned")
        self._settled(token)
        token.exchange.give_up(why)

    def decline(self, token: ChallengeToken) -> None:
        """Nobody wants to decide: the account's own credentials answer, as without *asynchronous*."""
        self._spend(token, "declined")
        outcome = self._answer_ourselves(token.exchange, token.doors)
        self._settled(token)
        if isinstance(outcome, GiveUp):
            token.exchange.give_up(outcome)
        else:
            token.exchange.resume()

    # -- by the engine -----------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When :meth:`expire` next has work to do."""
        return min((token.expires_at for token in self._pending.values()), default=None)

    def expire(self, now: float) -> None:
        """End every token whose ceiling is reached."""
        for token in self.pending:
            if token.live and token.expires_at <= now:
                self.abandon(token, GiveUp.DEADLINE)

    def close(self) -> None:
        """Abandon what is pending; wipe the secrets we hold.  Give each session Secrets of its own."""
        for token in self.pending:
            if token.live:
                self.abandon(token)
        self._authorizer.proofs.clear()
        self._verdicts.clear()
        for credentials in self._credentials:
            credentials.secret.wipe()
        self._credentials = ()

    # -- private: hearing --------------------------------------------------------------------------

    def _hear(self, exchange: Challenged, usable: Sequence[Challenge], status: int) -> tuple[RealmState, ...] | GiveUp:
        """Let each realm take in what it is asked; the states heard, in the server's order."""
        offers: dict[RealmState, list[Challenge]] = {}
        for challenge in usable:
            offers.setdefault(state_of(exchange.realms, challenge, exchange.origin), []).append(challenge)
        now = self.clock()
        refused: list[tuple[str, Credentials]] = []
        end: GiveUp | None = None
        for state, offered in offers.items():
            before = state.credentials
            meaning = state.hear(offered, exchange.origin, now, self.policy)
            end = end or meaning.end
            if meaning is Meaning.REFUSED and before is not None:
                refused.append((state.realm, before))
        if self.policy.pin_algorithm:
            keep_in_step(tuple(offers), now)
        self._reject(exchange, tuple(refused), status)
        if end is not None:
            return end
        too_often = any(state.attempt > self.policy.attempts_for(state.offers[0]) for state in offers)
        if too_often or len(exchange.realms) > self.policy.max_realms:
            return GiveUp.TOO_MANY_ATTEMPTS
        return tuple(offers)

    def _reject(self, exchange: Challenged, used: Used, status: int) -> None:
        self._verdicts.refused(used, exchange.method)
        if used:
            self.emit(AuthRejected(self, exchange.account, used, status, exchange))

    # -- private: answering ------------------------------------------------------------------------

    def _spend(self, token: ChallengeToken, outcome: Settlement) -> None:
        """The one place where a token dies.  Raises TokenSpent if it is dead."""
        if token.outcome is not None:
            raise TokenSpent(token.outcome)
        token.outcome = outcome
        del self._pending[id(token.exchange)]

    def _settled(self, token: ChallengeToken) -> None:
        first = token.doors[0].challenge
        assert first is not None and token.outcome is not None  # a token is about challenges, and was just spent
        self.emit(AuthSettled(self, token, token.outcome, token.cause, first.scheme, first.algorithm))

    def _answer_ourselves(self, exchange: Challenged, doors: Sequence[RealmState]) -> Retry | GiveUp:
        answers = pick_all(doors, self._credentials, self.policy)
        if isinstance(answers, GiveUp):
            return answers
        self._carry_out(exchange, answers)
        return _RETRY

    def _carry_out(self, exchange: Challenged, answers: Answers) -> None:
        now = self.clock()
        for state, challenge, credentials in answers:
            lease = credentials.expires_in
            state.proof = Proof(challenge, credentials, now, None if lease is None else now + lease)
            if isinstance(credentials, SignedCredentials) and credentials.signature.auts is not None:
                state.resyncs += 1
            in_clear = challenge.algorithm.startswith("MD5") and not exchange.origin.secure
            if in_clear and self.policy.md5_over_udp == "warn":
                words = f"realm {challenge.realm!r} asks for MD5 without TLS: whoever listens can try passwords at home"
                self._warn(exchange.account, "md5-in-clear", words, once=challenge.realm)

    def _warn(self, account: str, code: str, message: str, *, once: str | None = None) -> None:
        if once is not None:
            if (code, once) in self._warned:
                return
            self._warned[(code, once)] = None
            if len(self._warned) > _MAX_WARNED:
                del self._warned[next(iter(self._warned))]
        self.emit(PolicyWarning(account, code, message))
