"""Nothing secret is left of a masked message, and nothing else is lost (T14)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.ua.net.wirelog import mask
from tests.support.speed import least_time

CANARY = b"c4n4ry"


def message(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"REGISTER sip:h SIP/2.0", b"Call-ID: 1", *lines, b"User-Agent: x"]) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "line",
    [
        b'Authorization: Digest username="alice", realm="r", nonce="c4n4ry", uri="sip:h", response="c4n4ry"',
        b'Proxy-Authorization:Digest response = c4n4ry,cnonce="c4n4ry",\r\n nonce="c4n4ry",nc=00000001',
        b'authorization : digest response="c4n\\"4ry c4n4ry", auts="c4n4ry"',
        b'Authorization: Digest response="c4n4ry',
        b"Authorization: Bearer c4n4ry",
        b"Authorization: Bearer\r\n c4n4ry",
        b"Authorization: Basic c4n4ry==",
        b"Authorization: NoOneKnows x=c4n4ry, y=c4n4ry",
        b"Authorization: c4n4ry",
        b'WWW-Authenticate: Digest realm="r", nonce="c4n4ry", opaque="c4n4ry"',
        b'Proxy-Authenticate: Digest realm="r",\r\n\tnonce="c4n4ry"',
        b'WWW-Authenticate: Digest realm="r", nonce="x", ik="c4n4ry", ck = c4n4ry',
        b'Authentication-Info: rspauth="c4n4ry", cnonce="c4n4ry", nextnonce="c4n4ry"',
        b"To: <sip:alice:c4n4ry@h>",
        b"To: <sips:alice:c4n4ry@h;x=y>, sip:b:c4n4ry@h",
    ],
)
def test_T14_headers(line: bytes) -> None:
    masked = mask(message(line))
    assert CANARY not in masked
    assert b"***" in masked
    assert masked.startswith(b"REGISTER sip:h SIP/2.0\r\nCall-ID: 1\r\n")
    assert masked.endswith(b"\r\nUser-Agent: x\r\n\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c4n4ry|2^20|1:4",
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c4n4ry|2^20|1:4;inline:c4n4ry|2^20|2:4",
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x|2^20 WSH=64 FEC_KEY=inline:c4n4ry",
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 INLINE:c4n4ry",
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline: c4n4ry",
        b"a=ice-pwd:c4n4ry",
        b"k=base64:c4n4ry",
        b"k=clear:c4n4ry",
        b"a=key-mgmt:mikey c4n4ry",
    ],
)
def test_T14_session_keys(line: bytes) -> None:
    masked = mask(message(body=b"v=0\r\n" + line + b"\r\nm=audio 1 RTP/AVP 0\r\n"))
    assert CANARY not in masked
    assert masked.endswith(b"\r\nm=audio 1 RTP/AVP 0\r\n")


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("credentials", [b"Bearer c4n4ry", b'Digest realm="r", nonce="c4n4ry", response="c4n4ry"'])
def test_T14_a_body_that_repeats_a_request(end: bytes, credentials: bytes) -> None:
    """message/sip and message/sipfrag (RFC 3420): a server says back what it did not understand."""
    lines = [b"REGISTER sip:h SIP/2.0", b"Authorization: " + credentials, b"To: <sip:a:c4n4ry@h>", b"", b""]
    masked = mask(message(b"Content-Type: message/sip", body=end.join(lines)))
    assert CANARY not in masked
    assert b"Authorization: " + credentials.split()[0] in masked


def test_T14_session_keys_after_lines_that_end_otherwise() -> None:
    """No message for the parser, but received and so written down."""
    assert CANARY not in mask(b"INVITE sip:h SIP/2.0\nTo: x\n\nv=0\na=ice-pwd:c4n4ry\na=crypto:1 X inline:c4n4ry\n")


def test_what_explains_a_failure_stays() -> None:
    line = b'Authorization: Digest username="alice", realm="r", algorithm=SHA-256, qop=auth, nc=00000002, response="x"'
    masked = mask(message(line, body=b"v=0\r\na=ice-ufrag:u\r\n"))
    for kept in (b'username="alice"', b'realm="r"', b"algorithm=SHA-256", b"nc=00000002", b"a=ice-ufrag:u"):
        assert kept in masked


def test_nothing_to_mask_nothing_changed() -> None:
    plain = message(b"To: <sip:alice@h:5060>", b"Contact: <sip:a@[::1]:5060;transport=udp>", body=b"k=prompt\r\nhello")
    assert mask(plain) == plain


@given(st.binary(max_size=200))
def test_T14_any_octets(data: bytes) -> None:
    mask(data)


@given(
    st.sampled_from(["Authorization", "proxy-authorization"]), st.text(max_size=40), st.sampled_from([" ", "\r\n\t"])
)
def test_T14_no_scheme_at_all_hides_a_secret(name: str, noise: str, gap: str) -> None:
    scheme = "".join(c for c in noise if c.isalnum() and c.isascii()) or "x"
    if scheme.lower() != "digest":
        assert CANARY not in mask(message(f"{name}: {scheme}{gap}".encode() + CANARY))


@pytest.mark.parametrize(
    "noise", [b"sip:" * 16000, b"a=crypto:" * 7000, b'response="' * 6000, b"Authorization: " * 4000]
)
def test_T24_time_is_linear(noise: bytes) -> None:
    bad = message(b"X: " + noise, b"Authorization: Digest " + noise, body=noise)
    assert least_time(lambda: mask(bad), rounds=2) < 2.0
