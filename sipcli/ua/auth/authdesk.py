"""Where the core's events of authentication arrive: hooks are called in order, verdicts kept, the story told.

Order: the level-2 hook, then the level-3 method, then - nobody took it - the
account's configured credentials.  An exception in a hook is logged with its
traceback, and counts as "not handled".
"""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sipcli.errors import ChallengeGone
from sipcli.sip.auth import (
    AuthAccepted,
    AuthChallenged,
    AuthForbidden,
    AuthRejected,
    AuthRepeated,
    AuthSession,
    AuthSettled,
    AuthUnanswerable,
    Challenged,
    ChallengeToken,
    GiveUp,
)
from sipcli.sip.authn.challenge import Challenge, Skipped, parse_challenges
from sipcli.sip.syntax.message import Request, Response
from sipcli.ua.auth.challenge import AuthChallenge, DeferredToken, Verdict, VerdictState, labels_of
from sipcli.ua.notices import (
    AuthChallengedNotice,
    AuthDone,
    RegistrationNotice,
    SchemeOffer,
    SkippedScheme,
)

if TYPE_CHECKING:
    from sipcli.ua.account import Account
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call

__all__ = ["AuthChallengeParam", "AuthDesk", "ChallengeHook", "exchange_key", "refuse_answer", "refuse_coroutine"]

log = logging.getLogger(__name__)

MAX_REASONS = 4
"""Reasons that one sentence names."""

_ASYNC_HOOK = (
    "{name} is `async def`, but hooks are called on the loop before anything else is received, "
    "so they must return at once: call defer() in a plain function, or use @account.on_challenge for a coroutine"
)


@dataclass(eq=False, slots=True)
class AuthChallengeParam:
    """Level 2: everything about one challenge.  Set :attr:`handled`, and the decision is yours.

    *session* and *token* are for the loop's thread only: inside the hook use
    ``reinit_request`` and ``send_request`` (or ``abandon``) at once, or keep them and use them later
    within ``with agent.turn():``.  From other threads go through :meth:`defer`.
    """

    account: Account
    call: Call | None
    session: AuthSession
    token: ChallengeToken
    _verdict: Verdict = field(repr=False)
    handled: bool = False
    _deferred: weakref.ref[DeferredToken] | None = field(default=None, repr=False)

    @property
    def request(self) -> Request:
        """What was challenged.  Frozen: keep it as long as you like."""
        return self.token.request

    @property
    def response(self) -> Response:
        return self.token.response

    @property
    def challenges(self) -> tuple[Challenge, ...]:
        """The challenge to answer, one per realm."""
        return self.token.challenges

    def defer(self) -> DeferredToken:
        """Take the decision along; :attr:`handled` is set.  Asked twice, it is the same handle."""
        self.handled = True
        deferred = None if self._deferred is None else self._deferred()
        if deferred is None:
            self._verdict.disown()  # were there a handle before, and dropped, its loss would take this one along
            deferred = DeferredToken(self._verdict, self.account, self.call)
            self._deferred = weakref.ref(deferred)
        return deferred


ChallengeHook = Callable[[AuthChallengeParam], None]


def refuse_coroutine(hook: Any, name: str) -> None:
    """TypeError for a hook that is ``async def``."""
    if inspect.iscoroutinefunction(hook):
        raise TypeError(_ASYNC_HOOK.format(name=name))


@dataclass(slots=True, eq=False)
class _Open:
    """One challenge from its arrival to its end."""

    verdict: Verdict
    account: Account
    born: float
    labels: dict[str, str]


