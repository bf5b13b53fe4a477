"""What a MESSAGE says: its text, out of a multipart too, or that somebody is writing (RFC 3428, RFC 2046, RFC 3994)."""

from __future__ import annotations

from typing import NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.syntax.bodies import parts_of
from sipcli.sip.syntax.grammar import parse_params, unquote
from sipcli.sip.syntax.message import Message

__all__ = ["MESSAGE_TYPES", "Words", "words_of"]

COMPOSING = "application/im-iscomposing+xml"
TEXTS = ("text/plain", "text/html")
MESSAGE_TYPES = (*TEXTS, COMPOSING, "multipart/mixed", "multipart/alternative")
MAX_DEPTH = 3
_CHARSETS = {"utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252"}


class Words(NamedTuple):
    """*content_type* without parameters, and the text; *others* counts the parts of a multipart that are not shown."""

    content_type: str
    text: str
    others: int = 0


def words_of(message: Message) -> Words | None:
    """None when nothing in it is of a type that we read: that earns 415."""
    found, parts = _find(message.find("Content-Type") or "", message.body, 0)
    return found._replace(others=parts - 1) if found is not None else None


def _find(content_type: str, body: bytes, depth: int) -> tuple[Words | None, int]:
    """The dearest part that we can read, and how many there are."""
    kind, params = _typed(content_type)
    if kind in (*TEXTS, COMPOSING):
        return Words(kind, _decoded(body, params.get("charset", "utf-8").lower())), 1
    if kind not in MESSAGE_TYPES or depth >= MAX_DEPTH:
        return None, 1
    best: Words | None = None
    count = 0
    try:
        parts = parts_of(content_type, body)
    except ParseError:
        return None, 1
    for headers, inner in parts:
        found, below = _find(headers.get("content-type", "text/plain"), inner, depth + 1)
        count += below
        # Plain text says what it means; the same as HTML, or a picture, may stand beside it.
        if found is not None and (best is None or (best.content_type != "text/plain" and found.content_type in TEXTS)):
            best = found
    return best, max(count, 1)


def _typed(content_type: str) -> tuple[str, dict[str, str]]:
    kind, semicolon, rest = content_type.partition(";")
    try:
        params = parse_params(semicolon + rest)
    except ParseError:
        params = ()
    return kind.strip().lower(), {name.lower(): unquote(value) for name, value in params if value is not None}


def _decoded(body: bytes, charset: str) -> str:
    return body.decode(charset if charset in _CHARSETS else "utf-8", "backslashreplace")
