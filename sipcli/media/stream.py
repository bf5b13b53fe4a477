"""One audio stream, both ways, with its RTCP: datagrams in, datagrams and 20 ms frames out (RFC 3550, 4961, 5761)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sipcli.errors import ParseError
from sipcli.media.agreement import Agreement
from sipcli.media.collision import Collisions, sources_of
from sipcli.media.latch import Address, SourceLatch
from sipcli.media.protect import Protection
from sipcli.media.quality import MediaReport, RemoteStats, mos
from sipcli.media.receiver import RtpReceiver
from sipcli.media.rtcp import (
    Bye,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    RtcpSchedule,
    SenderReport,
    SourceDescription,
    build_compound,
    parse_compound,
    round_trip_s,
)
from sipcli.media.rtcpxr import ExtendedReport
from sipcli.media.rtp import is_rtcp, parse_rtp
from sipcli.media.sender import Beginning, RtpSender
from sipcli.media.xrside import ExtendedSide, metrics_of

__all__ = ["AudioStream", "Datagram"]

_ENOUGH_PACKETS = 50
"""A second's worth: before that a loss rate, and a MOS, say nothing."""
_FRAME_MS = 20
_RATED = frozenset(("PCMU", "PCMA"))
"""The codecs for which ITU-T G.113 has the values that a MOS is made of; for others there is none, and not a guess."""


class Datagram(NamedTuple):
    """To be sent; *rtcp* says from which of our two ports, unless they are one."""

    data: bytes
    destination: Address
    rtcp: bool = False


