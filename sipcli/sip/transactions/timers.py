"""Timer values and the wheel that holds every armed timer of an engine (RFC 3261 section 17 and table 4, RFC 6026)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final, Protocol

__all__ = ["TimerOwner", "TimerValues", "Wheel"]


@dataclass(frozen=True, slots=True)
class TimerValues:
    """T1, T2 and T4 in seconds, and everything that follows from them.

    *d* is an absolute minimum and does not scale with T1: the client does not
    know the server's T1 (RFC 3261 section 17.1.1.2).  *trying* is how long an
    INVITE server waits for its user before it says 100 itself (section 17.2.1).
    """

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    d: float = 32.0
    trying: float = 0.2

    @property
    def b(self) -> float:
        """64*T1: Timers B, F, H, J, L and M, and the patience after a CANCEL (RFC 3261 section 9.1)."""
        return 64 * self.t1

    f = h = j = l = m = b  # noqa: E741 - the RFC's letters

    @property
    def late_trying(self) -> float:
        """When a non-INVITE server must say 100: as soon as a client's Timer E is reset to T2 (RFC 4320 section 4.1).

        3.5 s with the default values: E fires after 0.5, 1 and 2 s, and then waits T2.
        """
        elapsed, interval = 0.0, self.t1
        while interval < self.t2:
            elapsed += interval
            interval *= 2
        return elapsed

    def duration(self, name: str, *, reliable: bool) -> float | None:
        """Seconds until timer *name* first fires; None where this transport does not arm it (RFC 3261 table 4)."""
        match name:
            case "A" | "E" | "G":  # retransmission is the transport's own business over TCP and TLS
                return None if reliable else self.t1
            case "I" | "K":
                return 0.0 if reliable else self.t4
            case "D":
                return 0.0 if reliable else self.d
            case "J":
                return 0.0 if reliable else self.b
            case "B" | "F" | "H" | "L" | "M" | "CANCEL":
                return self.b
            case "TRYING":
                return self.trying
            case "LATE_TRYING":
                return self.late_trying
            case _:
                raise KeyError(name)


class TimerOwner(Protocol):
    """Whoever arms a timer is told by its name when it is due."""

    def on_timer(self, name: str) -> None: ...


class _Entry:
    """One armed timer.  A disarmed one stays in the heap without its owner, so that it keeps nothing alive."""

    __slots__ = ("name", "owner", "when")

    def __init__(self, when: float, owner: TimerOwner, name: str) -> None:
        self.when = when
        self.owner: TimerOwner | None = owner
        self.name = name


_COMPACT_FROM: Final = 64


class Wheel:
    """A heap of timers with lazy deletion.

    Owners are told apart by identity.  Timers that are due at the same instant
    fire in the order in which they were armed, so that a replay is exact.
    """

    __slots__ = ("_armed", "_dead", "_heap", "_order")

    def __init__(self) -> None:
        # (when, order, entry): the heap compares some sixty times per registration, and tuples do that in C.
        self._heap: list[tuple[float, int, _Entry]] = []
        # An owner has one timer, or two or three: a list takes a third of the memory of a table of names.
        self._armed: dict[int, list[_Entry]] = {}
        self._order = 0
        self._dead = 0

    def arm(self, owner: TimerOwner, name: str, when: float) -> None:
        """Let ``owner.on_timer(name)`` be due at the instant *when*, instead of any earlier setting of that name."""
        entry = _Entry(when, owner, name)
        entries = self._armed.get(id(owner))
        if entries is None:
            self._armed[id(owner)] = [entry]
        else:
            self._kill(entries, name)
            entries.append(entry)
        self._order += 1
        heappush(self._heap, (when, self._order, entry))

    def disarm(self, owner: TimerOwner, name: str | None = None) -> None:
        """Forget one timer of *owner*, or all of them; to disarm what is not armed is no error."""
        entries = self._armed.get(id(owner))
        if entries is None:
            return
        self._kill(entries, name)
        if not entries:
            del self._armed[id(owner)]
        self._compact()

    def armed(self, owner: TimerOwner) -> dict[str, float]:
        """The timers of *owner*: name to instant."""
        return {entry.name: entry.when for entry in self._armed.get(id(owner), ())}

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def next(self) -> float | None:
        """The earliest instant at which a timer is due, or None when none is armed."""
        heap = self._heap
        while heap and heap[0][2].owner is None:
            heappop(heap)
            self._dead -= 1
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[tuple[TimerOwner, str]]:
        """Take out, one by one, the timers that are due; those that a caller arms meanwhile for *now* come too."""
        while (when := self.next()) is not None and when <= now:
            _, _, entry = heappop(self._heap)
            owner = entry.owner
            assert owner is not None  # next() has just removed those without one
            entries = self._armed[id(owner)]
            entries.remove(entry)
            if not entries:
                del self._armed[id(owner)]
            yield owner, entry.name

    def _kill(self, entries: list[_Entry], name: str | None) -> None:
        """Disarm the one called *name*, or all."""
        for entry in entries[:]:
            if name is None or entry.name == name:
                entries.remove(entry)
                entry.owner = None
                self._dead += 1

    def _compact(self) -> None:
        # Without this, an engine that answers thousands of requests a second would drag
        # along the stopped 32 s timers of half a minute.
        if self._dead > _COMPACT_FROM and self._dead * 2 > len(self._heap):
            self._heap = [item for item in self._heap if item[2].owner is not None]
            heapify(self._heap)
            self._dead = 0
