"""One walk along a chain of providers, shared by all challenges that wait for the same secret (docs/architecture.md).

======================== ============================================== ==========================
a provider raises        means                                          the flight
======================== ============================================== ==========================
``NotFound``             nothing here for this account                  goes on, silently
``Denied``               there, but not for us                          goes on, or stops if required
``Unavailable``          cannot answer now                              twice more, then goes on
``Cancelled``            a person said no                               stops
anything else            its bug                                        goes on, as if unavailable
======================== ============================================== ==========================

All failed: the most telling wins, Denied over Unavailable over NotFound.  A
flight is callbacks: no task, no future, one timer.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from sipcli.credentials import (
    Cancelled,
    CancelSignal,
    CredentialRequest,
    Credentials,
    Denied,
    NotFound,
    ProviderError,
    Rejection,
    SigningCredentials,
    Unavailable,
    UserAction,
)
from sipcli.sip.auth import GiveUp
from sipcli.sip.authn.challenge import Challenge
from sipcli.ua.auth.cache import CacheKey, CredentialCache, Source
from sipcli.ua.auth.chain import FETCH_WAIT, PROMPT_WAIT, ChainFailure, PersonWanted
from sipcli.ua.auth.fitting import ANSWERS, bound_to, objection_to
from sipcli.ua.auth.rations import Prompts
from sipcli.ua.auth.shelf import ELSEWHERE, Shelf
from sipcli.ua.lanes.faults import as_provider_error, bug, outcome_of, pause_before_retry, rank_of
from sipcli.ua.lanes.workers import Job, Lane, Workers
from sipcli.ua.notices import (
    AuthNeeded,
    AuthProviderNotice,
    AuthUserAction,
    Notice,
    ProviderOutcome,
    WarningNotice,
)

if TYPE_CHECKING:
    from sipcli.ua.auth.ask import Ask, Waiter

__all__ = ["Flight", "FlightDesk"]


class FlightDesk(Protocol):
    """What flights share: the broker."""

    loop: asyncio.AbstractEventLoop
    workers: Workers
    shelf: Shelf
    cache: CredentialCache
    denied: dict[tuple[str, str], Denied]
    prompts: Prompts

    tell: Callable[[Notice], None]
    is_heard: Callable[[], bool]
    """Is it worth making a notice?"""

    def landed(self, flight: Flight, result: Credentials | ChainFailure) -> None: ...


class Flight:
    """Asks the chain's providers one after the other, until one has the secret or time is up."""

    def __init__(self, desk: FlightDesk, key: CacheKey, ask: Ask, challenge: Challenge) -> None:
        """*ask* is the first that wants it; it is not kept, for whoever asked may leave before the others."""
        self.key = key
        self.waiters: list[Waiter] = []
        self.rejection: Rejection | None = None
        self.attempt = 1
        self.awaits_person = False
        self._desk = desk
        self._terms = ask.terms
        self._chain = ask.terms.chain(key.realm)
        self._challenge = challenge
        self._method = ask.method
        self._origin = ask.origin
        self._offers = ask.offers(key.realm)
        self._label = ask.labels.get(key.realm, "")
        self._absent: str | None = None
        self._room = False
        self._index = 0
        self._tries = 0
        self._asked_at = self._started = desk.loop.time()
        self._worst: tuple[ProviderError, str | None] = (NotFound("no provider is configured"), None)
        self._request: CredentialRequest | None = None
        self._job: tuple[Lane, Job] | None = None
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._allow(FETCH_WAIT)
        self._next()

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._stop()

    # --- along the chain --------------------------------------------------------------------------------------

    def _next(self) -> None:
        while self._index < len(self._chain.providers):
            name = self._chain.providers[self._index]
            known = self._desk.denied.get((self.key.account, name))
            if known is not None and known.file is None:
                self._note(known, name)
            elif self.key.scheme == "aka" and self._desk.shelf.interactive(name) and not self._desk.shelf.signs(name):
                self._note(NotFound("a person is no SIM"), name)
            elif self._desk.shelf.interactive(name):
                if self._is_elsewhere(name):
                    self._absent = self._absent or name
                elif self._take_prompt(name):
                    self._ask_person(name)
                    return
            else:
                self._ask(name, known)
                return
            self._index += 1
            self._tries = 0
        error, provider = self._worst
        failure = self._failure(GiveUp.NO_CREDENTIALS, error, provider)
        if self._absent is not None and not isinstance(error, Unavailable):
            request = self._make_request(interactive=True)
            wanted = PersonWanted(self.key, self._absent, request, self._label)
            failure = failure._replace(person=wanted)
        self._end(failure)

    def _ask(self, name: str, denied: Denied | None) -> None:
        self._request = self._make_request(interactive=False)
        shelf = self._desk.shelf
        if denied is None:
            work = partial(shelf.ask, name, self._request)
        else:
            work = partial(shelf.ask_again, name, self._request, denied)
        self._submit(self._desk.workers.fetch, name, work)

    def _ask_person(self, name: str) -> None:
        self.awaits_person = True
        self._allow(PROMPT_WAIT)
        self._request = self._make_request(interactive=True)
        left = max(0.0, self._deadline - self._desk.loop.time())
        here = self._desk.shelf.at_terminal(name)
        self._desk.tell(AuthNeeded(challenge=self._label, provider=name, expires_in_s=round(left, 1), at_terminal=here))
        self._submit(self._desk.workers.prompt, name, partial(self._desk.shelf.ask_person, name, self._request))

    def _submit(self, lane: Lane, name: str, work: Callable[[], object]) -> None:
        assert self._request is not None
        if self._tries == 0:
            self._asked_at = self._desk.loop.time()
        job = Job(name, work, self._answered, cancel=self._request.cancel, tag=self)
        self._job = (lane, job)
        try:
            lane.submit(job)
        except Unavailable as error:
            self._job = None
            self._failed(name, error)

    def _is_elsewhere(self, name: str) -> bool:
        """Is the person whom *name* would ask awaited at another terminal?  Nobody can type a token."""
        answerable = self.key.scheme == "digest" and any(waiter.ask.answerable for waiter in self.waiters)
        return answerable and self._desk.shelf.at_terminal(name)

    def _take_prompt(self, name: str) -> bool:
        """May a person be asked?  One ration pays for all who wait."""
        prompts, account, origin = self._desk.prompts, self.key.account, self.key.origin
        why = "enough was asked already" if self.rejection is not None else "nobody may be asked now"
        if any(waiter.prompts for waiter in self.waiters):
            objection = prompts.objection(account, origin)
            if objection is None and any(waiter.may_prompt() for waiter in self.waiters):
                prompts.take(account, origin, self._terms.prompt_burst)
                return True
            why = objection or why
        self._note(NotFound(why), name)
        return False

    def _heed(self, *, said_no: bool) -> None:
        """A person answered, or would not: twice in a row, and nobody asks again."""
        account = self.key.account
        if not said_no:
            self._desk.prompts.answered(account)
        elif self._desk.prompts.declined(account):
            message = f"account {account}: two prompts were left without an answer, so nobody asks again in this run"
            self._desk.tell(WarningNotice(code="prompts_stopped", message=message))

    # --- what a provider said ---------------------------------------------------------------------------------

    def _answered(self, job: Job) -> None:
        self._job = None
        name = job.label
        if job.error is not None:
            self._failed(name, as_provider_error(name, self._desk.shelf.origin(name), job.error))
        elif job.result is ELSEWHERE:
            self._next()  # the shelf knows now that it is interactive
        elif isinstance(job.result, SigningCredentials) and not self._desk.shelf.signs(name):
            self._failed(name, self._bug(name, "it named a key, and has no sign()"))
        elif isinstance(job.result, ANSWERS):
            if self._desk.shelf.interactive(name):
                self._heed(said_no=False)
            self._judge(name, job.result)
        else:
            self._failed(name, self._bug(name, f"it answered with {type(job.result).__name__}"))

    def _judge(self, name: str, credentials: Credentials) -> None:
        objection = objection_to(credentials, self._challenge, self.key)
        if objection is None and self._desk.cache.was_refused(self.key, credentials):
            objection = "it gave what the server has just refused"
        if objection is not None:
            self._failed(name, NotFound(objection))
            return
        self._tell(name, "found", credentials.ref)
        assert self._request is not None
        credentials = bound_to(credentials, self.key.realm)
        lifetime = math.inf if self._desk.shelf.interactive(name) else self._terms.cache_ttl
        if credentials.expires_in is not None:
            lifetime = min(lifetime, credentials.expires_in)
        expires_at = self._desk.loop.time() + lifetime
        self._desk.cache.store(credentials, Source(self.key, name, self._request, expires_at))
        self._end(credentials)

    def _failed(self, name: str, error: ProviderError) -> None:
        if isinstance(error, Unavailable) and self._retry_later(error):
            return
        self._tell(name, outcome_of(error), None, str(error))
        self._note(error, name)
        if isinstance(error, Cancelled):
            if self._desk.shelf.interactive(name):
                self._heed(said_no=True)
            self._end(self._failure(GiveUp.ABANDONED, error, name))
            return
        if isinstance(error, Unavailable) and self._person_was_slow(name):
            self._end(self._failure(GiveUp.DEADLINE, error, name))
            return
        if isinstance(error, Denied):
            if not self._desk.shelf.interactive(name):
                self._desk.denied[self.key.account, name] = error
            if name in self._chain.required:
                self._end(self._failure(GiveUp.NO_CREDENTIALS, error, name))
                return
        self._index += 1
        self._tries = 0
        self._next()

    def _person_was_slow(self, name: str) -> bool:
        """The prompt has the same deadline as we: which of the two notices first must not change the outcome."""
        assert self._request is not None
        return bool(self._desk.shelf.interactive(name)) and time.monotonic() >= self._request.deadline

    def _retry_later(self, error: Unavailable) -> bool:
        """Twice more, with a growing pause, if that can end before the deadline."""
        self._tries += 1
        pause = pause_before_retry(error, self._tries)
        if pause is None or self._desk.loop.time() + pause >= self._deadline:
            return False
        self._pause = self._desk.loop.call_later(pause, self._next)
        return True

    def _note(self, error: ProviderError, name: str) -> None:
        self._room = self._room or (isinstance(error, NotFound) and error.room)
        if rank_of(error) > rank_of(self._worst[0]) or self._worst[1] is None:
            self._worst = (error, name)

    def _bug(self, name: str, what: str) -> ProviderError:
        return bug(name, self._desk.shelf.origin(name), what)

    # --- time -------------------------------------------------------------------------------------------------

    def _allow(self, seconds: float) -> None:
        """Wait until *seconds* from now, or until the account's ``max_wait`` has passed since the start."""
        until = self._desk.loop.time() + seconds
        if self._terms.max_wait is not None:
            until = self._started + self._terms.max_wait
        self._deadline = until
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._desk.loop.call_at(until, self._expired)

    def _expired(self) -> None:
        error, provider = self._worst
        if self._job is not None:
            provider = self._job[1].label
            error = Unavailable("it did not answer in time")
            self._tell(provider, "unavailable", None, str(error))
        self._end(self._failure(GiveUp.DEADLINE, error, provider))

    def user_action(self, action: UserAction) -> None:
        """A provider wants a person to do something elsewhere; it may take as long as its code lives."""
        if self._timer is None:
            return
        self.awaits_person = True
        if action.expires_in is not None:
            self._allow(max(action.expires_in, self._deadline - self._desk.loop.time()))
        left = max(0.0, self._deadline - self._desk.loop.time())
        self._desk.tell(
            AuthUserAction(
                challenge=self._label,
                provider=action.provider,
                expires_in_s=round(left, 1),
                url=action.url,
                user_code=action.user_code,
                account=self.key.account,
            )
        )

    # --- the ends ---------------------------------------------------------------------------------------------

    def _failure(self, why: GiveUp, error: ProviderError, provider: str | None) -> ChainFailure:
        return ChainFailure(
            why=why,
            realm=self.key.realm,
            error=error,
            provider=provider,
            awaited_person=self.awaits_person,
            rejection=self.rejection,
            room=self._room,
        )

    def _end(self, result: Credentials | ChainFailure) -> None:
        self._stop()
        self._desk.landed(self, result)

    def _stop(self) -> None:
        for handle in (self._timer, self._pause):
            if handle is not None:
                handle.cancel()
        self._timer = self._pause = None
        if self._job is not None:
            lane, job = self._job
            self._job = None
            lane.withdraw(job)

    def _make_request(self, *, interactive: bool) -> CredentialRequest:
        challenge = self._challenge
        left = self._deadline - self._desk.loop.time()
        return CredentialRequest(
            account=self.key.account,
            aor=self._terms.aor,
            username=self._chain.username,
            realm=self.key.realm,
            scheme="bearer" if self.key.scheme == "bearer" else "digest",
            algorithms=(challenge.algorithm,) if challenge.algorithm else (),
            method=self._method,
            attempt=self.attempt,
            rejected=self.rejection,
            interactive=interactive or any(waiter.prompts or waiter.ask.waits for waiter in self.waiters),
            deadline=time.monotonic() + max(0.0, left),
            cancel=CancelSignal(),
            authz_server=challenge.authz_server,
            scope=challenge.scope,
            origin=self._origin.name,
            verified=self._origin.identity is not None,
            challenges=self._offers,
        )

    def _tell(self, name: str, outcome: ProviderOutcome, ref: str | None, message: str | None = None) -> None:
        if not self._desk.is_heard():
            return
        took = (self._desk.loop.time() - self._asked_at) * 1000
        self._desk.tell(
            AuthProviderNotice(
                challenge=self._label,
                provider=name,
                outcome=outcome,
                took_ms=round(took, 1),
                secret_ref=ref,
                message=message or None,
            )
        )
