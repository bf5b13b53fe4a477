"""How often a person is asked over all that he begins, and that two times no is no (T03).  Time is stepped."""

from __future__ import annotations

from itertools import count

import pytest

from sipcli.config import PolicyConfig
from sipcli.credentials import Cancelled, Denied, NotFound, Unavailable
from sipcli.sip.auth import GiveUp
from sipcli.sip.authn.origin import Origin
from sipcli.ua.auth.rations import PROMPT_BURST, PROMPT_WINDOW, Ration
from sipcli.ua.auth.terms import prompt_burst
from sipcli.ua.notices import WarningNotice
from tests.support.authkit import digest, password, proves
from tests.support.brokerkit import BrokerRig, FakeProvider
from tests.support.clock import advance, settle, stepped

NO = Cancelled("nothing was typed")
NUMBERS = count()
AWAY = Unavailable("nobody typed", retry_after=3600.0)


async def begin(rig: BrokerRig, times: int = 1, host: str = "192.0.2.1") -> None:
    """A person begins something, *times* over, and each time the server at *host* asks in a realm it never named."""
    for _ in range(times):
        rig.ration = Ration(3)
        realm = f"realm{next(NUMBERS)}.{host}"
        rig.challenge(digest(realm), how={"origin": Origin(host, 5060, "udp", None, bound=True)})
        await settle()


@stepped
async def test_T03_five_prompts_in_a_row_however_often_one_begins_and_then_one_in_two_minutes() -> None:
    rig = BrokerRig(person := FakeProvider(NotFound("no terminal"), interactive=True))
    await begin(rig, 50)
    assert len(person.requests) == PROMPT_BURST == 5
    assert str(rig.failures[-1].error) == "this server had a person asked too often: not before 120 s from now"
    await advance(119)
    await begin(rig)
    assert len(person.requests) == 5
    await advance(2)
    await begin(rig, 3)
    assert len(person.requests) == 6
    await advance(PROMPT_WINDOW * 10)
    await begin(rig, 50)
    assert len(person.requests) == 11, "a bucket holds no more than five, however long nobody took from it"


@stepped
async def test_T03_another_server_and_another_account_have_buckets_of_their_own() -> None:
    rig = BrokerRig(person := FakeProvider(NotFound("no terminal"), interactive=True))
    await begin(rig, 9)
    await begin(rig, 9, host="192.0.2.2")
    assert len(person.requests) == 10
    assert rig.broker.prompts.objection("other", ("192.0.2.1", 5060)) is None


@stepped
async def test_T03_what_is_kept_of_prompts_ends_when_the_buckets_are_full_again() -> None:
    rig = BrokerRig(FakeProvider(NotFound("no terminal"), interactive=True))
    for number in range(200):
        await begin(rig, 1, host=f"192.0.2.{number}")
    assert len(rig.broker.prompts) == 200
    await advance(PROMPT_WINDOW)
    await begin(rig)
    assert len(rig.broker.prompts) == 1


@stepped
async def test_who_allows_more_for_one_action_gets_them() -> None:
    rig = BrokerRig(person := FakeProvider(NotFound("no terminal"), interactive=True), prompt_burst=8)
    await begin(rig, 20)
    assert len(person.requests) == 8


@pytest.mark.parametrize(("max_prompts", "burst"), [(1, 5), (3, 5), (5, 5), (8, 8)])
def test_the_bucket_is_never_smaller_than_what_one_action_may_ask(max_prompts: int, burst: int) -> None:
    assert prompt_burst(PolicyConfig(max_prompts=max_prompts)) == burst


@stepped
async def test_T03_after_two_times_no_nobody_asks_again_and_it_is_said_once() -> None:
    rig = BrokerRig(person := FakeProvider(NO, interactive=True))
    await begin(rig)
    assert rig.failures[-1].why is GiveUp.ABANDONED and not rig.told(WarningNotice)
    await begin(rig)
    (warning,) = rig.told(WarningNotice)
    assert warning.code == "prompts_stopped"
    assert warning.message.startswith("account work: two prompts were left without an answer")
    await advance(10 * PROMPT_WINDOW)
    await begin(rig, 10, host="192.0.2.2")
    assert len(person.requests) == 2 and len(rig.told(WarningNotice)) == 1
    assert rig.failures[-1].why is GiveUp.NO_CREDENTIALS
    assert "not asked again in this run" in str(rig.failures[-1].error)


@stepped
async def test_after_two_times_no_the_rest_of_the_chain_is_asked_all_the_same() -> None:
    person = FakeProvider(NO, name="person", interactive=True)
    rig = BrokerRig(person, FakeProvider(password("right"), name="store"))
    await begin(rig, 2)
    exchange = rig.challenge(digest())
    await settle()
    assert proves(exchange.answer(), "right")
    assert len(person.requests) == 2


@stepped
async def test_what_was_typed_in_between_starts_the_count_anew() -> None:
    """Right or wrong; but who is away has said neither yes nor no."""
    rig = BrokerRig(person := FakeProvider(NO, password("typed"), NO, AWAY, NO, interactive=True), prompt_burst=20)
    await begin(rig, 9)
    assert len(person.requests) == 5


@stepped
async def test_a_store_that_was_cancelled_is_no_person() -> None:
    rig = BrokerRig(store := FakeProvider(Cancelled("the unlock dialog was closed")))
    await begin(rig, 5)
    assert len(store.requests) == 5


@stepped
async def test_a_sighup_lets_everybody_be_asked_again() -> None:
    rig = BrokerRig(person := FakeProvider(NO, NO, Denied("a control character"), interactive=True))
    await begin(rig, 5)
    assert len(person.requests) == 2
    rig.broker.reset("other")
    await begin(rig)
    assert len(person.requests) == 2
    rig.broker.reset()
    await begin(rig, 9)
    assert len(person.requests) == 2 + PROMPT_BURST