class AudioStream:
    """*random* gives octets (``os.urandom``), *ntp_offset* is NTP time minus the clock that *now* comes from.

    Each beat of 20 ms: :meth:`play`, then :meth:`beat`; each datagram that comes: :meth:`receive_rtp`
    or :meth:`receive_rtcp`. Malformed datagrams and strangers' are counted, nothing raises.
    """

    def __init__(self, *, random: Callable[[int], bytes], now: float, ntp_offset: float) -> None:
        self._random = random
        self._ntp_offset = ntp_offset
        self._agreement: Agreement | None = None
        self._rtcp_seen_at: Address | None = None
        self._followed: Address | None = None
        self._remote: RemoteStats | None = None
        self._extended = ExtendedSide()
        self._rtt_s: float | None = None
        self._outbox: list[Datagram] = []
        self._reporting = False  # a report of ours went out
        self._schedule = RtcpSchedule(now, self._uniform())
        # RFC 7022 section 4.2: random, 96 bits, one per session: it names the stream and nobody.
        self._cname = base64.b64encode(random(12)).decode()
        self.collisions = Collisions(self._cname)
        self.latch = SourceLatch()
        self.protection = Protection()
        self.sender = RtpSender(Beginning.from_random(random(10)))
        self.receiver = RtpReceiver()
        self.malformed = 0
        self.heard_at: float | None = None
        """When anything of the peer's came last, RTP or RTCP; None: never."""
        self.ended_by_peer = False
        """An RTCP BYE of the peer's own SSRC came."""

    def configure(self, agreement: Agreement) -> None:
        """What an offer and its answer came to; again at every re-negotiation."""
        if self._agreement is not None and self._agreement.remote_rtcp != agreement.remote_rtcp:
            self._rtcp_seen_at = None
        self._agreement = agreement
        self._extended.wanted = agreement.extended
        if agreement.ice is None and not agreement.nowhere:
            # A peer that holds by c=0.0.0.0 is where it was; nobody else may take its place meanwhile.
            self.latch.negotiate(agreement.remote)
        self.protection.configure(agreement)
        self.sender.configure(agreement)
        self.receiver.configure(agreement)

    def follow(self, rtp: Address | None, rtcp: Address | None = None) -> None:
        """ICE found the peer at *rtp* and, unless they are one, *rtcp*; None: his SDP says where he is, after all.

        Until then an agreement with ICE sends nothing (RFC 8445 section 12.1), and nobody is heard.
        """
        self._followed = None if rtp is None else rtcp or rtp
        if rtp is not None:
            self.latch.pin(rtp)

    # -- in -----------------------------------------------------------------

    def receive_rtp(self, data: bytes, source: Address, now: float) -> None:
        """A datagram at our RTP port, RTCP too where both are one (RFC 5761)."""
        if self._agreement is None:
            return
        if is_rtcp(data):
            # Also without mux: read as RTP it would pass for a new source.
            self.receive_rtcp(data, source, now)
            return
        clear = self.protection.unprotect(data)
        if clear is None:
            return
        try:
            packet = parse_rtp(clear)
        except ParseError:
            self.malformed += 1
            return
        if not self.latch.accepts(source, packet.ssrc, learn=self._agreement.may_receive):
            return
        if packet.ssrc == self.sender.ssrc:
            self._collide(source, now)
        self.ended_by_peer = False
        self.heard_at = now
        self.receiver.receive(packet, now)

    def _collide(self, source: Address, now: float) -> None:
        """RFC 3550 section 8.2: take another SSRC, once per address; who then has that, too, sends ours back to us.

        Such a mirror (SIPp's rtp_echo) is heard all the same: it is the far end of a test call.
        """
        if not self.collisions.is_new(source, now):
            return
        taken = {self.sender.ssrc, self.receiver.ssrc}
        farewell = Bye(ssrcs=(self.sender.ssrc,), reason="SSRC collision")
        self._queue_rtcp(ReceiverReport(ssrc=self.sender.ssrc), self._description(), farewell)
        while (ssrc := int.from_bytes(self._random(4))) in taken:
            pass
        self.sender.change_ssrc(ssrc)

    def receive_rtcp(self, data: bytes, source: Address, now: float) -> None:
        """A datagram at our RTCP port."""
        if not self._accepts_rtcp(source):
            self.latch.strangers += 1
            return
        clear = self.protection.unprotect(data, rtcp=True)
        if clear is None:
            return
        try:
            packets = parse_compound(clear)
        except ParseError:
            self.malformed += 1
            return
        if self.collisions.is_ours(packets) or self.collisions.is_foreign(packets, self.receiver.ssrc):
            return
        if self.sender.ssrc in sources_of(packets):
            self._collide(source, now)
        self._rtcp_seen_at = source
        self.heard_at = now
        for packet in packets:
            match packet:
                case SenderReport() | ReceiverReport():
                    self._heard_report(packet, now)
                case ExtendedReport():
                    self._heard_extended(packet, now)
                case Bye() if self.receiver.ssrc in packet.ssrcs:
                    self.ended_by_peer = True

    def _accepts_rtcp(self, source: Address) -> bool:
        """From where the signalling said, or from the host whose RTP is heard (its NAT chose the port)."""
        if self._agreement is None:
            return False
        if self._followed is not None:
            return source == self._followed
        locked = self.latch.locked
        return source == self._agreement.remote_rtcp or (locked is not None and source[0] == locked[0])

    def _heard_report(self, report: SenderReport | ReceiverReport, now: float) -> None:
        if isinstance(report, SenderReport):
            self.receiver.heard_report(report, now)
        for block in report.blocks:
            if block.ssrc == self.sender.ssrc:
                self._heard_block(block, now)

    def _heard_block(self, block: ReportBlock, now: float) -> None:
        sent = max(1, self.sender.packets)
        assert self._agreement is not None  # whose address else would this have come from
        clock_rate = self._agreement.codec.clock_rate
        self._remote = RemoteStats(
            lost_pct=round(min(100.0, 100 * max(0, block.lost) / sent), 2),
            jitter_ms=round(1000 * block.jitter / clock_rate, 2),
        )
        self._told()
        self.sender.expect_loss(100 * block.fraction_lost / 256)
        rtt = round_trip_s(block, self._ntp(now))
        if rtt is not None:
            self._rtt_s = rtt

    def _heard_extended(self, report: ExtendedReport, now: float) -> None:
        rtt = self._extended.hear(report, self.sender.ssrc, self._ntp(now))
        if rtt is not None:
            self._rtt_s = rtt
        self._told()

    def _told(self) -> None:
        """What the peer says of our stream beyond the report block."""
        if self._remote is not None:
            self._remote = self._extended.adorn(self._remote)

    # -- out ----------------------------------------------------------------

    def play(self, now: float) -> bytes:
        """The 20 ms of PCM that are due."""
        return self.receiver.play(now)

    def beat(self, pcm: bytes | None, now: float) -> list[Datagram]:
        """What this beat sends: the packet made of *pcm* (None: nothing to say), and a report when one is due."""
        destination = self.latch.destination
        if self.protection.waiting or destination is None:
            self.sender.rest()
        elif (packet := self.sender.beat(pcm)) is not None:
            data = self.protection.protect(packet.to_bytes())
            if data is not None:
                self._outbox.insert(0, Datagram(data, destination))
        if now >= self._schedule.next:
            self._schedule.sent(now, self._uniform())
            self._queue_rtcp(self._report(now), self._description(), *self._extension(now))
        outbox, self._outbox = self._outbox, []
        return outbox

    @property
    def forged(self) -> int:
        """Packets that did not prove to be the peer's; 0 without SRTP, which alone can tell."""
        return self.protection.refused

    def skip(self, beats: int) -> None:
        """Beats that passed while we were held up."""
        self.sender.skip(beats)

    def farewell(self, now: float) -> list[Datagram]:
        """RTCP BYE, for the end; not of one who never said anything (RFC 3550 sections 6.3.7 and 6.6)."""
        if self.sender.packets or self._reporting:
            farewell = Bye(ssrcs=(self.sender.ssrc,))
            self._queue_rtcp(self._report(now), self._description(), *self._extension(now), farewell)
        outbox, self._outbox = self._outbox, []
        return outbox

    def _report(self, now: float) -> SenderReport | ReceiverReport:
        block = self.receiver.block(now)
        blocks = (block,) if block is not None else ()
        sender = self.sender
        if not sender.spoke_lately():
            return ReceiverReport(ssrc=sender.ssrc, blocks=blocks)
        return SenderReport(
            ssrc=sender.ssrc,
            ntp=self._ntp(now),
            rtp_timestamp=sender.timestamp,
            packets=sender.packets & 0xFFFFFFFF,
            octets=sender.octets & 0xFFFFFFFF,
            blocks=blocks,
        )

    def _extension(self, now: float) -> Sequence[ExtendedReport]:
        rated = self._mos(0) is not None
        metrics = metrics_of(self.receiver, self._rtt_s, rated=rated) if self._extended.wanted else None
        report = self._extended.report(self.sender.ssrc, self._ntp(now), metrics)
        return () if report is None else (report,)

    def _description(self) -> SourceDescription:
        return SourceDescription(cnames=((self.sender.ssrc, self._cname),))

    def _queue_rtcp(self, *packets: RtcpPacket) -> None:
        destination = self._rtcp_destination()
        if destination is not None:
            muxed = self._agreement is not None and self._agreement.rtcp_mux
            data = self.protection.protect(build_compound(*packets), rtcp=True)
            if data is not None:
                self._reporting = True
                self._outbox.append(Datagram(data, destination, rtcp=not muxed))

    def _rtcp_destination(self) -> Address | None:
        agreement = self._agreement
        if agreement is None or agreement.remote is None:
            return None
        if agreement.rtcp_mux:
            return self.latch.destination
        if self._followed is not None:
            return self._followed
        if not self.latch.learnt:
            return agreement.remote_rtcp
        if self._rtcp_seen_at is not None:
            return self._rtcp_seen_at
        locked = self.latch.locked
        return (locked[0], locked[1] + 1) if locked is not None and locked[1] < 65535 else None

    def _ntp(self, now: float) -> int:
        return int((now + self._ntp_offset) * 2**32) & 0xFFFFFFFFFFFFFFFF

    def _uniform(self) -> float:
        return int.from_bytes(self._random(4)) / 2**32

    # -- what it came to ------------------------------------------------------

    def report(self, *, verdict: bool = True) -> MediaReport:
        """All that is known; *verdict* adds what was heard, which costs some milliseconds."""
        rx = self.receiver.stats()
        codec = None if self._agreement is None else self._agreement.codec
        return MediaReport(
            codec=None if codec is None else codec.name,
            rate=None if codec is None else codec.sample_rate,
            rx=rx,
            tx=self.sender.stats(),
            remote=self._remote,
            rtt_ms=None if self._rtt_s is None else round(1000 * self._rtt_s, 2),
            mos=self._mos(rx.lost + rx.late),
            audio=self.receiver.meter.verdict() if verdict else MediaReport().audio,
            strangers=self.latch.strangers,
        )

    def _mos(self, missed: int) -> float | None:
        """From loss, late packets, our own delay, and half the round trip where RTCP has measured it."""
        expected = self.receiver.expected
        if expected < _ENOUGH_PACKETS or self._agreement is None or self._agreement.codec.name not in _RATED:
            return None
        delay_ms = _FRAME_MS + 1000 * self.receiver.jitter.delay_s + 500 * (self._rtt_s or 0.0)
        return mos(loss_pct=min(100.0, 100 * missed / expected), delay_ms=delay_ms)
