"""Outgoing calls, ladder by ladder: challenged, answered, ended (RFC 3261 sections 13.2, 15; A01, A17, B07, B10)."""

from __future__ import annotations

import pytest

from sipcli.errors import LocalProtocolError
from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged, GiveUp
from sipcli.sip.calls.indialog import CallState
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, OFFER, Caller, Gate, Wire, response

BOB = "Contact: <sip:bob@192.0.2.1:5060>"


def test_a_call_is_answered_and_hung_up() -> None:
    wire = Wire()
    call = wire.call()
    invite = wire.one()
    assert invite.start == "INVITE sip:bob@example.com SIP/2.0"
    assert invite.body == OFFER
    assert invite.header("content-type") == "application/sdp"
    assert invite.contact == "sip:u7x@192.0.2.99:5062"
    wire.deliver(response(invite, 100, "Trying", to_tag=None))
    wire.deliver(response(invite, 180, "Ringing", BOB))
    wire.deliver(response(invite, 183, "Session Progress", BOB, body=ANSWER))
    assert [event.state for event in wire.told(events.CallProgress)] == ["trying", "ringing", "early"]
    assert wire.last(events.CallProgress).sdp == ANSWER
    wire.deliver(response(invite, 200, "OK", BOB, body=ANSWER))
    assert wire.last(events.CallAnswered).sdp == ANSWER
    assert wire.engine._core.wheel.armed(call) == {}, "it rings no more"
    ack = wire.one()
    assert ack.start == "ACK sip:bob@192.0.2.1:5060 SIP/2.0"
    assert ack.header("cseq") == f"{invite.cseq} ACK"
    assert ack.branch != invite.branch
    assert ack.to_tag == "peer"
    wire.do(call.hangup)
    bye = wire.one()
    assert bye.start == "BYE sip:bob@192.0.2.1:5060 SIP/2.0"
    assert bye.cseq == invite.cseq + 1
    assert (bye.from_tag, bye.to_tag) == (invite.from_tag, "peer")
    assert call.state is CallState.ENDING
    wire.deliver(response(bye, 200, "OK"))
    ended = wire.last(events.CallEnded)
    assert (ended.call, ended.by, ended.why) == (call, "local", None)
    wire.drain()


def test_a01_the_401_is_acknowledged_at_once_however_long_the_provider_takes() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    wire.call()
    invite = wire.one()
    wire.deliver(gate.ask(invite, to_tag="gatetag"))
    ack = wire.one()
    assert ack.method == "ACK"
    assert ack.branch == invite.branch
    assert ack.uri == invite.uri
    assert ack.cseq == invite.cseq
    assert ack.to_tag == "gatetag"
    for _ in range(5):
        wire.deliver(gate.ask(invite, to_tag="gatetag", nonce="again"))
    assert [heard.method for heard in wire.take()] == ["ACK"] * 5
    assert len(wire.told(AuthChallenged)) == 1
    wire.run(120)
    assert wire.silent()
    wire.respond()
    retry = wire.one()
    assert retry.to_tag is None
    assert retry.call_id == invite.call_id
    assert retry.body == OFFER
    assert gate.admits(retry)


def test_a17_the_ack_to_the_2xx_repeats_the_credentials() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    wire.call()
    wire.deliver(gate.ask(wire.one()))
    wire.take()
    wire.respond()
    invite = wire.one()
    wire.deliver(response(invite, 200, "OK", BOB, body=ANSWER))
    ack = wire.one()
    assert ack.header("proxy-authorization") == invite.header("proxy-authorization")
    assert ack.cseq == invite.cseq, "what it acknowledges was sent under that number"


def test_a17_t01_but_never_to_another_server_than_they_were_meant_for() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    wire.call()
    wire.deliver(gate.ask(wire.one()))
    wire.take()
    wire.respond()
    wire.deliver(response(wire.one(), 200, "OK", "Contact: <sip:bob@203.0.113.66:5066>", body=ANSWER))
    ack = wire.one()
    assert wire.sent_over[-1].remote == ("203.0.113.66", 5066)
    assert not ack.has("proxy-authorization")


