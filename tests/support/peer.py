"""A peer who reads and writes SIP by hand: nothing of ours parses or serialises for him, so he shares no mistake."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

LONG = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length", "c": "content-type"}


class Heard:
    """One message as a stranger reads it off the wire."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        self.data = data
        self.start, *lines = head.decode(errors="surrogateescape").split("\r\n")
        self.lines: list[tuple[str, str]] = []
        for line in lines:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            self.lines.append((LONG.get(key, key), value.strip()))
        assert int(self.header("content-length")) == len(self.body)

    def __repr__(self) -> str:
        return f"<{self.start} | CSeq {self.header('cseq')} | To {self.header('to')}>"

    @property
    def is_response(self) -> bool:
        return self.start.startswith("SIP/2.0 ")

    @property
    def method(self) -> str:
        return self.header("cseq").split()[1] if self.is_response else self.start.split()[0]

    @property
    def uri(self) -> str:
        return self.start.split()[1]

    @property
    def status(self) -> int:
        return int(self.start.split()[1])

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.lines if key == name.lower()]

    def has(self, name: str) -> bool:
        return bool(self.all(name))

    def header(self, name: str) -> str:
        (value,) = self.all(name)[:1] or [""]
        assert value or name in ("content-length",), f"no {name} in {self.start}"
        return value

    @property
    def branch(self) -> str:
        return find(r"branch=([^;,\s]+)", self.header("via"))

    @property
    def cseq(self) -> int:
        return int(self.header("cseq").split()[0])

    @property
    def from_tag(self) -> str:
        return find(r";tag=([^;\s]+)", self.header("from"))

    @property
    def to_tag(self) -> str | None:
        match = re.search(r">.*;tag=([^;\s]+)", self.header("to"))
        return match[1] if match else None

    @property
    def call_id(self) -> str:
        return self.header("call-id")

    @property
    def contact(self) -> str:
        return find(r"<([^>]+)>", self.header("contact"))


def find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, f"no {pattern} in {text}"
    return match[1]


def message(start: str, lines: Iterable[str], body: bytes = b"") -> bytes:
    return "\r\n".join([start, *lines, f"Content-Length: {len(body)}", "", ""]).encode(errors="surrogateescape") + body


def response(
    request: Heard,
    status: int,
    reason: str,
    *lines: str,
    to_tag: str | None = "peer",
    body: bytes = b"",
    sdp: bool = True,
) -> bytes:
    """A response as RFC 3261 section 8.2.6 wants it, written by hand."""
    to = request.header("to")
    if to_tag and ";tag=" not in to:
        to += f";tag={to_tag}"
    via = [f"Via: {value}" for value in request.all("via")]
    fixed = [
        *via,
        f"From: {request.header('from')}",
        f"To: {to}",
        f"Call-ID: {request.call_id}",
        f"CSeq: {request.header('cseq')}",
    ]
    kind = ["Content-Type: application/sdp"] if body and sdp else []
    return message(f"SIP/2.0 {status} {reason}", [*fixed, *lines, *kind], body)


