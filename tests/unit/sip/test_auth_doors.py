"""One realm that asks as registrar (401) and as proxy (407): one algorithm for both, or no answer (T05, T06)."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.credentials import BearerCredentials, Credentials, Ha1Credentials, Secret
from sipcli.sip.auth import AuthRejected, AuthUnanswerable, GiveUp, Pending, Retry
from tests.support.authkit import HOME_TLS, FakeExchange, Rig, asks, digest, final, password, proves
from tests.support.signkit import key, signed

MD5, SHA256, SHA512 = "MD5", "SHA-256", "SHA-512-256"
WEAK, STRONG = digest(nonce="w"), digest(nonce="s", algorithm=SHA256)
TOKEN = 'Bearer realm="example.com"'


def exchange_of(rig: Rig, method: str = "INVITE", **how: Any) -> FakeExchange:
    return rig.exchange(method, origin=HOME_TLS, **how)


def token_of(exchange: FakeExchange, *www: str, proxy: tuple[str, ...] = ()) -> Any:
    outcome = exchange.receive(asks(*www, proxy=proxy))
    assert isinstance(outcome, Pending), outcome
    return outcome.token


def send(rig: Rig, token: Any, *credentials: Credentials) -> None:
    plan = rig.session.reinit_request(token, credentials)
    assert plan is not None, rig.session.why_no_plan(token, credentials)
    rig.session.send_request(token, plan)


def kinds(exchange: FakeExchange, index: int = -1) -> list[tuple[str, str]]:
    return [(sent["header"], sent.get("algorithm", MD5)) for sent in exchange.carried(index)]


def both(algorithm: str) -> list[tuple[str, str]]:
    return [("Authorization", algorithm), ("Proxy-Authorization", algorithm)]


def ha1(algorithm: str) -> Ha1Credentials:
    return Ha1Credentials(
        "alice", "example.com", algorithm, Secret(str(len(algorithm) % 10) * (32 if algorithm == MD5 else 64))
    )


# --- both at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("www", "proxy"),
    [
        ((WEAK,), (STRONG,)),
        ((STRONG,), (WEAK,)),
        ((STRONG,), (digest(nonce="w", algorithm="MD5-sess"),)),
        ((digest(algorithm=SHA512), WEAK), (STRONG,)),
    ],
    ids=["weak first", "strong first", "sess", "three"],
)
def test_T05_one_realm_never_gets_two_algorithms_at_its_two_doors(
    www: tuple[str, ...], proxy: tuple[str, ...], asynchronous: bool
) -> None:
    """A fork whose one branch wanted MD5 had it, and the other one SHA-256.  Fails without ``agreed``."""
    rig = Rig(password("x"), asynchronous=asynchronous)
    exchange = exchange_of(rig)
    assert exchange.receive(asks(*www, proxy=proxy)) is GiveUp.AT_ODDS
    assert (exchange.carried(), len(exchange.sent), rig.session.pending) == ([], 1, ()), "and nobody is asked"
    (told,) = rig.heard(AuthUnanswerable)
    assert told.why is GiveUp.AT_ODDS and "asks for in its 40" in told.skipped[0].why


@pytest.mark.parametrize(("www", "proxy"), [((digest(qop=None),), (digest(),)), ((digest(),), (digest(qop=None),))])
def test_T06_nor_an_answer_without_qop_beside_one_that_has_it(www: tuple[str, ...], proxy: tuple[str, ...]) -> None:
    exchange = exchange_of(Rig(password("x")))
    assert exchange.receive(asks(*www, proxy=proxy)) is GiveUp.AT_ODDS
    assert len(exchange.sent) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_T05_A06_the_topmost_of_the_first_that_the_other_door_takes_too(asynchronous: bool) -> None:
    rig = Rig(password("x"), asynchronous=asynchronous)
    exchange = exchange_of(rig)
    www = (digest(nonce="a", algorithm=SHA512), digest(nonce="b", algorithm=SHA256), digest(nonce="c"))
    outcome = exchange.receive(asks(*www, proxy=[digest(nonce="d"), digest(nonce="e", algorithm="SHA-256-sess")]))
    if isinstance(outcome, Pending):
        assert [challenge.nonce for challenge in outcome.token.challenges] == ["b"]
        rig.session.decline(outcome.token)
    assert [sent["nonce"] for sent in exchange.carried()] == ["b", "e"], "-sess or not is the same hash"
    assert all(proves(sent, "x", method="INVITE") for sent in exchange.carried())


def test_T05_what_only_fits_one_door_is_not_answered_with_two_ha1() -> None:
    """Each door's topmost has a secret of its own.  Fails where ``pick_all`` chooses for each door by itself."""
    rig = Rig(asynchronous=True)
    exchange = exchange_of(rig)
    token = token_of(exchange, STRONG, WEAK, proxy=(digest(nonce="p"), digest(nonce="q", algorithm=SHA256)))
    send(rig, token, ha1(MD5), ha1(SHA256))
    assert kinds(exchange) == both(SHA256)
    token = token_of(exchange, digest(nonce="n2", algorithm=SHA256), proxy=(digest(nonce="n3", algorithm=SHA256),))
    assert rig.session.why_no_plan(token, [ha1(MD5)]) is GiveUp.NO_CREDENTIALS


