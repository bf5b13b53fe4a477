"""DTLS handshakes between two ends of ours: keys, certificates, loss, and octets that are no good (RFC 5763, 5764)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipcli.media.agreement import Address
from sipcli.media.dtls import MTU, DtlsAssociation, DtlsIdentity, datagrams_of
from sipcli.media.fingerprint import DtlsTerms, Fingerprint
from sipcli.media.handshake import LIMIT_S, Handshakes
from tests.support.real import require

if TYPE_CHECKING:
    from OpenSSL import SSL

A, B, STRANGER = ("192.0.2.1", 4000), ("192.0.2.2", 6000), ("203.0.113.66", 5000)
A_RTCP, B_RTCP = ("192.0.2.1", 4001), ("192.0.2.2", 6001)

require("dtls")
ALICE, BOB, MALLORY = (DtlsIdentity.generate() for _ in range(3))


def _ends(
    client: DtlsIdentity = ALICE, server: DtlsIdentity = BOB, *, knows: DtlsIdentity = BOB, known: DtlsIdentity = ALICE
) -> tuple[DtlsAssociation, DtlsAssociation]:
    """*knows* is whose fingerprint the client was told, *known* whose the server was."""
    return (
        DtlsAssociation(client, client=True, fingerprints=[knows.fingerprint]),
        DtlsAssociation(server, client=False, fingerprints=[known.fingerprint]),
    )


def _talk(a: DtlsAssociation, b: DtlsAssociation) -> None:
    """Every datagram arrives, until nobody has anything to say."""
    while True:
        to_b, to_a = a.take(), b.take()
        if not to_a and not to_b:
            return
        for data in to_b:
            b.receive(data)
        for data in to_a:
            a.receive(data)


def test_E03_both_ends_come_to_the_same_keys() -> None:
    a, b = _ends()
    _talk(a, b)
    assert a.keys is not None and b.keys is not None
    assert (a.keys.ours, a.keys.theirs) == (b.keys.theirs, b.keys.ours)
    assert a.keys.ours != a.keys.theirs
    assert a.keys.suite == b.keys.suite == "AEAD_AES_128_GCM"
    assert len(a.keys.ours) == 16 + 12
    assert not a.failure and a.timeout() is None


@pytest.mark.parametrize("who", ["server", "client"])
def test_E03_another_certificate_than_the_sdp_says_gives_no_keys(who: str) -> None:
    """Fails without ``_judge``: whoever sits in between would be talked to."""
    a, b = _ends(server=MALLORY) if who == "server" else _ends(client=MALLORY)
    _talk(a, b)
    assert a.keys is None and b.keys is None
    deceived = a if who == "server" else b
    assert deceived.mismatched and "fingerprint" in deceived.failure
    assert (b if who == "server" else a).failure


def _call(server: DtlsAssociation, context: SSL.Context) -> None:
    """A client that is not ours, and does what *context* says."""
    from OpenSSL import SSL

    context.set_options(SSL.OP_NO_QUERY_MTU)
    client = SSL.Connection(context, None)
    client.set_ciphertext_mtu(1200)
    client.set_connect_state()
    for _ in range(4):
        try:
            client.do_handshake()
        except SSL.Error:
            pass
        try:
            for data in datagrams_of(client.bio_read(65536)):
                server.receive(data)
        except SSL.WantReadError:
            pass
        for data in server.take():
            client.bio_write(data)


def test_E03_a_peer_without_a_certificate_gives_no_keys() -> None:
    """Fails without both VERIFY_FAIL_IF_NO_PEER_CERT and the check in ``_finish``: an anonymous client is anybody."""
    from OpenSSL import SSL

    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
    server = DtlsAssociation(BOB, client=False, fingerprints=[ALICE.fingerprint])
    _call(server, context)
    assert server.keys is None and server.failure


def test_E03_a_peer_that_speaks_no_srtp_gives_no_keys() -> None:
    from OpenSSL import SSL

    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(ALICE.certificate)
    context.use_privatekey(ALICE.key)
    server = DtlsAssociation(BOB, client=False, fingerprints=[ALICE.fingerprint])
    _call(server, context)
    assert server.keys is None and "no profile for SRTP" in server.failure


def test_E03_no_datagram_is_longer_than_every_path_carries() -> None:
    a, b = _ends()
    lengths = []
    for _ in range(3):
        for sender, receiver in ((a, b), (b, a)):
            for data in sender.take():
                lengths.append(len(data))
                receiver.receive(data)
    assert a.keys is not None and max(lengths) <= MTU


@given(st.lists(st.binary(max_size=400), max_size=12), st.integers(500, 1300))
def test_E03_records_are_never_torn(bodies: list[bytes], mtu: int) -> None:
    records = [b"\x16\xfe\xfd" + bytes(8) + len(body).to_bytes(2) + body for body in bodies]
    datagrams = datagrams_of(b"".join(records), mtu)
    assert b"".join(datagrams) == b"".join(records)
    assert all(len(datagram) <= mtu for datagram in datagrams)


def test_E03_after_the_handshake_no_alert_takes_the_keys_back() -> None:
    a, b = _ends()
    _talk(a, b)
    keys = b.keys
    b.receive(bytes.fromhex("15fefd00000000000000090002022f"))
    a.close()
    for data in a.take():
        b.receive(data)
    assert b.keys == keys and not b.failure


HELLO = DtlsAssociation(ALICE, client=True, fingerprints=[BOB.fingerprint]).take()[0]


@settings(deadline=None)
@given(st.integers(0, len(HELLO)), st.binary(max_size=64))
def test_T24_a_prefix_of_a_hello_and_noise_behind_it_never_crash(cut: int, noise: bytes) -> None:
    server = DtlsAssociation(BOB, client=False, fingerprints=[ALICE.fingerprint])
    server.receive(HELLO[:cut] + noise)
    server.receive(noise)
    assert server.keys is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), min_size=1, max_size=4), st.integers(0, 3))
def test_T24_flipped_octets_in_any_flight_never_crash_and_never_give_different_keys(
    flips: list[tuple[int, int]], flight: int
) -> None:
    a, b = _ends()
    for number in range(4):
        sender, receiver = (a, b) if number % 2 == 0 else (b, a)
        for data in sender.take():
            if number == flight:
                octets = bytearray(data)
                for place, flip in flips:
                    octets[place % len(octets)] ^= flip
                data = bytes(octets)
            receiver.receive(data)
    if a.keys is not None and b.keys is not None:
        assert a.keys.ours == b.keys.theirs


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=6))
def test_T24_noise_at_a_client_never_crashes(noise: list[bytes]) -> None:
    client = DtlsAssociation(ALICE, client=True, fingerprints=[BOB.fingerprint])
    for data in noise:
        client.receive(b"\x16\xfe\xfd" + data)
    assert client.keys is None


# -- the handshakes of a stream ---------------------------------------------------------------------------------------


def _terms(role: str, peer: DtlsIdentity, *, ours: str = "o" * 24, theirs: str = "t" * 24) -> DtlsTerms:
    return DtlsTerms(role, frozenset([peer.fingerprint]), (ours, theirs))  # type: ignore[arg-type]


class Side:
    """One party: its handshakes, and where it is."""

    def __init__(self, identity: DtlsIdentity, rtp: Address, rtcp: Address) -> None:
        self.identity = identity
        self.places = {False: rtp, True: rtcp}
        self.all = Handshakes()

    def begin(self, role: str, peer: DtlsIdentity, remote: Address | None, rtcp: Address | None = None) -> bool:
        return self.all.begin(_terms(role, peer), self.identity, remote, rtcp, 0.0)


def _carry(a: Side, b: Side) -> None:
    """All that is said, to whom it was meant for."""
    while batch := [(sender, datagram) for sender in (a, b) for datagram in sender.all.take()]:
        for sender, datagram in batch:
            receiver = b if sender is a else a
            if datagram.destination in receiver.places.values():
                receiver.all.receive(datagram.data, sender.places[datagram.rtcp], 0.0, rtcp=datagram.rtcp)


def _sides() -> tuple[Side, Side]:
    return Side(ALICE, A, A_RTCP), Side(BOB, B, B_RTCP)


def test_E03_a_hello_that_comes_before_the_answer_is_kept_for_it() -> None:
    """RFC 5763 section 5: the offerer MUST be prepared to receive a ClientHello before the answer."""
    a, b = _sides()
    b.begin("client", ALICE, A)
    for datagram in b.all.take():
        a.all.receive(datagram.data, B, 0.0)
    assert not a.all.take()
    a.begin("server", BOB, B)
    _carry(a, b)
    assert a.all.keys() is not None and a.all.proven == B


def test_E03_a_port_of_its_own_for_rtcp_has_a_handshake_of_its_own() -> None:
    a, b = _sides()
    a.begin("server", BOB, B, B_RTCP)
    b.begin("client", ALICE, A, A_RTCP)
    _carry(a, b)
    rtp, rtcp = a.all.keys(), a.all.keys(rtcp=True)
    assert rtp is not None and rtcp is not None and rtp.ours != rtcp.ours
    assert b.all.keys(rtcp=True) is not None


def test_E03_the_same_terms_begin_no_new_handshake_and_others_do() -> None:
    a, b = _sides()
    assert a.begin("server", BOB, B) and b.begin("client", ALICE, A)
    _carry(a, b)
    keys = a.all.keys()
    assert not a.begin("server", BOB, B) and not b.begin("client", ALICE, A)
    assert not a.all.take() and not b.all.take()
    assert a.all.keys() is keys
    again = _terms("client", ALICE, theirs="n" * 24)
    assert b.all.begin(again, BOB, A, None, 1.0)
    assert a.all.begin(_terms("server", BOB, theirs="n" * 24), ALICE, B, None, 1.0)
    _carry(a, b)
    assert a.all.keys() not in (None, keys)


def test_E03_the_wrong_certificate_at_the_right_place_ends_it() -> None:
    a, b = _sides()
    b.identity = MALLORY
    a.begin("server", BOB, B)
    b.begin("client", ALICE, A)
    _carry(a, b)
    assert a.all.keys() is None
    assert "fingerprint" in a.all.failure


def test_T21_a_stranger_with_another_certificate_spoils_nothing() -> None:
    """Fails when ``_judge`` takes any mismatch for the peer's: a stranger could end every call that is being set up."""
    a, b = _sides()
    mallory = Side(MALLORY, STRANGER, STRANGER)
    a.begin("server", BOB, B)
    mallory.begin("client", ALICE, A)
    _carry(mallory, a)
    assert not a.all.failure and a.all.keys() is None
    b.begin("client", ALICE, A)
    _carry(a, b)
    assert a.all.keys() is not None and a.all.proven == B


