"""What authentication cost a run: counted from the events, told in ``result``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Tally"]


class Tally:
    """Adds up ``auth.*`` events.  :attr:`pending` holds the challenges that wait now."""

    def __init__(self) -> None:
        self.pending: set[str] = set()
        self.waited_ms = 0.0
        self.attempts = 0
        self.provider: str | None = None
        self.realm: str | None = None

    def count(self, event: str, fields: Mapping[str, Any]) -> None:
        match event:
            case "auth.challenged" if fields["chosen"] is not None:
                self.pending.add(fields["challenge"])
                self.realm = fields["realm"]
            case "auth.provider" if fields["outcome"] == "found":
                self.provider = fields["provider"]
            case "auth.done":
                self.pending.discard(fields["challenge"])
                self.waited_ms += fields["waited_ms"]
                self.attempts += fields["outcome"] == "answered"

    def times(self, _now_ms: float) -> str:
        """`` (vault: 118 ms)``, if anybody was asked."""
        return f" ({self.provider}: {self.waited_ms:.0f} ms)" if self.provider is not None else ""

    def totals(self) -> dict[str, Any]:
        """The ``auth`` object of ``result``."""
        return {"waited_ms": round(self.waited_ms, 1), "attempts": self.attempts, "provider": self.provider}
