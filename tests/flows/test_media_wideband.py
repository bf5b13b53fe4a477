"""Streams that are not telephony's: Opus and G.722 over networks that lose, digits on their clocks, keys, silence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

import pytest

from sipcli.media import g711
from sipcli.media.offer import Negotiator
from sipcli.media.rtp import RtpPacket, parse_rtp
from sipcli.media.sdes import SrtpPolicy
from sipcli.media.suppress import SilenceSuppressor
from sipcli.media.tone import Oscillator, dominant_hz, goertzel, rms, samples_of
from tests.support.networks import jittery, lossy
from tests.support.real import require
from tests.support.streampair import STRANGER, A, B, Call, Party


@pytest.fixture(autouse=True)
def _libraries() -> None:
    require("opus", "srtp")


@dataclass
class Wide(Party):
    """A party whose tone and ears follow the codec agreed on."""

    srtp: SrtpPolicy = "off"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.negotiator = Negotiator(rtp=self.address, session_id=1, codecs=self.codecs, srtp=self.srtp)

    def configure(self) -> None:
        super().configure()
        agreement = self.negotiator.agreement
        assert agreement is not None
        self.rate = agreement.codec.sample_rate
        self.oscillator = Oscillator(self.hz, rate=self.rate) if self.hz else None
        self.heard.clear()

    def tone(self) -> float | None:
        return dominant_hz(samples_of(b"".join(self.heard[-40:])), rate=self.rate)


def pair(*codecs: str, srtp: SrtpPolicy = "off") -> tuple[Wide, Wide]:
    return Wide(A, 440, codecs=codecs, srtp=srtp), Wide(B, 1000, codecs=codecs, srtp=srtp)


@pytest.mark.parametrize(("codec", "ticks", "octets"), [("OPUS", 960, 1920), ("G722", 160, 640), ("L16", 320, 640)])
def test_E05_each_hears_the_other_and_the_clock_is_the_codecs(codec: str, ticks: int, octets: int) -> None:
    """G.722 stamps by 160 although it has 320 samples in 20 ms (RFC 3551 section 4.5.2); Opus always by 960."""
    call = Call(*pair(codec))
    call.run(4)
    assert call.a.tone() == pytest.approx(1000, abs=2)
    assert call.b.tone() == pytest.approx(440, abs=2)
    assert {len(frame) for frame in call.a.heard} == {octets}
    steps = {b.timestamp - a.timestamp & 0xFFFFFFFF for a, b in zip(call.a.rtp, call.a.rtp[1:], strict=False)}
    assert steps == {ticks}
    report = call.a.stream.report()
    assert (report.codec, report.mos) == (codec, None)
    assert report.rx.lost == report.rx.late == 0
    assert report.rx.jitter_ms < 0.01
    assert report.remote is not None and report.remote.jitter_ms < 0.1


@pytest.mark.parametrize("codec", ["OPUS", "G722"])
def test_a_tenth_lost_is_concealed(codec: str) -> None:
    call = Call(*pair(codec), to_a=lossy(0.02, 0.1))
    call.run(6)
    # Half seconds, and their median: where three in a row are lost, a single one may hold less than half of the tone.
    heard = samples_of(b"".join(call.a.heard[50:]))[:: call.a.stream.receiver.rate // 8000]
    shares = [goertzel(heard[at : at + 4000], 1000) for at in range(0, len(heard) - 3999, 4000)]
    assert median(shares) > 0.65
    assert call.a.stream.receiver.jitter.delay_s < 0.06
    report = call.a.stream.report()
    assert 5 < report.rx.lost_pct < 16
    assert report.audio.longest_gap_ms is not None and report.audio.longest_gap_ms <= 60
    loud = sum(rms(frame) > 1000 for frame in call.a.heard[20:])
    assert loud > 0.95 * len(call.a.heard[20:])


def test_opus_protects_itself_when_the_peer_reports_loss() -> None:
    """Redundancy costs octets: the encoder spends them only once RTCP tells of loss."""
    quiet, noisy = Call(*pair("OPUS")), Call(*pair("OPUS"), to_b=lossy(0.02, 0.3))
    asked: list[float] = []
    noisy.a.stream.sender.expect_loss = asked.append  # type: ignore[method-assign]
    for call in (quiet, noisy):
        call.run(12)
    assert max(asked) > 15


def test_jitter_is_measured_on_the_codecs_clock() -> None:
    call = Call(*pair("OPUS"), to_a=jittery(0.02, 0.03))
    call.run(6)
    assert 2 < call.a.stream.report().rx.jitter_ms < 30
    assert call.a.tone() == pytest.approx(1000, abs=5)


@pytest.mark.parametrize(("codec", "event_type", "full"), [("OPUS", 100, 4800), ("G722", 101, 800)])
def test_D06_digits_go_on_the_clock_of_the_audio(codec: str, event_type: int, full: int) -> None:
    call = Call(*pair(codec))
    call.run(0.5)
    call.a.stream.sender.dial("12#")
    call.run(1.5)
    assert "".join(call.b.digits) == "12#"
    events = [packet for packet in call.a.rtp if packet.payload_type == event_type]
    assert {int.from_bytes(packet.payload[2:4]) for packet in events if packet.payload[1] & 0x80} == {full}


def test_the_codec_may_change_in_the_middle() -> None:
    a, b = pair("OPUS", "PCMU")
    call = Call(a, b)
    call.run(1.5)
    assert a.rate == 48000
    narrow = Negotiator(rtp=b.address, session_id=2, codecs=("PCMU",))
    a.negotiator.answer(narrow.offer())
    b.negotiator = narrow
    narrow.accept_answer(a.negotiator.answer(narrow.offer()))
    for party in (a, b):
        party.configure()
    call.run(1.5)
    assert (a.rate, b.rate) == (8000, 8000)
    assert a.tone() == pytest.approx(1000, abs=2)
    assert b.tone() == pytest.approx(440, abs=2)


def test_a_packet_in_another_codec_that_we_offered_is_heard_at_our_rate() -> None:
    """A peer may send what it likes of what was offered (RFC 3264 section 5.1)."""
    a, b = pair("OPUS", "PCMU")
    call = Call(a, b)
    call.run(0.6)
    tone = Oscillator(700)
    sequence, ssrc = b.rtp[-1].sequence, b.rtp[-1].ssrc
    for n in range(1, 90):
        payload = g711.encode(tone.read(), "PCMU")
        packet = RtpPacket(
            payload_type=0, sequence=sequence + n & 0xFFFF, timestamp=160 * n, ssrc=ssrc, payload=payload
        )
        a.stream.receive_rtp(packet.to_bytes(), B, call.now)
        a.heard.append(a.stream.play(call.now))
        call.now += 0.02
    assert {len(frame) for frame in a.heard} == {1920}
    assert a.tone() == pytest.approx(700, abs=5)


def test_comfort_noise_is_heard_at_its_level_until_somebody_speaks() -> None:
    a, b = pair("PCMU")
    b.oscillator = None
    call = Call(a, b)
    b.oscillator = None
    noise = RtpPacket(payload_type=13, sequence=7, timestamp=0, ssrc=9, payload=b"\x32")  # -50 dBov
    for n in range(3):
        a.stream.receive_rtp(
            RtpPacket(payload_type=13, sequence=7 + n, timestamp=160 * n, ssrc=9, payload=noise.payload).to_bytes(),
            B,
            call.now,
        )
        call.run(0.02)
    call.run(2)
    level = 20 * math.log10(rms(b"".join(a.heard[-50:])) / 32768)
    assert level == pytest.approx(-50, abs=1)
    assert a.stream.receiver.unknown_payloads == 0


@pytest.mark.parametrize("codec", ["PCMU", "G722"])
def test_our_silence_goes_out_as_comfort_noise_to_who_hears_it(codec: str) -> None:
    a, b = pair(codec)
    call = Call(a, b)
    a.stream.sender.suppressor = SilenceSuppressor()
    a.oscillator = Oscillator(440, rate=a.stream.receiver.rate, level_dbfs=-60)
    call.run(3)
    noise = [packet for packet in a.rtp if packet.payload_type == 13]
    assert 6 <= len(noise) <= 7 and {packet.payload for packet in noise} == {bytes([63])}
    assert len(a.rtp) == 15 + len(noise)
    level = 20 * math.log10(rms(b"".join(b.heard[-50:])) / 32768)
    assert level == pytest.approx(-63, abs=1.5), "and they hear a room, no dead line"
    assert b.stream.report().rx.lost == 0
    a.oscillator = Oscillator(440, rate=a.stream.receiver.rate)
    a.sent.clear()
    call.run(1)
    assert {packet.payload_type for packet in a.rtp} == {0 if codec == "PCMU" else 9}
    assert [packet.marker for packet in a.rtp] == [True] + [False] * 49
    assert b.tone() == pytest.approx(440, abs=2)


def test_who_hears_no_comfort_noise_is_sent_our_silence() -> None:
    a, b = pair("PCMU")
    call = Call(a, b)
    a.stream.sender.suppressor = SilenceSuppressor()
    a.negotiator.accept_answer(b.negotiator.answer(a.negotiator.offer().replace(b"AVP 0 13", b"AVP 0")))
    a.configure()
    a.oscillator = Oscillator(440, level_dbfs=-60)
    call.run(1)
    assert {packet.payload_type for packet in a.rtp} == {0} and len(a.rtp) == 50


class TestEncrypted:
    def test_E02_nothing_is_readable_and_all_is_heard(self) -> None:
        call = Call(*pair("PCMU", srtp="required"))
        call.run(3)
        assert call.a.tone() == pytest.approx(1000, abs=2)
        assert call.b.tone() == pytest.approx(440, abs=2)
        clear = Call(*pair("PCMU"))
        clear.run(0.5)
        assert not {p.payload[:40] for p in clear.a.rtp} & {parse_rtp(d.data).payload[:40] for d in call.a.sent[:20]}
        assert call.a.stream.report().remote is not None, "RTCP is encrypted, too, and understood"

    def test_T21_a_strangers_packets_teach_nothing_and_are_counted(self) -> None:
        """Fails without the look at the guard before the latch in ``AudioStream.receive_rtp``."""
        call = Call(*pair("PCMU", srtp="required"))
        call.run(1)
        for n in range(50):
            forged = RtpPacket(payload_type=0, sequence=n, timestamp=160 * n, ssrc=99, payload=bytes(160))
            call.a.stream.receive_rtp(forged.to_bytes(), STRANGER, call.now)
        assert call.a.stream.forged == 50
        assert call.a.stream.latch.destination == B
        call.run(1)
        assert call.a.tone() == pytest.approx(1000, abs=2)

    def test_E02_what_was_recorded_cannot_be_played_again(self) -> None:
        call = Call(*pair("PCMU", srtp="required"))
        call.run(1)
        for datagram in list(call.b.sent):
            if not datagram.rtcp:
                call.a.stream.receive_rtp(datagram.data, B, call.now)
        assert call.a.stream.forged > 40

    def test_a_new_offer_with_the_same_keys_goes_on_counting(self) -> None:
        """Fails where the guard is made anew at each offer: old packets would be taken once more."""
        call = Call(*pair("PCMU", srtp="required"))
        call.run(1)
        old = [datagram.data for datagram in call.b.sent if not datagram.rtcp][-30:]
        call.negotiate(call.a, call.b)
        for data in old:
            call.a.stream.receive_rtp(data, B, call.now)
        assert call.a.stream.forged >= 29, "one is still on its way"
        call.run(1)
        assert call.a.tone() == pytest.approx(1000, abs=2)
