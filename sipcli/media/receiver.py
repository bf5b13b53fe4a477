"""The listening half of a stream: packets in at any time, 20 ms of PCM out on every beat (RFC 3550, 3551, 4733)."""

from __future__ import annotations

from collections import deque

from sipcli.errors import ParseError
from sipcli.media import g711
from sipcli.media.conceal import Concealer
from sipcli.media.dtmf import DtmfReceived, DtmfReceiver, EventPayload
from sipcli.media.jitter import JitterBuffer, Nothing
from sipcli.media.offer import Agreement
from sipcli.media.quality import AudioMeter, RxStats
from sipcli.media.rtcp import ReportBlock, SenderReport, ntp_middle
from sipcli.media.rtp import CLOCK_RATE, RtpPacket, SourceStatistics
from sipcli.media.tone import FRAME, SILENCE

__all__ = ["RtpReceiver"]

_FRAME_OCTETS = 2 * FRAME
_LONGEST_UPDATE = 5 * FRAME


class RtpReceiver:
    """Takes packets of one peer, already judged to be his; he may change his SSRC (a transfer behind an SBC)."""

    def __init__(self) -> None:
        self._agreement: Agreement | None = None
        self._source: SourceStatistics | None = None
        self._past_expected = 0
        self._past_received = 0
        self._pcm = bytearray()
        self._last_sr: tuple[int, float] | None = None
        self._newcomer: int | None = None
        self._event: tuple[int, int] | None = None
        self.jitter = JitterBuffer()
        self.concealer = Concealer()
        self.meter = AudioMeter()
        self.digits: deque[DtmfReceived] = deque()
        """Digits heard and not yet taken."""
        self._dtmf = DtmfReceiver()
        self.last_arrival: float | None = None
        self.unknown_payloads = 0

    def configure(self, agreement: Agreement) -> None:
        self._agreement = agreement

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
        sequence = source.update(packet, now)
        if sequence is None:
            return
        self.last_arrival = now
        if packet.payload_type in agreement.receive_event_types:
            try:
                self.digits += self._dtmf.receive(packet, now)
            except ParseError:
                self.unknown_payloads += 1
        elif packet.payload_type not in agreement.receive_types:
            # Comfort noise that nobody agreed on, say: not played, but its number is not lost either.
            self.unknown_payloads += 1
        elif packet.payload:
            self.jitter.packet_s = len(packet.payload) / CLOCK_RATE
        if agreement.may_receive:
            # On hold a peer may go on sending: counted, so that resuming shows no loss, but not played.
            self.jitter.put(sequence, packet, now, source.jitter_s)

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
        self.jitter.reset()
        return self._source

    def play(self, now: float) -> bytes:
        """The 20 ms that are due: heard, concealed, or silent."""
        self.digits += self._dtmf.expire(now)
        while len(self._pcm) < _FRAME_OCTETS:
            taken = self.jitter.take(now)
            if isinstance(taken, RtpPacket):
                self._pcm += self._decode(taken)
            elif taken is Nothing.LOST:
                self._pcm += self._conceal()
            else:
                # Not due, or nothing there: this frame is filled up, and the next packet waits for the next one.
                self._pcm += self.concealer.lost() if self.jitter.playing and self._event is None else SILENCE
                break
        frame = bytes(self._pcm[:_FRAME_OCTETS])
        del self._pcm[: max(_FRAME_OCTETS, len(self._pcm) - 10 * _FRAME_OCTETS)]
        self.meter.feed(frame)
        return frame

    def _decode(self, packet: RtpPacket) -> bytes:
        agreement = self._agreement
        codec = None if agreement is None else agreement.receive_types.get(packet.payload_type)
        if codec is not None:
            self._event = None
            return self.concealer.heard(g711.decode(packet.payload, codec.name))
        if agreement is None or packet.payload_type not in agreement.receive_event_types:
            return SILENCE
        return bytes(2 * self._lasted(packet))

    def _lasted(self, packet: RtpPacket) -> int:
        """How many samples of silence stand for an event's packet: what it lasted longer than the one before.

        So the end packets, which many send three of at once, do not lengthen the delay (RFC 4733 section 2.5.1.4).
        """
        try:
            duration = EventPayload.parse(packet.payload).duration
        except ParseError:
            return FRAME
        timestamp, before = self._event or (packet.timestamp, 0)
        if timestamp != packet.timestamp:
            before = 0
        self._event = packet.timestamp, max(before, duration)
        return min(_LONGEST_UPDATE, max(0, duration - before))

    def _conceal(self) -> bytes:
        frames = max(1, round(self.jitter.packet_s / JitterBuffer.FRAME_S))
        return b"".join(self.concealer.lost() for _ in range(frames))

    # -- reports ------------------------------------------------------------

    def heard_report(self, report: SenderReport, now: float) -> None:
        """The peer's SR: our next block echoes its time, so that he can tell the round trip."""
        if report.ssrc == self.ssrc:
            self._last_sr = ntp_middle(report.ntp), now

    def block(self, now: float) -> ReportBlock | None:
        """What we tell the peer of his stream; once per report, for the fraction is of the time since the last."""
        source = self._source
        if source is None:
            return None
        expected, received = source.report_interval()
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
