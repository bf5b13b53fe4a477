"""Two streams and the network between them, on a stepped clock: what is heard and counted, and what a hold does."""

from __future__ import annotations

import itertools

import pytest

from sipcli.media.offer import Negotiator
from sipcli.media.rtcp import ReceiverReport, SenderReport, build_compound
from sipcli.media.rtp import RtpPacket
from sipcli.media.stream import AudioStream
from sipcli.media.tone import SILENCE, goertzel, samples_of
from tests.support.networks import jittery, lossy, steady
from tests.support.streampair import STRANGER, A, B, Call, Party, seeded


def test_each_hears_the_others_tone() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(5)
    assert call.a.tone() == pytest.approx(1000, abs=1)
    assert call.b.tone() == pytest.approx(440, abs=1)
    for party in (call.a, call.b):
        report = party.stream.report()
        assert report.codec == "PCMU"
        assert report.rx.lost == report.rx.late == 0
        assert report.rx.packets >= 245
        assert report.tx.packets == 250
        assert report.rx.jitter_ms < 0.01
        assert report.rtt_ms == pytest.approx(40, abs=25)
        assert report.remote is not None and report.remote.lost_pct == 0
        assert report.mos is not None and 4.3 < report.mos < 4.41


def test_before_a_second_there_is_no_mos_and_before_rtcp_no_round_trip() -> None:
    call = Call(Party(A, 440), Party(B, 1000), to_a=steady(0.3))
    call.run(0.6)
    report = call.a.stream.report()
    assert report.rx.packets > 0
    assert report.mos is None
    assert report.rtt_ms is None


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_both_laws(codec: str) -> None:
    call = Call(Party(A, 440, codecs=(codec,)), Party(B, 1000))
    call.run(1.5)
    assert call.a.tone() == pytest.approx(1000, abs=1)
    assert {packet.payload_type for packet in call.b.rtp} == {0 if codec == "PCMU" else 8}


def test_sequence_and_timestamp_run_on_and_the_first_packet_is_marked() -> None:
    call = Call(Party(A, 440), Party(B, None))
    call.run(1)
    packets = call.a.rtp
    assert [packet.marker for packet in packets] == [True] + [False] * 49
    for before, after in itertools.pairwise(packets):
        assert after.sequence - before.sequence & 0xFFFF == 1
        assert after.timestamp - before.timestamp & 0xFFFFFFFF == 160
    assert len({packet.ssrc for packet in packets}) == 1


def test_a_skipped_beat_shows_in_the_timestamp_only() -> None:
    call = Call(Party(A, 440), Party(B, None))
    call.run(0.2)
    call.a.stream.skip(3)
    call.run(0.2)
    packets = call.a.rtp
    assert packets[10].sequence - packets[9].sequence & 0xFFFF == 1
    assert packets[10].timestamp - packets[9].timestamp & 0xFFFFFFFF == 4 * 160
    assert call.a.stream.report().tx.skipped == 3


def test_E01_loss_is_measured_and_heard_by_both() -> None:
    call = Call(Party(A, 440), Party(B, 1000), to_b=lossy(0.02, 0.05))
    call.run(30)
    heard = call.b.stream.report()
    assert heard.rx.lost_pct == pytest.approx(5, abs=2)
    assert heard.mos is not None and heard.mos < 4.2
    told = call.a.stream.report().remote
    assert told is not None
    assert told.lost_pct == pytest.approx(heard.rx.lost_pct, abs=1)
    assert call.b.tone() == pytest.approx(440, abs=2)


