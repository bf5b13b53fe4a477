"""A session and its challenges: what is answered, with what, and what is never sent again."""

from __future__ import annotations

import math

import pytest

from sipcli.sip.auth import (
    AuthChallenged,
    AuthRejected,
    AuthRepeated,
    AuthUnanswerable,
    GiveUp,
    Pending,
    Retry,
)
from sipcli.sip.authn.origin import Origin
from tests.support.authkit import HOME, HOME_TLS, Rig, asks, digest, final, password, proves

GOOD, BAD = "wonderland", "looking-glass"
OTHERS = (
    *("REGISTER", "INVITE", "BYE", "UPDATE", "PRACK", "INFO"),
    *("REFER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "OPTIONS"),
)
SHA = {"algorithm": "SHA-256"}


def test_A03_the_first_request_is_bare_and_the_retry_proves_the_secret() -> None:
    exchange = Rig(password(GOOD)).exchange()
    assert exchange.carried() == []
    assert isinstance(exchange.receive(asks(digest(**SHA))), Retry)
    sent = exchange.answer()
    assert (sent["header"], sent["realm"], sent["nc"]) == ("Authorization", "example.com", "00000001")
    assert proves(sent, GOOD)


def test_A04_a_refused_secret_is_not_sent_again() -> None:
    rig = Rig(password(BAD))
    exchange = rig.exchange()
    exchange.receive(asks(digest()))
    assert exchange.receive(asks(digest(nonce="n2"))) is GiveUp.REFUSED
    assert len(exchange.sent) == 2
    (rejected,) = rig.heard(AuthRejected)
    assert rejected.used == (("example.com", rig.session.credentials[0]),)
    assert (rejected.status, rejected.account, rejected.exchange) == (401, "work", exchange)


def test_A04_the_same_value_in_another_object_counts_as_the_same_secret() -> None:
    exchange = Rig(password(BAD), password(BAD), password(BAD, realm="example.com")).exchange()
    exchange.receive(asks(digest()))
    assert exchange.receive(asks(digest(nonce="n2"))) is GiveUp.REFUSED


def test_A04_each_distinct_secret_is_sent_once_and_three_at_most() -> None:
    rig = Rig(password("one"), password("two"), password("three"), password("four"))
    exchange = rig.exchange()
    for nonce in ("n1", "n2", "n3"):
        assert isinstance(exchange.receive(asks(digest(nonce=nonce))), Retry)
    assert exchange.receive(asks(digest(nonce="n4"))) is GiveUp.TOO_MANY_ATTEMPTS
    assert [proves(exchange.answer(i), s) for i, s in enumerate(("one", "two", "three"), 1)] == [True] * 3
    assert len(exchange.sent) == 4
    assert len(rig.heard(AuthRejected)) == 3


@pytest.mark.parametrize("lease", [0.0, -5.0, math.nan])
def test_A04_what_has_expired_when_it_is_given_is_no_answer(lease: float) -> None:
    """It would go out bare, be challenged as if for the first time, and be asked for again: sixteen times."""
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest())
    over = [password("right", expires_in=lease)]
    assert rig.session.reinit_request(token, over) is None
    assert rig.session.why_no_plan(token, over) is GiveUp.NO_CREDENTIALS
    assert len(exchange.sent) == 1 and token.live


def test_A04_another_user_with_the_same_password_is_another_secret() -> None:
    exchange = Rig(password(BAD, "alice"), password(BAD, "bob")).exchange()
    exchange.receive(asks(digest()))
    assert isinstance(exchange.receive(asks(digest(nonce="n2"))), Retry)
    assert exchange.answer()["username"] == "bob"


