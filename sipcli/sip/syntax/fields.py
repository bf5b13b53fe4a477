"""What requests and responses have in common: header fields, typed at first use (RFC 3261 sections 7.3, 20)."""

from __future__ import annotations

import re
from typing import Any, Self

from sipcli.errors import ParseError
from sipcli.sip.syntax.headers import MAX_VIAS, CSeq, Headers, Via, header_key
from sipcli.sip.syntax.uri import NameAddr, parse_addresses

__all__ = ["Message"]

_NUMBER = re.compile(r"\d++", re.ASCII)


class Message:
    """What a request and a response have in common.

    Header lines stay octets until somebody asks for the typed form, which is
    then kept.  Nothing can be changed: ``with_…`` gives a new message.
    """

    __slots__ = ("_body", "_headers", "_memo", "_wire")

    def __init__(self, headers: Headers, body: bytes = b"", memo: dict[str, Any] | None = None) -> None:
        """*memo* holds typed forms that are known already."""
        self._headers = headers
        self._body = body
        self._memo: dict[str, Any] = {} if memo is None else memo
        self._wire: bytes | None = None

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
        if self._wire is None:
            start, body = self.start_line.encode("utf-8", "surrogateescape"), self._body
            self._wire = b"%b\r\n%bContent-Length: %d\r\n\r\n%b" % (start, self._headers.to_bytes(), len(body), body)
        return self._wire

    def take_bytes(self) -> bytes:
        """:meth:`to_bytes`, once for all: whoever takes them keeps them, and the message does not."""
        wire, self._wire = self.to_bytes(), None
        return wire

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

    def _with(self, headers: Headers, body: bytes, memo: dict[str, Any]) -> Self:
        raise TypeError("a message is a Request or a Response")

    def _changed(self, name: str, headers: Headers) -> Self:
        """With *headers*, which differ from ours in *name* alone: what is typed of the others stays so."""
        memo, key = dict(self._memo), header_key(name)
        memo.pop(key, None)
        if key == "via":
            memo.pop("vias", None)
        return self._with(headers, self._body, memo)

    def with_(self, name: str, value: str | None) -> Self:
        """All lines of that name replaced by one, at the first's place (else at the end); None removes them."""
        return self._changed(name, self._headers.with_(name, value))

    def adding(self, name: str, value: str) -> Self:
        return self._changed(name, self._headers.adding(name, value))

    def prepending(self, name: str, value: str) -> Self:
        """With a line before the first of that name, else before all."""
        return self._changed(name, self._headers.prepending(name, value))

    def without(self, name: str) -> Self:
        return self._changed(name, self._headers.without(name))

    def with_body(self, body: bytes, content_type: str | None) -> Self:
        return self._with(self._headers.with_("Content-Type", content_type), body, dict(self._memo))

    def with_top_via(self, via: Via) -> Self:
        """With the topmost Via value replaced, for ``received`` and ``rport`` (RFC 3261 section 18.2.1, RFC 3581)."""
        return self._changed("via", self._headers.with_first_value("Via", str(via)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return type(self) is type(other) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        # Never the headers: they may hold credentials.
        return f"<{type(self).__name__} {self.start_line!r}>"
