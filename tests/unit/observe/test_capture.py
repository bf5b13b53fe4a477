"""Captures, read back by a reader that counts for itself."""

from __future__ import annotations

import random
import struct
from ipaddress import ip_address

import pytest

from sipcli.observe.capture import BEGINNING, MAX_PAYLOAD, Address, address_of, packet_record
from tests.support.captures import Packet, packets

AT = 1_794_000_000_000_007
"""In November 2026, seven microseconds after a second."""
HERE: Address = (ip_address("192.0.2.5"), 41822)
THERE: Address = (ip_address("203.0.113.9"), 5061)
SIX: Address = (ip_address("2001:db8::5"), 41822)
SIX_THERE: Address = (ip_address("2001:db8::9"), 5060)


def read(source: Address, destination: Address, payload: bytes, at: int = AT) -> Packet:
    [packet] = packets(BEGINNING + packet_record(source, destination, payload, at))
    return packet


def test_no_packet_is_a_capture_too() -> None:
    assert packets(BEGINNING) == []


@pytest.mark.parametrize(
    ("source", "destination"), [(HERE, THERE), (THERE, HERE), (SIX, SIX_THERE)], ids=["out", "in", "ipv6"]
)
@pytest.mark.parametrize("payload", [b"", b"x", b"OPTIONS sip:h SIP/2.0\r\n\r\n"], ids=["empty", "odd", "even"])
def test_who_when_and_what(source: Address, destination: Address, payload: bytes) -> None:
    packet = read(source, destination, payload)
    assert packet.source == (str(source[0]), source[1])
    assert packet.destination == (str(destination[0]), destination[1])
    assert (packet.at, packet.payload, packet.missing) == (AT, payload, 0)


def test_a_datagram_octet_by_octet() -> None:
    """Against a sum made by hand: 192.0.2.1:5060 to 192.0.2.2:5060, "hi"."""
    port = 5060
    record = packet_record((ip_address("192.0.2.1"), port), (ip_address("192.0.2.2"), port), b"hi", 1_000_002)
    assert record.hex(" ", -4) == (
        "01000000 02000000 1e000000 1e000000 4500001e 00004000 4011b6cb c0000201 c0000202 13c413c4 000aebe4 6869"
    )


def test_one_after_the_other() -> None:
    records = (packet_record(HERE, THERE, bytes([65 + n]) * n, AT + n) for n in range(20))
    found = packets(BEGINNING + b"".join(records))
    assert [(packet.at - AT, packet.payload) for packet in found] == [(n, bytes([65 + n]) * n) for n in range(20)]


@pytest.mark.parametrize(("source", "destination"), [(HERE, THERE), (SIX, SIX_THERE)], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("more", [-1, 0, 1, 40_000])
def test_what_no_packet_holds_is_cut_and_says_so(source: Address, destination: Address, more: int) -> None:
    payload = random.Random(1).randbytes(MAX_PAYLOAD + more)
    packet = read(source, destination, payload)
    assert packet.payload == payload[:MAX_PAYLOAD]
    assert packet.missing == max(0, more)


@pytest.mark.parametrize(("source", "destination"), [(HERE, THERE), (SIX, SIX_THERE)], ids=["ipv4", "ipv6"])
def test_a_checksum_that_would_come_to_nothing(source: Address, destination: Address) -> None:
    """0 means that there is none (RFC 768), which IPv6 forbids: 0xffff is written, which sums up as well."""
    at = 16 + (20 if source is HERE else 40) + 6
    (sum_of_zeros,) = struct.unpack_from("!H", packet_record(source, destination, bytes(2), AT), at)
    record = packet_record(source, destination, struct.pack("!H", sum_of_zeros), AT)
    assert record[at : at + 2] == b"\xff\xff"
    packets(BEGINNING + record)


def test_any_payload_sums_up() -> None:
    chance = random.Random(7)
    for _ in range(300):
        payload = chance.randbytes(chance.randrange(60)) if chance.random() < 0.9 else b"\xff" * chance.randrange(9)
        source, destination = ((ip_address(chance.getrandbits(128)), chance.randrange(65536)) for _ in range(2))
        assert read(source, destination, payload).payload == payload


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.5:5060", ("192.0.2.5", 5060)),
        ("[2001:db8::5]:0", ("2001:db8::5", 0)),
        ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
        ("[::ffff:192.0.2.5]:5060", ("192.0.2.5", 5060)),
    ],
)
def test_an_address(text: str, address: tuple[str, int]) -> None:
    host, port = address_of(text)
    assert (str(host), port) == address


@pytest.mark.parametrize("text", ["", "192.0.2.5", "host:5060", "192.0.2.5:", "192.0.2.5:65536", "192.0.2.5:-1", ":1"])
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        address_of(text)


def test_the_zone_of_a_link_local_address_is_not_in_the_packet() -> None:
    packet = read(address_of("[fe80::1%eth0]:5060"), SIX, b"x")
    assert packet.source == ("fe80::1", 5060)


def test_both_families_at_once_are_ipv6() -> None:
    packet = read(HERE, SIX, b"x")
    assert ip_address(packet.source[0]) == ip_address("::ffff:192.0.2.5")
