"""Whatever comes in, in whatever order: the engine never raises, and in the end no timer and no object is left."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from sipcli.errors import LocalProtocolError
from sipcli.sip import events
from sipcli.sip.flow import Transport
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, OFFER, Caller, Gate, Heard, Wire, password, response

STATUSES = st.sampled_from(
    [100, 180, 183, 200, 200, 200, 202, 302, 400, 401, 403, 404, 407, 408, 423, 481, 486, 487, 491, 500, 503, 603]
)
METHODS = st.sampled_from(
    ["INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "INFO", "OPTIONS", "MESSAGE", "REFER", "PRACK", "NOTIFY"]
)
BOB = SipUri.parse("sip:bob@example.com")


class World(RuleBasedStateMachine):
    """A shell, a server and a caller who all act at random."""

    @initialize(transport=st.sampled_from(["udp", "tcp", "tls"]), servers=st.integers(0, 2))
    def begin(self, transport: Transport, servers: int) -> None:
        addresses = (("192.0.2.1", 5060), ("192.0.2.2", 5060))[:servers]
        self.wire = Wire(transport, servers=addresses, config={"ring_limit": 120.0})
        self.gates = {401: Gate(), 407: Gate("edge", proxy=True)}
        self.calls: list[Any] = []
        self.registrations: list[Any] = []
        self.callers: list[Caller] = []

    # -- the shell -----------------------------------------------------------------------------------

    def command(self, act: Any) -> Any:
        try:
            return self.wire.do(act)
        except LocalProtocolError:
            return None  # a verb out of place: refused, and nothing happened

    @rule(keep=st.booleans())
    def register(self, keep: bool) -> None:
        registration = self.command(lambda: self.wire.engine.register("work", keep=keep))
        if registration is not None:
            self.registrations.append(registration)

    @rule(verb=st.sampled_from(["refresh", "unregister"]))
    def registration_verb(self, verb: str) -> None:
        if self.registrations:
            self.command(getattr(self.registrations[-1], verb))

    @rule(late=st.booleans(), account=st.sampled_from(["work", None]))
    def invite(self, late: bool, account: str | None) -> None:
        call = self.command(lambda: self.wire.engine.invite(account, BOB, None if late else OFFER))
        if call is not None:
            self.calls.append(call)

    @rule(method=st.sampled_from(["MESSAGE", "OPTIONS", "SUBSCRIBE"]))
    def oneshot(self, method: str) -> None:
        self.command(lambda: self.wire.engine.request("work", method, BOB))

    @rule(
        which=st.integers(0, 5),
        verb=st.sampled_from(
            ["hangup", "reinvite", "ring", "accept", "reject", "answer", "refuse", "fresh", "info", "acknowledge"]
        ),
    )
    def call_verb(self, which: int, verb: str) -> None:
        calls = self.calls + [told.call for told in self.wire.told(events.CallIncoming)]
        if not calls:
            return
        call = calls[which % len(calls)]
        acts = {
            "reinvite": lambda: call.reinvite(OFFER),
            "accept": lambda: call.accept(ANSWER),
            "answer": lambda: call.answer_reinvite(ANSWER),
            "refuse": lambda: call.reject_reinvite(),
            "fresh": lambda: call.replace_offer(OFFER),
            "info": lambda: call.request("INFO"),
            "acknowledge": lambda: call.acknowledge(ANSWER),
            "ring": lambda: call.ring(),
            "reject": lambda: call.reject(),
            "hangup": lambda: call.hangup(),
        }
        try:
            self.command(acts[verb])
        except AttributeError as error:
            assert str(error).endswith(("'ring'", "'accept'", "'reject'", "'acknowledge'")), (
                error
            )  # the other kind of call

    @rule(how=st.sampled_from(["right", "wrong", "abandon", "decline"]))
    def decide(self, how: str) -> None:
        session = self.wire.session
        for token in session.pending[:1]:
            if how == "abandon":
                self.wire.do(lambda token=token: session.abandon(token))
            elif how == "decline":
                self.wire.do(lambda token=token: session.decline(token))
            else:
                plan = session.reinit_request(token, (password("wonderland" if how == "right" else "wrong"),))
                if plan is not None:
                    self.wire.do(lambda token=token, plan=plan: session.send_request(token, plan))

    # -- the world -------------------------------------------------------------------------------------

    @rule(
        which=st.integers(0, 4),
        status=STATUSES,
        tag=st.sampled_from(["peer", "fork"]),
        body=st.booleans(),
        stale=st.booleans(),
    )
    def answer_request(self, which: int, status: int, tag: str, body: bool, stale: bool) -> None:
        asked = [
            (h, f)
            for h, f in zip(self.wire.sent, self.wire.sent_over, strict=True)
            if not h.is_response and h.method != "ACK"
        ]
        if not asked:
            return
        request, flow = asked[-1 - which % len(asked)]
        lines = ["Contact: <sip:bob@192.0.2.1:5060>", "Min-Expires: 1200", "Record-Route: <sip:192.0.2.1;lr>"]
        if request.method == "REGISTER":
            lines[0] = f"Contact: {request.header('contact')}"
        if status in self.gates:
            data = self.gates[status].ask(request, stale=stale, to_tag=tag)
        else:
            data = response(request, status, "Whatever", *lines, to_tag=tag, body=ANSWER if body else b"")
        self.wire.deliver(data, flow)

    @rule(method=METHODS, body=st.booleans(), known=st.booleans(), branch=st.sampled_from([None, "z9hG4bK-same"]))
    def incoming(self, method: str, body: bool, known: bool, branch: str | None) -> None:
        if not (known and self.callers):
            caller = Caller(transport=self.wire.transport.upper(), call_id=f"c{len(self.callers)}")
            self.callers.append(caller)
        caller = self.callers[-1]
        cseq = caller.cseq if method in ("ACK", "CANCEL") else None
        self.wire.deliver(caller.request(method, cseq=cseq, branch=branch, body=OFFER if body else b""))
        ours = [h for h in self.wire.sent[-3:] if h.is_response and h.status != 400]
        answers = [h for h in ours if h.call_id == caller.call_id and h.to_tag]
        if answers:
            caller.to = answers[-1].header("to")

    @rule(method=METHODS, body=st.booleans())
    def incoming_in_our_call(self, method: str, body: bool) -> None:
        invites = [h for h in self.wire.sent if not h.is_response and h.method == "INVITE"]
        if invites:
            bob = Caller.called(invites[-1], transport=self.wire.transport.upper())
            bob.cseq += len(self.wire.sent)
            self.wire.deliver(bob.request(method, body=OFFER if body else b""))

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 5.0, 33.0, 200.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.wire.run(seconds)

    @rule()
    def connection_breaks(self) -> None:
        self.wire.drop(self.wire.flow())

    @rule(grant=st.booleans())
    def flows_are_granted(self, grant: bool) -> None:
        self.wire.grant = grant

    @rule(data=st.binary(max_size=200), at=st.integers(0, 400))
    def octets_are_damaged(self, data: bytes, at: int) -> None:
        base = self.wire.sent[-1].data if self.wire.sent else b"OPTIONS sip:a@b SIP/2.0\r\n"
        self.wire.deliver(base[:at] + data + base[at:])

    @rule()
    def account_is_removed_and_comes_back(self) -> None:
        self.wire.do(lambda: self.wire.engine.remove_account("work"))
        self.registrations.clear()
        self.wire.do(lambda: self.wire.engine.add_account(self.wire.profile, self.wire.session))

    # -- the end -----------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "wire"):
            return
        wire = self.wire
        wire.do(wire.engine.close)
        wire.drain()
        core = wire.engine._core
        assert not core.exchanges, core.exchanges
        assert not core.calls, core.calls
        assert not core.dialogs, core.dialogs
        assert not len(core.layer)
        assert not wire.session.pending
        assert not core.flows._wishes
        ended = [told.call for told in wire.told(events.CallEnded)]
        assert len(ended) == len(set(map(id, ended))), "a call ends once"
        begun = self.calls + [told.call for told in wire.told(events.CallIncoming)]
        assert {id(call) for call in begun} == {id(call) for call in ended}, "every call ends"
        for heard in wire.sent:
            self.check(heard)

    def check(self, heard: Heard) -> None:
        """What goes out is whole, whatever came in; only a 400 repeats no more than could be read."""
        if heard.is_response and heard.status == 400:
            return
        for name in ("via", "from", "to", "call-id", "cseq"):
            assert heard.has(name), heard
        if not heard.is_response:
            assert heard.branch.startswith("z9hG4bK")
            assert heard.has("max-forwards")


World.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
TestWorld = World.TestCase
