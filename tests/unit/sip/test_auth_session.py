"""AuthSession with configured credentials: what is answered, what is sent again, what is given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipcli.credentials import BearerCredentials, Ha1Credentials, Secret
from sipcli.errors import LocalProtocolError
from sipcli.sip.auth import (
    AuthAccepted,
    AuthChallenged,
    AuthRejected,
    AuthRepeated,
    AuthSession,
    AuthUnanswerable,
    GiveUp,
    Pending,
    PolicyWarning,
    Retry,
)
from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.authn.origin import Origin
from sipcli.sip.authn.proof import NonceCounter, Proof, Sent
from tests.support.authkit import HOME, HOME_TLS, STRANGER, Rig, asks, digest, final, password, proves

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


def test_T04_the_same_nonce_called_stale_is_a_loop() -> None:
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


def test_A30_basic_is_never_answered_in_any_policy() -> None:
    rig = Rig(password(GOOD), schemes=("basic", "digest"))
    assert rig.exchange(origin=HOME_TLS).receive(asks('Basic realm="example.com"')) is GiveUp.UNSUPPORTED


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


# -- pre-emptive (RFC 7616 section 3.6, RFC 3261 section 22.3) ---------------------------------------


def accepted(rig: Rig, *www: str, status: int = 200, **how: object) -> None:
    exchange = rig.exchange(**how)  # type: ignore[arg-type]
    proxy = how.get("method") != "REGISTER" and "method" in how
    assert isinstance(exchange.receive(asks(proxy=www) if proxy else asks(*www)), Retry)
    rig.session.accepted(exchange, final(status))


def test_A13_the_next_register_brings_its_credentials_along() -> None:
    rig = Rig(password(GOOD))
    accepted(rig, digest())
    refresh = rig.exchange()
    assert (refresh.answer()["nc"], refresh.answer()["nonce"]) == ("00000002", "n1")
    assert proves(refresh.answer(), GOOD)


def test_A18_proxy_credentials_stay_inside_their_call() -> None:
    rig = Rig(password(GOOD))
    accepted(rig, digest(), method="INVITE", uri="sip:bob@example.com", call_id="one")
    bye = rig.exchange("BYE", "sip:bob@198.51.100.3", call_id="one")
    assert bye.answer()["header"] == "Proxy-Authorization"
    assert proves(bye.answer(), GOOD, method="BYE")
    assert rig.exchange("INVITE", "sip:bob@example.com", call_id="two").carried() == []


def test_A18_the_configured_outbound_proxys_realm_reaches_other_dialogs() -> None:
    rig = Rig(password(GOOD), proxy_realms=frozenset({"example.com"}))
    accepted(rig, digest(), method="INVITE", uri="sip:bob@example.com", call_id="one")
    assert rig.exchange("INVITE", "sip:carol@example.com", call_id="two").answer()["nc"] == "00000002"


def test_A18_an_answer_for_one_person_is_not_shown_to_another() -> None:
    """Authorization travels to the far end, who could take the digest home."""
    rig = Rig(password(GOOD))
    accepted(rig, digest())
    assert rig.exchange("INVITE", "sip:mallory@example.com").carried() == []


def test_T01_T29_nothing_goes_along_to_a_stranger() -> None:
    rig = Rig(password(GOOD))
    accepted(rig, digest(), call_id="one")
    assert rig.exchange("BYE", call_id="one", origin=STRANGER).carried() == []
    assert rig.exchange("BYE", call_id="one", origin=Origin("192.0.2.7", 5060, bound=True)).carried() == []


def test_a_refused_preemptive_answer_says_nothing_about_the_secret() -> None:
    rig = Rig(password(GOOD), asynchronous=True)
    exchange, token = rig.pending(digest())
    rig.session.decline(token)
    rig.session.accepted(exchange, final(200))
    refresh = rig.exchange()
    assert isinstance(refresh.receive(asks(digest(nonce="n2"))), Retry)
    assert proves(refresh.answer(), GOOD)
    assert (rig.heard(AuthRejected), len(rig.heard(AuthChallenged))) == ([], 1)
    # The fresh nonce was its second chance.
    assert isinstance(refresh.receive(asks(digest(nonce="n3"))), Pending)
    assert len(rig.heard(AuthRejected)) == 1
    assert rig.exchange().carried() == [], "what was refused is not kept"


def test_a_lease_that_is_over_is_not_used() -> None:
    rig = Rig(password(GOOD, expires_in=60.0), asynchronous=True)
    exchange, token = rig.pending(digest())
    rig.session.decline(token)
    rig.session.accepted(exchange, final(200))
    rig.now += 59.9
    assert len(rig.exchange().carried()) == 1
    rig.now += 0.1
    assert rig.exchange().carried() == []


def test_a_stale_nonce_after_the_lease_ended_asks_again() -> None:
    rig = Rig(password(GOOD, expires_in=60.0), asynchronous=True)
    exchange, token = rig.pending(digest())
    rig.session.decline(token)
    rig.now += 61
    outcome = exchange.receive(asks(digest(nonce="n2", stale="true")))
    assert isinstance(outcome, Pending)
    assert outcome.token.cause == "stale"


def test_the_cache_is_bounded() -> None:
    rig = Rig(password(GOOD))
    for n in range(400):
        accepted(rig, digest(nonce=f"n{n}"), method="OPTIONS", call_id=f"c{n}")
    assert rig.exchange("BYE", call_id="c0").carried() == []
    assert len(rig.exchange("BYE", call_id="c399").carried()) == 1


# -- verdicts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202, 302, 404, 486, 603])
def test_feedback_acceptance(status: int) -> None:
    rig = Rig(password(GOOD))
    accepted(rig, digest(), status=status)
    (event,) = rig.heard(AuthAccepted)
    assert (event.account, event.used) == ("work", (("example.com", rig.session.credentials[0]),))


@pytest.mark.parametrize("status", [400, 403, 408, 481, 487, 500, 503])
def test_feedback_no_verdict(status: int) -> None:
    rig = Rig(password(GOOD))
    accepted(rig, digest(), status=status)
    assert rig.heard(AuthAccepted) == []
    assert rig.exchange().carried() == []


def test_T28_no_verdict_from_a_stranger() -> None:
    rig = Rig(password(GOOD))
    exchange = rig.exchange()
    exchange.receive(asks(digest()))
    exchange.origin = STRANGER
    rig.session.accepted(exchange, final(200))
    rig.session.refused(exchange, final(403))
    assert rig.events == rig.heard(PolicyWarning)


def test_feedback_a_request_without_credentials_proves_none() -> None:
    rig = Rig(password(GOOD))
    rig.session.accepted(rig.exchange(), final(200))
    assert rig.events == []


def test_feedback_an_accepted_secret_is_reported_once() -> None:
    rig = Rig(password(GOOD))
    accepted(rig, digest())
    refresh = rig.exchange()
    rig.session.accepted(refresh, final(200))
    assert len(rig.heard(AuthAccepted)) == 1


def test_A25_403_refuses_the_credentials_it_answers() -> None:
    rig = Rig(password(GOOD))
    exchange = rig.exchange()
    rig.session.refused(exchange, final(403))
    assert rig.heard(AuthRejected) == []
    exchange.receive(asks(digest()))
    rig.session.refused(exchange, final(403))
    (event,) = rig.heard(AuthRejected)
    assert (event.status, event.used) == (403, (("example.com", rig.session.credentials[0]),))


def test_A25_403_for_what_was_accepted_before_is_about_the_call() -> None:
    rig = Rig(password(GOOD))
    accepted(rig, digest())
    rig.session.refused(rig.exchange(), final(403))
    assert rig.heard(AuthRejected) == []


# -- Authentication-Info -----------------------------------------------------------------------------


def test_A14_nextnonce_is_used_next_and_the_count_starts_again() -> None:
    rig = Rig(password(GOOD))
    exchange = rig.exchange()
    exchange.receive(asks(digest()))
    rig.session.accepted(exchange, final(200, ("Authentication-Info", 'nextnonce="n9"')))
    refresh = rig.exchange()
    assert (refresh.answer()["nonce"], refresh.answer()["nc"]) == ("n9", "00000001")
    assert proves(refresh.answer(), GOOD)


def test_A09_A14_a_sess_key_outlives_the_nextnonce() -> None:
    rig = Rig(password(GOOD))
    exchange = rig.exchange()
    exchange.receive(asks(digest(algorithm="MD5-sess")))
    key = exchange.realms["example.com"].proof._hashed("")  # type: ignore[union-attr]
    rig.session.accepted(exchange, final(200, ("Authentication-Info", 'nextnonce="n9"')))
    refresh = rig.exchange()
    assert refresh.realms["example.com"].proof._hashed("") == key  # type: ignore[union-attr]


@pytest.mark.parametrize("value", ["nextnonce=", 'nextnonce=""', f'nextnonce="{"x" * 1025}"', 'Digest nextnonce="n9"'])
def test_A14_a_useless_nextnonce_is_ignored(value: str) -> None:
    rig = Rig(password(GOOD))
    exchange = rig.exchange()
    exchange.receive(asks(digest()))
    rig.session.accepted(exchange, final(200, ("Authentication-Info", value)))
    assert rig.exchange().answer()["nonce"] == "n1"


def rspauth(sent: dict[str, str], secret: str) -> str:
    """What a server that knows *secret* says back: the client's formula with an empty method."""
    from hashlib import md5

    def h(text: str) -> str:
        return md5(text.encode()).hexdigest()

    a1 = h(f"{sent['username']}:{sent['realm']}:{secret}")
    return h(f"{a1}:{sent['nonce']}:{sent['nc']}:{sent['cnonce']}:{sent['qop']}:{h(':' + sent['uri'])}")


