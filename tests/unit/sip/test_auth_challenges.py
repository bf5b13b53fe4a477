"""What a 401 asks, as parsed from whatever a server sends."""

from __future__ import annotations

import tracemalloc

import pytest

from sipcli.sip.authn.challenge import (
    MAX_CHALLENGE_TEXT,
    MAX_CHALLENGES,
    Challenge,
    Skipped,
    parse_challenges,
    split_challenges,
)
from tests.support.authkit import asks, digest


def one(value: str) -> Challenge:
    (challenge,), skipped = parse_challenges(asks(value))
    assert skipped == ()
    return challenge


def why(value: str) -> str:
    challenges, (skipped,) = parse_challenges(asks(value))
    assert challenges == ()
    return skipped.why


def test_A06_A15_everything_a_digest_challenge_can_say() -> None:
    challenge = one(
        'Digest realm="example.com", domain="sip:a sip:b", nonce="abc==", opaque="o", stale=TRUE, algorithm=sha-256, '
        'qop="auth, auth-int", charset="utf-8", userhash=true, extra=1'
    )
    assert challenge == Challenge(
        scheme="digest", realm="example.com", nonce="abc==", opaque="o", stale=True, algorithm="SHA-256",
        qop=("auth", "auth-int"), userhash=True, charset="UTF-8", domain=("sip:a", "sip:b"), params=challenge.params,
    )  # fmt: skip
    assert dict(challenge.params)["extra"] == "1"
    assert challenge.header == "Authorization"


def test_A06_an_absent_algorithm_is_md5() -> None:
    challenge = one('Digest realm="r", nonce="n"')
    assert (challenge.algorithm, challenge.qop, challenge.stale, challenge.userhash) == ("MD5", (), False, False)


@pytest.mark.parametrize("text", ["true", "TRUE", '"True"', '"true"'])
def test_A05_stale_in_any_case_quoted_or_not(text: str) -> None:
    assert one(digest(stale=text)).stale


@pytest.mark.parametrize("text", ["false", '"yes"', "1", '""'])
def test_A05_anything_but_true_is_not_stale(text: str) -> None:
    assert not one(digest(stale=text)).stale


def test_A07_both_headers_are_read_whatever_the_status() -> None:
    challenges, _ = parse_challenges(asks(digest("a"), digest("b"), proxy=[digest("c")]))
    assert [(c.realm, c.proxy, c.header) for c in challenges] == [
        ("a", False, "Authorization"),
        ("b", False, "Authorization"),
        ("c", True, "Proxy-Authorization"),
    ]


def test_A06_several_challenges_in_one_header_value() -> None:
    value = (
        'Negotiate, NTLM TlRM==, Digest realm="a, Digest realm=", nonce="1" , '
        'Digest nonce = 2 ,realm="b",,Basic realm="c"'
    )
    challenges, skipped = parse_challenges(asks(value))
    assert [(c.realm, c.nonce) for c in challenges] == [("a, Digest realm=", "1"), ("b", "2")]
    assert [(s.scheme, s.why) for s in skipped] == [
        ("negotiate", "unknown scheme"),
        ("ntlm", "unknown scheme"),
        ("basic", "unknown scheme"),
    ]


def test_A06_unknown_scheme_and_algorithm_first_do_not_hide_what_follows() -> None:
    challenges, skipped = parse_challenges(
        asks('Fancy realm="example.com"', digest(algorithm="SHA3-512"), digest(algorithm="SHA-256"))
    )
    assert [c.algorithm for c in challenges] == ["SHA-256"]
    assert skipped == (
        Skipped("fancy", "example.com", "", "unknown scheme"),
        Skipped("digest", "example.com", "SHA3-512", "unknown algorithm"),
    )


@pytest.mark.parametrize(("text", "meant"), [("true", True), ("TRUE", True), ("false", False), ("1", False)])
def test_A15_userhash_is_true_or_it_is_not_asked_for(text: str, meant: bool) -> None:
    assert one(digest(userhash=text)).userhash is meant


@pytest.mark.parametrize(
    ("text", "meant"), [("UTF-8", "UTF-8"), ("utf-8", "UTF-8"), ("ISO-8859-1", None), ('""', None)]
)
def test_A15_no_charset_counts_but_utf_8(text: str, meant: str | None) -> None:
    assert one(digest(charset=text)).charset == meant


def test_A12_backslashes_are_unquoted() -> None:
    assert one(r'Digest realm="a\"b\\c\d", nonce="n"').realm == 'a"b\\cd'


