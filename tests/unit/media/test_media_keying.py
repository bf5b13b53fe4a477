"""Who encrypts by what, by offer and answer: DTLS-SRTP beside keys in the SDP (RFC 5763, RFC 8842, RFC 8643)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from sipcli.errors import MediaFailed
from sipcli.media import dtls
from sipcli.media.agreement import Agreement
from sipcli.media.dtls import DtlsIdentity
from sipcli.media.offer import Negotiator
from tests.support.real import require


@pytest.fixture(autouse=True)
def _needs_dtls() -> None:
    require("dtls")


def _random() -> Callable[[int], bytes]:
    numbers = itertools.count(1)
    return lambda octets: bytes((next(numbers) * 7 + n) % 256 for n in range(octets))


def _party(host: str, srtp: str = "required", keys: str = "dtls", **more: Any) -> Negotiator:
    return Negotiator(
        rtp=(host, 4000), session_id=7, codecs=("PCMU",), srtp=srtp, srtp_keys=keys, random=_random(), **more
    )  # type: ignore[arg-type]


def _meet(a: Negotiator, b: Negotiator, meddle: Callable[[bytes], bytes] = bytes) -> tuple[Agreement, Agreement]:
    a.accept_answer(meddle(b.answer(a.offer())))
    assert a.agreement is not None and b.agreement is not None
    return a.agreement, b.agreement


def _pair() -> tuple[Negotiator, Negotiator]:
    return _party("192.0.2.1"), _party("192.0.2.2")


def _line(sdp: bytes, name: str) -> str:
    return next(line for line in sdp.decode().splitlines() if line.startswith(f"a={name}:"))


def _without(sdp: bytes, *names: str) -> bytes:
    starts = tuple(f"a={name}".encode() for name in names)
    return b"".join(line for line in sdp.splitlines(keepends=True) if not line.startswith(starts))


def test_E03_an_offer_is_actpass_with_a_fingerprint_and_an_id() -> None:
    offer = _party("192.0.2.1").offer()
    assert b"m=audio 4000 UDP/TLS/RTP/SAVP 0" in offer
    assert _line(offer, "setup") == "a=setup:actpass"
    assert _line(offer, "fingerprint").startswith("a=fingerprint:sha-256 ")
    assert len(_line(offer, "tls-id")) >= len("a=tls-id:") + 20
    assert b"crypto" not in offer and b"a=connection" not in offer


def test_E03_the_answer_is_active_and_both_know_whose_certificate_it_will_be() -> None:
    a, b = _pair()
    ours, theirs = _meet(a, b)
    assert ours.dtls is not None and theirs.dtls is not None
    assert (ours.dtls.role, theirs.dtls.role) == ("server", "client")
    assert ours.dtls.fingerprints == {b.keying.identity.fingerprint}
    assert theirs.dtls.fingerprints == {a.keying.identity.fingerprint}
    assert ours.dtls.ids == theirs.dtls.ids[::-1]
    assert ours.srtp is None and theirs.srtp is None


@pytest.mark.parametrize(
    ("offered", "answered", "role"),
    [("active", "passive", "server"), ("passive", "active", "client"), ("actpass", "active", "client")],
)
def test_E03_the_answer_takes_the_other_role(offered: str, answered: str, role: str) -> None:
    a, b = _pair()
    answer = b.answer(a.offer().replace(b"setup:actpass", f"setup:{offered}".encode()))
    assert _line(answer, "setup") == f"a=setup:{answered}"
    assert b.agreement is not None and b.agreement.dtls is not None and b.agreement.dtls.role == role


def test_E03_an_answer_that_is_passive_makes_us_the_client() -> None:
    a, b = _pair()
    ours, _ = _meet(a, b, lambda answer: answer.replace(b"setup:active", b"setup:passive"))
    assert ours.dtls is not None and ours.dtls.role == "client"


@pytest.mark.parametrize(
    "meddle",
    [
        lambda answer: _without(answer, "fingerprint"),
        lambda answer: answer.replace(b"setup:active", b"setup:actpass"),
        lambda answer: answer.replace(b"setup:active", b"setup:holdconn"),
        lambda answer: answer.replace(b"fingerprint:sha-256", b"fingerprint:sha-1"),
        lambda answer: (
            _without(answer, "fingerprint", "setup") + b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"
        ),
    ],
    ids=["no fingerprint", "actpass", "holdconn", "a weak hash", "a key in the SDP instead"],
)
@pytest.mark.parametrize("policy", ["optional", "required"])
def test_E03_an_answer_without_a_certificate_to_check_is_no_call(meddle: Callable[[bytes], bytes], policy: str) -> None:
    """Fails without the refusal in ``Keying.chosen``: the call would go on in clear."""
    a, b = _party("192.0.2.1"), _party("192.0.2.2", policy)
    with pytest.raises(MediaFailed, match="does not encrypt"):
        _meet(a, b, meddle)
    assert a.agreement is None


def test_E03_without_an_id_in_the_offer_the_answer_has_none() -> None:
    a, b = _pair()
    answer = b.answer(_without(a.offer(), "tls-id"))
    assert b"tls-id" not in answer


def test_E03_hold_and_resume_keep_the_association() -> None:
    a, b = _pair()
    first = _meet(a, b)
    for held in (True, False):
        a.hold = held
        again = _meet(a, b)
        assert (again[0].dtls, again[1].dtls) == (first[0].dtls, first[1].dtls)
    swapped = _meet(b, a)
    assert (swapped[1].dtls, swapped[0].dtls) == (first[0].dtls, first[1].dtls)


def test_E03_later_offers_are_actpass_and_name_the_same_association() -> None:
    a, b = _pair()
    first = a.offer()
    a.accept_answer(b.answer(first))
    again = b.offer()
    assert _line(again, "setup") == "a=setup:actpass"
    assert _line(a.offer(), "tls-id") == _line(first, "tls-id")
    assert b"UDP/TLS/RTP/SAVP" in again


@pytest.mark.parametrize("change", ["tls-id", "fingerprint"])
def test_E03_another_id_or_certificate_is_another_association(change: str) -> None:
    a, b = _pair()
    _, first = _meet(a, b)
    own_id = first.dtls.ids[0] if first.dtls is not None else ""
    offer = a.offer()
    before = _line(offer, change)
    after = "a=tls-id:" + "z" * 24 if change == "tls-id" else str(DtlsIdentity.generate().fingerprint.attribute())
    answer = b.answer(offer.replace(before.encode(), ("a=" + after.removeprefix("a=")).encode()))
    assert b.agreement is not None and b.agreement.dtls is not None
    assert b.agreement.dtls != first.dtls
    assert _line(answer, "tls-id") == f"a=tls-id:{b.agreement.dtls.ids[0]}" != f"a=tls-id:{own_id}"


def test_E03_without_an_id_a_peer_that_moves_wants_a_new_association_and_one_that_holds_does_not() -> None:
    a, b = _pair()
    b.answer(_without(a.offer(), "tls-id"))
    assert b.agreement is not None
    first = b.agreement.dtls
    b.answer(_without(a.offer(), "tls-id").replace(b"c=IN IP4 192.0.2.1", b"c=IN IP4 0.0.0.0"))
    assert b.agreement.dtls == first
    b.answer(_without(a.offer(), "tls-id").replace(b"m=audio 4000", b"m=audio 5000"))
    assert b.agreement.dtls != first


def test_E03_optional_is_a_plain_line_with_a_fingerprint_and_plain_with_whoever_cannot() -> None:
    """RFC 8643: opportunistic, and never in silence, for the event says that nothing is encrypted."""
    a = _party("192.0.2.1", "optional")
    offer = a.offer()
    assert b"RTP/AVP 0" in offer and b"a=fingerprint" in offer and b"a=setup:actpass" in offer
    ours, _ = _meet(a, _party("192.0.2.2", "off"))
    assert ours.keys_by is None
    a = _party("192.0.2.1", "optional")
    ours, theirs = _meet(a, _party("192.0.2.2", "optional", "any"))
    assert ours.keys_by == theirs.keys_by == "dtls"
    with pytest.raises(MediaFailed, match="does not encrypt"):
        a.accept_answer(_party("192.0.2.2", "off").answer(a.offer()))


def test_any_asks_by_sdes_and_takes_what_is_asked() -> None:
    offer = _party("192.0.2.1", "required", "any").offer()
    assert b"a=crypto" in offer and b"fingerprint" not in offer
    for keys in ("dtls", "sdes"):
        ours, theirs = _meet(_party("192.0.2.1", "required", keys), _party("192.0.2.2", "optional", "any"))
        assert ours.keys_by == theirs.keys_by == keys


def test_E02_without_tls_no_key_is_written_or_taken_and_dtls_still_is() -> None:
    """Fails without *secure* in ``Keying``: the key would be in every hop's log."""
    open_wire = _party("192.0.2.2", "optional", "any", secure=False)
    assert b"a=crypto" not in open_wire.offer()
    _, theirs = _meet(_party("192.0.2.1", "optional", "sdes"), _party("192.0.2.2", "optional", "any", secure=False))
    assert theirs.keys_by is None
    _, theirs = _meet(_party("192.0.2.1"), _party("192.0.2.2", "optional", "any", secure=False))
    assert theirs.keys_by == "dtls"


