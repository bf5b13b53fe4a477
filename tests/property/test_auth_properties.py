"""Challenges from anywhere: parsing never raises, quoting goes round, and no text can write a header line."""

from __future__ import annotations

import hashlib
import string

from hypothesis import given
from hypothesis import strategies as st

from sipcli.credentials import PasswordCredentials, Secret
from sipcli.sip.authn.authinfo import parse_auth_info
from sipcli.sip.authn.challenge import SUPPORTED, Challenge, parse_challenges, split_challenges
from sipcli.sip.authn.digest import digest_header
from sipcli.sip.authn.proof import NonceCounter
from sipcli.sip.authn.sha512_256 import sha512_256
from sipcli.sip.syntax.grammar import quote
from sipcli.sip.syntax.message import Request, Response, parse_message

# What can stand in a header line: no line end, and octets that were no UTF-8 as surrogates.
ANY = st.text(
    st.one_of(
        st.sampled_from('",\\= \t;'),
        st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"),
        st.integers(0xDC80, 0xDCFF).map(chr),
    )
)
# Pieces that look like a challenge, in any order: gets further into the grammar than plain noise does.
PIECES = st.lists(
    st.sampled_from(
        ["Digest ", "Bearer ", "Basic ", "realm", "nonce", "qop", "algorithm", "stale", "opaque", "=", '"', ",", ", ",
         " ", "\\", '"a"', "MD5", "SHA-256", "true", "auth", "https://as", "authz_server", "x==", "\x00", "é"]
    ),
    max_size=30,
).map("".join)  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
TOKEN = st.text(string.ascii_letters + string.digits + "-.!%*_+`'~", min_size=1, max_size=12)


class Lines:
    """As much of a response as the parser needs: lines that no real one would hold, too."""

    def __init__(self, *values: str) -> None:
        self.values = values

    def all(self, name: str) -> tuple[str, ...]:
        return self.values if name.startswith("WWW") else ()


@given(st.lists(ANY | PIECES | ANY.map("Digest {}".format), max_size=5))
def test_T13_T24_parsing_never_raises(values: list[str]) -> None:
    challenges, skipped = parse_challenges(Lines(*values))  # type: ignore[arg-type]
    assert len(challenges) <= 20
    assert all(reason.why for reason in skipped)
    for challenge in challenges:
        assert not any(c in challenge.realm + challenge.nonce + (challenge.opaque or "") for c in "\0\r\n\x1b")


@given(ANY | PIECES)
def test_T24_authentication_info_never_raises(value: str) -> None:
    parse_auth_info(value)


@given(ANY | PIECES)
def test_T24_every_character_is_accounted_for(value: str) -> None:
    """Nothing is passed over in silence: what is not a challenge is a flaw."""
    found = list(split_challenges(value))
    assert bool(found) == bool(value.strip(" \t,"))


@given(st.lists(st.tuples(TOKEN, st.dictionaries(TOKEN.map(str.lower), TEXT, min_size=1, max_size=4)), max_size=4))
def test_A06_A12_any_challenges_in_one_value_come_apart_as_they_were_put_together(
    wanted: list[tuple[str, dict[str, str]]],
) -> None:
    value = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quote(text)}" for name, text in params.items()) for scheme, params in wanted
    )
    assert [(scheme, params, flaw) for scheme, params, flaw in split_challenges(value)] == [
        (scheme, params, "") for scheme, params in wanted
    ]


@given(
    realm=TEXT,
    nonce=TEXT.filter(bool),
    opaque=st.none() | TEXT,
    username=TEXT,
    secret=TEXT.filter(bool),
    algorithm=st.sampled_from(SUPPORTED),
    qop=st.sampled_from([("auth",), ("auth-int",), ("auth", "auth-int")]),
    charset=st.sampled_from([None, "UTF-8"]),
    userhash=st.booleans(),
    nc=st.integers(1, 0xFFFFFFFF),
)
def test_A12_T13_a_header_survives_the_wire_and_says_what_was_meant(
    realm: str, nonce: str, opaque: str | None, username: str, secret: str, algorithm: str, qop: tuple[str, ...],
    charset: str | None, userhash: bool, nc: int,
) -> None:  # fmt: skip
    challenge = Challenge(
        "digest", realm, nonce, opaque, algorithm=algorithm, qop=qop, charset=charset, userhash=userhash
    )
    credentials = PasswordCredentials(username, Secret(secret))
    value = digest_header(challenge, credentials, "REGISTER", "sip:example.com", nc=nc, cnonce="c0")
    plain = [("Via", "SIP/2.0/UDP h;branch=z9hG4bKx"), ("From", "<sip:a@b>;tag=1"), ("To", "<sip:a@b>")]
    request = Request.build(
        "REGISTER", "sip:example.com", [*plain, ("Call-ID", "1"), ("CSeq", "1 REGISTER"), ("Authorization", value)]
    )
    again = parse_message(request.to_bytes())
    (line,) = again.all("Authorization")
    ((scheme, params, flaw),) = split_challenges(line)
    assert (scheme, flaw) == ("Digest", "")
    assert (params["realm"], params["nonce"], params.get("opaque")) == (realm, nonce, opaque)
    assert (params["nc"], params["qop"], params["uri"]) == (f"{nc:08x}", qop[0], "sip:example.com")
    assert ("username" in params) != ("username*" in params)
    assert len(params["response"]) == (32 if algorithm.startswith("MD5") else 64)


@given(TEXT, TEXT.filter(bool))
def test_A12_a_challenge_survives_the_wire(realm: str, nonce: str) -> None:
    value = f"Digest realm={quote(realm)}, nonce={quote(nonce)}"
    response = Response.build(401, None, [("WWW-Authenticate", value)])
    (challenge,), skipped = parse_challenges(response)
    assert (challenge.realm, challenge.nonce, skipped) == (realm, nonce, ())


@given(st.binary(max_size=400))
def test_A08_the_fallback_agrees_with_openssl(data: bytes) -> None:
    assert sha512_256(data) == hashlib.new("sha512_256", data).hexdigest()


@given(st.lists(st.sampled_from("abcde"), max_size=60), st.integers(1, 5))
def test_A13_a_nonce_is_never_counted_twice_while_it_is_remembered(uses: list[str], limit: int) -> None:
    counter = NonceCounter(limit)
    seen: set[tuple[str, int]] = set()
    for nonce in uses:
        count = counter.next(nonce)
        if count == 1:
            seen = {use for use in seen if use[0] != nonce}  # new, or forgotten because others were used since
        assert (nonce, count) not in seen
        seen.add((nonce, count))
