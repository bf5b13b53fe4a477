"""What authentication cost a run: counted from the events, told in ``result``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Tally"]


class Tally:
    """Adds up ``auth.*`` events.  :attr:`pending` holds the challenges that wait now, :attr:`waiting` the accounts."""

    def __init__(self) -> None:
        self.pending: set[str] = set()
        self.waiting: set[str] = set()
        self.waited_ms = 0.0
        self.attempts = 0
        self.provider: str | None = None
        self.realm: str | None = None
        self._asked_for: dict[str, str] = {}
        self._by_account: dict[str, tuple[str | None, float]] = {}

    def count(self, event: str, fields: Mapping[str, Any]) -> None:
        match event:
            case "auth.challenged" if fields["chosen"] is not None:
                self.pending.add(fields["challenge"])
                self.realm = fields["realm"]
                self._asked_for[fields["challenge"]] = fields.get("account", "")
            case "auth.provider" if fields["outcome"] == "found":
                self.provider = fields["provider"]
                self._add(fields["challenge"], self.provider, 0.0)
            case "registration":
                self._look(fields)
            case "auth.done":
                self.waiting.discard(self._asked_for.get(fields["challenge"], ""))
                self.pending.discard(fields["challenge"])
                self.waited_ms += fields["waited_ms"]
                self.attempts += fields["outcome"] == "answered"
                self._add(fields["challenge"], None, fields["waited_ms"])

    def _look(self, fields: Mapping[str, Any]) -> None:
        """An account waits for a person, with a challenge or (after ``auth.done``) without one."""
        if fields["state"] == "waiting":
            self.waiting.add(fields["account"])
        else:
            self.waiting.discard(fields["account"])

    def _add(self, challenge: str, provider: str | None, waited_ms: float) -> None:
        account = self._asked_for.get(challenge, "")
        before = self._by_account.get(account, (None, 0.0))
        self._by_account[account] = (provider or before[0], before[1] + waited_ms)

    def times(self, account: str) -> str:
        """`` (vault: 118 ms)``, if anybody was asked for *account*."""
        provider, waited_ms = self._by_account.get(account, (None, 0.0))
        return f" ({provider}: {waited_ms:.0f} ms)" if provider is not None else ""

    def totals(self) -> dict[str, Any]:
        """The ``auth`` object of ``result``."""
        return {"waited_ms": round(self.waited_ms, 1), "attempts": self.attempts, "provider": self.provider}
