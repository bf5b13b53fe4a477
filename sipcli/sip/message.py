"""Requests and responses: frozen, lazy, octets in and octets out (RFC 3261 sections 7, 8.2.6, 18.3, 20)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Self

from sipcli.errors import ParseError
from sipcli.sip.grammar import KNOWN_METHODS
from sipcli.sip.headers import MAX_VIAS, CSeq, Headers, Via, header_key, header_line, is_header, line_value
from sipcli.sip.reasons import REASONS
from sipcli.sip.uri import MAX_URI, NameAddr, OpaqueUri, SipUri, parse_addresses, parse_uri

__all__ = ["MAX_HEADERS", "MAX_LINE", "MAX_MESSAGE", "REASONS", "Message", "Request", "Response", "content_length", "find_answerable", "parse_message"]

MAX_MESSAGE = 65536
MAX_HEADERS = 256
MAX_LINE = 8192
"""Octets of a message, header lines, octets of a line: what a stranger may make us hold (threat T23)."""

_NUMBER = re.compile(r"\d++", re.ASCII)
_URI_TEXT = re.compile(r"[!-~]++")
_TAG_PARAM = re.compile(rb";[ \t\r\n]*+tag[ \t\r\n]*+=", re.IGNORECASE)
_REASON_END = re.compile(r"[\r\n\x00]")

# Responses to these make dialogs, so they carry the route set back (RFC 3261 section 12.1.1; 6665, 3515).
_DIALOG_MAKERS = frozenset(("INVITE", "SUBSCRIBE", "REFER", "NOTIFY"))


class Message:
    """What a request and a response have in common.

    Header lines stay octets until somebody asks for the typed form, which is
    then kept.  Nothing can be changed: ``with_…`` gives a new message.
    """

    __slots__ = ("_body", "_headers", "_memo")

    def __init__(self, headers: Headers, body: bytes = b"") -> None:
        self._headers = headers
        self._body = body
        self._memo: dict[str, Any] = {}

    # --- octets and lines --------------------------------------------------

    @property
    def headers(self) -> Headers:
        return self._headers

    @property
    def body(self) -> bytes:
        return self._body

    @property
    def start_line(self) -> str:
        raise TypeError("a message is a Request or a Response")

    def to_bytes(self) -> bytes:
        """The message as it goes on the wire; Content-Length is computed and comes last."""
        start = self.start_line.encode("utf-8", "surrogateescape")
        return b"%b\r\n%bContent-Length: %d\r\n\r\n%b" % (start, self._headers.to_bytes(), len(self._body), self._body)

    def find(self, name: str) -> str | None:
        """The first line's value, unfolded and stripped; None when there is none."""
        if (value := self._headers.find(name)) is None and header_key(name) == "content-length":
            return str(len(self._body))
        return value

    def get(self, name: str) -> str:
        """Like :meth:`find`, but raises ParseError when there is none."""
        value = self.find(name)
        if value is None:
            raise ParseError(f"there is no {name} header")
        return value

    def all(self, name: str) -> tuple[str, ...]:
        """One value per header line, never split at commas: what authentication headers need."""
        return self._headers.all(name)

    def values(self, name: str) -> tuple[str, ...]:
        """The members of a comma-separated list over all its lines; commas in quotes and brackets do not count."""
        return self._headers.values(name)

    # --- typed, parsed at first use ---------------------------------------

    @property
    def via(self) -> Via:
        """The topmost Via."""
        memo = self._memo
        if "via" not in memo:
            value = self.get("via")
            memo["via"] = Via.parse(value) if "," not in value else self.vias[0]
        via: Via = memo["via"]
        return via

    @property
    def vias(self) -> tuple[Via, ...]:
        memo = self._memo
        if "vias" not in memo:
            values = self.values("via")
            if not 1 <= len(values) <= MAX_VIAS:
                raise ParseError(f"{len(values)} Via values are not what a message has")
            memo["vias"] = tuple(Via.parse(value) for value in values)
        vias: tuple[Via, ...] = memo["vias"]
        return vias

    def _address(self, key: str) -> NameAddr:
        memo = self._memo
        if key not in memo:
            memo[key] = NameAddr.parse(self.get(key))
        address: NameAddr = memo[key]
        return address

    @property
    def from_(self) -> NameAddr:
        return self._address("from")

    @property
    def to(self) -> NameAddr:
        return self._address("to")

    @property
    def call_id(self) -> str:
        return self.get("call-id")

    @property
    def cseq(self) -> CSeq:
        memo = self._memo
        if "cseq" not in memo:
            memo["cseq"] = CSeq.parse(self.get("cseq"))
        cseq: CSeq = memo["cseq"]
        return cseq

    def _addresses(self, key: str) -> tuple[NameAddr, ...]:
        memo = self._memo
        if key not in memo:
            memo[key] = tuple(address for value in self.all(key) for address in parse_addresses(value))
        addresses: tuple[NameAddr, ...] = memo[key]
        return addresses

    @property
    def contact_star(self) -> bool:
        """``Contact: *``: a REGISTER that removes all bindings (RFC 3261 section 10.2.2)."""
        return self.find("contact") == "*"

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """Empty when there is none, and for ``*``."""
        return () if self.contact_star else self._addresses("contact")

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        return self._addresses("route")

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        return self._addresses("record-route")

    @property
    def max_forwards(self) -> int | None:
        """At most 255; a larger number means the same (RFC 3261 section 20.22)."""
        return self._number("max-forwards", 255)

    @property
    def expires(self) -> int | None:
        """Seconds, at most 2**32 - 1; a larger number means the same (RFC 3261 section 20.19)."""
        return self._number("expires", 2**32 - 1)

    def _number(self, key: str, most: int) -> int | None:
        value = self.find(key)
        if value is None:
            return None
        if _NUMBER.fullmatch(value) is None:
            raise ParseError(f"{key} is no number: {value[:40]!r}")
        digits = value.lstrip("0")
        return min(int(digits or "0"), most) if len(digits) <= 10 else most

    @property
    def content_type(self) -> str:
        """``type/subtype`` in lower case, without parameters; empty when there is none."""
        return (self.find("content-type") or "").partition(";")[0].replace(" ", "").replace("\t", "").lower()

    @property
    def require(self) -> tuple[str, ...]:
        return self.values("require")

    @property
    def supported(self) -> tuple[str, ...]:
        return self.values("supported")

    @property
    def allow(self) -> tuple[str, ...]:
        return self.values("allow")

    # --- changed copies ----------------------------------------------------

    def _with(self, headers: Headers, body: bytes) -> Self:
        raise TypeError("a message is a Request or a Response")

    def with_(self, name: str, value: str | None) -> Self:
        """All lines of that name replaced by one, at the first's place (else at the end); None removes them."""
        return self._with(self._headers.with_(name, value), self._body)

    def adding(self, name: str, value: str) -> Self:
        return self._with(self._headers.adding(name, value), self._body)

    def prepending(self, name: str, value: str) -> Self:
        """With a line before the first of that name, else before all."""
        return self._with(self._headers.prepending(name, value), self._body)

    def without(self, name: str) -> Self:
        return self._with(self._headers.without(name), self._body)

    def with_body(self, body: bytes, content_type: str | None) -> Self:
        return self._with(self._headers.with_("Content-Type", content_type), body)

    def with_top_via(self, via: Via) -> Self:
        """With the topmost Via value replaced, for ``received`` and ``rport`` (RFC 3261 section 18.2.1, RFC 3581)."""
        return self._with(self._headers.with_first_value("Via", str(via)), self._body)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return type(self) is type(other) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        # Never the headers: they may hold credentials.
        return f"<{type(self).__name__} {self.start_line!r}>"


