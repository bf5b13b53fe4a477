"""An engine on an in-memory wire with a stepped clock, and an account whose secrets come late."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from sipcli.credentials import PasswordCredentials, Secret
from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged, AuthPolicy, AuthSession, AuthSettled, ChallengeToken
from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.authn.origin import Origin
from sipcli.sip.engine import AccountProfile, Engine, EngineConfig
from sipcli.sip.flow import Address, Flow, Transport
from sipcli.sip.syntax.uri import SipUri
from tests.support.peer import Caller, Gate, Heard, message, response

__all__ = ["ANSWER", "OFFER", "Caller", "Gate", "Heard", "Wire", "message", "password", "response"]

OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.99\r\ns=-\r\nc=IN IP4 192.0.2.99\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ANSWER = OFFER.replace(b"192.0.2.99", b"192.0.2.1")
LOCAL: Address = ("192.0.2.99", 5062)
SERVER: Address = ("192.0.2.1", 5060)
POLICY = AuthPolicy()
E = TypeVar("E")


def password(text: str = "wonderland", user: str = "alice", realm: str = "*") -> PasswordCredentials:
    return PasswordCredentials(user, Secret(text), realm)


def counting() -> Callable[[int], bytes]:
    """Random octets that are the same in every run, and never twice the same in one."""
    count = 0

    def random(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.sha256(str(count).encode()).digest()[:size]

    return random


class Wire:
    """The shell's part, in memory: grants flows, carries octets, holds the clock.

    ``servers`` are the addresses behind every hop, in order; a wish that
    excludes all of them fails.  ``grant=False`` leaves wishes to the test.
    ``pings`` are the keep-alives, which are no messages.
    """

    def __init__(
        self,
        transport: Transport = "udp",
        *,
        account: bool = True,
        asynchronous: bool = True,
        credentials: tuple[PasswordCredentials, ...] = (),
        policy: AuthPolicy = POLICY,
        servers: tuple[Address, ...] = (SERVER,),
        registrar: str | None = None,
        proxy: str | None = None,
        expires: int = 600,
        config: dict[str, Any] | None = None,
        profile: dict[str, Any] | None = None,
    ) -> None:
        self.engine = Engine(EngineConfig(random=counting(), **{"accept_calls": "any", **(config or {})}))
        self.clock = 1000.0
        self.engine.now = self.clock
        self.transport: Transport = transport
        self.servers = servers
        self.local = LOCAL
        self.grant = True
        self.flows: dict[tuple[str, Address], Flow] = {}
        self.events: list[Any] = []
        self.sent: list[Heard] = []
        self.sent_over: list[Flow] = []
        self.pings: list[tuple[float, Flow, bytes]] = []
        self.taken = 0
        self.session = AuthSession(credentials, asynchronous=asynchronous, policy=policy, random=counting())
        if account:
            tls = transport == "tls"
            self.profile = AccountProfile(
                name="work",
                aor=SipUri.parse("sip:alice@example.com"),
                registrar=SipUri.parse(registrar or ("sip:example.com" + (f";transport={transport}" if tls else ""))),
                proxy=SipUri.parse(proxy) if proxy else None,
                contact_user="u7x",
                expires=expires,
                transport=transport,
                **(profile or {}),
            )
            self.engine.add_account(self.profile, self.session)
        self.pump()

    # -- flows ---------------------------------------------------------------------------------------

    def flow(
        self, address: Address = SERVER, transport: Transport | None = None, identity: str | None = "example.com"
    ) -> Flow:
        transport = transport or self.transport
        key = (transport, address)
        if key not in self.flows:
            self.flows[key] = Flow(
                len(self.flows) + 1, transport, self.local, address, identity if transport == "tls" else None
            )
        return self.flows[key]

    def drop(self, flow: Flow, why: str = "lost: the server closed the connection") -> None:
        self.flows = {key: known for key, known in self.flows.items() if known != flow}
        for _ in range(2):  # ids are never used again
            self.flows[("gone", ("", len(self.flows)))] = flow
        self.engine.flow_lost(flow, why, self.clock)
        self.pump()

    def seek(self) -> None:
        """Until the first REGISTER after a flow was lost: at most 2 s, for not all phones of a proxy come at once."""
        taken = len(self.sent)
        began = self.clock
        while len(self.sent) == taken:
            when = self.engine.next_timer()
            assert when is not None and when <= began + 2.0, "nothing is tried"
            self.run(when - self.clock)

    def _wish(self, wanted: events.FlowWanted) -> None:
        if not self.grant:
            return
        address: Address | None
        if ":" in wanted.hop.host or wanted.hop.host.replace(".", "").isdigit():
            candidates: tuple[Address, ...] = ((wanted.hop.host, wanted.hop.port or 5060),)
        else:
            candidates = self.servers
        address = next((a for a in candidates if a not in wanted.excluding), None)
        if address is None:
            self.engine.flow_failed(wanted.ticket, f"connect: no more servers for {wanted.hop}", self.clock)
        else:
            transport = wanted.hop.transport or self.transport
            self.engine.flow_ready(wanted.ticket, self.flow(address, transport, wanted.hop.domain), self.clock)

    # -- turns ---------------------------------------------------------------------------------------

    def pump(self) -> None:
        while True:
            for flow, data in self.engine.packets_to_send():
                if data == b"\r\n\r\n" or data[4:8] == b"\x21\x12\xa4\x42":
                    self.pings.append((self.clock, flow, data))
                    continue
                self.sent.append(Heard(data))
                self.sent_over.append(flow)
            event = self.engine.next_event()
            if event is None:
                return
            assert not (isinstance(event, events.ProtocolWarning) and event.code == "fault"), event
            self.events.append(event)
            if isinstance(event, events.FlowWanted):
                self._wish(event)

    def do(self, act: Callable[[], E]) -> E:
        """A command of the shell, in a turn of its own."""
        self.engine.now = self.clock
        result = act()
        self.pump()
        return result

    def deliver(self, data: bytes, flow: Flow | None = None) -> None:
        self.engine.receive(data, flow or self.flow(), self.clock)
        self.pump()

    def run(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.clock + seconds
        while (when := self.engine.next_timer()) is not None and when <= end:
            self.clock = max(self.clock, when)
            self.engine.handle_timer(self.clock)
            self.pump()
        self.clock = end
        self.engine.now = end

    def drain(self, limit: float = 4000.0) -> None:
        """Until no timer is armed: proves that everything ends."""
        end = self.clock + limit
        while (when := self.engine.next_timer()) is not None:
            assert when <= end, f"a timer is armed for {when - self.clock:.0f} s from now"
            self.run(max(0.0, when - self.clock))

    # -- looking -------------------------------------------------------------------------------------

    def take(self) -> list[Heard]:
        """What went out since the last call."""
        new, self.taken = self.sent[self.taken :], len(self.sent)
        return new

    def one(self) -> Heard:
        (only,) = self.take()
        return only

    def silent(self) -> bool:
        return not self.take()

    def told(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def last(self, kind: type[E]) -> E:
        return self.told(kind)[-1]

    # -- secrets that come late ------------------------------------------------------------------------

    @property
    def token(self) -> ChallengeToken:
        return self.last(AuthChallenged).token

    def respond(self, *credentials: PasswordCredentials, token: ChallengeToken | None = None) -> None:
        token = token or self.token

        def answer() -> None:
            plan = self.session.reinit_request(token, credentials or (password(),))
            assert plan is not None
            self.session.send_request(token, plan)

        self.do(answer)

    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.told(AuthSettled)]

    # -- calls -----------------------------------------------------------------------------------------

    def register(self, gate: Gate, **options: Any) -> Any:
        """Bound, with the password given at once."""
        registration = self.do(lambda: self.engine.register("work", **options))
        self.deliver(gate.ask(self.one()))
        if gate.nonces and self.session.asynchronous:
            self.respond()
        request = self.one()
        assert gate.admits(request)
        self.deliver(response(request, 200, "OK", f"Contact: {request.header('contact')}"))
        return registration

    def call(self, target: str = "sip:bob@example.com", sdp: bytes | None = OFFER) -> Any:
        return self.do(lambda: self.engine.invite("work", SipUri.parse(target), sdp))

    def has_asked(self, *realms: str, flow: Flow | None = None) -> None:
        """Calls of ours before were asked for *realms* by this server, 401 and 407, and let in.

        So it may ask for them inside the calls that we make from now on (threat T01, ``Dialog.standing``).
        """
        asked = [Challenge("digest", realm, proxy=proxy) for realm in realms for proxy in (False, True)]
        self.session.pins.learn(asked, Origin.of(flow or self.flow(), bound=True), "INVITE")

    def established(self, *lines: str, contact: str = "<sip:bob@192.0.2.1:5060>") -> tuple[Any, Heard, Caller]:
        """An answered outgoing call, not the first one: the call, its INVITE, and the callee."""
        self.has_asked("example.com")
        call = self.call()
        invite = self.one()
        self.deliver(response(invite, 200, "OK", f"Contact: {contact}", *lines, body=ANSWER))
        assert self.one().method == "ACK"
        return call, invite, Caller.called(invite, transport=self.transport.upper())

    def answered(self, **options: Any) -> tuple[Any, Heard, Caller]:
        """An answered incoming call: the call, our 200, and the caller."""
        caller = Caller(transport=self.transport.upper(), **options)
        self.deliver(caller.request("INVITE", body=OFFER))
        call = self.last(events.CallIncoming).call
        self.do(lambda: call.accept(ANSWER))
        ok = self.take()[-1]
        caller.joins(ok)
        self.deliver(caller.request("ACK", cseq=caller.cseq))
        assert self.last(events.CallConfirmed).call is call
        self.take()
        return call, ok, caller
