"""Session descriptions as values: parse and format (RFC 8866), and the attributes that audio needs.

Strict where guessing would change the meaning (version, origin, connection, ports), lenient where
devices in the field are: a missing ``s=`` or ``t=``, bare LF, lines out of order inside a section.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

from sipcli.errors import ParseError

__all__ = [
    "DIRECTIONS",
    "UNBOUNDED",
    "Attribute",
    "Connection",
    "Direction",
    "MediaDescription",
    "Origin",
    "RtpMap",
    "SessionDescription",
    "address_family",
    "parse_sdp",
]

Direction: TypeAlias = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
DIRECTIONS: tuple[Direction, ...] = ("sendrecv", "sendonly", "recvonly", "inactive")

UNBOUNDED = (("t", "0 0"),)
"""The time of a session that is on until somebody ends it (RFC 3264 section 5)."""

_MAX_LINES = 1000
_KNOWN = frozenset("vosiuepcbtrzkam")


class Attribute(NamedTuple):
    """``a=name`` (*value* None) or ``a=name:value``."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


class RtpMap(NamedTuple):
    """``a=rtpmap`` (RFC 8866 section 6.6)."""

    payload_type: int
    encoding: str
    clock_rate: int
    channels: int = 1


@dataclass(frozen=True, slots=True)
class Connection:
    """``c=`` (RFC 8866 section 5.7); *address* is as written: a literal, a domain name, a multicast ``a/ttl``."""

    address: str
    address_type: str = "IP4"
    network: str = "IN"

    @classmethod
    def of(cls, host: str) -> Connection:
        return cls(host, "IP6" if ":" in host else "IP4")

    @property
    def on_hold(self) -> bool:
        """The hold of RFC 2543, which RFC 3264 section 8.4 wants understood: ``c=IN IP4 0.0.0.0``."""
        return self.address in ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to

    def __str__(self) -> str:
        return f"{self.network} {self.address_type} {self.address}"


