"""A transaction layer on a stepped clock, its users, and messages to feed it."""

from __future__ import annotations

from itertools import count

from sipcli.sip.flow import Flow
from sipcli.sip.syntax.message import Message, Request, Response, parse_message
from sipcli.sip.transactions.timers import TimerValues, Wheel
from sipcli.sip.transactions.transaction import ClientTransaction, ServerTransaction, TransactionLayer

UDP = Flow(1, "udp", ("192.0.2.1", 5060), ("192.0.2.9", 5060))
TCP = Flow(2, "tcp", ("192.0.2.1", 40000), ("192.0.2.9", 5060))

_serial = count(1)


class Bench:
    """The layer, its clock, and what left it: ``sent`` holds (instant, flow, message)."""

    def __init__(self, timers: TimerValues | None = None) -> None:
        self.now = 1024.0
        self.wheel = Wheel()
        self.sent: list[tuple[float, Flow, Request | Response]] = []
        self._random = count(1)
        self.layer = TransactionLayer(
            timers=timers or TimerValues(),
            wheel=self.wheel,
            send=self._send,
            clock=lambda: self.now,
            random=lambda size: next(self._random).to_bytes(size, "big"),
        )

    def _send(self, flow: Flow, data: bytes) -> None:
        self.sent.append((self.now - 1024.0, flow, parse_message(data)))

    def advance(self, seconds: float) -> None:
        """Step to every instant at which a timer is due, and then to the end of *seconds*."""
        end = round(self.now + seconds, 6)
        while (when := self.wheel.next()) is not None and when <= end + 1e-9:
            self.now = max(self.now, when)
            for owner, name in self.wheel.due(self.now):
                owner.on_timer(name)
        self.now = end

    def times(self, kind: str | int) -> list[float]:
        """When each request of a method, or each response of a status, was sent: seconds since the beginning."""
        return [
            round(at, 6)
            for at, _, message in self.sent
            if kind == (message.method if isinstance(message, Request) else message.status)
        ]

    def last(self) -> Request | Response:
        return self.sent[-1][2]


class Caller:
    """A client user that writes down what it is told."""

    def __init__(self) -> None:
        self.responses: list[Response] = []
        self.ends: list[str] = []

    def on_response(self, tx: ClientTransaction, response: Response) -> None:
        self.responses.append(response)

    def on_timeout(self, tx: ClientTransaction) -> None:
        self.ends.append("timeout")

    def on_transport_error(self, tx: ClientTransaction, why: str) -> None:
        self.ends.append(why)

    @property
    def codes(self) -> list[int]:
        return [response.status for response in self.responses]


class Callee:
    """A server user that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.acks: list[Request] = []

    def on_cancelled(self, tx: ServerTransaction, cancel: Request) -> None:
        self.told.append("cancelled")
        tx.reply(487)

    def on_ack(self, tx: ServerTransaction, ack: Request) -> None:
        self.told.append("ack")
        self.acks.append(ack)

    def on_timeout(self, tx: ServerTransaction) -> None:
        self.told.append("timeout")

    def on_transport_error(self, tx: ServerTransaction, why: str) -> None:
        self.told.append(why)


def request(
    method: str = "INVITE",
    *,
    branch: str | None = None,
    uri: str = "sip:bob@example.com",
    cseq: int = 1,
    call_id: str = "call-1",
    from_tag: str = "from-1",
    to_tag: str | None = None,
    sent_by: str = "192.0.2.1:5060",
    transport: str = "UDP",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
) -> Request:
    """A request with a branch of its own unless one is given; ``branch=""`` leaves the parameter out (RFC 2543)."""
    if branch is None:
        branch = f"z9hG4bKtest{next(_serial)}"
    via = f"SIP/2.0/{transport} {sent_by}" + (f";branch={branch}" if branch else "")
    to = "<sip:bob@example.com>" + (f";tag={to_tag}" if to_tag else "")
    lines = [
        ("Via", via),
        *headers,
        ("Max-Forwards", "70"),
        ("From", f"<sip:alice@example.com>;tag={from_tag}"),
        ("To", to),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
        ("Contact", "<sip:alice@192.0.2.1:5060>"),
    ]
    return Request.build(method, uri, lines, body)


def response(to: Message, status: int, *, to_tag: str | None = "to-1", method: str | None = None) -> Response:
    """What a server would answer to *to*, which is a request (or, for a CANCEL, has its header fields)."""
    assert isinstance(to, Request)
    answer = to.reply(status, to_tag=to_tag)
    return answer if method is None else answer.with_("CSeq", f"{to.cseq.number} {method}")
