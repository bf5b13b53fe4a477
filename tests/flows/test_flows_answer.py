"""Incoming calls and requests, ladder by ladder (RFC 3261 sections 8.2, 9.2, 12.2.2, 13.3, 15; B04-B15)."""

from __future__ import annotations

import pytest

from sipcli.errors import LocalProtocolError
from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged
from sipcli.sip.calls.indialog import CallState
from sipcli.sip.flow import Flow, Transport
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, OFFER, Caller, Gate, Wire, response


def incoming(wire: Wire, caller: Caller, *lines: str, body: bytes = OFFER):
    wire.deliver(caller.request("INVITE", *lines, body=body))
    return wire.last(events.CallIncoming).call


def test_a_call_rings_is_accepted_and_the_caller_hangs_up() -> None:
    wire, bob = Wire(), Caller()
    call = incoming(wire, bob)
    assert (call.direction, call.offer, call.remote.display) == ("incoming", OFFER, "Bob")
    assert str(call.remote.uri) == "sip:bob@example.net"
    assert call.account == "work"
    wire.do(call.ring)
    ringing = wire.one()
    assert ringing.status == 180
    assert ringing.to_tag
    assert ringing.contact == "sip:u7x@192.0.2.99:5062"
    wire.do(lambda: call.accept(ANSWER))
    ok = wire.one()
    assert (ok.status, ok.to_tag, ok.body) == (200, ringing.to_tag, ANSWER)
    assert ok.header("content-type") == "application/sdp"
    assert "BYE" in ok.header("allow")
    bob.joins(ok)
    wire.deliver(bob.request("ACK", cseq=bob.cseq))
    assert wire.told(events.CallConfirmed)[0].call is call
    wire.deliver(bob.request("BYE"))
    assert wire.one().status == 200
    assert wire.last(events.CallEnded).by == "remote"
    wire.drain()


def test_B13_received_and_rport_bring_the_response_back() -> None:
    wire, bob = Wire(), Caller(address="10.0.0.5:5099")
    incoming(wire, bob)
    wire.run(0.3)
    trying = wire.one()
    assert trying.status == 100
    assert ";received=192.0.2.1" in trying.header("via")
    assert ";rport=5060" in trying.header("via")
    assert wire.sent_over[-1].remote == ("192.0.2.1", 5060)


def test_without_rport_the_response_goes_to_the_port_of_the_via() -> None:
    wire, bob = Wire(), Caller(address="192.0.2.1:5099")
    wire.deliver(bob.request("OPTIONS").replace(b";rport", b""))
    assert wire.one().status == 200
    assert wire.sent_over[-1].remote == ("192.0.2.1", 5099)


def test_b08_the_2xx_is_repeated_until_the_ack() -> None:
    wire, bob = Wire(), Caller()
    call = incoming(wire, bob)
    wire.do(lambda: call.accept(ANSWER))
    ok = wire.one()
    times = []
    for _ in range(80):
        wire.run(0.1)
        times += [round(wire.clock - 1000, 1)] * len(wire.take())
    assert times == [0.5, 1.5, 3.5, 7.5]
    bob.joins(ok)
    wire.deliver(bob.request("ACK", cseq=bob.cseq))
    wire.run(30)
    assert wire.silent()


def test_b08_no_ack_in_64_t1_is_answered_with_bye() -> None:
    wire, bob = Wire("tcp"), Caller(transport="TCP")
    call = incoming(wire, bob)
    wire.do(lambda: call.accept(ANSWER))
    wire.run(32.01)
    assert {heard.status for heard in wire.take()[:-1]} == {200}
    bye = wire.sent[-1]
    assert bye.method == "BYE"
    wire.deliver(response(bye, 200, "OK"))
    ended = wire.last(events.CallEnded)
    assert (ended.by, str(ended.why)[:8]) == ("network", "timeout:")
    wire.drain()


def test_hang_up_before_the_ack_waits_for_it() -> None:
    wire, bob = Wire(), Caller()
    call = incoming(wire, bob)
    wire.do(lambda: call.accept(ANSWER))
    ok = wire.one()
    wire.do(call.hangup)
    assert wire.silent()
    bob.joins(ok)
    wire.deliver(bob.request("ACK", cseq=bob.cseq))
    assert wire.one().method == "BYE"


