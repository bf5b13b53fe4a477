"""Challenges on a loop, with a real AuthSession behind them, and the handles that an application would hold."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from sipcli.sip.auth import AuthChallenged, AuthSettled
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge, Gate, Verdict, VerdictState
from sipcli.ua.lanes.threads import ThreadRegistry
from tests.support.authkit import FakeExchange, Rig, digest

ACCOUNT: Any = SimpleNamespace(name="work")


class ChallengeRig:
    """A session, the gate to its loop, and the verdict of every open challenge."""

    def __init__(self, *credentials: Any, loop: asyncio.AbstractEventLoop | None = None, **policy: Any) -> None:
        self.rig = Rig(*credentials, asynchronous=True, **policy)
        self.threads = ThreadRegistry()
        self.gate = Gate(loop or asyncio.get_running_loop(), self.threads, self._turn)
        self.verdicts: dict[Any, Verdict] = {}
        self.outcomes: list[str] = []

    @contextmanager
    def _turn(self) -> Iterator[None]:
        yield
        self.pump()

    def pump(self) -> None:
        """What the agent does with the core's events."""
        events, self.rig.events[:] = list(self.rig.events), []
        for event in events:
            if isinstance(event, AuthSettled):
                self.outcomes.append(event.outcome)
                verdict = self.verdicts.pop(event.token, None)
                if verdict is not None:
                    verdict.settled(VerdictState(event.outcome))

    def verdict(self, *www: str, method: str = "REGISTER") -> tuple[FakeExchange, Verdict]:
        exchange, token = self.rig.pending(*(www or (digest(),)), method=method)
        (event,) = [event for event in self.rig.events if isinstance(event, AuthChallenged)]
        self.rig.events.clear()
        verdict = self.verdicts[token] = Verdict(self.gate, event.session, token)
        return exchange, verdict

    def deferred(self, *www: str, method: str = "REGISTER") -> tuple[FakeExchange, DeferredChallenge]:
        exchange, verdict = self.verdict(*www, method=method)
        return exchange, DeferredChallenge(verdict, ACCOUNT, None)

    def hooked(self, *www: str) -> tuple[FakeExchange, AuthChallenge]:
        exchange, verdict = self.verdict(*www)
        return exchange, AuthChallenge(verdict, ACCOUNT, None)

    def hangup(self, exchange: FakeExchange) -> None:
        with self.gate.turn():
            self.rig.session.revoke(exchange)


def on_thread(act: Callable[[], Any]) -> Any:
    """What *act* returns, or raises, on a thread of its own."""
    box: list[Any] = []

    def run() -> None:
        try:
            box.append(act())
        except Exception as error:
            box.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return box[0]
