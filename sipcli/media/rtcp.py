"""RTCP as values: SR, RR, SDES and BYE in compound packets, round-trip time, and when the next one is due.

RFC 3550 sections 6.1 to 6.6 and A.2 (validity), RFC 7022 (a CNAME that names nobody).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TypeAlias

from sipcli.errors import ParseError
from sipcli.media.rtcpxr import ExtendedReport, parse_extended

__all__ = [
    "Bye",
    "ReceiverReport",
    "ReportBlock",
    "RtcpPacket",
    "RtcpSchedule",
    "SenderReport",
    "SourceDescription",
    "UnknownRtcp",
    "build_compound",
    "ntp_middle",
    "parse_compound",
    "round_trip_s",
    "since_report_s",
]

_SR, _RR, _SDES, _BYE, _XR = 200, 201, 202, 203, 207
_HEADER = struct.Struct("!BBH")
_BLOCK = struct.Struct("!IIIIII")
_SENDER_INFO = struct.Struct("!IQIII")
_CNAME = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """What the reporter received from *ssrc* (RFC 3550 section 6.4.1).

    *fraction_lost* is in 1/256 since the last report, *lost* since the beginning (signed),
    *jitter* in RTP clock units, *last_sr* the middle of an NTP time, *delay* in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    lost: int
    highest_sequence: int
    jitter: int
    last_sr: int = 0
    delay: int = 0

    def to_bytes(self) -> bytes:
        lost = max(-0x800000, min(0x7FFFFF, self.lost)) & 0xFFFFFF
        return _BLOCK.pack(
            self.ssrc,
            self.fraction_lost << 24 | lost,
            self.highest_sequence & 0xFFFFFFFF,
            self.jitter & 0xFFFFFFFF,
            self.last_sr,
            self.delay,
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> ReportBlock:
        ssrc, loss, highest, jitter, last_sr, delay = _BLOCK.unpack(data)
        lost = (loss & 0xFFFFFF ^ 0x800000) - 0x800000
        return cls(
            ssrc=ssrc,
            fraction_lost=loss >> 24,
            lost=lost,
            highest_sequence=highest,
            jitter=jitter,
            last_sr=last_sr,
            delay=delay,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """*ntp* is 64 bits: seconds since 1900 and their fraction."""

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverReport:
    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """SDES; of its items only the CNAME is kept."""

    cnames: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    ssrcs: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownRtcp:
    """A type we do not read (APP, feedback): kept so that a compound parses whole."""

    packet_type: int
    count: int
    body: bytes = field(repr=False)


RtcpPacket: TypeAlias = SenderReport | ReceiverReport | SourceDescription | Bye | ExtendedReport | UnknownRtcp


# -- out --------------------------------------------------------------------


def build_compound(*packets: RtcpPacket) -> bytes:
    """One datagram; the caller puts a report first and an SDES with a CNAME behind it (RFC 3550 section 6.1)."""
    return b"".join(_format(packet) for packet in packets)


def _format(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport():
            info = _SENDER_INFO.pack(packet.ssrc, packet.ntp, packet.rtp_timestamp, packet.packets, packet.octets)
            return _framed(_SR, len(packet.blocks), info + b"".join(block.to_bytes() for block in packet.blocks))
        case ReceiverReport():
            body = struct.pack("!I", packet.ssrc) + b"".join(block.to_bytes() for block in packet.blocks)
            return _framed(_RR, len(packet.blocks), body)
        case SourceDescription():
            return _framed(_SDES, len(packet.cnames), b"".join(_chunk(*chunk) for chunk in packet.cnames))
        case Bye():
            body = struct.pack(f"!{len(packet.ssrcs)}I", *packet.ssrcs)
            if packet.reason:
                reason = packet.reason.encode()[:255]
                body += bytes([len(reason)]) + reason
            return _framed(_BYE, len(packet.ssrcs), body + bytes(-len(body) % 4))
        case ExtendedReport():
            return _framed(_XR, 0, packet.to_body())
        case UnknownRtcp():
            return _framed(packet.packet_type, packet.count, packet.body)


def _framed(packet_type: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, packet_type, len(body) // 4) + body


def _chunk(ssrc: int, cname: str) -> bytes:
    text = cname.encode()[:255]
    body = struct.pack("!IBB", ssrc, _CNAME, len(text)) + text
    # At least one null octet ends the list of items, then up to the next word (section 6.5).
    return body + bytes(4 - len(body) % 4)


# -- in ---------------------------------------------------------------------


def parse_compound(data: bytes) -> tuple[RtcpPacket, ...]:
    """All packets of a datagram; ParseError when any is cut short or it does not begin with a report.

    RFC 3550 section A.2 wants an SR or RR first; a lone BYE or feedback message
    (RFC 5506) is accepted, for devices send them.
    """
    packets: list[RtcpPacket] = []
    offset = 0
    while offset < len(data):
        if len(data) - offset < _HEADER.size:
            raise ParseError("RTCP: shorter than a header")
        first, packet_type, words = _HEADER.unpack_from(data, offset)
        if first >> 6 != 2:
            raise ParseError(f"RTCP: version {first >> 6}, not 2")
        end = offset + 4 * (words + 1)
        if end > len(data):
            raise ParseError("RTCP: a packet is cut short")
        body = data[offset + _HEADER.size : end]
        if first & 0x20:
            if end != len(data) or not body or not 0 < body[-1] <= len(body):
                raise ParseError("RTCP: bad padding")
            body = body[: -body[-1]]
        packets.append(_parse_packet(packet_type, first & 0x1F, body))
        offset = end
    if not packets:
        raise ParseError("RTCP: an empty datagram")
    return tuple(packets)


def _parse_packet(packet_type: int, count: int, body: bytes) -> RtcpPacket:
    match packet_type:
        case 200:
            if len(body) < _SENDER_INFO.size:
                raise ParseError("RTCP: a sender report without its sender")
            ssrc, ntp, timestamp, packets, octets = _SENDER_INFO.unpack_from(body)
            blocks = _parse_blocks(body[_SENDER_INFO.size :], count)
            return SenderReport(
                ssrc=ssrc, ntp=ntp, rtp_timestamp=timestamp, packets=packets, octets=octets, blocks=blocks
            )
        case 201:
            if len(body) < 4:
                raise ParseError("RTCP: a receiver report without its reporter")
            return ReceiverReport(ssrc=int.from_bytes(body[:4]), blocks=_parse_blocks(body[4:], count))
        case 202:
            return SourceDescription(cnames=_parse_chunks(body, count))
        case 203:
            return _parse_bye(body, count)
        case 207:
            return parse_extended(body)
        case _:
            return UnknownRtcp(packet_type=packet_type, count=count, body=body)


def _parse_blocks(body: bytes, count: int) -> tuple[ReportBlock, ...]:
    if len(body) < count * _BLOCK.size:
        raise ParseError("RTCP: fewer report blocks than announced")
    return tuple(ReportBlock.from_bytes(body[i * _BLOCK.size : (i + 1) * _BLOCK.size]) for i in range(count))


def _parse_chunks(body: bytes, count: int) -> tuple[tuple[int, str], ...]:
    cnames = []
    offset = 0
    for _ in range(count):
        if offset + 4 > len(body):
            raise ParseError("RTCP: fewer source descriptions than announced")
        ssrc = int.from_bytes(body[offset : offset + 4])
        offset += 4
        while offset < len(body) and (kind := body[offset]):
            if offset + 2 > len(body) or offset + 2 + body[offset + 1] > len(body):
                raise ParseError("RTCP: a source description is cut short")
            start, end = offset + 2, offset + 2 + body[offset + 1]
            if kind == _CNAME:
                cnames.append((ssrc, body[start:end].decode("utf-8", "replace")))
            offset = end
        offset += 4 - offset % 4
    return tuple(cnames)


def _parse_bye(body: bytes, count: int) -> Bye:
    if len(body) < 4 * count:
        raise ParseError("RTCP: fewer sources say good-bye than announced")
    rest = body[4 * count :]
    reason = rest[1 : 1 + rest[0]].decode("utf-8", "replace") if rest else ""
    return Bye(ssrcs=struct.unpack_from(f"!{count}I", body), reason=reason)


# -- time -------------------------------------------------------------------


def ntp_middle(ntp: int) -> int:
    """The middle 32 bits of an NTP time: 1/65536 s (RFC 3550 section 4)."""
    return ntp >> 16 & 0xFFFFFFFF


def round_trip_s(block: ReportBlock, ntp_now: int) -> float | None:
    """A - LSR - DLSR (RFC 3550 section 6.4.1); None when our report has not reached them, or the result is absurd."""
    return since_report_s(block.last_sr, block.delay, ntp_now)


def since_report_s(last_report: int, delay: int, ntp_now: int) -> float | None:
    """The same of *last_report*, the middle of an NTP time, which they kept for *delay* (1/65536 s)."""
    if not last_report:
        return None
    elapsed = ntp_middle(ntp_now) - last_report - delay & 0xFFFFFFFF
    # A peer that rounds its delay up makes a very short round trip negative.
    if elapsed >= 0xFFFFFFFF - 0x10000:
        return 0.0
    return elapsed / 65536 if elapsed < 60 * 65536 else None


class RtcpSchedule:
    """When our reports are due (RFC 3550 section 6.2, 6.3.1) in a session of two.

    Unicast allows the reduced minimum, 360 s divided by the session's kbit/s, and no delay
    before the first report: so a short call learns its round-trip time. *random* is uniform in [0, 1).
    """

    MINIMUM_S = 360 / 160
    """Two directions of G.711 with headers are 160 kbit/s."""

    def __init__(self, start: float, random: float) -> None:
        self.next = start + 0.25 * random

    def sent(self, now: float, random: float) -> None:
        # Section 6.3.1: uniform in 0.5..1.5 of the interval, over the compensation e - 3/2.
        self.next = now + self.MINIMUM_S * (0.5 + random) / 1.21828
