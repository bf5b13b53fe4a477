"""How often a person is asked: for one action, for one server in ten minutes, and whether at all (threat T03)."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

__all__ = ["PROMPT_BURST", "PROMPT_WINDOW", "Prompts", "Ration"]

PROMPT_BURST = 5
PROMPT_WINDOW = 600.0
"""Seconds in which an empty bucket is full again: one prompt more every two minutes."""
ENOUGH = 2
"""So many times in a row a person says no; then he means it."""


@dataclass(slots=True)
class Ration:
    """How often a person may still be asked for what he began (threat T03)."""

    left: int

    def take(self) -> bool:
        if self.left <= 0:
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class _Bucket:
    """*left* of *size* prompts at the time *at*; it fills by itself, and one that is full is not kept."""

    size: int
    left: float
    at: float

    def fill(self, now: float) -> None:
        self.left += (now - self.at) * self.size / PROMPT_WINDOW
        self.at = now

    def wait(self) -> float:
        """Seconds until there is a whole prompt in it."""
        return max(0.0, 1 - self.left) * PROMPT_WINDOW / self.size


class Prompts:
    """What a person is asked by all actions of a run together.

    A token bucket per account and origin: :class:`Ration` begins anew with each
    action, so that whoever redials a hostile server would be asked for ever.  And
    who leaves two prompts in a row unanswered is not asked a third time.
    *clock* is the loop's, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, Hashable], _Bucket] = {}
        self._declined: dict[str, int] = {}

    def __len__(self) -> int:
        """Buckets that are not full."""
        return len(self._buckets)

    def objection(self, account: str, origin: Hashable) -> str | None:
        """Why the person behind *account* is not to be asked for *origin* now; None if he may be."""
        if self._declined.get(account, 0) >= ENOUGH:
            return "it is not asked again in this run: the last two prompts were left without an answer"
        bucket = self._buckets.get((account, origin))
        if bucket is None:
            return None
        bucket.fill(self._clock())
        seconds = math.ceil(bucket.wait())
        return f"this server had a person asked too often: not before {seconds} s from now" if seconds else None

    def take(self, account: str, origin: Hashable, size: int = PROMPT_BURST) -> None:
        """A person is asked; *size*: how many prompts a full bucket of this account holds."""
        now = self._clock()
        for known, bucket in list(self._buckets.items()):
            bucket.fill(now)
            if bucket.left >= bucket.size:
                del self._buckets[known]  # as good as none
        self._buckets.setdefault((account, origin), _Bucket(size, size, now)).left -= 1

    def answered(self, account: str) -> None:
        """The person typed something, right or wrong."""
        self._declined.pop(account, None)

    def declined(self, account: str) -> bool:
        """The person said no; was that once too often?"""
        self._declined[account] = self._declined.get(account, 0) + 1
        return self._declined[account] == ENOUGH

    def reset(self, account: str | None = None) -> None:
        """Forget who said no, and who was asked how often: of *account*, or of all."""
        for known in [name for name in self._declined if account in (None, name)]:
            del self._declined[known]
        for key in [key for key in self._buckets if account in (None, key[0])]:
            del self._buckets[key]
