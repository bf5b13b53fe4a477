"""Requests and responses: octets in, octets out, answers (RFC 3261 sections 7, 8.2.6, 18.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Self

from sipcli.errors import ParseError
from sipcli.sip.reasons import REASONS
from sipcli.sip.syntax.fields import Message
from sipcli.sip.syntax.grammar import KNOWN_METHODS
from sipcli.sip.syntax.headers import CSeq, Headers, Via, header_key, header_line, is_header, line_value
from sipcli.sip.syntax.uri import MAX_URI, OpaqueUri, SipUri, parse_uri

__all__ = [
    "MAX_HEADERS",
    "MAX_LINE",
    "MAX_MESSAGE",
    "REASONS",
    "Message",
    "Request",
    "Response",
    "code_and_reason",
    "content_length",
    "find_answerable",
    "parse_message",
]

MAX_MESSAGE = 65536
MAX_HEADERS = 256
MAX_LINE = 8192
"""Octets of a message, header lines, octets of a line: what a stranger may make us hold (threat T23)."""

_URI_TEXT = re.compile(r"[!-~]++")
_TAG_PARAM = re.compile(rb";[ \t\r\n]*+tag[ \t\r\n]*+=", re.IGNORECASE)
_REASON_END = re.compile(r"[\r\n\x00]")

# Responses to these make dialogs, so they carry the route set back (RFC 3261 section 12.1.1; RFC 6665, RFC 3515).
_DIALOG_MAKERS = frozenset(("INVITE", "SUBSCRIBE", "REFER", "NOTIFY"))


class Request(Message):
    """``METHOD uri SIP/2.0`` (RFC 3261 section 7.1).  *uri_text* is the Request-URI octet for octet."""

    __slots__ = ("_method", "_uri_text")

    def __init__(
        self, method: str, uri_text: str, headers: Headers, body: bytes = b"", memo: dict[str, Any] | None = None
    ) -> None:
        super().__init__(headers, body, memo)
        self._method = method
        self._uri_text = uri_text

    @classmethod
    def build(
        cls,
        method: str,
        uri: SipUri | OpaqueUri | str,
        headers: Iterable[tuple[str, str]],
        body: bytes = b"",
        *,
        via: Via | None = None,
        cseq: CSeq | None = None,
    ) -> Self:
        """Raises ParseError when the URI or a header would break the message apart.

        *via* and *cseq* are the typed forms of what is in *headers*, where the caller has them.
        """
        memo: dict[str, Any] = {}
        if via is not None:
            memo["via"] = via
        if cseq is not None:
            memo["cseq"] = cseq
        return cls(method, _uri_text(uri), Headers.of(headers), body, memo)

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

    def _with(self, headers: Headers, body: bytes, memo: dict[str, Any]) -> Self:
        return type(self)(self._method, self._uri_text, headers, body, memo)

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

    def __init__(
        self, status: int, reason: str, headers: Headers, body: bytes = b"", memo: dict[str, Any] | None = None
    ) -> None:
        super().__init__(headers, body, memo)
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

    def _with(self, headers: Headers, body: bytes, memo: dict[str, Any]) -> Self:
        return type(self)(self._status, self._reason, headers, body, memo)


def code_and_reason(response: Response | None) -> tuple[int | None, str]:
    """Of a final answer, as events tell it; there may have been none."""
    return (None, "") if response is None else (response.status, response.reason)


def _uri_text(uri: SipUri | OpaqueUri | str) -> str:
    text = str(uri)
    if _URI_TEXT.fullmatch(text) is None:
        raise ParseError(f"this cannot be a Request-URI: {text[:80]!r}")
    return text


# --- octets to messages ------------------------------------------------------

# Request-Line = Method SP Request-URI SP SIP-Version CRLF       SIP-Version = "SIP" "/" 1*DIGIT "." 1*DIGIT
_REQUEST_LINE = re.compile(rb"([A-Za-z0-9\-.!%*_+`'~]++) ([!-~]++) ([sS][iI][pP]/\d++\.\d++)")
# Status-Line = SIP-Version SP Status-Code SP Reason-Phrase CRLF       Some leave out the last SP with the phrase.
_STATUS_LINE = re.compile(rb"[sS][iI][pP]/2\.0 ([1-6]\d\d)(?>(?: ([^\r\n]*+))?)")
# What is a request at all, if only to be told 400.
_LIKE_A_REQUEST = re.compile(rb"([A-Za-z0-9\-.!%*_+`'~]++)[ \t]++(.*)[ \t]SIP/\d", re.IGNORECASE | re.DOTALL)
_ALONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_LINE_END = re.compile(rb"\r\n(?![ \t])")
_LENGTH = re.compile(r"\d{1,10}", re.ASCII)

# The usual shapes of what every message needs: a line that matches needs no closer look before somebody asks for the
# typed form.  Each accepts less than the grammar does (a test holds them to it); the rest goes to the real parser.
_T = rb"[A-Za-z0-9\-.!%*_+`'~]"
_HOST_PORT = rb"[A-Za-z0-9][A-Za-z0-9.\-]*+(?>(?::(?:[1-5]\d{4}|\d{1,4})(?!\d))?)"
_PLAIN_ADDR_SPEC = rb"[sS][iI][pP][sS]?:(?>(?:[A-Za-z0-9\-_.!~*'()+]++@)?)" + _HOST_PORT
_PLAIN_URI = _PLAIN_ADDR_SPEC + rb"(?>(?:;[A-Za-z0-9._\-]++(?>(?:=[A-Za-z0-9._:\-]++)?))*)"
_PLAIN_PARAMS = rb"(?>(?:;" + _T + rb"++(?>(?:=(?:" + _T + rb"++|\"[^\"\\\r\n]*+\"))?))*)"
_PLAIN_DISPLAY = rb"(?:\"[^\"\\\r\n]*+\"[ \t]*+|[A-Za-z0-9\-.!%*_+`'~ ]*+)"
_PLAIN_REQUEST_URI = re.compile(_PLAIN_URI)
_PLAIN_ADDRESS = re.compile(
    rb"[^:]++:[ \t]*+(?:" + _PLAIN_DISPLAY + rb"<" + _PLAIN_URI + rb">|" + _PLAIN_ADDR_SPEC + rb")" + _PLAIN_PARAMS
)
_PLAIN_VIA = re.compile(rb"[^:]++:[ \t]*+SIP/2\.0/[A-Z]++ " + _HOST_PORT + _PLAIN_PARAMS)
_PLAIN_CSEQ = re.compile(rb"[^:]++:[ \t]*+(\d{1,9}) ([A-Z]++)")
CHALLENGE_LINE = re.compile(rb"(?:www|proxy)-authenticate[ \t]*+:", re.IGNORECASE)
"""Where the line of a challenge begins (:data:`sipcli.sip.authn.challenge.MAX_CHALLENGE_TEXT` is its limit)."""
_PLAIN_LENGTH = re.compile(rb"[^:]++:[ \t]*+(\d{1,7})")


def parse_message(data: bytes) -> Request | Response:
    """One message from one datagram (or from :class:`~sipcli.sip.syntax.framing.StreamFramer`).

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
    first, headers, lengths = _read_head(head)
    request_line = _REQUEST_LINE.fullmatch(first)
    status_line = None if request_line is not None else _STATUS_LINE.fullmatch(first)
    body = _body(data, body_at, lengths)
    memo: dict[str, Any] = {}
    if request_line is not None:
        method, uri, version = request_line.groups()
        if version != b"SIP/2.0" and version.upper() != b"SIP/2.0":
            raise ParseError(f"{version[:16].decode()} is not spoken here", status=505)
        if _PLAIN_REQUEST_URI.fullmatch(uri) is None or len(uri) > MAX_URI:
            _check_uri(uri.decode())
        request = Request(method.decode(), uri.decode(), headers, body, memo)
        cseq = _check_headers(request, memo)
        if cseq.method != request.method:
            # A method that nobody knows is the better thing to say (RFC 4475 section 3.1.2.18).
            raise ParseError("CSeq names another method", status=400 if request.method in KNOWN_METHODS else 501)
        return request
    if status_line is not None:
        reason = status_line[2] or b""
        response = Response(int(status_line[1]), reason.decode("utf-8", "surrogateescape"), headers, body, memo)
        _check_headers(response, memo)
        return response
    raise ParseError(f"this is no start line: {first[:60]!r}")


