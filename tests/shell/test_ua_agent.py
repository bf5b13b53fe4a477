"""Levels 2 and 3 against a server on loopback: hooks, registrations, and every way they end.  Time is stepped."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import warnings
import weakref
from typing import Any

import pytest

from sipcli.config import Config, PolicyConfig
from sipcli.credentials import Cancelled, Denied, NotFound, Unavailable
from sipcli.errors import (
    AgentClosed,
    AuthAbandoned,
    AuthExpired,
    AuthRefused,
    ChallengeGone,
    ConfigError,
    NoAnswer,
    NoCredentials,
    ProviderFailed,
    UnregisteredThread,
)
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.account import Account
from sipcli.ua.agent import AuthChallengeParam, UserAgent
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge
from sipcli.ua.brokered import BrokeredAccount
from sipcli.ua.net.localhost import local_host, source_towards
from tests.support.agentkit import site
from tests.support.authkit import password
from tests.support.brokerkit import HANG, FakeProvider, Keeper
from tests.support.clock import advance, settle, stepped, until

RIGHT = password("wonderland")


def right() -> FakeProvider:
    return FakeProvider(lambda _: password("wonderland"))


class Blocking(FakeProvider):
    """Waits for its cancel signal, as a store that is down does."""

    def get(self, request: Any) -> Any:
        self.requests.append(request)
        request.cancel.wait(30)
        raise Cancelled("cancelled")


# --- registering ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_register_and_take_it_back(transport: Any) -> None:
    @stepped
    async def run() -> None:
        async with site(right(), box={"max_expires": 500}) as s:
            account = s.account(transport=transport)
            binding = await account.register()
            assert (binding.expires_s, account.state, account.binding) == (500, "registered", binding)
            assert len(s.box.bindings("alice")) == 1
            assert await account.register() is binding, "it is registered already"
            await account.unregister()
            assert (account.state, account.binding, s.box.bindings("alice")) == ("unregistered", None, ())
            await account.unregister()
            assert s.states() == ["trying", "waiting", "registered", "unregistered"]

    run()


@stepped
async def test_what_is_told_of_a_challenge() -> None:
    async with site(FakeProvider(password("wonderland", ref="vault:voip/alice#7"))) as s:
        await s.account().register()
        (challenged,) = s.told("auth.challenged")
        (asked,) = s.told("auth.provider")
        (done,) = s.told("auth.done")
        assert (challenged.account, challenged.method, challenged.code, challenged.realm) == (
            "work",
            "REGISTER",
            401,
            "sandbox",
        )
        assert (challenged.chosen, challenged.attempt, challenged.call) == ("SHA-256", 1, None)
        assert [(x.scheme, x.algorithm, x.qop, x.stale) for x in challenged.schemes] == [
            ("Digest", "SHA-256", ("auth",), False),
            ("Digest", "MD5", ("auth",), False),
        ]
        assert (asked.challenge, asked.secret_ref) == (challenged.challenge, "vault:voip/alice#7")
        assert (done.challenge, done.outcome, done.scheme, done.algorithm, done.cause) == (
            challenged.challenge,
            "answered",
            "Digest",
            "SHA-256",
            "fresh",
        )
        order = [notice.event for notice in s.notices]
        assert order == [
            "registration",
            "auth.challenged",
            "registration",
            "auth.provider",
            "auth.done",
            "registration",
        ]
        registered = s.told("registration")[-1]
        assert (registered.code, registered.expires_s, registered.via.transport) == (200, 600, "udp")


@stepped
async def test_five_who_register_at_once_send_one_register() -> None:
    async with site(provider := right()) as s:
        account = s.account()
        bindings = await asyncio.gather(*(account.register() for _ in range(5)))
        assert len({id(binding) for binding in bindings}) == 1
        assert s.sent("REGISTER") == 2 and len(provider.requests) == 1


@stepped
async def test_registered_is_a_block() -> None:
    async with site(right()) as s:
        async with s.account().registered(expires=100) as binding:
            assert binding.expires_s == 100
        assert s.box.bindings("alice") == ()


@stepped
async def test_a_binding_is_refreshed_with_the_cached_secret() -> None:
    async with site(provider := right(), box={"nonce_lifetime": 1}) as s:
        account = s.account()
        await account.register(expires=600)
        await advance(481)
        await until(lambda: s.sent("REGISTER") >= 4)
        assert account.state == "registered" and len(provider.requests) == 1


@stepped
async def test_wrong_password_is_sent_once_and_refused() -> None:
    async with site(FakeProvider(lambda _: password("wrong", ref="vault:x"))) as s:
        with pytest.raises(AuthRefused) as raised:
            await s.account().register()
        assert s.sent("REGISTER") == 2
        error = raised.value
        assert (
            str(error)
            == 'registration refused: 401 Unauthorized from 127.0.0.1 (realm "sandbox"); the answer used vault:x'
        )
        assert (error.code, error.realm) == (401, "sandbox")
        assert error.hint == "is that the right secret, and the right user name (--username NAME)?"
        assert s.states()[-1] == "refused"


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (NotFound("no entry"), NoCredentials, 'no credentials (p: no entry) (asked by 127.0.0.1, realm "sandbox")'),
        (Denied("the keychain is locked"), ProviderFailed, "p: the keychain is locked"),
        (Unavailable("sealed", retry_after=999), ProviderFailed, "p: sealed"),
        (Cancelled("^C"), AuthAbandoned, "the challenge was abandoned"),
        (KeyError("x"), ProviderFailed, "provider p is broken: it raised KeyError"),
    ],
)
def test_what_providers_say_reaches_the_caller(answer: Exception, kind: type[Exception], text: str) -> None:
    @stepped
    async def run() -> None:
        async with site(FakeProvider(answer)) as s:
            with pytest.raises(kind) as raised:
                await s.account().register()
            assert text in str(raised.value)
            assert s.states()[-1] == "failed"
            assert s.sent("REGISTER") == 1

    run()


@stepped
async def test_a_provider_that_is_too_slow_expires_the_challenge() -> None:
    async with site(slow := Blocking(), max_wait=5) as s:
        task = asyncio.ensure_future(s.account().register())
        await until(lambda: slow.requests)
        await advance(5)
        with pytest.raises(AuthExpired, match="p did not answer the challenge in time") as raised:
            await task
        assert not raised.value.awaited_person
        assert slow.requests[0].cancel.is_set()


@stepped
async def test_a_person_who_is_too_slow_is_named_so() -> None:
    person = Blocking(name="p", interactive=True)
    async with site(person) as s:
        task = asyncio.ensure_future(s.account().register())
        await until(lambda: person.requests)
        await advance(120)
        with pytest.raises(AuthExpired, match="nobody answered") as raised:
            await task
        assert raised.value.awaited_person
        assert [n.provider for n in s.told("auth.needed")] == ["p"]


@stepped
async def test_nobody_is_asked_when_nobody_may_be() -> None:
    person = FakeProvider(RIGHT, interactive=True)
    async with site(person, interactive=False) as s:
        with pytest.raises(NoCredentials, match="nobody may be asked now"):
            await s.account().register()
        assert person.requests == []


@stepped
async def test_nobody_answers_on_the_network() -> None:
    async with site(right(), box={"lose": 10**6}) as s:
        account = s.account()
        task = asyncio.ensure_future(account.register())
        await advance(33)
        with pytest.raises(NoAnswer):
            await task
        assert account.state == "failed"


@stepped
async def test_with_retry_it_goes_on_until_it_succeeds() -> None:
    async with site(right(), box={"lose": 11}) as s:
        account = s.account()
        task = asyncio.ensure_future(account.register(retry=True))
        await advance(33)
        assert "retrying" in s.states() and not task.done()
        while s.sent("REGISTER") == 11:
            await advance(1)
        await until(task.done)
        assert task.result().expires_s == 600


@stepped
async def test_without_keep_the_registration_ends_with_its_first_failed_refresh() -> None:
    async with site(right(), box={}) as s:
        account = s.account()
        await account.register(expires=60, keep=False)
        s.box.change(lose=10**6)
        await advance(100)
        assert account.state == "failed"


@stepped
async def test_a_refresh_prompts_nobody_and_does_not_wait_past_expiry() -> None:
    person = FakeProvider(password("wonderland", expires_in=100), HANG, interactive=True)
    async with site(person) as s:
        account = s.account()
        await account.register(expires=600)
        s.box.change(users={"alice": "changed"})
        await advance(481)
        await until(lambda: account.state == "retrying")
        assert len(person.requests) == 1


@stepped
async def test_a_refresh_gives_a_slow_store_until_32_s_before_expiry() -> None:
    class OnceThenSlow(Blocking):
        def get(self, request: Any) -> Any:
            if not self.requests:
                self.requests.append(request)
                return password("wonderland", expires_in=10)
            return super().get(request)

    async with site(store := OnceThenSlow(), box={"users": {"alice": "wonderland"}}, max_wait=500) as s:
        account = s.account()
        await account.register(expires=600)
        s.box.change(users={"alice": "changed"})
        await advance(481)
        await until(lambda: len(store.requests) == 2)
        await advance(600 - 32 - 481 - 2)
        assert not store.requests[1].cancel.is_set()
        await advance(4)
        assert store.requests[1].cancel.is_set() and account.state == "retrying"


# --- cancelled, closed ----------------------------------------------------------------------------------------


@stepped
async def test_cancelling_register_while_a_challenge_is_pending_sends_nothing() -> None:
    async with site(slow := Blocking()) as s:
        account = s.account()
        task = asyncio.ensure_future(account.register())
        await until(lambda: slow.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settle()
        assert s.sent("REGISTER") == 1 and account.auth.pending == ()
        assert slow.requests[0].cancel.is_set()
        assert [n.outcome for n in s.told("auth.done")] == ["revoked"]


@stepped
async def test_closing_the_account_abandons_what_is_pending_first() -> None:
    handles: list[DeferredChallenge] = []

    class Keeps(Account):
        def on_auth_challenge(self, challenge: AuthChallenge) -> None:
            handles.append(challenge.defer())

    async with site() as s:
        account = s.account(Keeps)
        task = asyncio.ensure_future(account.register())
        await until(lambda: handles)
        await account.close()
        await account.close()
        with pytest.raises(AuthAbandoned):
            await task
        with pytest.raises(ChallengeGone, match="abandoned"):
            handles[0].respond(RIGHT)
        with pytest.raises(AgentClosed):
            await account.register()
        assert s.sent("REGISTER") == 1
        assert s.agent.accounts == ()
        s.account()  # its name is free again


@stepped
async def test_closing_the_agent_with_a_challenge_pending() -> None:
    async with site(slow := Blocking(), close=False) as s:
        task = asyncio.ensure_future(s.account().register())
        await until(lambda: slow.requests)
        await s.agent.close()
        with pytest.raises(AuthAbandoned):
            await task
        assert slow.requests[0].cancel.is_set()
        await until(lambda: s.agent.threads.names == ())
        with pytest.raises(AgentClosed):
            s.agent.add_account(s.config("other"))
        await s.agent.close()


@stepped
async def test_closing_unbinds_from_the_cache_and_asks_nobody() -> None:
    async with site(provider := right(), box={"nonce_uses": 1}, close=False) as s:
        await s.account().register()
        await s.agent.close()
        assert s.box.bindings("alice") == () and len(provider.requests) == 1


@stepped
async def test_closing_takes_two_seconds_at_most_when_the_registrar_is_silent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with site(right(), close=False) as s:
        await s.account().register()
        s.box.change(lose=10**6)
        began = s.agent.gate.loop.time()
        task = asyncio.ensure_future(s.agent.close())
        await advance(2.01)
        await until(task.done)
        assert s.agent.gate.loop.time() - began < 2.1
        assert "did not confirm" in caplog.text


@stepped
async def test_a_handle_outlives_the_agent_and_says_so() -> None:
    handles: list[DeferredChallenge] = []

    class Keeps(Account):
        def on_auth_challenge(self, challenge: AuthChallenge) -> None:
            handles.append(challenge.defer())

    async with site(close=False) as s:
        task = asyncio.ensure_future(s.account(Keeps).register())
        await until(lambda: handles)
        await s.agent.close()
        with pytest.raises(AuthAbandoned):
            await task
        with pytest.raises(AgentClosed):
            handles[0].respond(RIGHT)


@stepped
async def test_an_agent_that_was_not_started_says_so() -> None:
    agent = UserAgent()
    with pytest.raises(AgentClosed, match="not started"):
        agent.turn()
    await agent.close()
    with pytest.raises(AgentClosed):
        await agent.start()


# --- accounts -------------------------------------------------------------------------------------------------


@stepped
async def test_accounts_come_from_the_configuration() -> None:
    async with site(right()) as s:
        s.agent.config = Config(default_account="b").with_account(s.config("a")).with_account(s.config("b"))
        account = s.agent.account()
        assert (account.name, s.agent.account("b")) == ("b", account)
        assert repr(account) == "<BrokeredAccount b unregistered>"
        with pytest.raises(ConfigError, match="no account 'c'") as raised:
            s.agent.account("c")
        assert raised.value.hint == "accounts of the configuration: a, b"
        with pytest.raises(ConfigError, match="already"):
            s.agent.add_account(s.config("b"))
        with pytest.raises(ConfigError):
            UserAgent().account()


@stepped
async def test_credentials_of_the_program_come_before_the_chain() -> None:
    async with site(provider := right()) as s:
        account = s.account(own=[password("wonderland")])
        await account.register()
        assert provider.requests == []
        assert [n.outcome for n in s.told("auth.done")] == ["declined"]


@stepped
async def test_when_they_are_refused_the_chain_is_asked() -> None:
    async with site(provider := right()) as s:
        await s.account(own=[password("stale")]).register()
        (request,) = provider.requests
        assert request.rejected is not None and request.rejected.provider == "configuration"


@stepped
async def test_a_plain_account_is_answered_by_its_own_credentials() -> None:
    """Level 3, not handled: the synchronous path, as if nothing were asynchronous."""
    async with site() as s:
        await s.account(Account, own=[password("wonderland")]).register()
        assert s.sent("REGISTER") == 2


@stepped
async def test_two_agents_do_not_know_each_others_threads() -> None:
    async with site() as one, site() as two:
        with one.agent.threads.register("mine"):
            assert one.agent.threads.registered and not two.agent.threads.registered


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


# --- saving ---------------------------------------------------------------------------------------------------


@stepped
async def test_save_keeps_what_the_server_has_accepted() -> None:
    keychain = Keeper(NotFound("none"), name="keychain")
    person = FakeProvider(password("wonderland"), name="prompt", interactive=True)
    async with site(keychain, person, save=True, close=False) as s:
        await s.account(credentials=("keychain", "prompt")).register()
        await s.agent.close()
        assert [c.secret.reveal() for c in keychain.remembered] in ([b"wonderland"], [b""])
        assert len(keychain.remembered) == 1


# --- listening ------------------------------------------------------------------------------------------------


@stepped
async def test_events_are_an_iterator_that_ends_with_the_agent() -> None:
    async with site(right(), close=False) as s:
        events = s.agent.events()
        await s.account().register()
        await s.agent.close()
        seen = [notice.event async for notice in events]
        assert seen[0] == seen[-1] == "registration" and "auth.done" in seen
        assert [notice async for notice in s.agent.events()] == []


@stepped
async def test_a_listener_that_fails_does_not_deafen_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async with site(right()) as s:
        unsubscribe = s.agent.subscribe(lambda notice: 1 / 0)
        heard: list[str] = []
        s.agent.subscribe(lambda notice: heard.append(notice.event))
        await s.account().register()
        unsubscribe()
        unsubscribe()
        assert "auth.done" in heard and "a listener failed" in caplog.text


@stepped
async def test_every_message_on_the_wire_is_told_masked_when_asked() -> None:
    async with site(right(), trace=True) as s:
        await s.account().register()
        traces = s.told("trace")
        assert [t.direction for t in traces] == ["out", "in", "out", "in"]
        assert traces[0].start_line.startswith("REGISTER sip:127.0.0.1")
        assert "wonderland" not in "".join(t.sip for t in traces)
        assert 'response="***"' in traces[2].sip


# --- requests -------------------------------------------------------------------------------------------------


@stepped
async def test_options_reports_what_the_server_can() -> None:
    async with site() as s:
        account = s.account()
        report = await account.options(SipUri.parse(s.box.uri()))
        assert report.code == 200 and "INVITE" in report.allow and report.transport == "udp"
        assert report.rtt_ms >= 0 and report.remote.startswith("127.0.0.1:")


@stepped
async def test_options_answers_while_a_challenge_waits() -> None:
    async with site(slow := Blocking()) as s:
        account = s.account()
        task = asyncio.ensure_future(account.register())
        await until(lambda: slow.requests)
        assert (await account.options(SipUri.parse(s.box.uri()))).code == 200
        assert not task.done()
        task.cancel()
        await asyncio.wait({task})


@stepped
async def test_a_message_is_challenged_and_delivered() -> None:
    async with site(provider := right()) as s:
        account = s.account()
        await account.register()
        report = await account.message("alice", "hello")
        assert report.code in (200, 202)
        assert len(provider.requests) == 1
        s.box.send_message("alice", "hello yourself")
        await until(lambda: len(s.told("message")) == 3)
        assert {(n.direction, n.body, n.content_type) for n in s.told("message")} == {
            ("out", "hello", "text/plain"),
            ("in", "hello", "text/plain"),
            ("in", "hello yourself", "text/plain"),
        }


@stepped
async def test_a_message_that_is_not_taken_is_a_typed_error() -> None:
    async with site(FakeProvider(NotFound("none"))) as s:
        with pytest.raises(NoCredentials, match="message: no credentials"):
            await s.account().message("bob", "hello")
        assert s.agent._accounts["work"]._stories == {}


@stepped
async def test_cancelling_a_request_revokes_its_challenge() -> None:
    async with site(slow := Blocking()) as s:
        account = s.account()
        task = asyncio.ensure_future(account.message("bob", "hello"))
        await until(lambda: slow.requests)
        task.cancel()
        await asyncio.wait({task})
        assert account.auth.pending == () and s.sent("MESSAGE") == 1


# --- leaks ----------------------------------------------------------------------------------------------------


@stepped
async def test_nothing_of_a_closed_account_stays_alive() -> None:
    async with site(right()) as s:
        account = s.account(BrokeredAccount)
        await account.register()
        gone = weakref.ref(account)
        await account.close()
        del account
        s.notices.clear()
        await settle()
        gc.collect()
        assert gone() is None


def test_a_secret_appears_in_no_log_no_notice_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    canary = "hunter2-canary"

    @stepped
    async def run() -> None:
        with caplog.at_level(logging.DEBUG):
            async with site(FakeProvider(lambda _: password(canary)), trace=True) as s:
                with pytest.raises(AuthRefused) as raised:
                    await s.account().register()
                shown = f"{s.notices}{raised.value!r}{raised.value.__dict__}{s.agent.accounts}"
                assert canary not in shown
                assert canary not in str([n.to_json() for n in s.notices])

    run()
    assert canary not in caplog.text


# --- nobody is asked ------------------------------------------------------------------------------------------


@stepped
async def test_a_stale_nonce_is_told_and_asks_nobody() -> None:
    async with site(provider := right(), box={"stale_rounds": 2}) as s:
        await s.account().register()
        assert len(provider.requests) == 1 and s.sent("REGISTER") == 4
        assert [n.cause for n in s.told("auth.done")] == ["fresh", "stale", "stale"]
        challenges = s.told("auth.challenged")
        assert len(challenges) == 3 and challenges[1].schemes[0].stale
        assert len({n.challenge for n in challenges}) == 3


@stepped
async def test_a_challenge_that_policy_forbids_is_told_with_its_reason_and_prompts_nobody() -> None:
    policy = PolicyConfig(min_algorithm="SHA-256")
    async with site(provider := right(), box={"algorithms": ("MD5",)}) as s:
        with pytest.raises(AuthRefused, match="no scheme or algorithm"):
            await s.account(policy=policy).register()
        assert provider.requests == []
        (told,) = s.told("auth.challenged")
        assert [(x.algorithm, x.why) for x in told.skipped] == [("MD5", "algorithm not allowed by policy")]


@stepped
async def test_a_stale_challenge_is_silent_when_nobody_listens() -> None:
    async with site(provider := right(), box={"stale_rounds": 1}) as s:
        s.agent._listeners.clear()
        await s.account().register()
        assert len(provider.requests) == 1 and s.notices == []


@stepped
async def test_md5_in_clear_is_a_warning() -> None:
    async with site(right(), box={"algorithms": ("MD5",)}) as s:
        await s.account().register()
        (warning,) = s.told("warning")
        assert warning.code == "md5-in-clear" and warning.message.startswith("account work: ")


# --- where audio should come ----------------------------------------------------------------------------------


@stepped
async def test_our_own_address_towards_whoever_is_called() -> None:
    async with site(right()) as s:
        account = s.account()
        target = SipUri.parse("sip:echo@127.0.0.1")
        assert await local_host(s.agent, account, target) == "127.0.0.1"
        proxied = s.account(name="proxied", proxy=SipUri.parse("sip:127.0.0.2;lr"))
        assert await local_host(s.agent, proxied, SipUri.parse("sip:bob@elsewhere.test")) == "127.0.0.1"
        assert await local_host(s.agent, None, SipUri.parse("sip:bob@[::1]")) in ("::1", "127.0.0.1")
        await account.register()
        assert await local_host(s.agent, account, SipUri.parse("sip:bob@nowhere.invalid")) == "127.0.0.1"


@pytest.mark.parametrize(("host", "port", "source"), [("127.0.0.1", 0, "127.0.0.1"), ("255.255.255.255", 9, None)])
def test_the_routing_table_is_asked_without_a_packet(host: str, port: int, source: str | None) -> None:
    assert source_towards(host, port) == source


# --- another loop ---------------------------------------------------------------------------------------------


def test_everything_runs_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with site(right()) as s:
            account = s.account()
            await account.register()
            call = await account.call("echo", audio="tone:440")
            await call.answered(timeout=5)
            await call.hangup()
            assert (await call.finished()).by == "local"
            deferred: list[DeferredChallenge] = []

            @account.on_challenge
            async def ask(challenge: DeferredChallenge) -> Any:
                deferred.append(challenge)
                await asyncio.Event().wait()

            account.auth._door.proofs.clear()
            task = asyncio.ensure_future(account.message("echo", "hello"))
            while not deferred:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            with pytest.raises(ChallengeGone):
                deferred[0].respond(RIGHT)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
