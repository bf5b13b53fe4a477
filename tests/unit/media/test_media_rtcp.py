"""RTCP compounds, the round trip, the schedule (RFC 3550 section 6)."""

from __future__ import annotations

import struct

import pytest

from sipcli.errors import ParseError
from sipcli.media.rtcp import (
    Bye,
    ReceiverReport,
    ReportBlock,
    RtcpSchedule,
    SenderReport,
    SourceDescription,
    UnknownRtcp,
    build_compound,
    ntp_middle,
    parse_compound,
    round_trip_s,
)

BLOCK = ReportBlock(ssrc=1, fraction_lost=64, lost=-3, highest_sequence=70000, jitter=12, last_sr=5, delay=6)
REPORT = SenderReport(ssrc=9, ntp=0x0102030405060708, rtp_timestamp=10, packets=11, octets=12, blocks=(BLOCK,))


def test_E01_a_sender_report_octet_by_octet() -> None:
    assert build_compound(REPORT) == bytes.fromhex(
        "81c8000c 00000009 01020304 05060708 0000000a 0000000b 0000000c"
        "00000001 40fffffd 00011170 0000000c 00000005 00000006"
    )


def test_E01_a_compound_comes_back() -> None:
    packets = (
        REPORT,
        ReceiverReport(ssrc=2, blocks=(BLOCK, BLOCK)),
        SourceDescription(cnames=((9, "someone"), (1, "x"), (2, ""))),
        Bye(ssrcs=(9, 1), reason="teardown"),
        Bye(ssrcs=()),
        UnknownRtcp(packet_type=206, count=1, body=bytes(8)),
    )
    data = build_compound(*packets)
    assert len(data) % 4 == 0
    assert parse_compound(data) == packets


def test_loss_is_clamped_to_24_bits() -> None:
    huge = ReportBlock(ssrc=1, fraction_lost=255, lost=1 << 30, highest_sequence=1, jitter=1)
    assert ReportBlock.from_bytes(huge.to_bytes()).lost == 0x7FFFFF


def test_other_items_of_a_source_description_are_passed_over() -> None:
    chunk = struct.pack("!I", 5) + b"\x02\x03tom" + b"\x01\x02hi" + b"\0\0"
    chunk += bytes(-len(chunk) % 4)
    data = bytes([0x81, 202]) + struct.pack("!H", len(chunk) // 4) + chunk
    assert parse_compound(data) == (SourceDescription(cnames=((5, "hi"),)),)


@pytest.mark.parametrize("cut", range(1, len(build_compound(REPORT, Bye(ssrcs=(9,), reason="x")))))
def test_E01_a_truncated_compound_is_refused(cut: int) -> None:
    data = build_compound(REPORT, Bye(ssrcs=(9,), reason="x"))
    if cut == len(build_compound(REPORT)):
        assert parse_compound(data[:cut]) == (REPORT,)
        return
    with pytest.raises(ParseError):
        parse_compound(data[:cut])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x40\xc8\x00\x00",
        b"\x80\xc8\x00\x00",
        b"\x80\xc9\x00\x00",
        b"\x82\xc9\x00\x01\x00\x00\x00\x01",
        b"\x81\xca\x00\x00",
        b"\x81\xca\x00\x02\x00\x00\x00\x01\x01\xff\x00\x00",
        b"\x82\xcb\x00\x01\x00\x00\x00\x01",
        b"\xa0\xc9\x00\x01\x00\x00\x00\x00",
        b"\xa0\xc9\x00\x01\x00\x00\x00\x09",
    ],
)
def test_E01_lies_are_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_compound(data)


def test_padding_at_the_end_is_taken_off() -> None:
    data = bytearray(build_compound(ReceiverReport(ssrc=3)) + b"\0\0\0\4")
    data[0] |= 0x20
    data[3] += 1
    assert parse_compound(bytes(data)) == (ReceiverReport(ssrc=3),)


def test_E01_the_round_trip_of_the_rfcs_example() -> None:
    """RFC 3550 section 6.4.1, figure 2: n = 0xb44db705 20000000, A = 0xb710:8000, LSR and DLSR: 6.125 s."""
    sent = 0xB44DB705_20000000
    block = ReportBlock(
        ssrc=1, fraction_lost=0, lost=0, highest_sequence=0, jitter=0, last_sr=ntp_middle(sent), delay=0x0005_4000
    )
    assert block.last_sr == 0xB7052000
    assert round_trip_s(block, 0xB44DB710_80000000) == 6.125


def test_no_round_trip_before_our_report_was_heard() -> None:
    assert round_trip_s(ReportBlock(ssrc=1, fraction_lost=0, lost=0, highest_sequence=0, jitter=0), 1 << 40) is None


def test_a_round_trip_below_zero_is_zero_and_an_absurd_one_is_none() -> None:
    def block(delay: int) -> ReportBlock:
        return ReportBlock(ssrc=1, fraction_lost=0, lost=0, highest_sequence=0, jitter=0, last_sr=0x10000, delay=delay)

    assert round_trip_s(block(0x10001), 0x20000 << 16) == 0.0
    assert round_trip_s(block(0), (0x10000 + (61 << 16)) << 16) is None


def test_E01_the_schedule_is_random_between_bounds() -> None:
    minimum = RtcpSchedule.MINIMUM_S / 1.21828
    assert 0 <= RtcpSchedule(100.0, 0.0).next - 100 <= RtcpSchedule(100.0, 0.999).next - 100 <= 0.25
    schedule = RtcpSchedule(0.0, 0.5)
    schedule.sent(10.0, 0.0)
    assert schedule.next == pytest.approx(10 + 0.5 * minimum)
    schedule.sent(10.0, 1.0)
    assert schedule.next == pytest.approx(10 + 1.5 * minimum)
