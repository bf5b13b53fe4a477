"""How losses come: in bursts, or one at a time (RFC 3611 section 4.7.2)."""

from __future__ import annotations

__all__ = ["GMIN", "BurstMeter"]

GMIN = 16
"""So many packets in a row that were heard end a burst."""


class BurstMeter:
    """Fed with every packet that was due, in order.  A loss with :data:`GMIN` heard ones on both sides is no burst."""

    def __init__(self) -> None:
        self._packets = 0
        self._lost = 0
        self._heard_since = 0
        self._run_lost = 0
        self._run_packets = 0
        self._bursts = 0
        self._burst_lost = 0
        self._burst_packets = 0

    def feed(self, *, lost: bool) -> None:
        self._packets += 1
        if not lost:
            self._heard_since += 1
            return
        self._lost += 1
        if self._run_lost and self._heard_since < GMIN:
            self._run_packets += self._heard_since
        else:
            self._end_run()
        self._run_lost += 1
        self._run_packets += 1
        self._heard_since = 0

    def _end_run(self) -> None:
        bursts, lost, packets = self._with_run()
        self._bursts, self._burst_lost, self._burst_packets = bursts, lost, packets
        self._run_lost = self._run_packets = 0

    def _with_run(self) -> tuple[int, int, int]:
        """Bursts, their losses and their packets, the present one included."""
        if self._run_lost < 2:
            return self._bursts, self._burst_lost, self._burst_packets
        return self._bursts + 1, self._burst_lost + self._run_lost, self._burst_packets + self._run_packets

    @property
    def lost(self) -> int:
        return self._lost

    def figures(self, packet_ms: float) -> tuple[int, int, int, int]:
        """Density in bursts and in gaps (1/256), mean length of a burst and of a gap (ms)."""
        bursts, burst_lost, burst_packets = self._with_run()
        gap_packets = self._packets - burst_packets
        return (
            _share(burst_lost, burst_packets),
            _share(self._lost - burst_lost, gap_packets),
            min(0xFFFF, round(burst_packets * packet_ms / bursts)) if bursts else 0,
            min(0xFFFF, round(gap_packets * packet_ms / (bursts + 1))),
        )


def _share(part: int, whole: int) -> int:
    return min(255, 256 * part // whole) if whole else 0
