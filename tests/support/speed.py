"""How fast this machine runs Python, so that a test of speed asks of each what it can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import itemgetter

__all__ = ["least_time", "machine_speed"]

_REFERENCE_S = 0.0040
"""One round of :func:`_work` on the machine on which the figures of docs/performance.md were measured."""


class _Counter:
    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0

    def feed(self, key: int) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1
        self.total += key


def _work() -> None:
    """What media is made of: method calls, attributes, dictionaries, little octet strings and tuples."""
    counter, table, data = _Counter(), bytes(65536), bytes(172)
    for number in range(10_000):
        counter.feed(number & 0xFF)
        data = data[12:] + data[:12]
        if not number % 100:
            bytes(itemgetter(*range(160))(table))


def least_time(act: Callable[[], object], rounds: int = 5) -> float:
    """Seconds of processor time that *act* needs, the best of some *rounds*.

    A neighbour's moment is not ours, nor is the half second that the garbage collector takes among all that ten
    thousand tests have left in this process.
    """
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        act()
        best = min(best, time.process_time() - began)
    return best


def machine_speed() -> float:
    """1.0 is that machine, 0.5 takes twice as long."""
    return _REFERENCE_S / least_time(_work, 20)
