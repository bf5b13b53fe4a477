"""Asking the providers of an account without SIP: what ``auth`` and ``providers test`` have in common."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from sipcli.cli.runtime import Run
from sipcli.config import AccountConfig, Config
from sipcli.credentials import (
    CancelSignal,
    CredentialProvider,
    CredentialRequest,
    Credentials,
    NotFound,
    ProviderError,
    SigningCredentials,
    Unavailable,
    UserAction,
)
from sipcli.plugins import make_provider
from sipcli.ua.auth.fitting import ANSWERS, flaw_of
from sipcli.ua.auth.shelf import ELSEWHERE, RelayTerminal, Shelf
from sipcli.ua.lanes.faults import as_provider_error, bug, outcome_of
from sipcli.ua.lanes.threads import ThreadRegistry
from sipcli.ua.lanes.workers import Job, Lane, Workers

__all__ = ["Answer", "ask", "build", "provider_table", "request_for"]

_PERSON_S = 120.0
_STORE_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one provider said.  The credentials themselves are dropped by whoever only wants to know *that*."""

    provider: str
    outcome: str
    took_ms: float
    message: str | None = None
    credentials: Credentials | None = None
    error: ProviderError | None = None


def provider_table(config: Config, name: str) -> Mapping[str, Any]:
    """The ``[providers.NAME]`` table, as the plug-in loader wants it; built-in types need none."""
    known = config.providers.get(name)
    return {"type": known.type, **known.options} if known is not None else {"type": name}


def build(run: Run, name: str) -> CredentialProvider:
    """The provider called *name*; one that only says what is wrong with it, if it cannot be made."""
    return make_provider(name, provider_table(run.config, name), run.terminal)


def request_for(
    run: Run, account: AccountConfig, name: str, cancel: CancelSignal, *, timeout: float
) -> CredentialRequest:
    """The question a server of *account* would make us ask.  No server has spoken, so the realm is our own domain."""
    table = provider_table(run.config, name)
    bearer = table["type"] == "oauth" and table.get("use", "bearer") == "bearer"
    scheme: Literal["digest", "bearer"] = "bearer" if bearer else "digest"
    return CredentialRequest(
        account=account.name,
        aor=str(account.aor),
        username=account.username,
        realm=account.aor.host,
        scheme=scheme,
        algorithms=() if bearer else ("SHA-256", "MD5"),
        interactive=not run.options.no_input,
        deadline=time.monotonic() + timeout,
        cancel=cancel,
        authz_server=table.get("issuer") if bearer else None,
        scope=tuple(table.get("scope", ())) if bearer else (),
    )


async def ask(run: Run, account: AccountConfig, name: str) -> Answer:
    """Ask provider *name* about *account* as a challenge would, on a lane; every outcome becomes an :class:`Answer`."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    question = _Question(run, account, name)

    def answer(outcome: str, message: str | None = None, **more: Any) -> Answer:
        return Answer(name, outcome, round((loop.time() - started) * 1000, 1), message, **more)

    try:
        return answer("found", credentials=await question.ask())
    except ProviderError as error:
        return answer(outcome_of(error), str(error), error=error)
    finally:
        question.close()


class _Question:
    """One provider, asked without a challenge: the lanes, the patience and the judgement are a challenge's.

    What else it raises than the contract's errors keeps its text to itself, and so does what lies behind those:
    either may quote the very secret (decision 64).
    """

    def __init__(self, run: Run, account: AccountConfig, name: str) -> None:
        self._run, self._account, self._name = run, account, name
        self._loop = asyncio.get_running_loop()
        self._workers = Workers(self._loop, ThreadRegistry())
        terminal = RelayTerminal(run.terminal, self._loop)
        self._shelf = Shelf(lambda name: make_provider(name, provider_table(run.config, name), terminal))
        self._limit: asyncio.Timeout | None = None

    async def ask(self) -> Credentials:
        """Raises the provider's error, or Unavailable for what is its bug or takes too long."""
        found = await self._put(self._workers.fetch, self._shelf.ask, _STORE_S)
        if found is ELSEWHERE:
            found = await self._put(self._workers.prompt, self._shelf.ask_person, _PERSON_S)
        if isinstance(found, SigningCredentials) and not self._shelf.signs(self._name):
            raise self._bug("it named a key, and has no sign()")
        if not isinstance(found, ANSWERS):
            raise self._bug(f"it answered with {type(found).__name__}")
        if (flaw := flaw_of(found)) is not None:
            raise NotFound(flaw)
        return found

    def user_action(self, action: UserAction) -> None:
        """A person has something to do elsewhere, and as long for it as the code lives."""
        if self._limit is None:
            return
        if action.expires_in is not None and not self._run.options.max_wait:
            self._limit.reschedule(max(self._loop.time() + action.expires_in, self._limit.when() or 0.0))
        fields = {
            "challenge": "test",
            "provider": action.provider,
            "expires_in_s": round(max(0.0, (self._limit.when() or 0.0) - self._loop.time()), 1),
            "url": action.url,
            "user_code": action.user_code,
            "account": self._account.name,
        }
        self._run.event("auth.user_action", {name: value for name, value in fields.items() if value is not None})

    def close(self) -> None:
        self._workers.close()

    async def _put(self, lane: Lane, work: Callable[[str, CredentialRequest], object], patience: float) -> Any:
        patience = self._run.options.max_wait or patience
        done: asyncio.Future[tuple[object, BaseException | None]] = self._loop.create_future()
        cancel = CancelSignal()
        request = request_for(self._run, self._account, self._name, cancel, timeout=patience)

        def settle(job: Job) -> None:
            if not done.done():
                done.set_result((job.result, job.error))

        job = Job(self._name, partial(work, self._name, request), settle, cancel=cancel, tag=self)
        try:
            async with asyncio.timeout(patience) as self._limit:
                lane.submit(job)
                result, error = await done
        except TimeoutError:
            raise Unavailable("it did not answer in time") from None
        finally:
            self._limit = None
            lane.withdraw(job)
        if error is not None:
            failed = as_provider_error(self._name, self._shelf.origin(self._name), error)
            failed.__cause__ = failed.__context__ = None
            raise failed
        return result

    def _bug(self, what: str) -> ProviderError:
        return bug(self._name, self._shelf.origin(self._name), what)