def test_a07_407_and_401_are_answered_one_after_the_other_and_both_kept() -> None:
    wire = Wire()
    edge, home = Gate("edge.example.com", proxy=True), Gate("example.com")
    wire.call()
    wire.deliver(edge.ask(wire.one()))
    wire.take()
    wire.respond()
    second = wire.one()
    assert edge.admits(second)
    wire.deliver(home.ask(second))
    assert wire.one().method == "ACK"
    state = wire.token.realms["example.com"]
    assert (state.attempt, state.rejected) == (1, ())
    wire.respond()
    third = wire.one()
    assert third.cseq == second.cseq + 1
    assert home.admits(third)
    assert edge.admits(third)


def test_a07_a_fork_asks_in_two_realms_at_once_and_gets_one_retry() -> None:
    wire = Wire()
    edge, home = Gate("edge.example.com", proxy=True), Gate("example.com")
    wire.call()
    wire.deliver(edge.ask(wire.one(), home.header()))
    wire.take()
    assert set(wire.token.realms) == {"edge.example.com", "example.com"}
    wire.respond()
    retry = wire.one()
    assert edge.admits(retry)
    assert home.admits(retry)


def test_a25_401_after_a_provisional_response_works() -> None:
    wire, gate = Wire(), Gate()
    call = wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", BOB))
    wire.deliver(gate.ask(invite))
    wire.take()
    wire.respond()
    retry = wire.one()
    assert gate.admits(retry)
    wire.deliver(response(retry, 200, "OK", BOB, body=ANSWER))
    assert call.state is CallState.CONFIRMED


# -- hanging up ----------------------------------------------------------------------------------------
# -- 2xx ---------------------------------------------------------------------------------------------


def test_b07_each_repeated_2xx_is_acknowledged_again() -> None:
    wire = Wire()
    wire.call()
    invite = wire.one()
    ok = response(invite, 200, "OK", BOB, body=ANSWER)
    wire.deliver(ok)
    first = wire.one()
    for _ in range(3):
        wire.deliver(ok)
    assert [heard.data for heard in wire.take()] == [first.data] * 3
    assert len(wire.told(events.CallAnswered)) == 1
    wire.run(40)  # Timer M is over: no transaction takes it any more
    wire.deliver(ok)
    assert wire.one().data == first.data


def test_b07_surplus_forks_are_acknowledged_and_sent_away() -> None:
    wire = Wire()
    call = wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", BOB, to_tag="one"))
    wire.deliver(response(invite, 180, "Ringing", "Contact: <sip:bob@192.0.2.1:5070>", to_tag="two"))
    wire.deliver(response(invite, 200, "OK", BOB, to_tag="one", body=ANSWER))
    assert wire.one().to_tag == "one"
    second = response(invite, 200, "OK", "Contact: <sip:bob@192.0.2.1:5070>", to_tag="two", body=ANSWER)
    wire.deliver(second)
    ack, bye = wire.take()
    assert (ack.method, ack.to_tag, ack.uri) == ("ACK", "two", "sip:bob@192.0.2.1:5070")
    assert (bye.method, bye.to_tag, bye.cseq) == ("BYE", "two", invite.cseq + 1)
    wire.deliver(second)
    assert wire.one().data == ack.data
    assert call.state is CallState.CONFIRMED
    assert len(wire.told(events.CallAnswered)) == 1
    wire.deliver(response(bye, 200, "OK"))
    wire.do(call.hangup)
    assert wire.one().to_tag == "one"


def test_b10_the_route_set_is_reversed_and_followed() -> None:
    wire = Wire()
    call, _, _ = wire.established("Record-Route: <sip:near.example.com;lr>", "Record-Route: <sip:192.0.2.1;lr>")
    assert wire.sent[-1].all("route") == ["<sip:192.0.2.1;lr>", "<sip:near.example.com;lr>"]
    wire.do(call.hangup)
    bye = wire.one()
    assert bye.all("route") == ["<sip:192.0.2.1;lr>", "<sip:near.example.com;lr>"]
    assert bye.uri == "sip:bob@192.0.2.1:5060"


def test_b10_a_strict_router_takes_the_request_uri() -> None:
    wire = Wire()
    call, _, _ = wire.established("Record-Route: <sip:far.example.com;lr>, <sip:192.0.2.1:5060>")
    wire.do(call.hangup)
    bye = wire.one()
    assert bye.uri == "sip:192.0.2.1:5060"
    assert bye.all("route") == ["<sip:far.example.com;lr>", "<sip:bob@192.0.2.1:5060>"]


