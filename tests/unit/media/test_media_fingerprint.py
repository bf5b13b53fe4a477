"""What an SDP says of DTLS (RFC 8122, RFC 4145, RFC 8842), and what is not taken for a fingerprint."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.media.fingerprint import Fingerprint, find_dtls
from sipcli.media.sdp import parse_sdp

DER = b"a certificate"
GOOD = hashlib.sha256(DER).hexdigest()
TEXT = ":".join(GOOD[i : i + 2] for i in range(0, 64, 2)).upper()
HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"


def _find(session: str = "", media: str = "") -> object:
    text = HEAD + session + "m=audio 6000 UDP/TLS/RTP/SAVP 0\r\n" + media
    description = parse_sdp(text.encode())
    return find_dtls(description, description.media[0])


def test_E03_ours_is_sha_256_in_upper_case_pairs() -> None:
    assert str(Fingerprint.of(DER).attribute()) == f"fingerprint:sha-256 {TEXT}"


@pytest.mark.parametrize("value", [f"sha-256 {TEXT}", f"SHA-256 {TEXT.lower()}", f" sha-256  {TEXT} "])
def test_E03_a_fingerprint_is_read_and_fits_its_certificate_only(value: str) -> None:
    fingerprint = Fingerprint.parse(value)
    assert fingerprint is not None
    assert fingerprint.fits(DER)
    assert not fingerprint.fits(DER + b"!")


def test_E03_stronger_hashes_are_known() -> None:
    text = hashlib.sha512(DER).digest().hex(":")
    fingerprint = Fingerprint.parse(f"sha-512 {text}")
    assert fingerprint is not None and fingerprint.fits(DER)


@pytest.mark.parametrize(
    "value",
    [
        "sha-1 " + hashlib.sha1(DER).digest().hex(":"),
        "md5 " + hashlib.md5(DER).digest().hex(":"),
        f"sha-256 {TEXT[:-3]}",
        f"sha-256 {TEXT}:00",
        f"sha-384 {TEXT}",
        f"sha-256 {TEXT.replace(':', '')}",
        "sha-256",
        "sha-256 " + "ZZ:" * 31 + "ZZ",
        "",
    ],
)
def test_E03_what_says_too_little_is_no_fingerprint(value: str) -> None:
    """SHA-1 and MD5 (RFC 8122 section 5), wrong lengths, other notations."""
    assert Fingerprint.parse(value) is None


def test_E03_the_medias_own_word_counts_before_the_sessions() -> None:
    other = hashlib.sha256(b"other").digest().hex(":")
    found = _find(f"a=fingerprint:sha-256 {other}\r\na=setup:passive\r\n", f"a=fingerprint:sha-256 {TEXT}\r\n")
    assert found is not None
    assert [fingerprint.fits(DER) for fingerprint in found.fingerprints] == [True]  # type: ignore[attr-defined]
    assert found.setup == "passive"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "lines", ["", "a=fingerprint:sha-1 AB:CD\r\n", f"a=fingerprint:sha-256 {TEXT}\r\na=setup:holdconn\r\n"]
)
def test_E03_nothing_to_check_or_put_off_is_no_dtls(lines: str) -> None:
    """``holdconn`` MUST NOT be used with DTLS (RFC 8842 section 5.1)."""
    assert _find(media=lines) is None


@pytest.mark.parametrize(
    ("value", "taken"), [("x" * 19, None), ("x" * 20, "x" * 20), ("x" * 256, None), ("ä" * 24, None)]
)
def test_E03_a_tls_id_has_20_to_255_characters(value: str, taken: str | None) -> None:
    found = _find(media=f"a=fingerprint:sha-256 {TEXT}\r\na=tls-id:{value}\r\n")
    assert found is not None and found.tls_id == taken  # type: ignore[attr-defined]


@given(st.text(max_size=300))
def test_T24_any_text_is_a_fingerprint_or_none(text: str) -> None:
    fingerprint = Fingerprint.parse(text)
    assert fingerprint is None or len(fingerprint.digest) in (32, 48, 64)
