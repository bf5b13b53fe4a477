"""Session timers, as the one who refreshes: an UPDATE at half the interval, a BYE if it is not taken (RFC 4028)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipcli.sip.events import Why
from sipcli.sip.message import Response

if TYPE_CHECKING:
    from sipcli.sip.core import Core
    from sipcli.sip.indialog import Call

__all__ = ["MIN_INTERVAL", "SessionTimer"]

MIN_INTERVAL = 90
"""Seconds; no session interval is shorter (RFC 4028 section 5)."""
_MARGIN = 32.0


class SessionTimer:
    """Keeps one call's session from expiring.  Only a 2xx extends it (section 10).

    The other side hangs up ``min(32 s, interval / 3)`` before the expiry, so
    whoever is asked for a secret has until then, and then we say BYE ourselves.
    A refresh that is refused is not sent again.
    """

    __slots__ = ("_call", "_core", "expires_at", "interval")

    def __init__(self, core: Core, call: Call, interval: int) -> None:
        self._core = core
        self._call = call
        self._extend(interval)

    @property
    def deadline(self) -> float:
        """When the session must have been refreshed, on the engine's clock."""
        return self.expires_at - min(_MARGIN, self.interval / 3)

    def stop(self) -> None:
        self._core.wheel.disarm(self)

    def _extend(self, interval: int) -> None:
        """From now on (section 7.2: the interval counts from the 2xx)."""
        self.interval = interval
        self.expires_at = self._core.now + interval
        self._core.wheel.disarm(self)
        self._core.wheel.arm(self, "refresh", self._core.now + interval / 2)
        self._core.wheel.arm(self, "deadline", self.deadline)

    def on_timer(self, name: str) -> None:
        if name == "deadline":
            self._call.on_silence("timeout: the session was not refreshed in time")
            return
        headers = (("Supported", "timer"), ("Session-Expires", f"{self.interval};refresher=uac"))
        self._call.ask("UPDATE", headers=headers, patience=self.deadline - self._core.now, on_done=self._on_done)

    def _on_done(self, response: Response | None, why: Why) -> None:
        if response is not None and 200 <= response.status < 300:
            self._extend(self._granted(response))

    def _granted(self, response: Response) -> int:
        """What the other side makes of the interval: it may shorten it (section 7.2), and we heed no nonsense."""
        given = (response.find("Session-Expires") or "").partition(";")[0].strip()
        if not (given.isascii() and given.isdigit() and len(given) < 7):
            return self.interval
        return min(self.interval, max(MIN_INTERVAL, int(given)))