def test_a_connection_serves_again_where_the_route_names_its_other_end() -> None:
    wire = Wire("tcp")
    call, _, _ = wire.established("Record-Route: <sip:192.0.2.1;transport=tcp;lr>")
    wire.do(call.hangup)
    assert len(wire.told(events.FlowWanted)) == 1
    assert {flow.id for flow in wire.sent_over} == {wire.flow().id}


def test_a_late_offer_is_answered_in_the_ack() -> None:
    wire = Wire()
    call = wire.call(sdp=None)
    invite = wire.one()
    assert invite.body == b""
    assert not invite.has("content-type")
    wire.deliver(response(invite, 200, "OK", BOB, body=OFFER))
    assert wire.silent()
    assert wire.last(events.CallAnswered).sdp == OFFER
    wire.do(lambda: call.acknowledge(ANSWER))
    ack = wire.one()
    assert (ack.method, ack.body, ack.header("content-type")) == ("ACK", ANSWER, "application/sdp")


def test_a_late_offer_that_nobody_answers_ends_the_call() -> None:
    wire = Wire()
    wire.call(sdp=None)
    wire.deliver(response(wire.one(), 200, "OK", BOB, body=OFFER))
    wire.run(21)
    assert [heard.method for heard in wire.take()][:2] == ["ACK", "BYE"]


def test_the_caller_hangs_up_first() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(bob.request("BYE"))
    assert wire.one().status == 200
    ended = wire.last(events.CallEnded)
    assert (ended.call, ended.by) == (call, "remote")
    wire.deliver(bob.request("BYE"))
    assert wire.one().status == 481
    wire.drain()


def test_both_hang_up_at_once() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.do(call.hangup)
    bye = wire.one()
    wire.deliver(bob.request("BYE"))
    assert wire.one().status == 200
    assert len(wire.told(events.CallEnded)) == 1
    wire.deliver(response(bye, 481, "Call Does Not Exist"))
    wire.drain()
    assert len(wire.told(events.CallEnded)) == 1


def test_nobody_answers_the_bye() -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.do(call.hangup)
    wire.run(33)
    assert wire.last(events.CallEnded).by == "local"
    wire.drain()


def test_a_bye_that_is_challenged_is_answered_from_what_is_known() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    call = wire.call()
    wire.deliver(gate.ask(wire.one()))
    wire.respond()
    invite = wire.take()[-1]
    wire.deliver(response(invite, 200, "OK", BOB, body=ANSWER))
    wire.take()
    wire.do(call.hangup)
    bye = wire.one()
    assert gate.admits(bye), "RFC 3261 section 22.3: the same Call-ID takes its proxy credentials along"
    wire.deliver(gate.ask(bye, stale=True))
    again = wire.one()
    assert again.cseq == bye.cseq + 1
    assert gate.admits(again)


def test_t01_a_bye_challenged_by_the_other_phone_gets_no_digest_and_asks_nobody() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    call, _, _ = wire.established(contact="<sip:mallory@203.0.113.66:5066>")
    wire.do(call.hangup)
    bye = wire.one()
    assert wire.sent_over[-1].remote == ("203.0.113.66", 5066)
    wire.deliver(gate.ask(bye), wire.sent_over[-1])
    assert wire.silent()
    assert not wire.told(AuthChallenged)
    assert wire.last(events.CallEnded).why is GiveUp.FOREIGN_ORIGIN
    wire.drain()


def test_t28_a_challenge_from_elsewhere_than_the_request_went_is_foreign() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    wire.call()
    wire.deliver(gate.ask(wire.one()), wire.flow(("203.0.113.66", 5066)))
    assert not wire.told(AuthChallenged)
    assert wire.last(events.CallEnded).why is GiveUp.FOREIGN_ORIGIN


def test_b13_a_large_invite_goes_by_tcp_and_back_to_udp_when_that_is_refused() -> None:
    wire = Wire(account=False)
    wire.do(lambda: wire.engine.invite(None, SipUri.parse("sip:bob@big.example"), OFFER * 12))
    wanted = wire.last(events.FlowWanted)
    assert wanted.size > 1300
    assert wanted.hop.transport == "tcp"
    assert wire.one().header("via").startswith("SIP/2.0/TCP ")