def _read_head(head: bytes) -> tuple[bytes, Headers, list[bytes]]:
    """The start line, the headers, and apart from them the Content-Length lines."""
    lines = head.splitlines()
    # `splitlines` also splits at a lone CR or LF, which must not be there at all.
    if head.count(b"\r\n") != len(lines) - 1 or head[-1:] in (b"\r", b"\n"):
        raise ParseError(f"a CR or LF stands alone, which no header allows (section 25.1), in {_line_with_one(head)!r}")
    if len(lines) > MAX_HEADERS + 1:
        raise ParseError(f"more than {MAX_HEADERS} header lines", status=513)
    if len(head) > MAX_LINE and any(map(is_too_long, _LINE_END.split(head))):
        raise ParseError(f"a line is longer than {MAX_LINE} octets", status=513)
    first, *lines = lines
    try:
        return first, *Headers.read(lines)
    except ParseError:
        if b"\r\n " not in head and b"\r\n\t" not in head:
            raise
    # A line that begins with white space continues the one before (RFC 3261 section 7.3.1): rare, so looked for last.
    first, *lines = _LINE_END.split(head)
    return first, *Headers.read(lines)


def _line_with_one(head: bytes) -> bytes:
    """The beginning of the line that does not end with CRLF: enough to know its header field."""
    alone = _ALONE.search(head)
    at = alone.start() if alone is not None else len(head)
    return head[head.rfind(b"\r\n", 0, at) + 1 :].lstrip()[:40]


