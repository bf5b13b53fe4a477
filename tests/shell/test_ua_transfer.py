"""Transfers between agents of ours through a server on loopback: who talks to whom afterwards, and who does not go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sipcli.config import PolicyConfig
from sipcli.credentials import PasswordCredentials, Secret
from sipcli.errors import Busy, Declined, LocalProtocolError, SipcliError
from sipcli.sandbox import Sandbox
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.agent import UserAgent
from sipcli.ua.brokered import BrokeredAccount
from sipcli.ua.calls.call import Call
from sipcli.ua.calls.callmedia import again
from sipcli.ua.calls.following import MAX_HOPS, objection, same_domain_objection
from sipcli.ua.calls.transfers import TransferRequest
from sipcli.ua.notices import Notice
from tests.support.agentkit import Site
from tests.support.brokerkit import FakeProvider
from tests.support.clock import advance, live, live_until, stepped

PASSWORDS = {"alice": "wonderland", "bob": "builder", "carol": "singer"}
TONES = {"alice": 440, "bob": 600, "carol": 800}


class Party:
    """One person with an agent, registered; answers everything with a tone of his own."""

    def __init__(self, box: Sandbox, user: str, policy: PolicyConfig) -> None:
        self.user = user
        provider = FakeProvider(PasswordCredentials(user, Secret(PASSWORDS[user])))
        self.agent = UserAgent(providers={"p": provider}.__getitem__, on_incoming=self._take)
        self.notices: list[Notice] = []
        self.agent.subscribe(self.notices.append)
        self.config = replace(
            Site(box, self.agent).config(user), aor=self.uri(box), username=user, policy=policy, register=True
        )
        self.calls: list[Call] = []
        self.asked: list[TransferRequest] = []
        self.refuses: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def uri(self, box: Sandbox) -> SipUri:
        return SipUri.parse(f"sip:{self.user}@{box.address('udp')[0]}")

    async def start(self) -> None:
        await self.agent.start()
        self.account = self.agent.add_account(self.config, BrokeredAccount)
        await live(self.account.register())

    def _take(self, call: Call) -> None:
        self.calls.append(call)
        if self.refuses is not None:
            call.reject(self.refuses)
            return
        task = asyncio.ensure_future(call.accept(audio=f"tone:{TONES[self.user]}"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def told(self, event: str, **fields: object) -> list[Any]:
        found = [notice for notice in self.notices if notice.event == event]
        return [notice for notice in found if all(getattr(notice, k) == v for k, v in fields.items())]

    def transfer_states(self) -> list[str]:
        return [notice.state for notice in self.told("transfer")]

    @property
    def last(self) -> Call:
        """Where a call of his led to."""
        call = self.calls[-1]
        while call.successor is not None:
            call = call.successor
        return call


@asynccontextmanager
async def party(**policies: PolicyConfig) -> AsyncIterator[tuple[Sandbox, dict[str, Party]]]:
    """alice, bob and carol, each with the policy that is given."""
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(Sandbox(users=PASSWORDS))
        people = {}
        for user in PASSWORDS:
            people[user] = person = Party(box, user, policies.get(user, PolicyConfig()))
            stack.push_async_callback(lambda person=person: live(person.agent.close()))
            await person.start()
        yield box, people


async def talk(caller: Party, callee: Party) -> Call:
    call = await caller.account.call(callee.user, audio=f"tone:{TONES[caller.user]}")
    caller.calls.append(call)
    await live(call.answered())
    await live_until(lambda: callee.calls[-1].state == "answered")
    return call


SAME = PolicyConfig(transfer="same-domain")


@stepped
async def test_D04_a_blind_transfer_and_they_hear_each_other() -> None:
    async with party(bob=SAME) as (_, people):
        alice, bob, carol = people["alice"], people["bob"], people["carol"]
        call = await talk(alice, bob)
        assert await live(call.transfer("carol")) == 200
        assert call.is_over
        assert alice.transfer_states()[:2] == ["trying", "accepted"]
        assert alice.transfer_states()[-1] == "done"
        done = alice.told("transfer")[-1]
        assert (done.call, done.direction, done.kind, done.target, done.code) == (
            call.id,
            "out",
            "blind",
            "sip:carol@127.0.0.1",
            200,
        )
        assert [n.state for n in alice.told("call")][-4:] == ["answered", "held", "transferring", "ended"]
        new = bob.last
        assert new is not bob.calls[0] and bob.calls[0].is_over
        assert str(new.remote.uri) == "sip:carol@127.0.0.1"
        assert bob.told("transfer")[-1].new_call == new.id
        assert carol.calls[-1].request.find("Referred-By") == "<sip:alice@127.0.0.1>"
        await advance(2)
        await live(new.hangup())
        assert (await live(new.finished())).audio.tone_hz == pytest.approx(800, abs=10)
        assert (await live(carol.calls[-1].finished())).audio.tone_hz == pytest.approx(600, abs=10)


@stepped
async def test_D04_an_attended_transfer_joins_the_two_others() -> None:
    """Bob follows the REFER to carol's own call, and carol lets him take alice's place in it (RFC 5589 section 7)."""
    async with party(bob=SAME) as (_, people):
        alice, bob, carol = people["alice"], people["bob"], people["carol"]
        first = await talk(alice, bob)
        await live(first.hold())
        second = await talk(alice, carol)
        assert await live(first.transfer_to(second)) == 200
        assert first.is_over and second.is_over
        assert alice.told("transfer")[-1].kind == "attended"
        assert alice.agent.calls == ()
        await live_until(lambda: carol.calls[0].is_over)
        at_bob, at_carol = bob.last, carol.last
        assert at_carol is not carol.calls[0]
        assert (carol.told("transfer")[-1].kind, carol.told("transfer")[-1].state) == ("replaced", "done")
        assert (str(at_bob.remote.uri), str(at_carol.remote.uri)) == ("sip:carol@127.0.0.1", "sip:bob@127.0.0.1")
        await advance(2)
        await live(at_bob.hangup())
        assert (await live(at_bob.finished())).audio.tone_hz == pytest.approx(800, abs=10)
        assert (await live(at_carol.finished())).audio.tone_hz == pytest.approx(600, abs=10)


@pytest.mark.parametrize("how", ["muted", "held"])
@stepped
async def test_T22_whoever_is_not_to_be_heard_is_not_heard_where_he_is_sent(how: str) -> None:
    """By a blind transfer.  Fails without ``_keep_silent``: the microphone was open for whoever came next."""
    async with party(bob=SAME) as (_, people):
        alice, bob, carol = people["alice"], people["bob"], people["carol"]
        call = await talk(alice, bob)
        before = bob.calls[0]
        if how == "muted":
            before.session.muted = True
        else:
            await live(before.hold())
        await live(call.transfer("carol"))
        new = bob.last
        assert new is not before and new.muted
        await advance(2)
        await live(new.hangup())
        assert (await live(new.finished())).audio.tone_hz == pytest.approx(800, abs=10)
        heard = (await live(carol.calls[-1].finished())).audio
        assert heard.tone_hz is None and (heard.rms_dbfs is None or heard.rms_dbfs < -70)


@stepped
async def test_T22_whoever_is_muted_stays_so_for_a_caller_who_replaces_the_other() -> None:
    """By an attended transfer.  Fails without ``_keep_silent``."""
    async with party(bob=SAME) as (_, people):
        alice, bob, carol = people["alice"], people["bob"], people["carol"]
        first = await talk(alice, bob)
        await live(first.hold())
        second = await talk(alice, carol)
        carol.calls[0].session.muted = True
        assert await live(first.transfer_to(second)) == 200
        await live_until(lambda: carol.calls[0].is_over)
        at_bob, at_carol = bob.last, carol.last
        assert at_carol is not carol.calls[0] and at_carol.muted and not at_bob.muted
        await advance(2)
        await live(at_bob.hangup())
        assert (await live(at_bob.finished())).audio.tone_hz is None
        assert (await live(at_carol.finished())).audio.tone_hz == pytest.approx(600, abs=10)


@stepped
async def test_T22_D04_whoever_refuses_transfers_keeps_his_call_from_an_invite_with_replaces() -> None:
    """Fails without the look at the policy in ``TransferDesk.take_over``: bob takes alice's place in carol's call."""
    async with party(bob=SAME, carol=PolicyConfig(transfer="refuse")) as (_, people):
        alice, bob, carol = people["alice"], people["bob"], people["carol"]
        first = await talk(alice, bob)
        second = await talk(alice, carol)
        with pytest.raises(SipcliError):
            await live(first.transfer_to(second))
        assert [(n.kind, n.state, n.code) for n in carol.told("transfer")] == [("replaced", "refused", 403)]
        assert carol.last is carol.calls[0] and carol.last.is_up
        assert not first.is_over and not second.is_over


@stepped
async def test_D04_a_transfer_that_fails_leaves_the_call_where_it_was() -> None:
    async with party(bob=SAME) as (_, people):
        alice, bob, carol = people["alice"], people["bob"], people["carol"]
        carol.refuses = 486
        call = await talk(alice, bob)
        with pytest.raises(Busy, match="486"):
            await live(call.transfer("carol"))
        assert call.state == "answered" and not call.session.held
        assert alice.transfer_states()[-1] == "failed"
        assert bob.calls[0].state == "answered" and bob.calls[0].successor is None
        assert (bob.told("transfer")[-1].state, bob.told("transfer")[-1].code) == ("failed", 486)
        await advance(1)
        await live(call.hangup())


@stepped
async def test_D04_a_call_that_was_on_hold_stays_so_when_its_transfer_fails() -> None:
    async with party(bob=PolicyConfig(transfer="refuse")) as (_, people):
        call = await talk(people["alice"], people["bob"])
        await live(call.hold())
        with pytest.raises(Declined):
            await live(call.transfer("carol"))
        assert call.state == "held" and call.session.held


@stepped
async def test_transfers_that_make_no_sense() -> None:
    async with party() as (_, people):
        call = await talk(people["alice"], people["bob"])
        with pytest.raises(LocalProtocolError, match="another one"):
            await live(call.transfer_to(call))
        with pytest.raises(SipcliError):
            await live(call.transfer("mailto:carol@x y"))
        assert call.state == "answered"


@stepped
async def test_T14_nobody_is_sent_to_an_address_with_a_password() -> None:
    """Fails without the look at the password in ``SipUri.written``: the REFER has it, and so has every trace of it."""
    async with party() as (_, people):
        call = await talk(people["alice"], people["bob"])
        for target in ("sip:carol:never-seen@127.0.0.1", SipUri.parse("sip:carol:never-seen@127.0.0.1")):
            with pytest.raises(SipcliError, match="a password does not belong in an address") as caught:
                await live(call.transfer(target))
            assert "never-seen" not in f"{caught.value} {caught.value.hint}"
        assert (call.state, people["alice"].told("transfer")) == ("answered", [])


@stepped
@pytest.mark.parametrize("policy", ["ask", "refuse"])
async def test_T22_a_transfer_is_refused_by_default(policy: Any) -> None:
    """Fails when TransferDesk.on_referred follows without a policy that says so: nobody is asked, nobody goes."""
    async with party(bob=PolicyConfig(transfer=policy)) as (_, people):
        alice, bob, carol = people["alice"], people["bob"], people["carol"]
        call = await talk(alice, bob)
        with pytest.raises(Declined):
            await live(call.transfer("carol"))
        assert carol.calls == []
        assert bob.transfer_states() == ["refused"]
        assert bob.calls[0].state == "answered"


@stepped
async def test_T22_a_person_is_asked_and_agrees() -> None:
    async with party() as (_, people):
        alice, bob, carol = people["alice"], people["bob"], people["carol"]
        bob.agent.transfers.on_request = bob.asked.append
        call = await talk(alice, bob)
        work = asyncio.ensure_future(call.transfer("carol"))
        await live_until(lambda: bob.asked)
        await live_until(lambda: "progress" in alice.transfer_states())
        assert carol.calls == [], "nobody is called before somebody agreed"
        [request] = bob.asked
        assert (str(request.target), request.kind, request.call) == ("sip:carol@127.0.0.1", "blind", bob.calls[0])
        assert request.referred_by == "<sip:alice@127.0.0.1>"
        request.accept()
        request.accept()  # at the terminal, and by another program at the same time
        request.refuse()
        assert not request.open, "of two who are asked the first one decides"
        assert await live(work) == 200
        assert len(carol.calls) == 1
        assert "refused" not in bob.transfer_states()


@stepped
async def test_T22_a_person_is_asked_and_declines() -> None:
    async with party() as (_, people):
        alice, bob, carol = people["alice"], people["bob"], people["carol"]
        bob.agent.transfers.on_request = bob.asked.append
        call = await talk(alice, bob)
        work = asyncio.ensure_future(call.transfer("carol"))
        await live_until(lambda: bob.asked)
        bob.asked[0].refuse()
        with pytest.raises(Declined):
            await live(work)
        assert carol.calls == [] and bob.transfer_states() == ["asked", "refused"]


@stepped
async def test_T22_A24_our_own_proxys_challenge_to_the_invite_that_follows_is_answered_as_any() -> None:
    """Decision 120. A nonce serves once here, so that each INVITE is challenged."""
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(Sandbox(users=PASSWORDS, nonce_uses=1))
        people = {}
        for user in PASSWORDS:
            people[user] = person = Party(box, user, SAME)
            stack.push_async_callback(lambda person=person: live(person.agent.close()))
            await person.start()
        bob = people["bob"]
        call = await talk(people["alice"], bob)
        assert not bob.told("auth.challenged", method="INVITE")
        assert await live(call.transfer("carol")) == 200
        [challenged] = bob.told("auth.challenged", method="INVITE")
        assert (challenged.account, challenged.call, challenged.code) == ("bob", bob.last.id, 407)
        assert bob.told("auth.done", challenge=challenged.challenge)[0].outcome == "answered"


@stepped
async def test_T22_a_transfer_back_to_ourselves_is_a_loop() -> None:
    """Fails without the look at our own address in ``objection``."""
    async with party(bob=SAME) as (_, people):
        call = await talk(people["alice"], people["bob"])
        with pytest.raises(SipcliError, match="482"):
            await live(call.transfer("bob"))
        assert len(people["bob"].calls) == 1


@stepped
async def test_T22_same_domain_goes_once() -> None:
    """Fails without the trail: whoever we were sent to could send us on for ever."""
    async with party(bob=SAME) as (_, people):
        alice, bob, carol = people["alice"], people["bob"], people["carol"]
        call = await talk(alice, bob)
        await live(call.transfer("carol"))
        await live_until(lambda: carol.calls[-1].state == "answered")
        with pytest.raises(Declined):
            await live(carol.calls[-1].transfer("dave"))
        assert not any(str(call.remote.uri) == "sip:dave@127.0.0.1" for call in (bob.last, *bob.agent.calls))


@stepped
async def test_A24_the_hook_answers_a_407_to_our_refer() -> None:
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(
            Sandbox(users=PASSWORDS, challenged=frozenset({"REGISTER", "INVITE", "REFER"}), nonce_uses=1)
        )
        alice = Party(box, "alice", PolicyConfig())
        stack.push_async_callback(lambda: live(alice.agent.close()))
        await alice.start()
        call = await alice.account.call("echo", audio="null")
        await live(call.answered())
        with pytest.raises(Declined):
            await live(call.transfer("bob"))
        refers = list(box.requests("REFER"))
        assert len(refers) >= 2
        assert alice.told("auth.challenged", method="REFER") or len(alice.told("auth.done")) >= 1
        assert call.state == "answered"


ALICE = SipUri.parse("sip:alice@example.com")


class Ours:
    """As much of an account as the rules look at."""

    aor = ALICE


@pytest.mark.parametrize(
    ("target", "trail", "secure", "status"),
    [
        ("sip:alice@example.com", (), False, 482),
        ("sip:alice@EXAMPLE.com:5070", (), False, 482),
        ("sip:carol@example.com", (ALICE,) * MAX_HOPS, False, 483),
        ("sip:carol@example.com", (), True, 403),
        ("sips:carol@example.com", (), True, None),
        ("sip:carol@example.net", (ALICE,), False, None),
    ],
)
def test_T22_where_nobody_may_send_us(target: str, trail: tuple[SipUri, ...], secure: bool, status: int | None) -> None:
    """Fails for each line whose rule is taken out of ``objection``."""
    found = objection(SipUri.parse(target), Ours(), trail, secure=secure)  # type: ignore[arg-type]
    assert (found[0] if found else None) == status


@pytest.mark.parametrize(
    ("target", "trail", "goes"),
    [
        ("sip:carol@example.com", (), True),
        ("sip:4711@example.com", (), True),
        ("sip:carol@example.com;transport=tcp", (), True),
        ("sip:carol@example.net", (), False),
        ("sip:carol@sub.example.com", (), False),
        ("sip:+4930123@example.com", (), False),
        ("sip:+49301234567@example.com", (), False),
        ("sip:0049-30-1234567@example.com", (), False),
        ("sip:%2B49301234567@example.com", (), False),
        ("sip:09001234567;x=1@example.com", (), False),
        ("sip:*31%23%2009001234567@example.com", (), False),
        ("sip:0900/123456@example.com", (), False),
        ("sip:carol+1@example.com", (), True),
        ("sip:4711@example.com;user=phone", (), False),
        ("sip:carol@example.com:5099", (), False),
        ("sip:carol@example.com;maddr=192.0.2.66", (), False),
        ("sip:carol@example.com", (SipUri.parse("sip:bob@example.com"),), False),
        ("sip:carol@example.com", (SipUri.parse("sip:carol@example.com"),), False),
    ],
)
def test_T22_same_domain_is_plain_addresses_of_our_domain(target: str, trail: tuple[SipUri, ...], goes: bool) -> None:
    """Fails for each line whose rule is taken out of ``same_domain_objection``."""
    why = same_domain_objection(SipUri.parse(target), Ours(), trail)  # type: ignore[arg-type]
    assert (why is None) == goes, why


def test_T22_without_an_account_there_is_no_same_domain() -> None:
    assert same_domain_objection(SipUri.parse("sip:carol@example.com"), None, ()) is not None


@pytest.mark.parametrize(
    ("name", "next_one"), [("rx.wav", "rx-2.wav"), ("rx-2.wav", "rx-3.wav"), ("a-b.wav", "a-b-2.wav")]
)
def test_a_call_that_takes_anothers_place_is_recorded_beside_it(name: str, next_one: str) -> None:
    assert again({"audio": "echo", "record": Path("/x") / name}) == {"audio": "echo", "record": Path("/x") / next_one}
    assert again({"audio": "echo"}) == {"audio": "echo"}