def test_b13_tcp_is_refused() -> None:
    wire = Wire(account=False)
    wire.grant = False
    wire.do(lambda: wire.engine.invite(None, SipUri.parse("sip:bob@big.example"), OFFER * 12))
    wanted = wire.last(events.FlowWanted)
    wire.grant = True
    wire.do(lambda: wire.engine.flow_failed(wanted.ticket, "connect: refused", wire.clock))
    assert wire.last(events.FlowWanted).hop.transport is None
    assert wire.one().header("via").startswith("SIP/2.0/UDP ")
    wire.do(lambda: wire.engine.invite(None, SipUri.parse("sip:bob@big.example"), OFFER * 12))
    assert wire.one().header("via").startswith("SIP/2.0/UDP "), "once refused is enough"


def test_c01_an_invite_fails_over_with_a_new_branch() -> None:
    wire = Wire(servers=(("192.0.2.1", 5060), ("192.0.2.2", 5060)))
    wire.call()
    first = wire.one()
    wire.deliver(response(first, 503, "Service Unavailable"))
    ack, second = wire.take()
    assert (ack.method, second.method) == ("ACK", "INVITE")
    assert second.branch != first.branch
    assert wire.sent_over[-2].remote == ("192.0.2.1", 5060)
    assert wire.sent_over[-1].remote == ("192.0.2.2", 5060)


def test_c01_the_connection_breaks_while_it_rings() -> None:
    wire = Wire("tcp")
    wire.call("sip:bob@192.0.2.1")
    wire.deliver(response(wire.one(), 180, "Ringing", BOB))
    wire.drop(wire.flow())
    ended = wire.last(events.CallEnded)
    assert (ended.by, str(ended.why)[:5]) == ("network", "lost:")
    wire.drain()


def test_an_invite_without_an_account_and_a_challenge() -> None:
    wire, gate = Wire(account=False), Gate()
    wire.do(lambda: wire.engine.invite(None, SipUri.parse("sip:bob@192.0.2.1"), OFFER))
    wire.deliver(gate.ask(wire.one()))
    assert wire.last(events.CallEnded).why is GiveUp.NO_CREDENTIALS


def test_remove_account_while_the_call_is_up_hangs_up() -> None:
    wire = Wire()
    wire.established()
    wire.do(lambda: wire.engine.remove_account("work"))
    bye = wire.one()
    assert bye.method == "BYE"
    wire.deliver(Gate().ask(bye))
    assert not wire.told(AuthChallenged)
    assert wire.told(events.CallEnded)
    wire.drain()


def test_verbs_out_of_place_are_refused() -> None:
    wire = Wire()
    call = wire.call()
    with pytest.raises(LocalProtocolError):
        call.reinvite(OFFER)
    with pytest.raises(LocalProtocolError):
        call.request("INFO")
    with pytest.raises(LocalProtocolError):
        wire.engine.register("nobody")


def test_requests_in_an_early_dialog_of_ours_are_matched() -> None:
    wire = Wire()
    wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", BOB, to_tag="one"))
    bob = Caller.called(invite, tag="one")
    wire.deliver(bob.request("INFO", body=b"x", kind="application/dtmf-relay"))
    assert wire.one().status == 200
    assert wire.told(events.InfoReceived)


def test_an_early_dialog_that_cannot_be_followed_is_said_and_rings_all_the_same() -> None:
    wire = Wire()
    wire.call()
    wire.deliver(response(wire.one(), 180, "Ringing", BOB, "Record-Route: <nonsense>"))
    assert wire.last(events.ProtocolWarning).code == "early-dialog"
    assert wire.last(events.CallProgress).state == "ringing"


def test_early_dialogs_end_with_the_call_and_a_callees_bye_ends_none() -> None:
    wire, gate = Wire(), Gate()
    call = wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", BOB, to_tag="one"))
    wire.deliver(response(invite, 180, "Ringing", BOB, to_tag="two"))
    bob = Caller.called(invite, tag="one")
    wire.deliver(bob.request("UPDATE"))
    assert wire.one().status == 200
    wire.deliver(bob.request("UPDATE", body=OFFER))
    assert wire.one().status == 491, "RFC 3311 section 5.2: our own offer is not answered yet"
    wire.deliver(bob.request("BYE"))
    assert wire.one().status == 200
    wire.deliver(bob.request("INFO"))
    assert wire.one().status == 481
    assert call.state is CallState.EARLY
    wire.deliver(gate.ask(invite))
    wire.do(call.hangup)
    wire.take()
    wire.deliver(Caller.called(invite, tag="two").request("INFO"))
    assert wire.one().status == 481
    wire.drain()
