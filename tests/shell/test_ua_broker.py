"""The broker: cache, single flight, and the walk along the chain.  Time is stepped, lanes are inline."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import (
    Cancelled,
    Credentials,
    Denied,
    Ha1Credentials,
    NotFound,
    Secret,
    Unavailable,
)
from sipcli.sip.auth import GiveUp
from sipcli.sip.authn.origin import Origin
from sipcli.ua.auth.chain import Chain
from sipcli.ua.notices import AuthProviderNotice
from tests.support.authkit import HOME, HOME_TLS, digest, password, proves
from tests.support.brokerkit import HANG, BrokerRig, FakeProvider, bearer
from tests.support.clock import advance, settle, stepped

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


@pytest.mark.parametrize("origin", [HOME, HOME_TLS, Origin("2001:db8::1", 5060, bound=True)], ids=str)
def test_a_provider_is_told_who_asks_and_what_would_do(origin: Origin) -> None:
    @stepped
    async def run() -> None:
        rig = BrokerRig(provider := FakeProvider(password("right")))
        rig.challenge(
            digest(algorithm="SHA-256"), 'Basic realm="example.com"', digest(r'a \"b\"'), digest("example.com", "n2"),
            how={"origin": origin},
        )  # fmt: skip
        await settle()
        first, second = provider.requests
        names = {HOME: "192.0.2.1:5060", HOME_TLS: "example.com"}
        assert {first.origin, second.origin} == {names.get(origin, "[2001:db8::1]:5060")}
        assert first.verified is second.verified is (origin is HOME_TLS)
        assert first.challenges == (
            'Digest realm="example.com", nonce="n1", qop="auth", algorithm="SHA-256"',
            'Digest realm="example.com", nonce="n2", qop="auth"',
        )
        assert second.challenges == (r'Digest realm="a \"b\"", nonce="n1", qop="auth"',)

    run()


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