def _body(data: bytes, at: int, lengths: list[bytes]) -> bytes:
    # Without Content-Length the body of a datagram ends with it (RFC 3261 section 18.3).
    if not lengths:
        return data[at:]
    end = at + content_length(lengths)
    if end > len(data):
        raise ParseError("the body is shorter than Content-Length says")
    return data[at:end]


def is_too_long(line: bytes) -> bool:
    """Over :data:`MAX_LINE`, and no challenge: that one is skipped where it is read, and its neighbours count."""
    return len(line) > MAX_LINE and CHALLENGE_LINE.match(line) is None


def content_length(lines: list[bytes]) -> int:
    """The number in the Content-Length lines.  ParseError unless there is one line with one number in it."""
    if len(lines) > 1:
        raise ParseError("Content-Length is there twice")
    if (plain := _PLAIN_LENGTH.fullmatch(lines[0])) is not None:
        return int(plain[1])
    value = line_value(lines[0])
    if _LENGTH.fullmatch(value) is None:
        raise ParseError(f"Content-Length is no number: {value[:40]!r}")
    return int(value)


def _check_uri(text: str) -> None:
    if len(text) > MAX_URI:
        raise ParseError(f"the Request-URI is longer than {MAX_URI} octets", status=414)
    uri = parse_uri(text)
    if isinstance(uri, SipUri) and uri.headers:
        # RFC 3261 section 19.1.1 forbids headers here; what they smuggle in is never honoured (RFC 4475 3.1.2.11).
        raise ParseError("a Request-URI has no headers")


def _check_headers(message: Message, memo: dict[str, Any]) -> CSeq:
    """The headers that every message must have and that decide where it goes: there, once, and readable."""
    via, from_, to, cseq, contact = message.headers.needed()
    if _PLAIN_VIA.fullmatch(via) is None:
        _ = message.via
    if _PLAIN_ADDRESS.fullmatch(from_) is None:
        _ = message.from_
    if _PLAIN_ADDRESS.fullmatch(to) is None:
        _ = message.to
    if contact is not None and _PLAIN_ADDRESS.fullmatch(contact) is None:
        _ = message.contacts
    plain = _PLAIN_CSEQ.fullmatch(cseq)
    number = CSeq(int(plain[1]), plain[2].decode()) if plain is not None else message.cseq
    memo["cseq"] = number
    return number


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
