"""Somebody is writing: ``application/im-iscomposing+xml`` (RFC 3994)."""

from __future__ import annotations

from typing import NamedTuple

from sipcli.sip.subscriptions.packages.tree import parse_xml

__all__ = ["COMPOSING", "Composing", "composing_document", "parse_composing"]

COMPOSING = "application/im-iscomposing+xml"
IDLE_AFTER = 120
"""Seconds without news after which somebody writes no more (section 3.2)."""


class Composing(NamedTuple):
    """*active* holds for *refresh_s* seconds, if nothing is heard meanwhile."""

    active: bool
    refresh_s: int = IDLE_AFTER


def parse_composing(octets: bytes) -> Composing:
    """Raises ParseError.  A state that nobody knows counts as idle (section 3.3)."""
    root = parse_xml(octets, "isComposing")
    refresh = root.word("refresh") or ""
    known = refresh.isascii() and refresh.isdigit() and len(refresh) < 10
    return Composing(root.word("state") == "active", int(refresh) if known else IDLE_AFTER)


def composing_document(*, active: bool, refresh_s: int = IDLE_AFTER) -> bytes:
    """What is sent to say so; a refresh below a minute would cost more than the text (section 3.2)."""
    state = f"<state>active</state><refresh>{max(refresh_s, 60)}</refresh>" if active else "<state>idle</state>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing">{state}'
        "<contenttype>text/plain</contenttype></isComposing>\n"
    ).encode()
