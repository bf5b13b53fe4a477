"""A registration that only a person can go on with waits for him, and holds no challenge meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sipcli.credentials import NotFound, Secret, Unavailable, UserAction
from sipcli.errors import NoCredentials
from sipcli.ua.account import Account
from sipcli.ua.auth.waiting import Answered, NotWaiting
from sipcli.ua.notices import RegistrationNotice
from tests.support.agentkit import Site, site
from tests.support.brokerkit import FakeProvider
from tests.support.clock import advance, live, stepped, until

NOBODY = NotFound("there is no terminal to ask on")


def person(*answers: Any, name: str = "p") -> FakeProvider:
    """The prompt where there is no terminal: it must not even be asked."""
    provider = FakeProvider(*answers or (NOBODY,), name=name, interactive=True)
    provider.at_terminal = True  # type: ignore[attr-defined]
    return provider


def elsewhere() -> bool:
    return True


async def waiting(s: Site, account: Account) -> asyncio.Future[Any]:
    """*account* has begun to register, and waits."""
    task = asyncio.ensure_future(account.register())
    await until(lambda: account.state == "waiting")
    assert not task.done()
    return task


async def give(s: Site, account: Account, secret: str, **more: Any) -> Answered:
    return await live(s.agent.waiting.answer(account.name, Secret(secret), **more))


@stepped
async def test_it_waits_without_a_challenge_and_goes_on_when_the_secret_comes() -> None:
    who = person()
    async with site(who, waits=elsewhere) as s:
        account = s.account()
        task = await waiting(s, account)
        (needed,) = s.told("auth.needed")
        assert (needed.account, needed.provider, needed.realm, needed.expires_in_s) == ("work", "p", "sandbox", None)
        assert account.auth.pending == ()
        assert s.told("auth.done")[-1].outcome == "abandoned"
        assert s.told("registration")[-1].reason == "a person is awaited"
        (entry,) = s.agent.waiting.listing()
        assert (entry["account"], entry["username"], entry["realm"], entry["refused"]) == (
            "work",
            "alice",
            "sandbox",
            None,
        )
        await advance(3 * 86400)  # beyond every deadline there is
        assert s.sent("REGISTER") == 1
        answered = await give(s, account, "wonderland")
        assert (answered.outcome, answered.code, answered.expires_s) == ("registered", 200, 600)
        assert (await live(task)).expires_s == 600
        assert s.sent("REGISTER") == 3  # afresh, and with the answer
        assert s.agent.waiting.listing() == []
        assert who.requests == []


@stepped
async def test_a_wrong_secret_is_refused_once_and_it_waits_again() -> None:
    async with site(person(), waits=elsewhere) as s:
        account = s.account()
        task = await waiting(s, account)
        refused = await give(s, account, "queen")
        assert (refused.outcome, refused.code) == ("refused", 401)
        assert account.state == "waiting" and not task.done()
        assert s.agent.waiting.listing()[0]["refused"] == 401
        sent = s.sent("REGISTER")
        again = Secret("queen")
        assert (await s.agent.waiting.answer(account.name, again)).outcome == "refused"
        assert s.sent("REGISTER") == sent  # the same secret does not go out a second time
        assert not again, "it was wiped: nobody will use it"
        assert (await give(s, account, "wonderland")).outcome == "registered"
        await live(task)


@stepped
async def test_a_server_that_says_403_to_a_wrong_secret_does_not_end_the_waiting() -> None:
    async with site(person(), waits=elsewhere, box={"wrong_status": 403}) as s:
        account = s.account()
        task = await waiting(s, account)
        refused = await give(s, account, "queen")
        assert (refused.outcome, refused.code) == ("refused", 403)
        assert account.state == "waiting"
        assert s.agent.waiting.listing()[0]["refused"] == 403
        assert (await give(s, account, "wonderland")).outcome == "registered"
        await live(task)


@stepped
async def test_the_secret_is_for_the_realm_that_was_named_and_for_no_other() -> None:
    realm_users = {"one": {"alice": "first"}, "two": {"alice": "second"}}
    box = {"realms": ("one", "two"), "realm_users": realm_users, "one_by_one": True}
    async with site(person(), waits=elsewhere, box=box) as s:
        account = s.account()
        task = await waiting(s, account)
        assert s.agent.waiting.listing()[0]["realm"] == "one"
        assert (await give(s, account, "first")).outcome == "waiting"
        assert s.agent.waiting.listing()[0]["realm"] == "two"
        assert s.agent.waiting.listing()[0]["refused"] is None
        assert (await give(s, account, "second")).outcome == "registered"
        await live(task)


@stepped
async def test_T02_a_secret_that_was_typed_for_another_realm_goes_nowhere() -> None:
    """Between the question and the answer a person takes his time, and the account may be asked for something else.

    Fails without the look at ``asked`` in ``WaitingRoom.answer``.
    """
    async with site(person(), waits=elsewhere) as s:
        account = s.account()
        task = await waiting(s, account)
        sent = s.sent("REGISTER")
        for asked in ((None, "example.com"), ("sip.example", "sandbox")):
            with pytest.raises(NotWaiting, match="meanwhile: nothing was sent"):
                await give(s, account, "wonderland", asked=asked)
        assert s.sent("REGISTER") == sent
        assert (await give(s, account, "wonderland", asked=(None, "sandbox"))).outcome == "registered"
        await live(task)


@stepped
async def test_another_user_name_may_be_given_with_the_secret() -> None:
    async with site(person(), waits=elsewhere) as s:
        account = s.account(username="nobody")
        task = await waiting(s, account)
        assert (await give(s, account, "wonderland", username="alice")).outcome == "registered"
        await live(task)


@stepped
async def test_a_second_account_registers_meanwhile() -> None:
    secret = FakeProvider(lambda request: pytest.fail("not asked"), name="unused")
    async with site(person(), secret, waits=elsewhere) as s:
        first = s.account()
        task = await waiting(s, first)
        from sipcli.credentials import PasswordCredentials

        second = s.account(name="other", own=[PasswordCredentials("alice", Secret("wonderland"))])
        assert (await live(second.register())).expires_s == 600
        assert first.state == "waiting" and not task.done()
        await give(s, first, "wonderland")
        await live(task)


@stepped
async def test_what_fails_after_the_person_came_is_tried_again_with_what_he_gave() -> None:
    async with site(person(), waits=elsewhere) as s:
        account = s.account()
        task = await waiting(s, account)
        s.box.change(lose=s.sent("REGISTER") + 11)
        answer = asyncio.ensure_future(s.agent.waiting.answer("work", Secret("wonderland")))
        await advance(33)
        assert (await answer).outcome == "retrying"
        assert not task.done()
        await live(task, step=0.1)
        assert len(s.told("auth.needed")) == 1


@stepped
async def test_a_binding_that_lives_stays_while_its_refresh_waits_and_its_end_is_told() -> None:
    async with site(person(), waits=elsewhere) as s:
        account = s.account()
        task = await waiting(s, account)
        await give(s, account, "wonderland")
        await live(task)
        s.box.change(users={"alice": "changed"})
        await advance(481)
        await until(lambda: account.state == "waiting")
        told: RegistrationNotice = s.told("registration")[-1]
        assert told.contact is not None and 110 <= (told.expires_s or 0) <= 120
        assert account.binding is not None
        count = len(s.told("registration"))
        await advance(120)
        assert len(s.told("registration")) == count + 1
        told = s.told("registration")[-1]
        assert (told.state, told.expires_s, told.contact) == ("waiting", None, None)
        assert "ran out" in (told.reason or "")
        assert account.binding is None
        assert (await give(s, account, "changed")).outcome == "registered"


@stepped
async def test_a_refresh_that_waits_is_answered_before_the_binding_is_over() -> None:
    async with site(person(), waits=elsewhere) as s:
        account = s.account()
        task = await waiting(s, account)
        await give(s, account, "wonderland")
        await live(task)
        s.box.change(users={"alice": "changed"})
        await advance(481)
        await until(lambda: account.state == "waiting")
        assert (await give(s, account, "changed")).outcome == "registered"
        states = s.states()
        await advance(130)  # the timer of the old binding's end is gone
        assert s.states() == states


@stepped
async def test_leaving_while_it_waits_puts_nothing_on_the_wire() -> None:
    async with site(person(), waits=elsewhere, close=False) as s:
        account = s.account()
        task = await waiting(s, account)
        await s.agent.close()
        with pytest.raises(Exception, match="taken back"):
            await task
        assert s.sent("REGISTER") == 1
        assert s.states()[-1] == "unregistered"


@stepped
async def test_a_store_that_may_come_back_is_not_waited_for_as_a_person() -> None:
    store = FakeProvider(Unavailable("sealed", retry_after=999), name="store")
    async with site(store, person(), waits=elsewhere) as s:
        account = s.account(credentials=("store", "p"))
        with pytest.raises(Exception, match="sealed"):
            await live(account.register())
        assert s.agent.waiting.listing() == []


@stepped
async def test_T26_who_does_not_wait_fails_at_once() -> None:
    """Fails when ``BrokeredAccount._ask`` takes everybody to wait, without asking ``agent.waits``."""
    async with site(person()) as s:
        with pytest.raises(NoCredentials, match="no terminal"):
            await live(s.account().register())
        assert s.states()[-1] == "failed"


@stepped
async def test_only_a_registration_waits() -> None:
    async with site(person(), waits=elsewhere, box={"challenged": ("MESSAGE",)}) as s:
        account = s.account()
        with pytest.raises(NoCredentials):
            await live(account.message("bob", "hello"))


@stepped
async def test_nobody_can_answer_an_account_that_does_not_wait() -> None:
    async with site(person(), waits=elsewhere) as s:
        account = s.account()
        with pytest.raises(NotWaiting, match="does not wait for anybody: it is unregistered"):
            await s.agent.waiting.answer("work", Secret("x"))
        task = await waiting(s, account)
        first = asyncio.ensure_future(s.agent.waiting.answer("work", Secret("wonderland")))
        await asyncio.sleep(0)
        with pytest.raises(NotWaiting):  # two terminals, one answer
            await s.agent.waiting.answer("work", Secret("wonderland"))
        assert (await live(first)).outcome == "registered"
        await live(task)
        with pytest.raises(NotWaiting, match="it is registered"):
            await s.agent.waiting.answer("work", Secret("x"))


class TestSigningInElsewhere:
    """A device code that nobody used: another one, at a pace that hammers nobody."""

    @staticmethod
    def device(code_life: float) -> FakeProvider:
        def get(request: Any) -> Any:
            from sipcli.ua.lanes.workers import current_job

            job = current_job.get()
            assert job is not None
            loop = job.tag._desk.loop
            action = UserAction(provider="sso", url="https://login.example/device", expires_in=code_life)
            loop.call_soon_threadsafe(job.tag.user_action, action)
            request.cancel.wait(30)
            raise NotFound("cancelled")

        return FakeProvider(get, name="p")

    @stepped
    async def test_an_unused_code_is_followed_by_another(self) -> None:
        async with site(device := self.device(150.0), waits=elsewhere) as s:
            account = s.account()
            task = asyncio.ensure_future(account.register())
            await until(lambda: s.told("auth.user_action"))
            await advance(150)
            await until(lambda: account.state == "waiting")
            told = s.told("registration")[-1]
            assert (told.reason, told.retry_in_s) == ("nobody signed in in time", 5.0)
            assert not task.done()
            assert account.auth.pending == ()
            await advance(5)
            await until(lambda: len(s.told("auth.user_action")) == 2)
            assert len(device.requests) == 2
            task.cancel()

    @stepped
    async def test_codes_that_live_for_seconds_are_not_asked_for_every_few_seconds(self) -> None:
        async with site(device := self.device(31.0), waits=elsewhere) as s:
            account = s.account()
            task = asyncio.ensure_future(account.register())
            for number in range(1, 8):
                await until(lambda number=number: len(s.told("auth.user_action")) == number)
                await advance(31)
                await until(lambda: account.state == "waiting" and s.told("registration")[-1].retry_in_s is not None)
                pause = s.told("registration")[-1].retry_in_s
                await advance(pause + 0.1)  # it was told rounded
                await until(lambda number=number: len(device.requests) == number + 1)
            assert 31 + pause == pytest.approx(300, abs=1)
            task.cancel()
