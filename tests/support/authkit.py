"""One AuthSession on a stepped clock, exchanges to challenge it with, and an oracle that computes digests by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import count
from typing import Any

from sipcli.credentials import Credentials, PasswordCredentials, Secret
from sipcli.sip.auth import AuthEvent, AuthPolicy, AuthSession, GiveUp, Outcome, Pending, RealmState, Retry
from sipcli.sip.authn.challenge import Challenge, split_challenges
from sipcli.sip.authn.origin import Origin
from sipcli.sip.authn.pins import Pins
from sipcli.sip.syntax.message import Request, Response

HOME = Origin("192.0.2.1", 5060, "udp", None, bound=True)
HOME_TLS = Origin("192.0.2.1", 5061, "tls", "example.com", bound=True)
STRANGER = Origin("203.0.113.66", 5060, "udp", None, bound=False)

_serial = count(1)


def password(secret: str, username: str = "alice", realm: str = "*", **more: Any) -> PasswordCredentials:
    return PasswordCredentials(username, Secret(secret), realm, **more)


def digest(realm: str = "example.com", nonce: str = "n1", *, qop: str | None = "auth", **params: str) -> str:
    """A Digest challenge as a header value; *params* are written as given."""
    value = f'Digest realm="{realm}", nonce="{nonce}"'
    if qop is not None:
        value += f', qop="{qop}"'
    return value + "".join(f", {name}={text}" for name, text in params.items())


def asks(*www: str, proxy: Iterable[str] = (), status: int | None = None) -> Response:
    """A 401 with these WWW-Authenticate values, or a 407 with those of *proxy*."""
    headers = [("WWW-Authenticate", value) for value in www] + [("Proxy-Authenticate", value) for value in proxy]
    return Response.build(status or (401 if www or not proxy else 407), None, headers)


def final(status: int, *headers: tuple[str, str], body: bytes = b"") -> Response:
    return Response.build(status, None, headers, body)


class CalledBefore(Pins):
    """As after calls in which the servers asked all that they will ask: so they may, inside calls we make (T01)."""

    def knows(self, challenge: Challenge, origin: Origin) -> bool:
        return True


class FakeExchange:
    """A request and its retries; ``sent`` holds every one of them as it left."""

    def __init__(self, rig: Rig, method: str, uri: str, origin: Origin, body: bytes, call_id: str) -> None:
        self.account = "work"
        self.method = method
        self.call_id = call_id
        self.interactive = True
        self.realms: dict[str, RealmState] = {}
        self.origin = origin
        self.why: GiveUp | None = None
        self.sent: list[Request] = []
        self._rig, self._uri, self._body = rig, uri, body
        self.send()

    @property
    def request(self) -> Request:
        return self.sent[-1]

    def send(self) -> None:
        headers = [("Call-ID", self.call_id), ("CSeq", f"{len(self.sent) + 1} {self.method}")]
        bare = Request.build(self.method, self._uri, headers, self._body)
        self.sent.append(self._rig.session.authorize(self, bare))

    resume = send

    def give_up(self, why: GiveUp) -> None:
        assert self.why is None
        self.why = why

    def receive(self, response: Response) -> Outcome:
        """What a real exchange does with a 401 or 407."""
        outcome = self._rig.session.challenge(self, response)
        if isinstance(outcome, Retry):
            self.resume()
        return outcome

    def carried(self, index: int = -1) -> list[dict[str, str]]:
        """The credentials of one sent request, as dictionaries; ``header`` and ``scheme`` say where they stood."""
        found = []
        for header in ("Authorization", "Proxy-Authorization"):
            for value in self.sent[index].all(header):
                (raw,) = split_challenges(value) if value.startswith("Digest") else [None]
                params = {"scheme": "digest", **raw.params} if raw else {"scheme": "bearer", "value": value}
                found.append({"header": header, **params})
        return found

    def answer(self, index: int = -1) -> dict[str, str]:
        """The only credentials of one sent request."""
        (only,) = self.carried(index)
        return only


class Rig:
    """A session, its clock (``rig.now``) and what it said (``rig.events``)."""

    def __init__(self, *credentials: Credentials, asynchronous: bool = False, **policy: Any) -> None:
        self.now = 1000.0
        self.events: list[AuthEvent] = []
        self._random = count(1)
        self.session = AuthSession(
            credentials,
            asynchronous=asynchronous,
            policy=AuthPolicy(**policy),
            random=lambda n: next(self._random).to_bytes(n, "big"),
            clock=lambda: self.now,
        )
        self.session.emit = self.events.append

    def exchange(
        self,
        method: str = "REGISTER",
        uri: str = "sip:example.com",
        *,
        origin: Origin = HOME,
        body: bytes = b"",
        call_id: str | None = None,
    ) -> FakeExchange:
        return FakeExchange(self, method, uri, origin, body, call_id or f"call-{next(_serial)}")

    def pending(self, *www: str, **how: Any) -> tuple[FakeExchange, Any]:
        """A challenged exchange and its token."""
        exchange = self.exchange(**how)
        outcome = exchange.receive(asks(*www))
        assert isinstance(outcome, Pending), outcome
        return exchange, outcome.token

    def heard(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def proves(sent: dict[str, str], secret: str, *, method: str = "REGISTER", body: bytes = b"") -> bool:
    """Would a server that knows *secret* accept these credentials?  Computed straight from RFC 7616, by hand."""
    names = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
    algorithm = sent.get("algorithm", "MD5")

    def h(text: str | bytes) -> str:
        data = text.encode() if isinstance(text, str) else text
        return hashlib.new(names[algorithm.removesuffix("-sess")], data).hexdigest()

    a1 = h(f"{sent['username']}:{sent['realm']}:{secret}")
    if algorithm.endswith("-sess"):
        a1 = h(f"{a1}:{sent['nonce']}:{sent['cnonce']}")
    a2 = f"{method}:{sent['uri']}"
    if sent.get("qop") == "auth-int":
        a2 += f":{h(body)}"
    middle = f"{sent['nc']}:{sent['cnonce']}:{sent['qop']}:" if "qop" in sent else ""
    return sent["response"] == h(f"{a1}:{sent['nonce']}:{middle}{h(a2)}")