@dataclass(frozen=True, slots=True)
class Origin:
    """``o=`` (RFC 8866 section 5.2): globally unique less *version*, which counts the changes."""

    session_id: int
    version: int
    connection: Connection
    username: str = "-"

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} {self.connection}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaDescription:
    """One ``m=`` line and what belongs to it (RFC 8866 section 5.14).

    *others* are its lines of type i, b and k as (type, value), in order.
    """

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    port_count: int = 1
    connection: Connection | None = None
    others: tuple[tuple[str, str], ...] = ()
    attributes: tuple[Attribute, ...] = ()
    rtpmaps: Mapping[int, RtpMap] = field(init=False, repr=False, compare=False)
    """By payload type; a malformed one is as if it were absent."""

    def __post_init__(self) -> None:
        found = (_parse_rtpmap(a.value) for a in self.attributes if a.name == "rtpmap" and a.value)
        # Read once: a call looks a dozen times, and a stranger may send a thousand lines.
        object.__setattr__(self, "rtpmaps", {rtpmap.payload_type: rtpmap for rtpmap in found if rtpmap is not None})

    @property
    def rejected(self) -> bool:
        """Port 0: refused, or gone (RFC 3264 sections 6 and 8.2)."""
        return self.port == 0

    def find(self, name: str) -> str | None:
        """The value of the first attribute *name* ('' for a flag)."""
        return _find(self.attributes, name)

    def has(self, name: str) -> bool:
        return any(attribute.name == name for attribute in self.attributes)

    @property
    def direction(self) -> Direction | None:
        """As written at this level; the session's, then ``sendrecv``, is the default (RFC 8866 section 6.7)."""
        return _direction(self.attributes)

    def fmtp(self, payload_type: int) -> str | None:
        """Format parameters of *payload_type* (RFC 8866 section 6.15)."""
        for attribute in self.attributes:
            if attribute.name == "fmtp" and attribute.value:
                number, _, parameters = attribute.value.partition(" ")
                if number == str(payload_type):
                    return parameters.strip()
        return None

    def parameters_of(self, payload_type: int) -> dict[str, str]:
        """Those of :meth:`fmtp` that are ``name=value``, names in lower case."""
        pairs = (part.partition("=") for part in (self.fmtp(payload_type) or "").split(";"))
        return {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}

    def lines(self) -> list[str]:
        ports = str(self.port) if self.port_count == 1 else f"{self.port}/{self.port_count}"
        lines = [f"m={self.kind} {ports} {self.protocol} {' '.join(self.formats)}"]
        lines += [f"{kind}={value}" for kind, value in self.others if kind == "i"]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        lines += [f"{kind}={value}" for kind, value in self.others if kind != "i"]
        return lines + [f"a={attribute}" for attribute in self.attributes]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription:
    """A whole description.  *others* are the session's lines of type i, u, e, p, b, t, r, z and k, in order."""

    origin: Origin
    name: str = "-"
    connection: Connection | None = None
    others: tuple[tuple[str, str], ...] = UNBOUNDED
    attributes: tuple[Attribute, ...] = ()
    media: tuple[MediaDescription, ...] = ()

    def find(self, name: str) -> str | None:
        return _find(self.attributes, name)

    @property
    def times(self) -> tuple[tuple[str, str], ...]:
        """Its ``t=`` lines that are two numbers (RFC 8866 section 5.9)."""
        pairs = ((kind, value, value.split()) for kind, value in self.others if kind == "t")
        return tuple((k, value) for k, value, words in pairs if len(words) == 2 and all(map(_is_number, words)))

    def connection_of(self, media: MediaDescription) -> Connection | None:
        """The media's own connection, else the session's (RFC 8866 section 5.7)."""
        return media.connection or self.connection

    def direction_of(self, media: MediaDescription) -> Direction:
        return media.direction or _direction(self.attributes) or "sendrecv"

    def with_version(self, version: int) -> SessionDescription:
        return replace(self, origin=replace(self.origin, version=version))

    def to_bytes(self) -> bytes:
        """The lines in the order of RFC 8866 section 9, ended by CRLF."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name}"]
        lines += [f"{kind}={value}" for kind, value in self.others if kind in "iuep"]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        for group in ("b", "tr", "z", "k"):
            lines += [f"{kind}={value}" for kind, value in self.others if kind in group]
        lines += [f"a={attribute}" for attribute in self.attributes]
        for media in self.media:
            lines += media.lines()
        return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")


def parse_sdp(data: bytes) -> SessionDescription:
    """Octets as a description; ParseError (status 400) says which line is wrong."""
    lines = _split_lines(data)
    sections: list[list[tuple[str, str]]] = [[]]
    for kind, value in lines:
        if kind == "m":
            sections.append([])
        sections[-1].append((kind, value))
    session = sections[0]
    if not session or session[0] != ("v", "0"):
        raise ParseError("SDP: does not begin with v=0")
    origins = [value for kind, value in session if kind == "o"]
    if len(origins) != 1:
        raise ParseError(f"SDP: {len(origins)} origin lines (o=), not one")
    names = [value for kind, value in session if kind == "s"]
    connections = [value for kind, value in session if kind == "c"]
    return SessionDescription(
        origin=_parse_origin(origins[0]),
        name=names[0] if names else "-",
        connection=_parse_connection(connections[0]) if connections else None,
        others=tuple((kind, value) for kind, value in session if kind in "iuepbtrzk"),
        attributes=_attributes(session),
        media=tuple(_parse_media(section) for section in sections[1:]),
    )


def _split_lines(data: bytes) -> list[tuple[str, str]]:
    if b"\0" in data:
        raise ParseError("SDP: holds a NUL octet")
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
    lines = []
    for line in text.split("\n"):
        if not line:
            continue
        if line[1:2] != "=" or line[0] not in _KNOWN:
            # RFC 8866 section 5: a description with a type that is not understood is ignored as a whole.
            raise ParseError(f"SDP: {line[:20]!r} is not a line of a session description")
        lines.append((line[0], line[2:]))
        if len(lines) > _MAX_LINES:
            raise ParseError(f"SDP: more than {_MAX_LINES} lines")
    return lines


def _parse_origin(value: str) -> Origin:
    words = value.split()
    if len(words) != 6 or not (_is_number(words[1]) and _is_number(words[2])):
        raise ParseError(f"SDP: o={value[:60]!r} is not an origin")
    username, session_id, version, network, address_type, address = words
    return Origin(int(session_id), int(version), Connection(address, address_type, network), username)


def _parse_connection(value: str) -> Connection:
    words = value.split()
    if len(words) != 3:
        raise ParseError(f"SDP: c={value[:60]!r} is not a connection")
    network, address_type, address = words
    return Connection(address, address_type.upper(), network.upper())


def _parse_media(section: list[tuple[str, str]]) -> MediaDescription:
    value = section[0][1]
    words = value.split()
    if len(words) < 4:
        raise ParseError(f"SDP: m={value[:60]!r} is not a media description")
    kind, ports, protocol, *formats = words
    port, _, count = ports.partition("/")
    if not _is_number(port) or int(port) > 65535 or (count and not _is_number(count)):
        raise ParseError(f"SDP: m={value[:60]!r} has no port")
    connections = [line for name, line in section if name == "c"]
    return MediaDescription(
        kind=kind,
        port=int(port),
        port_count=int(count or 1),
        protocol=protocol,
        formats=tuple(formats),
        connection=_parse_connection(connections[0]) if connections else None,
        others=tuple((name, line) for name, line in section if name in "ibk"),
        attributes=_attributes(section),
    )


def _attributes(section: list[tuple[str, str]]) -> tuple[Attribute, ...]:
    found = []
    for kind, value in section:
        if kind == "a":
            name, colon, rest = value.partition(":")
            found.append(Attribute(name, rest if colon else None))
    return tuple(found)


def _parse_rtpmap(value: str) -> RtpMap | None:
    words = value.split()
    if len(words) != 2 or not _is_number(words[0]) or int(words[0]) > 127:
        return None
    encoding, *numbers = words[1].split("/")
    if not 1 <= len(numbers) <= 2 or not all(_is_number(number) and int(number) for number in numbers):
        return None
    return RtpMap(int(words[0]), encoding, int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else 1)


def _find(attributes: tuple[Attribute, ...], name: str) -> str | None:
    for attribute in attributes:
        if attribute.name == name:
            return attribute.value or ""
    return None


def _direction(attributes: tuple[Attribute, ...]) -> Direction | None:
    for attribute in attributes:
        for direction in DIRECTIONS:
            if attribute.name == direction:
                return direction
    return None


def _is_number(text: str) -> bool:
    # 20 digits hold any 64-bit number; more would be an attack on int().
    return text.isascii() and text.isdigit() and len(text) <= 20


def address_family(host: str) -> Literal[4, 6] | None:
    """Of a literal address; None for a name."""
    try:
        return 4 if ipaddress.ip_address(host).version == 4 else 6
    except ValueError:
        return None
