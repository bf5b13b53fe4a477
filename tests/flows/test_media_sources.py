"""Whose packets a stream believes, counts and plays: strangers, mirrors, NATs, bursts, rubbish; on a stepped clock."""

from __future__ import annotations

import random

import pytest

from sipcli.media import g711
from sipcli.media.dtmf import EventPayload
from sipcli.media.rtcp import Bye, ReceiverReport, SenderReport, build_compound, parse_compound
from sipcli.media.rtp import RtpPacket, is_rtcp
from sipcli.media.tone import SILENCE, Oscillator, rms
from tests.support.streampair import STRANGER, A, B, Call, Party


def test_E01_a_strangers_packets_are_not_heard() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(0.5)
    oscillator = Oscillator(2000)
    ssrc = call.b.rtp[0].ssrc
    for n in range(100):
        forged = RtpPacket(
            payload_type=0,
            sequence=call.b.rtp[-1].sequence + 1 & 0xFFFF,
            timestamp=call.b.rtp[-1].timestamp + 160 & 0xFFFFFFFF,
            ssrc=ssrc if n % 2 else 666,
            payload=g711.encode(oscillator.read(), "PCMU"),
        )
        call.a.stream.receive_rtp(forged.to_bytes(), STRANGER, call.now)
        farewell = build_compound(ReceiverReport(ssrc=ssrc), Bye(ssrcs=(ssrc,)))
        call.a.stream.receive_rtp(farewell, STRANGER, call.now)
        call.a.stream.receive_rtcp(farewell, STRANGER, call.now)
        call.run(0.02)
    assert call.a.tone() == pytest.approx(1000, abs=1)
    report = call.a.stream.report()
    assert report.strangers == 300
    assert not call.a.stream.ended_by_peer
    assert {datagram.destination for datagram in call.a.sent} == {B}


def test_E01_behind_a_nat_the_audio_goes_back_where_it_came_from() -> None:
    outside = ("198.51.100.7", 40000)
    call = Call(Party(A, 440), Party(("10.0.0.2", 5000), 1000, seen_from=outside))
    call.run(2)
    assert call.a.tone() == pytest.approx(1000, abs=1)
    assert call.a.stream.latch.learnt
    assert call.a.sent[-1].destination == outside
    # The two packets that taught nothing yet are not heard, and not counted as lost either.
    assert call.a.stream.report().rx.lost == 0
    assert call.a.stream.report().strangers == 2


def test_T21_a_byes_ssrc_must_be_the_peers() -> None:
    """Fails without the check of the SSRC in ``AudioStream.receive_rtcp``."""
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(0.5)
    call.a.stream.receive_rtp(build_compound(Bye(ssrcs=(12345,))), B, call.now)
    assert not call.a.stream.ended_by_peer
    for datagram in call.b.stream.farewell(call.now):
        call.a.stream.receive_rtp(datagram.data, B, call.now)
    assert call.a.stream.ended_by_peer
    # Said good-bye too early: whoever still speaks has not ended.
    call.run(0.1)
    assert not call.a.stream.ended_by_peer


def test_E01_rubbish_and_truncated_reports_are_counted_and_forgotten() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(0.5)
    source = random.Random(5)
    for _ in range(300):
        data = source.randbytes(source.randint(0, 60))
        call.a.stream.receive_rtp(data, B, call.now)
        call.a.stream.receive_rtcp(data, B, call.now)
    good = call.b.stream.farewell(call.now)[0].data
    for cut in range(1, 28):
        call.a.stream.receive_rtp(good[:cut], B, call.now)
    assert call.a.stream.malformed > 300
    call.run(1)
    assert call.a.tone() == pytest.approx(1000, abs=1)


def test_unknown_payload_types_are_not_played_and_not_lost() -> None:
    call = Call(Party(A, 440), Party(B, None))
    for n in range(60):
        noise = RtpPacket(payload_type=72, sequence=100 + n, timestamp=160 * n, ssrc=9, payload=b"\x40")
        call.a.stream.receive_rtp(noise.to_bytes(), B, call.now)
        call.run(0.02)
    assert call.a.stream.receiver.unknown_payloads == 60
    assert call.a.stream.report().rx.lost == 0
    assert set(call.a.heard) == {SILENCE}


def test_E01_rtcp_at_the_rtp_port_is_no_new_source() -> None:
    a, b = Party(A, 440), Party(B, 1000)
    call = Call(a, b)
    a.negotiator.accept_answer(b.negotiator.answer(a.negotiator.offer().replace(b"a=rtcp-mux\r\n", b"")))
    a.configure()
    call.run(1)
    before = a.stream.receiver.ssrc
    for _ in range(5):
        report = SenderReport(ssrc=1, ntp=0x0102030405060708, rtp_timestamp=2, packets=3, octets=4)
        a.stream.receive_rtp(build_compound(report), B, call.now)
    assert a.stream.receiver.ssrc == before


