"""Outgoing calls that are never up: hung up, refused, or not answered (RFC 3261 sections 9.1, 13.2.2; A19, B09)."""

from __future__ import annotations

import pytest

from sipcli.errors import TokenSpent
from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged
from sipcli.sip.calls.indialog import CallState
from tests.support.pair import ANSWER, Gate, Wire, response

BOB = "Contact: <sip:bob@192.0.2.1:5060>"


def test_a19_hang_up_while_challenged_puts_nothing_on_the_wire() -> None:
    wire, gate = Wire(), Gate()
    call = wire.call()
    wire.deliver(gate.ask(wire.one()))
    assert wire.one().method == "ACK"
    token = wire.token
    wire.do(call.hangup)
    assert wire.silent()
    ended = wire.last(events.CallEnded)
    assert (ended.by, ended.code, ended.why) == ("local", None, None)
    assert wire.outcomes() == ["revoked"]
    with pytest.raises(TokenSpent):
        wire.respond(token=token)
    wire.run(100)
    assert wire.silent(), "no ghost call"
    wire.drain()


def test_hang_up_before_the_flow_is_there() -> None:
    wire = Wire()
    wire.grant = False
    call = wire.call()
    wire.do(call.hangup)
    wanted = wire.last(events.FlowWanted)
    wire.do(lambda: wire.engine.flow_ready(wanted.ticket, wire.flow(), wire.clock))
    assert wire.silent()
    assert wire.last(events.CallEnded).by == "local"
    wire.drain()


def test_b09_cancel_waits_for_the_first_provisional_response() -> None:
    wire = Wire()
    call = wire.call()
    invite = wire.one()
    wire.do(call.hangup)
    assert wire.silent()
    assert call.state is CallState.CANCEL_WANTED
    wire.deliver(response(invite, 100, "Trying", to_tag=None))
    cancel = wire.one()
    assert cancel.start == "CANCEL sip:bob@example.com SIP/2.0"
    for name in ("via", "from", "to", "call-id"):
        assert cancel.header(name) == invite.header(name)
    assert cancel.cseq == invite.cseq
    assert not cancel.has("require")
    wire.deliver(response(cancel, 200, "OK"))
    wire.deliver(response(invite, 487, "Request Terminated"))
    assert wire.one().method == "ACK"
    ended = wire.last(events.CallEnded)
    assert (ended.by, ended.code) == ("local", 487)
    wire.drain()


def test_b09_cancel_of_an_early_call() -> None:
    wire = Wire()
    call = wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", BOB))
    wire.do(call.hangup)
    wire.do(call.hangup)
    assert wire.one().method == "CANCEL"
    wire.deliver(response(invite, 487, "Request Terminated"))
    assert len(wire.told(events.CallEnded)) == 1
    wire.drain()


def test_b09_nobody_answers_the_cancel_and_the_call_is_dropped() -> None:
    wire = Wire()
    call = wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", BOB))
    wire.do(call.hangup)
    wire.run(33)
    assert wire.last(events.CallEnded).by == "local"
    wire.drain()


def test_b09_the_200_wins_the_race_against_cancel() -> None:
    wire = Wire()
    call = wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", BOB))
    wire.do(call.hangup)
    assert wire.one().method == "CANCEL"
    wire.deliver(response(invite, 200, "OK", BOB, body=ANSWER))
    ack, bye = wire.take()
    assert (ack.method, bye.method) == ("ACK", "BYE")
    assert not wire.told(events.CallAnswered)
    wire.deliver(response(bye, 200, "OK"))
    assert wire.last(events.CallEnded).by == "local"
    wire.drain()


def test_b09_the_200_comes_before_the_cancel_could_go_out() -> None:
    wire = Wire()
    call = wire.call()
    invite = wire.one()
    wire.do(call.hangup)
    wire.deliver(response(invite, 200, "OK", BOB, body=ANSWER))
    assert [heard.method for heard in wire.take()] == ["ACK", "BYE"]


def test_a_challenge_after_hang_up_is_not_answered() -> None:
    wire, gate = Wire(), Gate()
    call = wire.call()
    invite = wire.one()
    wire.do(call.hangup)
    wire.deliver(gate.ask(invite))
    assert wire.one().method == "ACK"
    assert not wire.told(AuthChallenged)
    assert wire.last(events.CallEnded).by == "local"
    wire.drain()


def test_a17_a_challenge_to_the_cancel_is_ignored() -> None:
    wire, gate = Wire(), Gate()
    call = wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", BOB))
    wire.do(call.hangup)
    cancel = wire.one()
    wire.deliver(gate.ask(cancel))
    assert not wire.told(AuthChallenged)
    assert wire.silent()
    wire.deliver(response(invite, 487, "Request Terminated"))
    wire.drain()


def test_nobody_answers_and_timer_b_ends_it() -> None:
    wire = Wire()
    wire.call()
    wire.run(32.1)
    assert len(wire.take()) == 7
    ended = wire.last(events.CallEnded)
    assert ended.by == "network"
    assert str(ended.why).startswith("timeout:")
    wire.drain()


def test_it_rings_for_ever_and_the_limit_ends_it() -> None:
    wire = Wire(config={"ring_limit": 90.0})
    wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", BOB))
    wire.run(89.9)
    assert wire.silent()
    wire.run(0.2)
    assert wire.one().method == "CANCEL"
    wire.deliver(response(invite, 487, "Request Terminated"))
    assert wire.told(events.CallEnded)
    wire.drain()


@pytest.mark.parametrize(
    ("code", "reason"), [(486, "Busy Here"), (603, "Decline"), (404, "Not Found"), (302, "Moved"), (488, "No")]
)
def test_T22_refusals_end_the_call_with_their_code(code: int, reason: str) -> None:
    wire = Wire()
    wire.call()
    wire.deliver(response(wire.one(), code, reason, "Contact: <sip:carol@elsewhere.example>"))
    assert wire.one().method == "ACK"
    ended = wire.last(events.CallEnded)
    assert (ended.by, ended.code, ended.reason) == ("remote", code, reason)
    wire.drain()
    assert wire.silent(), "T22: nobody is followed"
