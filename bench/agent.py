"""What the benches of the challenge hook share: an account that defers every challenge to one registered worker."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from sipcli.config import AccountConfig
from sipcli.credentials import CredentialRequest, PasswordCredentials, Secret
from sipcli.ua.account import Account
from sipcli.ua.agent import UserAgent
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge

T = TypeVar("T")


class Worker:
    """One registered thread that answers whatever is put to it, as fast as it can."""

    def __init__(self, agent: UserAgent) -> None:
        self._jobs: queue.SimpleQueue[DeferredChallenge | None] = queue.SimpleQueue()
        self.put = self._jobs.put
        self._agent = agent
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()

    def _main(self) -> None:
        with self._agent.threads.register("bench"):
            while (deferred := self._jobs.get()) is not None:
                deferred.respond(PasswordCredentials(deferred.account.config.username, Secret("secret123")))
                # Holding the last handle would make the collector part of the figure.
                del deferred

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()


class Memory:
    """A provider that has every secret at hand: what is left is the way to a worker and back."""

    name, interactive = "memory", False

    def get(self, request: CredentialRequest) -> PasswordCredentials:
        return PasswordCredentials(request.username or "", Secret("secret123"))


class DeferringAccount(Account):
    worker: Worker

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        self.worker.put(challenge.defer())


class ParkingAccount(Account):
    """Keeps every challenge waiting."""

    parked: list[DeferredChallenge]

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        self.parked.append(challenge.defer())


def account_config(name: str, port: int) -> AccountConfig:
    return AccountConfig.for_aor(f"sip:{name}@127.0.0.1:{port}", name=name, username=name, credentials=("memory",))


def run(main: Coroutine[Any, Any, T], *, fast: bool) -> T:
    """On uvloop if *fast*, else on asyncio's own loop."""
    if fast:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main)
    return asyncio.run(main)


def has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        print("bench: no uvloop; its rows are missing", file=sys.stderr)
        return False
    return True
