"""What a MESSAGE says: its text, out of a multipart too, or that somebody is writing (RFC 3428, RFC 2046, RFC 3994)."""

from __future__ import annotations

from typing import NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.grammar import parse_params, unquote
from sipcli.sip.message import Message

__all__ = ["MESSAGE_TYPES", "Words", "words_of"]

COMPOSING = "application/im-iscomposing+xml"
TEXTS = ("text/plain", "text/html")
MESSAGE_TYPES = (*TEXTS, COMPOSING, "multipart/mixed", "multipart/alternative")
MAX_PARTS = 16
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
    boundary = params.get("boundary", "")
    if kind not in MESSAGE_TYPES or not 0 < len(boundary) <= 70 or depth >= MAX_DEPTH:
        return None, 1
    best: Words | None = None
    count = 0
    for part in _parts(body, boundary.encode("utf-8", "surrogateescape")):
        head, _, inner = (b"\r\n" + part).partition(b"\r\n\r\n")  # a part may have no header at all
        found, below = _find(_header(head), inner, depth + 1)
        count += below
        # Plain text says what it means; the same as HTML, or a picture, may stand beside it.
        if found is not None and (best is None or (best.content_type != "text/plain" and found.content_type in TEXTS)):
            best = found
    return best, max(count, 1)


def _parts(body: bytes, boundary: bytes) -> list[bytes]:
    """RFC 2046 section 5.1.1; what stands before the first and after the last boundary is nobody's."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary, MAX_PARTS + 1)[1 : MAX_PARTS + 1]
    parts = []
    for piece in pieces:
        if piece.startswith(b"--"):
            break
        parts.append(piece.partition(b"\r\n")[2])  # what is left of the boundary's line is padding
    return parts


def _header(head: bytes) -> str:
    """The Content-Type of a part; plain text when it says nothing (RFC 2046 section 5.1)."""
    for line in head.split(b"\r\n")[:32]:
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-type", b"c"):
            return value.strip().decode("utf-8", "surrogateescape")
    return "text/plain"


def _typed(content_type: str) -> tuple[str, dict[str, str]]:
    kind, semicolon, rest = content_type.partition(";")
    try:
        params = parse_params(semicolon + rest)
    except ParseError:
        params = ()
    return kind.strip().lower(), {name.lower(): unquote(value) for name, value in params if value is not None}


def _decoded(body: bytes, charset: str) -> str:
    return body.decode(charset if charset in _CHARSETS else "utf-8", "backslashreplace")