@pytest.mark.parametrize(
    ("srtp", "keys", "secure", "said"),
    [
        ("optional", "any", False, "signalling that others can read"),
        ("off", "any", True, "switched off here"),
        ("optional", "dtls", True, "switched off here"),
    ],
)
def test_E02_a_secure_line_that_we_cannot_take_is_not_called_a_lack_of_codecs(
    srtp: str, keys: str, secure: bool, said: str
) -> None:
    offer = _party("192.0.2.1", "required", "sdes").offer()
    with pytest.raises(MediaFailed, match=said):
        _party("192.0.2.2", srtp, keys, secure=secure).answer(offer)


def test_E02_a_key_of_a_wrong_length_is_said_where_we_could_do_without_keys_too() -> None:
    offer = re.sub(rb"inline:[^\r]*", b"inline:c2hvcnQ=", _party("192.0.2.1", "required", "sdes").offer())
    with pytest.raises(MediaFailed, match="none of the peer's SRTP keys can be used"):
        _party("192.0.2.2", "optional", "any").answer(offer)


def test_E02_codecs_are_blamed_where_only_they_are_missing() -> None:
    offer = _party("192.0.2.1", "required", "sdes").offer().replace(b" 0 ", b" 18 ").replace(b"PCMU", b"G729")
    with pytest.raises(MediaFailed, match="no codec in common"):
        _party("192.0.2.2", "optional", "any").answer(offer)