@pytest.mark.parametrize("code", [486, 603, 480, 300, 699])
def test_a_call_is_refused(code: int) -> None:
    wire, bob = Wire(), Caller()
    call = incoming(wire, bob)
    wire.do(lambda: call.reject(code))
    refusal = wire.one()
    assert refusal.status == code
    bob.to = refusal.header("to")
    wire.deliver(bob.request("ACK", cseq=bob.cseq, branch=f"z9hG4bK-{bob.call_id}-1"))
    assert (wire.last(events.CallEnded).by, wire.last(events.CallEnded).code) == ("local", code)
    with pytest.raises(LocalProtocolError):
        call.accept(ANSWER)
    wire.drain()


def test_who_says_no_more_than_no_is_busy_and_what_is_no_refusal_is_refused_here() -> None:
    wire, bob = Wire(), Caller()
    call = incoming(wire, bob)
    for code in (200, 299, 700):
        with pytest.raises(LocalProtocolError, match=f"{code} refuses nothing"):
            wire.do(lambda code=code: call.reject(code))
    for code in (100, 200):
        with pytest.raises(LocalProtocolError, match=f"{code} is no provisional response"):
            wire.do(lambda code=code: call.ring(code))
    assert wire.silent()
    wire.do(call.reject)
    assert wire.one().status == 486
    with pytest.raises(LocalProtocolError, match="not ringing any more"):
        wire.do(call.reject)
    assert wire.silent()


def test_b09_cancel_earns_200_and_the_invite_487() -> None:
    wire, bob = Wire(), Caller()
    call = incoming(wire, bob)
    wire.do(call.ring)
    ringing = wire.one()
    wire.deliver(bob.request("CANCEL", cseq=bob.cseq, branch=f"z9hG4bK-{bob.call_id}-1"))
    ok, terminated = wire.take()
    assert (ok.status, ok.method) == (200, "CANCEL")
    assert (terminated.status, terminated.method) == (487, "INVITE")
    assert ok.to_tag == terminated.to_tag == ringing.to_tag
    assert (wire.last(events.CallEnded).by, wire.last(events.CallEnded).code) == ("remote", 487)
    wire.drain()


def test_b09_cancel_after_the_2xx_changes_nothing() -> None:
    wire, bob = Wire(), Caller()
    call = incoming(wire, bob)
    wire.do(lambda: call.accept(ANSWER))
    wire.take()
    wire.deliver(bob.request("CANCEL", cseq=bob.cseq, branch=f"z9hG4bK-{bob.call_id}-1"))
    assert wire.one().status == 200
    assert call.state is CallState.ACCEPTED


def test_b09_cancel_of_nothing_is_481() -> None:
    wire, bob = Wire(), Caller()
    wire.deliver(bob.request("CANCEL"))
    assert wire.one().status == 481


def test_nobody_takes_the_call() -> None:
    wire, bob = Wire(), Caller()
    incoming(wire, bob, "Expires: 20")
    wire.run(21)
    assert 480 in {heard.status for heard in wire.take()}
    assert wire.last(events.CallEnded).code == 480
    wire.drain()


def test_bye_on_an_early_dialog() -> None:
    wire, bob = Wire(), Caller()
    call = incoming(wire, bob)
    wire.do(call.ring)
    bob.joins(wire.one())
    wire.deliver(bob.request("BYE"))
    assert sorted(heard.status for heard in wire.take()) == [200, 487]
    assert wire.last(events.CallEnded).by == "remote"
    wire.drain()


def test_a_late_offer_brings_the_answer_in_the_ack() -> None:
    wire, bob = Wire(), Caller()
    call = incoming(wire, bob, body=b"")
    assert call.offer is None
    wire.do(lambda: call.accept(OFFER))
    bob.joins(wire.one())
    wire.deliver(bob.request("ACK", cseq=bob.cseq, body=ANSWER))
    assert wire.last(events.CallConfirmed).sdp == ANSWER


def test_b10_the_route_set_keeps_its_order_at_the_callee() -> None:
    routes = ("<sip:192.0.2.1;lr>", "<sip:far.example.com;lr>")
    wire = Wire()
    call, ok, _ = wire.answered(record_route=routes)
    assert ok.all("record-route") == list(routes)
    wire.do(call.hangup)
    bye = wire.one()
    assert bye.all("route") == list(routes)
    assert bye.uri == "sip:bob@192.0.2.1:5060"
    assert (bye.header("to"), bye.from_tag) == ("Bob <sip:bob@example.net>;tag=bobtag", ok.to_tag)


