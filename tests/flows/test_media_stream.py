"""Two streams and the network between them, on a stepped clock: what is heard, counted, reported and refused."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sipcli.media import g711
from sipcli.media.dtmf import EventPayload
from sipcli.media.latch import Address
from sipcli.media.offer import Negotiator
from sipcli.media.rtcp import Bye, ReceiverReport, ReportBlock, SenderReport, build_compound, parse_compound
from sipcli.media.rtp import RtpPacket, is_rtcp, parse_rtp
from sipcli.media.stream import AudioStream, Datagram
from sipcli.media.tone import SILENCE, Oscillator, dominant_hz, goertzel, rms, samples_of
from tests.support.networks import Network, jittery, lossy, steady

A, B, STRANGER = ("192.0.2.1", 4000), ("192.0.2.2", 5000), ("203.0.113.66", 6666)


def _random(seed: object) -> Callable[[int], bytes]:
    return random.Random(str(seed)).randbytes


@dataclass
class Party:
    """One end: its stream, its negotiation, what it heard; *seen_from* is its address behind the NAT."""

    address: Address
    hz: int | None
    seen_from: Address | None = None
    codecs: tuple[str, ...] = ("PCMU", "PCMA")
    heard: list[bytes] = field(default_factory=list)
    digits: list[str] = field(default_factory=list)
    sent: list[Datagram] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stream = AudioStream(random=_random((self.address, self.hz)), now=0.0, ntp_offset=3.9e9)
        self.negotiator = Negotiator(rtp=self.address, session_id=1, codecs=self.codecs)
        self.oscillator = Oscillator(self.hz) if self.hz else None

    def configure(self) -> None:
        assert self.negotiator.agreement is not None
        self.stream.configure(self.negotiator.agreement)

    def beat(self, now: float) -> list[Datagram]:
        self.heard.append(self.stream.play(now))
        self.digits += [event.digit for event in self.stream.receiver.digits]
        self.stream.receiver.digits.clear()
        datagrams = self.stream.beat(self.oscillator.read() if self.oscillator else None, now)
        self.sent += datagrams
        return datagrams

    @property
    def rtp(self) -> list[RtpPacket]:
        return [parse_rtp(datagram.data) for datagram in self.sent if not is_rtcp(datagram.data)]

    def tone(self) -> float | None:
        return dominant_hz(samples_of(b"".join(self.heard[-40:])))


class Call:
    """Two parties and a network each way; *seconds* pass in steps of 20 ms."""

    def __init__(
        self,
        a: Party,
        b: Party,
        to_b: Callable[[int], float | None] | None = None,
        to_a: Callable[[int], float | None] | None = None,
    ) -> None:
        self.a, self.b = a, b
        self.networks: tuple[Network[Datagram], Network[Datagram]] = (
            Network(to_b or steady(0.02)),
            Network(to_a or steady(0.02)),
        )
        self.now = 0.0
        self.negotiate(a, b)

    def negotiate(self, a: Party, b: Party) -> None:
        a.negotiator.accept_answer(b.negotiator.answer(a.negotiator.offer()))
        a.configure()
        b.configure()

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            for sender, receiver, network in ((self.a, self.b, self.networks[0]), (self.b, self.a, self.networks[1])):
                for datagram in sender.beat(self.now):
                    network.send(datagram, self.now)
                for when, datagram in network.arrivals(self.now):
                    self.deliver(receiver, datagram, sender.seen_from or sender.address, when)
            self.now += 0.02

    def deliver(self, receiver: Party, datagram: Datagram, source: Address, when: float) -> None:
        host, port = source
        if datagram.rtcp:
            receiver.stream.receive_rtcp(datagram.data, (host, port + 1), when)
        else:
            receiver.stream.receive_rtp(datagram.data, source, when)


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
    stream = AudioStream(random=_random(1), now=0.0, ntp_offset=0.0)
    packet = RtpPacket(payload_type=0, sequence=1, timestamp=1, ssrc=1, payload=bytes(160))
    stream.receive_rtp(packet.to_bytes(), B, 0.0)
    stream.receive_rtcp(build_compound(ReceiverReport(ssrc=1)), B, 0.0)
    assert stream.beat(SILENCE, 1.0) == []
    assert stream.farewell(1.0) == []
    assert stream.report().rx.packets == 0


# -- RTCP -------------------------------------------------------------------------


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