def test_E03_who_shuts_dtls_out_refuses_it() -> None:
    with pytest.raises(MediaFailed, match="switched off") as caught:
        _meet(_party("192.0.2.1"), _party("192.0.2.2", "optional", "sdes"))
    assert caught.value.code == 488


def test_without_the_extra_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    offer = _party("192.0.2.1").offer()
    monkeypatch.setattr(dtls, "missing", lambda: "the package pyOpenSSL (pip install 'sipcli[dtls]')")
    with pytest.raises(MediaFailed, match=r"needs DTLS-SRTP, which takes .* 'sipcli\[dtls\]'"):
        _party("192.0.2.2", "optional", "any").answer(offer)


def test_E03_the_old_name_of_the_protocol_is_taken_too() -> None:
    """RTP/SAVPF with a fingerprint and no key, as browsers had it (RFC 8829 section 5.1.2)."""
    a, b = _pair()
    answer = b.answer(a.offer().replace(b"UDP/TLS/RTP/SAVP", b"RTP/SAVPF"))
    assert b"m=audio 4000 RTP/SAVPF 0" in answer
    assert b.agreement is not None and b.agreement.keys_by == "dtls"


def test_E03_every_session_has_a_certificate_of_its_own() -> None:
    a, b = _pair()
    assert a.keying.identity.fingerprint != b.keying.identity.fingerprint


def test_T14_no_repr_shows_a_private_key() -> None:
    identity = DtlsIdentity.generate()
    assert "key" not in repr(identity).replace("DtlsIdentity", "").lower()
