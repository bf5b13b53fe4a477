"""From a challenge and a secret to a header value."""

from __future__ import annotations

import hashlib

import pytest

from sipcli.credentials import BearerCredentials, Ha1Credentials, PasswordCredentials, Secret
from sipcli.errors import LocalProtocolError
from sipcli.sip.authn import digest as digest_module
from sipcli.sip.authn.challenge import Challenge, parse_challenges, split_challenges
from sipcli.sip.authn.digest import (
    can_answer,
    choose_qop,
    compute_response,
    digest_header,
    hash_function,
    verify_rspauth,
)
from sipcli.sip.authn.sha512_256 import sha512_256
from tests.support.authkit import asks, digest, password, proves


def header(challenge: Challenge, who: str = "alice", secret: str = "wonderland", **more: object) -> dict[str, str]:
    value = digest_header(challenge, password(secret, who), "INVITE", "sip:bob@b", cnonce="c0", **more)  # type: ignore[arg-type]
    ((_, params, flaw),) = split_challenges(value)
    assert not flaw
    return params


def challenge(**params: object) -> Challenge:
    return Challenge(**{"scheme": "digest", "realm": "r", "nonce": "n", "qop": ("auth",), **params})  # type: ignore[arg-type]


def test_A12_which_values_are_quoted_and_which_are_not() -> None:
    asked = parse_challenges(asks(digest("example.com", "n1", algorithm="MD5", opaque='"op"')))[0][0]
    value = digest_header(asked, password("wonderland"), "REGISTER", "sip:example.com", nc=10, cnonce="c0")
    response = compute_response(
        "MD5", hashlib.md5(b"alice:example.com:wonderland").hexdigest(), "n1",
        method="REGISTER", uri="sip:example.com", qop="auth", nc=10, cnonce="c0",
    )  # fmt: skip
    assert value == (
        'Digest username="alice", realm="example.com", nonce="n1", uri="sip:example.com", '
        f'response="{response}", algorithm=MD5, cnonce="c0", qop=auth, nc=0000000a, opaque="op"'
    )


def test_A12_quotes_and_backslashes_are_escaped_in_the_header_and_plain_in_the_hash() -> None:
    params = header(challenge(realm='the "best" \\ realm', opaque='o"\\'), who='al"ice\\')
    assert (params["realm"], params["username"], params["opaque"]) == ('the "best" \\ realm', 'al"ice\\', 'o"\\')
    assert proves(params, "wonderland", method="INVITE")


def test_A11_without_qop_there_is_no_cnonce_and_no_nc() -> None:
    params = header(challenge(qop=()))
    assert not {"qop", "nc", "cnonce"} & params.keys()
    assert proves(params, "wonderland", method="INVITE")


def test_an_algorithm_the_server_did_not_name_is_not_named_to_it() -> None:
    assert "algorithm" not in header(challenge())
    assert header(challenge(algorithm="SHA-256"))["algorithm"] == "SHA-256"


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256", "MD5-sess", "SHA-256-sess", "SHA-512-256-sess"])
@pytest.mark.parametrize("qop", ["auth", "auth-int"])
@pytest.mark.parametrize("body", [b"", b"v=0\r\n", b"--b\r\nx\r\n--b--\x00\xff"])
def test_A08_A09_A10_every_algorithm_qop_and_body(algorithm: str, qop: str, body: bytes) -> None:
    params = header(challenge(algorithm=algorithm, qop=(qop,)), body=body)
    assert len(params["response"]) == (32 if algorithm.startswith("MD5") else 64)
    assert params["response"] == params["response"].lower()
    assert proves(params, "wonderland", method="INVITE", body=body)


def test_A10_the_empty_body_hashes_to_the_value_rfc_8760_prints() -> None:
    assert hash_function("SHA-256")(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("offered", "integrity", "chosen"),
    [
        (("auth", "auth-int"), False, "auth"),
        (("auth", "auth-int"), True, "auth-int"),
        (("auth-int",), False, "auth-int"),
        (("auth",), True, "auth"),
        ((), True, ""),
    ],
)
def test_A10_which_qop_is_taken(offered: tuple[str, ...], integrity: bool, chosen: str) -> None:
    assert choose_qop(challenge(qop=offered), integrity=integrity) == chosen


def test_A15_userhash() -> None:
    params = header(challenge(userhash=True, algorithm="SHA-256"))
    assert params["username"] == hashlib.sha256(b"alice:r").hexdigest()
    assert params["userhash"] == "true"
    # The response is computed with the name itself: "after any other hash calculation".
    assert proves({**params, "username": "alice"}, "wonderland", method="INVITE")


def test_A15_with_charset_the_name_and_password_are_normalised_utf8() -> None:
    params = header(challenge(charset="UTF-8"), who="zoe\u0308", secret="e\u0301")
    assert params["username"] == "zo\u00eb"
    assert proves(params, "\u00e9", method="INVITE")


