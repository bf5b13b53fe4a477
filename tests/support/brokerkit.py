"""A broker between a real AuthSession and providers made of prepared answers; lanes that run on the loop itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from sipcli.credentials import (
    BearerCredentials,
    Cancelled,
    CredentialRequest,
    Credentials,
    NotFound,
    ProviderError,
    Secret,
)
from sipcli.sip.auth import AuthAccepted, AuthChallenged, AuthForbidden, AuthRejected, AuthSettled
from sipcli.ua.auth.ask import Ask
from sipcli.ua.auth.broker import CredentialBroker
from sipcli.ua.auth.chain import Chain, ChainFailure, Terms
from sipcli.ua.auth.challenge import DeferredChallenge, Gate, Verdict, VerdictState
from sipcli.ua.auth.rations import Ration
from sipcli.ua.auth.shelf import Shelf
from sipcli.ua.lanes.threads import ThreadRegistry
from sipcli.ua.lanes.workers import Job
from sipcli.ua.notices import Notice
from tests.support.authkit import HOME, FakeExchange, Rig, asks, password

HANG: Any = object()
"""An answer that never comes."""


def bearer(value: str = "token", **more: Any) -> BearerCredentials:
    return BearerCredentials(Secret(value), **more)


def secrets(credentials: list[Credentials]) -> list[str]:
    """What they hide, for a test to compare."""
    return [each.secret.reveal().decode() for each in credentials]


class FakeProvider:
    """Answers in turn: credentials, an error to raise, a callable, or HANG.  The last one is repeated."""

    def __init__(self, *answers: Any, name: str = "p", interactive: bool = False) -> None:
        self.answers = list(answers)
        self.name = name
        self.interactive = interactive
        self.requests: list[CredentialRequest] = []
        self.forgotten: list[Credentials] = []
        self.remembered: list[Credentials] = []

    def get(self, request: CredentialRequest) -> Any:
        self.requests.append(request)
        if not self.answers:
            raise NotFound("nothing here")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer) and answer is not HANG:
            answer = answer(request)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def right() -> FakeProvider:
    """Knows the password that the sandbox wants."""
    return FakeProvider(lambda _: password("wonderland"))


class Blocking(FakeProvider):
    """Waits for its cancel signal, as a store that is down does."""

    def get(self, request: Any) -> Any:
        self.requests.append(request)
        request.cancel.wait(30)
        raise Cancelled("cancelled")


class Keeper(FakeProvider):
    """One that remembers and forgets."""

    def remember(self, request: CredentialRequest, credentials: Credentials) -> None:
        self.remembered.append(credentials)

    def forget(self, request: CredentialRequest, credentials: Credentials) -> None:
        self.forgotten.append(credentials)


class InlineLane:
    """A lane that works on the loop: what a provider says is known at the next step, a HANG never."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.jobs: list[Job] = []
        self.withdrawn: list[Job] = []
        self.refusal: ProviderError | None = None

    def submit(self, job: Job) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.jobs.append(job)
        self._loop.call_soon(self._run, job)

    def _run(self, job: Job) -> None:
        if job.withdrawn:
            return
        try:
            job.result = job.work()
        except BaseException as error:
            job.error = error
        if job.result is not HANG:
            job.finished = True
            job.on_done(job)

    def withdraw(self, job: Job) -> None:
        job.withdrawn = True
        job.cancel.set()
        self.withdrawn.append(job)


class BrokerRig:
    """One account, its session, its broker; ``challenge()`` is a 401 that reaches it."""

    def __init__(self, *providers: FakeProvider, save: bool = False, rig: Rig | None = None, **terms: Any) -> None:
        loop = asyncio.get_running_loop()
        self.loop = loop
        self.rig = rig or Rig(asynchronous=True)
        self.rig.session.clock = loop.time
        self.providers = {provider.name: provider for provider in providers}
        self.notices: list[Notice] = []
        self.failures: list[ChainFailure] = []
        self.fetch, self.prompt = InlineLane(loop), InlineLane(loop)
        workers: Any = SimpleNamespace(fetch=self.fetch, prompt=self.prompt)
        self.broker = CredentialBroker(loop, workers, Shelf(self._make), tell=self.notices.append)
        self.chains: dict[str, Chain] = {}
        self.default = Chain("alice", tuple(self.providers))
        self.terms = Terms(account="work", aor="sip:alice@example.com", chain=self._chain, save=save, **terms)
        self.ration = Ration(3)
        self.gate = Gate(loop, ThreadRegistry(), self._turn)
        self.verdicts: dict[Any, Verdict] = {}

    def _make(self, name: str) -> FakeProvider:
        return self.providers[name]

    def _chain(self, realm: str) -> Chain:
        return self.chains.get(realm, self.default)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        yield
        self.pump()

    def pump(self, **ask: Any) -> None:
        """What the agent does with the core's events."""
        events, self.rig.events[:] = list(self.rig.events), []
        for event in events:
            if isinstance(event, AuthChallenged):
                self.submit(event, **ask)
            elif isinstance(event, AuthSettled) and event.token in self.verdicts:
                self.verdicts.pop(event.token).settled(VerdictState(event.outcome))
            elif isinstance(event, AuthRejected):
                for realm, credentials in event.used:
                    stands = event.session.is_registered(realm, credentials)
                    self.broker.refused(credentials, event.exchange.method, stands=stands)
            elif isinstance(event, AuthForbidden):
                for _, credentials in event.used:
                    self.broker.doubted(credentials)
            elif isinstance(event, AuthAccepted):
                for _, credentials in event.used:
                    self.broker.accepted(credentials, self.terms)

    def submit(self, event: AuthChallenged, **ask: Any) -> None:
        token = event.token
        verdict = self.verdicts[token] = Verdict(self.gate, event.session, token)
        account: Any = SimpleNamespace(name="work")
        deferred = DeferredChallenge(verdict, account, None)
        fields: dict[str, Any] = {
            "deferred": deferred,
            "terms": self.terms,
            "origin": token.exchange.origin,
            "method": token.exchange.method,
            "status": token.response.status,
            "ration": self.ration,
            "labels": deferred.labels,
            "is_registered": event.session.is_registered,
            "on_failed": self.failures.append,
        }
        self.broker.submit(Ask(**fields | ask))

    def challenge(
        self, *www: str, exchange: FakeExchange | None = None, how: dict[str, Any] | None = None, **ask: Any
    ) -> FakeExchange:
        """*exchange* (default: a new REGISTER) is answered 401 with these challenges."""
        exchange = exchange or self.rig.exchange(**(how or {"origin": HOME}))
        exchange.receive(asks(*www))
        self.pump(**ask)
        return exchange

    def final(self, exchange: FakeExchange, response: Any) -> None:
        if response.status == 403:
            self.rig.session.refused(exchange, response)
        else:
            self.rig.session.accepted(exchange, response)
        self.pump()

    def land(self, *, result: Any = None, error: BaseException | None = None) -> None:
        """The provider that is being asked (HANG) answers at last."""
        job = next(job for job in reversed(self.fetch.jobs + self.prompt.jobs) if job.tag is not None)
        job.result, job.error, job.finished = result, error, True
        job.on_done(job)

    def told(self, kind: type) -> list[Any]:
        return [notice for notice in self.notices if isinstance(notice, kind)]
