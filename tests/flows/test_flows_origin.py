"""Who may challenge us inside a dialog: never the other phone, also where our own server carries his words (T01)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged, AuthUnanswerable, GiveUp
from tests.support.pair import ANSWER, OFFER, Caller, Gate, Heard, Wire, password, response

PROXY = "<sip:192.0.2.1:5060;lr>"
MALLORY = ("203.0.113.66", 5066)
MALLORYS_CONTACT = "<sip:mallory@203.0.113.66:5066>"

AT_OUR_PROXY = "<sip:mallory@192.0.2.1:5060>"

PATHS = pytest.mark.parametrize("stays", [True, False], ids=["in the route", "out of the route"])
DOORS = pytest.mark.parametrize("proxy", [True, False], ids=["407", "401"])
REALMS = pytest.mark.parametrize("realm", ["example.com", "*"])


def registered(asynchronous: bool = True) -> Wire:
    """An account whose password works, has been accepted, and would answer any realm."""
    wire = Wire(asynchronous=asynchronous, credentials=(password(),))
    wire.register(Gate())
    return wire


def taken(wire: Wire, caller: Caller, over: tuple[str, int]) -> events.AnyCall:
    """*caller*'s INVITE came *over* that address, and we answered it."""
    flow = wire.flow(over)
    wire.deliver(caller.request("INVITE", body=OFFER), flow)
    call = wire.last(events.CallIncoming).call
    wire.do(lambda: call.accept(ANSWER))
    caller.joins(wire.take()[-1])
    wire.deliver(caller.request("ACK", cseq=caller.cseq), flow)
    wire.take()
    return call


def gets_nothing(wire: Wire, asked: int) -> None:
    """Not a digest, not a question."""
    assert wire.silent()
    assert len(wire.told(AuthChallenged)) == asked
    assert wire.last(AuthUnanswerable).why is GiveUp.FOREIGN_ORIGIN
    assert not wire.session.pending


@DOORS
@REALMS
@pytest.mark.parametrize("over", [("192.0.2.1", 5060), MALLORY], ids=["through our proxy", "past it"])
@pytest.mark.parametrize("asynchronous", [True, False], ids=["deferred", "at once"])
def test_t01_a_caller_whose_challenge_our_own_proxy_carries_gets_nothing(
    asynchronous: bool, over: tuple[str, int], realm: str, proxy: bool
) -> None:
    """Past it: he calls us directly, and names our proxy in Record-Route, so that our BYE and his 407 go through it."""
    wire = registered(asynchronous)
    mallory = Caller(contact=MALLORYS_CONTACT, record_route=(PROXY,), call_id="evil")
    call = taken(wire, mallory, over)
    asked = len(wire.told(AuthChallenged))
    wire.do(call.hangup)
    bye = wire.one()
    assert bye.method == "BYE"
    assert wire.sent_over[-1].remote == ("192.0.2.1", 5060)
    wire.deliver(Gate(realm=realm, proxy=proxy).ask(bye), wire.sent_over[-1])
    gets_nothing(wire, asked)
    assert wire.last(events.CallEnded).by == "local"


@DOORS
def test_t01_a_direct_caller_who_names_our_server_as_his_contact_gets_nothing(proxy: bool) -> None:
    wire = registered()
    call = taken(wire, Caller(contact="<sip:mallory@192.0.2.1:5060>", call_id="evil"), MALLORY)
    asked = len(wire.told(AuthChallenged))
    wire.do(call.hangup)
    bye = wire.one()
    assert wire.sent_over[-1].remote == ("192.0.2.1", 5060)
    wire.deliver(Gate(proxy=proxy).ask(bye), wire.sent_over[-1])
    gets_nothing(wire, asked)


@DOORS
@REALMS
@pytest.mark.parametrize("folded", [False, True], ids=["a line each", "one line"])
def test_T01_a_caller_behind_a_proxy_that_stays_out_of_the_route_gets_nothing(
    folded: bool, realm: str, proxy: bool
) -> None:
    """No Record-Route, and his Contact is his address at our proxy: our BYE goes there, and his 407 comes from there.

    His Via below the proxy's is what tells him from a B2BUA.  Fails without ``self.carried`` in ``Dialog.standing``.
    """
    wire = registered()
    invite = Caller(contact="<sip:mallory@192.0.2.1:5060>", call_id="evil").request("INVITE", body=OFFER)
    his = b"SIP/2.0/UDP 203.0.113.66:5066;branch=z9hG4bK-his"
    top, rest = invite.split(b"\r\nMax-Forwards", 1)
    flow = wire.flow(("192.0.2.1", 5060))
    wire.deliver(top + (b", " if folded else b"\r\nVia: ") + his + b"\r\nMax-Forwards" + rest, flow)
    call = wire.last(events.CallIncoming).call
    wire.do(lambda: call.accept(ANSWER))
    answered = wire.take()[-1]
    caller = Caller(contact="<sip:mallory@192.0.2.1:5060>", call_id="evil", cseq=1)
    caller.joins(answered)
    wire.deliver(caller.request("ACK", cseq=1), flow)
    asked = len(wire.told(AuthChallenged))
    wire.take()
    wire.do(call.hangup)
    bye = wire.one()
    assert bye.method == "BYE" and wire.sent_over[-1].remote == ("192.0.2.1", 5060)
    wire.deliver(Gate(realm=realm, proxy=proxy).ask(bye), wire.sent_over[-1])
    gets_nothing(wire, asked)


