"""The broker and the clock: deadlines, waits, and persons who are not to be bothered.  Time is stepped."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from sipcli.credentials import (
    NotFound,
    Unavailable,
    UserAction,
)
from sipcli.sip.auth import GiveUp
from sipcli.ua.auth.cache import MAX_REALMS
from sipcli.ua.auth.rations import Ration
from sipcli.ua.notices import AuthNeeded, AuthProviderNotice, AuthUserAction
from tests.support.authkit import digest, password, proves
from tests.support.brokerkit import HANG, BrokerRig, FakeProvider
from tests.support.clock import advance, settle, stepped

# --- time -----------------------------------------------------------------------------------------------------


@stepped
async def test_stores_get_30_seconds_all_together() -> None:
    rig = BrokerRig(provider := FakeProvider(HANG, name="vault"))
    exchange = rig.challenge(digest())
    await advance(29.9)
    assert exchange.why is None
    await advance(0.2)
    assert exchange.why is GiveUp.DEADLINE
    assert provider.requests[0].cancel.is_set()
    (failure,) = rig.failures
    assert (failure.provider, failure.awaited_person) == ("vault", False)
    assert rig.told(AuthProviderNotice)[-1].message == "it did not answer in time"


@stepped
async def test_a_person_gets_120_seconds() -> None:
    rig = BrokerRig(FakeProvider(HANG, name="prompt", interactive=True))
    exchange = rig.challenge(digest())
    await settle()
    (needed,) = rig.told(AuthNeeded)
    assert (needed.provider, needed.expires_in_s) == ("prompt", 120.0)
    await advance(119.9)
    assert exchange.why is None
    await advance(0.2)
    assert exchange.why is GiveUp.DEADLINE and rig.failures[0].awaited_person


@stepped
async def test_a_prompt_that_notices_the_deadline_before_we_do_is_a_person_awaited_too_long() -> None:
    late = Unavailable("nobody answered the prompt in time")
    rig = BrokerRig(FakeProvider(late, name="prompt", interactive=True), max_wait=0.0)
    exchange = rig.challenge(digest())
    await settle()
    assert exchange.why is GiveUp.DEADLINE and rig.failures[0].awaited_person


@stepped
async def test_max_wait_bounds_the_whole_chain() -> None:
    rig = BrokerRig(
        FakeProvider(Unavailable("x"), name="a"), FakeProvider(HANG, name="prompt", interactive=True), max_wait=7.0
    )
    exchange = rig.challenge(digest())
    await advance(6.9)
    assert exchange.why is None
    await advance(0.2)
    assert exchange.why is GiveUp.DEADLINE


@stepped
async def test_the_deadline_may_pass_between_two_tries() -> None:
    rig = BrokerRig(FakeProvider(Unavailable("x", retry_after=5)), max_wait=8)
    exchange = rig.challenge(digest())
    await advance(8.1)
    assert exchange.why is GiveUp.NO_CREDENTIALS, "5 s + 5 s is too long: it gave up before"


@stepped
async def test_a_device_code_may_take_as_long_as_it_lives() -> None:
    rig = BrokerRig(FakeProvider(HANG, name="sso"))
    exchange = rig.challenge(digest())
    await advance(10)
    flight = rig.fetch.jobs[-1].tag
    flight.user_action(UserAction(provider="sso", url="https://x.example", user_code="ABCD", expires_in=600))
    (told,) = rig.told(AuthUserAction)
    assert (told.url, told.user_code, told.expires_in_s) == ("https://x.example", "ABCD", 600.0)
    await advance(599)
    assert exchange.why is None
    await advance(2)
    assert exchange.why is GiveUp.DEADLINE and rig.failures[0].awaited_person
    flight.user_action(UserAction(provider="sso", url="https://x.example"))
    assert len(rig.told(AuthUserAction)) == 1, "too late to matter"


@stepped
async def test_a_device_code_does_not_outlast_max_wait() -> None:
    rig = BrokerRig(FakeProvider(HANG, name="sso"), max_wait=20.0)
    exchange = rig.challenge(digest())
    await settle()
    rig.fetch.jobs[-1].tag.user_action(UserAction(provider="sso", url="https://x.example", expires_in=600))
    await advance(20.1)
    assert exchange.why is GiveUp.DEADLINE


@stepped
async def test_a_user_action_without_a_lifetime_changes_no_deadline() -> None:
    rig = BrokerRig(FakeProvider(HANG, name="sso"))
    exchange = rig.challenge(digest())
    await settle()
    rig.fetch.jobs[-1].tag.user_action(UserAction(provider="sso", url="https://x.example"))
    await advance(30.1)
    assert exchange.why is GiveUp.DEADLINE


@stepped
async def test_an_answer_that_comes_too_late_for_one_waiter_may_serve_another() -> None:
    rig = BrokerRig(FakeProvider(HANG))
    refresh = rig.challenge(digest(), latest=rig.loop.time() + 5)
    other = rig.challenge(digest(nonce="n2"))
    await advance(5.1)
    assert (refresh.why, other.why) == (GiveUp.DEADLINE, None)
    assert rig.broker.flights == 1
    rig.land(result=password("right"))
    assert proves(other.answer(), "right")


@stepped
async def test_the_cache_lives_for_its_ttl_or_the_shorter_lease() -> None:
    for lease, ttl in ((None, 900.0), (60.0, 60.0), (5000.0, 900.0)):
        rig = BrokerRig(provider := FakeProvider(password("right", expires_in=lease)))
        rig.challenge(digest())
        await advance(ttl - 1)
        rig.challenge(digest(nonce="n2"))
        await settle()
        assert len(provider.requests) == 1
        await advance(2)
        rig.challenge(digest(nonce="n3"))
        await settle()
        assert len(provider.requests) == 2


@stepped
async def test_what_a_person_typed_lives_as_long_as_the_process() -> None:
    rig = BrokerRig(person := FakeProvider(password("right"), interactive=True))
    rig.challenge(digest())
    await advance(100_000)
    rig.challenge(digest(nonce="n2"))
    await settle()
    assert len(person.requests) == 1


@stepped
async def test_a_lease_that_is_over_is_not_used() -> None:
    """An issuer's JSON may say NaN, with which every comparison is false."""
    for over in (0.0, -1.0, math.nan):
        rig = BrokerRig(
            FakeProvider(password("old", expires_in=over), name="a"), FakeProvider(password("right"), name="b")
        )
        exchange = rig.challenge(digest())
        await settle()
        assert proves(exchange.answer(), "right")