def test_a_value_may_be_folded_and_contain_tabs() -> None:
    assert one('Digest\trealm="r",\t nonce="n"\t').realm == "r"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('Digest nonce="n"', "no realm"),
        ('Digest realm="r"', "no nonce"),
        ('Digest realm="r", nonce=""', "no nonce"),
        (f'Digest realm="r", nonce="{"n" * 1025}"', "the nonce is longer than 1024"),
        ('Digest realm="r", nonce="n", qop="auth-conf"', "unknown qop"),
        ('Digest realm="r", nonce="n", algorithm=MD5-sess', "a -sess algorithm without qop"),
        ('Digest realm="r", nonce="n", realm="s"', "realm is given twice"),
        ('Digest realm="r", nonce="n', "malformed"),
        ('Digest realm="r" nonce="n"', "malformed"),
        ('realm="r", nonce="n"', "no scheme"),
        ('"', "malformed"),
        ('Basic realm="r"', "unknown scheme"),
        ('Bearer realm="r", authz_server="http://as.example.com"', "authz_server is no https URI"),
        ('Bearer realm="r", authz_server="file:///etc/passwd"', "authz_server is no https URI"),
        (f'Digest realm="{"r" * 9000}", nonce="n"', "too long"),
    ],
)
def test_A10_A11_A28_T13_what_cannot_be_used_is_skipped_with_its_reason(value: str, reason: str) -> None:
    assert why(value) == reason


def test_A10_unknown_qops_are_ignored_beside_known_ones() -> None:
    assert one('Digest realm="r", nonce="n", qop="foo,auth"').qop == ("auth",)
    assert one('Digest realm="r", nonce="n", qop="foo , AUTH-INT ,Auth"').qop == ("auth-int", "auth")
    assert one('Digest realm="r", nonce="n", qop=auth-int').qop == ("auth-int",)


@pytest.mark.parametrize("text", ["", " ", ","])
def test_A11_an_empty_qop_is_an_absent_one(text: str) -> None:
    assert one(f'Digest realm="r", nonce="n", qop="{text}"').qop == ()


@pytest.mark.parametrize("control", ["\x01", "\x1b", "\x7f", "\x0b"])
def test_T13_control_characters_never_get_in(control: str) -> None:
    (raw,) = split_challenges(f'Digest realm="a{control}b", nonce="n"')
    assert raw.flaw == "control characters"
    (raw,) = split_challenges(f'Digest realm="r", nonce=n{control}n')
    assert raw.flaw in ("control characters", "malformed")


def test_T13_one_bad_challenge_does_not_spoil_its_neighbour() -> None:
    challenges, skipped = parse_challenges(asks('Digest realm="a\x01b", nonce="n", Digest realm="good", nonce="n"'))
    assert [c.realm for c in challenges] == ["good"]
    assert [s.why for s in skipped] == ["control characters"]


def test_T13_a_long_value_does_not_spoil_the_next() -> None:
    challenges, skipped = parse_challenges(asks(digest("x" * 9000), digest("good")))
    assert [c.realm for c in challenges] == ["good"]
    assert [s.why for s in skipped] == ["too long"]


def test_T13_twenty_challenges_are_read_and_no_more() -> None:
    challenges, skipped = parse_challenges(asks(*(digest(f"r{i}") for i in range(MAX_CHALLENGES))))
    assert (len(challenges), skipped) == (20, ())
    challenges, skipped = parse_challenges(asks(*(digest(f"r{i}") for i in range(200))))
    assert (len(challenges), [s.why for s in skipped]) == (20, ["too many challenges"])


def test_T13_nothing_is_read_beyond_the_twentieth() -> None:
    """What one value of 8 KiB makes us hold while it is read.  Fails with all items of it found at once."""
    response = asks("a," * (MAX_CHALLENGE_TEXT // 2))
    parse_challenges(response)  # what is made once and kept is made
    tracemalloc.start()
    try:
        challenges, skipped = parse_challenges(response)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(challenges), len(skipped), skipped[-1].why) == (0, 21, "too many challenges")
    assert peak < 8 * MAX_CHALLENGE_TEXT


def test_T13_all_of_them_together_are_capped() -> None:
    challenges, skipped = parse_challenges(asks(*(digest(f"{i}" * 1000) for i in range(1, 10))))
    assert len(challenges) == 7
    assert {s.why for s in skipped} == {"too long"}


def test_T13_what_is_too_long_is_noted_once_however_often_it_comes() -> None:
    """Fails without the look for ``_TOO_LONG``: a thousand notes, each an entry of an event."""
    long = f'Digest realm="{"r" * 9000}", nonce="n"'
    challenges, skipped = parse_challenges(asks(*[long] * 1000, digest()))
    assert len(challenges) == len(skipped) == 1


def test_A28_bearer_shows_server_scope_and_error() -> None:
    challenge = one(
        'Bearer realm="example.com", scope="sip openid", authz_server="https://as.example.com/x", error="invalid_token"'
    )
    assert challenge.scheme == "bearer"
    assert challenge.authz_server == "https://as.example.com/x"
    assert challenge.scope == ("sip", "openid")
    assert challenge.error == "invalid_token"


def test_A28_bearer_without_realm_or_server() -> None:
    challenge = one('Bearer scope="sip"')
    assert (challenge.realm, challenge.authz_server) == ("", None)


def test_an_empty_realm_is_a_realm() -> None:
    assert one('Digest realm="", nonce="n"').realm == ""


def test_A25_no_challenge_at_all() -> None:
    assert parse_challenges(asks()) == ((), ())
    assert parse_challenges(asks("")) == ((), ())
