"""Header lines: ordered, case-blind, octets until asked for; Via and CSeq typed (RFC 3261 sections 7.3, 20)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.grammar import (
    HOST,
    Params,
    check_field_value,
    check_host,
    is_token,
    parse_params,
    split_commas,
    unquote,
)

__all__ = [
    "MAGIC_COOKIE",
    "MAX_VIAS",
    "SINGLETONS",
    "CSeq",
    "Headers",
    "Via",
    "header_key",
    "header_line",
    "is_header",
    "line_value",
]

MAGIC_COOKIE = "z9hG4bK"
"""A branch that begins so is unique across space and time (RFC 3261 section 8.1.1.7)."""

MAX_VIAS = 70
"""Via values of one message that we look at: Max-Forwards' usual start (threat T23)."""

SINGLETONS = frozenset(("from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type"))
"""Headers whose second appearance makes a message ambiguous, hence refused (RFC 4475 section 3.3.8)."""

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


_HEADER = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~]++[ \t]*+:(?:[^\r\n]|\r\n[ \t])*+")


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


def header_line(name: str, value: str) -> bytes:
    """``Name: value`` in octets, without the line end.  ParseError when either would end its line."""
    if not value.isprintable():
        check_field_value(value)
    return _prefix(name) + value.encode("utf-8", "surrogateescape")


def line_value(line: bytes) -> str:
    """The value of a header line: unfolded, stripped, text."""
    value = line.partition(b":")[2]
    if b"\r" in value:
        value = _FOLD.sub(b" ", value)
    return value.strip(b" \t").decode("utf-8", "surrogateescape")


class Headers:
    """The header lines of one message, in order.  Immutable; each change gives a new one.

    Content-Length is not kept: it is the length of the body, always.
    """

    __slots__ = ("_keys", "_lines")

    def __init__(self, keys: list[str], lines: list[bytes]) -> None:
        """*keys* and *lines* go in pairs and are never changed afterwards; use :meth:`of` to build."""
        self._keys = keys
        self._lines = lines

    @classmethod
    def read(cls, lines: list[bytes]) -> tuple[Headers, list[bytes]]:
        """From the lines of a message (folds still in them): the headers, and apart from them the Content-Length
        lines.  Raises ParseError when a line has no name."""
        try:
            keys = [_KEYS[line.partition(b":")[0]] for line in lines]
        except KeyError:
            keys = [_line_key(line) for line in lines]
        lengths: list[bytes] = []
        while "content-length" in keys:
            at = keys.index("content-length")
            del keys[at]
            lengths.append(lines.pop(at))
        return cls(keys, lines), lengths

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Headers:
        keys, lines = [], []
        for name, value in pairs:
            if (key := header_key(name)) != "content-length":
                keys.append(key)
                lines.append(header_line(name, value))
        return cls(keys, lines)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and header_key(name) in self._keys

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

    def _at(self, name: str) -> int | None:
        # A dozen interned names: looking through them costs less than keeping an index.
        keys = self._keys
        if name not in keys and (name := header_key(name)) not in keys:
            return None
        return keys.index(name)

    def first_lines(self) -> dict[str, bytes]:
        """The first line of each name, by look-up name, as it came."""
        first = dict(zip(self._keys, self._lines, strict=True))
        if len(first) != len(self._keys):
            first = dict(zip(reversed(self._keys), reversed(self._lines), strict=True))
        return first

    def find(self, name: str) -> str | None:
        at = self._at(name)
        return None if at is None else line_value(self._lines[at])

    def all(self, name: str) -> tuple[str, ...]:
        key = header_key(name)
        if key not in self._keys:
            return ()
        return tuple([line_value(line) for at, line in zip(self._keys, self._lines, strict=True) if at == key])

    def octets(self, name: str) -> list[bytes]:
        """The lines of that name as they came, folds and all."""
        key = header_key(name)
        return [line for at, line in zip(self._keys, self._lines, strict=True) if at == key]

    def values(self, name: str) -> tuple[str, ...]:
        return tuple([member for value in self.all(name) for member in split_commas(value)])

    def count(self, name: str) -> int:
        """How many lines have that name."""
        return self._keys.count(header_key(name))

    def duplicate(self) -> str | None:
        """A singleton that is there twice, if any."""
        return next((key for key in sorted(SINGLETONS) if self._keys.count(key) > 1), None)

    # --- changes ---------------------------------------------------------

    def _spliced(self, start: int, stop: int, key: str, lines: Iterable[bytes]) -> Headers:
        new = list(lines)
        return Headers(
            [*self._keys[:start], *[key] * len(new), *self._keys[stop:]],
            [*self._lines[:start], *new, *self._lines[stop:]],
        )

    def adding(self, name: str, value: str) -> Headers:
        end = len(self._keys)
        return self._spliced(end, end, header_key(name), [header_line(name, value)])

    def prepending(self, name: str, value: str) -> Headers:
        at = self._at(name) or 0
        return self._spliced(at, at, header_key(name), [header_line(name, value)])

    def without(self, name: str) -> Headers:
        key = header_key(name)
        if key not in self._keys:
            return self
        kept = [(k, line) for k, line in zip(self._keys, self._lines, strict=True) if k != key]
        return Headers([k for k, _ in kept], [line for _, line in kept])

    def with_(self, name: str, value: str | None) -> Headers:
        if value is None:
            return self.without(name)
        key = header_key(name)
        at = self._at(key)
        if at is None:
            return self.adding(name, value)
        line = header_line(name, value)
        if self._keys.count(key) > 1:
            return self.without(name)._spliced(at, at, key, [line])  # noqa: SLF001 - our own kind
        return Headers(self._keys, [*self._lines[:at], line, *self._lines[at + 1 :]])

    def with_first_value(self, name: str, value: str) -> Headers:
        """The first member of the first line replaced: the topmost Via, the first Route."""
        key = header_key(name)
        at = self._at(key)
        if at is None:
            return self.prepending(name, value)
        members = (value, *split_commas(line_value(self._lines[at]))[1:])
        return self._spliced(at, at + 1, key, [header_line(name, ", ".join(members))])

    def copied(self, keys: Iterable[str]) -> list[tuple[str, bytes]]:
        """The lines of *keys*, octet for octet, for a response that repeats them (RFC 3261 section 8.2.6.2)."""
        wanted = frozenset(keys)
        return [(key, line) for key, line in zip(self._keys, self._lines, strict=True) if key in wanted]