def test_T05_a_secret_refused_at_one_door_does_not_part_the_algorithms() -> None:
    """401 refused the HA1 of SHA-256, 407 never saw it: it is not sent there while 401 gets SHA-512-256.

    Fails where ``pick_all`` chooses for each door by itself.
    """
    rig = Rig(asynchronous=True)
    exchange = exchange_of(rig)
    refused, better = ha1(SHA256), ha1(SHA512)
    token = token_of(exchange, STRONG)
    send(rig, token, refused)
    offers = (digest(nonce="s2", algorithm=SHA256), digest(nonce="t2", algorithm=SHA512))
    token = token_of(exchange, *offers, proxy=offers)
    assert rig.session.why_no_plan(token, [refused]) is GiveUp.REFUSED
    send(rig, token, refused, better)
    assert kinds(exchange) == both(SHA512)


def test_T05_a_token_that_either_door_would_take_does_not_let_two_digests_through() -> None:
    rig = Rig(asynchronous=True)
    token = token_of(exchange_of(rig, "REGISTER"), STRONG, TOKEN, proxy=(WEAK, TOKEN))
    assert rig.session.reinit_request(token, [password("x")]) is None
    assert rig.session.why_no_plan(token, [password("x")]) is GiveUp.AT_ODDS
    bearer = BearerCredentials(Secret(b"t0ken"))
    plan = rig.session.reinit_request(token, [password("x"), bearer])
    assert plan is not None and [challenge.scheme for _, challenge, _ in plan.answers] == ["digest", "bearer"]


def test_T05_a_key_signs_one_algorithm_for_both_doors() -> None:
    """The 407's own topmost is MD5.  Fails without the lead in ``digest_inputs``."""
    rig = Rig(asynchronous=True)
    exchange = exchange_of(rig)
    token = token_of(exchange, STRONG, WEAK, proxy=(digest(nonce="p"), digest(nonce="q", algorithm=SHA256)))
    inputs = rig.session.digest_inputs(token, key())
    assert [each.algorithm for each in inputs] == [SHA256, SHA256]
    send(rig, token, *(signed(key(), each) for each in inputs))
    assert kinds(exchange) == both(SHA256)
    assert all(proves(sent, "right", method="INVITE") for sent in exchange.carried())


def test_T05_signatures_of_two_algorithms_are_no_plan() -> None:
    rig = Rig(asynchronous=True)
    token = token_of(exchange_of(rig), STRONG, WEAK, proxy=(digest(nonce="p"), digest(nonce="q", algorithm=SHA256)))
    strong = rig.session.digest_inputs(token, key(algorithms=(SHA256,)))
    weak = rig.session.digest_inputs(token, key(algorithms=(MD5,)))
    mixed = [signed(key(), strong[0]), signed(key(), weak[1])]
    assert rig.session.reinit_request(token, mixed) is None
    assert rig.session.why_no_plan(token, mixed) is GiveUp.AT_ODDS


@pytest.mark.parametrize("other", [digest(algorithm=MD5), digest(algorithm="AKAv2-MD5")], ids=["MD5", "AKAv2"])
def test_T05_aka_at_one_door_does_not_go_with_a_password_at_the_other(other: str) -> None:
    rig = Rig(asynchronous=True, algorithms=(MD5, "AKAv1-MD5", "AKAv2-MD5"))
    outcome = exchange_of(rig).receive(asks(digest(algorithm="AKAv1-MD5"), proxy=[other]))
    assert outcome is GiveUp.AT_ODDS


