"""One stream's extended reports: what the peer wants of us, and what he tells (RFC 3611)."""

from __future__ import annotations

from dataclasses import replace

from sipcli.media.quality import RemoteStats, mos_of, r_factor
from sipcli.media.receiver import RtpReceiver
from sipcli.media.rtcp import ntp_middle, since_report_s
from sipcli.media.rtcpxr import UNAVAILABLE, Delay, ExtendedReport, VoipMetrics

__all__ = ["ExtendedSide", "metrics_of"]

_FRAME_MS = 20
_ADAPTIVE_WITH_CONCEALMENT = 0b11_11_0000
"""Section 4.7.6: standard concealment, an adaptive jitter buffer."""


class ExtendedSide:
    """:attr:`wanted` names the blocks that the peer's SDP asks for; *now* is NTP time."""

    def __init__(self) -> None:
        self.wanted: frozenset[str] = frozenset()
        self.metrics: VoipMetrics | None = None
        """What the peer says of our stream.  His figures, not ours."""
        self._reference: tuple[int, int, int] | None = None

    def hear(self, report: ExtendedReport, ours: int, now: int) -> float | None:
        """The peer's report; the round trip in seconds, if it has one for *ours*."""
        if report.reference is not None:
            self._reference = report.ssrc, ntp_middle(report.reference), now
        for metrics in report.metrics:
            if metrics.ssrc == ours:
                self.metrics = metrics
        trips = [since_report_s(delay.last_rr, delay.delay, now) for delay in report.delays if delay.ssrc == ours]
        return next((trip for trip in trips if trip is not None), None)

    def adorn(self, remote: RemoteStats) -> RemoteStats:
        """*remote* with what the peer's metrics add to it."""
        told = self.metrics
        if told is None:
            return remote
        return replace(
            remote,
            discard_pct=round(100 * told.discard / 256, 2),
            mos_lq=_score(told.mos_lq),
            mos_cq=_score(told.mos_cq),
        )

    def report(self, ours: int, now: int, metrics: VoipMetrics | None) -> ExtendedReport | None:
        """For the next compound, if there is anything that the peer wants; *metrics* of what we hear."""
        report = ExtendedReport(
            ssrc=ours,
            reference=now if "rcvr-rtt" in self.wanted else None,
            delays=self._delays(now),
            metrics=(metrics,) if metrics is not None and "voip-metrics" in self.wanted else (),
        )
        return report if report.reference is not None or report.delays or report.metrics else None

    def _delays(self, now: int) -> tuple[Delay, ...]:
        """Answers his last reference time, once (section 4.5)."""
        if self._reference is None:
            return ()
        (ssrc, last_rr, at), self._reference = self._reference, None
        return (Delay(ssrc, last_rr, (now - at) >> 16 & 0xFFFFFFFF),)


def _score(tenths: int) -> float | None:
    """Section 4.7.5: 10 to 50, or 127; what is neither says nothing."""
    return tenths / 10 if 10 <= tenths <= 50 else None


def metrics_of(receiver: RtpReceiver, rtt_s: float | None, *, rated: bool) -> VoipMetrics | None:
    """What we hear, as the block has it; None before the first packet.

    *rated*: enough was received, of a codec that ITU-T G.113 has values for. R and MOS-CQ have delay in them, so they
    are given only where the round trip was measured; MOS-LQ has none.
    """
    if receiver.ssrc is None:
        return None
    expected, late = max(1, receiver.expected), receiver.jitter.late
    lost = max(0, receiver.stats().lost)
    packet_ms = 1000 * receiver.jitter.packet_s
    burst_density, gap_density, burst_ms, gap_ms = receiver.bursts.figures(packet_ms)
    missed_pct = min(100.0, 100 * (lost + late) / expected)
    delay_ms = _FRAME_MS + 1000 * receiver.jitter.delay_s
    r, lq, cq = UNAVAILABLE, UNAVAILABLE, UNAVAILABLE
    if rated:
        lq = round(10 * mos_of(r_factor(loss_pct=missed_pct, delay_ms=0.0)))
        if rtt_s is not None:
            rating = r_factor(loss_pct=missed_pct, delay_ms=delay_ms + 500 * rtt_s)
            r, cq = min(100, max(0, round(rating))), round(10 * mos_of(rating))
    return VoipMetrics(
        ssrc=receiver.ssrc,
        loss=min(255, 256 * lost // expected),
        discard=min(255, 256 * late // expected),
        burst_density=burst_density,
        gap_density=gap_density,
        burst_ms=burst_ms,
        gap_ms=gap_ms,
        round_trip_ms=0 if rtt_s is None else min(0xFFFF, round(1000 * rtt_s)),
        end_system_ms=min(0xFFFF, round(delay_ms)),
        r_factor=r,
        mos_lq=lq,
        mos_cq=cq,
        receiver_configuration=_ADAPTIVE_WITH_CONCEALMENT,
        buffer_nominal_ms=round(1000 * receiver.jitter.target_s),
        buffer_maximum_ms=round(1000 * receiver.jitter.maximum_s),
        buffer_absolute_ms=round(1000 * receiver.jitter.maximum_s),
    )