def test_A15_normalised_means_nfc_what_only_looks_alike_stays_apart() -> None:
    """RFC 7616 section 4 wants NFC; the compatibility forms would make one password of two."""
    params = header(challenge(charset="UTF-8"), who="\ufb01sh", secret="\u2460")
    assert params["username"] == "\ufb01sh"
    assert proves(params, "\u2460", method="INVITE")


def test_A15_without_charset_the_name_goes_extended_and_never_twice() -> None:
    params = header(challenge(), who="zoë €")
    assert params["username*"] == "UTF-8''zo%C3%AB%20%E2%82%AC"
    assert "username" not in params
    assert proves({**params, "username": "zoë €"}, "wonderland", method="INVITE")


def test_A15_a_password_that_is_no_text_stays_as_it_is() -> None:
    credentials = PasswordCredentials("alice", Secret(b"\xff\xfe"))
    with_charset = digest_header(challenge(charset="UTF-8"), credentials, "INVITE", "sip:b")
    assert with_charset == digest_header(challenge(), credentials, "INVITE", "sip:b")


def test_octets_that_are_no_utf8_go_back_as_they_came() -> None:
    realm = b"caf\xe9".decode("utf-8", "surrogateescape")
    value = digest_header(challenge(realm=realm), password("x"), "INVITE", "sip:b")
    assert b'realm="caf\xe9"' in value.encode("utf-8", "surrogateescape")


def test_A16_the_uri_is_the_request_uri_octet_for_octet() -> None:
    uri = "sip:%62ob@B.example.com:5060;Transport=UDP;x"
    value = digest_header(challenge(), password("x"), "INVITE", uri, cnonce="c0")
    assert f'uri="{uri}"' in value
    ((_, params, _),) = split_challenges(value)
    assert proves(params, "x", method="INVITE")


def test_A28_a_bearer_token_is_the_whole_value() -> None:
    asked = Challenge("bearer", "r", algorithm="")
    assert digest_header(asked, BearerCredentials(Secret("a.b-c_d~e+f/g==")), "REGISTER", "sip:x") == (
        "Bearer a.b-c_d~e+f/g=="
    )


@pytest.mark.parametrize(
    ("credentials", "fits"),
    [
        (password("x"), True),
        (password("x", realm="r"), True),
        (password("x", realm="R"), False),
        (password("x", realm="r."), False),
        (password(""), False),
        (Ha1Credentials("alice", "r", "sha-256", Secret("0A" * 32)), True),
        (Ha1Credentials("alice", "r", "SHA-256", Secret("0a" * 16)), False),
        (Ha1Credentials("alice", "r", "SHA-256", Secret("\u00e9" * 32)), False),
        (Ha1Credentials("alice", "r", "MD5", Secret("0a" * 16)), False),
        (Ha1Credentials("alice", "s", "SHA-256", Secret("0a" * 32)), False),
        (BearerCredentials(Secret("t")), False),
    ],
)
def test_T02_what_can_answer_a_sha_256_challenge_of_realm_r(credentials: object, fits: bool) -> None:
    assert can_answer(challenge(algorithm="SHA-256-sess"), credentials) is fits  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("credentials", "fits"),
    [
        (BearerCredentials(Secret("abc")), True),
        (BearerCredentials(Secret("abc"), realm="r"), True),
        (BearerCredentials(Secret("abc"), realm="s"), False),
        (BearerCredentials(Secret('a", Digest x="')), False),
        (password("x"), False),
    ],
)
def test_T13_what_can_answer_a_bearer_challenge(credentials: object, fits: bool) -> None:
    assert can_answer(Challenge("bearer", "r", algorithm=""), credentials) is fits  # type: ignore[arg-type]


def test_what_cannot_answer_is_refused_and_a_wiped_secret_proves_nothing() -> None:
    with pytest.raises(LocalProtocolError):
        digest_header(challenge(), password("x", realm="other"), "INVITE", "sip:b")
    gone = password("x")
    gone.password.wipe()
    with pytest.raises(LocalProtocolError, match="cannot answer"):
        digest_header(challenge(), gone, "INVITE", "sip:b")
    with pytest.raises(LocalProtocolError, match="wiped"):
        digest_module.make_ha1(challenge(), gone)


def test_A14_rspauth_compares_hex_in_any_case() -> None:
    assert verify_rspauth("abcdef", "ABCDEF")
    assert not verify_rspauth("abcdef", "abcdee")
    assert not verify_rspauth("abcdef", "\udcff")


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 111, 112, 119, 120, 127, 128, 129, 500])
def test_A08_the_fallback_is_sha512_256(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    assert sha512_256(data) == hashlib.new("sha512_256", data).hexdigest()


def test_A08_fips_180_4_example_of_sha512_256() -> None:
    assert sha512_256(b"abc") == "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"


def test_A08_without_openssl_the_fallback_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "algorithms_available", {"md5", "sha256"})
    assert digest_module._best_sha512_256() is sha512_256
