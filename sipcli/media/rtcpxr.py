"""RTCP's extended reports as values: receiver reference time, DLRR and VoIP metrics (RFC 3611 sections 4.4, 4.5, 4.7).

Who wants them says so in the SDP by ``a=rtcp-xr`` (section 5.1).
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass

from sipcli.errors import ParseError
from sipcli.media.sdp import Attribute, MediaDescription, SessionDescription

__all__ = ["UNAVAILABLE", "WANTED", "Delay", "ExtendedReport", "VoipMetrics", "parse_extended", "wanted_by"]

UNAVAILABLE = 127
"""For levels, R and MOS: it was not measured (section 4.7.4 and 4.7.5)."""
WANTED = Attribute("rtcp-xr", "rcvr-rtt=all voip-metrics")
"""What we ask the other side for."""

_REFERENCE, _DLRR, _METRICS = 4, 5, 7
_BLOCK = struct.Struct("!BBH")
_DELAY = struct.Struct("!III")
_VOIP = struct.Struct("!IBBBBHHHHBBBBBBBBBBHHH")
_KNOWN = frozenset(("rcvr-rtt", "voip-metrics"))


@dataclass(frozen=True, slots=True)
class Delay:
    """Of the receiver report *last_rr* (the middle of its NTP time) from *ssrc*: *delay* in 1/65536 s."""

    ssrc: int
    last_rr: int
    delay: int


@dataclass(frozen=True, slots=True)
class VoipMetrics:
    """What the reporter heard of *ssrc* since the beginning (section 4.7); the order is that on the wire.

    *loss*, *discard* and the densities are in 1/256; *r_factor* 0 to 100; *mos_lq* and *mos_cq* ten times a MOS.
    """

    ssrc: int
    loss: int
    discard: int
    burst_density: int
    gap_density: int
    burst_ms: int
    gap_ms: int
    round_trip_ms: int
    end_system_ms: int
    signal_level: int = UNAVAILABLE
    noise_level: int = UNAVAILABLE
    echo_return_loss: int = UNAVAILABLE
    gmin: int = 16
    r_factor: int = UNAVAILABLE
    external_r_factor: int = UNAVAILABLE
    mos_lq: int = UNAVAILABLE
    mos_cq: int = UNAVAILABLE
    receiver_configuration: int = 0
    reserved: int = 0
    buffer_nominal_ms: int = 0
    buffer_maximum_ms: int = 0
    buffer_absolute_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedReport:
    """One packet of type 207, as far as we know its blocks; *reference* is a 64 bit NTP time."""

    ssrc: int
    reference: int | None = None
    delays: tuple[Delay, ...] = ()
    metrics: tuple[VoipMetrics, ...] = ()

    def to_body(self) -> bytes:
        """Without the header."""
        body = struct.pack("!I", self.ssrc)
        if self.reference is not None:
            body += _block(_REFERENCE, struct.pack("!Q", self.reference))
        if self.delays:
            body += _block(_DLRR, b"".join(_DELAY.pack(*astuple(delay)) for delay in self.delays))
        for metrics in self.metrics:
            body += _block(_METRICS, _VOIP.pack(*astuple(metrics)))
        return body


def _block(kind: int, content: bytes) -> bytes:
    return _BLOCK.pack(kind, 0, len(content) // 4) + content


def parse_extended(body: bytes) -> ExtendedReport:
    """A packet's body; ParseError when a block is cut short.  Unknown blocks, odd lengths are skipped (section 3)."""
    if len(body) < 4:
        raise ParseError("RTCP: an extended report without its reporter")
    reference: int | None = None
    delays: list[Delay] = []
    metrics: list[VoipMetrics] = []
    offset = 4
    while offset < len(body):
        if len(body) - offset < _BLOCK.size:
            raise ParseError("RTCP: an extended report is cut short")
        kind, _, words = _BLOCK.unpack_from(body, offset)
        start, offset = offset + _BLOCK.size, offset + _BLOCK.size + 4 * words
        if offset > len(body):
            raise ParseError("RTCP: a block of an extended report is cut short")
        content = body[start:offset]
        if kind == _REFERENCE and len(content) == 8:
            reference = int.from_bytes(content)
        elif kind == _DLRR and len(content) % _DELAY.size == 0:
            delays += (Delay(*fields) for fields in _DELAY.iter_unpack(content))
        elif kind == _METRICS and len(content) == _VOIP.size:
            metrics.append(VoipMetrics(*_VOIP.unpack(content)))
    return ExtendedReport(
        ssrc=int.from_bytes(body[:4]), reference=reference, delays=tuple(delays), metrics=tuple(metrics)
    )


def wanted_by(description: SessionDescription, media: MediaDescription) -> frozenset[str]:
    """Which of ``rcvr-rtt`` and ``voip-metrics`` the writer of *media* wants to be sent."""
    values = [attribute.value or "" for attribute in media.attributes if attribute.name == "rtcp-xr"]
    if not values:
        values = [attribute.value or "" for attribute in description.attributes if attribute.name == "rtcp-xr"]
    return _KNOWN.intersection(word.partition("=")[0].partition(":")[0] for value in values for word in value.split())
