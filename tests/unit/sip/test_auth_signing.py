"""Answers of a key that the core never sees: what is handed out, what may be sent, what a verdict means."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import DigestInput, Signature, SignedCredentials, SigningCredentials
from sipcli.errors import LocalProtocolError
from sipcli.sip.auth import AuthAccepted, AuthRejected, AuthUnanswerable, GiveUp, Pending, PolicyWarning
from sipcli.sip.authn.challenge import parse_challenges
from sipcli.sip.authn.digest import digest_header
from sipcli.sip.authn.policy import AuthPolicy
from tests.support.authkit import FakeExchange, Rig, asks, digest, final, password, proves
from tests.support.signkit import key, response, signed

AKA_TOO = (*AuthPolicy().algorithms, "AKAv1-MD5", "AKAv2-MD5")
AUTS = "rdvT+YxdHn3ITVGnYWI="
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\n"


def sign(rig: Rig, token: Any, name: SigningCredentials, secret: str = "right", **more: Any) -> list[SignedCredentials]:
    return [signed(name, inputs, secret, **more) for inputs in rig.session.digest_inputs(token, name)]


def send(rig: Rig, token: Any, credentials: list[SignedCredentials]) -> None:
    plan = rig.session.reinit_request(token, credentials)
    assert plan is not None, rig.session.why_no_plan(token, credentials)
    rig.session.send_request(token, plan)


def token_of(exchange: FakeExchange, *www: str) -> Any:
    outcome = exchange.receive(asks(*www))
    assert isinstance(outcome, Pending), outcome
    return outcome.token


# --- what is handed out, and what comes of it ---------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"])
@pytest.mark.parametrize("qop", ["auth", "auth-int", "foo,auth", "auth-int,foo"])
def test_A08_A09_A10_a_signed_answer_is_what_a_password_would_have_given(algorithm: str, qop: str) -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest(algorithm=algorithm, qop=qop), method="INVITE", uri="sip:bob@b", body=SDP)
    send(rig, token, sign(rig, token, key()))
    assert proves(exchange.answer(), "right", method="INVITE", body=SDP)
    assert exchange.answer()["algorithm"] == algorithm


def test_A10_auth_int_without_a_body_hashes_the_empty_string() -> None:
    rig = Rig(asynchronous=True)
    _, token = rig.pending(digest(algorithm="SHA-256", qop="auth-int"))
    (inputs,) = rig.session.digest_inputs(token, key())
    assert inputs.body_hash == hashlib.sha256(b"").hexdigest()


def test_A11_without_qop_there_is_neither_nc_nor_cnonce() -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest(qop=None))
    (inputs,) = rig.session.digest_inputs(token, key())
    assert (inputs.qop, inputs.nc, inputs.cnonce, inputs.body_hash) == ("", "", "", "")
    send(rig, token, [signed(key(), inputs)])
    assert proves(exchange.answer(), "right") and not {"nc", "cnonce", "qop"} & set(exchange.answer())


def test_A13_a_nonce_count_is_reserved_for_each() -> None:
    rig = Rig(asynchronous=True)
    tokens = [rig.pending(digest(nonce="shared"))[1] for _ in range(3)]
    inputs = [rig.session.digest_inputs(token, key())[0] for token in tokens]
    assert [each.nc for each in inputs] == ["00000001", "00000002", "00000003"]
    assert len({each.cnonce for each in inputs}) == 3


def test_A15_the_user_name_is_given_as_it_is_hashed_and_written_as_the_server_wants_it() -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest(algorithm="SHA-256", userhash="true", charset='"UTF-8"'))
    name = key("ju\u0308rgen")
    (inputs,) = rig.session.digest_inputs(token, name)
    assert (inputs.username, inputs.charset) == ("j\u00fcrgen", "UTF-8")
    send(rig, token, [signed(name, inputs)])
    answer = exchange.answer()
    assert answer["username"] == hashlib.sha256("j\u00fcrgen:example.com".encode()).hexdigest()
    assert answer["response"] == response(inputs, "right")


def test_A07_each_realm_by_its_own_key_in_one_retry() -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest("A"), digest("B"))
    a, b = key(realm="A"), key("alice.trunk", realm="B")
    send(rig, token, sign(rig, token, a, "a") + sign(rig, token, b, "b"))
    assert {c["realm"]: proves(c, c["realm"].lower()) for c in exchange.carried()} == {"A": True, "B": True}


def test_one_realm_at_both_doors_is_signed_twice_even_for_the_same_nonce() -> None:
    rig = Rig(asynchronous=True)
    exchange = rig.exchange()
    outcome = exchange.receive(asks(digest(nonce="n"), proxy=[digest(nonce="n")]))
    assert isinstance(outcome, Pending)
    send(rig, outcome.token, sign(rig, outcome.token, key()))
    assert [proves(c, "right") for c in exchange.carried()] == [True, True]
    assert {c["nc"] for c in exchange.carried()} == {"00000001", "00000002"}


def test_a_key_itself_answers_nothing_and_signs_only_what_it_names() -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest(algorithm="SHA-256"), digest(nonce="n2"))
    assert rig.session.reinit_request(token, [key()]) is None
    assert rig.session.digest_inputs(token, key(realm="elsewhere")) == ()
    (inputs,) = rig.session.digest_inputs(token, key(algorithms=("MD5",)))
    assert (inputs.algorithm, inputs.nonce) == ("MD5", "n2")
    (challenge, _), _ = parse_challenges(token.response)
    for credentials in (key(), signed(key(), inputs)):
        with pytest.raises(LocalProtocolError):
            digest_header(challenge, credentials, "REGISTER", "sip:example.com")
    assert len(exchange.sent) == 1


@pytest.mark.parametrize(
    "change", [{"nonce": "other"}, {"realm": "other"}, {"algorithm": "SHA-256"}], ids=["nonce", "realm", "algorithm"]
)
def test_what_was_signed_for_another_challenge_is_no_answer(change: dict[str, str]) -> None:
    rig = Rig(asynchronous=True)
    _, token = rig.pending(digest(algorithm="MD5"))
    (inputs,) = rig.session.digest_inputs(token, key())
    fields = {name: getattr(inputs, name) for name in DigestInput.__dataclass_fields__} | change
    assert rig.session.reinit_request(token, [signed(key(), DigestInput(**fields))]) is None


def test_a_signature_of_the_wrong_length_or_with_auts_outside_aka_is_no_answer() -> None:
    rig = Rig(asynchronous=True)
    _, token = rig.pending(digest(algorithm="MD5"))
    (inputs,) = rig.session.digest_inputs(token, key())
    for signature in (Signature("0" * 64), Signature("0" * 32, auts=AUTS)):
        assert rig.session.reinit_request(token, [SignedCredentials(key(), inputs, signature)]) is None


@pytest.mark.parametrize(
    "wrong",
    [
        ("hunter2",),
        ("A" * 32,),
        ("0" * 32 + "\r\nVia: x",),
        ("0" * 33,),
        ("0" * 32, "hunter2"),
        ("0" * 32, None, "hunter2"),
    ],
)
def test_a_signature_cannot_carry_a_header_and_its_error_does_not_quote_it(wrong: tuple[Any, ...]) -> None:
    """Fails without the checks in Signature.__post_init__: its values go into the header as they are."""
    with pytest.raises(ValueError, match="the signature's") as caught:
        Signature(*wrong)
    assert "hunter2" not in str(caught.value) and "Via" not in str(caught.value)


# --- one sending --------------------------------------------------------------------------------------------------


def test_a_signed_answer_is_sent_once_and_the_next_request_is_signed_anew() -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest())
    send(rig, token, sign(rig, token, key()))
    rig.session.accepted(exchange, final(200))
    refresh = rig.exchange()
    assert refresh.carried() == [], "nothing is cached for pre-emptive use"
    token = token_of(refresh, digest(nonce="n2"))
    send(rig, token, sign(rig, token, key()))
    assert proves(refresh.answer(), "right")


def test_sent_again_to_the_next_server_it_goes_without_and_is_signed_anew() -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest())
    send(rig, token, sign(rig, token, key()))
    exchange.send()
    assert exchange.carried() == []
    token = token_of(exchange, digest())
    assert (token.cause, exchange.realms["example.com"].attempt) == ("fresh", 1)
    assert rig.heard(AuthRejected) == []
    send(rig, token, sign(rig, token, key()))
    assert proves(exchange.answer(), "right") and exchange.answer()["nc"] == "00000002"


def test_A16_what_is_signed_is_the_request_uri_octet_for_octet() -> None:
    rig = Rig(asynchronous=True)
    uri = "sip:%62ob@B.Example.com:5060;Transport=UDP;x"
    exchange, token = rig.pending(digest(), method="INVITE", uri=uri)
    (inputs,) = rig.session.digest_inputs(token, key())
    assert inputs.uri == uri
    send(rig, token, [signed(key(), inputs)])
    assert exchange.answer()["uri"] == uri


@pytest.mark.parametrize("what", ["uri", "body"])
def test_A16_what_changed_before_sending_is_not_sent_but_signed_anew(what: str) -> None:
    """The same nonce comes back, and still the old signature is not tried again: that would never end."""
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest(qop="auth-int"), method="INVITE", uri="sip:bob@b", body=SDP)
    answers = sign(rig, token, key())
    if what == "uri":
        exchange._uri = "sip:bob@elsewhere"
    else:
        exchange._body = SDP + b"s=-\r\n"
    send(rig, token, answers)
    assert exchange.carried() == []
    token = token_of(exchange, digest(qop="auth-int"))
    assert rig.heard(AuthRejected) == []
    send(rig, token, sign(rig, token, key()))
    assert proves(exchange.answer(), "right", method="INVITE", body=exchange._body)


def test_a_changed_body_does_not_matter_to_qop_auth() -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest(), method="INVITE", body=SDP)
    answers = sign(rig, token, key())
    exchange._body = b""
    send(rig, token, answers)
    assert proves(exchange.answer(), "right", method="INVITE")


# --- verdicts are about the key -----------------------------------------------------------------------------------


def test_A04_a_refused_signature_means_that_its_key_is_refused() -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest())
    name = key(ref="store:alice")
    send(rig, token, sign(rig, token, name, "wrong"))
    token = token_of(exchange, digest(nonce="n2"))
    (rejected,) = rig.heard(AuthRejected)
    assert rejected.used == (("example.com", name),) and rejected.used[0][1] is name
    assert exchange.realms["example.com"].rejected == (name,)
    assert rig.session.digest_inputs(token, name) == ()
    assert rig.session.digest_inputs(token, key(ref="store:alice")) == (), "the same key under the same name"
    inputs = DigestInput(
        username="alice",
        realm="example.com",
        nonce="n2",
        algorithm="MD5",
        method="REGISTER",
        uri="sip:example.com",
        nc="00000001",
        cnonce="c",
    )
    forced = [signed(name, inputs)]
    assert rig.session.reinit_request(token, forced) is None
    assert rig.session.why_no_plan(token, forced) is GiveUp.REFUSED
    other = key(ref="store:alice-new")
    send(rig, token, sign(rig, token, other))
    assert proves(exchange.answer(), "right")


def test_A05_stale_says_nothing_about_the_key_but_it_must_sign_again() -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest())
    send(rig, token, sign(rig, token, key()))
    token = token_of(exchange, digest(nonce="n2", stale="true"))
    assert token.cause == "stale" and rig.heard(AuthRejected) == []
    send(rig, token, sign(rig, token, key()))
    assert proves(exchange.answer(), "right") and exchange.answer()["nonce"] == "n2"
    for nonce in ("n3", "n4"):
        token = token_of(exchange, digest(nonce=nonce, stale="true"))
        send(rig, token, sign(rig, token, key()))
    assert exchange.receive(asks(digest(nonce="n5", stale="true"))) is GiveUp.STALE_LOOP


def test_A04_a_late_signature_is_signed_once_more() -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest())
    rig.now += 25.0
    send(rig, token, sign(rig, token, key()))
    token = token_of(exchange, digest(nonce="n2"))
    assert rig.heard(AuthRejected) == []
    send(rig, token, sign(rig, token, key()))
    exchange.receive(asks(digest(nonce="n3")))
    assert len(rig.heard(AuthRejected)) == 1


def test_acceptance_and_a_403_name_the_key() -> None:
    rig = Rig(asynchronous=True)
    name = key()
    for verdict, kind in ((403, AuthRejected), (200, AuthAccepted)):
        exchange, token = rig.pending(digest())
        send(rig, token, sign(rig, token, name))
        (rig.session.accepted if verdict == 200 else rig.session.refused)(exchange, final(verdict))
        (told,) = rig.heard(kind)
        assert told.used[0][1] is name


# --- the server's own proof ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "said", "trusted"), [("right", "right", True), ("right", "liar", False), (None, "liar", True)]
)
def test_A14_rspauth_is_checked_where_the_signer_told_it(told: str | None, said: str, trusted: bool) -> None:
    rig = Rig(asynchronous=True)
    exchange, token = rig.pending(digest())
    (inputs,) = rig.session.digest_inputs(token, key())
    expected = None if told is None else response(inputs, told, method="")
    send(rig, token, [SignedCredentials(key(), inputs, Signature(response(inputs, "right"), expected))])
    header = f'rspauth="{response(inputs, said, method="")}", cnonce="{inputs.cnonce}", nc={inputs.nc}, qop=auth'
    rig.session.accepted(exchange, final(200, ("Authentication-Info", header)))
    assert bool(rig.heard(AuthAccepted)) is trusted
    assert ("rspauth" in {warning.code for warning in rig.heard(PolicyWarning)}) is not trusted


# --- AKA ----------------------------------------------------------------------------------------------------------

SIM = key("001010123456789@ims.example", algorithms=("AKAv1-MD5", "AKAv2-MD5"))


def test_A29_without_a_key_that_names_it_aka_is_skipped_with_the_reason_and_nobody_is_asked() -> None:
    rig = Rig(asynchronous=True)
    exchange = rig.exchange()
    assert exchange.receive(asks(digest(algorithm="AKAv1-MD5"))) is GiveUp.UNSUPPORTED
    (told,) = rig.heard(AuthUnanswerable)
    assert [(skip.algorithm, skip.why) for skip in told.skipped] == [("AKAv1-MD5", "no SIM of this account signs it")]
    _, token = rig.pending(digest(algorithm="AKAv1-MD5"), digest(algorithm="MD5", nonce="n2"))
    assert [challenge.algorithm for challenge in token.challenges] == ["MD5"]


def test_A29_a_password_never_answers_aka() -> None:
    rig = Rig(asynchronous=True, algorithms=AKA_TOO)
    _, token = rig.pending(digest(algorithm="AKAv1-MD5"))
    assert rig.session.reinit_request(token, [password("right")]) is None


@pytest.mark.parametrize("algorithm", ["AKAv1-MD5", "AKAv2-MD5", "akav1-md5"])
def test_A29_a_key_that_names_it_answers_in_the_registrys_spelling(algorithm: str) -> None:
    rig = Rig(asynchronous=True, algorithms=AKA_TOO)
    exchange, token = rig.pending(digest(algorithm=algorithm))
    (inputs,) = rig.session.digest_inputs(token, SIM)
    send(rig, token, [signed(SIM, inputs, "RES")])
    assert exchange.answer()["response"] == response(inputs, "RES")
    assert exchange.answer()["algorithm"].lower() == algorithm.lower()


def test_A29_auts_goes_out_and_the_next_challenge_is_no_refusal() -> None:
    """RFC 3310 section 3.4: we refused the server's number; the server did not refuse our key."""
    rig = Rig(asynchronous=True, algorithms=AKA_TOO)
    exchange, token = rig.pending(digest(algorithm="AKAv1-MD5"))
    send(rig, token, sign(rig, token, SIM, "", auts=AUTS))
    assert exchange.answer()["auts"] == AUTS
    token = token_of(exchange, digest(nonce="n2", algorithm="AKAv1-MD5"))
    assert rig.heard(AuthRejected) == [] and exchange.realms["example.com"].attempt == 1
    send(rig, token, sign(rig, token, SIM))
    assert "auts" not in exchange.answer()
    rig.session.accepted(exchange, final(200))
    assert rig.heard(AuthAccepted)[0].used[0][1] is SIM


