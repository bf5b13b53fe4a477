"""SIP URIs and name-addrs: parse, format, compare (RFC 3261 sections 19.1, 20.10, 25.1)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple, cast

from sipcli.errors import ParseError
from sipcli.sip.flow import Hop, Transport
from sipcli.sip.syntax.grammar import (
    HOST,
    Params,
    check_host,
    escape,
    parse_params,
    quote,
    split_commas,
    take_quoted,
    unescape,
    unquote,
)

__all__ = ["MAX_URI", "NameAddr", "OpaqueUri", "SipUri", "Uri", "escape_user", "parse_addresses", "parse_uri"]

MAX_URI = 2048
"""Octets of a URI that we look at (threat T23)."""

_HH = r"%[0-9A-Fa-f]{2}"
_UNRESERVED = r"A-Za-z0-9\-_.!~*'()"
_BRACKETS = r"\[\]"


def _chars(allowed: str) -> str:
    # *( allowed / escaped ), with the loop unrolled: runs of plain characters cost next to nothing.
    return rf"[{allowed}]*+(?>(?:{_HH}[{allowed}]*+)*)"


# user = 1*( unreserved / escaped / user-unreserved )
# user-unreserved = "&" / "=" / "+" / "$" / "," / ";" / "?" / "/"
_USER = rf"(?=[^@:]){_chars(_UNRESERVED + '&=+$,;?/')}"
# password = *( unreserved / escaped / "&" / "=" / "+" / "$" / "," )    wider: RFC 4475 section 3.1.1.2 has `?;/` too
_PASSWORD = _chars(_UNRESERVED + "&=+$,;?/")
# uri-parameter = pname [ "=" pvalue ]       paramchar = param-unreserved / unreserved / escaped
_PARAM = rf"(?=[^;=?]){_chars(_UNRESERVED + _BRACKETS + '/:&+$')}"
# headers = "?" header *( "&" header )       header = hname "=" hvalue
_HEADER = _chars(_UNRESERVED + _BRACKETS + "/?:+$")
_SIP_URI = re.compile(
    rf"([sS][iI][pP][sS]?):(?:({_USER})(?::({_PASSWORD}))?@)?({HOST})(?::(\d{{1,5}}))?"
    rf"((?>(?:;{_PARAM}(?>(?:={_PARAM})?))*))"
    rf"(?:\?((?=[^=]){_HEADER}={_HEADER}(?>(?:&(?=[^=]){_HEADER}={_HEADER})*)))?"
)
# absoluteURI = scheme ":" ( hier-part / opaque-part )       scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
_ABSOLUTE_URI = re.compile(r"([A-Za-z][A-Za-z0-9+\-.]*+):([!#-;=?-~]++)")
# display-name = *( token LWS ) / quoted-string              wider: letters beyond ASCII, which phones do send unquoted
# Said by what is left out: a range up to U+10FFFF takes 5 ms to compile.
_DISPLAY = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\"#$&(),/:;<=>?@\[\\\]^{|}]*+")
_PLAIN_DISPLAY = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]++(?>(?: [A-Za-z0-9\-.!%*_+`'~]++)*)")

_VISUAL = str.maketrans("", "", "-.() ")
_LEAVE_IT_OUT = "leave it out: whoever asks for one is answered from the account's providers"
_HOLDS_PASSWORD = re.compile(r":[^@/]*:[^@]*@")

# Unlike other parameters, these make a difference when only one of two URIs has them (RFC 3261 section 19.1.4).
_DECISIVE = ("user", "ttl", "method", "maddr", "transport")


def user_for(word: str) -> str:
    """The user part for a bare name, or for a number, whose visual separators are for people (RFC 3966 section 3)."""
    return escape_user(word.translate(_VISUAL) if word[:1] in tuple("+0123456789") else word)


def escape_user(text: str) -> str:
    """*text* as the user part of a URI: ``%HH`` for what may not stand there (RFC 3261 section 19.1.2)."""
    return escape(text, "-_.!~*'()&=+$,;?/")


@lru_cache(maxsize=1024)
def _comparable(text: str) -> str:
    # A character outside the reserved set and its %HH are the same (section 19.1.4).
    def plain(match: re.Match[str]) -> str:
        c = chr(int(match[0][1:], 16))
        return c if c.isascii() and (c.isalnum() or c in "-_.!~*'()") else match[0].upper()

    return re.sub(_HH, plain, text)


class SipUri(NamedTuple):
    """``sip:user:password@host:port;params?headers`` in parts.

    *user*, *password*, parameters and headers stay as written (``%HH`` kept);
    *host* is lower case and without brackets.  Look-ups by name ignore case
    and escapes.
    """

    scheme: str
    user: str | None
    host: str
    port: int | None = None
    params: Params = ()
    headers: tuple[tuple[str, str], ...] = ()
    password: str | None = None

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """Raises ParseError; its status is 416 when the scheme is neither sip nor sips (RFC 3261 section 8.2.2.1)."""
        match = _SIP_URI.fullmatch(text) if len(text) <= MAX_URI else None
        if match is None:
            other = _ABSOLUTE_URI.match(text)
            if other is not None and other[1].lower() not in ("sip", "sips"):
                raise ParseError(f"the scheme {other[1][:32]!r} is not SIP", status=416)
            raise ParseError(f"this is no SIP URI: {text[:80]!r}")
        scheme, user, password, host, port, params, headers = match.groups()
        number = None if port is None else int(port)
        if number is not None and number > 65535:
            raise ParseError(f"there is no port {number}")
        return cls(
            scheme.lower(),
            user,
            check_host(host),
            number,
            _split_params(params) if params else (),
            tuple(cast("tuple[str, str]", tuple(h.split("=", 1))) for h in headers.split("&")) if headers else (),
            password,
        )

    @classmethod
    def written(cls, text: str) -> SipUri:
        """What a person or a program wrote.  Raises ParseError, also for a password, and never repeats one.

        RFC 3261 section 19.1.1 advises against passwords in URIs: they go out in clear, and into every log.
        """
        try:
            uri = cls.parse(text)
        except ParseError as error:
            if _HOLDS_PASSWORD.search(text):
                what = "this is no SIP URI, and it seems to hold a password"
                raise ParseError(what, status=error.status, hint=_LEAVE_IT_OUT) from None
            raise
        if uri.password is not None:
            raise ParseError(f"a password does not belong in an address, not even in {uri.aor}'s", hint=_LEAVE_IT_OUT)
        return uri

    @property
    def user_text(self) -> str:
        """The user part with its escapes undone; empty when there is none."""
        return unescape(self.user or "")

    @property
    def secure(self) -> bool:
        return self.scheme == "sips"

    def param(self, name: str) -> str | None:
        """A parameter's value, escapes undone; ``""`` for a flag, None when absent."""
        name = name.lower()
        for key, value in self.params:
            if key.lower() == name or ("%" in key and unescape(key).lower() == name):
                return unescape(value or "")
        return None

    def has_param(self, name: str) -> bool:
        return self.param(name) is not None

    def with_params(self, **params: str | None) -> SipUri:
        """With these parameters set; None sets a flag.  ``_`` in a name stands for ``-``."""
        wanted = {name.replace("_", "-").lower(): value for name, value in params.items()}
        kept = tuple(p for p in self.params if p[0].lower() not in wanted)
        return self._replace(params=kept + tuple(wanted.items()))

    def without_param(self, name: str) -> SipUri:
        if not self.params:
            return self
        return self._replace(params=tuple(p for p in self.params if p[0].lower() != name.lower()))

    def replace(self, **changes: Any) -> SipUri:
        return self._replace(**changes)

    @property
    def hop(self) -> Hop:
        """Where this URI leads, before DNS (RFC 3263 section 4); an unknown transport is left open."""
        maddr = self.param("maddr")
        named = (self.param("transport") or "").lower()
        if self.secure:
            transport: Transport | None = "wss" if named in ("ws", "wss") else "tls"
        else:
            transport = cast("Transport", named) if named in ("udp", "tcp", "tls", "ws", "wss") else None
        return Hop((maddr or self.host).strip("[]").lower(), self.port, transport, self.secure)

    @property
    def aor(self) -> SipUri:
        """The address-of-record: user, host and port alone (RFC 3261 section 10.3, step 5)."""
        return SipUri(self.scheme, self.user, self.host, self.port)

    @property
    def authority(self) -> str:
        """``host[:port]``, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def equivalent(self, other: object) -> bool:
        """Do both name the same resource (RFC 3261 section 19.1.4)?  Stricter than DNS, looser than ``==``."""
        if not isinstance(other, SipUri):
            return False
        if self == other:
            return True  # nearly always, and the rest costs thirty times as much
        if (self.scheme, self.host, self.port) != (other.scheme, other.host, other.port):
            return False
        if [_optional(x) for x in (self.user, self.password)] != [_optional(x) for x in (other.user, other.password)]:
            return False
        mine, theirs = _param_map(self), _param_map(other)
        if any(mine[name] != theirs[name] for name in mine.keys() & theirs.keys()):
            return False
        if any((name in mine) != (name in theirs) for name in _DECISIVE):
            return False
        return _header_set(self) == _header_set(other)

    def __str__(self) -> str:
        text = f"{self.scheme}:"
        if self.user is not None:
            text += f"{self.user}@" if self.password is None else f"{self.user}:{self.password}@"
        text += self.authority
        for name, value in self.params:
            text += f";{name}" if value is None else f";{name}={value}"
        if self.headers:
            text += "?" + "&".join(f"{name}={value}" for name, value in self.headers)
        return text


def _split_params(text: str) -> Params:
    pairs = []
    for param in text[1:].split(";"):
        name, equals, value = param.partition("=")
        pairs.append((name, value if equals else None))
    return tuple(pairs)


def _optional(text: str | None) -> str | None:
    return None if text is None else _comparable(text)


def _param_map(uri: SipUri) -> dict[str, str]:
    return {_comparable(name).lower(): _comparable(value or "").lower() for name, value in uri.params}


def _header_set(uri: SipUri) -> list[tuple[str, str]]:
    return sorted((_comparable(name).lower(), _comparable(value)) for name, value in uri.headers)


class OpaqueUri(NamedTuple):
    """A URI of another scheme (``tel:``, ``http:``…): known by its scheme, kept as written."""

    scheme: str
    text: str

    def __str__(self) -> str:
        return self.text


Uri = SipUri | OpaqueUri


def parse_uri(text: str) -> Uri:
    """Any absolute URI (RFC 3261 section 25.1).  Raises ParseError."""
    if text[:4].lower() in ("sip:", "sips"):
        return SipUri.parse(text)
    match = _ABSOLUTE_URI.fullmatch(text) if len(text) <= MAX_URI else None
    if match is None:
        raise ParseError(f"this is no URI: {text[:80]!r}")
    return OpaqueUri(match[1].lower(), text)


class NameAddr(NamedTuple):
    """``"Display name" <uri>;params``: From, To, Contact, Route (RFC 3261 section 20.10).

    *display* is unquoted and may be empty; parameters are as written.
    """

    display: str
    uri: Uri
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Raises ParseError.  Without angle brackets, what follows the first ``;`` is ours, not the URI's."""
        text = text.strip()
        display = ""
        if text.startswith('"'):
            display, rest = take_quoted(text)
            rest = rest.lstrip()
            if not rest.startswith("<"):
                raise ParseError("a quoted display name needs an address in angle brackets")
        elif (bracket := text.find("<")) >= 0:
            display, rest = text[:bracket].rstrip(), text[bracket:]
            if _DISPLAY.fullmatch(display) is None:
                raise ParseError(f"this display name needs quotes: {display[:40]!r}")
        else:
            return cls._parse_bare(text)
        address, closed, params = rest[1:].partition(">")
        if not closed:
            raise ParseError("an angle bracket has no end")
        return cls(display, parse_uri(address), parse_params(params) if params else ())

    @classmethod
    def _parse_bare(cls, text: str) -> NameAddr:
        address, semicolon, params = text.partition(";")
        if "," in address or "?" in address:
            # RFC 3261 section 20: such a URI MUST be in angle brackets, else nobody knows whose the rest is.
            raise ParseError("a URI with a comma or question mark needs angle brackets")
        return cls("", parse_uri(address.rstrip()), parse_params(semicolon + params) if semicolon else ())

    @property
    def sip_uri(self) -> SipUri:
        """The URI when it is a SIP one.  ParseError(416) otherwise."""
        if isinstance(self.uri, SipUri):
            return self.uri
        raise ParseError(f"the scheme {self.uri.scheme!r} is not SIP", status=416)

    @property
    def tag(self) -> str | None:
        return self.param("tag")

    def param(self, name: str) -> str | None:
        """A parameter's value, unquoted; ``""`` for a flag, None when absent."""
        name = name.lower()
        for key, value in self.params:
            if key.lower() == name:
                return unquote(value) if value is not None else ""
        return None

    def with_param(self, name: str, value: str | None) -> NameAddr:
        """With parameter *name* set (in its old place, if it had one)."""
        pairs = [(key, value if key.lower() == name.lower() else old) for key, old in self.params]
        if not any(key.lower() == name.lower() for key, _ in pairs):
            pairs.append((name, value))
        return NameAddr(self.display, self.uri, tuple(pairs))

    def with_tag(self, tag: str) -> NameAddr:
        return self.with_param("tag", tag)

    def without_params(self) -> NameAddr:
        return NameAddr(self.display, self.uri)

    def __str__(self) -> str:
        display = self.display
        if display and _PLAIN_DISPLAY.fullmatch(display) is None:
            display = quote(display)
        text = f"{display} <{self.uri}>" if display else f"<{self.uri}>"
        for name, value in self.params:
            text += f";{name}" if value is None else f";{name}={value}"
        return text


def parse_addresses(value: str) -> tuple[NameAddr, ...]:
    """A comma-separated list of name-addrs (Contact, Route, Record-Route…).  Raises ParseError."""
    return tuple(NameAddr.parse(member) for member in split_commas(value))
