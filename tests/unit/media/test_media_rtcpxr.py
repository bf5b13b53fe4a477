"""Extended reports (RFC 3611): octets, who wants them, how losses come, and what a report may claim."""

from __future__ import annotations

import pytest

from sipcli.errors import ParseError
from sipcli.media.bursts import GMIN, BurstMeter
from sipcli.media.offer import Negotiator
from sipcli.media.quality import RemoteStats
from sipcli.media.rtcp import build_compound, parse_compound
from sipcli.media.rtcpxr import UNAVAILABLE, Delay, ExtendedReport, VoipMetrics, wanted_by
from sipcli.media.sdp import parse_sdp
from sipcli.media.xrside import ExtendedSide

METRICS = VoipMetrics(
    0x01020304, 13, 5, 60, 2, 400, 9000, 42, 65, r_factor=88, mos_lq=42, mos_cq=41, receiver_configuration=0xF0,
    buffer_nominal_ms=40, buffer_maximum_ms=200, buffer_absolute_ms=200,
)  # fmt: skip
HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"


def test_E01_an_extended_report_octet_by_octet() -> None:
    report = ExtendedReport(ssrc=0xA1A2A3A4, reference=0x0102030405060708, delays=(Delay(1, 2, 3),), metrics=(METRICS,))
    data = build_compound(report)
    assert data == bytes.fromhex(
        "80cf0011 a1a2a3a4"  # V=2, PT=207, 17 more words
        "04000002 0102030405060708"  # section 4.4
        "05000003 00000001 00000002 00000003"  # section 4.5
        "07000008 01020304 0d053c02 01902328 002a0041"  # section 4.7: loss, discard, densities, durations, delays
        "7f7f7f10 587f2a29 f0000028 00c800c8".replace(" ", "")
    )
    assert parse_compound(data) == (report,)


@pytest.mark.parametrize(
    "body",
    ["80cf0001 a1a2a3a4 07", "80cf0002 a1a2a3a4 07000008", "80cf0003 a1a2a3a4 04000002 01020304", "80cf0000"],
    ids=["cut", "no block", "half a block", "nobody"],
)
def test_E01_what_is_cut_short_is_no_report(body: str) -> None:
    with pytest.raises(ParseError):
        parse_compound(bytes.fromhex(body.replace(" ", "")))


def test_E01_unknown_blocks_and_wrong_lengths_are_skipped() -> None:
    """RFC 3611 section 3."""
    body = "80cf0008 a1a2a3a4 01000001 ffffffff 07000001 ffffffff 05000001 ffffffff 04000000".replace(" ", "")
    assert parse_compound(bytes.fromhex(body)) == (ExtendedReport(ssrc=0xA1A2A3A4),)


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("", set()),
        ("a=rtcp-xr\r\n", set()),
        ("a=rtcp-xr:voip-metrics\r\n", {"voip-metrics"}),
        (
            "a=rtcp-xr:pkt-loss-rle=4 rcvr-rtt=sender:10 voip-metrics\r\n",
            {"rcvr-rtt", "voip-metrics"},
        ),
        ("a=rtcp-xr:nonsense ===\r\n", set()),
    ],
)
def test_E01_who_wants_which_blocks(lines: str, wanted: set[str]) -> None:
    description = parse_sdp(f"{HEAD}m=audio 6000 RTP/AVP 0\r\n{lines}".encode())
    assert wanted_by(description, description.media[0]) == wanted


def test_E01_blocks_are_asked_of_those_who_ask() -> None:
    a, b = (Negotiator(rtp=(host, 4000), session_id=1) for host in ("192.0.2.1", "192.0.2.2"))
    offer = a.offer()
    assert b"a=rtcp-xr:rcvr-rtt=all voip-metrics" in offer
    assert b"a=rtcp-xr:rcvr-rtt=all voip-metrics" in b.answer(offer)
    without = b.answer(b"".join(line for line in offer.splitlines(keepends=True) if b"rtcp-xr" not in line))
    assert b"rtcp-xr" not in without
    assert b.agreement is not None and not b.agreement.extended