@stepped
async def test_T17_what_a_provider_leaves_unreadable_is_its_bug_and_the_next_is_asked_at_once() -> None:
    """What it gives, or raises, is looked at on the loop: an exception there would leave the challenge to its deadline.

    Fails without ``_check_kinds`` and the readable check in ``as_provider_error``.
    """

    class Mute(Unavailable):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    class Untraceable(Exception):
        @property
        def __traceback__(self) -> Any:
            raise RuntimeError("no traces")

        @__traceback__.setter
        def __traceback__(self, value: Any) -> None:
            """Whoever raises it sets it."""

    def makes(**wrong: Any) -> Callable[[Any], Any]:
        return lambda _: password("right", **wrong)

    for answer in (
        Mute("x"),
        Untraceable("x"),
        makes(expires_in="60"),
        makes(ref=5),
        makes(realm=5),
        lambda _: Unavailable("x", retry_after="soon"),  # type: ignore[arg-type]
    ):
        rig = BrokerRig(FakeProvider(answer, name="a"), FakeProvider(password("right"), name="b"))
        exchange = rig.challenge(digest())
        await settle()
        assert proves(exchange.answer(), "right")


@stepped
async def test_T17_a_retry_after_of_nan_seconds_is_none() -> None:
    """NaN has no place among a loop's timers: the one that is put behind it may never come."""
    rig = BrokerRig(FakeProvider(Unavailable("away", retry_after=math.nan), password("right")))
    exchange = rig.challenge(digest())
    await advance(1.0)
    assert proves(exchange.answer(), "right")