# via-parm = sent-protocol LWS sent-by *( SEMI via-params )       sent-protocol = "SIP" SLASH "2.0" SLASH transport
# SLASH = SWS "/" SWS       sent-by = host [ COLON port ]
_VIA = re.compile(
    rf"SIP[ \t]*+/[ \t]*+2\.0[ \t]*+/[ \t]*+([A-Za-z0-9\-.!%*_+`'~]++)[ \t]++({HOST})(?:[ \t]*+:[ \t]*+(\d{{1,5}}))?+"
    r"[ \t]*+((?:;.*+)?)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Via:
    """One hop of the way back (RFC 3261 section 20.42).  *transport* is upper case, *host* without brackets."""

    transport: str
    host: str
    port: int | None = None
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> Via:
        """Raises ParseError."""
        match = _VIA.fullmatch(text.strip())
        if match is None:
            raise ParseError(f"this is no Via: {text[:60]!r}")
        transport, host, port, params = match.groups()
        number = None if port is None else int(port)
        if number is not None and number > 65535:
            raise ParseError(f"there is no port {number}")
        return cls(transport.upper(), check_host(host), number, parse_params(params) if params else ())

    def param(self, name: str) -> str | None:
        """A parameter's value; ``""`` for a flag, None when absent."""
        for key, value in self.params:
            if key == name or key.lower() == name:
                return unquote(value) if value is not None else ""
        return None

    @property
    def branch(self) -> str | None:
        return self.param("branch")

    @property
    def received(self) -> str | None:
        """The address that the request really came from, without brackets (RFC 5118 section 4.5 has both forms)."""
        value = self.param("received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> int | None:
        """The port that the request really came from; None when absent or still empty (RFC 3581 section 4)."""
        value = self.param("rport")
        return int(value) if value and value.isascii() and value.isdigit() and len(value) <= 5 else None

    @property
    def sent_by(self) -> tuple[str, int]:
        """Host and port, 5060 or 5061 where the port is left out (RFC 3261 section 18.1.1)."""
        return self.host, self.port if self.port is not None else 5061 if self.transport == "TLS" else 5060

    def with_param(self, name: str, value: str | None) -> Via:
        """With parameter *name* set, in its old place if it had one; None sets a flag."""
        pairs = [(key, value if key.lower() == name else old) for key, old in self.params]
        if not any(key.lower() == name for key, _ in pairs):
            pairs.append((name, value))
        return Via(self.transport, self.host, self.port, tuple(pairs))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        text = (
            f"SIP/2.0/{self.transport} {host}" if self.port is None else f"SIP/2.0/{self.transport} {host}:{self.port}"
        )
        for name, value in self.params:
            text += f";{name}" if value is None else f";{name}={value}"
        return text


_CSEQ = re.compile(r"(\d++)[ \t]++([A-Za-z0-9\-.!%*_+`'~]++)", re.ASCII)


class CSeq(NamedTuple):
    """``number method`` (RFC 3261 section 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Raises ParseError, also when the number does not fit 32 bits."""
        match = _CSEQ.fullmatch(text.strip())
        if match is None:
            raise ParseError(f"this is no CSeq: {text[:40]!r}")
        digits = match[1].lstrip("0")
        if len(digits) > 10 or int(digits or "0") >= 2**32:
            raise ParseError("this CSeq does not fit 32 bits")
        return cls(int(digits or "0"), match[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"
