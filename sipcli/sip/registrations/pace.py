"""How soon a registration is tried again: as RFC 5626 section 4.5 says, and sooner while a way that was good is sought.

::

    a flow that was good is lost ──> 0.25 to 2 s ──> REGISTER ──> nobody there ──> 1 to 2 s, then 1.5 to 3 s apart
    ... 120 s of that, or any answer but a 2xx   ──> 50 to 100 % of min(1800, 30 * 2^n) s
    lost again before it was good                ──> the same

Why: docs/decisions/0130-a-lost-flow-is-sought-at-once.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sipcli.sip.pauses import backoff

if TYPE_CHECKING:
    from sipcli.sip.core import Core

__all__ = ["SPREAD", "Pace"]

STEADY: Final = 120.0
"""Seconds after which a connection that breaks was a good one (RFC 5626 section 4.5)."""
SPREAD: Final = (0.25, 2.0)
"""Seconds to the first try: a proxy that was rebooted loses all of its flows at one moment."""
SEEKING: Final = 120.0
"""Seconds for which we hurry; a machine is rebooted in less."""
SEEK_BASE: Final = 1.0
SEEK_MAX: Final = 3.0
"""Base-time and max-time of section 4.5, which it lets us configure, while nobody is there to be trampled."""


class Pace:
    """Counts what went wrong for one registration, and says in seconds how long to wait."""

    __slots__ = ("_core", "_failures", "_losses", "_lost_at", "_tries")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._failures = 0  # in a row, but for those while we hurried
        self._losses = 0  # of flows in a row that were not good for long
        self._lost_at: float | None = None  # when we began to hurry
        self._tries = 0

    def succeeded(self) -> None:
        self._failures, self._lost_at = 0, None

    def forgive(self) -> None:
        """Somebody wants it afresh: what failed before does not count."""
        self._failures = 0

    def lost(self, bound_at: float) -> float:
        """What carried the binding, made at *bound_at*, is gone.  A registrar that hangs up after each answer must
        not be asked as fast as it answers."""
        steady = self._core.now - bound_at >= STEADY
        self._losses = 0 if steady else self._losses + 1
        if self._losses > 1:
            self._lost_at = None
            return backoff(self._losses - 1, self._core.uniform)
        self.hurry()
        return self._core.uniform(*SPREAD)

    def hurry(self) -> None:
        """There may be another way now: what failed before does not count."""
        self._failures, self._tries, self._lost_at = 0, 0, self._core.now

    def failed(self, *, heard: bool, bound_at: float | None) -> float:
        """A REGISTER failed; *heard*: somebody answered; *bound_at*: of the binding that it was to refresh."""
        if heard:
            self._lost_at = None  # he is there, and has a pace of his own
        elif bound_at is not None and self._lost_at is None and not self._failures:
            self.lost(bound_at)  # nothing else had noticed
        if self._lost_at is not None and self._core.now - self._lost_at < SEEKING:
            self._tries += 1
            longest = min(SEEK_MAX, SEEK_BASE * 2.0 ** min(self._tries, 16))
            return self._core.uniform(longest / 2, longest)
        return self.next()

    def next(self) -> float:
        """One more failure, at the pace of those that nobody waits for."""
        self._failures += 1
        return backoff(self._failures, self._core.uniform)
