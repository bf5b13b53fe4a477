"""The speaking half of a stream: 20 ms of PCM in on every beat, packets out (RFC 3550 section 5, RFC 4733)."""

from __future__ import annotations

from dataclasses import dataclass

from sipcli.media import g711
from sipcli.media.dtmf import DIGITS, GAP_MS, TONE_MS, DtmfSender, check_digits
from sipcli.media.offer import Agreement
from sipcli.media.quality import TxStats
from sipcli.media.rtp import RtpPacket
from sipcli.media.tone import FRAME, SILENCE, Oscillator, dtmf_frequencies

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
        self._event_timestamp = 0
        self._talking = False
        self._inband: list[bytes] = []
        self.dtmf = DtmfSender()
        self.packets = 0
        self.octets = 0
        self._earlier = TxStats()
        self.skipped = 0

    def configure(self, agreement: Agreement) -> None:
        self._agreement = agreement

    @property
    def dtmf_idle(self) -> bool:
        return self.dtmf.idle and not self._inband

    def dial(self, digits: str) -> str:
        """Queue *digits*; how they will go: ``rfc4733``, or ``inband`` as tones where the peer takes no events.

        LocalProtocolError when one of them is none.
        """
        wanted = check_digits(digits)
        if self._agreement is not None and self._agreement.send_event_type is None:
            self._inband += _tones(wanted)
            return "inband"
        self.dtmf.push(wanted)
        return "rfc4733"

    def beat(self, pcm: bytes | None) -> RtpPacket | None:
        """The packet of this beat, made of 20 ms of *pcm*; None: silence in our source, nothing is sent."""
        packet = self._compose(pcm)
        self.timestamp = self.timestamp + FRAME & 0xFFFFFFFF
        return packet

    def skip(self, beats: int) -> None:
        """Beats that passed unseen: time goes on, the sequence does not."""
        self.skipped += beats
        self.timestamp = self.timestamp + beats * FRAME & 0xFFFFFFFF

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
        if self._inband:
            pcm = self._inband.pop(0)
        if pcm is None:
            self._talking = False
            return None
        # RFC 3551 section 4.1: M on the first packet after silence.
        marker, self._talking = not self._talking, True
        return self._number(agreement.send_type, self.timestamp, g711.encode(pcm, agreement.codec.name), marker=marker)

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

    def change_ssrc(self, ssrc: int) -> None:
        """After a collision (RFC 3550 section 8.2): what reports count begins anew, as for a new source."""
        self._earlier = self.stats()
        self.ssrc = ssrc
        self.packets = self.octets = 0

    def stats(self) -> TxStats:
        earlier = self._earlier
        return TxStats(
            packets=earlier.packets + self.packets, octets=earlier.octets + self.octets, skipped=self.skipped
        )


def _tones(digits: str) -> list[bytes]:
    frames: list[bytes] = []
    for digit in digits:
        if digit not in DIGITS:
            frames += [SILENCE] * 25
            continue
        tone = Oscillator(*dtmf_frequencies(digit), level_dbfs=-14.0)
        frames += [tone.read() for _ in range(TONE_MS // 20)]
        frames += [SILENCE] * (GAP_MS // 20)
    return frames