def test_A04_a_late_answer_is_sent_once_more_if_the_nonce_changed() -> None:
    """Kamailio's default: an expired nonce earns a new challenge without ``stale`` (docs/decisions/0012)."""
    rig = Rig(password(GOOD), asynchronous=True)
    exchange, token = rig.pending(digest())
    rig.now += 20.1
    rig.session.decline(token)
    assert isinstance(exchange.receive(asks(digest(nonce="n2"))), Retry)
    assert proves(exchange.answer(), GOOD)
    assert rig.heard(AuthRejected) == []
    # A second refusal is final.
    rig.now += 100
    assert isinstance(exchange.receive(asks(digest(nonce="n3"))), Pending)
    assert len(rig.heard(AuthRejected)) == 1


def test_A04_a_quick_answer_gets_no_such_benefit() -> None:
    rig = Rig(password(GOOD), asynchronous=True)
    exchange, token = rig.pending(digest())
    rig.now += 20.0
    rig.session.decline(token)
    assert isinstance(exchange.receive(asks(digest(nonce="n2"))), Pending)
    assert len(rig.heard(AuthRejected)) == 1


def test_A04_a_late_answer_to_the_same_nonce_is_a_wrong_one() -> None:
    rig = Rig(password(GOOD), asynchronous=True)
    exchange, token = rig.pending(digest())
    rig.now += 60
    rig.session.decline(token)
    exchange.receive(asks(digest()))
    assert len(rig.heard(AuthRejected)) == 1


def test_A04_each_secret_has_a_second_chance_of_its_own() -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest())
    for number, secret in enumerate(("one", "two")):
        plan = rig.session.reinit_request(token, [password(secret)])
        assert plan is not None
        rig.now += 21
        rig.session.send_request(token, plan)
        assert isinstance(exchange.receive(asks(digest(nonce=f"again-{number}"))), Retry)
        assert proves(exchange.answer(), secret)
        outcome = exchange.receive(asks(digest(nonce=f"other-{number}")))
        assert isinstance(outcome, Pending)
        token = outcome.token
    assert len(rig.heard(AuthRejected)) == 2


def test_A04_a_second_chance_is_one_though_the_next_answer_is_late_too() -> None:
    rig = Rig(asynchronous=True, late_answer=-1.0)  # every answer is late
    exchange, token = rig.pending(digest())
    plan = rig.session.reinit_request(token, [password(BAD)])
    assert plan is not None
    rig.session.send_request(token, plan)
    assert isinstance(exchange.receive(asks(digest(nonce="n2"))), Retry)
    assert isinstance(exchange.receive(asks(digest(nonce="n3"))), Pending)
    assert len(rig.heard(AuthRejected)) == 1


def test_A05_stale_earns_one_silent_retry_with_the_same_secret() -> None:
    rig = Rig(password(GOOD), asynchronous=True)
    exchange, token = rig.pending(digest())
    rig.session.decline(token)
    assert isinstance(exchange.receive(asks(digest(nonce="n2", stale="TRUE"))), Retry)
    assert proves(exchange.answer(), GOOD)
    assert (exchange.answer()["nonce"], exchange.answer()["nc"]) == ("n2", "00000001")
    assert len(rig.heard(AuthChallenged)) == 1
    assert rig.heard(AuthRejected) == []


def test_A05_three_stale_in_a_row_are_the_limit() -> None:
    exchange = Rig(password(GOOD)).exchange()
    exchange.receive(asks(digest()))
    for n in (2, 3, 4):
        assert isinstance(exchange.receive(asks(digest(nonce=f"n{n}", stale="true"))), Retry)
    assert exchange.receive(asks(digest(nonce="n5", stale="true"))) is GiveUp.STALE_LOOP
    assert len(exchange.sent) == 5


def test_A05_stale_is_counted_in_a_row() -> None:
    exchange = Rig(password("one"), password("two")).exchange()
    exchange.receive(asks(digest()))
    for nonce, stale in (("n2", "true"), ("n3", "true"), ("n4", "false"), ("n5", "true"), ("n6", "true")):
        assert isinstance(exchange.receive(asks(digest(nonce=nonce, stale=stale))), Retry), nonce
    assert proves(exchange.answer(), "two")
    assert isinstance(exchange.receive(asks(digest(nonce="n7", stale="true"))), Retry)
    assert exchange.receive(asks(digest(nonce="n8", stale="true"))) is GiveUp.STALE_LOOP