@pytest.mark.parametrize("genuine", [True, False])
def test_A14_rspauth_is_checked(genuine: bool) -> None:
    rig = Rig(password(GOOD), md5_over_udp="allow")
    exchange = rig.exchange()
    exchange.receive(asks(digest()))
    sent = exchange.answer()
    proof = rspauth(sent, GOOD if genuine else BAD)
    info = f'qop=auth, rspauth="{proof}", cnonce="{sent["cnonce"]}", nc={sent["nc"]}, nextnonce="n9"'
    rig.session.accepted(exchange, final(200, ("Authentication-Info", info)))
    if genuine:
        assert len(rig.heard(AuthAccepted)) == 1
        assert rig.exchange().answer()["nonce"] == "n9"
    else:
        (warning,) = rig.heard(PolicyWarning)
        assert len(rig.events) == 1
        assert (warning.code, warning.account) == ("rspauth", "work")
        assert rig.exchange().carried() == []


def test_A14_info_about_another_answer_is_ignored() -> None:
    rig = Rig(password(GOOD))
    exchange = rig.exchange()
    exchange.receive(asks(digest("A"), digest("B", nonce="nb")))
    info = ("Authentication-Info", 'nextnonce="n9"')
    foreign = ("Authentication-Info", 'rspauth="00", cnonce="not-ours"')
    rig.session.accepted(exchange, final(200, info, foreign))
    assert {c["nonce"] for c in rig.exchange().carried()} == {"n1", "nb"}
    assert len(rig.heard(AuthAccepted)) == 1


