"""Levels 2 and 3: REGISTER, INVITE, re-INVITE and BYE, each by its own verb, whatever becomes of the challenge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sipcli.errors import AuthAbandoned, AuthExpired, ChallengeGone, SipcliError
from sipcli.ua.account import Account
from tests.support.agentkit import Site
from tests.support.clock import advance, live, live_until, stepped
from tests.support.levels import RIGHT, WRONG, Asked, Handle, at_level

MAX_WAIT = 5.0
VERBS = ("REGISTER", "INVITE", "re-INVITE", "BYE")


class Stage:
    """One verb under way, whose request was challenged."""

    def __init__(self, s: Site, account: Asked, verb: str, handles: Callable[[], list[Handle]]) -> None:
        self.s, self.account, self.verb, self.handles = s, account, verb, handles
        self.method = verb.removeprefix("re-")
        self.call: Any = None
        self.task: asyncio.Task[Any]
        self.sent = 0

    async def begin(self) -> None:
        if self.verb in ("re-INVITE", "BYE"):
            self.s.box.change(challenged=frozenset())
            await live(self._dial(self.account))
        self.s.box.change(challenged=frozenset({self.method}))
        self.task = asyncio.ensure_future(self._act())
        await live_until(lambda: self.handles() or self.task.done())
        self.sent = self.s.sent(self.method)

    async def _dial(self, account: Account) -> None:
        self.call = await account.call("echo")
        await self.call.answered()

    def _act(self) -> Awaitable[Any]:
        match self.verb:
            case "REGISTER":
                return self.account.register(keep=False)
            case "INVITE":
                return self._dial(self.account)
            case "re-INVITE":
                return self.call.hold()
            case _:
                return self.call.hangup()

    async def gives_up(self, kind: type[SipcliError]) -> None:
        """With an error of *kind*, and nothing more was sent since the challenge.

        Who hangs up is done with it, whatever the other side wants to see before it agrees.
        """
        error = await self.outcome()
        assert error is None if self.verb == "BYE" else isinstance(error, kind)
        with pytest.raises(ChallengeGone):
            self.handles()[0].respond(RIGHT)
        assert self.s.sent(self.method) == self.sent

    async def outcome(self) -> BaseException | None:
        """What the verb raises; None if it does what it is for."""
        try:
            await live(self.task)
        except SipcliError as error:
            return error
        return None

    def proofs(self) -> list[bool]:
        """Of each request of the method so far: did it carry credentials?"""
        header = (
            "Authorization"
            if self.verb == "REGISTER" or self.s.box.config.call_status == 401
            else "Proxy-Authorization"
        )
        return [request.find(header) is not None for request in self.s.box.requests(self.method)]


def staged(level: int, verb: str, script: Callable[[Stage], Awaitable[None]], status: int = 407) -> None:
    @stepped
    async def run() -> None:
        box = {"nonce_lifetime": 3600, "call_status": status}
        async with at_level(level, box, max_wait=MAX_WAIT) as (s, account, handles):
            stage = Stage(s, account, verb, handles)
            await stage.begin()
            await script(stage)
            s.box.change(challenged=frozenset())
            await live(account.close())

    run()


both = pytest.mark.parametrize("level", [2, 3])
every = pytest.mark.parametrize("verb", VERBS)


@both
@every
@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_A24_a_verb_is_answered_now_or_later(level: int, verb: str, status: int, delay: float) -> None:
    async def script(stage: Stage) -> None:
        await advance(delay)
        stage.handles()[0].respond(RIGHT)
        assert await stage.outcome() is None
        assert len(stage.handles()) == 1
        assert stage.proofs()[-2:] == [False, True]

    staged(level, verb, script, status)


@both
@every
def test_A24_A04_a_verb_wrong_then_right(level: int, verb: str) -> None:
    async def script(stage: Stage) -> None:
        stage.handles()[0].respond(WRONG)
        await live_until(lambda: len(stage.handles()) == 2)
        stage.handles()[1].respond(RIGHT)
        assert await stage.outcome() is None
        assert stage.proofs()[-3:] == [False, True, True]

    staged(level, verb, script)


@both
@every
def test_A24_a_verb_is_abandoned(level: int, verb: str) -> None:
    async def script(stage: Stage) -> None:
        stage.handles()[0].abandon()
        await stage.gives_up(AuthAbandoned)

    staged(level, verb, script)


@both
@every
def test_A24_A23_a_verb_too_late(level: int, verb: str) -> None:
    async def script(stage: Stage) -> None:
        await advance(MAX_WAIT + 0.5)
        await stage.gives_up(AuthExpired)

    staged(level, verb, script)