@stepped
async def test_what_is_empty_is_named_and_the_next_is_asked() -> None:
    rig = BrokerRig(FakeProvider(password(""), name="a"), FakeProvider(password("right"), name="b"))
    exchange = rig.challenge(digest())
    await settle()
    assert proves(exchange.answer(), "right")
    alone = BrokerRig(FakeProvider(password("")))
    alone.challenge(digest())
    await settle()
    (failure,) = alone.failures
    assert str(failure.error) == "what it gave is empty"


# --- persons are not to be bothered ---------------------------------------------------------------------------


@stepped
async def test_T03_three_prompts_for_one_action() -> None:
    rig = BrokerRig(person := FakeProvider(lambda _: password(f"wrong{rig.ration.left}"), interactive=True))
    exchange = rig.challenge(digest())
    await settle()
    for nonce in "bcdefg":
        if exchange.why is None:
            rig.challenge(digest(nonce=nonce), exchange=exchange)
            await settle()
    assert exchange.why in (GiveUp.REFUSED, None) and len(person.requests) == 3


@stepped
async def test_T03_a_flood_of_realms_shows_no_more_prompts_than_the_ration() -> None:
    rig = BrokerRig(person := FakeProvider(NotFound("no tty"), interactive=True))
    for index in range(200):
        rig.challenge(digest(f"realm{index}"))
        await settle()
    assert len(person.requests) == 3
    assert rig.broker.flights == 0 and len(rig.broker.cache) == 0


@stepped
async def test_T03_a_flood_of_realms_does_not_make_the_cache_grow() -> None:
    rig = BrokerRig(FakeProvider(lambda _: password("right")))
    for index in range(MAX_REALMS * 3):
        exchange = rig.challenge(digest(f"realm{index}"))
        await settle()
        rig.challenge(digest(f"realm{index}", nonce="n2"), exchange=exchange)
        await settle()
        rig.challenge(digest(f"other{index}"))  # never refused, so nothing else drops what was answered
        await settle()
    assert len(rig.broker.cache) <= MAX_REALMS
    assert all(len(kept) <= MAX_REALMS for kept in rig.broker.cache._refusals.values())


@stepped
async def test_T03_a_background_refresh_asks_stores_and_no_person() -> None:
    rig = BrokerRig(
        store := FakeProvider(NotFound("none"), name="store"),
        person := FakeProvider(password("x"), name="prompt", interactive=True),
    )
    exchange = rig.challenge(digest(), prompts=False)
    await settle()
    assert len(store.requests) == 1 and person.requests == []
    assert store.requests[0].interactive is False
    assert exchange.why is GiveUp.NO_CREDENTIALS


@stepped
async def test_a_person_who_waits_lets_a_background_flight_ask() -> None:
    rig = BrokerRig(FakeProvider(HANG, name="store"), person := FakeProvider(password("x"), name="b", interactive=True))
    background = rig.challenge(digest(), prompts=False)
    await settle()
    foreground = rig.challenge(digest(nonce="n2"))
    rig.land(error=NotFound("none"))
    await settle()
    assert len(person.requests) == 1
    assert proves(background.answer(), "x") and proves(foreground.answer(), "x")


@stepped
async def test_at_teardown_only_the_cache_answers_even_what_has_expired() -> None:
    rig = BrokerRig(provider := FakeProvider(password("right")))
    stranger = rig.challenge(digest(), fetch=False)
    assert stranger.why is GiveUp.NO_CREDENTIALS and provider.requests == []
    rig.challenge(digest(nonce="n2"))
    await advance(5000)
    bye = rig.challenge(digest(nonce="n3"), how={"method": "BYE"}, fetch=False)
    assert proves(bye.answer(), "right", method="BYE")
    assert len(provider.requests) == 1


@stepped
async def test_T03_no_ration_no_prompt() -> None:
    rig = BrokerRig(person := FakeProvider(password("x"), interactive=True))
    rig.ration = Ration(0)
    rig.challenge(digest())
    await settle()
    assert person.requests == []
    assert str(rig.failures[0].error) == "nobody may be asked now"