def test_one_packet_of_another_ssrc_changes_nothing() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(1)
    before = call.a.stream.receiver.ssrc
    odd = call.b.rtp[-1]._replace(ssrc=4711)
    call.a.stream.receive_rtp(odd.to_bytes(), B, call.now)
    call.run(0.1)
    call.a.stream.receive_rtp(odd.to_bytes(), B, call.now)
    assert call.a.stream.receiver.ssrc == before


@pytest.mark.parametrize("ptime_ms", [10, 30, 40, 60])
def test_packets_of_other_lengths(ptime_ms: int) -> None:
    """What ptime says is a wish: every length must be understood (RFC 3551 section 4.2)."""
    call = Call(Party(A, 440), Party(B, None))
    oscillator, length = Oscillator(1000), ptime_ms * 8
    sent = 0
    for beat in range(150):
        while sent * ptime_ms <= beat * 20:
            packet = RtpPacket(
                payload_type=0,
                sequence=sent,
                timestamp=length * sent,
                ssrc=9,
                payload=g711.encode(oscillator.read(length), "PCMU"),
            )
            if sent % 40 != 39:
                call.a.stream.receive_rtp(packet.to_bytes(), B, sent * ptime_ms / 1000)
            sent += 1
        call.run(0.02)
    report = call.a.stream.report()
    assert call.a.tone() == pytest.approx(1000, abs=2)
    assert report.rx.lost == sent // 40 - (sent % 40 == 0)
    assert report.audio.longest_gap_ms is not None and report.audio.longest_gap_ms <= 120


def test_end_packets_in_one_burst_do_not_lengthen_the_delay() -> None:
    call = Call(Party(A, 440), Party(B, None))
    sequence = 0

    def send(payload_type: int, timestamp: int, payload: bytes) -> None:
        nonlocal sequence
        packet = RtpPacket(payload_type=payload_type, sequence=sequence, timestamp=timestamp, ssrc=9, payload=payload)
        call.a.stream.receive_rtp(packet.to_bytes(), B, call.now)
        sequence += 1

    oscillator = Oscillator(1000)
    for beat in range(400):
        within = beat % 20
        if within < 12:
            send(0, 160 * beat, g711.encode(oscillator.read(), "PCMU"))
        elif within < 17:
            send(101, 160 * (beat - within + 12), EventPayload(5, False, 10, 160 * (within - 11)).to_bytes())
        elif within == 17:
            for _ in range(3):
                send(101, 160 * (beat - 5), EventPayload(5, True, 10, 960).to_bytes())
        else:
            send(0, 160 * beat, g711.encode(oscillator.read(), "PCMU"))
        call.run(0.02)
    assert "".join(call.a.digits) == "5" * 20
    assert call.a.stream.receiver.jitter.delay_s < 0.07
    # In place of the digit there is silence, and no echo of what was before it.
    levels = {rms(frame) > 100 for frame in call.a.heard[-400:]}
    assert levels == {True, False}
    assert sum(rms(frame) > 100 for frame in call.a.heard) <= 20 * 15
    assert call.a.stream.receiver.jitter.dropped == 0


def test_a_mirror_is_heard() -> None:
    """SIPp's rtp_echo sends our packets back as they are, SSRC and all (RFC 3550 section 8.2)."""
    a = Party(A, 440)
    b = Party(B, None)
    call = Call(a, b)
    first = a.stream.sender.ssrc
    for _ in range(100):
        for datagram in a.beat(call.now):
            a.stream.receive_rtp(datagram.data, B, call.now + 0.001)
        call.now += 0.02
    assert a.tone() == pytest.approx(440, abs=1)
    assert a.stream.sender.ssrc != first
    assert len({packet.ssrc for packet in a.rtp}) == 2
    farewells = [p for d in a.sent if is_rtcp(d.data) for p in parse_compound(d.data) if isinstance(p, Bye)]
    assert [bye.ssrcs for bye in farewells] == [(first,)]
    assert a.stream.report().tx.packets == 100


def test_the_peer_may_change_its_ssrc() -> None:
    call = Call(Party(A, 440), Party(B, 1000))
    call.run(1)
    call.b.stream.sender.change_ssrc(4711)
    call.run(1)
    report = call.a.stream.report()
    assert call.a.tone() == pytest.approx(1000, abs=2)
    assert report.rx.packets >= 98
    assert report.rx.lost == 0