class AuthDesk:
    """Keeps the open challenges of one agent."""

    def __init__(self, agent: UserAgent, hook: ChallengeHook | None) -> None:
        if hook is not None:
            refuse_coroutine(hook, "on_auth_challenge")
        self._agent = agent
        self._hook = hook
        self._open: dict[ChallengeToken, _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def pending(self, account: Account) -> tuple[tuple[AuthSession, ChallengeToken], ...]:
        """What waits for *account*, in whichever of its sessions."""
        return tuple((entry.verdict.session, token) for token, entry in self._open.items() if entry.account is account)

    # --- a challenge comes ------------------------------------------------------------------------------------

    def on_challenged(self, event: AuthChallenged) -> None:
        token, session = event.token, event.session
        account = self._agent.find_account(token.exchange.account)
        if account is None or not token.live:
            return
        call = self._agent.call_of(token.exchange)
        verdict = Verdict(self._agent.gate, session, token)
        entry = self._open[token] = _Open(verdict, account, self._agent.gate.loop.time(), labels_of(token))
        if self._agent.has_listeners:
            self._tell_token(entry)
        if not self._level2(account, call, verdict):
            self._level3(account, call, verdict)
        if token.live and token.exchange.method == "REGISTER" and self._agent.has_listeners:
            self._agent.tell(RegistrationNotice(account=account.name, state="waiting"))

    def _level2(self, account: Account, call: Call | None, verdict: Verdict) -> bool:
        if self._hook is None:
            return False
        param = AuthChallengeParam(account, call, verdict.session, verdict.token, verdict)
        try:
            refuse_answer(self._hook(param), "on_auth_challenge")
        except Exception:
            log.exception("the on_auth_challenge hook failed; going on without it")
            verdict.disown()
            return not verdict.token.live
        return param.handled or not verdict.token.live

    def _level3(self, account: Account, call: Call | None, verdict: Verdict) -> None:
        challenge = AuthChallenge(verdict, account, call)
        handled = False
        try:
            account.hear_challenge(challenge)
            handled = challenge.handled
        except Exception:
            log.exception("on_auth_challenge of account %s failed; its configured credentials answer", account.name)
            verdict.disown()
        finally:
            challenge.close()
        if not handled and verdict.token.live:
            try:
                verdict.claim(VerdictState.DECLINED)
            except ChallengeGone:
                return  # the hook failed after handing it to a thread that was quicker
            verdict.session.decline(verdict.token)

    # --- and ends ---------------------------------------------------------------------------------------------

    def on_settled(self, event: AuthSettled) -> None:
        entry = self._open.pop(event.token, None)
        if entry is None:
            return
        entry.verdict.settled(VerdictState(event.outcome))
        if not self._agent.has_listeners:
            return
        waited = (self._agent.gate.loop.time() - entry.born) * 1000
        for index, challenge in enumerate(event.token.challenges):
            scheme, algorithm = (challenge.scheme, challenge.algorithm) if index else (event.scheme, event.algorithm)
            self._agent.tell(
                AuthDone(
                    challenge=entry.labels[challenge.realm],
                    outcome=event.outcome,
                    waited_ms=round(waited, 1),
                    scheme=_title(scheme),
                    algorithm=algorithm or None,
                    cause=event.cause,
                )
            )

    def on_accepted(self, event: AuthAccepted) -> None:
        account = self._agent.find_account(event.account)
        if account is not None:
            for _, credentials in event.used:
                self._agent.broker.accepted(credentials, account.terms)
            if self._agent.state is not None:
                self._agent.state.keep_pins(account.config, account.auth.pins)

    def on_rejected(self, event: AuthRejected) -> None:
        account = self._agent.find_account(event.account)
        for realm, credentials in event.used:
            stands = event.session.is_registered(realm, credentials)
            provider = self._agent.broker.refused(credentials, event.exchange.method, stands=stands)
            if account is not None:
                account.story(event.exchange).refused(realm, credentials, provider)

    def on_forbidden(self, event: AuthForbidden) -> None:
        account = self._agent.find_account(event.account)
        if account is None:
            return
        account.story(event.exchange).blamed = "either" if event.used else "request"
        for realm, credentials in event.used:
            provider = self._agent.broker.doubted(credentials)
            account.story(event.exchange).sent(realm, credentials, provider)

    # --- nobody is asked --------------------------------------------------------------------------------------

    def on_repeated(self, event: AuthRepeated) -> None:
        """The same secret goes out for a fresh nonce: told as a challenge that took no time."""
        account = self._agent.find_account(event.account)
        if account is None or not self._agent.has_listeners:
            return
        for challenge in event.challenges:
            self._tell_challenged(account, event.exchange, event.response, event.id, challenge)
            self._agent.tell(
                AuthDone(
                    challenge=event.id,
                    outcome="answered",
                    waited_ms=0.0,
                    scheme=_title(challenge.scheme),
                    algorithm=challenge.algorithm or None,
                    cause="stale",
                )
            )

    def on_unanswerable(self, event: AuthUnanswerable) -> None:
        """Nothing the server offered may be answered: the failure that follows says why."""
        account = self._agent.find_account(event.account)
        if account is None:
            return
        story = account.story(event.exchange)
        story.realm = next((skip.realm for skip in event.skipped if skip.realm), story.realm)
        story.skipped = _reasons(event.skipped)
        if self._agent.has_listeners:
            self._tell_challenged(account, event.exchange, event.response, event.id, None, event.skipped, event.why)

    # --- telling ----------------------------------------------------------------------------------------------

    def _tell_token(self, entry: _Open) -> None:
        token = entry.verdict.token
        for chosen in token.challenges:
            skipped = tuple(skip for skip in token.skipped if skip.realm in ("", chosen.realm))
            label = entry.labels[chosen.realm]
            self._tell_challenged(entry.account, token.exchange, token.response, label, chosen, skipped)

    def _tell_challenged(
        self,
        account: Account,
        exchange: Challenged,
        response: Response,
        label: str,
        chosen: Challenge | None,
        skipped: tuple[Skipped, ...] = (),
        why: GiveUp | None = None,
    ) -> None:
        offered, _ = parse_challenges(response)
        realms = [chosen.realm] if chosen else [c.realm for c in offered] + [skip.realm for skip in skipped]
        realm = next(iter(realms), "")
        state = exchange.realms.get(realm)
        call = self._agent.call_of(exchange)
        self._agent.tell(
            AuthChallengedNotice(
                account=account.name,
                call=None if call is None else call.id,
                challenge=label,
                method=exchange.method,
                code=response.status,
                realm=realm,
                schemes=tuple(_offer(challenge) for challenge in offered if challenge.realm == realm),
                chosen=None if chosen is None else chosen.algorithm or _title(chosen.scheme),
                skipped=tuple(
                    SkippedScheme(scheme=_title(skip.scheme), algorithm=skip.algorithm or None, why=skip.why)
                    for skip in skipped
                ),
                attempt=1 if state is None else state.attempt,
                from_flow=why is not GiveUp.FOREIGN_ORIGIN,
            )
        )


def _reasons(skipped: tuple[Skipped, ...]) -> tuple[str, ...]:
    """Why nothing will do, each reason once and few of them: whoever challenges us does not fill the screen."""
    names = ((skip.algorithm or _title(skip.scheme), skip.why) for skip in skipped)
    told = tuple(dict.fromkeys(f"{name}: {why}" if name else why for name, why in names))
    more = len(told) - MAX_REASONS
    return told if more <= 0 else (*told[:MAX_REASONS], f"{more} more")


def _title(scheme: str) -> str:
    return scheme.capitalize()


def _offer(challenge: Challenge) -> SchemeOffer:
    return SchemeOffer(
        scheme=_title(challenge.scheme),
        algorithm=challenge.algorithm or None,
        qop=challenge.qop,
        stale=challenge.stale,
    )


def refuse_answer(answer: Any, name: str) -> None:
    """TypeError for a coroutine: a hook that was wrapped may hide that it is a coroutine until it is called."""
    if inspect.iscoroutine(answer):
        answer.close()
        raise TypeError(_ASYNC_HOOK.format(name=name))


def exchange_key(exchange: Challenged) -> str:
    """What belongs together for a caller: all of a call, or one request."""
    return "REGISTER" if exchange.method == "REGISTER" else exchange.call_id