def test_t01_our_bye_to_a_caller_who_challenges_gets_no_digest() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    wire.register(Gate())
    call, _, _ = wire.answered(contact="<sip:mallory@203.0.113.66:5066>", call_id="evil")
    wire.do(call.hangup)
    bye = wire.one()
    asked = len(wire.told(AuthChallenged))
    wire.deliver(gate.ask(bye), wire.flow(("203.0.113.66", 5066)))
    assert wire.silent()
    assert len(wire.told(AuthChallenged)) == asked
    assert wire.last(events.CallEnded).by == "local"


# -- who is welcome (T20) --------------------------------------------------------------------------------


def test_t20_a_stranger_gets_silence_and_our_own_server_an_answer() -> None:
    wire = Wire(config={"accept_calls": "bound"})
    stranger = wire.flow(("203.0.113.66", 5066))
    bob = Caller(uri="sip:100@192.0.2.99", to="<sip:100@192.0.2.99>", call_id="scan")
    wire.deliver(bob.request("INVITE", body=OFFER), stranger)
    wire.deliver(bob.request("MESSAGE", body=b"spam", kind="text/plain"), stranger)
    guess = Caller(uri="sip:alice@example.com", to="<sip:alice@example.com>", call_id="guess")
    wire.deliver(guess.request("INVITE", body=OFFER), stranger)
    wire.run(5)
    assert wire.silent()
    assert not wire.told(events.CallIncoming)
    wire.register(Gate())
    good = Caller(uri="sip:alice@192.0.2.99", call_id="good")
    wire.deliver(good.request("INVITE", body=OFFER))
    assert wire.last(events.CallIncoming).call.account == "work"
    insider = Caller(uri="sip:u7x@192.0.2.99:5062", call_id="insider")
    wire.deliver(insider.request("INVITE", body=OFFER), stranger)
    assert len(wire.told(events.CallIncoming)) == 2


@pytest.mark.parametrize("transport", ["udp", "tls"])
def test_an_asserted_identity_is_trusted_only_from_our_own_server(transport: Transport) -> None:
    """RFC 3325 section 5: whoever is not in the trust domain may write there what he likes."""
    wire = Wire(transport, config={"accept_calls": "any"})
    wire.register(Gate())
    strangers = {
        "address": wire.flow(("203.0.113.66", 5066), transport, identity=None),
        "name": wire.flow(("203.0.113.67", 5066), transport, identity="elsewhere.example"),
    }
    said = "P-Asserted-Identity: <sip:boss@example.com>"

    def asserted(name: str, flow: Flow | None, *lines: str) -> str:
        caller = Caller(uri="sip:alice@example.com", call_id=name, transport=transport.upper())
        wire.deliver(caller.request("INVITE", *lines, body=OFFER), flow)
        call = wire.last(events.CallIncoming).call
        assert call.sip_call_id == name
        assert call.made_over is not None
        assert call.made_over.transport == transport
        return call.asserted

    assert asserted("ours", None, said) == "trusted"
    assert asserted("ours-without", None) == "absent"
    for name, flow in strangers.items():
        assert asserted(name, flow, said) == "untrusted"
        assert asserted(f"{name}-without", flow) == "absent"


def test_calls_can_be_switched_off() -> None:
    wire, bob = Wire(config={"accept_calls": "none"}), Caller()
    wire.deliver(bob.request("INVITE", body=OFFER))
    wire.run(1)
    assert wire.silent()


# -- what is refused, and how (B11, B15) -------------------------------------------------------------------


def test_options_tells_what_we_can() -> None:
    wire, bob = Wire(), Caller()
    wire.deliver(bob.request("OPTIONS"))
    answer = wire.one()
    assert answer.status == 200
    assert "INVITE" in answer.header("allow")
    assert "application/sdp" in answer.header("accept")
    assert answer.has("supported")


