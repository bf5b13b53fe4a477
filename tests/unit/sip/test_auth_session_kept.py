"""What a session keeps: nonces for the next request, verdicts, and what Authentication-Info says."""

from __future__ import annotations

import pytest

from sipcli.sip.auth import (
    AuthAccepted,
    AuthChallenged,
    AuthRejected,
    GiveUp,
    Pending,
    PolicyWarning,
    Retry,
)
from sipcli.sip.authn.origin import Origin
from sipcli.sip.authn.proof import NonceCounter
from tests.support.authkit import STRANGER, Rig, asks, digest, final, password, proves

GOOD, BAD = "wonderland", "looking-glass"
OTHERS = (
    *("REGISTER", "INVITE", "BYE", "UPDATE", "PRACK", "INFO"),
    *("REFER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "OPTIONS"),
)
SHA = {"algorithm": "SHA-256"}


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


def test_A13_what_is_forgotten_is_the_nonce_longest_unused() -> None:
    counter = NonceCounter(limit=2)
    assert [counter.next(nonce) for nonce in ("a", "b", "a", "c", "a", "c", "b")] == [1, 1, 2, 1, 3, 2, 1]


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


def test_A04_a_refused_preemptive_answer_says_nothing_about_the_secret() -> None:
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


@pytest.mark.parametrize("status", [200, 202, 302, 404, 410, 423, 480, 484, 485, 486, 488, 491, 600, 603, 604, 606])
def test_A04_feedback_acceptance(status: int) -> None:
    rig = Rig(password(GOOD))
    accepted(rig, digest(), status=status)
    (event,) = rig.heard(AuthAccepted)
    assert (event.account, event.used) == ("work", (("example.com", rig.session.credentials[0]),))


@pytest.mark.parametrize("status", [400, 403, 405, 408, 411, 420, 422, 481, 482, 487, 500, 503])
def test_A04_feedback_no_verdict(status: int) -> None:
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


def test_A13_A14_nextnonce_is_used_next_and_the_count_starts_again() -> None:
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


def rspauth(sent: dict[str, str], secret: str, body: str = "") -> str:
    """What a server that knows *secret* says back: the client's formula with an empty method, and its own *body*."""
    from hashlib import md5

    def h(text: str) -> str:
        return md5(text.encode()).hexdigest()

    a1 = h(f"{sent['username']}:{sent['realm']}:{secret}")
    a2 = f":{sent['uri']}" + (f":{h(body)}" if sent["qop"] == "auth-int" else "")
    return h(f"{a1}:{sent['nonce']}:{sent['nc']}:{sent['cnonce']}:{sent['qop']}:{h(a2)}")


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


def test_A14_who_cannot_prove_himself_later_gets_no_more_unasked() -> None:
    """He took the first answer and proved nothing; what he says to the second is wrong."""
    rig = Rig(password(GOOD), md5_over_udp="allow")
    accepted(rig, digest())
    refresh = rig.exchange()
    sent = refresh.answer()
    info = f'qop=auth, rspauth="{rspauth(sent, BAD)}", cnonce="{sent["cnonce"]}", nc={sent["nc"]}'
    rig.session.accepted(refresh, final(200, ("Authentication-Info", info)))
    assert [warning.code for warning in rig.heard(PolicyWarning)] == ["rspauth"]
    assert rig.exchange().carried() == []


@pytest.mark.parametrize("said", ["signed", "altered"])
def test_A14_with_auth_int_the_servers_proof_covers_its_body(said: str) -> None:
    """RFC 7616 section 3.5: whoever carried the response may not have changed it."""
    rig = Rig(password(GOOD), md5_over_udp="allow")
    exchange = rig.exchange()
    exchange.receive(asks(digest(qop="auth-int")))
    info = f'qop=auth-int, rspauth="{rspauth(exchange.answer(), GOOD, "signed")}"'
    rig.session.accepted(exchange, final(200, ("Authentication-Info", info), body=said.encode()))
    assert len(rig.heard(AuthAccepted)) == (said == "signed")
    assert len(rig.heard(PolicyWarning)) == (said == "altered")


def test_A14_a_proxy_says_it_in_a_header_of_its_own() -> None:
    rig = Rig(password(GOOD))
    exchange = rig.exchange(call_id="one")
    exchange.receive(asks(digest("far", "f1"), proxy=[digest("near", "p1")]))
    far, near = ('nextnonce="f2"', 'nextnonce="p2"')
    rig.session.accepted(exchange, final(200, ("Authentication-Info", far), ("Proxy-Authentication-Info", near)))
    carried = rig.exchange(call_id="one").carried()
    assert {c["header"]: c["nonce"] for c in carried} == {"Authorization": "f2", "Proxy-Authorization": "p2"}


@pytest.mark.parametrize("proven", [False, True])
def test_T01_whoever_is_called_chooses_no_nonce_for_the_bye(proven: bool) -> None:
    """His 200 may have any header, and our proxy carries it; of the secret he knows nothing.

    Fails without the method in ``find_impostor``.
    """
    rig = Rig(password(GOOD), md5_over_udp="allow")
    exchange = rig.exchange("INVITE", call_id="one")
    exchange.receive(asks(proxy=[digest()]))
    info = 'nextnonce="n9"'
    if proven:
        sent = exchange.answer()
        info += f', qop=auth, rspauth="{rspauth(sent, GOOD)}", cnonce="{sent["cnonce"]}", nc={sent["nc"]}'
    rig.session.accepted(exchange, final(200, ("Proxy-Authentication-Info", info)))
    assert rig.exchange("BYE", call_id="one").answer()["nonce"] == ("n9" if proven else "n1")


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


def test_a_refused_secret_leaves_what_another_proved() -> None:
    """By identity: a late refusal of the old secret must not cost the new one."""
    rig = Rig(password("old", realm="A"), password("new", realm="B"))
    accepted(rig, digest("A"), digest("B", nonce="nb"))
    refresh = rig.exchange()
    refresh.receive(asks(digest("A", nonce="a2")))
    assert refresh.receive(asks(digest("A", nonce="a3"))) is GiveUp.REFUSED
    assert [c["realm"] for c in rig.exchange().carried()] == ["B"]
