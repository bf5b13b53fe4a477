"""Header lines: ordered, case-blind, octets until asked for (RFC 3261 section 7.3)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache

from sipcli.errors import ParseError
from sipcli.sip.syntax.grammar import check_field_value, is_token, split_commas
from sipcli.sip.syntax.via import MAGIC_COOKIE, MAX_VIAS, CSeq, Via

__all__ = [
    "MAGIC_COOKIE",
    "MAX_VIAS",
    "NEEDED",
    "SINGLETONS",
    "CSeq",
    "Headers",
    "Via",
    "header_key",
    "header_line",
    "is_header",
    "line_value",
]

SINGLETONS = frozenset(("from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type"))
"""Headers whose second appearance makes a message ambiguous, hence refused (RFC 4475 section 3.3.8)."""

NEEDED = ("via", "from", "to", "call-id", "cseq")
"""What every message has (RFC 3261 section 8.1.1), Max-Forwards aside, which older ones lack."""

# RFC 3261 section 7.3.3 and the registry's later additions.
_COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition",
    "e": "content-encoding", "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported",
    "l": "content-length", "m": "contact", "n": "identity-info", "o": "event", "r": "refer-to",
    "s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires", "y": "identity",
}  # fmt: skip

# From a name as it stands on the wire to the one we look up by: one look-up per line.  Learned as they come, up to a
# number that no honest set of peers reaches.
_MAX_SPELLINGS = 1000
_KEYS: dict[bytes, str] = {}
for _short, _long in _COMPACT.items():
    _KEYS[_short.encode()] = _KEYS[_short.upper().encode()] = sys.intern(_long)

_FOLD = re.compile(rb"[ \t]*+\r\n[ \t]++")


@lru_cache(maxsize=1024)
def header_key(name: str) -> str:
    """The look-up form of a header name: lower case, the long form of a compact one."""
    key = name.lower()
    return _COMPACT.get(key, key)


_HEADER = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~]++[ \t]*+:[^\r\n]*+(?>(?:\r\n[ \t][^\r\n]*+)*)")


def is_header(line: bytes) -> bool:
    """Is this a header line at all, folds included, with nothing in it that could end it?"""
    return _HEADER.fullmatch(line) is not None


def _line_key(line: bytes) -> str:
    """The look-up form of a line's name.  ParseError when there is none."""
    name, colon, _ = line.partition(b":")
    key = _KEYS.get(name)
    if key is None:
        # HCOLON = *( SP / HTAB ) ":" SWS
        text = name.rstrip(b" \t").decode("ascii", "replace")
        if not colon or not is_token(text):
            raise ParseError(f"this is no header line: {text[:40]!r}")
        key = sys.intern(header_key(text))
        if len(_KEYS) < _MAX_SPELLINGS and len(name) <= 40:
            _KEYS[name] = key
    elif not colon:
        raise ParseError(f"this is no header line: {name[:40]!r}")
    return key


@lru_cache(maxsize=256)
def _prefix(name: str) -> bytes:
    if not is_token(name):
        raise ParseError(f"this is no header name: {name[:40]!r}")
    return f"{name}: ".encode()


# What a client says of itself in every request: the same line each time, so all messages share one.
_ALWAYS_THE_SAME = frozenset(("Allow", "Expires", "Max-Forwards", "Supported", "User-Agent"))


def header_line(name: str, value: str) -> bytes:
    """``Name: value`` in octets, without the line end.  ParseError when either would end its line."""
    return _shared_line(name, value) if name in _ALWAYS_THE_SAME else _line(name, value)


def _line(name: str, value: str) -> bytes:
    if not value.isprintable():
        check_field_value(value)
    return _prefix(name) + value.encode("utf-8", "surrogateescape")


_shared_line = lru_cache(maxsize=64)(_line)


def line_value(line: bytes) -> str:
    """The value of a header line: unfolded, stripped, text."""
    value = line.partition(b":")[2]
    if b"\r" in value:
        value = _FOLD.sub(b" ", value)
    return value.strip(b" \t").decode("utf-8", "surrogateescape")


class _Shape:
    """The names of a message's header lines, in order.  Messages come in few shapes: each is worked out once.

    *first* has the place of each name's first line; *lengths* those of
    Content-Length, and *rest* the shape without them; *twice* is a singleton
    that comes again; *missing* one of NEEDED that does not come at all.
    """

    __slots__ = ("first", "keys", "lengths", "missing", "rest", "twice")

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys = keys
        # From the last to the first, so that the first line of a name wins.
        self.first = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))
        self.lengths = tuple(at for at, key in enumerate(keys) if key == "content-length")
        self.rest = _shape(tuple(key for key in keys if key != "content-length")) if self.lengths else self
        self.twice = next((key for key in sorted(SINGLETONS) if keys.count(key) > 1), None)
        self.missing = next((key for key in NEEDED if key not in self.first), None)


_shape = lru_cache(maxsize=1024)(_Shape)