def test_A14_with_two_realms_the_cnonce_says_which() -> None:
    rig = Rig(password(GOOD))
    exchange = rig.exchange()
    exchange.receive(asks(digest("A"), digest("B", nonce="nb")))
    cnonce = next(c["cnonce"] for c in exchange.carried() if c["realm"] == "B")
    rig.session.accepted(exchange, final(200, ("Authentication-Info", f'nextnonce="n9", cnonce="{cnonce}"')))
    assert {c["realm"]: c["nonce"] for c in rig.exchange().carried()} == {"A": "n1", "B": "n9"}


# -- bearer ------------------------------------------------------------------------------------------


BEARER = 'Bearer realm="example.com", authz_server="https://as.example.com"'


def token(text: str = "abc", **more: object) -> BearerCredentials:
    return BearerCredentials(Secret(text), **more)  # type: ignore[arg-type]


def test_A28_a_token_answers_bearer_over_verified_tls() -> None:
    rig = Rig(token())
    exchange = rig.exchange(origin=HOME_TLS)
    exchange.receive(asks(BEARER))
    assert exchange.request.get("Authorization") == "Bearer abc"
    rig.session.accepted(exchange, final(200, ("Authentication-Info", 'nextnonce="x", rspauth="00"')))
    assert len(rig.heard(AuthAccepted)) == 1
    assert rig.exchange(origin=HOME_TLS).request.get("Authorization") == "Bearer abc"


