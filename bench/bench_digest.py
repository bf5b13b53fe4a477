"""What the core spends on one challenge: reading the 401, deciding, and writing the authorised request (SHA-256)."""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable

from sipcli.credentials import PasswordCredentials, Secret
from sipcli.sip.auth import AuthSession, GiveUp, Origin, RealmState
from sipcli.sip.authn.challenge import parse_challenges
from sipcli.sip.syntax.message import Request, Response, parse_message

LINES = (
    "Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKabcdef;rport=5060\r\n"
    "From: <sip:alice@example.com>;tag=abc\r\nTo: <sip:alice@example.com>\r\n"
    "Call-ID: 1234567890\r\nCSeq: 1 REGISTER\r\n"
)
UNAUTHORIZED = (
    f"SIP/2.0 401 Unauthorized\r\n{LINES}"
    'WWW-Authenticate: Digest realm="example.com", nonce="c60f3082ee1212b402a21831ae", algorithm=SHA-256, qop="auth", '
    'opaque="5ccc069c403ebaf9"\r\nServer: bench\r\nContent-Length: 0\r\n\r\n'
).encode()
REGISTER = parse_message(f"REGISTER sip:example.com SIP/2.0\r\n{LINES}Content-Length: 0\r\n\r\n".encode())


class Exchange:
    """As little of one as a session needs."""

    account, method, call_id, interactive = "bench", "REGISTER", "1234567890", True
    origin = Origin("192.0.2.1", 5060, bound=True)

    def __init__(self) -> None:
        assert isinstance(REGISTER, Request)
        self.request: Request = REGISTER
        self.realms: dict[str, RealmState] = {}

    def resume(self) -> None: ...

    def give_up(self, why: GiveUp) -> None: ...


def micros(act: Callable[[], object]) -> float:
    """The best of many short runs: what the code costs, not what the machine was doing."""
    return round(min(timeit.repeat(act, number=200, repeat=200)) / 200 * 1e6, 1)


def main() -> None:
    session = AuthSession([PasswordCredentials("alice", Secret("wonderland"))])
    response = parse_message(UNAUTHORIZED)
    assert isinstance(response, Response)
    answered = Exchange()
    session.challenge(answered, response)

    def challenge() -> None:
        session.challenge(Exchange(), response)

    def whole() -> bytes:
        exchange, got = Exchange(), parse_message(UNAUTHORIZED)
        assert isinstance(got, Response)
        session.challenge(exchange, got)
        return session.authorize(exchange, exchange.request).to_bytes()

    for name, act, target in (
        ("401 read", lambda: parse_message(UNAUTHORIZED), ""),
        ("its challenges read", lambda: parse_challenges(response), ""),
        ("challenge decided", challenge, ""),
        ("request authorised", lambda: session.authorize(answered, answered.request), ""),
        ("401 octets to authorised octets, in the core", whole, ""),
    ):
        print(json.dumps({"name": name, "value": micros(act), "unit": "us", "target": target}))


if __name__ == "__main__":
    main()
