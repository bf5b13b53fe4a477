"""A notifier by hand: the mailbox that an account subscribes to (RFC 6665)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sipcli.sip import events
from sipcli.sip.subscriptions.subscription import Subscription
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import SERVER, Caller, Heard, Wire, response

BOB = SipUri.parse("sip:bob@example.com")
STRANGER = ("203.0.113.66", 5060)
SUMMARY = "application/simple-message-summary"
BODY = b"Messages-Waiting: yes\r\n"
N = 32.0
"""Timer N, in seconds: 64*T1."""


@dataclass
class Mailbox:
    """The notifier, by hand."""

    wire: Wire
    forks: bool = True
    expires: int = 600
    event: str = "message-summary"
    subscription: Subscription = field(init=False)
    peers: dict[str, Caller] = field(default_factory=dict)
    asked: list[Heard] = field(default_factory=list)

    def __post_init__(self) -> None:
        wire = self.wire
        self.subscription = wire.do(
            lambda: wire.engine.subscribe(
                "work", BOB, self.event, accept=(SUMMARY,), expires=self.expires, forks=self.forks
            )
        )
        self.subscribe = wire.one()

    def accept(self, *lines: str, request: Heard | None = None, status: int = 200) -> None:
        self.wire.deliver(response(request or self.subscribe, status, "OK", *lines, "Contact: <sip:mb@192.0.2.1>"))

    def notify(
        self,
        state: str,
        tag: str = "peer",
        *,
        body: bytes = BODY,
        address: Any = SERVER,
        event: str | None = None,
        kind: str = SUMMARY,
        record_route: tuple[str, ...] = (),
    ) -> Heard:
        """Sends a NOTIFY; gives our answer."""
        peer = self.peers.get(tag)
        if peer is None:
            peer = self.peers[tag] = Caller.called(self.subscribe, tag=tag, contact="sip:mb@192.0.2.1:5060")
            peer.record_route = record_route
        lines = (f"Event: {event or self.event}", f"Subscription-State: {state}")
        branch = f"z9hG4bK-{tag}-{peer.cseq}"
        self.wire.deliver(peer.request("NOTIFY", *lines, body=body, kind=kind, branch=branch), self.wire.flow(address))
        answer: Heard | None = None
        for heard in self.wire.take():
            if heard.is_response:
                answer = heard
            else:
                self.asked.append(heard)
        assert answer is not None
        return answer

    def request(self, within: float = 2000.0) -> Heard:
        """The next request that we send, as soon as we do."""
        wire, end = self.wire, self.wire.clock + within
        while not self.asked:
            when = wire.engine.next_timer()
            assert when is not None and when <= end, "nothing is sent"
            wire.run(max(0.0, when - wire.clock))
            self.asked += wire.take()
        return self.asked.pop(0)

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.wire.told(events.SubscriptionChanged)]

    @property
    def last(self) -> events.SubscriptionChanged:
        return self.wire.last(events.SubscriptionChanged)

    @property
    def heard(self) -> list[tuple[int, str, bytes]]:
        return [(e.notifier, e.state.state, e.request.body) for e in self.wire.told(events.NotifyReceived)]


def alive(wire: Wire | None = None, **options: Any) -> Mailbox:
    box = Mailbox(wire or Wire(), **options)
    box.accept("Expires: 600")
    assert box.notify("active;expires=600").status == 200
    return box
