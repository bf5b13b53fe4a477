"""The broker after the answer: what is refused, remembered, forgotten, and the end.  Lanes are inline."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.credentials import (
    Ha1Credentials,
    NotFound,
    Rejection,
    Secret,
    Unavailable,
)
from sipcli.sip.auth import GiveUp
from sipcli.ua.auth.cache import MAX_REALMS, REFUSAL_MEMORY
from sipcli.ua.auth.chain import Chain
from sipcli.ua.notices import AuthProviderNotice, WarningNotice
from tests.support.authkit import HOME, HOME_TLS, asks, digest, final, password, proves
from tests.support.brokerkit import HANG, BrokerRig, FakeProvider, Keeper, bearer, secrets
from tests.support.clock import advance, settle, stepped

CALL = {"method": "INVITE", "uri": "sip:bob@example.com"}

# --- refusals -------------------------------------------------------------------------------------------------


@stepped
async def test_a_refused_secret_is_evicted_and_the_provider_is_told() -> None:
    rig = BrokerRig(provider := Keeper(password("wrong"), password("right")))
    exchange = rig.challenge(digest())
    await settle()
    rig.challenge(digest(nonce="n2"), exchange=exchange)
    await settle()
    assert proves(exchange.answer(), "right")
    assert secrets(provider.forgotten) == ["wrong"]
    assert [r.attempt for r in provider.requests] == [1, 2]
    assert provider.requests[1].rejected == Rejection(provider="p", username="alice", status=401)


@stepped
async def test_the_same_wrong_secret_counts_as_not_found_and_is_never_sent_twice() -> None:
    rig = BrokerRig(provider := FakeProvider(lambda _: password("wrong")))
    exchange = rig.challenge(digest())
    await settle()
    rig.challenge(digest(nonce="n2"), exchange=exchange)
    await settle()
    assert exchange.why is GiveUp.REFUSED
    assert len(provider.requests) == 2 and len(exchange.sent) == 2
    # ... and neither in another request, for as long as the longest back-off.
    later = rig.challenge(digest(nonce="n3"))
    await settle()
    assert later.why is GiveUp.NO_CREDENTIALS and len(later.sent) == 1
    await advance(REFUSAL_MEMORY)
    much_later = rig.challenge(digest(nonce="n4"))
    await settle()
    assert len(much_later.sent) == 2


@stepped
async def test_another_name_with_the_same_password_is_another_answer() -> None:
    rig = BrokerRig(FakeProvider(password("wrong"), password("wrong", username="bob")))
    exchange = rig.challenge(digest())
    await settle()
    rig.challenge(digest(nonce="n2"), exchange=exchange)
    await settle()
    assert exchange.answer()["username"] == "bob"


@stepped
async def test_T08_a_late_401_does_not_evict_the_newer_and_good_entry() -> None:
    """The trap of evicting by attempt: a second prompt after the right password."""
    rig = BrokerRig(person := FakeProvider(password("wrong"), password("right"), name="prompt", interactive=True))
    first, second = rig.challenge(digest()), rig.challenge(digest(nonce="n2"))
    await settle()
    assert len(first.sent) == len(second.sent) == 2 and len(person.requests) == 1
    rig.challenge(digest(nonce="n3"), exchange=first)
    await settle()
    assert proves(first.answer(), "right") and len(person.requests) == 2
    rig.challenge(digest(nonce="n4"), exchange=second)  # the second refusal of "wrong" comes late
    await settle()
    assert proves(second.answer(), "right")
    assert len(person.requests) == 2


@stepped
async def test_a_joiner_who_was_refused_that_very_value_is_not_given_it_again() -> None:
    rig = BrokerRig(provider := FakeProvider(password("wrong"), HANG))
    old = rig.challenge(digest())
    await settle()
    rig.broker.cache.drop()  # its time was over: so a flight can start that knows of no refusal
    fresh = rig.challenge(digest(nonce="n2"))
    rig.challenge(digest(nonce="n3"), exchange=old)  # refused meanwhile, joins
    await settle()
    assert len(provider.requests) == 2
    rig.land(result=password("wrong"))
    assert (fresh.why, old.why) == (GiveUp.NO_CREDENTIALS, GiveUp.NO_CREDENTIALS)
    assert (len(fresh.sent), len(old.sent)) == (1, 2)


@stepped
async def test_what_another_look_up_cached_meanwhile_does_not_help_if_it_is_the_refused_value() -> None:
    """Its provider is asked again, and has the new one by now.  Fails without ``was_refused`` in ``_want``."""
    rig = BrokerRig(provider := FakeProvider(password("wrong"), password("wrong"), password("right")))
    old = rig.challenge(digest())
    await settle()
    rig.broker.cache.drop()
    rig.challenge(digest(nonce="n2"))
    await settle()
    rig.challenge(digest(nonce="n3"), exchange=old)
    await settle()
    assert proves(old.answer(), "right")
    assert len(provider.requests) == 3


@stepped
async def test_403_refuses_what_was_never_accepted() -> None:
    rig = BrokerRig(provider := Keeper(password("wrong")))
    exchange = rig.challenge(digest())
    await settle()
    rig.final(exchange, final(403))
    await settle()
    assert secrets(provider.forgotten) == ["wrong"]
    assert len(rig.broker.cache) == 0


@stepped
async def test_403_does_not_blame_what_was_accepted_before() -> None:
    """A dial plan that forbids a number must not cost the keychain its entry."""
    rig = BrokerRig(provider := Keeper(password("right")))
    exchange = rig.challenge(digest())
    await settle()
    rig.final(exchange, final(200))
    call = rig.challenge(digest(nonce="n2"), how={"method": "INVITE"})
    rig.final(call, final(403))
    await settle()
    assert provider.forgotten == [] and len(rig.broker.cache) == 1


@stepped
async def test_A25_403_to_a_call_costs_no_store_its_secret_and_the_store_is_asked_again() -> None:
    """A destination that is barred.  Fails for the first call if ``AuthSession.refused`` looks at no method.

    And it is not marked: the store may give it again, and it goes out for the next call.
    """
    rig = BrokerRig(provider := Keeper(password("right")))
    for calls in (1, 2):
        call = rig.challenge(digest(nonce=f"n{calls}"), how={"method": "INVITE"})
        await settle()
        assert proves(call.answer(), "right", method="INVITE")
        rig.final(call, final(403))
        await settle()
        assert provider.forgotten == [] and len(rig.broker.cache) == 0
        assert len(provider.requests) == calls


@stepped
async def test_A25_403_to_a_call_with_a_secret_that_registered_leaves_it_in_the_cache() -> None:
    """Fetched anew meanwhile, it is another object, and as good.  Fails if what is good is known by identity."""
    rig = BrokerRig(provider := Keeper(lambda _: password("right")), cache_ttl=10.0)
    registration = rig.challenge(digest())
    await settle()
    rig.final(registration, final(200))
    await advance(11.0)
    call = rig.challenge(digest(nonce="n2"), how={"method": "INVITE", "uri": "sip:0900@example.com"})
    await settle()
    rig.final(call, final(403))
    await settle()
    assert len(provider.requests) == 2
    assert provider.forgotten == [] and len(rig.broker.cache) == 1


@stepped
async def test_401_for_what_was_accepted_before_means_that_it_was_changed() -> None:
    rig = BrokerRig(provider := Keeper(password("old"), password("new")))
    exchange = rig.challenge(digest())
    await settle()
    rig.final(exchange, final(200))
    refresh = rig.challenge(digest(nonce="n2"))
    rig.challenge(digest(nonce="n3"), exchange=refresh)
    await settle()
    assert secrets(provider.forgotten) == ["old"]
    assert proves(refresh.answer(), "new")


@stepped
async def test_A04_A25_whoever_we_call_has_nothing_forgotten_that_the_registrar_took() -> None:
    """He answers 407 in the realm of our proxy, which carries it to us: our password is as good as it was.

    It was erased, and the next REGISTER found nobody who knew another.  Fails without ``_is_verdict`` in ``refused``
    and in ``_learn_refusals``.
    """
    rig = BrokerRig(provider := Keeper(password("right")), cache_ttl=900.0)
    registered = rig.challenge(digest())
    await settle()
    rig.final(registered, final(200))
    for nonce in ("n2", "n3"):  # the second call finds the cache empty: what is known to be good is the value
        call = rig.challenge(digest(nonce=nonce), how=CALL)
        await settle()
        rig.challenge(digest(nonce=f"evil {nonce}"), exchange=call)
        await settle()
        assert call.why is GiveUp.REFUSED and len(call.sent) == 2, "nor is it sent to him again, and nobody is asked"
        await advance(900.0)
    assert provider.forgotten == []
    refresh = rig.challenge(digest(nonce="n4"))
    await settle()
    assert proves(refresh.answer(), "right")


@stepped
async def test_A04_A25_what_was_refused_for_a_call_alone_is_asked_for_anew_and_erased_nowhere() -> None:
    """Nobody registered, so that nobody knows who is right; where it was refused by the registrar, too, he is.

    Fails without ``_is_final`` in ``_discard``.
    """
    rig = BrokerRig(keeper := Keeper(password("kept")), FakeProvider(password("typed"), name="q"))
    registers = rig.challenge(digest())
    call = rig.challenge(digest(nonce="n2"), how=CALL)
    await settle()
    rig.challenge(digest(nonce="n3"), exchange=call)
    await settle()
    assert proves(call.answer(), "typed", method="INVITE")
    assert keeper.forgotten == []
    rig.challenge(digest(nonce="n4"), exchange=registers)
    await settle()
    assert secrets(keeper.forgotten) == ["kept"]


@stepped
async def test_A28_a_token_that_ended_is_renewed_for_a_call_too() -> None:
    """Although the registrar took it."""
    rig = BrokerRig(provider := Keeper(bearer("one"), bearer("two")))
    asked = 'Bearer realm="example.com", authz_server="https://as.example.com"'
    registered = rig.challenge(asked, how={"origin": HOME_TLS})
    await settle()
    rig.final(registered, final(200))
    call = rig.rig.exchange(origin=HOME_TLS, **CALL)
    for why in ("", ', error="invalid_token"'):
        call.receive(asks(proxy=[asked + why]))
        rig.pump()
        await settle()
    assert call.request.get("Proxy-Authorization") == "Bearer two"
    assert secrets(provider.forgotten) == ["one"]


@stepped
async def test_acceptance_forgives_earlier_refusals() -> None:
    rig = BrokerRig(FakeProvider(password("one"), password("two"), password("one")))
    exchange = rig.challenge(digest())
    await settle()
    rig.challenge(digest(nonce="n2"), exchange=exchange)
    await settle()
    (key,) = rig.broker.cache._entries["work"]
    assert rig.broker.cache.was_refused(key, password("one"))
    rig.final(exchange, final(200))
    assert not rig.broker.cache.was_refused(key, password("one"))


@stepped
async def test_a_user_name_from_another_locale_is_refused_and_known_again() -> None:
    """``--username``, or an exported variable, may hold octets that are no UTF-8."""
    latin = b"ren\xe9".decode("utf-8", "surrogateescape")
    rig = BrokerRig(FakeProvider(password("one", username=latin), password("one", username=latin)))
    exchange = rig.challenge(digest())
    await settle()
    rig.challenge(digest(nonce="n2"), exchange=exchange)
    await settle()
    assert exchange.why is GiveUp.REFUSED and len(exchange.sent) == 2


@stepped
async def test_a_refusal_of_the_accounts_own_credentials_names_the_configuration() -> None:
    rig = BrokerRig(provider := FakeProvider(password("right")))
    exchange = rig.rig.exchange()
    exchange.receive(asks(digest()))
    token = rig.rig.events[0].token
    plan = rig.rig.session.reinit_request(token, [password("configured", username="al")])
    assert plan is not None
    rig.rig.events.clear()
    rig.rig.session.send_request(token, plan)
    rig.challenge(digest(nonce="n2"), exchange=exchange)
    await settle()
    assert provider.requests[0].rejected == Rejection(provider="configuration", username="al", status=401)


# --- remember, forget -----------------------------------------------------------------------------------------


@stepped
async def test_what_was_accepted_is_remembered_only_when_asked_and_only_once() -> None:
    person = FakeProvider(password("right"), name="prompt", interactive=True)
    for save in (False, True):
        keeper = Keeper(NotFound("none"), name="keychain")
        rig = BrokerRig(keeper, person, save=save)
        exchange = rig.challenge(digest())
        await settle()
        assert keeper.remembered == [], "not before the server has accepted it"
        rig.final(exchange, final(200))
        again = rig.challenge(digest(nonce="n2"))
        rig.final(again, final(200))
        await settle()
        assert secrets(keeper.remembered) == (["right"] if save else [])


@stepped
async def test_nobody_remembers_what_a_5xx_says_nothing_about() -> None:
    rig = BrokerRig(keeper := Keeper(password("right")), save=True)
    exchange = rig.challenge(digest())
    await settle()
    rig.final(exchange, final(503))
    await settle()
    assert keeper.remembered == []


@stepped
async def test_a_chain_without_a_keeper_says_so() -> None:
    rig = BrokerRig(FakeProvider(password("right")), save=True)
    rig.final(rig.challenge(digest()), final(200))
    await settle()
    exchange = rig.challenge(digest(nonce="n2"))
    rig.final(exchange, final(200))
    await settle()
    (warning,) = rig.told(WarningNotice)
    assert warning.code == "remember_failed" and "no provider of the chain keeps secrets" in warning.message


@stepped
async def test_a_keeper_that_breaks_is_a_warning_without_its_text() -> None:
    class Broken(Keeper):
        def forget(self, request: Any, credentials: Any) -> None:
            raise OSError("hunter2")

    rig = BrokerRig(Broken(password("hunter2"), NotFound("none")))
    exchange = rig.challenge(digest())
    await settle()
    rig.challenge(digest(nonce="n2"), exchange=exchange)
    await settle()
    (warning,) = rig.told(WarningNotice)
    assert warning.message == "the secret could not be erased: p raised OSError"


@stepped
async def test_T17_a_keeper_whose_error_cannot_be_read_is_a_warning_too() -> None:
    class Mute(Unavailable):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    class Broken(Keeper):
        def remember(self, request: Any, credentials: Any) -> None:
            raise Mute("x")

    rig = BrokerRig(Broken(password("right")), save=True)
    exchange = rig.challenge(digest())
    await settle()
    rig.final(exchange, final(200))
    await settle()
    (warning,) = rig.told(WarningNotice)
    assert warning.message == "the secret could not be kept: p raised Mute"


@stepped
async def test_feedback_that_finds_no_lane_is_dropped_with_a_line(caplog: pytest.LogCaptureFixture) -> None:
    rig = BrokerRig(Keeper(password("right")), save=True)
    exchange = rig.challenge(digest())
    await settle()
    rig.fetch.refusal = Unavailable("too many stuck providers")
    rig.final(exchange, final(200))
    assert "too many stuck providers" in caplog.text


@stepped
async def test_leaving_waits_for_feedback_but_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    import asyncio

    class Slow(Keeper):
        def remember(self, request: Any, credentials: Any) -> Any:
            return HANG

    rig = BrokerRig(Slow(password("right")), save=True)
    exchange = rig.challenge(digest())
    await settle()
    await rig.broker.drain(1)
    rig.final(exchange, final(200))
    drain = asyncio.ensure_future(rig.broker.drain(2))
    await advance(1)
    assert not drain.done()
    await advance(1.1)
    assert drain.done() and "still busy" in caplog.text
    rig.broker.close()
    assert rig.fetch.withdrawn


# --- the end --------------------------------------------------------------------------------------------------


@stepped
async def test_T27_closing_ends_flights_and_wipes_what_is_cached() -> None:
    rig = BrokerRig(FakeProvider(kept := password("right"), HANG))
    rig.challenge(digest())
    await settle()
    rig.challenge(digest("other"))
    await settle()
    rig.broker.close()
    assert rig.broker.flights == 0 and rig.fetch.withdrawn
    assert kept.password.reveal() == b"" and len(rig.broker.cache) == 0


@stepped
async def test_revoked_before_it_is_submitted_starts_nothing() -> None:
    rig = BrokerRig(provider := FakeProvider(password("right")))
    exchange = rig.rig.exchange(origin=HOME)
    exchange.receive(asks(digest()))
    (event,) = rig.rig.events
    rig.rig.events.clear()
    rig.rig.session.revoke(exchange)
    rig.submit(event)
    await settle()
    assert len(exchange.sent) == 1 and provider.requests == []


# --- corners --------------------------------------------------------------------------------------------------


@stepped
async def test_an_empty_chain_for_the_first_of_two_realms_asks_nobody_for_the_second() -> None:
    rig = BrokerRig(provider := FakeProvider(password("b")))
    rig.chains = {"A": Chain("alice", ())}
    exchange = rig.challenge(digest("A"), digest("B"))
    assert exchange.why is GiveUp.NO_CREDENTIALS
    await settle()
    assert provider.requests == []


@stepped
async def test_at_teardown_the_cache_may_know_the_other_scheme() -> None:
    rig = BrokerRig(provider := FakeProvider(bearer("t0ken")))
    rig.challenge('Bearer realm="example.com"', how={"origin": HOME_TLS})
    await settle()
    bye = rig.rig.exchange("BYE", origin=HOME_TLS, call_id="another")
    bye.receive(asks(proxy=(digest(), 'Bearer realm="example.com"')))
    rig.pump(fetch=False)
    assert bye.answer()["value"] == "Bearer t0ken"
    assert len(provider.requests) == 1


@stepped
async def test_T08_the_agent_may_end_a_challenge_while_the_broker_lands_it() -> None:
    """Whoever hears that the first waiter failed may hang up the second."""
    rig = BrokerRig(FakeProvider(HANG))
    exchanges = [rig.challenge(digest()), rig.challenge(digest(nonce="n2"))]
    await settle()

    def hangup(failure: Any) -> None:
        rig.rig.session.revoke(exchanges[1])
        rig.pump()

    flight = rig.fetch.jobs[-1].tag
    for waiter in flight.waiters:
        waiter.ask.on_failed = hangup
    rig.land(error=NotFound("none"))
    assert (exchanges[0].why, exchanges[1].why) == (GiveUp.NO_CREDENTIALS, None)


@stepped
async def test_nobody_need_hear_why_it_failed() -> None:
    rig = BrokerRig(FakeProvider(NotFound("none")))
    exchange = rig.challenge(digest(), on_failed=None)
    await settle()
    assert exchange.why is GiveUp.NO_CREDENTIALS


@stepped
async def test_several_realms_of_one_account_are_cached_side_by_side_and_not_without_end() -> None:
    rig = BrokerRig(provider := FakeProvider(lambda _: password("right")))
    for index in range(MAX_REALMS + 5):
        rig.challenge(digest(f"realm{index}"))
        await settle()
    assert len(rig.broker.cache) == MAX_REALMS
    rig.challenge(digest(f"realm{MAX_REALMS + 4}", nonce="n2"))
    assert len(provider.requests) == MAX_REALMS + 5


@stepped
async def test_an_ha1_answers_its_own_realm() -> None:
    ha1 = Ha1Credentials("alice", "example.com", "MD5", Secret("939e7578ed9e3c518a452acee763bce9"))
    rig = BrokerRig(FakeProvider(ha1))
    exchange = rig.challenge(digest())
    await settle()
    assert exchange.answer()["username"] == "alice"


@stepped
async def test_nothing_is_told_when_nobody_listens() -> None:
    rig = BrokerRig(FakeProvider(password("right")))
    rig.broker.is_heard = lambda: False
    exchange = rig.challenge(digest())
    await settle()
    assert proves(exchange.answer(), "right") and rig.told(AuthProviderNotice) == []


@stepped
async def test_two_kinds_of_feedback_at_once() -> None:
    import asyncio

    rig = BrokerRig(Keeper(password("one"), password("two")), save=True)
    exchange = rig.challenge(digest())
    await settle()
    rig.challenge(digest(nonce="n2"), exchange=exchange)
    await settle()
    other = rig.challenge(digest("other"))
    await settle()
    rig.final(exchange, final(200))
    rig.final(other, final(200))
    await asyncio.wait_for(rig.broker.drain(5), 5)
    assert len(rig.providers["p"].remembered) == 2