@dataclass
class Gate:
    """A server's authentication: it asks, and it judges with hashlib alone (RFC 7616 section 3.4.1)."""

    realm: str = "example.com"
    users: dict[str, str] = field(default_factory=lambda: {"alice": "wonderland"})
    proxy: bool = False
    algorithm: str = "SHA-256"
    qop: str | None = "auth"
    nonces: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        return 407 if self.proxy else 401

    def header(self, *, stale: bool = False, nonce: str | None = None) -> str:
        self.nonces += 1
        nonce = nonce or f"nonce-{self.realm}-{self.nonces}"
        text = f'Digest realm="{self.realm}", nonce="{nonce}", algorithm={self.algorithm}'
        if self.qop is not None:
            text += f', qop="{self.qop}"'
        if stale:
            text += ", stale=TRUE"
        return f"{'Proxy-Authenticate' if self.proxy else 'WWW-Authenticate'}: {text}"

    def ask(
        self, request: Heard, *more: str, stale: bool = False, nonce: str | None = None, to_tag: str = "gate"
    ) -> bytes:
        reason = "Proxy Authentication Required" if self.proxy else "Unauthorized"
        return response(request, self.code, reason, self.header(stale=stale, nonce=nonce), *more, to_tag=to_tag)

    def answer(self, request: Heard) -> dict[str, str] | None:
        """The Authorization for our realm, as a dict; None when there is none."""
        for value in request.all("proxy-authorization" if self.proxy else "authorization"):
            fields = {k.lower(): q if q else t for k, q, t in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,"]+))', value)}
            if value.startswith("Digest ") and fields.get("realm") == self.realm:
                return fields
        return None

    def admits(self, request: Heard) -> bool:
        """Right password, right URI, and a nonce count that was not used before."""
        got = self.answer(request)
        if got is None or got["username"] not in self.users or got["uri"] != request.uri:
            return False
        once = f"{got['nonce']}/{got.get('nc')}"
        assert once not in self.seen, f"nonce count used twice: {once}"
        self.seen.append(once)
        if self.qop is not None:
            assert re.fullmatch("[0-9a-f]{8}", got["nc"])
        return got["response"] == self._response(got, self.users[got["username"]], request.method)

    def proof(self, request: Heard, password: str) -> str:
        """The header by which a server shows that it knows *password*: the client's formula without a method."""
        got = self.answer(request)
        assert got is not None
        proof = self._response(got, password, "")
        return f'Authentication-Info: qop={got["qop"]}, rspauth="{proof}", cnonce="{got["cnonce"]}", nc={got["nc"]}'

    def _response(self, got: dict[str, str], password: str, method: str) -> str:
        h = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}[self.algorithm]

        def digest(text: str) -> str:
            return h(text.encode()).hexdigest()

        ha1 = digest(f"{got['username']}:{self.realm}:{password}")
        ha2 = digest(f"{method}:{got['uri']}")
        if self.qop is None:
            return digest(f"{ha1}:{got['nonce']}:{ha2}")
        return digest(f"{ha1}:{got['nonce']}:{got['nc']}:{got['cnonce']}:{got['qop']}:{ha2}")


@dataclass
class Caller:
    """The other end of a dialog: writes requests to us."""

    transport: str = "UDP"
    address: str = "192.0.2.1:5060"
    user: str = "bob"
    tag: str = "bobtag"
    call_id: str = "call-of-bob"
    to: str = "<sip:alice@example.com>"
    uri: str = "sip:alice@192.0.2.99:5062"
    cseq: int = 0
    branches: int = 0
    record_route: tuple[str, ...] = ()
    contact: str = "<sip:bob@192.0.2.1:5060>"

    def branch(self) -> str:
        self.branches += 1
        return f"z9hG4bK-{self.call_id}-{self.branches}"

    def request(
        self,
        method: str,
        *lines: str,
        body: bytes = b"",
        cseq: int | None = None,
        branch: str | None = None,
        kind: str = "application/sdp",
    ) -> bytes:
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        content = [f"Content-Type: {kind}"] if body else []
        return message(
            f"{method} {self.uri} SIP/2.0",
            [
                f"Via: SIP/2.0/{self.transport} {self.address};rport;branch={branch or self.branch()}",
                *(f"Record-Route: {route}" for route in self.record_route),
                "Max-Forwards: 70",
                f"From: Bob <sip:bob@example.net>;tag={self.tag}",
                f"To: {self.to}",
                f"Call-ID: {self.call_id}",
                f"CSeq: {cseq} {method}",
                f"Contact: {self.contact}",
                *lines,
                *content,
            ],
            body,
        )

    def joins(self, answered: Heard) -> None:
        """Take our To tag (and Contact) from a response, as a caller does."""
        self.to = answered.header("to")
        if answered.has("contact"):
            self.uri = answered.contact

    @classmethod
    def called(
        cls, invite: Heard, *, tag: str = "peer", transport: str = "UDP", contact: str = "sip:bob@192.0.2.1:5060"
    ) -> Caller:
        """The callee of *invite*, who now sends requests the other way."""
        return cls(
            transport=transport,
            tag=tag,
            call_id=invite.call_id,
            to=invite.header("from"),
            uri=invite.contact,
            contact=f"<{contact}>",
            cseq=100,
        )
