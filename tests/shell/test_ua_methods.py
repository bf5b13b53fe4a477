"""Levels 2 and 3: each method a program can send, in and out of a call, whatever becomes of the challenge to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sipcli.errors import AuthAbandoned, AuthExpired, ChallengeGone, SipcliError
from sipcli.sip.auth import AuthSession
from sipcli.ua.account import Account
from tests.support.agentkit import Site, site
from tests.support.clock import advance, live, live_until, stepped
from tests.support.levels import RIGHT, WRONG, Asked, Handle, at_level

OUTSIDE = ("OPTIONS", "MESSAGE", "SUBSCRIBE", "PUBLISH", "NOTIFY", "REFER")
INSIDE = ("INFO", "UPDATE", "OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY", "REFER", "PRACK")
PLACES = [(method, False) for method in OUTSIDE] + [(method, True) for method in INSIDE]


class Stage:
    """One request under way, challenged once."""

    def __init__(self, s: Site, account: Asked, method: str, handles: Callable[[], list[Handle]]) -> None:
        self.s, self.account, self.method, self.handles = s, account, method, handles
        self.call: Any = None
        self.task: asyncio.Task[Any]

    async def begin(self, inside: bool) -> None:
        if inside:
            self.s.box.change(challenged=frozenset())
            self.call = await live(self.account.call("echo"))
            await live(self.call.answered())
        self.s.box.change(challenged=frozenset({self.method}))
        body: dict[str, Any] = {"body": b"hello", "content_type": "text/plain"} if self.method == "MESSAGE" else {}
        act: Awaitable[Any]
        if inside:
            act = self.call.send_request(self.method, **body)
        else:
            act = self.account.send_request(self.method, "echo", **body)
        self.task = asyncio.ensure_future(act)
        await live_until(lambda: self.handles() or self.task.done())


def staged(
    level: int, method: str, inside: bool, script: Callable[[Stage], Awaitable[None]], status: int = 407
) -> None:
    @stepped
    async def run() -> None:
        async with at_level(level, {"nonce_lifetime": 3600, "call_status": status}) as (s, account, handles):
            stage = Stage(s, account, method, handles)
            await stage.begin(inside)
            await script(stage)
            await live(account.close())

    run()


both = pytest.mark.parametrize("level", [2, 3])
everywhere = pytest.mark.parametrize(
    ("method", "inside"), PLACES, ids=[f"{m}-{'in' if i else 'out'}" for m, i in PLACES]
)


@both
@everywhere
@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.parametrize("delay", [0, 30])
def test_A24_answered_now_or_later(level: int, method: str, inside: bool, delay: int, status: int) -> None:
    async def script(stage: Stage) -> None:
        await advance(min(delay, 1) if inside else delay)  # in a call each second is a hundred packets of audio
        stage.handles()[0].respond(RIGHT)
        report = await live(stage.task)
        assert report.code not in (401, 407), "the server went on to judge the request itself"
        assert len(stage.handles()) == 1
        header = "Authorization" if status == 401 else "Proxy-Authorization"
        assert stage.s.box.requests(stage.method)[-1].find(header)

    staged(level, method, inside, script, status)


@both
@everywhere
def test_A24_wrong_then_right(level: int, method: str, inside: bool) -> None:
    async def script(stage: Stage) -> None:
        stage.handles()[0].respond(WRONG)
        await live_until(lambda: len(stage.handles()) == 2)
        stage.handles()[1].respond(RIGHT)
        assert (await live(stage.task)).code not in (401, 407)

    staged(level, method, inside, script)


@both
@everywhere
def test_A24_abandoned(level: int, method: str, inside: bool) -> None:
    async def script(stage: Stage) -> None:
        sent = stage.s.sent(method)
        stage.handles()[0].abandon()
        with pytest.raises(AuthAbandoned):
            await live(stage.task)
        with pytest.raises(ChallengeGone):
            stage.handles()[0].respond(RIGHT)
        assert stage.s.sent(method) == sent

    staged(level, method, inside, script)


@both
@pytest.mark.parametrize(("method", "inside"), [*((m, False) for m in OUTSIDE), ("SUBSCRIBE", True), ("PRACK", True)])
def test_A24_A23_too_late(level: int, method: str, inside: bool) -> None:
    async def script(stage: Stage) -> None:
        await advance(32.5 if method in ("SUBSCRIBE", "PRACK") else 200)
        with pytest.raises(AuthExpired):
            await live(stage.task)
        with pytest.raises(ChallengeGone):
            stage.handles()[0].respond(RIGHT)

    staged(level, method, inside, script)


@both
@pytest.mark.parametrize("method", INSIDE)
def test_A24_A19_hung_up_meanwhile(level: int, method: str) -> None:
    async def script(stage: Stage) -> None:
        sent = stage.s.sent(method)
        await live(stage.call.hangup())
        with pytest.raises(SipcliError):
            await live(stage.task)
        with pytest.raises(ChallengeGone):
            stage.handles()[0].respond(RIGHT)
        assert stage.s.sent(method) == sent

    staged(level, method, True, script)


@both
@everywhere
def test_A24_A27_the_account_is_closed_meanwhile(level: int, method: str, inside: bool) -> None:
    async def script(stage: Stage) -> None:
        sent = stage.s.sent(method)
        await live(stage.account.close())
        with pytest.raises(SipcliError):
            await live(stage.task)
        with pytest.raises(ChallengeGone):
            stage.handles()[0].respond(RIGHT)
        assert stage.s.sent(method) == sent

    staged(level, method, inside, script)


@both
def test_A27_a_private_challenge_is_abandoned_with_its_account(level: int) -> None:
    @stepped
    async def run() -> None:
        async with site(box={"challenged": frozenset({"MESSAGE"})}) as s:
            account = s.account(Asked, shared_auth=False)
            account.deferred = []
            task = asyncio.ensure_future(account.message("echo", "hello"))
            await live_until(lambda: account.deferred)
            assert account.auth.pending == ()
            await live(account.close())
            with pytest.raises(AuthAbandoned):
                await live(task)

    run()


def test_A18_who_wants_a_private_session_gets_one_for_each_request() -> None:
    @stepped
    async def run() -> None:
        sessions: list[AuthSession] = []
        async with site(
            box={"challenged": frozenset({"OPTIONS"})}, on_auth_challenge=lambda param: sessions.append(param.session)
        ) as s:
            account = s.account(Account, own=(RIGHT,))
            for shared in (None, True, False, False):
                report = await live(account.send_request("OPTIONS", "echo", shared_auth=shared))
                assert report.code == 200
        first, second, third, fourth = sessions
        assert first is second is account.auth
        assert len({id(session) for session in (first, third, fourth)}) == 3

    run()
