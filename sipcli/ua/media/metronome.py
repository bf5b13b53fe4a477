"""One clock for the calls of a loop: a timer of the loop costs as much as a frame of audio, so calls share them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil
from weakref import WeakKeyDictionary

__all__ = ["Metronome", "metronome_of"]

_SLOTS = 5
"""Phases of the 20 ms that calls are spread over."""
_SLOT_S = 0.004
_TOGETHER = 10
"""Calls that share a slot before another is begun: some 60 us each, so that the last is half a millisecond behind."""


class Metronome:
    """Calls every member once in 20 ms; slot n is due at ``start + n * 4 ms``, by multiplication: no error adds up.

    A process that wakes up finds its caches cold and pays as much as for two calls, so a few calls share each slot;
    no more than that while there is another, so that no packet waits for many.  Who was held up is called once, not
    once for every 20 ms that have passed: a member counts those himself.
    """

    def __init__(self, start: float) -> None:
        self._start = start
        self._slots: list[dict[Callable[[], None], None]] = [{} for _ in range(_SLOTS)]
        self._due: int | None = None
        """The slot that is waited for."""

    def join(self, loop: asyncio.AbstractEventLoop, beat: Callable[[], None]) -> float:
        """Call *beat* from now on; when for the first time, by the loop's clock."""
        following = ceil((loop.time() - self._start) / _SLOT_S)
        slot = min(range(following, following + _SLOTS), key=self._preference)
        self._slots[slot % _SLOTS][beat] = None
        if self._due is None or slot < self._due:
            self._wait(loop, slot)
        return self._start + slot * _SLOT_S

    def _preference(self, slot: int) -> tuple[bool, int]:
        """The least is the best: the fullest of those that have room, else the emptiest."""
        members = len(self._slots[slot % _SLOTS])
        return (False, -members) if members < _TOGETHER else (True, members)

    def leave(self, beat: Callable[[], None]) -> None:
        """Not any more; who is no member leaves nothing."""
        for members in self._slots:
            members.pop(beat, None)

    def _wait(self, loop: asyncio.AbstractEventLoop, slot: int) -> None:
        self._due = slot
        loop.call_at(self._start + slot * _SLOT_S, self._tick, loop, slot)

    def _tick(self, loop: asyncio.AbstractEventLoop, slot: int) -> None:
        if slot != self._due:
            return  # somebody joined whose slot was sooner
        passed = max(slot, int((loop.time() - self._start) / _SLOT_S) - _SLOTS)
        occupied = (n for n in range(passed + 1, passed + 1 + _SLOTS) if self._slots[n % _SLOTS])
        self._due = None
        following = next(occupied, None)
        if following is not None:
            self._wait(loop, following)
        members = self._slots[slot % _SLOTS]
        for beat in tuple(members):
            if beat in members:  # or one before him has made him leave
                self._call(loop, beat)

    def _call(self, loop: asyncio.AbstractEventLoop, beat: Callable[[], None]) -> None:
        try:
            beat()
        except Exception as error:
            # As a timer of his own would have it: he is out, and the others are not.
            self.leave(beat)
            loop.call_exception_handler({"message": "a call's beat failed", "exception": error})


_metronomes: WeakKeyDictionary[asyncio.AbstractEventLoop, Metronome] = WeakKeyDictionary()


def metronome_of(loop: asyncio.AbstractEventLoop) -> Metronome:
    """The one of *loop*, which it does not keep alive."""
    known = _metronomes.get(loop)
    if known is None:
        known = _metronomes[loop] = Metronome(loop.time())
    return known