@pytest.mark.parametrize(("www", "proxy"), [((TOKEN,), (WEAK,)), ((WEAK,), (TOKEN,)), ((TOKEN, STRONG), (WEAK,))])
def test_T05_a_token_at_one_door_and_a_digest_at_the_other_are_no_two_digests(
    www: tuple[str, ...], proxy: tuple[str, ...]
) -> None:
    exchange = exchange_of(Rig(BearerCredentials(Secret(b"t0ken")), password("x")), "REGISTER")
    assert isinstance(exchange.receive(asks(*www, proxy=proxy)), Retry)
    assert sorted(sent["scheme"] for sent in exchange.carried()) == ["bearer", "digest"]


def test_T05_other_realms_are_measured_by_themselves() -> None:
    exchange = exchange_of(Rig(password("x")))
    assert isinstance(exchange.receive(asks(STRONG, proxy=[digest("edge")])), Retry)
    assert kinds(exchange) == [("Authorization", SHA256), ("Proxy-Authorization", MD5)]


def test_T05_both_doors_go_with_pinning() -> None:
    exchange = exchange_of(Rig(password("x"), pin_algorithm=False))
    assert isinstance(exchange.receive(asks(STRONG, proxy=[WEAK])), Retry)
    assert len(exchange.carried()) == 2


# --- one after the other ------------------------------------------------------------------------------------------


def test_T05_the_second_door_is_answered_as_the_first_one_was() -> None:
    exchange = exchange_of(Rig(password("x")))
    exchange.receive(asks(WEAK))
    assert isinstance(exchange.receive(asks(proxy=[digest(nonce="p", algorithm=SHA256), digest(nonce="q")])), Retry)
    assert kinds(exchange) == [("Authorization", MD5), ("Proxy-Authorization", MD5)]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_T05_the_second_door_that_wants_more_is_not_answered_beside_the_first(asynchronous: bool) -> None:
    """MD5 would go out once more, next to SHA-256.  Fails without *carried* in ``agreed``."""
    rig = Rig(password("x"), asynchronous=asynchronous)
    exchange = exchange_of(rig)
    outcome = exchange.receive(asks(WEAK))
    if isinstance(outcome, Pending):
        rig.session.decline(outcome.token)
    assert exchange.receive(asks(proxy=[STRONG])) is GiveUp.AT_ODDS
    assert len(exchange.sent) == 2


def test_T05_the_second_door_that_wants_less_is_a_downgrade() -> None:
    exchange = exchange_of(Rig(password("x")))
    exchange.receive(asks(proxy=[STRONG]))
    assert exchange.receive(asks(WEAK)) is GiveUp.DOWNGRADE
    assert len(exchange.sent) == 2


def test_T05_a_server_upgraded_meanwhile_goes_up_at_both_doors_or_at_none() -> None:
    exchange = exchange_of(Rig(password("x")))
    exchange.receive(asks(WEAK, proxy=[digest(nonce="p")]))
    up = {"algorithm": SHA256, "stale": "true"}
    assert isinstance(exchange.receive(asks(digest(nonce="w2", **up), proxy=[digest(nonce="p2", **up)])), Retry)
    assert kinds(exchange) == both(SHA256)
    further = digest(nonce="w3", algorithm=SHA512, stale="true")
    assert exchange.receive(asks(further)) is GiveUp.AT_ODDS


def test_T05_A05_a_stale_door_and_a_new_one_go_on_in_step() -> None:
    """An MD5 HA1 is in hand for the 401 alone; the 407 is asked for MD5, though its topmost is SHA-256."""
    rig = Rig(asynchronous=True)
    exchange = exchange_of(rig)
    token = token_of(exchange, WEAK)
    send(rig, token, ha1(MD5))
    again = (digest(nonce="s2", algorithm=SHA256, stale="true"), digest(nonce="w2", stale="true"))
    token = token_of(exchange, *again, proxy=(digest(nonce="q", algorithm=SHA256), digest(nonce="p")))
    (door,) = token.doors
    assert [(offer.algorithm, offer.nonce) for offer in door.offers] == [(MD5, "p")]
    send(rig, token, password("x"))
    assert kinds(exchange) == both(MD5)


