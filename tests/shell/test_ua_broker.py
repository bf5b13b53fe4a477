"""The broker: cache, single flight, chain, rations, deadlines, feedback.  Time is stepped, lanes are inline."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import (
    BearerCredentials,
    Cancelled,
    Credentials,
    Denied,
    Ha1Credentials,
    NotFound,
    Rejection,
    Secret,
    Unavailable,
    UserAction,
)
from sipcli.sip.auth import GiveUp
from sipcli.sip.authn.origin import Origin
from sipcli.ua.auth.cache import MAX_REALMS, REFUSAL_MEMORY
from sipcli.ua.auth.chain import Chain
from sipcli.ua.auth.rations import Ration
from sipcli.ua.notices import AuthNeeded, AuthProviderNotice, AuthUserAction, WarningNotice
from tests.support.authkit import HOME, HOME_TLS, asks, digest, final, password, proves
from tests.support.brokerkit import HANG, BrokerRig, FakeProvider, Keeper
from tests.support.clock import advance, settle, stepped


def bearer(value: str = "token", **more: Any) -> BearerCredentials:
    return BearerCredentials(Secret(value), **more)


def secrets(credentials: list[Credentials]) -> list[str]:
    return [each.secret.reveal().decode() for each in credentials]


# --- the walk -------------------------------------------------------------------------------------------------


@stepped
async def test_the_chain_answers_a_challenge() -> None:
    provider = FakeProvider(password("right", ref="p:alice"))
    rig = BrokerRig(provider)
    exchange = rig.challenge(digest(algorithm="SHA-256"))
    await settle()
    assert proves(exchange.answer(), "right")
    (request,) = provider.requests
    assert (request.account, request.realm, request.username) == ("work", "example.com", "alice")
    assert (request.algorithms, request.method, request.attempt) == (("SHA-256",), "REGISTER", 1)
    assert request.rejected is None
    (told,) = rig.told(AuthProviderNotice)
    assert (told.outcome, told.secret_ref, told.provider) == ("found", "p:alice", "p")
    assert rig.broker.flights == 0


@stepped
async def test_the_second_challenge_is_answered_from_the_cache_at_once() -> None:
    rig = BrokerRig(provider := FakeProvider(password("right")))
    rig.challenge(digest())
    await settle()
    again = rig.challenge(digest(nonce="n2"))
    assert proves(again.answer(), "right")
    assert len(provider.requests) == 1


@stepped
async def test_parallel_challenges_share_one_flight() -> None:
    rig = BrokerRig(provider := FakeProvider(password("right")))
    exchanges = [rig.challenge(digest(nonce=f"n{i}")) for i in range(5)]
    await settle()
    assert [proves(e.answer(), "right") for e in exchanges] == [True] * 5
    assert len(provider.requests) == 1
    assert len({e.answer()["cnonce"] for e in exchanges}) == 5


@pytest.mark.parametrize("difference", ["realm", "origin"])
def test_another_realm_or_origin_is_another_flight(difference: str) -> None:
    @stepped
    async def run() -> None:
        rig = BrokerRig(provider := FakeProvider(password("right")))
        rig.challenge(digest())
        if difference == "realm":
            rig.challenge(digest("other.example"))
        else:
            rig.challenge(digest(), how={"origin": Origin("192.0.2.2", 5060, "udp", None, bound=True)})
        await settle()
        assert len(provider.requests) == 2

    run()


@stepped
async def test_one_tls_identity_is_one_origin_wherever_it_answers() -> None:
    rig = BrokerRig(provider := FakeProvider(password("right")))
    rig.challenge(digest(), how={"origin": HOME_TLS})
    await settle()
    elsewhere = Origin("192.0.2.77", 5061, "tls", "example.com", bound=True)
    rig.challenge(digest(nonce="n2"), how={"origin": elsewhere})
    await settle()
    assert len(provider.requests) == 1


@stepped
async def test_several_realms_are_answered_by_one_retry_when_all_are_settled() -> None:
    a, b = FakeProvider(password("a"), name="a"), FakeProvider(HANG, name="b")
    rig = BrokerRig(a, b)
    rig.chains = {"A": Chain("alice", ("a",)), "B": Chain("alice.trunk", ("b",))}
    exchange = rig.challenge(digest("A"), digest("B"))
    await settle()
    assert len(exchange.sent) == 1, "not before B is known"
    assert b.requests[0].username == "alice.trunk"
    rig.land(result=password("b", username="alice.trunk"))
    assert len(exchange.sent) == 2
    assert {c["realm"]: proves(c, c["realm"].lower()) for c in exchange.carried()} == {"A": True, "B": True}


@stepped
async def test_one_realm_without_an_answer_abandons_all_and_cancels_the_other_flight() -> None:
    a, b = FakeProvider(HANG, name="a"), FakeProvider(NotFound("none"), name="b")
    rig = BrokerRig(a, b)
    rig.chains = {"A": Chain("alice", ("a",)), "B": Chain("alice", ("b",))}
    exchange = rig.challenge(digest("A"), digest("B"))
    await settle()
    assert exchange.why is GiveUp.NO_CREDENTIALS
    assert rig.fetch.withdrawn and rig.broker.flights == 0
    assert rig.failures[0].realm == "B"


@stepped
async def test_a_hangup_withdraws_the_waiter_and_the_last_one_out_cancels() -> None:
    rig = BrokerRig(provider := FakeProvider(HANG))
    first, second = rig.challenge(digest()), rig.challenge(digest(nonce="n2"))
    await settle()
    rig.rig.session.revoke(first)
    rig.pump()
    assert not rig.fetch.withdrawn and rig.broker.flights == 1
    rig.rig.session.revoke(second)
    rig.pump()
    assert rig.broker.flights == 0
    assert provider.requests[0].cancel.is_set()
    assert (first.why, second.why, len(first.sent)) == (None, None, 1)
    await advance(200)
    assert first.why is None


# --- chain semantics ------------------------------------------------------------------------------------------


@stepped
async def test_not_found_goes_on_to_the_next() -> None:
    rig = BrokerRig(FakeProvider(NotFound("no"), name="a"), FakeProvider(password("right"), name="b"))
    exchange = rig.challenge(digest())
    await settle()
    assert proves(exchange.answer(), "right")
    assert [(n.provider, n.outcome) for n in rig.told(AuthProviderNotice)] == [("a", "not_found"), ("b", "found")]


@stepped
async def test_cancelled_stops_the_chain_and_abandons() -> None:
    rig = BrokerRig(FakeProvider(Cancelled("^C"), name="a"), second := FakeProvider(password("x"), name="b"))
    exchange = rig.challenge(digest())
    await settle()
    assert exchange.why is GiveUp.ABANDONED
    assert second.requests == []


@pytest.mark.parametrize(
    ("errors", "winner"),
    [
        ([NotFound("n"), Unavailable("u", retry_after=99), Denied("d")], Denied),
        ([Denied("d"), Unavailable("u", retry_after=99), NotFound("n")], Denied),
        ([NotFound("n"), Unavailable("u", retry_after=99)], Unavailable),
        ([NotFound("n"), NotFound("m")], NotFound),
    ],
)
def test_the_most_telling_error_wins(errors: list[Any], winner: type) -> None:
    @stepped
    async def run() -> None:
        rig = BrokerRig(*(FakeProvider(error, name=f"p{i}") for i, error in enumerate(errors)))
        exchange = rig.challenge(digest())
        await settle()
        assert exchange.why is GiveUp.NO_CREDENTIALS
        (failure,) = rig.failures
        assert type(failure.error) is winner
        assert failure.provider == f"p{[type(e) for e in errors].index(winner)}"

    run()


@stepped
async def test_denied_is_not_asked_again_in_this_run_until_a_reset() -> None:
    rig = BrokerRig(provider := FakeProvider(Denied("locked")))
    rig.challenge(digest())
    await settle()
    rig.challenge(digest(nonce="n2"))
    await settle()
    assert len(provider.requests) == 1
    assert [type(f.error) for f in rig.failures] == [Denied, Denied]
    rig.broker.reset("work")
    rig.challenge(digest(nonce="n3"))
    await settle()
    assert len(provider.requests) == 2


@stepped
async def test_denied_stands_until_the_file_that_it_names_has_changed(tmp_path: Path) -> None:
    """A secret id that has ended is not sent twice, and the new one is not left lying until somebody sends SIGHUP."""
    secret_id = tmp_path / "secret-id"
    secret_id.write_text("old")
    rig = BrokerRig(provider := FakeProvider(lambda _: Denied("too old", file=secret_id)))
    for number in range(3):
        rig.challenge(digest(nonce=f"n{number}"))
        await settle()
    assert len(provider.requests) == 1
    assert [str(failure.error) for failure in rig.failures] == ["too old"] * 3
    fresh = tmp_path / "fresh"
    fresh.write_text("new")  # as long as the old one
    fresh.replace(secret_id)
    provider.answers = [Denied("still not", file=secret_id)]
    for number in range(3, 6):
        rig.challenge(digest(nonce=f"n{number}"))
        await settle()
    assert len(provider.requests) == 2
    assert str(rig.failures[-1].error) == "still not"
    secret_id.chmod(0o400)
    provider.answers = [password("wonderland")]
    exchange = rig.challenge(digest(nonce="n6"))
    await settle()
    assert proves(exchange.answer(), "wonderland")


@stepped
async def test_a_required_provider_that_denies_ends_the_chain() -> None:
    rig = BrokerRig(FakeProvider(Denied("locked"), name="a"), second := FakeProvider(password("x"), name="b"))
    rig.default = Chain("alice", ("a", "b"), frozenset({"a"}))
    exchange = rig.challenge(digest())
    await settle()
    assert exchange.why is GiveUp.NO_CREDENTIALS and second.requests == []


@stepped
async def test_unavailable_is_asked_twice_more_with_growing_pauses() -> None:
    rig = BrokerRig(provider := FakeProvider(Unavailable("down"), Unavailable("down"), password("right")))
    exchange = rig.challenge(digest())
    await settle()
    assert len(provider.requests) == 1
    await advance(0.5)
    assert len(provider.requests) == 2
    await advance(0.9)
    assert len(provider.requests) == 2
    await advance(0.1)
    assert proves(exchange.answer(), "right")
    (told,) = rig.told(AuthProviderNotice)
    assert told.outcome == "found" and told.took_ms == pytest.approx(1500)


@stepped
async def test_unavailable_three_times_is_told_once_and_the_chain_goes_on() -> None:
    rig = BrokerRig(bad := FakeProvider(Unavailable("down"), name="a"), FakeProvider(password("right"), name="b"))
    exchange = rig.challenge(digest())
    await advance(1.5)
    assert len(bad.requests) == 3
    assert proves(exchange.answer(), "right")
    assert [n.outcome for n in rig.told(AuthProviderNotice)] == ["unavailable", "found"]


@stepped
async def test_retry_after_is_obeyed_if_it_ends_before_the_deadline() -> None:
    rig = BrokerRig(
        near := FakeProvider(Unavailable("soon", retry_after=5), NotFound("no"), name="near"),
        far := FakeProvider(Unavailable("later", retry_after=3600), name="far"),
    )
    exchange = rig.challenge(digest())
    await advance(4.9)
    assert len(near.requests) == 1
    await advance(0.2)
    assert (len(near.requests), len(far.requests)) == (2, 1)
    assert exchange.why is GiveUp.NO_CREDENTIALS


@stepped
async def test_T14_a_providers_bug_is_unavailable_without_retry_and_its_text_stays_hidden(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = BrokerRig(provider := FakeProvider(KeyError("hunter2")))
    with caplog.at_level(logging.DEBUG):
        exchange = rig.challenge(digest())
        await settle()
    assert exchange.why is GiveUp.NO_CREDENTIALS and len(provider.requests) == 1
    (told,) = rig.told(AuthProviderNotice)
    assert told.outcome == "unavailable"
    assert told.message == "provider p is broken: it raised KeyError (tests.support.brokerkit)"
    assert "hunter2" not in caplog.text and "in get" in caplog.text


@stepped
async def test_an_answer_that_is_no_credentials_is_a_bug() -> None:
    rig = BrokerRig(FakeProvider("a password"))
    rig.challenge(digest())
    await settle()
    (told,) = rig.told(AuthProviderNotice)
    assert told.message == "provider p is broken: it answered with str (tests.support.brokerkit)"
    assert "a password" not in repr(rig.notices)


@stepped
async def test_a_provider_that_cannot_be_made_is_a_bug_of_that_provider() -> None:
    rig = BrokerRig(FakeProvider(password("right"), name="b"))
    rig.default = Chain("alice", ("missing", "b"))
    exchange = rig.challenge(digest())
    await settle()
    assert proves(exchange.answer(), "right")
    assert rig.told(AuthProviderNotice)[0].message == "provider missing is broken: it raised KeyError"


@pytest.mark.parametrize(
    "wrong",
    [bearer(), password("x", realm="another"), Ha1Credentials("alice", "another", "MD5", Secret("0" * 32))],
)
def test_what_does_not_fit_the_challenge_counts_as_not_found(wrong: Credentials) -> None:
    @stepped
    async def run() -> None:
        rig = BrokerRig(FakeProvider(wrong, name="a"), FakeProvider(password("right"), name="b"))
        exchange = rig.challenge(digest())
        await settle()
        assert proves(exchange.answer(), "right")
        assert rig.told(AuthProviderNotice)[0].outcome == "not_found"

    run()


@stepped
async def test_an_empty_chain_has_no_credentials() -> None:
    rig = BrokerRig()
    exchange = rig.challenge(digest())
    assert exchange.why is GiveUp.NO_CREDENTIALS
    assert str(rig.failures[0].error) == "no provider is configured"


@stepped
async def test_a_full_lane_counts_as_unavailable() -> None:
    rig = BrokerRig(FakeProvider(password("x")))
    rig.fetch.refusal = Unavailable("too many stuck providers: vault", retry_after=99)
    exchange = rig.challenge(digest())
    assert exchange.why is GiveUp.NO_CREDENTIALS
    assert str(rig.failures[0].error) == "too many stuck providers: vault"


@stepped
async def test_where_nobody_has_the_topmost_scheme_the_other_is_tried() -> None:
    rig = BrokerRig(FakeProvider(lambda request: bearer() if request.scheme == "bearer" else NotFound("no password")))
    challenge = 'Bearer authz_server="https://as.example.com", scope="sip", realm="example.com"'
    exchange = rig.challenge(digest(), challenge, how={"origin": HOME_TLS})
    await settle()
    assert exchange.answer()["scheme"] == "bearer"


@stepped
async def test_the_topmost_schemes_failure_is_the_one_that_is_told() -> None:
    def answer(request: Any) -> Exception:
        return NotFound("no token") if request.scheme == "bearer" else Denied("locked")

    rig = BrokerRig(FakeProvider(answer, name="a"))
    exchange = rig.challenge(digest(), 'Bearer realm="example.com"', how={"origin": HOME_TLS})
    await settle()
    assert exchange.why is GiveUp.NO_CREDENTIALS
    assert isinstance(rig.failures[-1].error, Denied)


@stepped
async def test_a_bearer_challenge_names_the_authorization_server_and_the_scope() -> None:
    rig = BrokerRig(provider := FakeProvider(bearer()))
    challenge = 'Bearer authz_server="https://as.example.com", scope="sip video", realm="example.com"'
    rig.challenge(challenge, how={"origin": HOME_TLS})
    await settle()
    (request,) = provider.requests
    assert (request.scheme, request.authz_server, request.scope) == (
        "bearer",
        "https://as.example.com",
        ("sip", "video"),
    )
    assert request.algorithms == ()


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
    rig = BrokerRig(FakeProvider(password("old", expires_in=0), name="a"), FakeProvider(password("right"), name="b"))
    exchange = rig.challenge(digest())
    await settle()
    assert proves(exchange.answer(), "right")


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
    both = (digest(), 'Bearer realm="example.com"')
    bye = rig.challenge(*both, how={"origin": HOME_TLS, "method": "BYE", "call_id": "another"}, fetch=False)
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