def test_nothing_is_sent_to_who_wants_nothing() -> None:
    side = ExtendedSide()
    assert side.report(1, 1 << 40, METRICS) is None
    side.wanted = frozenset(["voip-metrics"])
    assert side.report(1, 1 << 40, None) is None
    assert side.report(1, 1 << 40, METRICS) == ExtendedReport(ssrc=1, metrics=(METRICS,))


def test_E01_a_reference_time_comes_back_once_with_how_long_it_was_kept() -> None:
    side = ExtendedSide()
    side.hear(ExtendedReport(ssrc=7, reference=0x11112222_33334444), ours=1, now=100 << 32)
    answered = side.report(1, (100 << 32) + (1 << 31), None)
    assert answered is not None and answered.delays == (Delay(7, 0x22223333, 0x8000),)
    assert side.report(1, 101 << 32, None) is None


def test_E01_a_listener_learns_the_round_trip_by_dlrr() -> None:
    """Section 4.5: RTT = now - LRR - DLRR, as for a sender's report."""
    side = ExtendedSide()
    sent, kept = 0xB44DB705_20000000, 0x54000
    echo = ExtendedReport(ssrc=7, delays=(Delay(9, 1, 1), Delay(1, sent >> 16 & 0xFFFFFFFF, kept)))
    assert side.hear(echo, ours=1, now=0xB44DB710_80000000) == 6.125
    assert side.hear(ExtendedReport(ssrc=7, delays=(Delay(9, 1, 1),)), ours=1, now=1 << 40) is None


def test_what_the_peer_says_of_others_is_not_shown() -> None:
    side, remote = ExtendedSide(), RemoteStats(lost_pct=1.0, jitter_ms=2.0)
    side.hear(ExtendedReport(ssrc=7, metrics=(METRICS,)), ours=1, now=1)
    assert side.adorn(remote) == remote
    side.hear(ExtendedReport(ssrc=7, metrics=(METRICS,)), ours=METRICS.ssrc, now=1)
    assert side.adorn(remote) == RemoteStats(lost_pct=1.0, jitter_ms=2.0, discard_pct=1.95, mos_lq=4.2, mos_cq=4.1)


@pytest.mark.parametrize("tenths", [UNAVAILABLE, 0, 9, 51, 255])
def test_a_score_that_was_not_measured_is_none(tenths: int) -> None:
    side = ExtendedSide()
    side.metrics = VoipMetrics(1, 0, 0, 0, 0, 0, 0, 0, 0, mos_lq=tenths, mos_cq=tenths)
    adorned = side.adorn(RemoteStats(lost_pct=0.0, jitter_ms=0.0))
    assert adorned.mos_lq is None and adorned.mos_cq is None


def _fed(pattern: str) -> BurstMeter:
    meter = BurstMeter()
    for mark in pattern:
        meter.feed(lost=mark == "x")
    return meter


def test_E01_single_losses_far_apart_are_no_burst() -> None:
    meter = _fed(("." * GMIN + "x") * 4)
    assert meter.figures(20.0) == (0, 256 * 4 // (4 * (GMIN + 1)), 0, 4 * (GMIN + 1) * 20)


def test_E01_losses_near_each_other_are_one() -> None:
    meter = _fed("." * 40 + "xx.x" + "." * (GMIN - 1) + "x" + "." * 60)
    in_burst = 4 + GMIN - 1 + 1
    assert meter.figures(20.0) == (256 * 4 // in_burst, 0, in_burst * 20, round(100 * 20 / 2))


def test_E01_a_burst_ends_after_gmin_heard_packets() -> None:
    meter = _fed("xx" + "." * GMIN + "xx")
    assert meter.figures(20.0)[2] == 2 * 20


def test_nothing_yet_is_no_loss() -> None:
    assert BurstMeter().figures(20.0) == (0, 0, 0, 0)
