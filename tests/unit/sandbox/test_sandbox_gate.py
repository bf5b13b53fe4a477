"""Whom the sandbox lets in: its challenges, without a socket, on a stepped clock, answered by our own digest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipcli.errors import ConfigError
from sipcli.sandbox.config import SandboxConfig
from sipcli.sip.authn.digest import compute_response, hash_function, parse_challenges
from sipcli.sip.syntax.message import Response
from tests.support.gatehouse import BOB_TCP, House, status

# -- challenges ---------------------------------------------------------------------------------


ALGORITHMS = ("MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess")
QOPS = ("auth", "auth-int", "auth,auth-int", None)


@pytest.mark.parametrize(
    ("algorithm", "qop"),
    # A -sess algorithm needs a cnonce, which only comes with qop.
    [(algorithm, qop) for algorithm in ALGORITHMS for qop in QOPS if qop or not algorithm.endswith("-sess")],
)
def test_each_algorithm_and_qop_is_asked_and_accepted(algorithm: str, qop: str | None) -> None:
    house = House(algorithms=(algorithm,), qop=qop, opaque="o")
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert challenge.status == 401
    ((one,), skipped) = parse_challenges(challenge)
    assert (one.algorithm, one.realm, one.opaque, skipped) == (algorithm, "sandbox", "o", ())
    assert status(house.give(house.answered(challenge, message, password="wrong"))) == 401
    assert house.gate.guard.wrong == {"alice": 1}
    assert status(house.give(house.answered(challenge, message))) == 200
    assert house.gate.guard.counts["passed"] == 1


def test_several_algorithms_are_offered_in_the_order_told_and_any_is_taken() -> None:
    house = House(algorithms=("SHA-512-256", "MD5"))
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert [one.algorithm for one in parse_challenges(challenge)[0]] == ["SHA-512-256", "MD5"]
    assert status(house.give(house.answered(challenge, message, pick=[1]))) == 200


def test_register_is_asked_by_401_and_a_call_by_407() -> None:
    house = House()
    assert status(house.give(house.ask("REGISTER"))) == 401
    assert status(house.give(house.ask("INVITE", uri="sip:echo@sandbox"))) == 407
    house.gate.config = replace(house.gate.config, call_status=401)
    assert status(house.give(house.ask("INVITE", uri="sip:echo@sandbox", call_id="2"))) == 401
    house.give(house.ask("OPTIONS"))
    assert house.left == ["OPTIONS"], "not challenged by default"


def test_two_realms_are_asked_at_once_in_their_own_headers_and_both_must_be_answered() -> None:
    house = House(realms=("one",), proxy_realms=("two",), algorithms=("SHA-256",))
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert challenge.status == 401
    assert [(one.realm, one.proxy) for one in parse_challenges(challenge)[0]] == [("one", False), ("two", True)]
    (again,) = house.give(house.answered(challenge, message, pick=[0]))
    assert isinstance(again, Response)
    assert [one.realm for one in parse_challenges(again)[0]] == ["two"]
    assert again.status == 407
    assert status(house.give(house.answered(challenge, message, nc=2))) == 200


def test_realm_after_realm() -> None:
    house = House(realms=("one",), proxy_realms=("two",), algorithms=("SHA-256",), one_by_one=True)
    message = house.ask()
    (first,) = house.give(message)
    assert isinstance(first, Response)
    assert (first.status, len(parse_challenges(first)[0])) == (401, 1)
    answered = house.answered(first, message)
    (second,) = house.give(answered)
    assert isinstance(second, Response)
    assert second.status == 407
    both = house.answered(first, message, nc=2)
    for value in house.answered(second, message).all("Proxy-Authorization"):
        both = both.adding("Proxy-Authorization", value)
    assert status(house.give(both)) == 200


def test_a_realm_may_have_its_own_users() -> None:
    house = House(realms=("sandbox", "trunk"), realm_users={"trunk": {"alice": "other"}})
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 401
    assert house.gate.guard.wrong == {"alice": 1}


def test_a_nonce_grows_stale_and_says_so_unless_told_not_to() -> None:
    for say_stale in (True, False):
        house = House(nonce_lifetime=2, say_stale=say_stale, algorithms=("SHA-256",))
        message = house.ask()
        (challenge,) = house.give(message)
        assert isinstance(challenge, Response)
        house.advance(4)
        (again,) = house.give(house.answered(challenge, message))
        assert isinstance(again, Response)
        (one,) = parse_challenges(again)[0]
        assert (again.status, one.stale) == (401, say_stale)
        assert house.gate.guard.wrong == {}, "the secret was right"
        assert status(house.give(house.answered(again, message))) == 200


def test_a_wrong_password_with_an_old_nonce_is_wrong_not_stale() -> None:
    house = House(nonce_lifetime=2)
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    house.advance(4)
    (again,) = house.give(house.answered(challenge, message, password="wrong"))
    assert isinstance(again, Response)
    assert not any(one.stale for one in parse_challenges(again)[0])


def test_the_same_nonce_count_twice_is_a_replay() -> None:
    house = House()
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 200
    (again,) = house.give(house.answered(challenge, message, nc=1))
    assert isinstance(again, Response)
    assert (again.status, parse_challenges(again)[0][0].stale) == (401, True)
    assert house.gate.guard.counts["replayed"] == 1
    assert status(house.give(house.answered(challenge, message, nc=2))) == 200


def test_a_nonce_may_be_good_for_one_use_only() -> None:
    house = House(nonce_uses=1)
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 200
    assert status(house.give(house.answered(challenge, message, nc=2))) == 401


def test_stale_as_often_as_told_although_the_answer_was_good() -> None:
    house = House(stale_rounds=2)
    message = house.ask()
    (challenge,) = house.give(message)
    for _ in range(2):
        assert isinstance(challenge, Response)
        (challenge,) = house.give(house.answered(challenge, message))
        assert isinstance(challenge, Response)
        assert all(one.stale for one in parse_challenges(challenge)[0])
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 200


def test_wrong_passwords_may_be_final_or_lock_a_user_out() -> None:
    house = House(wrong_status=403)
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message, password="wrong"))) == 403
    house = House(wrong_limit=2)
    message = house.ask()
    for expected in (401, 403):
        (challenge,) = house.give(house.ask())
        assert isinstance(challenge, Response)
        assert status(house.give(house.answered(challenge, message, password="wrong"))) == expected
    (challenge,) = house.give(house.ask())
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 403, "also with the right one"


@pytest.mark.parametrize("spoil", ["uri", "response", "nonce", "realm", "qop", "algorithm"])
def test_an_answer_to_another_question_does_not_pass(spoil: str) -> None:
    house = House(algorithms=("SHA-256",))
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    again = house.answered(challenge, message)
    value = again.get("Authorization")
    pieces = value.split(", ")
    for index, piece in enumerate(pieces):
        name, _, rest = piece.removeprefix("Digest ").partition("=")
        if name == spoil:
            other = '"0"' if rest.startswith('"') else "0"
            pieces[index] = piece.replace(rest, other)
    spoilt = ", ".join(pieces)
    assert spoilt != value
    assert status(house.give(again.with_("Authorization", spoilt))) == 401
    assert house.gate.guard.counts["passed"] == 0


def test_a_hashed_user_name_and_one_in_utf_8_are_found() -> None:
    house = House(userhash=True, charset="UTF-8", users={"Jäsøn Doe": "s3cret"})
    message = house.ask().with_("To", "<sip:J%C3%A4s%C3%B8n%20Doe@sandbox>")
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    again = house.answered(challenge, message, user="Jäsøn Doe", password="s3cret")
    assert "Doe" not in again.get("Authorization")
    assert status(house.give(again)) == 200
    house = House(users={"Jäsøn Doe": "s3cret"})
    message = house.ask().with_("To", message.get("To"))
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    again = house.answered(challenge, message, user="Jäsøn Doe", password="s3cret")
    assert "username*=UTF-8''" in again.get("Authorization")
    assert status(house.give(again)) == 200


def test_a_bearer_token_is_asked_first_and_taken() -> None:
    house = House(tokens={"t0ken": "alice"}, authz_server="https://as.example", scope="sip", algorithms=("MD5",))
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    bearer, digest = parse_challenges(challenge)[0]
    assert (bearer.scheme, bearer.authz_server, bearer.scope) == ("bearer", "https://as.example", ("sip",))
    assert digest.scheme == "digest"
    assert status(house.give(house.ask().with_("Authorization", "Bearer nonsense"))) == 401
    assert status(house.give(house.ask().with_("Authorization", "Bearer t0ken"))) == 200
    only = House(tokens={"t0ken": "alice"}, algorithms=())
    (challenge,) = only.give(only.ask())
    assert isinstance(challenge, Response)
    assert [one.scheme for one in parse_challenges(challenge)[0]] == ["bearer"]


def test_the_server_proves_itself_and_announces_the_next_nonce() -> None:
    house = House(auth_info=True, next_nonce=True, algorithms=("SHA-256",))
    message = house.ask()
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    (final,) = house.give(house.answered(challenge, message))
    assert isinstance(final, Response)
    info = dict(part.split("=", 1) for part in final.get("Authentication-Info").split(", "))
    (one,) = parse_challenges(challenge)[0]
    ha1 = hash_function("SHA-256")(b"alice:sandbox:wonderland")
    expected = compute_response(
        "SHA-256", ha1, one.nonce, method="", uri="sip:sandbox", qop="auth", nc=1, cnonce="c0ffee"
    )
    assert info["rspauth"] == f'"{expected}"'
    assert (info["qop"], info["cnonce"], info["nc"]) == ("auth", '"c0ffee"', "00000001")
    assert len(info["nextnonce"]) == 34


def test_answers_wait_as_long_as_told() -> None:
    house = House(delay=3)
    assert house.give(house.ask(transport="TCP"), BOB_TCP) == []
    house.advance(2.9)
    assert house.sent == []
    house.advance(0.1)
    assert [answer.status for _, answer in house.sent if isinstance(answer, Response)] == [401]


def test_what_makes_no_sense_is_refused_with_the_reason() -> None:
    for wrong in ({"algorithms": ("SHA-3",)}, {"call_status": 403}, {"algorithms": ()}, {"transports": ("tls",)}):
        with pytest.raises(ConfigError):
            SandboxConfig(**wrong)  # type: ignore[arg-type]
    assert "wonderland" not in repr(SandboxConfig())


# -- registrar ----------------------------------------------------------------------------------
# -- calls --------------------------------------------------------------------------------------
