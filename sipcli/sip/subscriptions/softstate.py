"""State that a server keeps for a time: what it granted, and how long it wants to be asked for (RFC 6665, RFC 3903)."""

from __future__ import annotations

from sipcli.errors import ParseError
from sipcli.sip.syntax.message import Response

__all__ = ["granted", "longer"]


def granted(response: Response, asked: int) -> int:
    """Seconds.  A server may shorten what we asked for, and that is what it took where it does not say."""
    try:
        expires = response.expires
    except ParseError:
        return asked
    return asked if expires is None else min(expires, asked)


def longer(response: Response, asked: int) -> int | None:
    """Seconds that a 423 wants instead of *asked*; None when they are no more (RFC 3261 section 10.2.8)."""
    least = response.find("Min-Expires") or ""
    if response.status != 423 or not (least.isascii() and least.isdigit() and len(least) < 11):
        return None
    return int(least) if asked < int(least) < 2**32 else None