@pytest.mark.parametrize("origin", [HOME, Origin("192.0.2.1", 5061, "tls", None, bound=True)])
def test_T10_no_token_without_verified_tls(origin: Origin) -> None:
    rig = Rig(token(), asynchronous=True)
    assert rig.exchange(origin=origin).receive(asks(BEARER)) is GiveUp.UNSUPPORTED
    [told] = rig.heard(AuthUnanswerable)
    assert rig.events == [told]
    assert "TLS" in told.skipped[0].why


def test_T10_a_token_stays_home_when_the_retry_goes_in_the_clear() -> None:
    exchange = Rig(token()).exchange(origin=HOME_TLS)
    exchange.receive(asks(BEARER))
    exchange.origin = Origin("192.0.2.1", 5061, "tcp", "example.com", bound=True)
    exchange.send()
    assert exchange.request.find("Authorization") is None


def test_A28_a_refused_token_is_refreshed_once() -> None:
    rig = Rig(asynchronous=True)
    exchange, asked = rig.pending(BEARER, origin=HOME_TLS)
    for n in (1, 2):
        plan = rig.session.reinit_request(asked, [token(f"t{n}")])
        assert plan is not None
        rig.session.send_request(asked, plan)
        outcome = exchange.receive(asks(BEARER + ', error="invalid_token"'))
        if n == 1:
            assert isinstance(outcome, Pending)
            asked = outcome.token
            assert asked.challenges[0].error == "invalid_token"
    assert outcome is GiveUp.TOO_MANY_ATTEMPTS


def test_A28_digest_beside_bearer_the_credentials_at_hand_decide() -> None:
    for credentials, scheme in ((password(GOOD), "digest"), (token(), "bearer")):
        exchange = Rig(credentials).exchange(origin=HOME_TLS)
        exchange.receive(asks(BEARER, digest()))
        assert exchange.answer()["scheme"] == scheme


def test_A28_policy_may_leave_a_scheme_out() -> None:
    rig = Rig(asynchronous=True, schemes=("digest",))
    _, asked = rig.pending(BEARER, digest(), origin=HOME_TLS)
    assert [c.scheme for c in asked.challenges] == ["digest"]
    assert [s.why for s in asked.skipped] == ["scheme not allowed by policy"]


@pytest.mark.parametrize("prefer", [("bearer", "digest"), ("digest", "bearer")])
@pytest.mark.parametrize("offered", [(BEARER, digest()), (digest(), BEARER)], ids=["bearer-first", "digest-first"])
def test_A28_policy_may_prefer_a_scheme_over_the_servers_order(
    prefer: tuple[str, ...], offered: tuple[str, ...]
) -> None:
    """Fails without ``AuthPolicy.preferred``: the server's order decides, whatever the policy says."""
    rig = Rig(asynchronous=True, prefer=prefer)
    _, asked = rig.pending(*offered, origin=HOME_TLS)
    assert asked.challenges[0].scheme == prefer[0]
    assert [c.scheme for c in asked.realms[asked.challenges[0].realm].offers] == list(prefer)


def test_A28_without_a_preference_the_servers_order_stays() -> None:
    for offered, first in (((BEARER, digest()), "bearer"), ((digest(), BEARER), "digest")):
        _, asked = Rig(asynchronous=True).pending(*offered, origin=HOME_TLS)
        assert asked.challenges[0].scheme == first


# -- other forms of secrets ---------------------------------------------------------------------------


def test_A08_an_md5_ha1_takes_the_md5_challenge_below_and_never_answers_sha_256() -> None:
    from hashlib import md5

    ha1 = Ha1Credentials("alice", "example.com", "MD5", Secret(md5(b"alice:example.com:wonderland").hexdigest()))
    exchange = Rig(ha1).exchange(origin=HOME_TLS)
    exchange.receive(asks(digest(algorithm="SHA-256"), digest(algorithm="MD5")))
    assert exchange.answer()["algorithm"] == "MD5"
    assert proves(exchange.answer(), GOOD)
    assert Rig(ha1).exchange().receive(asks(digest(algorithm="SHA-256"))) is GiveUp.NO_CREDENTIALS


