"""How much of a JSON answer is believed before anybody reads what it says: how deep it is, and what counts as seconds.

``json`` gives up on deep nesting with a RecursionError, which no library that
parses for us expects; it takes ``NaN`` and ``Infinity``, and whole numbers that
no ``float`` can hold.  None of these is a bug of the provider that meets them.
"""

from __future__ import annotations

import re

DEEPEST = 64
"""Levels of a JSON answer; what Vault and login servers say has five."""
LONGEST = 1e11
"""Seconds, about three thousand years: whoever names more names no time."""

_OPENED, _CLOSED = b"[{", b"]}"
_NEITHER = re.compile(rb'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"|[^][{}"]++|"', re.DOTALL)


def is_bomb(body: bytes) -> bool:
    """Is *body*, read as JSON, deeper than :data:`DEEPEST`?"""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for bracket in _NEITHER.sub(b"", body):
        depth += (bracket in _OPENED) - (bracket in _CLOSED)
        if depth > DEEPEST:
            return True
    return False


def seconds_of(value: object) -> float | None:
    """A JSON number as seconds; None for what is none, or no time: true, NaN, more than :data:`LONGEST`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -LONGEST <= value <= LONGEST else None
