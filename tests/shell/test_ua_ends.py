"""Whatever ends a pending challenge, whoever still holds it: a typed error, and nothing on the wire (item A27)."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from sipcli.errors import AgentClosed, ChallengeGone, SipcliError, TokenSpent
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.account import Account
from sipcli.ua.agent import AuthChallengeParam
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge
from tests.support.agentkit import Site, site
from tests.support.authkit import password
from tests.support.brokerkit import FakeProvider
from tests.support.clock import advance, live, live_until, settle, stepped

Verbs = dict[str, Callable[[], None]]


class Holder(Account):
    """Level 3: keeps its challenges, and decides nothing."""

    held: list[Verbs]

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        deferred = challenge.defer()
        self.held.append({"respond": lambda: deferred.respond(password("wonderland")), "abandon": deferred.abandon})


def level_1(held: list[Verbs]) -> Callable[[AuthChallengeParam], None]:
    """Keeps session and token, with a plan made while the token lived."""

    def hook(param: AuthChallengeParam) -> None:
        param.handled = True
        session, token = param.session, param.token
        plan = session.reinit_request(token, [password("wonderland")])
        assert plan is not None
        held.append({"respond": lambda: session.send_request(token, plan), "abandon": lambda: session.abandon(token)})

    return hook


def level_2(held: list[Verbs]) -> Callable[[AuthChallengeParam], None]:
    def hook(param: AuthChallengeParam) -> None:
        deferred = param.defer()
        held.append({"respond": lambda: deferred.send_request(password("wonderland")), "abandon": deferred.abandon})

    return hook


async def _register(s: Site, account: Account) -> None:
    await account.register()


async def _call(s: Site, account: Account) -> None:
    call = await account.call("echo")
    try:
        await call.answered()
    finally:
        await call.hangup()


async def _message(s: Site, account: Account) -> None:
    await account.message("echo", "hello")


async def _options(s: Site, account: Account) -> None:
    await account.options(SipUri.parse(s.box.uri()))


_ACTS = {"REGISTER": _register, "INVITE": _call, "MESSAGE": _message, "OPTIONS": _options}


async def _cancelled(s: Site, account: Account, task: asyncio.Task[None]) -> None:
    task.cancel()


async def _account_closed(s: Site, account: Account, task: asyncio.Task[None]) -> None:
    await live(account.close())


async def _agent_closed(s: Site, account: Account, task: asyncio.Task[None]) -> None:
    await live(s.agent.close())


async def _too_late(s: Site, account: Account, task: asyncio.Task[None]) -> None:
    await advance(181)


_ENDS: dict[str, Callable[[Site, Account, asyncio.Task[None]], Awaitable[None]]] = {
    "cancelled": _cancelled,
    "account closed": _account_closed,
    "agent closed": _agent_closed,
    "ceiling": _too_late,
}


def _on_a_thread(s: Site, act: Callable[[], None]) -> Exception | None:
    """What *act* raised on a registered thread of its own."""
    raised: list[Exception] = []

    def run() -> None:
        with s.agent.threads.register("late"):
            try:
                act()
            except Exception as error:
                raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.parametrize("verb", ["respond", "abandon"])
@pytest.mark.parametrize("end", list(_ENDS))
@pytest.mark.parametrize("method", list(_ACTS))
@pytest.mark.parametrize("level", [1, 2, 3])
def test_after_the_end_every_verb_is_an_error_and_sends_nothing(level: int, method: str, end: str, verb: str) -> None:
    @stepped
    async def run() -> None:
        held: list[Verbs] = []
        hook = {1: level_1(held), 2: level_2(held), 3: None}[level]
        async with site(box={"challenged": frozenset({method})}, on_auth_challenge=hook) as s:
            account = s.account(Holder)
            account.held = held
            task = asyncio.ensure_future(_ACTS[method](s, account))
            await live_until(lambda: held)
            await _ENDS[end](s, account, task)
            await live_until(task.done)
            if method != "OPTIONS":  # where any answer is a success, also the 401
                assert task.cancelled() or isinstance(task.exception(), SipcliError)
            await live(asyncio.sleep(0))
            before = {name: s.sent(name) for name in (*_ACTS, "ACK", "CANCEL", "BYE")}
            assert before[method] == 1
            for _ in range(2):
                if level == 1:  # the session is for the loop's thread only
                    with pytest.raises(TokenSpent):
                        held[0][verb]()
                else:
                    error = _on_a_thread(s, held[0][verb])
                    assert isinstance(error, AgentClosed if end == "agent closed" else ChallengeGone)
            await settle()
            if end != "agent closed":
                await advance(40)
            assert {name: s.sent(name) for name in before} == before
            assert before["CANCEL"] == before["BYE"] == 0
            assert account.auth.pending == () and len(s.agent.auth_desk) == 0

    run()


def _has(held: list[Verbs], count: int) -> bool:
    return len(held) == count


@stepped
async def test_several_calls_challenged_at_once_each_ends_in_its_own_way() -> None:
    async with site(box={"challenged": frozenset({"INVITE"})}) as s:
        account = s.account(Holder)
        account.held = []
        calls = []
        for count in range(1, 6):
            calls.append(await live(account.call("echo")))
            await live_until(partial(_has, account.held, count))
        await live(calls[1].hangup())
        account.held[3]["abandon"]()
        for index in (4, 0, 2):
            account.held[index]["respond"]()
        for index in (0, 2, 4):
            await live(calls[index].answered())
        for index in (1, 3):
            with pytest.raises(SipcliError):
                await live(calls[index].answered())
        with pytest.raises(ChallengeGone):
            account.held[1]["respond"]()
        assert s.sent("INVITE") == 5 + 3
        for index in (0, 2, 4):
            await live(calls[index].hangup())


@stepped
async def test_three_hundred_accounts_are_challenged_at_once_and_all_register() -> None:
    """There is no limit compiled in; each gets its own secret."""
    names = [f"user{number}" for number in range(300)]
    store = FakeProvider(lambda request: password(f"secret of {request.username}", request.username))
    async with site(store, box={"users": {name: f"secret of {name}" for name in names}}) as s:
        accounts: list[Account] = [
            s.account(name=name, username=name, aor=SipUri.parse(f"sip:{name}@127.0.0.1")) for name in names
        ]
        await live(asyncio.gather(*(account.register() for account in accounts)), within=120)
        assert {account.state for account in accounts} == {"registered"}
        assert len(store.requests) == len(names)
        assert s.sent("REGISTER") == 2 * len(names)
        await live(asyncio.gather(*(account.close() for account in accounts)), within=120)


# --- a registration between two states --------------------------------------------------------------------------


async def test_registering_again_while_the_binding_is_taken_back_binds_anew() -> None:
    async with site(FakeProvider(password("wonderland"))) as s:
        account: Account = s.account()
        await account.register()
        leaving = asyncio.ensure_future(account.unregister())
        await asyncio.sleep(0)
        await account.register()
        await leaving
        assert account.state == "registered"
        assert account.binding is not None
        await account.unregister()
        assert account.state == "unregistered"
        assert s.states()[-4:] == ["unregistered", "trying", "registered", "unregistered"]


class Keeps(Account):
    kept: list[DeferredChallenge]

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        self.kept.append(challenge.defer())


@stepped
async def test_a_binding_that_is_over_while_its_refresh_waits_is_not_given_out() -> None:
    async with site(max_wait=1000) as s:
        account = s.account(Keeps)
        account.kept = []
        task = asyncio.ensure_future(account.register(expires=600))
        await live_until(lambda: account.kept)
        account.kept[0].respond(password("wonderland"))
        old = await live(task)
        s.box.change(users={"alice": "changed"})
        await advance(481)
        await live_until(lambda: len(account.kept) == 2)
        await advance(120)
        waiting = asyncio.ensure_future(account.register())
        await settle()
        assert not waiting.done()
        account.kept[1].respond(password("changed"))
        assert (await live(waiting)).expires_at > old.expires_at


async def test_the_next_account_of_the_same_name_gets_nothing_of_the_last() -> None:
    store = FakeProvider(password("wonderland"), password("builder", "bob"))
    async with site(store, box={"users": {"alice": "wonderland", "bob": "builder"}}) as s:
        first: Account = s.account()
        await first.register()
        await first.close()
        assert len(s.agent.broker.cache) == 0
        second: Account = s.account(aor=SipUri.parse("sip:bob@127.0.0.1"), username="bob")
        await second.register()
        assert len(store.requests) == 2


# --- handles ------------------------------------------------------------------------------------------------------


async def test_deferring_twice_at_level_2_gives_the_same_handle() -> None:
    """One that was dropped must not take the decision from the one that is kept."""
    kept: list[Any] = []

    def hook(param: AuthChallengeParam) -> None:
        assert param.defer() is not None  # dropped at once
        kept.append(param.defer())
        assert param.defer() is kept[0]

    async with site(on_auth_challenge=hook) as s:
        task = asyncio.ensure_future(s.account(Account).register())
        while not kept:
            await asyncio.sleep(0.001)
        gc.collect()
        await asyncio.sleep(0.02)
        kept.pop().send_request(password("wonderland"))
        await task


async def test_leaving_with_no_time_left_and_nothing_to_wait_for_warns_of_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with site() as s:
        await s.agent.broker.drain(0.0)
    assert not caplog.records
