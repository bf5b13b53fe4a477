"""An account registers, refreshes, is taken back and closed, against a server on loopback.  Time is stepped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sipcli.credentials import Cancelled, Denied, NotFound, Unavailable
from sipcli.errors import (
    AgentClosed,
    AuthAbandoned,
    AuthExpired,
    AuthRefused,
    ChallengeGone,
    NoAnswer,
    NoCredentials,
    ProviderFailed,
)
from sipcli.ua.account import Account
from sipcli.ua.agent import UserAgent
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge
from tests.support.agentkit import site
from tests.support.authkit import password
from tests.support.brokerkit import HANG, Blocking, FakeProvider, right
from tests.support.clock import advance, settle, stepped, until

RIGHT = password("wonderland")


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


@pytest.mark.parametrize("room", [False, True])
def test_the_next_step_names_the_keychain_where_it_has_room(room: bool) -> None:
    @stepped
    async def run() -> None:
        async with site(FakeProvider(NotFound("nothing", room=room))) as s:
            with pytest.raises(NoCredentials) as raised:
                await s.account().register()
            assert ("sipcli auth save" in (raised.value.hint or "")) is room

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
