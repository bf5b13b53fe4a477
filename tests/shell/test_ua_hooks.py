"""The hooks of levels 2 and 3, as methods and as coroutines, against a server on loopback.  Time is stepped."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from typing import Any

import pytest

from sipcli.credentials import Cancelled
from sipcli.errors import (
    AuthAbandoned,
    AuthExpired,
    ChallengeGone,
    UnregisteredThread,
)
from sipcli.ua.account import Account
from sipcli.ua.agent import AuthChallengeParam, UserAgent
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge
from tests.support.agentkit import site
from tests.support.authkit import password
from tests.support.brokerkit import right
from tests.support.clock import advance, settle, stepped, until

RIGHT = password("wonderland")


# --- hooks ----------------------------------------------------------------------------------------------------


class Recording(Account):
    order: list[str]

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        self.order.append("level 3")


@stepped
async def test_level_2_comes_first_then_level_3_then_the_accounts_own() -> None:
    order: list[str] = []

    def hook(param: AuthChallengeParam) -> None:
        order.append("level 2")
        assert param.request.method == "REGISTER" and param.response.status == 401
        assert param.challenges[0].realm == "sandbox" and param.call is None

    async with site(on_auth_challenge=hook) as s:
        account = s.account(Recording, own=[RIGHT])
        account.order = order
        await account.register()
        assert order == ["level 2", "level 3"]


@stepped
async def test_level_2_handles_at_once_with_the_session() -> None:
    def hook(param: AuthChallengeParam) -> None:
        param.handled = True
        plan = param.session.reinit_request(param.token, [password("wonderland")])
        assert plan is not None
        param.session.send_request(param.token, plan)

    async with site(on_auth_challenge=hook) as s:
        account = s.account(Recording)
        account.order = []
        await account.register()
        assert account.order == []


@stepped
async def test_level_2_keeps_the_token_for_later() -> None:
    kept: list[AuthChallengeParam] = []

    def hook(param: AuthChallengeParam) -> None:
        param.handled = True
        kept.append(param)

    async with site(on_auth_challenge=hook) as s:
        task = asyncio.ensure_future(s.account(Account).register())
        await until(lambda: kept)
        await advance(100)
        with s.agent.turn():
            plan = kept[0].session.reinit_request(kept[0].token, [password("wonderland")])
            assert plan is not None
            kept[0].session.send_request(kept[0].token, plan)
        await task


@stepped
async def test_level_2_defers_to_a_thread() -> None:
    threads: list[threading.Thread] = []

    async with site() as s:

        def hook(param: AuthChallengeParam) -> None:
            deferred = param.defer()
            assert param.handled

            def work() -> None:
                with s.agent.threads.register("mine"):
                    deferred.send_request(password("wonderland"))

            threads.append(threading.Thread(target=work))
            threads[0].start()

        s.agent.auth_desk._hook = hook
        await s.account(Account).register()
        threads[0].join()


@pytest.mark.parametrize("how", ["raises", "defers and raises"])
def test_an_exception_in_level_2_counts_as_not_handled(how: str, caplog: pytest.LogCaptureFixture) -> None:
    @stepped
    async def run() -> None:
        def hook(param: AuthChallengeParam) -> None:
            if how != "raises":
                param.defer()
            raise ZeroDivisionError("mine")

        async with site(right(), on_auth_challenge=hook) as s:
            await s.account().register()
            gc.collect()
            await settle()

    run()
    assert "ZeroDivisionError" in caplog.text and "on_auth_challenge" in caplog.text


@pytest.mark.parametrize("how", ["raises", "defers and raises", "answers and raises"])
def test_an_exception_in_level_3_counts_as_not_handled(how: str, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Account):
        def on_auth_challenge(self, challenge: AuthChallenge) -> None:
            if how == "defers and raises":
                challenge.defer()
            elif how == "answers and raises":
                challenge.respond(password("wonderland"))
            raise ZeroDivisionError("mine")

    @stepped
    async def run() -> None:
        async with site() as s:
            await s.account(Broken, own=[password("wonderland")]).register()
            gc.collect()
            await settle()

    run()
    assert "ZeroDivisionError" in caplog.text


def test_async_hooks_are_refused_with_a_message(caplog: pytest.LogCaptureFixture) -> None:
    async def level2(param: AuthChallengeParam) -> None: ...

    with pytest.raises(TypeError, match=r"use @account\.on_challenge"):
        UserAgent(on_auth_challenge=level2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Wrong\.on_auth_challenge is `async def`"):

        class Wrong(Account):
            async def on_auth_challenge(self, challenge: AuthChallenge) -> None: ...  # type: ignore[override]

    @stepped
    async def run() -> None:
        async with site(right()) as s:
            account = s.account(Account, own=[password("wonderland")])
            account.on_auth_challenge = level2  # type: ignore[method-assign, assignment]
            await account.register()

    run()
    assert "use @account.on_challenge" in caplog.text


@stepped
async def test_respond_at_once_from_level_3() -> None:
    class Quick(Account):
        def on_auth_challenge(self, challenge: AuthChallenge) -> None:
            challenge.respond(password("wonderland"))

    async with site() as s:
        await s.account(Quick).register()
        assert "waiting" not in s.states()


@stepped
async def test_from_an_unregistered_thread_it_is_an_error_and_then_works_from_a_registered_one() -> None:
    errors: list[Exception] = []
    threads: list[threading.Thread] = []

    class Mine(Account):
        def on_auth_challenge(self, challenge: AuthChallenge) -> None:
            deferred = challenge.defer()

            def work() -> None:
                try:
                    deferred.respond(RIGHT)
                except UnregisteredThread as error:
                    errors.append(error)
                with self.agent.threads.register("mine"):
                    deferred.respond(password("wonderland"))

            threads.append(threading.Thread(target=work))
            threads[0].start()

    async with site() as s:
        await s.account(Mine).register()
        threads[0].join()
        assert len(errors) == 1


@stepped
async def test_a_dropped_handle_fails_the_registration_with_a_warning() -> None:
    class Drops(Account):
        def on_auth_challenge(self, challenge: AuthChallenge) -> None:
            challenge.defer()

    async with site() as s:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(AuthAbandoned, match="dropped without an answer"):
                await s.account(Drops).register()
        assert [w.category for w in caught if w.category is ResourceWarning] == [ResourceWarning]
        assert [n.outcome for n in s.told("auth.done")] == ["abandoned"]


@stepped
async def test_a_challenge_nobody_decides_ends_at_max_wait() -> None:
    handles: list[DeferredChallenge] = []

    class Forgets(Account):
        def on_auth_challenge(self, challenge: AuthChallenge) -> None:
            handles.append(challenge.defer())

    async with site(max_wait=7) as s:
        task = asyncio.ensure_future(s.account(Forgets).register())
        await until(lambda: handles)
        await advance(7.1)
        with pytest.raises(AuthExpired):
            await task
        with pytest.raises(ChallengeGone, match="expired"):
            handles[0].respond(RIGHT)


# --- coroutines -----------------------------------------------------------------------------------------------


@stepped
async def test_a_coroutine_may_take_its_time() -> None:
    async with site() as s:
        account = s.account(Account)

        @account.on_challenge
        async def ask(challenge: DeferredChallenge) -> Any:
            assert challenge.realm == "sandbox"
            await asyncio.sleep(90)
            return password("wonderland")

        task = asyncio.ensure_future(account.register())
        await until(lambda: account._tasks)
        await advance(91)
        await task


@stepped
async def test_a_coroutine_may_answer_several_realms() -> None:
    async with site(box={"realms": ("A", "B"), "realm_users": {"A": {"alice": "a"}, "B": {"alice": "b"}}}) as s:
        account = s.account(Account)

        @account.on_challenge
        async def ask(challenge: DeferredChallenge) -> Any:
            return [password(c.realm.lower(), realm=c.realm) for c in challenge.challenges]

        await account.register()
        assert [n.realm for n in s.told("auth.challenged")] == ["A", "B"]
        ids = [n.challenge for n in s.told("auth.done")]
        assert len(ids) == 2 and ids[1] == f"{ids[0]}.2"


@pytest.mark.parametrize("how", ["None", "raises"])
def test_a_coroutine_that_does_not_decide_leaves_it_to_the_chain(how: str) -> None:
    @stepped
    async def run() -> None:
        async with site(provider := right()) as s:
            account = s.account()

            @account.on_challenge
            async def ask(challenge: DeferredChallenge) -> Any:
                if how == "raises":
                    raise KeyError(how)

            await account.register()
            assert len(provider.requests) == 1

    run()


@stepped
async def test_a_coroutine_that_does_not_decide_for_a_plain_account_leaves_it_to_its_own() -> None:
    async with site() as s:
        account = s.account(Account, own=[password("wonderland")])

        @account.on_challenge
        async def ask(challenge: DeferredChallenge) -> Any:
            return None

        await account.register()


@stepped
async def test_a_coroutine_gives_up_or_decides_by_itself() -> None:
    async with site() as s:
        account = s.account(Account)

        @account.on_challenge
        async def ask(challenge: DeferredChallenge) -> Any:
            raise Cancelled("no")

        with pytest.raises(AuthAbandoned):
            await account.register()

        @account.on_challenge
        async def by_itself(challenge: DeferredChallenge) -> Any:
            challenge.respond(password("wonderland"))
            raise Cancelled("too late")

        await account.register()


@stepped
async def test_A27_a_coroutine_that_returns_a_plain_text_is_told_so_and_its_account_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with site() as s:
        account = s.account(Account, own=[password("wonderland")])

        @account.on_challenge
        async def ask(challenge: DeferredChallenge) -> Any:
            return "hunter2-canary"

        await account.register()
    assert "PasswordCredentials(user, Secret(password))" in caplog.text and "hunter2" not in caplog.text


@stepped
async def test_a_coroutine_is_cancelled_when_its_challenge_ends_and_at_max_wait() -> None:
    ended: list[str] = []

    async with site(max_wait=10) as s:
        account = s.account()

        @account.on_challenge
        async def ask(challenge: DeferredChallenge) -> Any:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                ended.append(challenge._verdict.state.value)
                raise

        task = asyncio.ensure_future(account.register())
        await until(lambda: account._tasks)
        await settle()
        task.cancel()
        await settle()
        assert ended == ["revoked"]
        task = asyncio.ensure_future(account.register())
        await until(lambda: account._tasks)
        await advance(10)
        with pytest.raises(AuthExpired):
            await task
        assert ended == ["revoked", "open"] and not account._tasks


@stepped
async def test_a_coroutine_still_running_when_the_account_closes_is_cancelled() -> None:
    async with site() as s:
        account = s.account(Account)

        @account.on_challenge
        async def ask(challenge: DeferredChallenge) -> Any:
            await asyncio.Event().wait()

        task = asyncio.ensure_future(account.register())
        await until(lambda: account._tasks)
        await account.close()
        with pytest.raises(AuthAbandoned):
            await task
        await settle()
        assert not account._tasks