def test_A05_T04_the_same_nonce_called_stale_is_a_loop() -> None:
    exchange = Rig(password(GOOD)).exchange()
    exchange.receive(asks(digest()))
    assert exchange.receive(asks(digest(stale="true"))) is GiveUp.STALE_LOOP
    assert len(exchange.sent) == 2


def test_A05_stale_on_a_request_without_credentials_is_a_plain_challenge() -> None:
    rig = Rig(password(GOOD), asynchronous=True)
    assert isinstance(rig.exchange().receive(asks(digest(stale="true"))), Pending)


def test_A05_stale_says_nothing_about_the_secret() -> None:
    """Kamailio judges staleness before the password: the next refusal is the first word about it."""
    rig = Rig(password(BAD))
    exchange = rig.exchange()
    exchange.receive(asks(digest()))
    exchange.receive(asks(digest(nonce="n2", stale="true")))
    assert rig.heard(AuthRejected) == []
    assert exchange.receive(asks(digest(nonce="n3"))) is GiveUp.REFUSED


def test_A06_the_topmost_supported_wins_not_the_strongest() -> None:
    exchange = Rig(password(GOOD)).exchange(origin=HOME_TLS)
    exchange.receive(asks(digest(algorithm="FOO"), digest(), digest(algorithm="SHA-512-256")))
    assert "algorithm" not in exchange.answer()
    assert proves(exchange.answer(), GOOD)


def test_A05_a_stale_nonce_is_told_and_nobody_is_asked() -> None:
    rig = Rig(asynchronous=True)
    exchange = rig.exchange()
    exchange.receive(asks(digest()))
    [token] = rig.session.pending
    plan = rig.session.reinit_request(token, [password(GOOD)])
    assert plan is not None
    rig.session.send_request(token, plan)
    exchange.receive(asks(digest(nonce="fresh", stale="true")))
    [told] = rig.heard(AuthRepeated)
    assert [challenge.nonce for challenge in told.challenges] == ["fresh"]
    assert len(rig.heard(AuthChallenged)) == 1


def test_A06_nothing_usable_fails_without_asking_anybody() -> None:
    rig = Rig(password(GOOD), asynchronous=True)
    exchange = rig.exchange()
    assert exchange.receive(asks('Basic realm="example.com"', digest(algorithm="FOO"))) is GiveUp.UNSUPPORTED
    [told] = rig.events
    assert isinstance(told, AuthUnanswerable)
    assert (told.why, len(exchange.sent)) == (GiveUp.UNSUPPORTED, 1)


@pytest.mark.parametrize("asked", ['Basic realm="example.com"', 'BASIC realm="example.com", nonce="n1", qop="auth"'])
def test_A30_basic_is_never_answered_in_any_policy(asked: str) -> None:
    rig = Rig(password(GOOD), schemes=("basic", "digest"))
    exchange = rig.exchange(origin=HOME_TLS)
    assert exchange.receive(asks(asked)) is GiveUp.UNSUPPORTED
    assert len(exchange.sent) == 1


def test_A30_beside_digest_basic_is_passed_over() -> None:
    exchange = Rig(password(GOOD), schemes=("basic", "digest")).exchange(origin=HOME_TLS)
    exchange.receive(asks('Basic realm="example.com"', digest()))
    assert proves(exchange.answer(), GOOD)


def test_A25_no_challenge_is_the_end() -> None:
    exchange = Rig(password(GOOD)).exchange()
    assert exchange.receive(asks(status=401)) is GiveUp.NO_CHALLENGE
    assert exchange.receive(asks("", status=401)) is GiveUp.NO_CHALLENGE
    assert exchange.receive(asks("Digest realm=", status=401)) is GiveUp.UNSUPPORTED


