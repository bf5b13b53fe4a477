"""What a body is for, and what of several parts is ours: SDP inside multipart, what may be left alone (RFC 5621)."""

from __future__ import annotations

import re
from typing import Final

from sipcli.errors import ParseError
from sipcli.sip.syntax.fields import Message

__all__ = ["MAX_DEPTH", "MAX_PARTS", "is_optional", "parts_of", "read_session", "session_of"]

SDP = "application/sdp"
MAX_DEPTH: Final = 4
MAX_PARTS: Final = 32
"""Parts inside parts, and parts side by side: nobody means more (threat T23)."""

_MULTIPART = ("multipart/mixed", "multipart/alternative", "multipart/related")
_BOUNDARY = re.compile(r";\s*boundary\s*=\s*(?:\"([^\"\r\n]{1,70})\"|([^\s;\"]{1,70}))", re.IGNORECASE)
_HANDLING = re.compile(r";\s*handling\s*=\s*\"?([a-z]+)", re.IGNORECASE)


def is_optional(disposition: str | None) -> bool:
    """May the body be ignored if we do not understand it?  Only if its sender says so (RFC 3261 section 20.11)."""
    match = _HANDLING.search(disposition or "")
    return match is not None and match[1].lower() == "optional"


def read_session(message: Message) -> bytes | None:
    """The session description in *message*, None where there is none: its body, or one of the parts of that.

    ParseError: 415 where something must be understood and is not (RFC 5621 section 6), 400 where it makes no sense.
    """
    kind = message.content_type
    if not message.body:
        return None
    if kind in (SDP, ""):
        return message.body
    if kind.startswith("multipart/"):
        return _session_in(message.find("Content-Type") or "", message.body, MAX_DEPTH)
    if is_optional(message.find("Content-Disposition")):
        return None
    raise ParseError(f"{kind} is not understood", status=415)


def session_of(message: Message) -> bytes | None:
    """:func:`read_session` where nobody can be told that it was not understood: of a response, of an ACK."""
    try:
        return read_session(message)
    except ParseError:
        return None


def _session_in(content_type: str, body: bytes, depth: int) -> bytes | None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _MULTIPART or depth == 0:
        raise ParseError(f"{kind} is not understood", status=415)
    found: bytes | None = None
    unknown: str | None = None
    for headers, content in parts_of(content_type, body):
        inner = headers.get("content-type", "text/plain")
        name = inner.partition(";")[0].strip().lower()
        disposition = headers.get("content-disposition", "")
        purpose = disposition.partition(";")[0].strip().lower() or "session"
        try:
            if name == SDP and purpose == "session":
                # Of alternatives the last one that is understood is the sender's favourite (RFC 2046 section 5.1.4).
                found = content if found is None or kind.endswith("alternative") else found
            elif name.startswith("multipart/"):
                nested = _session_in(inner, content, depth - 1)
                found = nested if found is None else found
            elif not is_optional(disposition):
                unknown = unknown or name
        except ParseError as error:
            if error.status != 415 or not is_optional(disposition):
                raise
    if unknown is not None and not kind.endswith("alternative"):
        raise ParseError(f"{unknown} is not understood, and has to be", status=415)
    if unknown is not None and found is None:
        raise ParseError(f"{unknown} is not understood, and there is no alternative", status=415)
    return found


def parts_of(content_type: str, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    """The header fields, by names in lower case, and the content of each part (RFC 2046 section 5.1.1).  ParseError."""
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise ParseError("a multipart without a boundary")
    delimiter = b"--" + (match[1] or match[2]).encode("utf-8", "surrogateescape")  # as it came
    pieces = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ParseError("a multipart that does not end")
    if len(pieces) > MAX_PARTS + 2:
        raise ParseError(f"more than {MAX_PARTS} parts in a body", status=413)
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> tuple[dict[str, str], bytes]:
    head, separator, content = piece.lstrip(b" \t").partition(b"\r\n\r\n")
    if not separator:
        raise ParseError("a part of a body without an end of its header")
    headers: dict[str, str] = {}
    for line in re.sub(rb"\r\n[ \t]+", b" ", head).split(b"\r\n"):
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise ParseError("a part of a body with a transfer encoding", status=415)
    return headers, content
