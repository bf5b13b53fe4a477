"""SSRCs that two have (RFC 3550 section 8.2), and extended reports between two streams, on a stepped clock."""

from __future__ import annotations

import pytest

from sipcli.media.collision import Collisions
from sipcli.media.rtcp import (
    Bye,
    ReceiverReport,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    build_compound,
    parse_compound,
)
from sipcli.media.rtcpxr import UNAVAILABLE, ExtendedReport
from sipcli.media.rtp import is_rtcp
from tests.support.networks import lossy
from tests.support.streampair import STRANGER, A, B, Call, Party


def _compounds(party: Party) -> list[tuple[RtcpPacket, ...]]:
    return [parse_compound(d.data) for d in party.sent if is_rtcp(d.data)]


def _said(party: Party, kind: type) -> list[RtcpPacket]:
    return [packet for compound in _compounds(party) for packet in compound if isinstance(packet, kind)]


def _cname(ssrc: int, name: str) -> bytes:
    return build_compound(ReceiverReport(ssrc=ssrc), SourceDescription(cnames=((ssrc, name),)))


def test_E01_two_who_drew_the_same_ssrc_part_and_go_on() -> None:
    a, b = Party(A, 440), Party(B, 1000)
    call = Call(a, b)
    b.stream.sender.ssrc = first = a.stream.sender.ssrc
    call.run(2)
    assert a.stream.sender.ssrc != b.stream.sender.ssrc
    assert (a.tone(), b.tone()) == (pytest.approx(1000, abs=2), pytest.approx(440, abs=2))
    byes = [bye for bye in _said(a, Bye) + _said(b, Bye) if isinstance(bye, Bye)]
    assert byes and all(bye.ssrcs == (first,) for bye in byes)
    for party in (a, b):
        assert len({packet.ssrc for packet in party.rtp}) <= 2
        assert party.stream.report().rx.lost_pct < 3


def test_E01_a_report_with_our_ssrc_and_another_name_is_a_collision() -> None:
    """It may come before any RTP of theirs: a listener has an SSRC, too."""
    call = Call(Party(A, 440), Party(B, None))
    call.run(0.1)
    stream = call.a.stream
    before = stream.sender.ssrc
    stream.receive_rtp(_cname(before, "somebody"), B, call.now)
    call.run(0.1)
    assert stream.sender.ssrc != before
    said = [compound for compound in _compounds(call.a) if any(isinstance(p, Bye) for p in compound)]
    assert [type(packet) for packet in said[0]] == [ReceiverReport, SourceDescription, Bye]
    assert said[0][-1] == Bye(ssrcs=(before,), reason="SSRC collision")


def test_E01_our_own_reports_that_come_back_change_nothing() -> None:
    call = Call(Party(A, 440), Party(B, None))
    call.run(3)
    stream = call.a.stream
    before, rtt = stream.sender.ssrc, stream.report().rtt_ms
    for datagram in [d for d in call.a.sent if is_rtcp(d.data)]:
        stream.receive_rtp(datagram.data, B, call.now)
    assert stream.sender.ssrc == before
    assert stream.collisions.looped > 0
    assert stream.report().rtt_ms == rtt


def test_E01_after_a_collision_the_name_stays_and_the_counts_begin_anew() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(1)
    call.a.stream.receive_rtp(_cname(call.a.stream.sender.ssrc, "somebody"), B, call.now)
    call.run(5)
    names = {
        packet.cnames[0][1] for packet in _said(call.a, SourceDescription) if isinstance(packet, SourceDescription)
    }
    assert len(names) == 1
    reports = [packet for packet in _said(call.a, SenderReport) if isinstance(packet, SenderReport)]
    assert reports[-1].ssrc == call.a.stream.sender.ssrc
    assert reports[-1].packets <= 260
    assert call.b.tone() == pytest.approx(440, abs=2)
    assert call.a.stream.report().tx.packets == 300


def test_E01_an_address_that_collided_may_do_so_again_only_after_ten_intervals() -> None:
    collisions = Collisions("ours")
    assert collisions.is_new(B, 0.0)
    assert not collisions.is_new(B, 20.0)
    assert not collisions.is_new(B, 40.0), "it has been there all the time"
    assert collisions.is_new(B, 70.0)
    assert collisions.is_new(STRANGER, 70.0)


def test_E01_many_addresses_are_not_remembered_for_ever() -> None:
    collisions = Collisions("ours")
    for port in range(1000):
        collisions.is_new(("203.0.113.9", port), 0.0)
    assert len(collisions._conflicting) <= 17


def test_T21_of_two_with_one_ssrc_the_first_is_kept() -> None:
    """A third party's report and good-bye under the peer's SSRC (RFC 3550 section 8.2): another CNAME gives it away.

    Fails without ``Collisions.is_foreign``: whoever can send from the peer's host ends the call's audio.
    """
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(5)
    stream, peer = call.a.stream, call.b.stream.sender.ssrc
    assert stream.receiver.ssrc == peer
    rtt = stream.report().rtt_ms
    forged = build_compound(
        SenderReport(ssrc=peer, ntp=1, rtp_timestamp=1, packets=1, octets=1),
        SourceDescription(cnames=((peer, "mallory"),)),
        Bye(ssrcs=(peer,)),
    )
    stream.receive_rtp(forged, B, call.now)
    assert not stream.ended_by_peer
    assert stream.collisions.third_party == 1
    assert stream.report().rtt_ms == rtt


def test_E01_both_tell_what_they_hear() -> None:
    """Extended reports: metrics that were measured, and nothing else."""
    call = Call(Party(A, 440), Party(B, 1000), to_b=lossy(0.02, 0.05, seed=7))
    call.run(20)
    metrics = [p.metrics[0] for p in _said(call.b, ExtendedReport) if isinstance(p, ExtendedReport) and p.metrics]
    first, last = metrics[0], metrics[-1]
    assert last.ssrc == call.a.stream.sender.ssrc
    heard = call.b.stream.report()
    assert 100 * last.loss / 256 == pytest.approx(heard.rx.lost_pct, abs=1.5)
    assert last.gap_density or last.burst_density
    assert last.round_trip_ms == pytest.approx(40, abs=25)
    assert heard.mos is not None and last.mos_cq / 10 == pytest.approx(heard.mos, abs=0.3)
    assert last.mos_cq <= last.mos_lq
    assert (first.r_factor, first.mos_cq) == (UNAVAILABLE, UNAVAILABLE), "not measured so early"
    remote = call.a.stream.report().remote
    assert remote is not None and remote.mos_cq is not None and remote.mos_lq is not None
    assert remote.mos_cq == pytest.approx(heard.mos, abs=0.3)


def test_E01_a_codec_without_values_for_it_gets_no_score() -> None:
    call = Call(Party(A, 440, codecs=("L16",)), Party(B, 1000, codecs=("L16",)))
    call.run(10)
    metrics = [p.metrics[0] for p in _said(call.b, ExtendedReport) if isinstance(p, ExtendedReport) and p.metrics]
    assert {(m.r_factor, m.mos_lq, m.mos_cq) for m in metrics} == {(UNAVAILABLE,) * 3}
    remote = call.a.stream.report().remote
    assert remote is not None and remote.mos_lq is None


def test_E01_who_only_listens_learns_the_round_trip_too() -> None:
    """Without a sender's report of ours there is no LSR to echo; a reference time does it (RFC 3611 section 4.4)."""
    call = Call(Party(A, None), Party(B, 1000))
    call.run(10)
    assert call.a.stream.report().rtt_ms == pytest.approx(40, abs=25)