@DOORS
@pytest.mark.parametrize("method", ["INFO", "UPDATE", "OPTIONS", "MESSAGE", "INVITE"])
def test_t01_nor_for_any_other_request_inside_his_call(method: str, proxy: bool) -> None:
    wire = registered()
    call = taken(wire, Caller(contact=MALLORYS_CONTACT, record_route=(PROXY,), call_id="evil"), ("192.0.2.1", 5060))
    asked = len(wire.told(AuthChallenged))
    wire.do(lambda: call.reinvite(OFFER) if method == "INVITE" else call.request(method))
    ours = wire.one()
    assert ours.method == method
    wire.deliver(Gate(proxy=proxy).ask(ours))
    acks = [heard.method for heard in wire.take()]
    assert acks == (["ACK"] if method == "INVITE" else [])
    gets_nothing(wire, asked)


def proxied_call(wire: Wire, gate: Gate | None, *, stays: bool = True) -> tuple[events.AnyCall, Heard]:
    """We call through our proxy; *gate* is its own challenge to the INVITE.

    It stays in the path by Record-Route; or else the callee's Contact is an address at it.
    """
    call = wire.call()
    if gate is not None:
        wire.deliver(gate.ask(wire.one()))
        wire.respond()
    invite = wire.take()[-1]
    lines = (f"Contact: {MALLORYS_CONTACT}", f"Record-Route: {PROXY}") if stays else (f"Contact: {AT_OUR_PROXY}",)
    wire.deliver(response(invite, 200, "OK", *lines, body=ANSWER))
    wire.take()
    wire.do(call.hangup)
    bye = wire.one()
    assert bye.all("route") == ([PROXY] if stays else [])
    assert wire.sent_over[-1].remote == ("192.0.2.1", 5060)
    return call, bye


@DOORS
@PATHS
@REALMS
@pytest.mark.parametrize("asynchronous", [True, False], ids=["deferred", "at once"])
def test_T01_a_callee_behind_a_proxy_that_never_asked_gets_nothing(
    asynchronous: bool, realm: str, stays: bool, proxy: bool
) -> None:
    """The registrar's realm is known from REGISTER; but no proxy ever asked for it on a call.

    Fails without ``relays=self.ours`` in ``Dialog.standing``; and, where the proxy stays out of the route, with
    ``relays=bool(target.routes)`` in its place.
    """
    wire = registered(asynchronous)
    asked = len(wire.told(AuthChallenged))
    _, bye = proxied_call(wire, None, stays=stays)
    wire.deliver(Gate(realm=realm, proxy=proxy).ask(bye))
    gets_nothing(wire, asked)


@PATHS
@pytest.mark.parametrize(
    "gate", [Gate(), Gate(realm="*", proxy=True), Gate(realm="sip.example.com", proxy=True)], ids=["401", "*", "other"]
)
def test_T01_a_callee_behind_a_proxy_that_asks_gets_nothing_for_another_door_or_realm(gate: Gate, stays: bool) -> None:
    wire = registered()
    _, bye = proxied_call(wire, Gate(proxy=True), stays=stays)
    asked = len(wire.told(AuthChallenged))
    wire.deliver(gate.ask(bye))
    gets_nothing(wire, asked)


@PATHS
def test_the_server_that_asked_for_the_call_may_ask_again_inside_it(stays: bool) -> None:
    wire, gate = registered(), Gate(proxy=True)
    _, bye = proxied_call(wire, gate, stays=stays)
    assert gate.admits(bye), "RFC 3261 section 22.3: the same Call-ID takes its proxy credentials along"
    wire.deliver(gate.ask(bye, stale=True))
    assert gate.admits(wire.one())


def test_a_server_that_calls_us_itself_may_ask_inside_the_call() -> None:
    """A B2BUA, by its one Via: there is nobody behind it whose words it could carry."""
    wire, gate = registered(asynchronous=False), Gate()
    call = taken(wire, Caller(contact="<sip:bob@192.0.2.1:5060>"), ("192.0.2.1", 5060))
    wire.do(call.hangup)
    wire.deliver(gate.ask(wire.one()))
    assert gate.admits(wire.one())


def test_t01_a_callee_who_calls_himself_the_registrar_gets_nothing_unasked() -> None:
    """Authorization goes along to a Request-URI that took it before; inside a call the other end names that URI."""
    wire = registered()
    call = wire.call()
    ok = response(wire.one(), 200, "OK", "Contact: <sip:example.com>", f"Record-Route: {PROXY}", body=ANSWER)
    wire.deliver(ok)
    wire.take()
    wire.do(call.hangup)
    bye = wire.one()
    assert (bye.uri, bye.all("route")) == ("sip:example.com", [PROXY])
    assert not bye.has("authorization")


@DOORS
@REALMS
def test_T01_a_call_whose_other_end_moved_to_another_host_is_asked_nothing_there(realm: str, proxy: bool) -> None:
    """A B2BUA hands its call over by the Contact of an UPDATE (RFC 3261 section 12.2): the new host is a stranger."""
    wire, gate = registered(), Gate(realm=realm, proxy=proxy)
    caller = Caller(contact="<sip:bob@192.0.2.1:5060>")
    call = taken(wire, caller, ("192.0.2.1", 5060))
    caller.contact = MALLORYS_CONTACT
    wire.deliver(caller.request("UPDATE"))
    wire.take()
    asked = len(wire.told(AuthChallenged))
    wire.do(call.hangup)
    bye = wire.one()
    assert bye.method == "BYE" and wire.sent_over[-1].remote == MALLORY
    assert not bye.has("authorization") and not bye.has("proxy-authorization")
    wire.deliver(gate.ask(bye), wire.sent_over[-1])
    gets_nothing(wire, asked)
