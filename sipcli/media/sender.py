"""The speaking half of a stream: 20 ms of PCM in on every beat, packets out (RFC 3550 section 5, RFC 4733)."""

from __future__ import annotations

from dataclasses import dataclass

from sipcli.media.agreement import COMFORT_NOISE, Agreement
from sipcli.media.codecs import Codec, Encoder, Format, make_encoder
from sipcli.media.dtmf import DIGITS, GAP_MS, TONE_MS, DtmfSender, check_digits
from sipcli.media.quality import TxStats
from sipcli.media.rtp import RtpPacket
from sipcli.media.suppress import SilenceSuppressor
from sipcli.media.tone import FRAME, Oscillator, dtmf_frequencies

__all__ = ["Beginning", "RtpSender"]


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a stream's numbers begin: random, so that encryption has nothing known to start from (RFC 3550 5.1)."""

    ssrc: int
    sequence: int
    timestamp: int

    @classmethod
    def from_random(cls, octets: bytes) -> Beginning:
        """Out of ten random octets."""
        return cls(
            int.from_bytes(octets[:4]),
            # The upper half is left out: a peer may take an early wrap for a restart.
            int.from_bytes(octets[4:6]) >> 1,
            int.from_bytes(octets[6:10]),
        )


class RtpSender:
    """Numbers and stamps what leaves.  The timestamp advances on every beat, also on those that send nothing."""

    def __init__(self, beginning: Beginning) -> None:
        self.ssrc = beginning.ssrc
        self.timestamp = beginning.timestamp
        self._sequence = beginning.sequence
        self._agreement: Agreement | None = None
        self._encoder: Encoder | None = None
        self._encodes: tuple[Codec, Format] | None = None
        self._ticks = FRAME
        self._event_timestamp = 0
        self._talking = False
        self._inband: list[bytes] = []
        self.suppressor: SilenceSuppressor | None = None
        """None: silence is sent like any other sound."""
        self.dtmf = DtmfSender()
        self.packets = 0
        self.octets = 0
        self._reported = (0, 0)
        self._earlier = TxStats()
        self.skipped = 0

    def configure(self, agreement: Agreement) -> None:
        """What holds from now on; the encoder is a new one only if its codec, or what the peer asks of it, changed."""
        self._agreement = agreement
        self._ticks = agreement.codec.ticks
        self.dtmf.clock_rate = agreement.send_event_clock
        wanted = agreement.codec, agreement.send_format
        if wanted != self._encodes:
            self._encodes, self._encoder = wanted, make_encoder(*wanted)

    def expect_loss(self, percent: float) -> None:
        """The peer misses so many of our packets."""
        if self._encoder is not None:
            self._encoder.expect_loss(percent)

    @property
    def dtmf_idle(self) -> bool:
        return self.dtmf.idle and not self._inband

    def dial(self, digits: str, *, inband: bool = False) -> str:
        """Queue *digits*; how they will go: ``rfc4733``, or as tones where that is wanted or the peer takes no events.

        LocalProtocolError when one of them is none.
        """
        wanted = check_digits(digits)
        if self._agreement is not None and (inband or self._agreement.send_event_type is None):
            self._inband += _tones(wanted, self._agreement.codec.sample_rate)
            return "inband"
        self.dtmf.push(wanted)
        return "rfc4733"

    def beat(self, pcm: bytes | None) -> RtpPacket | None:
        """The packet of this beat, made of 20 ms of *pcm*; None: silence in our source, nothing is sent."""
        packet = self._compose(pcm)
        self.timestamp = self.timestamp + self._ticks & 0xFFFFFFFF
        return packet

    def rest(self) -> None:
        """A beat in which nothing may be sent, in the place of :meth:`beat`: what is queued waits."""
        self._talking = False
        self.timestamp = self.timestamp + self._ticks & 0xFFFFFFFF

    def skip(self, beats: int) -> None:
        """Beats that passed unseen: time goes on, the sequence does not."""
        self.skipped += beats
        self.timestamp = self.timestamp + beats * self._ticks & 0xFFFFFFFF

    def _compose(self, pcm: bytes | None) -> RtpPacket | None:
        agreement = self._agreement
        if agreement is None or not agreement.may_send:
            self._talking = False
            return None
        event = self.dtmf.step() if agreement.send_event_type is not None else None
        if event is not None and agreement.send_event_type is not None:
            if event.marker:
                self._event_timestamp = self.timestamp
            payload = event.payload.to_bytes()
            return self._number(agreement.send_event_type, self._event_timestamp, payload, marker=event.marker)
        tones = bool(self._inband)
        if tones:
            pcm = self._inband.pop(0)
        if pcm is None:
            self._talking = False
            return None
        if self.suppressor is not None and agreement.takes_noise and not tones:
            noise = self.suppressor.judge(pcm)
            if noise is not None:
                self._talking = False
                return self._number(COMFORT_NOISE, self.timestamp, noise, marker=False) if noise else None
        assert self._encoder is not None  # it came with the agreement
        payload = self._encoder.encode(pcm)
        if not payload:
            self._talking = False
            return None
        # RFC 3551 section 4.1: M on the first packet after silence.
        marker, self._talking = not self._talking, True
        return self._number(agreement.send_type, self.timestamp, payload, marker=marker)

    def _number(self, payload_type: int, timestamp: int, payload: bytes, *, marker: bool) -> RtpPacket:
        packet = RtpPacket(
            payload_type=payload_type,
            sequence=self._sequence,
            timestamp=timestamp,
            ssrc=self.ssrc,
            payload=payload,
            marker=marker,
        )
        self._sequence = self._sequence + 1 & 0xFFFF
        self.packets += 1
        self.octets += len(payload)
        return packet

    def spoke_lately(self) -> bool:
        """Is the report that is due a sender's?  Whoever sent nothing for two of them is none (RFC 3550 section 6.4).

        To be asked once for each report.
        """
        before, last = self._reported
        self._reported = last, self.packets
        return self.packets > before

    def change_ssrc(self, ssrc: int) -> None:
        """After a collision (RFC 3550 section 8.2): what reports count begins anew, as for a new source."""
        self._earlier = self.stats()
        self.ssrc = ssrc
        self.packets = self.octets = 0
        self._reported = (0, 0)

    def stats(self) -> TxStats:
        earlier = self._earlier
        return TxStats(
            packets=earlier.packets + self.packets, octets=earlier.octets + self.octets, skipped=self.skipped
        )


def _tones(digits: str, rate: int) -> list[bytes]:
    silence = bytes(2 * (rate // 50))
    frames: list[bytes] = []
    for digit in digits:
        if digit not in DIGITS:
            frames += [silence] * 25
            continue
        tone = Oscillator(*dtmf_frequencies(digit), level_dbfs=-14.0, rate=rate)
        frames += [tone.read() for _ in range(TONE_MS // 20)]
        frames += [silence] * (GAP_MS // 20)
    return frames
