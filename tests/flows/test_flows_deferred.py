"""The whole matrix: six methods, three transports, three waits, four ways a server asks (A01-A07, A24)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthAccepted, AuthChallenged, AuthRejected
from sipcli.sip.flow import Transport
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, OFFER, Gate, Heard, Wire, password, response

BOB = SipUri.parse("sip:bob@example.com")


@dataclass
class Deed:
    """One request that is to be deferred: how it comes about, and how one sees that it succeeded."""

    method: str
    begin: Callable[[Wire], Any]
    done: Callable[[Wire], bool]


def in_call(act: Callable[[Any], Any]) -> Callable[[Wire], Any]:
    def begin(wire: Wire) -> Any:
        call, _, _ = wire.established()
        return wire.do(lambda: act(call))

    return begin


def finished(wire: Wire) -> bool:
    told = wire.told(events.RequestDone)
    return len(told) == 1 and told[0].response is not None and told[0].response.status == 200


DEEDS = {
    "REGISTER": Deed(
        "REGISTER",
        lambda wire: wire.do(lambda: wire.engine.register("work")),
        lambda wire: wire.last(events.RegistrationChanged).state == "registered",
    ),
    "INVITE": Deed("INVITE", lambda wire: wire.call(), lambda wire: len(wire.told(events.CallAnswered)) == 1),
    "re-INVITE": Deed(
        "INVITE",
        in_call(lambda call: call.reinvite(OFFER)),
        lambda wire: [told.sdp for told in wire.told(events.CallReanswered)] == [ANSWER],
    ),
    "BYE": Deed(
        "BYE",
        in_call(lambda call: call.hangup()),
        lambda wire: [told.why for told in wire.told(events.CallEnded)] == [None],
    ),
    "MESSAGE": Deed("MESSAGE", lambda wire: wire.do(lambda: wire.engine.message("work", BOB, b"hello")), finished),
    "OPTIONS": Deed("OPTIONS", lambda wire: wire.do(lambda: wire.engine.options("work", BOB)), finished),
    "INFO": Deed("INFO", in_call(lambda call: call.request("INFO")), finished),
    "UPDATE": Deed("UPDATE", in_call(lambda call: call.request("UPDATE")), finished),
}


def asked(wire: Wire, method: str) -> Heard:
    """The request that went out last; an INVITE's ACKs are let go."""
    return [heard for heard in wire.take() if not heard.is_response and heard.method == method][-1]


def wait(wire: Wire, seconds: float) -> None:
    """The provider takes its time, and the wire stays silent: no transaction runs."""
    wire.take()
    if seconds > 40 and wire.transport == "udp":
        wire.run(40)
        assert wire.silent()
        seconds -= 40
    wire.run(seconds)
    assert wire.silent()


def succeed(wire: Wire, deed: Deed, request: Heard) -> None:
    contact = request.header("contact") if request.has("contact") else "<sip:bob@192.0.2.1:5060>"
    body = ANSWER if deed.method == "INVITE" else b""
    wire.deliver(response(request, 200, "OK", f"Contact: {contact.partition(';expires')[0]}", body=body))


