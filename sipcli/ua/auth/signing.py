"""One challenge answered by keys that never leave their stores: its own inputs are signed by whoever gave the key.

Looking up a key is shared by all who wait for it (:mod:`sipcli.ua.auth.flight`); what
is signed is not, for every request has its own method, URI, nonce count and
cnonce.  Asked like a look-up: the fetch lane, a deadline, the same four errors.
But nobody takes a signer's place: the key was found, and who cannot use it now
is the reason why there is no answer.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from sipcli.credentials import (
    Cancelled,
    CancelSignal,
    CredentialRequest,
    Denied,
    DigestInput,
    NotFound,
    ProviderError,
    Signature,
    SignedCredentials,
    SigningCredentials,
    Unavailable,
)
from sipcli.sip.auth import GiveUp
from sipcli.sip.authn.digest import is_sound
from sipcli.ua.auth.cache import Source
from sipcli.ua.auth.chain import FETCH_WAIT, ChainFailure
from sipcli.ua.lanes.faults import as_provider_error, bug, outcome_of, pause_before_retry
from sipcli.ua.lanes.workers import Job
from sipcli.ua.notices import AuthProviderNotice

if TYPE_CHECKING:
    from sipcli.ua.auth.ask import Ask
    from sipcli.ua.auth.flight import FlightDesk

__all__ = ["Signing", "SigningResult"]

SigningResult: TypeAlias = tuple[SignedCredentials, ...] | ChainFailure


@dataclasses.dataclass(slots=True, eq=False)
class _Part:
    """One response to be computed."""

    key: SigningCredentials
    source: Source
    inputs: DigestInput
    tries: int = 0
    asked_at: float = 0.0
    job: Job | None = None
    pause: asyncio.TimerHandle | None = None
    signed: SignedCredentials | None = None


class Signing:
    """Has everything signed that *ask*'s challenge wants of *keys*; *done* gets all of it, or why there is none."""

    def __init__(
        self,
        desk: FlightDesk,
        ask: Ask,
        started: float,
        keys: Sequence[SigningCredentials],
        done: Callable[[SigningResult], None],
    ) -> None:
        """*started*: since when the challenge waits, on the loop's clock."""
        self._desk = desk
        self._ask = ask
        self._keys = keys
        self._done = done
        self._parts: list[_Part] = []
        self._timer: asyncio.TimerHandle | None = None
        limit = ask.terms.max_wait
        self._deadline = desk.loop.time() + FETCH_WAIT if limit is None else started + limit

    def start(self) -> None:
        """Nonce counts and cnonces are taken now."""
        for key in self._keys:
            source = self._desk.cache.source(key)
            inputs = self._ask.deferred.digest_inputs(key)
            if source is None or not inputs:
                error = NotFound("the key does not sign what the server asks for")
                self._end(self._failure(key.realm, GiveUp.NO_CREDENTIALS, error, source))
                return
            self._parts += [_Part(key, source, each) for each in inputs]
        self._timer = self._desk.loop.call_at(self._deadline, self._expired)
        for part in tuple(self._parts):
            self._sign(part)

    def cancel(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for part in self._parts:
            if part.pause is not None:
                part.pause.cancel()
            if part.job is not None:
                self._desk.workers.fetch.withdraw(part.job)
        self._parts = []

    # --- one part ---------------------------------------------------------------------------------------------

    def _sign(self, part: _Part) -> None:
        if part not in self._parts:
            return  # another part has failed, and with it all
        if part.tries == 0:
            part.asked_at = self._desk.loop.time()
        name, request = part.source.provider, self._make_request(part)
        work = partial(self._desk.shelf.sign, name, request, part.key, part.inputs)
        part.job = Job(name, work, partial(self._answered, part), cancel=request.cancel)
        try:
            self._desk.workers.fetch.submit(part.job)
        except Unavailable as error:
            part.job = None
            self._failed(part, error)

    def _answered(self, part: _Part, job: Job) -> None:
        part.job = None
        name, module = job.label, self._desk.shelf.origin(job.label)
        if job.error is not None:
            self._failed(part, as_provider_error(name, module, job.error))
        elif not isinstance(job.result, Signature):
            self._failed(part, bug(name, module, f"it signed with {type(job.result).__name__}"))
        elif not is_sound(signed := SignedCredentials(part.key, part.inputs, job.result)):
            self._failed(part, bug(name, module, f"what it signed is no {part.inputs.algorithm}"))
        else:
            part.signed = signed
            ready = tuple(each.signed for each in self._parts if each.signed is not None)
            if len(ready) == len(self._parts):
                self._end(ready)

    def _failed(self, part: _Part, error: ProviderError) -> None:
        loop = self._desk.loop
        part.tries += 1
        pause = pause_before_retry(error, part.tries)
        if pause is not None and loop.time() + pause < self._deadline:
            part.pause = loop.call_later(pause, self._sign, part)
            return
        self._tell(part, error)
        if isinstance(error, Denied | NotFound):
            self._desk.cache.evict(part.key, part.source)  # it may be another key by now: look it up again
        why = GiveUp.ABANDONED if isinstance(error, Cancelled) else GiveUp.NO_CREDENTIALS
        self._end(self._failure(part.inputs.realm, why, error, part.source))

    def _make_request(self, part: _Part) -> CredentialRequest:
        state = self._ask.deferred.realms.get(part.inputs.realm)
        return dataclasses.replace(
            part.source.request,
            realm=part.inputs.realm,
            algorithms=(part.inputs.algorithm,),
            method=self._ask.method,
            attempt=1 if state is None else state.attempt,
            interactive=self._ask.prompts,
            deadline=time.monotonic() + max(0.0, self._deadline - self._desk.loop.time()),
            cancel=CancelSignal(),
            challenges=self._ask.offers(part.inputs.realm),
        )

    # --- the ends ---------------------------------------------------------------------------------------------

    def _expired(self) -> None:
        part = next(part for part in self._parts if part.signed is None)
        error = Unavailable("it did not sign in time")
        self._tell(part, error)
        self._end(self._failure(part.inputs.realm, GiveUp.DEADLINE, error, part.source))

    def _end(self, result: SigningResult) -> None:
        self.cancel()
        self._done(result)

    @staticmethod
    def _failure(realm: str, why: GiveUp, error: ProviderError, source: Source | None) -> ChainFailure:
        return ChainFailure(why=why, realm=realm, error=error, provider=None if source is None else source.provider)

    def _tell(self, part: _Part, error: ProviderError) -> None:
        if self._desk.is_heard():
            took = (self._desk.loop.time() - part.asked_at) * 1000
            self._desk.tell(
                AuthProviderNotice(
                    challenge=self._ask.labels.get(part.inputs.realm, ""),
                    provider=part.source.provider,
                    outcome=outcome_of(error),
                    took_ms=round(took, 1),
                    message=str(error) or None,
                )
            )
