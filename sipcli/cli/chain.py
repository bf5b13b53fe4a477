"""Asking the providers of an account without SIP: what ``auth`` and ``providers test`` have in common."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sipcli.cli.runtime import Run
from sipcli.config import AccountConfig, Config
from sipcli.credentials import (
    Cancelled,
    CancelSignal,
    CredentialProvider,
    CredentialRequest,
    Credentials,
    Denied,
    NotFound,
    ProviderError,
    Unavailable,
)
from sipcli.plugins import make_provider

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
    """Ask provider *name* about *account* on a worker thread; every outcome becomes an :class:`Answer`."""
    cancel = CancelSignal()
    started = time.monotonic()

    def work() -> Credentials:
        provider = build(run, name)
        patience = run.options.max_wait or (_PERSON_S if provider.interactive else _STORE_S)
        found = provider.get(request_for(run, account, name, cancel, timeout=patience))
        if inspect.isawaitable(found):
            import asyncio

            async def wait() -> Credentials:
                return await found

            return asyncio.run(wait())
        return found

    def answer(outcome: str, message: str | None = None, **more: Any) -> Answer:
        return Answer(name, outcome, round((time.monotonic() - started) * 1000, 1), message, **more)

    try:
        credentials = await run.in_thread(work, f"sipcli-ask-{name}")
        return answer("found", credentials=credentials)
    except NotFound as error:
        return answer("not_found", str(error), error=error)
    except Denied as error:
        return answer("denied", str(error), error=error)
    except Cancelled as error:
        return answer("cancelled", str(error), error=error)
    except ProviderError as error:
        return answer("unavailable", str(error), error=error)
    except Exception as error:  # a provider's bug: said in one line, as the chain does
        why = f"{type(error).__name__} in {type(error).__module__}"
        bug = Unavailable(f"{name} failed: {why}")
        bug.__cause__ = error
        return answer("unavailable", str(bug), error=bug)
    finally:
        cancel.set()
        cancel.close()