def test_A07_several_realms_and_both_doors_in_one_retry() -> None:
    exchange = Rig(password("a", realm="A"), password("b", realm="B"), password("c", realm="C")).exchange("INVITE")
    exchange.receive(asks(digest("A"), digest("B", nonce="nb"), proxy=[digest("C", nonce="nc")]))
    sent = {c["realm"]: c for c in exchange.carried()}
    assert {realm: c["header"] for realm, c in sent.items()} == {
        "A": "Authorization",
        "B": "Authorization",
        "C": "Proxy-Authorization",
    }
    assert all(proves(sent[realm], realm.lower(), method="INVITE") for realm in "ABC")
    assert len(exchange.sent) == 2


def test_A07_one_realm_without_credentials_abandons_all() -> None:
    exchange = Rig(password("a", realm="A")).exchange()
    assert exchange.receive(asks(digest("A"), digest("B"))) is GiveUp.NO_CREDENTIALS
    assert len(exchange.sent) == 1


def test_A07_realms_that_come_one_after_the_other() -> None:
    """A passed us on to B: A's header stays on the retry, and B starts at attempt 1 with nothing rejected."""
    rig = Rig(password("a", realm="A"), password("b", realm="B"))
    exchange = rig.exchange("INVITE")
    exchange.receive(asks(proxy=[digest("A")]))
    exchange.receive(asks(digest("B", nonce="nb")))
    sent = {c["realm"]: c for c in exchange.carried()}
    assert (sent["A"]["header"], sent["A"]["nc"]) == ("Proxy-Authorization", "00000002")
    assert (sent["B"]["header"], sent["B"]["nc"]) == ("Authorization", "00000001")
    assert (exchange.realms["B"].attempt, exchange.realms["B"].rejected) == (1, ())
    assert rig.heard(AuthRejected) == []


def test_A07_one_realm_at_both_doors_is_answered_at_both() -> None:
    exchange = Rig(password(GOOD)).exchange("INVITE")
    exchange.receive(asks(digest(nonce="n1"), proxy=[digest(nonce="n2")]))
    assert [(c["header"], c["nonce"]) for c in exchange.carried()] == [
        ("Authorization", "n1"),
        ("Proxy-Authorization", "n2"),
    ]


def test_A07_the_far_end_of_the_same_realm_does_not_refuse_what_the_proxy_took() -> None:
    rig = Rig(password(GOOD))
    exchange = rig.exchange("INVITE")
    exchange.receive(asks(proxy=[digest()]))
    assert isinstance(exchange.receive(asks(digest(nonce="n2"))), Retry)
    assert rig.heard(AuthRejected) == []
    assert len(exchange.carried()) == 2


def test_A07_an_unknown_challenge_beside_a_known_one_is_ignored() -> None:
    exchange = Rig(password(GOOD)).exchange()
    assert isinstance(exchange.receive(asks(digest("B", algorithm="FOO"), digest("A"))), Retry)
    assert [c["realm"] for c in exchange.carried()] == ["A"]


def test_T03_a_server_that_invents_realms_is_left_after_eight() -> None:
    exchange = Rig(password(GOOD)).exchange()
    outcomes = [exchange.receive(asks(digest(f"realm-{i}"))) for i in range(9)]
    assert all(isinstance(outcome, Retry) for outcome in outcomes[:8])
    assert outcomes[8] is GiveUp.TOO_MANY_ATTEMPTS


def test_a_credential_for_the_realm_comes_before_one_for_any() -> None:
    exchange = Rig(password("general"), password("special", realm="example.com")).exchange()
    exchange.receive(asks(digest()))
    assert proves(exchange.answer(), "special")


def test_A13_nonce_counts_are_unique_among_a_hundred_exchanges_that_got_the_same_nonce() -> None:
    rig = Rig(password(GOOD))
    exchanges = [rig.exchange() for _ in range(100)]
    for exchange in exchanges:
        exchange.receive(asks(digest(nonce="by-the-second")))
    counts = sorted(exchange.answer()["nc"] for exchange in exchanges)
    assert counts == [f"{n:08x}" for n in range(1, 101)]