def test_T21_many_strangers_make_room_for_the_peer() -> None:
    a, b = _sides()
    a.begin("server", BOB, B)
    b.begin("client", ALICE, A)
    first = b.all.take()
    for datagram in first:
        a.all.receive(datagram.data, B, 0.0)
    to_b = a.all.take()
    for port in range(50):
        a.all.receive(HELLO, ("203.0.113.9", 1000 + port), 0.0)
    a.all.take()
    for datagram in to_b:
        b.all.receive(datagram.data, A, 0.0)
    _carry(a, b)
    assert a.all.proven == B


def test_T21_a_peer_behind_a_nat_is_where_its_certificate_is() -> None:
    a, _ = _sides()
    b = Side(BOB, ("198.51.100.7", 41000), ("198.51.100.7", 41001))
    a.begin("server", BOB, B)
    b.begin("client", ALICE, A)
    _carry(a, b)
    assert a.all.proven == ("198.51.100.7", 41000)
    assert a.all.keys() is not None


def test_T23_in_a_strangers_name_nobody_gets_more_than_was_sent() -> None:
    """Who forges the source of a ClientHello has us send something to somebody else: once, and less.

    Fails without the cookie: a flight of 700 octets for each 150, and the same again after 1, 3, 7 and 15 s.
    """
    a, _ = _sides()
    a.begin("server", BOB, B)
    for port in range(20):
        a.all.receive(HELLO, ("203.0.113.9", 1000 + port), 0.0)
        (sent,) = a.all.take()
        assert sent.destination == ("203.0.113.9", 1000 + port)
        assert len(sent.data) < len(HELLO)
        assert sent.data[13] == 3, "a HelloVerifyRequest (RFC 6347 section 4.3.2)"
        assert a.all.due_in(0.0) is None, "nothing is repeated"