def test_A29_at_most_two_resynchronisations_per_exchange() -> None:
    """Fails without may_resync() in pick_all: a server could have a SIM compute AUTS as often as it likes."""
    rig = Rig(asynchronous=True, algorithms=AKA_TOO)
    exchange, token = rig.pending(digest(algorithm="AKAv1-MD5"))
    for nonce in ("n2", "n3"):
        send(rig, token, sign(rig, token, SIM, "", auts=AUTS))
        token = token_of(exchange, digest(nonce=nonce, algorithm="AKAv1-MD5"))
    third = sign(rig, token, SIM, "", auts=AUTS)
    assert rig.session.reinit_request(token, third) is None
    assert rig.session.why_no_plan(token, third) is GiveUp.TOO_MANY_ATTEMPTS
    assert len(exchange.sent) == 3


def test_A29_a_final_answer_to_auts_says_nothing_about_the_key() -> None:
    rig = Rig(asynchronous=True, algorithms=AKA_TOO)
    for status in (200, 403):
        exchange, token = rig.pending(digest(algorithm="AKAv1-MD5"))
        send(rig, token, sign(rig, token, SIM, "", auts=AUTS))
        (rig.session.accepted if status == 200 else rig.session.refused)(exchange, final(status))
    assert rig.heard(AuthAccepted) == [] and rig.heard(AuthRejected) == []


def test_T05_a_realm_that_took_aka_is_not_let_down_to_a_password() -> None:
    rig = Rig(password("right"), asynchronous=True, algorithms=AKA_TOO)
    exchange, token = rig.pending(digest(algorithm="AKAv1-MD5"))
    send(rig, token, sign(rig, token, SIM))
    rig.session.accepted(exchange, final(200))
    assert rig.exchange().receive(asks(digest(algorithm="SHA-256"))) is GiveUp.DOWNGRADE


# --- the manual -----------------------------------------------------------------------------------------------


def test_the_example_of_the_manual_answers_or_abandons() -> None:
    page = Path(__file__).parents[3] / "docs" / "levels.md"
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S) if "digest_inputs" in code]
    names: dict[str, Any] = {}
    exec(compile(block, str(page), "exec"), names)
    for algorithm, sent in (("SHA-256", 2), ("AKAv1-MD5", 1)):
        rig = Rig(asynchronous=True, algorithms=AKA_TOO)
        exchange, token = rig.pending(digest(algorithm=algorithm))
        names["answer"](rig.session, token, lambda inputs: Signature(response(inputs, "right")))
        assert len(exchange.sent) == sent
    assert exchange.why is not None