def test_E05_the_encoder_is_told_what_the_peer_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opus puts redundancy in for it (RFC 6716 section 2.1.7)."""
    call = Call(Party(A, 440), Party(B, 1000), to_b=lossy(0.02, 0.2))
    told: list[float] = []
    monkeypatch.setattr(type(call.a.stream.sender._encoder), "expect_loss", lambda _, percent: told.append(percent))
    call.run(20)
    assert told and max(told) == pytest.approx(20, abs=12)


def test_E01_a_report_says_how_long_ago_the_peers_last_one_came() -> None:
    """Of this and LSR he makes the round trip (RFC 3550 section 6.4.1): in 1/65536 of a second."""
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(1)
    receiver = call.b.stream.receiver
    assert receiver.ssrc is not None
    ntp = 0x0123_4567_89AB_CDEF
    for ssrc, now in ((receiver.ssrc, 10.0), (receiver.ssrc ^ 1, 11.0)):  # the second is another's
        report = SenderReport(ssrc=ssrc, ntp=ntp, rtp_timestamp=0, packets=1, octets=1)
        receiver.heard_report(report, now=now)
    block = receiver.block(12.5)
    assert block is not None
    assert (block.last_sr, block.delay) == (0x4567_89AB, 0x0002_8000)


def test_E01_jitter_is_measured_and_absorbed() -> None:
    call = Call(Party(A, 440), Party(B, 1000), to_b=jittery(0.02, 0.06))
    call.run(20)
    report = call.b.stream.report()
    assert 5 < report.rx.jitter_ms < 25
    assert report.rx.lost == 0
    assert call.b.tone() == pytest.approx(440, abs=2)
    told = call.a.stream.report().remote
    assert told is not None and told.jitter_ms == pytest.approx(report.rx.jitter_ms, abs=8)


def test_digits_over_a_bad_network_come_once_each() -> None:
    call = Call(Party(A, 440), Party(B, 1000), to_b=lossy(0.02, 0.1))
    call.run(0.5)
    assert call.a.stream.sender.dial("0123456789*#ABCD") == "rfc4733"
    call.run(5)
    assert "".join(call.b.digits) == "0123456789*#ABCD"
    assert call.a.stream.sender.dtmf_idle
    assert call.b.tone() == pytest.approx(440, abs=2)


def test_D06_events_on_the_wire() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(0.1)
    call.a.stream.sender.dial("7")
    call.run(0.4)
    events = [packet for packet in call.a.rtp if packet.payload_type == 101]
    assert len(events) == 7
    first = call.a.rtp.index(events[0])
    assert {packet.timestamp for packet in events} == {call.a.rtp[0].timestamp + 160 * first & 0xFFFFFFFF}
    assert [packet.marker for packet in events] == [True] + [False] * 6
    assert [packet.payload for packet in events[-3:]] == [bytes([7, 0x8A, 3, 0x20])] * 3
    sequences = [packet.sequence for packet in call.a.rtp]
    assert all(after - before & 0xFFFF == 1 for before, after in itertools.pairwise(sequences))


def test_a_peer_without_events_hears_the_tones() -> None:
    a, b = Party(A, 440), Party(B, None)
    b.negotiator = Negotiator(rtp=B, session_id=1, events=False)
    call = Call(a, b)
    call.run(0.2)
    assert a.stream.sender.dial("5") == "inband"
    call.run(0.16)
    during = samples_of(b"".join(b.heard[-4:-1]))
    assert goertzel(during, 770) > 0.4
    assert goertzel(during, 1336) > 0.4
    call.run(0.5)
    assert a.stream.sender.dtmf_idle
    assert {packet.payload_type for packet in a.rtp} == {0}


# -- who is believed --------------------------------------------------------------
# -- hold and re-negotiation ------------------------------------------------------


@pytest.mark.parametrize("jump", [-30000, -3500, -200, 3500, 30000])
def test_E01_a_peer_that_begins_its_sequence_anew_is_heard_at_once(jump: int) -> None:
    """RFC 3550 A.1: a restarted sender, with the SSRC that it had.  Backwards it was unheard until it had caught up."""
    call = Call(Party(A, 440), Party(B, None))
    call.run(10)
    call.a.stream.sender._sequence = call.a.stream.sender._sequence + jump & 0xFFFF
    call.run(1)
    assert call.b.tone() == pytest.approx(440, abs=1)
    assert call.b.stream.report().rx.late == 0


def test_hold_silences_and_resuming_shows_no_loss() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(1)
    call.a.negotiator.hold = True
    call.negotiate(call.a, call.b)
    sent_before = len(call.b.rtp)
    call.run(5)
    assert len(call.b.rtp) == sent_before
    assert call.a.heard[-1] == SILENCE
    call.a.negotiator.hold = False
    call.negotiate(call.a, call.b)
    call.run(1)
    assert call.a.tone() == pytest.approx(1000, abs=1)
    assert call.b.tone() == pytest.approx(440, abs=1)
    assert call.a.stream.report().rx.lost == 0


def test_a_peer_that_ignores_our_hold_is_not_played() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(1)
    call.a.negotiator.hold = True
    call.a.negotiator.accept_answer(call.b.negotiator.answer(call.a.negotiator.offer()))
    call.a.configure()
    call.run(3)
    assert call.a.heard[-1] == SILENCE
    assert call.a.stream.report().rx.lost == 0


def test_while_the_peer_holds_nobody_takes_its_place() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(1)
    held = call.b.negotiator.offer().replace(b"c=IN IP4 192.0.2.2", b"c=IN IP4 0.0.0.0")
    call.a.negotiator.answer(held)
    call.a.configure()
    for n in range(50):
        forged = RtpPacket(payload_type=0, sequence=n, timestamp=160 * n, ssrc=666, payload=bytes(160))
        call.a.stream.receive_rtp(forged.to_bytes(), STRANGER, call.now)
        call.a.stream.beat(SILENCE, call.now)
        call.a.heard.append(call.a.stream.play(call.now))
        call.now += 0.02
    assert call.a.heard[-1] == SILENCE
    assert call.a.stream.latch.locked == B
    call.negotiate(call.b, call.a)
    call.run(1)
    assert call.a.tone() == pytest.approx(1000, abs=1)


def test_nothing_is_sent_before_the_agreement_and_nothing_accepted() -> None:
    stream = AudioStream(random=seeded(1), now=0.0, ntp_offset=0.0)
    packet = RtpPacket(payload_type=0, sequence=1, timestamp=1, ssrc=1, payload=bytes(160))
    stream.receive_rtp(packet.to_bytes(), B, 0.0)
    stream.receive_rtcp(build_compound(ReceiverReport(ssrc=1)), B, 0.0)
    assert stream.beat(SILENCE, 1.0) == []
    assert stream.farewell(1.0) == []
    assert stream.report().rx.packets == 0


# -- RTCP -------------------------------------------------------------------------
