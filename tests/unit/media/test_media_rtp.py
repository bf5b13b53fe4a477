"""RTP packets and what a receiver counts (RFC 3550 sections 5, 6.4.1, appendix A)."""

from __future__ import annotations

import pytest

from sipcli.errors import ParseError
from sipcli.media.rtp import RtpPacket, SourceStatistics, is_rtcp, parse_rtp


def _packet(sequence: int, timestamp: int | None = None, **more: object) -> RtpPacket:
    fields: dict[str, object] = {"payload_type": 0, "ssrc": 7, "payload": b"x" * 160} | more
    return RtpPacket(
        sequence=sequence & 0xFFFF,
        timestamp=160 * sequence & 0xFFFFFFFF if timestamp is None else timestamp,
        **fields,  # type: ignore[arg-type]
    )


def test_E01_a_packet_octet_by_octet() -> None:
    packet = RtpPacket(
        payload_type=8, sequence=0x1234, timestamp=0x01020304, ssrc=0xA0B0C0D0, payload=b"hi", marker=True
    )
    assert packet.to_bytes() == bytes.fromhex("80881234 01020304 a0b0c0d0") + b"hi"
    assert parse_rtp(packet.to_bytes()) == packet


def test_contributing_sources_extension_and_padding() -> None:
    packet = RtpPacket(
        payload_type=0, sequence=1, timestamp=2, ssrc=3, payload=b"abc", csrcs=(4, 5), extension=(0xBEDE, b"12345678")
    )
    assert parse_rtp(packet.to_bytes()) == packet
    padded = bytearray(packet.to_bytes() + bytes([0, 0, 3]))
    padded[0] |= 0x20
    assert parse_rtp(bytes(padded)) == packet


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(11),
        bytes(12),
        bytes([0x40]) + bytes(11),
        bytes([0x8F]) + bytes(11),
        bytes([0x90]) + bytes(11),
        bytes([0x90]) + bytes(13) + b"\xff\xff",
        bytes([0xA0]) + bytes(11),
        bytes([0xA0]) + bytes(11) + b"\x02",
    ],
)
def test_E01_what_is_not_version_2_or_shorter_than_it_says_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_rtp(data)


def test_E01_rtcp_is_told_apart_on_a_shared_port() -> None:
    assert is_rtcp(bytes([0x80, 200]))
    assert not is_rtcp(_packet(1).to_bytes())
    assert not is_rtcp(_packet(1, marker=True, payload_type=101).to_bytes())
    assert not is_rtcp(b"\x80")


def test_loss_and_order() -> None:
    source = SourceStatistics(7, 65534)
    # Sequence 65534 to 4 over the wrap, one missing, two swapped, one twice.
    for n, sequence in enumerate([65534, 65535, 0, 2, 1, 4, 4]):
        source.update(_packet(sequence, 160 * n), 0.02 * n)
    assert source.highest_sequence == 65536 + 4
    assert source.expected == 7
    assert source.received == 7
    assert source.lost == 0  # one lost, one twice: RFC 3550 section 6.4.1 says they cancel out
    assert source.report_interval() == (7, 7)
    source.update(_packet(9, 1600), 0.2)
    assert source.report_interval() == (5, 1)


def test_extended_sequence_numbers_are_handed_out() -> None:
    source = SourceStatistics(7, 65535)
    assert [source.update(_packet(n), 0.0) for n in (65535, 0, 65535, 3)] == [65535, 65536, 65535, 65539]


def test_a_jump_needs_a_second_packet_to_be_believed() -> None:
    source = SourceStatistics(7, 100)
    for n in range(100, 110):
        source.update(_packet(n), 0.02 * n)
    assert source.update(_packet(40000), 3.0) is None
    assert source.update(_packet(110), 3.0) == 110
    assert source.update(_packet(40000), 3.1) is None
    assert source.update(_packet(40001), 3.2) == 40001
    assert source.update(_packet(40002), 3.3) == 40002
    # What was sent before the restart stays counted, the one that was not believed is not.
    assert (source.expected, source.received) == (13, 13)


def test_jitter_by_the_formula_of_the_rfc() -> None:
    source = SourceStatistics(7, 0)
    arrivals = [0.0, 0.020, 0.050, 0.060, 0.095]
    jitter, transit = 0.0, None
    for n, arrival in enumerate(arrivals):
        source.update(_packet(n), arrival)
        now = arrival * 8000 - 160 * n
        if transit is not None:
            jitter += (abs(now - transit) - jitter) / 16
        transit = now
    assert source.jitter_s == pytest.approx(jitter / 8000)
    assert source.jitter_units == int(jitter)


def test_jitter_ignores_packets_that_share_a_timestamp() -> None:
    source = SourceStatistics(7, 0)
    for n in range(50):
        source.update(_packet(n, 4000), 0.02 * n)
    assert source.jitter_s == 0


def test_jitter_over_the_wrap_of_the_timestamp() -> None:
    source = SourceStatistics(7, 0)
    for n in range(50):
        source.update(_packet(n, 0xFFFFFFFF - 1600 + 160 * n & 0xFFFFFFFF), 0.02 * n)
    assert source.jitter_s == pytest.approx(0, abs=1e-9)
