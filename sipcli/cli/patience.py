"""How long a run goes on waiting for a server; the time that a person or a store takes is not the server's."""

from __future__ import annotations

import asyncio

from sipcli.cli.tally import Tally

__all__ = ["Patience"]


class Patience:
    """A time limit that stands still while a challenge waits for its secret."""

    def __init__(self, scope: asyncio.Timeout, seconds: float, tally: Tally) -> None:
        self._scope = scope
        self._seconds = seconds
        self._tally = tally
        self._waiting = True
        self.look()

    def look(self) -> None:
        """Something happened: start, or stop, the clock."""
        waiting = bool(self._tally.pending or self._tally.waiting)
        if waiting == self._waiting or self._scope.expired():
            return
        self._waiting = waiting
        self._scope.reschedule(None if waiting else asyncio.get_running_loop().time() + self._seconds)