@pytest.mark.parametrize("delay", [0.0, 40.0, 100.0])
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("name", DEEDS)
class TestDeferred:
    def test_401(self, name: str, transport: Transport, delay: float) -> None:
        deed, wire, gate = DEEDS[name], Wire(transport), Gate()
        deed.begin(wire)
        first = asked(wire, deed.method)
        assert first.header("via").startswith(f"SIP/2.0/{transport.upper()} ")
        wire.deliver(gate.ask(first))
        wait(wire, delay)
        wire.respond()
        second = asked(wire, deed.method)
        assert (second.call_id, second.from_tag, second.body) == (first.call_id, first.from_tag, first.body)
        assert second.to_tag == first.to_tag
        assert second.cseq == first.cseq + 1
        assert second.branch != first.branch
        assert gate.admits(second)
        succeed(wire, deed, second)
        assert deed.done(wire)
        assert [event.used[0][0] for event in wire.told(AuthAccepted)] == [gate.realm]

    def test_407_and_then_401(self, name: str, transport: Transport, delay: float) -> None:
        deed, wire = DEEDS[name], Wire(transport)
        edge, home = Gate("edge", proxy=True, algorithm="MD5"), Gate()
        wire.has_asked("edge", home.realm)
        deed.begin(wire)
        for gate in (edge, home):
            wire.deliver(gate.ask(asked(wire, deed.method)))
            wait(wire, delay)
            wire.respond()
        request = asked(wire, deed.method)
        assert edge.admits(request)
        assert home.admits(request)
        succeed(wire, deed, request)
        assert deed.done(wire)

    def test_stale(self, name: str, transport: Transport, delay: float) -> None:
        deed, wire, gate = DEEDS[name], Wire(transport), Gate()
        deed.begin(wire)
        wire.deliver(gate.ask(asked(wire, deed.method)))
        wait(wire, delay)
        wire.respond()
        wire.deliver(gate.ask(asked(wire, deed.method), stale=True))
        request = asked(wire, deed.method)
        assert gate.admits(request)
        assert len(wire.told(AuthChallenged)) == 1, "nobody is asked twice for the same secret"
        succeed(wire, deed, request)
        assert deed.done(wire)

    def test_wrong_and_then_right(self, name: str, transport: Transport, delay: float) -> None:
        deed, wire, gate = DEEDS[name], Wire(transport), Gate()
        deed.begin(wire)
        wire.deliver(gate.ask(asked(wire, deed.method)))
        wait(wire, delay)
        wire.respond(password("wrong"))
        refused = asked(wire, deed.method)
        assert not gate.admits(refused)
        wire.deliver(gate.ask(refused))
        if delay > 20:  # so late an answer may have met an expired nonce: the same secret gets one more chance
            again = asked(wire, deed.method)
            assert not gate.admits(again)
            wire.deliver(gate.ask(again))
        assert len(wire.told(AuthRejected)) == 1
        wait(wire, delay)
        wire.respond()
        request = asked(wire, deed.method)
        assert gate.admits(request)
        succeed(wire, deed, request)
        assert deed.done(wire)

    def test_abandoned(self, name: str, transport: Transport, delay: float) -> None:
        deed, wire, gate = DEEDS[name], Wire(transport), Gate()
        deed.begin(wire)
        wire.deliver(gate.ask(asked(wire, deed.method)))
        wait(wire, delay)
        wire.do(lambda: wire.session.abandon(wire.token))
        assert wire.silent()
        assert not deed.done(wire)
        wire.do(wire.engine.close)
        wire.drain()


def test_the_broker_learns_that_a_teardown_may_not_prompt() -> None:
    wire, gate = Wire(), Gate()
    DEEDS["BYE"].begin(wire)
    wire.deliver(gate.ask(asked(wire, "BYE")))
    assert wire.token.exchange.interactive is False
    wire = Wire()
    DEEDS["MESSAGE"].begin(wire)
    wire.deliver(gate.ask(asked(wire, "MESSAGE")))
    assert wire.token.exchange.interactive is True


def test_a_subscription_gives_up_after_timer_n() -> None:
    """A23: a secret that comes later than 64*T1 serves no SUBSCRIBE."""
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.request("work", "SUBSCRIBE", BOB, (("Event", "message-summary"),)))
    wire.run(2)
    wire.deliver(gate.ask(asked(wire, "SUBSCRIBE")))
    wire.run(29.9)
    assert wire.token.live
    wire.run(0.2)
    assert not wire.token.live
    assert wire.last(events.RequestDone).why is not None
    assert wire.outcomes() == ["expired"]


def test_pending_challenges_cost_no_timer_but_their_ceiling() -> None:
    wire, gate = Wire(), Gate()
    DEEDS["REGISTER"].begin(wire)
    wire.deliver(gate.ask(asked(wire, "REGISTER")))
    wire.run(6)  # Timer K
    assert wire.engine.next_timer() == pytest.approx(1000 + 180)


@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "SUBSCRIBE", "PUBLISH", "NOTIFY", "REFER", "INFO", "X-OWN"])
@pytest.mark.parametrize("inside", [False, True])
def test_a24_the_hook_works_for_every_method_in_and_out_of_a_dialog(method: str, inside: bool) -> None:
    wire, gate = Wire(), Gate(proxy=True)
    if inside:
        call, _, _ = wire.established()
        wire.do(lambda: call.request(method))
    else:
        wire.do(lambda: wire.engine.request("work", method, BOB))
    wire.deliver(gate.ask(asked(wire, method)))
    wire.run(20)
    wire.respond()
    request = asked(wire, method)
    assert (request.to_tag is not None) is inside
    assert gate.admits(request)
    succeed(wire, Deed(method, lambda wire: None, finished), request)
    assert finished(wire)
