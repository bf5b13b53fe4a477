"""When an account that its server refuses may try again: the pause between runs of a program (threat T04).

RFC 5626 section 4.5 gives a running program its pauses; a program that ends,
and is started anew by a loop or a service manager, would forget them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sipcli.sip.pauses import MAX_TIME, backoff

__all__ = ["Restraint"]

FREE = 2
"""Refusals in a row that cost no pause: somebody who is setting an account up is wrong once or twice."""


class Restraint(NamedTuple):
    """*refusals* in a row, the last at *since*, and nothing more before *until*; both in seconds since 1970."""

    refusals: int = 0
    since: float = 0.0
    until: float = 0.0

    def refused(self, now: float, uniform: Callable[[float, float], float]) -> Restraint:
        """The server said no once more."""
        refusals = min(self.refusals + 1, 1000)
        pause = backoff(refusals - FREE - 1, uniform) if refusals > FREE else 0.0
        return Restraint(refusals, now, now + pause)

    def left(self, now: float) -> float:
        """Seconds to wait.  A clock that was set back since must not turn minutes into years."""
        left = self.until - now
        return left if 0 < left <= MAX_TIME and self.since <= now else 0.0

    def snapshot(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {"refusals": self.refusals, "since": self.since, "until": self.until}

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Restraint:
        """What :meth:`snapshot` gave earlier; nothing at all if that makes no sense."""
        refusals, since, until = kept.get("refusals"), kept.get("since"), kept.get("until")
        if type(refusals) is not int or refusals < 0:
            return cls()
        if not isinstance(since, float) or not isinstance(until, float) or not math.isfinite(since + until):
            return cls()
        return cls(refusals, since, until)
