"""RFC 3261 section 25 as compiled patterns, the ABNF above each, and the few words made of them.

Every pattern is possessive (``*+``, ``++``), and every group that repeats atomic (``(?>...)``: a possessive group is
wrong before Python 3.11.5): no input makes it go back, so matching is linear whatever a stranger sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sipcli.errors import ParseError

__all__ = [
    "HOST",
    "KNOWN_METHODS",
    "TOKEN",
    "Params",
    "check_field_value",
    "check_host",
    "escape",
    "is_token",
    "parse_params",
    "quote",
    "split_commas",
    "take_quoted",
    "unescape",
    "unquote",
]

Params = tuple[tuple[str, str | None], ...]
"""Parameters in wire order: name and value as written; the value is None for a flag such as ``;lr``."""

# The methods the IANA registry knows.  A request whose CSeq names another method than its start line is broken
# (400); if the method itself is a stranger, 501 says more (RFC 4475 section 3.1.2.18).
KNOWN_METHODS = frozenset(
    {"ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER", "REGISTER"}
    | {"SUBSCRIBE", "UPDATE"}
)

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")
_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]"  # noqa: S105 - RFC 3261's word, no secret
TOKEN = re.compile(_TOKEN + "++")

# quoted-string = SWS DQUOTE *(qdtext / quoted-pair) DQUOTE      quoted-pair = "\" (%x00-09 / %x0B-0C / %x0E-7F)
_QUOTED = r'"[^"\\]*+(?>(?:\\[^\r\n][^"\\]*+)*)"'
_QUOTED_STRING = re.compile(_QUOTED, re.DOTALL)

# hostname = *( domainlabel "." ) toplabel [ "." ]      Underscores are no letters of RFC 1123, but live in real names.
# IPv6reference = "[" IPv6address "]"
HOST = r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_\-.]*+)|\[[0-9A-Fa-f:.]++\])"

# generic-param = token [ EQUAL gen-value ]      gen-value = token / host / quoted-string
# Wider than the ABNF on the right-hand side: bare IPv6 in `received` (RFC 5118 section 4.5) and base64 tags exist.
_PARAM = re.compile(
    rf"[ \t]*+;[ \t]*+({_TOKEN}++)(?>(?:[ \t]*+=[ \t]*+({_QUOTED}|[^\s;,\"<>\x00-\x1f\x7f]++))?)[ \t]*+", re.DOTALL
)

# What a comma-separated list is made of: plain text, quoted strings, <addr-specs>, and the commas between.
_LIST_PART = re.compile(rf"[^\",<]++|{_QUOTED}|<[^>]*+>|,", re.DOTALL)

_ESCAPED = re.compile(r"(?>(?:%[0-9A-Fa-f]{2})+)")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_PAIR = re.compile(r'(["\\])')
_FORBIDDEN = re.compile(r"[\r\n]|(?<!\\)\x00")

_IPV6 = re.compile(r"[0-9A-Fa-f:.]++")


def is_token(text: str) -> bool:
    return TOKEN.fullmatch(text) is not None


def unescape(text: str) -> str:
    """Undo ``%HH`` (RFC 3261 section 19.1.2).  Octets that are no UTF-8 survive as surrogates."""
    if "%" not in text:
        return text
    return _ESCAPED.sub(lambda m: bytes.fromhex(m[0].replace("%", "")).decode("utf-8", "surrogateescape"), text)


def escape(text: str, keep: str) -> str:
    """``%HH`` for every octet that is neither alphanumeric nor in *keep*."""
    octets = text.encode("utf-8", "surrogateescape")
    return "".join(c if (c := chr(o)).isascii() and (c.isalnum() or c in keep) else f"%{o:02X}" for o in octets)


def quote(text: str) -> str:
    """*text* as a quoted-string.  Raises ParseError for what no quoted-string can hold: CR and LF."""
    if '"' not in text and "\\" not in text and text.isprintable():
        return f'"{text}"'
    if "\r" in text or "\n" in text:
        raise ParseError("a quoted string cannot hold a line end")
    return '"' + _NEEDS_PAIR.sub(r"\\\1", text).replace("\0", "\\\0") + '"'


def unquote(text: str) -> str:
    """The text inside a quoted-string; anything else is returned as it is."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        inner = text[1:-1]
        return _QUOTED_PAIR.sub(r"\1", inner) if "\\" in inner else inner
    return text


def take_quoted(text: str) -> tuple[str, str]:
    """Split ``"quoted" rest`` into the unquoted string and the rest.  ParseError when the quotes do not balance."""
    match = _QUOTED_STRING.match(text)
    if match is None:
        raise ParseError("a quoted string has no end")
    return unquote(match[0]), text[match.end() :]


def split_commas(value: str) -> tuple[str, ...]:
    """The members of a comma-separated list, stripped; commas in quotes and in angle brackets do not count.

    Empty members are dropped, as ``#rule`` lists always allowed (RFC 2616 section 2.1).
    """
    if "," not in value:
        stripped = value.strip()
        return (stripped,) if stripped else ()
    return tuple(member for part in _members(value) if (member := part.strip()))


def _members(value: str) -> Iterator[str]:
    start = at = 0
    while at < len(value):
        part = _LIST_PART.match(value, at)
        if part is None:
            raise ParseError("a list has an unbalanced quote or angle bracket")
        at = part.end()
        if part[0] == ",":
            yield value[start : at - 1]
            start = at
    yield value[start:]


def parse_params(text: str) -> Params:
    """``;name=value;flag`` to pairs, values as written (quotes included).  ParseError on anything else."""
    found: list[tuple[str, str | None]] = []
    at = 0
    while at < len(text):
        param = _PARAM.match(text, at)
        if param is None:
            if not text[at:].strip():
                break
            raise ParseError(f"these are no parameters: {text[at : at + 40]!r}")
        found.append((param[1], param[2]))
        at = param.end()
    return tuple(found)


def check_host(host: str) -> str:
    """*host* as we keep it: lower case, no brackets.  ParseError when it is neither a name nor an address."""
    if host.startswith("["):
        # RFC 3261's ABNF let `2001:db8:::192.0.2.1` pass, so some send it: RFC 5118 section 4.10 asks for mercy.
        address = host[1:-1].replace(":::", "::", 1)
        if not _is_ipv6(address):
            raise ParseError(f"this is no IPv6 address: {host[:64]!r}")
        return address.lower()
    return host.lower()


def _is_ipv6(address: str) -> bool:
    if "." in address:
        address, _, dotted = address.rpartition(":")
        octets = dotted.split(".")
        if len(octets) != 4 or not all(o.isdigit() and len(o) <= 3 and int(o) <= 255 for o in octets):
            return False
        address += ":0:0"
    if _IPV6.fullmatch(address) is None or address.count("::") > 1 or ":::" in address:
        return False
    head, gap, tail = address.partition("::")
    groups = [g for half in (head, tail) if half for g in half.split(":")]
    if not all(1 <= len(g) <= 4 and "." not in g for g in groups):
        return False
    return len(groups) <= 7 if gap else len(groups) == 8


def check_field_value(value: str) -> str:
    """Refuse a header value that would end its line: CR, LF, or a NUL that no backslash excuses (T13)."""
    if not value.isprintable() and _FORBIDDEN.search(value):  # the search costs ten times what isprintable() does
        raise ParseError("a header value cannot hold a line end or NUL")
    return value
