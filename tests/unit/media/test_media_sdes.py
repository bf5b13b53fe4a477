"""Keys in the SDP (RFC 4568): what is taken, what is refused, and that nothing falls back to clear in silence."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.errors import MediaFailed
from sipcli.media.agreement import Agreement
from sipcli.media.offer import Negotiator
from sipcli.media.sdes import SUITES, Crypto, parse_crypto

KEY_30 = base64.b64encode(bytes(range(30))).decode()


def _random() -> Any:
    numbers = itertools.count(1)
    return lambda octets: bytes((next(numbers) * 7 + n) % 256 for n in range(octets))


def _party(host: str, srtp: str, **more: Any) -> Negotiator:
    return Negotiator(rtp=(host, 4000), session_id=7, codecs=("PCMU",), srtp=srtp, random=_random(), **more)  # type: ignore[arg-type]


def _meet(a: Negotiator, b: Negotiator) -> tuple[Agreement, Agreement]:
    a.accept_answer(b.answer(a.offer()))
    assert a.agreement is not None and b.agreement is not None
    return a.agreement, b.agreement


@pytest.mark.parametrize("offers", ["optional", "required"])
@pytest.mark.parametrize("answers", ["optional", "required"])
def test_E02_both_sides_have_each_others_key(offers: str, answers: str) -> None:
    ours, theirs = _meet(_party("192.0.2.1", offers), _party("192.0.2.2", answers))
    assert ours.srtp is not None and theirs.srtp is not None
    assert ours.srtp.suite == theirs.srtp.suite == "AEAD_AES_128_GCM"
    assert (ours.srtp.ours, ours.srtp.theirs) == (theirs.srtp.theirs, theirs.srtp.ours)
    assert ours.srtp.ours != ours.srtp.theirs


def test_E02_the_answer_echoes_the_tag_of_the_line_that_it_takes() -> None:
    b = _party("192.0.2.2", "optional")
    offer = (
        "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 6000 RTP/SAVP 0\r\n"
        "a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA\r\n"
        f"a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:{KEY_30}|2^20\r\n"
        f"a=crypto:9 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}\r\n"
    )
    answer = b.answer(offer.encode()).decode()
    assert "m=audio 4000 RTP/SAVP 0" in answer
    lines = [line for line in answer.splitlines() if line.startswith("a=crypto")]
    assert len(lines) == 1 and lines[0].startswith("a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:")


def test_E02_savp_is_offered_when_required_and_avp_when_it_is_not() -> None:
    assert b"RTP/SAVP" in _party("192.0.2.1", "required").offer()
    optional = _party("192.0.2.1", "optional").offer()
    assert b"RTP/AVP" in optional and optional.count(b"a=crypto:") == 3
    assert b"a=crypto" not in _party("192.0.2.1", "off").offer()


def test_E02_optional_is_plain_with_whoever_cannot() -> None:
    ours, theirs = _meet(_party("192.0.2.1", "optional"), _party("192.0.2.2", "off"))
    assert ours.srtp is None and theirs.srtp is None


@pytest.mark.parametrize(("offers", "answers"), [("required", "off"), ("off", "required")])
def test_E02_required_is_no_call_otherwise(offers: str, answers: str) -> None:
    """Fails without the check of ``must`` in ``Negotiator._usable``."""
    with pytest.raises(MediaFailed) as caught:
        _meet(_party("192.0.2.1", offers), _party("192.0.2.2", answers))
    assert caught.value.code == 488


@pytest.mark.parametrize(
    "meddle",
    [
        lambda answer: b"\r\n".join(line for line in answer.split(b"\r\n") if not line.startswith(b"a=crypto")),
        lambda answer: answer.replace(b"a=crypto:1", b"a=crypto:2"),
        lambda answer: answer.replace(b"AEAD_AES_128_GCM", b"AES_CM_128_HMAC_SHA1_80"),
        lambda answer: answer + b"a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:" + KEY_30.encode() + b"\r\n",
    ],
    ids=["no key", "another tag", "another suite", "two keys"],
)
def test_E02_savp_never_falls_back_in_silence(meddle: Any) -> None:
    """Fails without the refusal in ``Negotiator._keys_chosen``: the call would go on in clear."""
    a, b = _party("192.0.2.1", "required"), _party("192.0.2.2", "required")
    with pytest.raises(MediaFailed, match=r"does not encrypt|can be used"):
        a.accept_answer(meddle(b.answer(a.offer())))
    assert a.agreement is None


def test_E02_what_was_encrypted_stays_so() -> None:
    a, b, plain = _party("192.0.2.1", "optional"), _party("192.0.2.2", "optional"), _party("192.0.2.2", "off")
    ours, _ = _meet(a, b)
    assert ours.srtp is not None
    with pytest.raises(MediaFailed):
        a.answer(plain.offer())
    with pytest.raises(MediaFailed, match="does not encrypt"):
        a.accept_answer(plain.answer(a.offer()))
    assert a.agreement == ours


def test_E02_a_later_exchange_keeps_the_keys() -> None:
    a, b = _party("192.0.2.1", "optional"), _party("192.0.2.2", "optional")
    first = _meet(a, b)[0].srtp
    a.hold = True
    assert _meet(a, b)[0].srtp == first
    assert _meet(b, a)[1].srtp == first or b.agreement is not None


def test_E02_of_two_lines_the_encrypted_one_is_taken() -> None:
    b = _party("192.0.2.2", "optional")
    head = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
    both = "m=audio 6000 RTP/AVP 0\r\nm=audio 6002 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"
    answer = b.answer(f"{head}{both}{KEY_30}\r\n".encode()).decode()
    assert "m=audio 0 RTP/AVP 0" in answer and "m=audio 4000 RTP/SAVP 0" in answer


@pytest.mark.parametrize(
    "value",
    [
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + base64.b64encode(bytes(29)).decode(),
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + base64.b64encode(bytes(31)).decode(),
        f"1 AEAD_AES_128_GCM inline:{KEY_30}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30} UNENCRYPTED_SRTP",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30} UNENCRYPTED_SRTCP",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30} WSH=64 UNAUTHENTICATED_SRTP",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30} KDR=1",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|2^20|1:4",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30};inline:{KEY_30}",
        f"x AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}",
        f"1 NULL_HMAC_SHA1_80 inline:{KEY_30}",
        "1 AES_CM_128_HMAC_SHA1_80 inline:!!!!",
        "",
    ],
)
def test_E02_what_would_not_protect_is_not_taken(value: str) -> None:
    """Key length, session parameters that switch protection off (RFC 4568 section 6.3), master key identifiers."""
    assert parse_crypto(value) is None


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_E02_a_key_may_come_without_its_padding(suite: Any) -> None:
    """As rtpengine writes it: RFC 4568 section 6.1 says base64, and of the signs that fill it up nothing."""
    master = bytes(range(suite.key + suite.salt))
    written = base64.b64encode(master).decode().rstrip("=")
    assert parse_crypto(f"1 {suite.name} inline:{written}") == Crypto(1, suite.name, master)
    assert parse_crypto(f"1 {suite.name} inline:{written}A") is None


def test_what_a_writer_lets_us_ignore_is_ignored() -> None:
    taken = parse_crypto(f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|1048576 WSH=128 -X=1")
    assert taken == Crypto(1, "AES_CM_128_HMAC_SHA1_80", bytes(range(30)))


def test_T14_no_repr_shows_a_key() -> None:
    ours, _ = _meet(_party("192.0.2.1", "required"), _party("192.0.2.2", "required"))
    assert ours.srtp is not None
    for said in (repr(ours), repr(ours.srtp), repr(Crypto(1, "x", b"\x41" * 30))):
        assert repr(ours.srtp.ours) not in said and repr(ours.srtp.theirs) not in said and "AAAA" not in said


@given(st.text(max_size=200))
def test_T24_any_text_is_a_key_or_none(text: str) -> None:
    crypto = parse_crypto(text)
    assert crypto is None or len(crypto.master) == sum(SUITES[crypto.suite][1:])
