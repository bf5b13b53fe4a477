"""RTCP between two streams, on a stepped clock: when reports go out, to which port, and about whom (RFC 3550)."""

from __future__ import annotations

import pytest

from sipcli.media.rtcp import Bye, ReceiverReport, ReportBlock, SenderReport, build_compound, parse_compound
from sipcli.media.rtp import is_rtcp
from sipcli.media.tone import Oscillator
from tests.support.streampair import A, B, Call, Party


def test_E01_reports_go_out_in_their_intervals() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(60)
    reports = [datagram for datagram in call.a.sent if is_rtcp(datagram.data)]
    # 2.25 s on average, after the compensation of section 6.3.1.
    assert 20 <= len(reports) <= 45
    compound = parse_compound(reports[-1].data)
    assert [type(packet).__name__ for packet in compound] == ["SenderReport", "SourceDescription", "ExtendedReport"]


def test_E01_without_mux_rtcp_has_its_own_port() -> None:
    a, b = Party(A, 440), Party(B, 1000)
    call = Call(a, b)
    offer = a.negotiator.offer().replace(b"a=rtcp-mux\r\n", b"")
    a.negotiator.accept_answer(b.negotiator.answer(offer))
    call.a.configure()
    call.b.configure()
    call.run(5)
    rtcp = [datagram for datagram in a.sent if is_rtcp(datagram.data)]
    assert rtcp and all(datagram.rtcp and datagram.destination == (B[0], B[1] + 1) for datagram in rtcp)
    report = a.stream.report()
    assert report.rtt_ms == pytest.approx(40, abs=25)


def test_without_mux_behind_a_nat_rtcp_follows() -> None:
    outside = ("198.51.100.7", 40000)
    a, b = Party(A, 440), Party(("10.0.0.2", 5000), 1000, seen_from=outside)
    call = Call(a, b)
    a.negotiator.accept_answer(b.negotiator.answer(a.negotiator.offer().replace(b"a=rtcp-mux\r\n", b"")))
    a.configure()
    b.configure()
    call.run(8)
    assert [d.destination for d in a.sent if d.rtcp][-1] == ("198.51.100.7", 40001)
    assert a.stream.report().rtt_ms is not None


def _reports(party: Party) -> list[SenderReport | ReceiverReport]:
    compounds = [parse_compound(datagram.data) for datagram in party.sent if is_rtcp(datagram.data)]
    return [packet for packets in compounds for packet in packets if isinstance(packet, SenderReport | ReceiverReport)]


def test_E01_who_falls_silent_is_no_sender_any_more() -> None:
    """RFC 3550 section 6.4: an SR only of who sent something since the last report or the one before it."""
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(10)
    assert {type(report) for report in _reports(call.a)} == {SenderReport}
    call.a.oscillator = None
    call.a.sent.clear()
    call.run(20)
    kinds = [type(report) for report in _reports(call.a)]
    assert len(kinds) > 5 and kinds[:2] == [SenderReport] * 2 and set(kinds[2:]) == {ReceiverReport}
    call.a.oscillator = Oscillator(440)
    call.a.sent.clear()
    call.run(10)
    assert {type(report) for report in _reports(call.a)} == {SenderReport}


def test_E01_of_who_falls_silent_nothing_is_reported() -> None:
    """RFC 3550 section 6.4: a block for each source that was heard since the last report."""
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(10)
    assert all(len(report.blocks) == 1 for report in _reports(call.a)[1:])
    call.b.oscillator = None
    call.run(4)
    call.a.sent.clear()
    call.run(10)
    assert {report.blocks for report in _reports(call.a)} == {()}
    call.b.oscillator = Oscillator(1000)
    call.run(4)
    assert [block.lost for block in _reports(call.a)[-1].blocks] == [0]


def test_E01_the_end_is_told_by_whoever_said_anything_and_by_nobody_else() -> None:
    """RFC 3550 section 6.3.7: a BYE goes with a report and the name; who never sent anything sends none."""
    call = Call(Party(A, 440), Party(B, 1000))
    for datagram in call.b.beat(call.now):
        call.deliver(call.a, datagram, B, call.now)
    assert call.a.stream.receiver.ssrc is not None and not call.a.sent
    assert call.a.stream.farewell(call.now) == []
    call.run(1)
    (last,) = call.a.stream.farewell(call.now)
    report, description, *_, farewell = parse_compound(last.data)
    assert isinstance(report, SenderReport) and type(description).__name__ == "SourceDescription"
    assert farewell == Bye(ssrcs=(call.a.rtp[0].ssrc,))


def test_E01_a_listener_sends_receiver_reports() -> None:
    call = Call(Party(A, None), Party(B, 1000))
    call.run(5)
    kinds = {type(p).__name__ for d in call.a.sent for p in parse_compound(d.data)}
    assert kinds == {"ReceiverReport", "SourceDescription", "ExtendedReport"}


def test_a_foreign_report_block_is_not_about_us() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(0.3)
    before = call.a.stream.report().remote
    block = ReportBlock(ssrc=4711, fraction_lost=255, lost=1000, highest_sequence=1, jitter=9999)
    call.a.stream.receive_rtp(build_compound(ReceiverReport(ssrc=1, blocks=(block,))), B, call.now)
    assert call.a.stream.report().remote == before


def test_the_cname_names_nobody() -> None:
    names = set()
    for hz in (440, 441):
        call = Call(Party(A, hz), Party(B, 1000))
        call.run(1)
        compound = parse_compound(next(d.data for d in call.a.sent if is_rtcp(d.data)))
        names |= {cname for packet in compound for _, cname in getattr(packet, "cnames", ())}
    assert len(names) == 2
    assert all(len(name) == 16 for name in names)
