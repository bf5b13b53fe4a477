"""RTP packets as values, and what a receiver learns from them: RFC 3550 sections 5, 6.4.1, A.1, A.3 and A.8."""

from __future__ import annotations

import struct
from typing import NamedTuple

from sipcli.errors import ParseError

__all__ = ["CLOCK_RATE", "RtpPacket", "SourceStatistics", "is_rtcp", "parse_rtp"]

CLOCK_RATE = 8000
"""Hz: the RTP clock of telephony."""

_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")

_MAX_DROPOUT = 3000
_MAX_MISORDER = 100


class RtpPacket(NamedTuple):
    """One packet (RFC 3550 section 5.1).  *extension* is (profile, octets), a multiple of four of them."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None

    def to_bytes(self) -> bytes:
        first = 0x80 | (0x10 if self.extension is not None else 0) | len(self.csrcs)
        second = (0x80 if self.marker else 0) | self.payload_type
        head = _HEADER.pack(first, second, self.sequence, self.timestamp, self.ssrc)
        if self.csrcs:
            head += struct.pack(f"!{len(self.csrcs)}I", *self.csrcs)
        if self.extension is not None:
            profile, octets = self.extension
            head += _EXTENSION.pack(profile, len(octets) // 4) + octets
        return head + self.payload


def parse_rtp(data: bytes) -> RtpPacket:
    """A datagram as a packet, its padding taken off; ParseError when it is not RTP version 2."""
    if len(data) < _HEADER.size:
        raise ParseError("RTP: shorter than its header")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first >> 6 != 2:
        raise ParseError(f"RTP: version {first >> 6}, not 2")
    if first == 0x80:  # no padding, no extension, nobody contributes: nearly all there are
        return RtpPacket(second & 0x7F, sequence, timestamp, ssrc, data[_HEADER.size :], second >= 0x80)
    offset = _HEADER.size + 4 * (first & 0x0F)
    if len(data) < offset:
        raise ParseError("RTP: shorter than its list of contributing sources")
    csrcs = struct.unpack_from(f"!{first & 0x0F}I", data, _HEADER.size)
    extension = None
    if first & 0x10:
        extension, offset = _parse_extension(data, offset)
    end = len(data)
    if first & 0x20:
        padding = data[-1]
        if padding == 0 or offset + padding > end:
            raise ParseError("RTP: more padding than packet")
        end -= padding
    return RtpPacket(
        payload_type=second & 0x7F,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=data[offset:end],
        marker=bool(second & 0x80),
        csrcs=csrcs,
        extension=extension,
    )


def _parse_extension(data: bytes, offset: int) -> tuple[tuple[int, bytes], int]:
    if len(data) < offset + _EXTENSION.size:
        raise ParseError("RTP: shorter than its extension's header")
    profile, words = _EXTENSION.unpack_from(data, offset)
    start = offset + _EXTENSION.size
    end = start + 4 * words
    if len(data) < end:
        raise ParseError("RTP: shorter than its extension")
    return (profile, data[start:end]), end


def is_rtcp(data: bytes) -> bool:
    """Which of the two a datagram on a shared port is (RFC 5761 section 4): RTCP's types are 192..223."""
    return len(data) >= 2 and 192 <= data[1] <= 223


class SourceStatistics:
    """What one SSRC has sent us, by RFC 3550 appendix A: sequence (A.1), loss (A.3), jitter (A.8).

    The source is known from signalling, so probation is one packet long. A jump in the sequence
    restarts the count once two packets in a row agree on it (A.1's *bad_seq*).
    """

    def __init__(self, ssrc: int, sequence: int, *, clock_rate: int = CLOCK_RATE) -> None:
        self.ssrc = ssrc
        self.received = 0
        self.restarts = 0
        """How often the sequence began anew: its numbers have nothing to do with those before."""
        self._clock_rate = clock_rate
        self._earlier_expected = 0
        self._transit: float | None = None
        self._transit_timestamp: int | None = None
        self._jitter = 0.0
        self._restart(sequence)
        self._reported_expected = 0
        self._reported_received = 0

    def _restart(self, sequence: int) -> None:
        self._base = sequence
        self._highest = sequence
        self._suspect: int | None = None

    @property
    def highest_sequence(self) -> int:
        """Extended: the number of wraps is in the upper 16 bits."""
        return self._highest

    @property
    def expected(self) -> int:
        if self.received == 0:
            return 0
        return self._earlier_expected + self._highest - self._base + 1

    @property
    def lost(self) -> int:
        """May be negative: duplicates count as received (RFC 3550 section 6.4.1)."""
        return self.expected - self.received

    @property
    def clock_rate(self) -> int:
        """Hz of the timestamps that are coming in."""
        return self._clock_rate

    def tune(self, clock_rate: int) -> None:
        """The payload type, and with it the clock, has changed: the jitter so far is kept, in seconds."""
        if clock_rate != self._clock_rate:
            self._jitter *= clock_rate / self._clock_rate
            self._transit = self._transit_timestamp = None
            self._clock_rate = clock_rate

    @property
    def jitter_s(self) -> float:
        return self._jitter / self._clock_rate

    @property
    def jitter_units(self) -> int:
        """In RTP clock units, as a reception report carries it."""
        return int(self._jitter)

    def update(self, packet: RtpPacket, now: float) -> int | None:
        """Count *packet*, received at *now*; its extended sequence number, or None when it is not believed yet."""
        extended = self.extend(packet.sequence)
        step = extended - self._highest
        if step >= _MAX_DROPOUT or step <= -_MAX_MISORDER:
            if packet.sequence != self._suspect:
                self._suspect = packet.sequence + 1 & 0xFFFF
                return None
            # The peer restarted: what it sent before stays counted (A.1 would forget it, and a report with it).
            self._earlier_expected = self.expected
            self._restart(packet.sequence)
            self.restarts += 1
            extended, self._transit = packet.sequence, None
        elif step > 0:
            self._highest = extended
        self._suspect = None
        self.received += 1
        self._measure_jitter(packet.timestamp, now)
        return extended

    def extend(self, sequence: int) -> int:
        """The extended number nearest to the highest one seen."""
        delta = (sequence - self._highest & 0xFFFF ^ 0x8000) - 0x8000
        return self._highest + delta

    def _measure_jitter(self, timestamp: int, now: float) -> None:
        # A.8: D(i,j) = (Rj - Sj) - (Ri - Si), J += (|D| - J) / 16. Packets that share a timestamp
        # (an event's updates, RFC 4733) say nothing about the network's delay.
        if timestamp == self._transit_timestamp:
            return
        arrival = now * self._clock_rate
        if self._transit is not None and self._transit_timestamp is not None:
            elapsed = (timestamp - self._transit_timestamp & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
            difference = abs(arrival - self._transit - elapsed)
            if difference < 10 * self._clock_rate:
                self._jitter += (difference - self._jitter) / 16
        self._transit = arrival
        self._transit_timestamp = timestamp

    def report_interval(self) -> tuple[int, int]:
        """(expected, received) since the last call: the fraction lost of a report (RFC 3550 A.3)."""
        expected, received = self.expected, self.received
        interval = expected - self._reported_expected, received - self._reported_received
        self._reported_expected, self._reported_received = expected, received
        return interval