def test_E03_whom_the_signalling_named_is_asked_for_no_cookie() -> None:
    """A round trip less; and his SDP has audio sent there anyway."""
    a, _ = _sides()
    a.begin("server", BOB, B)
    a.all.receive(HELLO, B, 0.0)
    assert a.all.take()[0].data[13] == 2, "a ServerHello"


def test_T21_once_there_are_keys_nobody_else_is_answered() -> None:
    a, b = _sides()
    a.begin("server", BOB, B)
    b.begin("client", ALICE, A)
    _carry(a, b)
    a.all.receive(HELLO, STRANGER, 0.0)
    assert not a.all.take()
    assert a.all.strangers == 1


def test_T21_a_forged_alert_ends_no_handshake() -> None:
    """Fails when a broken try is final: one spoofed datagram would end the call."""
    a, b = _sides()
    b.begin("client", ALICE, A)
    b.all.take()
    b.all.receive(bytes.fromhex("15fefd00000000000000050002022f"), A, 0.0)
    assert not b.all.failure
    assert b.all.due_in(0.0) == 1.0
    a.begin("server", BOB, B)
    b.all.wake(1.0)
    _carry(a, b)
    assert b.all.keys() is not None


def test_E03_nobody_who_answers_is_waited_for_20_seconds_from_the_answer_on() -> None:
    b = _sides()[1]
    b.begin("client", ALICE, A)
    b.all.wake(1000.0)
    assert not b.all.failure, "while it rings the other side may take its time"
    b.all.hurry(1000.0)
    b.all.wake(1000.0 + LIMIT_S - 0.1)
    assert not b.all.failure
    b.all.wake(1000.0 + LIMIT_S)
    assert b.all.failure == "no keys for the audio after 20 s: nobody answered in the DTLS handshake"


def test_E03_with_ice_an_association_goes_where_the_path_goes() -> None:
    a, b = _sides()
    a.begin("server", BOB, B)
    b.begin("client", ALICE, A)
    _carry(a, b)
    keys = b.all.keys()
    b.all.move(STRANGER, None, 1.0)
    assert b.all.keys() is keys and b.all.proven == STRANGER


def test_a_fingerprint_of_a_real_certificate_is_of_its_der() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    assert ALICE.fingerprint == Fingerprint.of(ALICE.certificate.public_bytes(Encoding.DER))
