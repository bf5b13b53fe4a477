"""From a deferred challenge to credentials: cache, single flight, rations, and feedback to the providers.

The broker lives on the loop's thread and holds no lock, because it needs none.
It knows neither SIP messages nor the inside of a thread: it is given a deferred
challenge, asks the account's chain, and answers or abandons (docs/architecture.md,
"The chain and the broker").
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Hashable
from functools import partial

from sipcli.credentials import (
    CancelSignal,
    CredentialRequest,
    Credentials,
    Denied,
    NotFound,
    Rejection,
    SigningCredentials,
    Unavailable,
)
from sipcli.sip.auth import GiveUp, RealmState
from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.authn.origin import Origin
from sipcli.ua.auth.ask import Ask, Waiter
from sipcli.ua.auth.cache import CacheKey, CredentialCache, Source, kind_wanted
from sipcli.ua.auth.chain import ChainFailure, Terms
from sipcli.ua.auth.flight import Flight
from sipcli.ua.auth.rations import Prompts
from sipcli.ua.auth.shelf import Shelf
from sipcli.ua.auth.signing import Signing, SigningResult
from sipcli.ua.lanes.faults import Bug, as_provider_error
from sipcli.ua.lanes.workers import Job, Workers
from sipcli.ua.notices import Notice, WarningNotice

__all__ = ["CredentialBroker"]

log = logging.getLogger(__name__)

_JUDGES = frozenset(("REGISTER", "TURN"))
"""Methods that nobody but the server itself answers: any other may have been challenged by whoever we called."""
FEEDBACK_WAIT = 10.0
"""Seconds that a provider may take to remember or forget a secret."""


class CredentialBroker:
    """Answers deferred challenges of any number of accounts.

    Shared state: *denied* holds what a provider denied to an account in this
    run; :meth:`reset` forgets it, and everything that is cached.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        workers: Workers,
        shelf: Shelf,
        *,
        tell: Callable[[Notice], None] = lambda _: None,
        is_heard: Callable[[], bool] = lambda: True,
    ) -> None:
        self.loop = loop
        self.workers = workers
        self.shelf = shelf
        self.tell = tell
        self.is_heard = is_heard
        self.cache = CredentialCache(loop.time)
        self.denied: dict[tuple[str, str], Denied] = {}
        self.prompts = Prompts(loop.time)
        self._flights: dict[CacheKey, Flight] = {}
        self._feedback: set[Job] = set()
        self._drained: asyncio.Event = asyncio.Event()
        self._drained.set()

    @property
    def flights(self) -> int:
        """Look-ups under way."""
        return len(self._flights)

    # --- a challenge comes in ---------------------------------------------------------------------------------

    def submit(self, ask: Ask) -> None:
        """Answer or abandon *ask*, now or later; it is withdrawn by itself when it is revoked."""
        if not ask.deferred.is_valid:
            return
        waiter = Waiter(ask, self.loop.time())
        ask.deferred.on_revoked(lambda: self._leave(waiter))
        if ask.latest is not None:
            waiter.timer = self.loop.call_at(ask.latest, self._too_late, waiter)
        for challenge in ask.deferred.challenges:
            if waiter.done:
                return
            self._want(waiter, challenge)
        self._answer_if_complete(waiter)

    def _want(self, waiter: Waiter, challenge: Challenge) -> None:
        ask = waiter.ask
        key = CacheKey(ask.terms.account, _place(ask.origin), challenge.realm, kind_wanted(challenge))
        waiter.tried.add((key.realm, key.scheme))
        state = ask.deferred.realms.get(challenge.realm)
        rejection = self._learn_refusals(key, state, ask) if state is not None and state.rejected else None
        known = self.cache.find(key, even_expired=not ask.fetch)
        if known is not None and not (rejection and self.cache.was_refused(key, known)):
            waiter.found[key.realm] = known  # perhaps newer than what was refused
            return
        if not ask.fetch:
            failure = ChainFailure(why=GiveUp.NO_CREDENTIALS, realm=key.realm, rejection=rejection)
            if not self._try_other_scheme(waiter, failure):
                self._fail(waiter, failure)
            return
        flight = self._flights.get(key)
        if flight is not None:
            self._join(waiter, flight)
            return
        flight = Flight(self, key, ask, challenge)
        flight.rejection = rejection
        flight.attempt = 1 if state is None else state.attempt
        self._flights[key] = flight
        self._join(waiter, flight)
        flight.start()

    def _join(self, waiter: Waiter, flight: Flight) -> None:
        flight.waiters.append(waiter)
        waiter.flights.append(flight)

    def _answer_if_complete(self, waiter: Waiter) -> None:
        deferred = waiter.ask.deferred
        if waiter.done or len(waiter.found) < len({challenge.realm for challenge in deferred.challenges}):
            return
        keys = [found for found in waiter.found.values() if isinstance(found, SigningCredentials)]
        if keys and waiter.signing is None and deferred.is_valid:
            waiter.signing = Signing(self, waiter.ask, waiter.began, keys, partial(self._signed, waiter))
            waiter.signing.start()
        elif not keys:
            self._respond(waiter, *waiter.found.values())

    def _signed(self, waiter: Waiter, result: SigningResult) -> None:
        if isinstance(result, ChainFailure):
            self._fail(waiter, result)
        else:
            others = [found for found in waiter.found.values() if not isinstance(found, SigningCredentials)]
            self._respond(waiter, *others, *result)

    def _respond(self, waiter: Waiter, *credentials: Credentials) -> None:
        self._leave(waiter)
        if waiter.ask.deferred.is_valid:
            waiter.ask.deferred.respond(*credentials)

    def _try_other_scheme(self, waiter: Waiter, failure: ChainFailure) -> bool:
        """Where the realm takes more than one kind of secret and nobody has the topmost, somebody may have another."""
        state = waiter.ask.deferred.realms.get(failure.realm)
        if failure.why is not GiveUp.NO_CREDENTIALS or state is None:
            return False
        for challenge in state.offers:
            if (challenge.realm, kind_wanted(challenge)) not in waiter.tried:
                waiter.first_failure = failure
                self._want(waiter, challenge)
                self._answer_if_complete(waiter)
                return True
        return False

    def _fail(self, waiter: Waiter, failure: ChainFailure) -> None:
        """One realm without an answer abandons them all."""
        self._leave(waiter)
        first = waiter.first_failure
        if first is not None and failure.why is GiveUp.NO_CREDENTIALS and isinstance(failure.error, NotFound | None):
            person = first.person or failure.person
            failure = first._replace(person=person)  # the topmost scheme's story says more
        if waiter.ask.waits and _wants_person(failure):
            why = GiveUp.SIGN_IN if failure.person is None else GiveUp.PERSON
            failure = failure._replace(why=why)
        elif failure.why is GiveUp.NO_CREDENTIALS and failure.rejection is not None:
            failure = failure._replace(why=GiveUp.REFUSED)
        if waiter.ask.on_failed is not None:
            waiter.ask.on_failed(failure)
        if waiter.ask.deferred.is_valid:
            waiter.ask.deferred.give_up(failure.why)

    def _leave(self, waiter: Waiter) -> None:
        """*waiter* waits no more; the last one out cancels the flight."""
        waiter.done = True
        if waiter.timer is not None:
            waiter.timer.cancel()
            waiter.timer = None
        if waiter.signing is not None:
            waiter.signing.cancel()
        for flight in waiter.flights:
            flight.waiters.remove(waiter)
            if not flight.waiters and self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
                flight.cancel()
        waiter.flights.clear()

    def _too_late(self, waiter: Waiter) -> None:
        person = any(flight.awaits_person for flight in waiter.flights)
        realm = waiter.ask.deferred.challenges[0].realm
        self._fail(waiter, ChainFailure(why=GiveUp.DEADLINE, realm=realm, awaited_person=person))

    def landed(self, flight: Flight, result: Credentials | ChainFailure) -> None:
        """A flight is over: every waiter gets what came of it, each for its own token (own method, URI, cnonce)."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        waiters, flight.waiters = flight.waiters, []
        for waiter in waiters:
            waiter.flights.remove(flight)
        for waiter in waiters:
            if waiter.done:
                continue
            if isinstance(result, ChainFailure):
                if not self._try_other_scheme(waiter, result):
                    self._fail(waiter, result)
            else:
                waiter.found[flight.key.realm] = result
                self._answer_if_complete(waiter)

    # --- what the servers said --------------------------------------------------------------------------------

    def _learn_refusals(self, key: CacheKey, state: RealmState, ask: Ask) -> Rejection:
        """A second challenge is a verdict on what was sent: evict that very object, tell its provider."""
        provider = "configuration"
        for credentials in state.rejected:
            source = self.cache.source(credentials)
            provider = "configuration" if source is None else source.provider
            if not _is_verdict(key, ask.method, stands=ask.is_registered(key.realm, credentials)):
                continue
            if source is None or not source.refused:
                self.cache.refuse(key, credentials)
            if source is not None:
                self._discard(credentials, source, ask.method)
        last = state.rejected[-1]
        return Rejection(provider=provider, username=last.username, status=ask.status)

    def _discard(self, credentials: Credentials, source: Source, method: str) -> None:
        """It is not used again; but nobody erases what he keeps for a word that whoever we called may have spoken."""
        self.cache.evict(credentials, source)
        source.refused = True
        if source.erased or not _is_final(source.key, method):
            return
        source.erased = True
        self._send_feedback("forget", source, lambda request: self.shelf.forget(source.provider, request, credentials))

    def refused(self, credentials: Credentials, method: str, *, stands: bool) -> str | None:
        """*credentials* are wrong, says the answer to a request of *method*; the name of their provider.

        *stands*: the registrar took them.
        """
        source = self.cache.source(credentials)
        if source is None:
            return None
        if _is_verdict(source.key, method, stands=stands):
            if not source.refused:
                self.cache.refuse(source.key, credentials)
            self._discard(credentials, source, method)
        return source.provider

    def doubted(self, credentials: Credentials) -> str | None:
        """*credentials* may be wrong, or not: whoever gave them keeps them, and is asked again next time."""
        source = self.cache.source(credentials)
        if source is None:
            return None
        self.cache.evict(credentials, source)
        return source.provider

    def accepted(self, credentials: Credentials, terms: Terms) -> None:
        """A final response showed that *credentials* are right: only now may a provider keep them, if asked to."""
        source = self.cache.source(credentials)
        if source is None:
            return
        if not source.accepted:
            source.accepted = True
            self.cache.accept(source.key)
        if terms.save and not source.remembered and not isinstance(credentials, SigningCredentials):
            source.remembered = True
            chain = terms.chain(source.key.realm)
            others = (*chain.providers, *chain.keepers)
            keepers = (source.provider, *(name for name in others if name != source.provider))
            self._send_feedback("remember", source, lambda request: self.shelf.remember(keepers, request, credentials))

    def _send_feedback(self, what: str, source: Source, work: Callable[[CredentialRequest], object]) -> None:
        deadline = time.monotonic() + FEEDBACK_WAIT
        request = dataclasses.replace(source.request, cancel=CancelSignal(), deadline=deadline, interactive=False)
        done = partial(self._feedback_done, what)
        job = Job(source.provider, partial(work, request), done, cancel=request.cancel)
        try:
            self.workers.fetch.submit(job)
        except Unavailable as error:
            log.warning("%s: %s: %s", what, source.provider, error)
            return
        self._feedback.add(job)
        self._drained.clear()

    def _feedback_done(self, what: str, job: Job) -> None:
        self._feedback.discard(job)
        if not self._feedback:
            self._drained.set()
        if job.error is not None:
            error = as_provider_error(job.label, self.shelf.origin(job.label), job.error)
            why = f"{job.label} raised {type(job.error).__name__}" if isinstance(error, Bug) else str(error)
            verb = "kept" if what == "remember" else "erased"
            self.tell(WarningNotice(code=f"{what}_failed", message=f"the secret could not be {verb}: {why}"))

    # --- for the agent ----------------------------------------------------------------------------------------

    def reset(self, account: str | None = None) -> None:
        """Forget what is cached, denied and refused: all are asked afresh (SIGHUP), or the account is closed."""
        self.cache.drop(account)
        self.prompts.reset(account)
        for known in [key for key in self.denied if account in (None, key[0])]:
            del self.denied[known]

    async def drain(self, timeout: float) -> None:
        """Wait until providers have been told what was accepted and refused, *timeout* seconds at most."""
        if self._drained.is_set():
            return  # wait_for() with no time left would not even look
        try:
            await asyncio.wait_for(self._drained.wait(), timeout)
        except TimeoutError:
            log.warning("a provider is still busy remembering or forgetting; leaving without it")

    def close(self) -> None:
        """End all flights and wipe what is cached."""
        flights = list(self._flights.values())
        self._flights.clear()
        for flight in flights:
            flight.cancel()
        for job in list(self._feedback):
            self.workers.fetch.withdraw(job)
        self.cache.wipe()


def _is_verdict(key: CacheKey, method: str, *, stands: bool) -> bool:
    """Does a no to a request of *method* blame the secret of *key*?

    Not what the registrar took, which alone may take that back: anybody whom we call can answer 407 in its realm,
    and would have our password erased, and our registration lost for want of it.
    """
    return _is_final(key, method) or not stands


def _is_final(key: CacheKey, method: str) -> bool:
    """A token ends by itself, is renewed, and was kept by nobody."""
    return method in _JUDGES or key.scheme == "bearer"


def _wants_person(failure: ChainFailure) -> bool:
    """Can nobody but a person go on: with a secret, or by signing in elsewhere, where nobody did so in time?"""
    if failure.person is not None:
        return failure.why is GiveUp.NO_CREDENTIALS
    late = failure.why is GiveUp.DEADLINE or isinstance(failure.error, Unavailable)
    return failure.awaited_person and late


def _place(origin: Origin) -> Hashable:
    """What of an origin names a trust domain: the TLS identity if there is one, else the address."""
    return origin.identity or (origin.host, origin.port)
