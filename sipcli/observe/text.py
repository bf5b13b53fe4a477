"""Text from the network made fit for a terminal: nothing moves a cursor, hides, reorders or floods (threat T12)."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any

__all__ = ["json_line", "quoted", "safe_line", "safe_text"]

_UNFIT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (bidi overrides, zero widths), surrogate, private, unassigned; line and paragraph separators."""


def safe_text(text: str | bytes, *, limit: int | None = 64) -> str:
    """*text* with every unfit character written as ``\\x1b``, and at most *limit* characters shown.

    Octets are read as UTF-8, what cannot be read is shown as ``\\xff``.  The
    result is always one line, and applying this twice changes nothing more.
    """
    if isinstance(text, bytes):
        # Cut first: a realm of 64 kB need not be decoded to show its beginning.
        head = text if limit is None else text[: 4 * limit + 4]
        text = head.decode("utf-8", "surrogateescape")
    cut = limit is not None and len(text) > limit
    shown = "".join(_shown(character) for character in (text[:limit] if cut else text))
    return shown + "…" if cut else shown


def _shown(character: str) -> str:
    if character.isascii() and character.isprintable():
        return character
    if unicodedata.category(character) not in _UNFIT:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # an octet that was not UTF-8 (PEP 383)
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def safe_line(text: str) -> str:
    """A whole sentence of ours that may hold words of the server's: escaped, cut only where it is absurd."""
    return safe_text(text, limit=2000)


def json_line(fields: Mapping[str, Any]) -> str:
    """*fields* as one line of JSON that may be shown on a terminal too.

    JSON itself escapes no DEL, no C1 control (0x9b is CSI), no bidi override and
    no lone surrogate; written as ``\\u009b`` they mean the same to a program.
    """
    line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str)
    if line.isascii() and "\x7f" not in line:
        return line
    return "".join(_in_json(character) for character in line)


def _in_json(character: str) -> str:
    if character == "\x7f":
        return "\\u007f"
    if character.isascii() or unicodedata.category(character) not in _UNFIT:
        return character
    return json.dumps(character)[1:-1]


def quoted(text: str | bytes) -> str:
    """Between quotes that *text* cannot close: what follows them is ours."""
    return f"“{safe_text(text).replace('”', chr(92) + 'u201d')}”"