class Request(Message):
    """``METHOD uri SIP/2.0`` (RFC 3261 section 7.1).  *uri_text* is the Request-URI octet for octet."""

    __slots__ = ("_method", "_uri_text")

    def __init__(self, method: str, uri_text: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self._method = method
        self._uri_text = uri_text

    @classmethod
    def build(cls, method: str, uri: SipUri | OpaqueUri | str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> Self:
        """Raises ParseError when the URI or a header would break the message apart."""
        return cls(method, _uri_text(uri), Headers.of(headers), body)

    @property
    def method(self) -> str:
        return self._method

    @property
    def uri_text(self) -> str:
        return self._uri_text

    @property
    def uri(self) -> SipUri:
        """Raises ParseError; status 416 when the scheme is not SIP (RFC 3261 section 8.2.2.1)."""
        memo = self._memo
        if "uri" not in memo:
            memo["uri"] = SipUri.parse(self._uri_text)
        uri: SipUri = memo["uri"]
        return uri

    @property
    def start_line(self) -> str:
        return f"{self._method} {self._uri_text} SIP/2.0"

    def replace_uri(self, uri: SipUri | OpaqueUri | str) -> Self:
        return type(self)(self._method, _uri_text(uri), self._headers, self._body)

    def _with(self, headers: Headers, body: bytes) -> Self:
        return type(self)(self._method, self._uri_text, headers, body)

    def reply(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Response:
        """A response to this request (RFC 3261 section 8.2.6.2): Via, From, To, Call-ID and CSeq octet for octet.

        *to_tag* is added to To if the request had none and *status* is not 100.
        A response that makes a dialog repeats Record-Route (section 12.1.1); a
        100 repeats Timestamp (section 8.2.6.1).  Works on what could be read of
        a broken request, too (:attr:`ParseError.partial`).
        """
        repeated = ["via", "from", "to", "call-id", "cseq"]
        if 100 < status < 300 and self._method in _DIALOG_MAKERS:
            repeated.append("record-route")
        if status == 100:
            repeated.append("timestamp")
        keys, lines, seen = [], [], set()
        for key, line in self._headers.copied(repeated):
            if key in seen and key not in ("via", "record-route"):
                continue  # of a singleton that came twice, the first (RFC 4475 section 3.3.8)
            seen.add(key)
            if key == "to" and to_tag is not None and status > 100 and not self._has_to_tag(line):
                line = line.rstrip(b" \t") + b";tag=" + to_tag.encode()
            keys.append(key)
            lines.append(line)
        for name, value in [*headers, *([("Content-Type", content_type)] if content_type is not None else [])]:
            keys.append(header_key(name))
            lines.append(header_line(name, value))
        return Response(status, reason if reason is not None else REASONS.get(status, ""), Headers(keys, lines), body)

    def _has_to_tag(self, line: bytes) -> bool:
        try:
            return self.to.tag is not None
        except ParseError:
            return _TAG_PARAM.search(line) is not None


class Response(Message):
    """``SIP/2.0 status reason`` (RFC 3261 section 7.2)."""

    __slots__ = ("_reason", "_status")

    def __init__(self, status: int, reason: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self._status = status
        self._reason = reason

    @classmethod
    def build(cls, status: int, reason: str | None, headers: Iterable[tuple[str, str]], body: bytes = b"") -> Self:
        """*reason* None takes the registered phrase.  Raises ParseError when a part would break the message apart."""
        phrase = REASONS.get(status, "") if reason is None else reason
        if not 100 <= status <= 699 or _REASON_END.search(phrase):
            raise ParseError(f"{status} {phrase[:40]!r} cannot be a status line")
        return cls(status, phrase, Headers.of(headers), body)

    @property
    def status(self) -> int:
        return self._status

    @property
    def reason(self) -> str:
        return self._reason

    @property
    def start_line(self) -> str:
        return f"SIP/2.0 {self._status} {self._reason}"

    def _with(self, headers: Headers, body: bytes) -> Self:
        return type(self)(self._status, self._reason, headers, body)


def _uri_text(uri: SipUri | OpaqueUri | str) -> str:
    text = str(uri)
    if _URI_TEXT.fullmatch(text) is None:
        raise ParseError(f"this cannot be a Request-URI: {text[:80]!r}")
    return text


# --- octets to messages ------------------------------------------------------

# Request-Line = Method SP Request-URI SP SIP-Version CRLF       SIP-Version = "SIP" "/" 1*DIGIT "." 1*DIGIT
_REQUEST_LINE = re.compile(rb"([A-Za-z0-9\-.!%*_+`'~]++) ([!-~]++) (SIP/\d++\.\d++)", re.IGNORECASE)
# Status-Line = SIP-Version SP Status-Code SP Reason-Phrase CRLF       Some leave out the last SP with the phrase.
_STATUS_LINE = re.compile(rb"SIP/2\.0 ([1-6]\d\d)(?: ([^\r\n]*+))?+", re.IGNORECASE)
# What is a request at all, if only to be told 400.
_LIKE_A_REQUEST = re.compile(rb"([A-Za-z0-9\-.!%*_+`'~]++)[ \t]++(.*)[ \t]SIP/\d", re.IGNORECASE | re.DOTALL)
_LINE_END = re.compile(rb"\r\n(?![ \t])")
_LENGTH = re.compile(r"\d{1,10}", re.ASCII)

# The usual shapes of the headers that every message needs: a line that matches needs no closer look before somebody
# asks for the typed form.  Each accepts less than the grammar does; what it does not know goes to the real parser.
_HOST_PORT = rb"[A-Za-z0-9][A-Za-z0-9.\-]*+(?::(?:[1-5]\d{4}|\d{1,4})(?!\d))?+"
_PLAIN_URI = (
    rb"[sS][iI][pP][sS]?:(?:[A-Za-z0-9\-_.!~*'()+]++@)?+" + _HOST_PORT + rb"(?:;[A-Za-z0-9._\-]++(?:=[A-Za-z0-9._:\-]++)?+)*+"
)
_PLAIN_PARAMS = rb"(?:;[A-Za-z0-9\-.!%*_+`'~]++(?:=(?:[A-Za-z0-9\-.!%*_+`'~]++|\"[^\"\\\r\n]*+\"))?+)*+"
_PLAIN_ADDRESS = re.compile(
    rb"[^:]++:[ \t]*+(?:(?:\"[^\"\\\r\n]*+\"|[A-Za-z0-9\-.!%*_+`'~ ]*+)[ \t]*+<" + _PLAIN_URI + rb">|"
    rb"[sS][iI][pP][sS]?:(?:[A-Za-z0-9\-_.!~*'()+]++@)?+" + _HOST_PORT + rb")" + _PLAIN_PARAMS
)
_PLAIN_VIA = re.compile(rb"[^:]++:[ \t]*+SIP/2\.0/[A-Z]++ " + _HOST_PORT + _PLAIN_PARAMS)
_PLAIN_CSEQ = re.compile(rb"[^:]++:[ \t]*+(\d{1,9}) ([A-Z]++)")


def parse_message(data: bytes) -> Request | Response:
    """One message from one datagram (or from :class:`~sipcli.sip.framing.StreamFramer`).

    Octets after the body are dropped (RFC 3261 section 18.3).  Checked now:
    the start line, the frame, and the headers that every message needs (section
    8.1.1); everything else when it is asked for.  Raises ParseError, whose
    *partial* is the request as far as it could be read, when it can be answered.
    """
    start = len(data) - len(data.lstrip(b"\r\n")) if data[:1] in b"\r\n" else 0  # section 7.5
    end = data.find(b"\r\n\r\n", start)
    head = data[start : end if end >= 0 else len(data)]
    try:
        if end < 0:
            raise ParseError("the header does not end")
        return _parse(head, data, end + 4)
    except ParseError as error:
        error.partial = find_answerable(head)
        raise


def _parse(head: bytes, data: bytes, body_at: int) -> Request | Response:
    lines = _split_lines(head)
    first = lines.pop(0)
    request_line = _REQUEST_LINE.fullmatch(first)
    status_line = None if request_line is not None else _STATUS_LINE.fullmatch(first)
    if request_line is None and status_line is None:
        raise ParseError(f"this is no start line: {first[:60]!r}")
    headers, lengths = Headers.read(lines)
    body = _body(data, body_at, lengths)
    message: Request | Response
    if status_line is not None:
        reason = status_line[2] or b""
        message = Response(int(status_line[1]), reason.decode("utf-8", "surrogateescape"), headers, body)
    else:
        assert request_line is not None
        message = Request(request_line[1].decode(), request_line[2].decode(), headers, body)
        if request_line[3].upper() != b"SIP/2.0":
            raise ParseError(f"{request_line[3][:16].decode()} is not spoken here", status=505)
        _check_uri(message)
    _check_headers(message)
    return message


def _split_lines(head: bytes) -> list[bytes]:
    """Lines without their ends; a fold stays inside its line (RFC 3261 section 7.3.1)."""
    folded = b"\r\n " in head or b"\r\n\t" in head
    lines = _LINE_END.split(head) if folded else head.split(b"\r\n")
    ends = head.count(b"\r\n")
    if head.count(b"\r") != ends or head.count(b"\n") != ends:
        raise ParseError("a line end is not CRLF")
    if len(lines) > MAX_HEADERS + 1:
        raise ParseError(f"more than {MAX_HEADERS} header lines", status=513)
    if len(head) > MAX_LINE and any(len(line) > MAX_LINE for line in lines):
        raise ParseError(f"a line is longer than {MAX_LINE} octets", status=513)
    return lines


def _body(data: bytes, at: int, lengths: list[bytes]) -> bytes:
    # Without Content-Length the body of a datagram ends with it (RFC 3261 section 18.3).
    if not lengths:
        return data[at:]
    length = content_length(lengths)
    if at + length > len(data):
        raise ParseError("the body is shorter than Content-Length says")
    return data[at : at + length]


def content_length(lines: list[bytes]) -> int:
    """The number in the Content-Length lines.  ParseError unless there is one line with one number in it."""
    if len(lines) > 1:
        raise ParseError("Content-Length is there twice")
    value = line_value(lines[0])
    if _LENGTH.fullmatch(value) is None:
        raise ParseError(f"Content-Length is no number: {value[:40]!r}")
    return int(value)


def _check_uri(request: Request) -> None:
    text = request.uri_text
    if len(text) > MAX_URI:
        raise ParseError(f"the Request-URI is longer than {MAX_URI} octets", status=414)
    uri = parse_uri(text)
    if isinstance(uri, SipUri):
        if uri.headers:
            # RFC 3261 section 19.1.1 forbids headers here; what they smuggle in is never honoured (RFC 4475 3.1.2.11).
            raise ParseError("a Request-URI has no headers")
        request._memo["uri"] = uri


def _check_headers(message: Request | Response) -> None:
    """The headers that every message must have and that decide where it goes: there, once, and readable."""
    headers = message.headers
    if (twice := headers.duplicate()) is not None:
        raise ParseError(f"there are two {twice} headers")
    line = headers.line
    via, cseq = line("via"), line("cseq")
    if via is None or cseq is None or line("call-id") is None:
        raise ParseError("Via, CSeq or Call-ID is missing")
    if _PLAIN_VIA.fullmatch(via) is None:
        _ = message.via
    for key, typed in (("from", "from_"), ("to", "to"), ("contact", "contacts")):
        address = line(key)
        if address is None:
            if key != "contact":
                raise ParseError(f"there is no {key} header")
        elif _PLAIN_ADDRESS.fullmatch(address) is None:
            getattr(message, typed)
    plain = _PLAIN_CSEQ.fullmatch(cseq)
    number = CSeq(int(plain[1]), plain[2].decode()) if plain is not None else message.cseq
    message._memo["cseq"] = number
    if isinstance(message, Request) and number.method != message.method:
        # A method that nobody knows is the better thing to say (RFC 4475 section 3.1.2.18).
        raise ParseError("CSeq names another method", status=400 if message.method in KNOWN_METHODS else 501)


def find_answerable(head: bytes) -> Request | None:
    """What can be read of a broken request: enough for a response to find its way back, or None."""
    first, *lines = _LINE_END.split(head)[: MAX_HEADERS + 1]
    match = _LIKE_A_REQUEST.match(first[:MAX_LINE])
    if match is None or match[1] == b"ACK":
        return None
    readable = [line for line in lines if is_header(line)]
    headers, _ = Headers.read(readable)
    if "via" not in headers:
        return None
    return Request(match[1].decode(), match[2].decode("utf-8", "surrogateescape").strip(), headers)
