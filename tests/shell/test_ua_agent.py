"""Level 2 against a server on loopback: accounts, requests, listeners, and what must not leak.  Time is stepped."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

from sipcli.config import Config, PolicyConfig
from sipcli.credentials import NotFound
from sipcli.errors import (
    AuthRefused,
    ChallengeGone,
    ConfigError,
    NoCredentials,
)
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.account import Account
from sipcli.ua.agent import UserAgent
from sipcli.ua.auth.challenge import DeferredChallenge
from sipcli.ua.brokered import BrokeredAccount
from sipcli.ua.net.localhost import local_host, source_towards
from tests.support.agentkit import site
from tests.support.authkit import password
from tests.support.brokerkit import Blocking, FakeProvider, Keeper, right
from tests.support.clock import settle, stepped, until

RIGHT = password("wonderland")


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


async def test_an_agent_that_never_began_has_nothing_to_tell_once_it_is_closed() -> None:
    agent = UserAgent()
    before = agent.events()
    await agent.close()
    assert [notice async for notice in before] == [notice async for notice in agent.events()] == []


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
        s.agent._listeners._callbacks.clear()
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

            account.auth._authorizer.proofs.clear()
            task = asyncio.ensure_future(account.message("echo", "hello"))
            while not deferred:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            with pytest.raises(ChallengeGone):
                deferred[0].respond(RIGHT)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
