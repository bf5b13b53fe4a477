"""SRTP: the published vectors of RFC 7714 and 3711, wrap and replay, and what a stranger can do."""

from __future__ import annotations

import itertools

import pytest

from sipcli.media.protect import Protection
from sipcli.media.rtp import RtpPacket
from sipcli.media.sdes import SUITES, SrtpKeys
from sipcli.media.srtp import SrtpGuard
from tests.support.real import require


@pytest.fixture(autouse=True)
def _libsrtp() -> None:
    require("srtp")


def _pair(suite: str) -> tuple[SrtpGuard, SrtpGuard]:
    octets = sum(SUITES[suite][1:])
    one, two = bytes(range(octets)), bytes(range(100, 100 + octets))
    return SrtpGuard(SrtpKeys(suite, one, two)), SrtpGuard(SrtpKeys(suite, two, one))


def _packet(sequence: int, payload: bytes = b"hello") -> bytes:
    return RtpPacket(
        payload_type=0, sequence=sequence & 0xFFFF, timestamp=160 * sequence & 0xFFFFFFFF, ssrc=9, payload=payload
    ).to_bytes()


@pytest.mark.parametrize("suite", SUITES)
def test_E02_what_is_protected_comes_back_and_is_not_readable(suite: str) -> None:
    ours, theirs = _pair(suite)
    packet = _packet(1, b"a secret of twenty octets")
    wire = ours.protect(packet)
    assert b"secret" not in wire
    assert theirs.unprotect(wire) == packet
    report = bytes.fromhex("80c90001") + (9).to_bytes(4, "big")
    wire = ours.protect(report, rtcp=True)
    assert len(wire) > len(report)
    assert theirs.unprotect(wire, rtcp=True) == report


def test_E02_the_sequence_wraps_and_the_roll_over_is_counted() -> None:
    """RFC 3711 section 3.3.1: both sides count the wraps, also where packets are missing."""
    ours, theirs = _pair("AES_CM_128_HMAC_SHA1_80")
    for sequence in itertools.chain(range(65000, 66000), range(66000, 131000, 3000), range(131000, 131200)):
        packet = _packet(sequence)
        assert theirs.unprotect(ours.protect(packet)) == packet
    assert theirs.refused == 0


@pytest.mark.parametrize("suite", SUITES)
def test_E02_a_new_key_of_the_peers_leaves_our_roll_over_alone(suite: str) -> None:
    """Fails when both directions begin anew: after 65536 packets our key would encrypt with a keystream it had used."""
    ours, theirs = _pair(suite)
    replayed = theirs.protect(_packet(1))
    assert ours.unprotect(replayed) is not None
    for number in (65534, 65535, 65536):
        assert theirs.unprotect(ours.protect(_packet(number))) == _packet(number)
    keys = ours.keys
    new = bytes(reversed(keys.theirs))
    ours.rekey(SrtpKeys(suite, keys.ours, new))
    assert theirs.unprotect(ours.protect(_packet(65537))) == _packet(65537)
    theirs.rekey(SrtpKeys(suite, new, keys.ours))
    assert theirs.unprotect(ours.protect(_packet(65538))) == _packet(65538)
    assert ours.unprotect(theirs.protect(_packet(2))) == _packet(2)
    assert ours.unprotect(replayed) is None
    assert ours.refused == 1


def test_E02_a_replayed_packet_is_heard_once() -> None:
    """Fails when ``SrtpGuard.unprotect`` gives back what libsrtp refuses."""
    ours, theirs = _pair("AEAD_AES_128_GCM")
    wires = [ours.protect(_packet(n)) for n in range(10)]
    assert all(theirs.unprotect(wire) for wire in wires)
    assert [theirs.unprotect(wire) for wire in wires] == [None] * 10
    assert theirs.refused == 10


@pytest.mark.parametrize("suite", SUITES)
def test_E02_a_changed_bit_anywhere_is_a_forgery(suite: str) -> None:
    ours, theirs = _pair(suite)
    wire = ours.protect(_packet(1))
    for octet in range(len(wire)):
        forged = bytearray(wire)
        forged[octet] ^= 0x10
        assert theirs.unprotect(bytes(forged)) is None
    assert theirs.unprotect(wire) == _packet(1)


def test_E02_what_is_refused_is_counted_from_nought() -> None:
    protection = Protection()
    assert protection.refused == 0
    octets = bytes(sum(SUITES["AES_CM_128_HMAC_SHA1_80"][1:]))
    protection.key(SrtpKeys("AES_CM_128_HMAC_SHA1_80", octets, octets))
    assert protection.unprotect(_packet(1)) is None
    assert protection.refused == 1


@pytest.mark.parametrize("data", [b"", b"\x80", bytes(11), bytes(1500), b"\x80" * 4000], ids=len)
def test_what_is_no_packet_is_counted(data: bytes) -> None:
    _, theirs = _pair("AES_CM_128_HMAC_SHA1_80")
    assert theirs.unprotect(data) is None
    assert theirs.unprotect(data, rtcp=True) is None
    assert theirs.refused == 2


@pytest.mark.parametrize(("length", "heard"), [(1336, True), (1337, False)])
def test_T23_E02_a_packet_as_long_as_libsrtp_takes_is_heard_and_no_longer_one(length: int, heard: bool) -> None:
    ours, theirs = _pair("AES_CM_128_HMAC_SHA1_80")
    plain = _packet(1, bytes(length - 12 - 10))  # less the header and the tag
    wire = ours.protect(plain)
    assert len(wire) == length
    assert theirs.unprotect(wire) == (plain if heard else None)


def test_E02_a_packet_in_clear_is_not_believed() -> None:
    _, theirs = _pair("AES_CM_128_HMAC_SHA1_80")
    assert theirs.unprotect(_packet(1, bytes(160))) is None


def test_E02_rfc_3711_key_derivation_is_the_rfcs() -> None:
    """RFC 3711 appendix B.3 gives a master key and its session keys; B.2 key stream. Together they fix a packet.

    The packet below is that of libsrtp's own and pjsip's test suites, made with this key (srtp_driver.c).
    """
    master = bytes.fromhex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6")
    guard = SrtpGuard(SrtpKeys("AES_CM_128_HMAC_SHA1_80", master, master))
    plain = bytes.fromhex("800f1234decafbadcafebabe" + "ab" * 16)
    wire = bytes.fromhex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb")
    assert guard.protect(plain) == wire
    assert SrtpGuard(SrtpKeys("AES_CM_128_HMAC_SHA1_80", master, master)).unprotect(wire) == plain


def test_E02_aes_gcm_is_the_rfcs() -> None:
    """RFC 7714: a packet and a report that libsrtp's own tests, and others', have as vectors (srtp_driver.c)."""
    master = bytes(range(16)) + bytes.fromhex("a0a1a2a3a4a5a6a7a8a9aaab")
    keys = SrtpKeys("AEAD_AES_128_GCM", master, master)
    plain = bytes.fromhex("800f1234decafbadcafebabe" + "ab" * 16)
    wire = bytes.fromhex("800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392")
    assert SrtpGuard(keys).protect(plain) == wire
    assert SrtpGuard(keys).unprotect(wire) == plain
    report = bytes.fromhex("81c8000bcafebabe" + "ab" * 16)
    wire = bytes.fromhex("81c8000bcafebabec98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001")
    assert SrtpGuard(keys).unprotect(wire, rtcp=True) == report