def test_A15_userhash_goes_to_the_accounts_own_server_only() -> None:
    rig = Rig(password(GOOD))
    stranger = rig.exchange(origin=STRANGER)
    assert stranger.receive(asks(digest(userhash="true"))) is GiveUp.FOREIGN_ORIGIN
    exchange = rig.exchange()
    exchange.receive(asks(digest(userhash="true")))
    assert "alice" not in exchange.answer()["username"]


@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "REFER", "NOTIFY"])
@pytest.mark.parametrize("realm", ["example.com", "*"])
@pytest.mark.parametrize("proxy", [False, True])
def test_T01_a_strangers_challenge_reaches_nobody(method: str, realm: str, proxy: bool) -> None:
    rig = Rig(password(GOOD), asynchronous=True)
    exchange = rig.exchange(method, "sip:mallory@203.0.113.66", origin=STRANGER)
    assert exchange.receive(asks(proxy=[digest(realm)]) if proxy else asks(digest(realm))) is GiveUp.FOREIGN_ORIGIN
    [told] = rig.events
    assert isinstance(told, AuthUnanswerable)
    assert (told.why, rig.session.pending, len(exchange.sent)) == (GiveUp.FOREIGN_ORIGIN, (), 1)


def test_T01_T29_even_a_token_of_before_sends_nothing_to_a_stranger() -> None:
    """The flow changed between challenge and answer: the retry goes out bare."""
    rig = Rig(password(GOOD), asynchronous=True)
    exchange, asked = rig.pending(digest())
    exchange.origin = STRANGER
    rig.session.decline(asked)
    assert exchange.carried() == []


def test_T29_not_even_the_same_address_is_ours_for_ever() -> None:
    """It was the account's own when it asked; when the answer is there it is not any more, so no name goes there."""
    rig = Rig(password(GOOD), asynchronous=True)
    exchange, asked = rig.pending(digest())
    exchange.origin = replace(exchange.origin, bound=False)
    rig.session.decline(asked)
    assert exchange.carried() == []


def test_headers_left_from_an_earlier_attempt_are_replaced() -> None:
    exchange = Rig(password(GOOD)).exchange()
    exchange.receive(asks(digest()))
    again = exchange._rig.session.authorize(exchange, exchange.request)
    assert len(again.all("Authorization")) == 1
    assert "nc=00000002" in again.get("Authorization")


def test_a_session_without_a_clock_works() -> None:
    rig = Rig(password(GOOD))
    rig.session = AuthSession([password(GOOD)])
    exchange = rig.exchange()
    exchange.receive(asks(digest()))
    assert proves(exchange.answer(), GOOD)


def test_a_stale_challenge_that_the_secret_cannot_answer_any_more_asks() -> None:
    ha1 = Ha1Credentials("alice", "example.com", "MD5", Secret("00" * 16))
    rig = Rig(ha1, asynchronous=True)
    exchange, asked = rig.pending(digest())
    rig.session.decline(asked)
    outcome = exchange.receive(asks(digest(nonce="n2", stale="true", algorithm="SHA-256")))
    assert isinstance(outcome, Pending)
    assert rig.heard(AuthRejected) == []


def test_a_refused_secret_leaves_what_another_proved() -> None:
    """By identity: a late refusal of the old secret must not cost the new one."""
    rig = Rig(password("old", realm="A"), password("new", realm="B"))
    accepted(rig, digest("A"), digest("B", nonce="nb"))
    refresh = rig.exchange()
    refresh.receive(asks(digest("A", nonce="a2")))
    assert refresh.receive(asks(digest("A", nonce="a3"))) is GiveUp.REFUSED
    assert [c["realm"] for c in rig.exchange().carried()] == ["B"]


def test_a_proof_whose_secret_is_gone_proves_nothing() -> None:
    bearer = Proof(Challenge("bearer", "r", algorithm=""), token(), 0.0)
    with pytest.raises(LocalProtocolError, match="no digest"):
        bearer.vouches(Sent("", 0.0), "00", b"")
    bearer.wipe()
    assert not bearer.usable(0.0)
    with pytest.raises(LocalProtocolError, match="wiped"):
        bearer.header("REGISTER", "sip:x", b"", now=0.0, counter=NonceCounter(), random=bytes)
