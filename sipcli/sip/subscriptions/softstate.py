"""State that a server keeps for a time: what it granted (RFC 6665, RFC 3903)."""

from __future__ import annotations

from sipcli.errors import ParseError
from sipcli.sip.syntax.message import Response

__all__ = ["granted"]


def granted(response: Response, asked: int) -> int:
    """Seconds.  A server may shorten what we asked for, and that is what it took where it does not say."""
    try:
        expires = response.expires
    except ParseError:
        return asked
    return asked if expires is None else min(expires, asked)