def test_T05_A05_two_secrets_in_hand_are_put_to_one_algorithm() -> None:
    """The password goes up to SHA-256, the HA1 at the other door cannot: somebody must decide there."""
    rig = Rig(asynchronous=True)
    exchange = exchange_of(rig)
    token = token_of(exchange, WEAK)
    send(rig, token, password("x"))
    token = token_of(exchange, proxy=(digest(nonce="p"),))
    send(rig, token, ha1(MD5))
    fresh = (digest(nonce="s2", algorithm=SHA256, stale="true"), digest(nonce="w2", stale="true"))
    token = token_of(exchange, *fresh, proxy=fresh)
    (door,) = token.doors
    assert door.proxy and {offer.algorithm for offer in door.offers} == {SHA256}
    send(rig, token, password("x"))
    assert kinds(exchange) == both(SHA256)
    assert rig.heard(AuthRejected) == []


# --- what is taken along unasked ----------------------------------------------------------------------------------


def learned(rig: Rig, **how: Any) -> None:
    """One answer in MD5, accepted: later requests with this URI take it along."""
    exchange = exchange_of(rig, "OPTIONS", **how)
    exchange.receive(asks(WEAK))
    rig.session.accepted(exchange, final(200))


def test_T05_A06_what_nobody_asked_for_yields_to_the_topmost_at_the_other_door() -> None:
    """Fails without ``must_yield``: MD5 went along, beside SHA-256."""
    rig = Rig(password("x"))
    learned(rig)
    exchange = exchange_of(rig, "OPTIONS")
    assert kinds(exchange) == [("Authorization", MD5)]
    assert isinstance(exchange.receive(asks(proxy=[STRONG, digest(nonce="q")])), Retry)
    assert kinds(exchange) == [("Proxy-Authorization", SHA256)]
    assert isinstance(exchange.receive(asks(digest(nonce="s2", algorithm=SHA256))), Retry), "the secret is in hand"
    assert kinds(exchange) == both(SHA256)


def test_T05_what_is_weaker_than_the_realm_took_since_is_taken_along_no_more() -> None:
    """Fails without the pins in ``_take_along``."""
    rig = Rig(password("x"))
    learned(rig)
    other = exchange_of(rig, "OPTIONS", uri="sip:bob@example.com")
    other.receive(asks(STRONG))
    rig.session.accepted(other, final(200))
    assert exchange_of(rig, "OPTIONS").carried() == []
    assert kinds(exchange_of(rig, "OPTIONS", uri="sip:bob@example.com")) == [("Authorization", SHA256)]


def test_T05_a_private_session_learns_what_the_shared_one_saw() -> None:
    rig = Rig(password("x"))
    shared, private = rig.session, rig.session.private()
    rig.session = private
    learned(rig)
    assert kinds(exchange_of(rig, "OPTIONS")) == [("Authorization", MD5)]
    rig.session = shared
    exchange = exchange_of(rig, "OPTIONS")
    exchange.receive(asks(STRONG))
    shared.accepted(exchange, final(200))
    rig.session = private
    assert exchange_of(rig, "OPTIONS").carried() == []


# --- and does not forget in between -------------------------------------------------------------------------------


def test_T05_what_was_signed_and_did_not_go_out_again_still_counts() -> None:
    """Another realm asked in between, so that the last request carried nothing for this one.

    Fails where ``answered`` looks at the last request alone: the key signed MD5 next.
    """
    rig = Rig(asynchronous=True)
    exchange = exchange_of(rig)
    for challenge in (STRONG, digest("edge", "e")):
        token = token_of(exchange, challenge)
        send(rig, token, *(signed(key(), each) for each in rig.session.digest_inputs(token, key())))
    assert [sent["realm"] for sent in exchange.carried()] == ["edge"]
    assert exchange.receive(asks(WEAK)) is GiveUp.DOWNGRADE


def test_T05_nor_does_another_server_in_between_lower_it() -> None:
    """RFC 3263 section 4.3: the second server asks for MD5 and may have it; the first one may not come back for it."""
    exchange = exchange_of(Rig(password("x")))
    exchange.receive(asks(STRONG))
    second = HOME_TLS._replace(host="192.0.2.2", identity="b.example.com")
    exchange.origin = second
    exchange.resume()
    assert isinstance(exchange.receive(asks(WEAK)), Retry)
    exchange.origin = HOME_TLS
    exchange.resume()
    assert exchange.carried() == []
    assert exchange.receive(asks(digest(nonce="w2"))) is GiveUp.DOWNGRADE
