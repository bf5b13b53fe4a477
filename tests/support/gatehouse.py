"""The sandbox's gate on its layer, without a socket and on a stepped clock."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from sipcli.credentials import PasswordCredentials, Secret
from sipcli.sandbox.config import SandboxConfig
from sipcli.sandbox.gate import Gate
from sipcli.sip.authn.digest import digest_header, parse_challenges
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Request, Response, parse_message
from sipcli.sip.transactions.timers import TimerValues, Wheel
from sipcli.sip.transactions.transaction import TransactionLayer
from tests.support.transactions import request

HERE = ("127.0.0.1", 5060)
ALICE = Flow(1, "udp", HERE, ("127.0.0.1", 40001))
BOB = Flow(2, "udp", HERE, ("127.0.0.1", 40002))
BOB_TCP = Flow(3, "tcp", HERE, ("127.0.0.1", 40003))


class House:
    """A gate on its layer, and what it says to whom."""

    def __init__(self, **config: object) -> None:
        self.now = 0.0
        self.sent: list[tuple[Flow, Request | Response]] = []
        self.left: list[str] = []
        serial = count(1)
        self.wheel = Wheel()
        random = lambda size: next(serial).to_bytes(size, "big")  # noqa: E731
        self.layer = TransactionLayer(
            timers=TimerValues(),
            wheel=self.wheel,
            send=lambda flow, data: self.sent.append((flow, parse_message(data))),
            clock=lambda: self.now,
            random=random,
        )
        self.gate = Gate(SandboxConfig(**config), self.layer, random)  # type: ignore[arg-type]
        self._cseq = count(1)

    def give(self, message: Request | Response, flow: Flow = ALICE) -> list[Request | Response]:
        """One message in; what goes out because of it."""
        before = len(self.sent)
        # As it would come from the wire.
        message = parse_message(message.to_bytes())
        if isinstance(message, Response):
            self.layer.on_response(message, flow)
        elif (tx := self.layer.on_request(message, flow)) is not None and not self.gate.admit(tx):
            self.left.append(message.method)
        return [sent for _, sent in self.sent[before:]]

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while (when := self.wheel.next()) is not None and when <= end:
            self.now = when
            for owner, name in self.wheel.due(when):
                owner.on_timer(name)
        self.now = end

    def ask(self, method: str = "REGISTER", **values: object) -> Request:
        values = {"uri": "sip:sandbox", "cseq": next(self._cseq), "call_id": method, **values}
        message = request(method, **values)  # type: ignore[arg-type]
        if method == "REGISTER":
            message = message.with_("To", "<sip:alice@sandbox>").with_("From", "<sip:alice@sandbox>;tag=a")
        return message

    def answered(
        self,
        challenge: Response,
        message: Request,
        *,
        user: str = "alice",
        password: str = "wonderland",
        nc: int = 1,
        pick: Iterable[int] | None = None,
    ) -> Request:
        """*message* again with the next CSeq and an answer to each realm's topmost (or each picked) challenge."""
        challenges, _ = parse_challenges(challenge)
        if pick is None:
            topmost = {(one.realm, one.proxy): one for one in reversed(challenges)}
            chosen = list(topmost.values())
        else:
            chosen = [challenges[index] for index in pick]
        number = next(self._cseq)
        again = (
            message.with_("CSeq", f"{number} {message.method}")
            .with_("Via", str(message.via.with_param("branch", f"z9hG4bKagain{number}")))
            .without("Authorization")
            .without("Proxy-Authorization")
        )
        for one in chosen:
            secret = PasswordCredentials(user, Secret(password))
            value = digest_header(one, secret, again.method, again.uri_text, nc=nc, cnonce="c0ffee", body=again.body)
            again = again.adding(one.header, value)
        return again

    def register(self, user: str = "alice", flow: Flow = ALICE, **headers: str) -> Response:
        message = self.ask(call_id=f"register-{user}").with_("To", f"<sip:{user}@sandbox>")
        message = message.with_("Contact", f"<sip:{user}@{flow.remote[0]}:{flow.remote[1]}>")
        for name, value in headers.items():
            message = message.with_(name, value)
        (challenge,) = self.give(message, flow)
        assert isinstance(challenge, Response)
        password = self.gate.config.users[user]
        (final,) = self.give(self.answered(challenge, message, user=user, password=password), flow)
        assert isinstance(final, Response)
        return final


def status(answer: list[Request | Response]) -> int:
    (only,) = answer
    assert isinstance(only, Response)
    return only.status