class Headers:
    """The header lines of one message, in order.  Immutable; each change gives a new one.

    Content-Length is not kept: it is the length of the body, always.
    """

    __slots__ = ("_lines", "_shape")

    def __init__(self, keys: Iterable[str], lines: list[bytes]) -> None:
        """*keys* and *lines* go in pairs and are never changed afterwards; use :meth:`of` to build."""
        self._shape = _shape(tuple(keys))
        self._lines = lines

    @classmethod
    def read(cls, lines: list[bytes]) -> tuple[Headers, list[bytes]]:
        """From the lines of a message (folds still in them): the headers, and apart from them the Content-Length
        lines.  Raises ParseError when a line has no name."""
        try:
            keys = tuple([_KEYS[line[: line.index(b":")]] for line in lines])
        except (KeyError, ValueError):
            keys = tuple([_line_key(line) for line in lines])
        shape = _shape(keys)
        lengths = [lines.pop(at) for at in reversed(shape.lengths)]
        return cls(shape.rest.keys, lines), lengths

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Headers:
        keys, lines = [], []
        for name, value in pairs:
            if (key := header_key(name)) != "content-length":
                keys.append(key)
                lines.append(header_line(name, value))
        return cls(keys, lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and header_key(name) in self._shape.first

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Names as written and values, in order."""
        for line in self._lines:
            yield line.partition(b":")[0].rstrip(b" \t").decode("ascii", "replace"), line_value(line)

    @property
    def lines(self) -> tuple[bytes, ...]:
        return tuple(self._lines)

    def to_bytes(self) -> bytes:
        """All lines, each with its CRLF."""
        return b"\r\n".join(self._lines) + b"\r\n" if self._lines else b""

    # --- looking -----------------------------------------------------------

    def _at(self, name: str) -> int | None:
        first = self._shape.first
        at = first.get(name)
        return first.get(header_key(name)) if at is None else at

    def needed(self) -> tuple[bytes, bytes, bytes, bytes, bytes | None]:
        """The first Via, From, To, CSeq and, if any, Contact line.

        Raises ParseError when something that every message needs (RFC 3261
        section 8.1.1) is missing, or there twice.
        """
        shape, lines = self._shape, self._lines
        if shape.missing is not None:
            raise ParseError(f"there is no {shape.missing} header")
        if shape.twice is not None:
            raise ParseError(f"there are two {shape.twice} headers")
        first = shape.first
        contact = first.get("contact")
        return (
            lines[first["via"]],
            lines[first["from"]],
            lines[first["to"]],
            lines[first["cseq"]],
            None if contact is None else lines[contact],
        )

    def find(self, name: str) -> str | None:
        at = self._at(name)
        return None if at is None else line_value(self._lines[at])

    def all(self, name: str) -> tuple[str, ...]:
        return tuple([line_value(line) for line in self.octets(name)])

    def octets(self, name: str) -> list[bytes]:
        """The lines of that name as they came, folds and all."""
        key, shape = header_key(name), self._shape
        first = shape.first.get(key)
        if first is None:
            return []
        if shape.keys.count(key) == 1:
            return [self._lines[first]]
        return [line for at, line in zip(shape.keys, self._lines, strict=True) if at == key]

    def values(self, name: str) -> tuple[str, ...]:
        return tuple([member for value in self.all(name) for member in split_commas(value)])

    def count(self, name: str) -> int:
        """How many lines have that name."""
        return self._shape.keys.count(header_key(name))

    def copied(self, keys: Iterable[str]) -> list[tuple[str, bytes]]:
        """The lines of *keys*, octet for octet, for a response that repeats them (RFC 3261 section 8.2.6.2)."""
        wanted = frozenset(keys)
        return [(key, line) for key, line in zip(self._shape.keys, self._lines, strict=True) if key in wanted]

    # --- changes -----------------------------------------------------------

    def _spliced(self, start: int, stop: int, key: str, line: bytes) -> Headers:
        keys, lines = self._shape.keys, self._lines
        return Headers((*keys[:start], key, *keys[stop:]), [*lines[:start], line, *lines[stop:]])

    def adding(self, name: str, value: str) -> Headers:
        end = len(self._lines)
        return self._spliced(end, end, header_key(name), header_line(name, value))

    def prepending(self, name: str, value: str) -> Headers:
        at = self._at(name) or 0
        return self._spliced(at, at, header_key(name), header_line(name, value))

    def without(self, name: str) -> Headers:
        key = header_key(name)
        if key not in self._shape.first:
            return self
        kept = [(k, line) for k, line in zip(self._shape.keys, self._lines, strict=True) if k != key]
        return Headers([k for k, _ in kept], [line for _, line in kept])

    def with_(self, name: str, value: str | None) -> Headers:
        if value is None:
            return self.without(name)
        key = header_key(name)
        at = self._at(key)
        if at is None:
            return self.adding(name, value)
        line = header_line(name, value)
        if self._shape.keys.count(key) > 1:
            return self.without(name)._spliced(at, at, key, line)  # noqa: SLF001 - our own kind
        return self._spliced(at, at + 1, key, line)

    def with_first_value(self, name: str, value: str) -> Headers:
        """The first member of the first line replaced: the topmost Via, the first Route."""
        key = header_key(name)
        at = self._at(key)
        if at is None:
            return self.prepending(name, value)
        members = (value, *split_commas(line_value(self._lines[at]))[1:])
        return self._spliced(at, at + 1, key, header_line(name, ", ".join(members)))
