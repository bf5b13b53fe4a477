"""Simulated networks for packets: delay, jitter, loss, duplication and reordering, all from one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

_T = TypeVar("_T")


@dataclass
class Network(Generic[_T]):
    """One way.  *delay* is called for each packet and gives seconds, or None for a loss."""

    delay: Callable[[int], float | None]
    duplicates: float = 0.0
    seed: int = 1
    _waiting: list[tuple[float, int, _T]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=count)
    _sent: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def send(self, packet: _T, now: float) -> None:
        """Take *packet* on its way."""
        delay = self.delay(self._sent)
        self._sent += 1
        if delay is None:
            return
        heapq.heappush(self._waiting, (now + delay, next(self._order), packet))
        if self._random.random() < self.duplicates:
            heapq.heappush(self._waiting, (now + delay + 0.001, next(self._order), packet))

    def arrivals(self, now: float) -> Iterator[tuple[float, _T]]:
        """(when, packet) of all that has arrived by *now*, in order of arrival."""
        while self._waiting and self._waiting[0][0] <= now:
            when, _, packet = heapq.heappop(self._waiting)
            yield when, packet


def steady(delay_s: float) -> Callable[[int], float | None]:
    return lambda n: delay_s


def jittery(least_s: float, most_s: float, *, seed: int = 1) -> Callable[[int], float | None]:
    """Uniform: packets overtake each other when the span is more than their spacing."""
    source = random.Random(seed)
    return lambda n: source.uniform(least_s, most_s)


def lossy(delay_s: float, loss: float, *, seed: int = 1) -> Callable[[int], float | None]:
    """Independent losses."""
    source = random.Random(seed)
    return lambda n: None if source.random() < loss else delay_s