@pytest.mark.parametrize(
    ("data", "status", "header"),
    [
        (Caller().request("REGISTER"), 405, "allow"),
        (Caller().request("PUBLISH", "Event: presence"), 405, "allow"),
        (Caller().request("SUBSCRIBE", "Event: presence"), 489, "allow-events"),
        (Caller().request("FROBNICATE"), 501, "allow"),
        (Caller(uri="tel:+4930123").request("INVITE", body=OFFER), 416, None),
        (Caller().request("INVITE", "Require: precondition, 100rel, x", body=OFFER), 420, "unsupported"),
        (Caller().request("INVITE", body=b"<x/>", kind="application/xml"), 415, "accept"),
        (Caller().request("INVITE", "Content-Encoding: gzip", body=OFFER), 415, "accept-encoding"),
        (Caller().request("MESSAGE", body=b"<x/>", kind="application/xml"), 415, "accept"),
        (Caller().request("INVITE", "Accept: text/html", body=OFFER), 406, None),
        (Caller().request("BYE"), 481, None),
        (Caller().request("INFO"), 481, None),
        (Caller(to="<sip:alice@example.com>;tag=unknown").request("BYE"), 481, None),
        (Caller(to="<sip:alice@example.com>;tag=unknown").request("INVITE", body=OFFER), 481, None),
        (Caller(to="<sip:alice@example.com>;tag=unknown").request("OPTIONS"), 481, None),
        (Caller(contact="<tel:+49>").request("INVITE", body=OFFER), 400, None),
        (Caller().request("OPTIONS").replace(b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia"), 505, None),
        (Caller().request("OPTIONS").replace(b"Bob <sip:bob@example.net>", b'"Bob <sip:bob@example.net>'), 400, None),
    ],
)
def test_b15_what_cannot_be_served_is_refused_and_changes_nothing(data: bytes, status: int, header: str | None) -> None:
    wire = Wire()
    wire.deliver(data)
    answer = wire.one()
    assert answer.status == status
    if header is not None:
        assert answer.has(header)
    if status == 420:
        assert answer.header("unsupported") == "precondition, x"
    assert not wire.told(events.CallIncoming)
    assert not wire.told(events.MessageReceived)
    wire.drain()


def test_b11_the_same_request_by_two_ways_is_482() -> None:
    wire, bob = Wire(), Caller()
    incoming(wire, bob)
    wire.deliver(bob.request("INVITE", body=OFFER, cseq=bob.cseq, branch="z9hG4bK-another-way"))
    assert 482 in {heard.status for heard in wire.take()}
    assert len(wire.told(events.CallIncoming)) == 1


def test_an_optional_body_is_no_reason_to_refuse() -> None:
    wire, bob = Wire(), Caller()
    wire.deliver(
        bob.request("INVITE", "Content-Disposition: render; handling=optional", body=b"hi", kind="text/x-poem")
    )
    assert wire.told(events.CallIncoming)


def test_message_arrives() -> None:
    wire, bob = Wire(), Caller()
    wire.deliver(bob.request("MESSAGE", body=b"hello", kind="text/plain"))
    assert wire.one().status == 200
    told = wire.last(events.MessageReceived)
    assert (told.account, told.request.body) == ("work", b"hello")


def test_garbage_is_counted_and_dropped() -> None:
    wire = Wire()
    for data in (b"", b"\r\n\r\n", b"\0" * 40, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"):
        wire.deliver(data)
    assert wire.silent()


def test_b14_a_foreign_response_is_dropped() -> None:
    wire = Wire()
    call = wire.call()
    invite = wire.one()
    ok = response(invite, 200, "OK", "Contact: <sip:bob@192.0.2.1>", body=ANSWER)
    wire.deliver(ok.replace(invite.branch.encode(), b"z9hG4bK-foreign"))
    wire.deliver(ok.replace(b"Via: ", b"Via: SIP/2.0/UDP 192.0.2.66;branch=z9hG4bK-1\r\nVia: ", 1))
    wire.deliver(ok.replace(b"192.0.2.99:5062;rport", b"192.0.2.66:5062;rport"))
    assert call.state is CallState.INVITING
    assert wire.silent()


# -- inside the call -------------------------------------------------------------------------------------


def test_b10_a_lower_cseq_is_500_and_gaps_are_fine() -> None:
    wire = Wire()
    _, _, bob = wire.answered()
    wire.deliver(bob.request("INFO", cseq=bob.cseq + 10))
    assert wire.one().status == 200
    wire.deliver(bob.request("INFO", cseq=bob.cseq + 5))
    assert wire.one().status == 500
    assert len(wire.told(events.InfoReceived)) == 1


def test_requests_inside_the_call() -> None:
    wire = Wire()
    call, _, bob = wire.answered()
    wire.deliver(bob.request("OPTIONS"))
    assert wire.one().has("allow")
    wire.deliver(bob.request("MESSAGE", body=b"psst", kind="text/plain"))
    assert wire.one().status == 200
    assert wire.last(events.MessageReceived).account == "work"
    wire.deliver(bob.request("PUBLISH", "Event: presence"))
    assert wire.one().status == 405
    oneshot = wire.do(lambda: call.request("INFO", body=b"Signal=1", content_type="application/dtmf-relay"))
    info = wire.one()
    assert info.header("content-type") == "application/dtmf-relay"
    wire.run(0.25)
    wire.deliver(response(info, 200, "OK"))
    done = wire.last(events.RequestDone)
    assert (done.oneshot, done.response.status) == (oneshot, 200)
    assert done.rtt_s == pytest.approx(0.25)


@pytest.mark.parametrize(("status", "by"), [(481, "remote"), (408, "network")])
def test_b10_481_and_408_end_the_dialog(status: int, by: str) -> None:
    wire = Wire()
    call, _, _ = wire.answered()
    wire.do(lambda: call.request("INFO"))
    wire.deliver(response(wire.one(), status, "Gone"))
    if status == 408:
        assert wire.one().method == "BYE"
        wire.run(33)
    assert wire.last(events.CallEnded).by == by
    wire.drain()


def test_silence_inside_the_call_ends_it() -> None:
    wire = Wire()
    call, _, _ = wire.answered()
    wire.do(lambda: call.request("INFO"))
    wire.run(65)
    assert wire.last(events.CallEnded).by == "network"
    wire.drain()


def test_a_call_of_no_account() -> None:
    wire, bob = Wire(account=False), Caller()
    wire.deliver(bob.request("INVITE", body=OFFER))
    call = wire.last(events.CallIncoming).call
    assert call.account is None
    wire.do(lambda: call.accept(ANSWER))
    assert wire.one().contact == "sip:sipcli@192.0.2.99:5062"
    wire.do(wire.engine.close)
    wire.drain()


def test_tls_and_sips_contacts() -> None:
    wire = Wire("tls", registrar="sips:example.com")
    wire.do(lambda: wire.engine.invite("work", SipUri.parse("sips:bob@example.com"), OFFER))
    assert wire.one().contact == "sips:u7x@192.0.2.99:5062"
    plain = Wire("tcp")
    plain.call()
    assert plain.one().contact == "sip:u7x@192.0.2.99:5062;transport=tcp"


def test_c04_sips_never_goes_to_a_plain_registrar() -> None:
    wire = Wire("udp")
    wire.do(lambda: wire.engine.invite("work", SipUri.parse("sips:bob@example.com"), OFFER))
    hop = wire.last(events.FlowWanted).hop
    assert (hop.transport, hop.secure) == ("tls", True)


@pytest.mark.parametrize(
    "line",
    [
        "Alert-Info: <http://example.com/a.wav>;info=alert-autoanswer;delay=0",
        "Call-Info: <sip:example.com>;answer-after=0",
        "Answer-Mode: Auto",
        "Priv-Answer-Mode: Auto",
        "P-Auto-Answer: normal",
    ],
)
def test_T22_no_header_of_a_caller_answers_the_call(line: str) -> None:
    """There is no code to take out: nothing reads these headers.  Fails once something does and answers by itself."""
    wire, bob = Wire(), Caller()
    call = incoming(wire, bob, line)
    wire.do(call.ring)
    wire.run(20)
    assert {heard.status for heard in wire.take() if heard.method == "INVITE"} <= {100, 180}
    assert call.state is CallState.RINGING


def test_T22_who_insists_on_an_answer_mode_is_refused() -> None:
    """Fails without the look at Require in ``Reception._judge``."""
    wire = Wire()
    wire.deliver(Caller().request("INVITE", "Require: answermode", "Answer-Mode: Auto;require", body=OFFER))
    refusal = wire.one()
    assert (refusal.status, refusal.header("unsupported")) == (420, "answermode")
