"""The listening half of a stream: packets in at any time, 20 ms of PCM out on every beat (RFC 3550, 3551, 4733)."""

from __future__ import annotations

from collections import deque

from sipcli.errors import ParseError
from sipcli.media.agreement import COMFORT_NOISE, Agreement
from sipcli.media.bursts import BurstMeter
from sipcli.media.codecs import Codec, Decoder, make_decoder
from sipcli.media.comfort import ComfortNoise
from sipcli.media.conceal import Concealer
from sipcli.media.dtmf import DtmfReceived, DtmfReceiver, EventPayload
from sipcli.media.jitter import JitterBuffer, Nothing
from sipcli.media.quality import AudioMeter, RxStats
from sipcli.media.resample import Resampler
from sipcli.media.rtcp import ReportBlock, SenderReport, ntp_middle
from sipcli.media.rtp import RtpPacket, SourceStatistics
from sipcli.media.tone import SAMPLE_RATE, pcm_of, samples_of

__all__ = ["RtpReceiver"]

_LONGEST_UPDATE_S = 0.1


class RtpReceiver:
    """Takes packets of one peer, already judged to be his; he may change his SSRC (a transfer behind an SBC).

    :attr:`rate` is that of the codec agreed on; what comes in another codec that we offered, too, is resampled to it.
    """

    def __init__(self) -> None:
        self.rate = SAMPLE_RATE
        self._frame_octets = 2 * (SAMPLE_RATE // 50)
        self._decoders: dict[int, tuple[Codec, Decoder]] = {}
        self._resamplers: dict[int, Resampler] = {}
        self._last: tuple[Codec, Decoder] | None = None
        self._noise: ComfortNoise | None = None
        self._filled = 0
        self._agreement: Agreement | None = None
        self._source: SourceStatistics | None = None
        self._past_expected = 0
        self._past_received = 0
        self._pcm = b""
        self._last_sr: tuple[int, float] | None = None
        self._newcomer: int | None = None
        self._event: tuple[int, int] | None = None
        self.jitter = JitterBuffer()
        self.concealer = Concealer()
        self.meter = AudioMeter()
        self.bursts = BurstMeter()
        self.digits: deque[DtmfReceived] = deque()
        """Digits heard and not yet taken."""
        self._dtmf = DtmfReceiver()
        self.last_arrival: float | None = None
        self.unknown_payloads = 0

    def configure(self, agreement: Agreement) -> None:
        """What holds from now on; decoders whose payload type still means the same go on."""
        types = agreement.receive_types
        self._decoders = {n: known for n, known in self._decoders.items() if types.get(n) == known[0]}
        self._agreement = agreement
        if agreement.codec.sample_rate != self.rate:
            self.rate = agreement.codec.sample_rate
            self._frame_octets = 2 * agreement.codec.frame
            self._pcm = b""
            self._resamplers.clear()
            self.concealer = Concealer(self.rate)
            self.meter.tune(self.rate)

    @property
    def ssrc(self) -> int | None:
        """Of the present source."""
        return None if self._source is None else self._source.ssrc

    def receive(self, packet: RtpPacket, now: float) -> None:
        """Count, order and keep *packet*."""
        agreement = self._agreement
        source = self._source_of(packet)
        if agreement is None or source is None:
            return
        codec = agreement.receive_types.get(packet.payload_type)
        if codec is not None:
            source.tune(codec.clock_rate)
        restarts = source.restarts
        sequence = source.update(packet, now)
        if sequence is None:
            return
        if source.restarts != restarts:
            self.jitter.reset()  # else what comes now is older than what was played, until it has caught up
        self.last_arrival = now
        if packet.payload_type in agreement.receive_event_types:
            try:
                self.digits += self._dtmf.receive(packet, now, agreement.receive_event_types[packet.payload_type])
            except ParseError:
                self.unknown_payloads += 1
        elif codec is None:
            # Not played, but its number is not lost either.
            self.unknown_payloads += packet.payload_type != COMFORT_NOISE
        elif packet.payload and not self._measure(packet, codec):
            self.unknown_payloads += 1
            return
        if agreement.may_receive:
            # On hold a peer may go on sending: counted, so that resuming shows no loss, but not played.
            self.jitter.put(sequence, packet, now, source.jitter_s)

    def _measure(self, packet: RtpPacket, codec: Codec) -> bool:
        """How long is *packet*?  False: it is none of its codec's, and would only be taken for a loss later."""
        try:
            samples = self._decoder(packet.payload_type, codec).samples_in(packet.payload)
        except ParseError:
            return False
        self.jitter.packet_s = samples / codec.sample_rate
        return True

    def _decoder(self, payload_type: int, codec: Codec) -> Decoder:
        known = self._decoders.get(payload_type)
        if known is None:
            known = self._decoders[payload_type] = codec, make_decoder(codec)
        return known[1]

    def _source_of(self, packet: RtpPacket) -> SourceStatistics | None:
        """The present source; another SSRC takes its place with its second packet in a row (RFC 3550 section A.1)."""
        if self._source is not None and self._source.ssrc == packet.ssrc:
            self._newcomer = None
            return self._source
        if self._source is not None:
            if self._newcomer != packet.ssrc:
                self._newcomer = packet.ssrc
                return None
            self._past_expected += self._source.expected
            self._past_received += self._source.received
        self._source = SourceStatistics(packet.ssrc, packet.sequence)
        self._last_sr = self._newcomer = self._event = None
        self._dtmf = DtmfReceiver()
        self._decoders.clear()
        self._last = self._noise = None
        self.jitter.reset()
        return self._source

    def play(self, now: float) -> bytes:
        """The 20 ms that are due: heard, concealed, or silent."""
        self.digits += self._dtmf.expire(now)
        octets, pcm, more = self._frame_octets, self._pcm, True
        while more and len(pcm) < octets:
            taken, more = self._take(now)
            pcm += taken
        frame, self._pcm = pcm[:octets], pcm[max(octets, len(pcm) - 10 * octets) :]
        if len(frame) < octets:
            frame += bytes(octets - len(frame))
        self.meter.feed(frame)
        return frame

    def _take(self, now: float) -> tuple[bytes, bool]:
        """What comes next, and whether there may be more after it in the same frame."""
        taken = self.jitter.take(now)
        if self.jitter.waited_for:
            for _ in range(self.jitter.waited_for):
                self.bursts.feed(lost=True)
            self.jitter.waited_for = 0
        if isinstance(taken, RtpPacket):
            self.bursts.feed(lost=False)
            return self._decode(taken), True
        if taken is Nothing.LOST:
            self.bursts.feed(lost=True)
            return self._conceal(self.jitter.packet_s, self.jitter.following), True
        # Not due, or nothing there: this frame is filled up, and the next packet waits for the next one.
        return self._fill(), False

    def _fill(self) -> bytes:
        if self._noise is not None:
            return self.concealer.heard(self._noise.read())
        self._filled += 1
        if self._event is None and (self.jitter.playing or self._rests()):
            return self._conceal(JitterBuffer.FRAME_S, None)
        return bytes(self._frame_octets)

    def _rests(self) -> bool:
        """May it be silence that the peer need not send?  Else there would be holes between one packet and the next."""
        return self._last is not None and self._filled * JitterBuffer.FRAME_S <= self._last[0].rests_s

    def _decode(self, packet: RtpPacket) -> bytes:
        agreement = self._agreement
        if agreement is None:
            return bytes(self._frame_octets)
        codec = agreement.receive_types.get(packet.payload_type)
        if codec is not None:
            after_noise = self._noise is not None
            self._event = self._noise = None
            return self._heard(packet, codec, goes_on=not after_noise)
        if packet.payload_type in agreement.receive_event_types:
            return bytes(2 * self._lasted(packet, agreement.receive_event_types[packet.payload_type]))
        if packet.payload_type == COMFORT_NOISE:
            begins = self._noise is None
            self._noise = ComfortNoise.parse(packet.payload, self.rate)
            return self.concealer.heard(self._noise.read(), goes_on=not begins)
        return bytes(self._frame_octets)

    def _heard(self, packet: RtpPacket, codec: Codec, *, goes_on: bool) -> bytes:
        decoder = self._decoder(packet.payload_type, codec)
        self._last, self._filled = (codec, decoder), 0
        try:
            pcm = decoder.decode(packet.payload)
        except ParseError:
            self.unknown_payloads += 1
            return self._conceal(self.jitter.packet_s, None)
        return self.concealer.heard(self._resampled(pcm, codec), goes_on=goes_on)

    def _resampled(self, pcm: bytes, codec: Codec) -> bytes:
        if codec.sample_rate == self.rate:
            return pcm
        resampler = self._resamplers.get(codec.sample_rate)
        if resampler is None:
            resampler = self._resamplers[codec.sample_rate] = Resampler(codec.sample_rate, self.rate)
        return pcm_of(resampler.push(samples_of(pcm)))

    def _lasted(self, packet: RtpPacket, clock_rate: int) -> int:
        """How many samples of silence stand for an event's packet: what it lasted longer than the one before.

        So the end packets, which many send three of at once, do not lengthen the delay (RFC 4733 section 2.5.1.4).
        """
        try:
            duration = EventPayload.parse(packet.payload).duration
        except ParseError:
            return self._frame_octets // 2
        timestamp, before = self._event or (packet.timestamp, 0)
        if timestamp != packet.timestamp:
            before = 0
        self._event = packet.timestamp, max(before, duration)
        return int(min(_LONGEST_UPDATE_S, max(0, duration - before) / clock_rate) * self.rate)

    def _conceal(self, seconds: float, following: RtpPacket | None) -> bytes:
        """What stands for *seconds* that were lost: the codec's own idea of it, else the last pitch period, fading."""
        if self._last is not None:
            codec, decoder = self._last
            same = following is not None and self._same_codec(following, codec)
            payload = following.payload if following is not None and same else None
            pcm = decoder.conceal(round(seconds * codec.sample_rate), payload)
            if pcm is not None:
                return self._resampled(pcm, codec)
        frames = max(1, round(seconds / JitterBuffer.FRAME_S))
        return b"".join(self.concealer.lost() for _ in range(frames))

    def _same_codec(self, packet: RtpPacket, codec: Codec) -> bool:
        return self._agreement is not None and self._agreement.receive_types.get(packet.payload_type) == codec

    # -- reports ------------------------------------------------------------

    def heard_report(self, report: SenderReport, now: float) -> None:
        """The peer's SR: our next block echoes its time, so that he can tell the round trip."""
        if report.ssrc == self.ssrc:
            self._last_sr = ntp_middle(report.ntp), now

    def block(self, now: float) -> ReportBlock | None:
        """What we tell the peer of his stream; once per report, for the fraction is of the time since the last.

        None: nothing of it came since (RFC 3550 section 6.4).
        """
        source = self._source
        if source is None:
            return None
        expected, received = source.report_interval()
        if not received:
            return None
        lost = max(0, expected - received)
        last_sr, at = self._last_sr or (0, now)
        return ReportBlock(
            ssrc=source.ssrc,
            fraction_lost=min(255, 256 * lost // expected) if expected > 0 else 0,
            lost=source.lost,
            highest_sequence=source.highest_sequence,
            jitter=source.jitter_units,
            last_sr=last_sr,
            delay=int((now - at) * 65536) & 0xFFFFFFFF,
        )

    @property
    def expected(self) -> int:
        return self._past_expected + (self._source.expected if self._source else 0)

    def stats(self) -> RxStats:
        received = self._past_received + (self._source.received if self._source else 0)
        expected = self.expected
        lost = max(0, expected - received)
        return RxStats(
            packets=received,
            lost=lost,
            lost_pct=round(100 * lost / expected, 2) if expected else 0.0,
            jitter_ms=round(1000 * self._source.jitter_s, 2) if self._source else 0.0,
            late=self.jitter.late,
            rms_dbfs=self.meter.rms_dbfs,
            speech_pct=self.meter.speech_pct,
        )
