"""Shared and private auth sessions (PJSIP's ``use_shared_auth``): what goes along, and what stays."""

from __future__ import annotations

from typing import Any

from sipcli.sip.auth import AuthChallenged, AuthSession, ChallengeToken
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, OFFER, Gate, Heard, Wire, password, response

BOB = SipUri.parse("sip:bob@example.com")
CONTACT = "Contact: <sip:bob@192.0.2.1:5060>"


def message(wire: Wire, *, shared: bool | None = None) -> Heard:
    wire.do(lambda: wire.engine.request("work", "MESSAGE", BOB, shared_auth=shared))
    return wire.one()


def succeed(wire: Wire, request: Heard) -> None:
    body = ANSWER if request.method == "INVITE" else b""
    wire.deliver(response(request, 200, "OK", CONTACT, body=body))


def answer_privately(wire: Wire, session: AuthSession, token: ChallengeToken) -> None:
    plan = session.reinit_request(token, (password(),))
    assert plan is not None
    wire.do(lambda: session.send_request(token, plan))


def test_A18_a_private_session_takes_no_accepted_nonce_along_and_leaves_none() -> None:
    wire, gate = Wire(), Gate()
    wire.deliver(gate.ask(message(wire)))
    wire.respond()
    succeed(wire, wire.one())
    assert gate.admits(message(wire)), "the shared session goes on with the nonce that was accepted"
    private = message(wire, shared=False)
    assert not private.has("authorization")
    wire.deliver(gate.ask(private))
    session, token = wire.last(AuthChallenged)
    assert session is not wire.session
    assert wire.session.pending == ()
    assert session.pending == (token,)
    answer_privately(wire, session, token)
    again = wire.one()
    assert gate.admits(again)
    succeed(wire, again)
    assert not message(wire, shared=False).has("authorization")
    following = message(wire)
    assert gate.answer(following)["nonce"] == "nonce-example.com-1", "and the shared one with its own"  # type: ignore[index]


def test_A13_a_private_session_counts_a_common_nonce_with_the_others() -> None:
    wire, gate = Wire(credentials=(password(),), asynchronous=False), Gate()
    for shared in (True, False, True, False):
        wire.deliver(gate.ask(message(wire, shared=shared), nonce="one-for-all"))
        again = wire.one()
        assert gate.admits(again), "the account's own credentials are common"
    assert [int(nc.partition("/")[2], 16) for nc in gate.seen] == [1, 2, 3, 4]


def test_pins_are_common_to_private_and_shared_sessions() -> None:
    wire = Wire()
    private = wire.session.private()
    assert private.pins is wire.session.pins
    assert private.credentials == wire.session.credentials


def private_call(wire: Wire, gate: Gate) -> tuple[Any, AuthSession]:
    """A call with an auth session of its own, whose INVITE *gate* has challenged and the answer is on its way."""
    call = wire.do(lambda: wire.engine.invite("work", BOB, OFFER, shared_auth=False))
    wire.deliver(gate.ask(wire.one()))
    wire.take()
    session, token = wire.last(AuthChallenged)
    answer_privately(wire, session, token)
    return call, session


def test_A18_a_private_call_keeps_its_session_for_all_its_requests() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    call, session = private_call(wire, gate)
    succeed(wire, wire.one())
    wire.take()
    wire.do(lambda: call.request("INFO"))
    assert gate.admits(wire.one()), "its nonce goes along inside the call"
    wire.do(lambda: call.reinvite(OFFER))
    reinvite = wire.one()
    wire.deliver(gate.ask(reinvite, stale=True))
    retry = [heard for heard in wire.take() if heard.method == "INVITE"][-1]
    assert gate.admits(retry)
    wire.do(call.hangup)
    assert {event.session for event in wire.told(AuthChallenged)} == {session}


def test_A18_a_private_call_keeps_its_session_for_what_rings() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    _, session = private_call(wire, gate)
    wire.deliver(response(wire.one(), 183, "Session Progress", CONTACT, "Require: 100rel", "RSeq: 1", body=ANSWER))
    prack = wire.one()
    assert prack.method == "PRACK"
    wire.deliver(gate.ask(prack))
    assert len(wire.told(AuthChallenged)) == 2
    assert {event.session for event in wire.told(AuthChallenged)} == {session}


def test_A27_a_private_challenge_ends_with_its_account() -> None:
    wire, gate = Wire(), Gate()
    wire.deliver(gate.ask(message(wire, shared=False)))
    token = wire.token
    wire.do(lambda: wire.engine.remove_account("work"))
    assert not token.live
    assert wire.outcomes() == ["revoked"]