def test_A13_the_count_is_hexadecimal() -> None:
    rig = Rig(password(GOOD))
    exchange = rig.exchange()
    exchange.receive(asks(digest()))
    exchange.send()
    for _ in range(8):
        exchange.send()
    assert exchange.answer()["nc"] == "0000000a"


def test_A09_a_sess_key_keeps_its_first_cnonce_for_as_long_as_the_nonce() -> None:
    rig = Rig(password(GOOD))
    exchange = rig.exchange()
    exchange.receive(asks(digest(algorithm="SHA-256-sess")))
    first = exchange.answer()
    rig.session.accepted(exchange, final(200))
    exchange.send()
    second = exchange.answer()
    assert second["cnonce"] == first["cnonce"]
    assert (first["nc"], second["nc"]) == ("00000001", "00000002")
    assert proves(second, GOOD)
    exchange.receive(asks(digest(nonce="n2", algorithm="SHA-256-sess", stale="true")))
    assert exchange.answer()["cnonce"] != first["cnonce"]
    assert proves(exchange.answer(), GOOD)


def test_A10_auth_int_covers_the_body_that_is_sent() -> None:
    exchange = Rig(password(GOOD)).exchange("INVITE", body=b"v=0\r\n")
    exchange.receive(asks(digest(qop="auth-int")))
    assert proves(exchange.answer(), GOOD, method="INVITE", body=b"v=0\r\n")


def test_A11_the_legacy_form() -> None:
    exchange = Rig(password(GOOD)).exchange()
    exchange.receive(asks(digest(qop=None)))
    assert "nc" not in exchange.answer()
    assert proves(exchange.answer(), GOOD)


def test_A16_the_uri_is_the_request_uri() -> None:
    exchange = Rig(password(GOOD)).exchange("INVITE", "sip:%62ob@Example.com;transport=TCP")
    exchange.receive(asks(digest()))
    assert exchange.answer()["uri"] == "sip:%62ob@Example.com;transport=TCP"


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_A17_ack_and_cancel_are_never_answered_or_authorised(method: str) -> None:
    rig = Rig(password(GOOD))
    first = rig.exchange(call_id="c1")
    first.receive(asks(digest()))
    rig.session.accepted(first, final(200))
    exchange = rig.exchange(method, call_id="c1")
    assert exchange.carried() == []
    assert exchange.receive(asks(digest())) is GiveUp.NO_CHALLENGE


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("proxy", [False, True])
def test_A24_every_other_method_is_answered(method: str, proxy: bool) -> None:
    exchange = Rig(password(GOOD)).exchange(method)
    exchange.receive(asks(proxy=[digest()]) if proxy else asks(digest()))
    assert proves(exchange.answer(), GOOD, method=method)


def test_A26_another_server_of_the_account_gets_the_secret_in_hand() -> None:
    rig = Rig(password(GOOD), asynchronous=True)
    exchange, token = rig.pending(digest())
    rig.session.decline(token)
    exchange.origin = Origin("192.0.2.2", 5060, "udp", None, bound=True)
    exchange.send()
    assert exchange.carried() == [], "the nonce is the first server's business"
    assert isinstance(exchange.receive(asks(digest(nonce="other"))), Retry)
    assert (exchange.answer()["nonce"], len(rig.heard(AuthChallenged))) == ("other", 1)
    assert rig.heard(AuthRejected) == []


def test_A26_udp_and_tcp_to_one_server_share_the_nonce() -> None:
    exchange = Rig(password(GOOD)).exchange("INVITE")
    exchange.receive(asks(digest()))
    exchange.origin = Origin(HOME.host, HOME.port, "tcp", None, bound=True)
    exchange.send()
    assert exchange.answer()["nc"] == "00000002"
