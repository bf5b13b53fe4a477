"""How long a client waits before it asks again: after a yes, after a no, and when it is told how long."""

from __future__ import annotations

from collections.abc import Callable

from sipcli.sip.syntax.message import Response

__all__ = ["BASE_TIME", "MAX_TIME", "backoff", "refresh_in", "retry_after"]

BASE_TIME = 30.0
MAX_TIME = 1800.0
MARGIN = 32.0
"""Seconds before expiry by which a refresh goes out: one full non-INVITE transaction."""


def refresh_in(expires: float) -> float:
    """Seconds from the 200 to the refresh: at 80 % of the time, but never later than 32 s before its end."""
    if expires >= 1.5 * MARGIN:
        return min(0.8 * expires, expires - MARGIN)
    return expires / 2


def backoff(failures: int, uniform: Callable[[float, float], float]) -> float:
    """RFC 5626 section 4.5: a random 50 to 100 % of min(1800, 30 * 2**failures) seconds."""
    longest = min(MAX_TIME, BASE_TIME * 2.0 ** min(failures, 16))
    return uniform(longest / 2, longest)


def retry_after(response: Response | None) -> float:
    """Seconds that it asks us to stay away, 0.0 if it does not say (RFC 3261 section 20.33)."""
    text = (response.find("Retry-After") or "") if response is not None else ""
    digits = text.partition("(")[0].partition(";")[0].strip()
    return min(float(digits), MAX_TIME) if digits.isascii() and digits.isdigit() and len(digits) < 9 else 0.0
