"""What was begun with ``sips`` stays so: routes, targets, Contacts (RFC 5630 section 5.1, RFC 3261 12.1; C04)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.flow import Flow, Hop
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, OFFER, Caller, Gate, Wire, response

BOB = SipUri.parse("sips:bob@example.net")
EDGE = ("192.0.2.1", 5061)


def hops(wire: Wire) -> list[Hop]:
    return [wanted.hop for wanted in wire.told(events.FlowWanted)]


def called_securely(wire: Wire, *lines: str, contact: str = "sips:bob@192.0.2.7") -> tuple[object, Flow]:
    """Our answered call to a ``sips`` URI; the flow that its INVITE took."""
    call = wire.do(lambda: wire.engine.invite("work", BOB, OFFER))
    flow = wire.sent_over[-1]
    wire.deliver(response(wire.one(), 200, "OK", f"Contact: <{contact}>", *lines, body=ANSWER), flow)
    return call, flow


@pytest.mark.parametrize("way", ["proxy", "service route"])
def test_C04_a_route_of_sip_uris_becomes_one_of_sips_for_a_sips_call(way: str) -> None:
    """Fails without the change of scheme in ``through``: the INVITE, its keys and all, went to a plain proxy by UDP."""
    wire = Wire(proxy="sip:edge.example.com" if way == "proxy" else None)
    if way != "proxy":
        registration = wire.do(lambda: wire.engine.register("work"))
        register = wire.one()
        route = "Service-Route: <sip:edge.example.com;lr>"
        wire.deliver(response(register, 200, "OK", f"Contact: {register.header('contact')}", route))
        assert registration.binding is not None
    wire.do(lambda: wire.engine.invite("work", BOB, OFFER))
    invite = wire.one()
    assert hops(wire)[-1] == Hop("edge.example.com", None, "tls", True)
    assert wire.sent_over[-1].transport == "tls"
    assert (invite.uri, invite.all("route")) == (str(BOB), ["<sips:edge.example.com;lr>"])
    assert invite.contact.startswith("sips:")


def test_C04_a_sip_call_keeps_the_route_as_it_is() -> None:
    wire = Wire(proxy="sip:edge.example.com")
    wire.call()
    assert wire.one().all("route") == ["<sip:edge.example.com;lr>"]
    assert not hops(wire)[-1].secure


def test_C04_the_way_to_a_sips_registrar_is_secure_from_its_first_hop() -> None:
    """Fails where the registrar's hop is taken from the proxy as it is written."""
    wire, gate = Wire(registrar="sips:example.com", proxy="sip:edge.example.com"), Gate()
    wire.do(lambda: wire.engine.register("work"))
    register = wire.one()
    assert hops(wire) == [Hop("edge.example.com", None, "tls", True)]
    assert register.all("route") == ["<sips:edge.example.com;lr>"]
    assert register.contact.startswith("sips:")
    wire.deliver(gate.ask(register), wire.sent_over[-1])
    wire.respond()
    assert gate.admits(wire.one()), "and what it leads to is our own server"


def test_C04_our_own_proxy_may_challenge_a_sips_call_that_went_to_it_by_tls() -> None:
    """Fails without the second look in ``AccountState.owns``: it was a stranger, and the call could not be made."""
    wire, gate = Wire(proxy="sip:edge.example.com"), Gate(proxy=True)
    wire.do(lambda: wire.engine.invite("work", BOB, OFFER))
    wire.deliver(gate.ask(wire.one()), wire.sent_over[-1])
    wire.take()
    wire.respond()
    assert gate.admits(wire.one())


@pytest.mark.parametrize(
    ("lines", "contact"),
    [
        ((), "sip:bob@192.0.2.7:5060"),
        ((), "sip:bob@192.0.2.7:5060;transport=tcp"),
        (("Record-Route: <sip:192.0.2.7:5060;lr>",), "sips:bob@192.0.2.8"),
        (("Record-Route: <sip:192.0.2.7:5060;lr>",), "sip:bob@192.0.2.8"),
        (("Record-Route: <sip:192.0.2.7:5060;transport=udp;lr>",), "sip:bob@192.0.2.8"),
    ],
)
def test_C04_a_callee_cannot_talk_a_sips_call_down(lines: tuple[str, ...], contact: str) -> None:
    """His Contact and the routes may say ``sip``.  Fails without ``Dialog.secure``: ACK and BYE went in the clear."""
    wire = Wire()
    call, _ = called_securely(wire, *lines, contact=contact)
    assert hops(wire)[-1] == Hop("192.0.2.7", 5060, "tls", True)
    wire.do(call.hangup)  # type: ignore[attr-defined]
    assert [heard.method for heard in wire.take()] == ["ACK", "BYE"]
    assert {flow.transport for flow in wire.sent_over} == {"tls"}


def test_C04_a_target_refresh_of_a_sips_call_says_sips() -> None:
    """RFC 5630 section 5.1.1.2, also where he answered with a ``sip`` Contact."""
    wire = Wire()
    call, _ = called_securely(wire, contact="sip:bob@192.0.2.7:5061")
    wire.take()
    wire.do(lambda: call.reinvite(OFFER))  # type: ignore[attr-defined]
    assert wire.one().contact.startswith("sips:")


def test_C04_a_caller_who_came_by_sips_is_not_answered_in_the_clear() -> None:
    """Section 12.1.1: his own Contact says ``sip``; our BYE goes over TLS.  Fails without ``Dialog.secure``."""
    wire, bob = Wire("tls"), Caller(transport="TLS", uri="sips:u7x@192.0.2.99:5062", contact="<sip:bob@192.0.2.1:5060>")
    wire.deliver(bob.request("INVITE", body=OFFER), wire.flow(EDGE))
    call = wire.last(events.CallIncoming).call
    wire.do(lambda: call.accept(ANSWER))
    ok = wire.take()[-1]
    assert ok.contact.startswith("sips:")
    bob.joins(ok)
    wire.deliver(bob.request("ACK", cseq=bob.cseq), wire.flow(EDGE))
    wire.do(call.hangup)
    assert wire.one().method == "BYE"
    assert wire.sent_over[-1].transport == "tls"


def test_C04_T22_a_caller_who_came_by_sips_cannot_send_us_to_sip() -> None:
    """Whatever his From and his Contact say.  Fails without the look at ``dialog.secure`` in ``_secure``."""
    wire, bob = Wire("tls"), Caller(transport="TLS", uri="sips:u7x@192.0.2.99:5062", contact="<sip:bob@192.0.2.1:5061>")
    wire.deliver(bob.request("INVITE", body=OFFER), wire.flow(EDGE))
    call = wire.last(events.CallIncoming).call
    wire.do(lambda: call.accept(ANSWER))
    bob.joins(wire.take()[-1])
    wire.deliver(bob.request("ACK", cseq=bob.cseq), wire.flow(EDGE))
    wire.deliver(bob.request("REFER", "Refer-To: <sip:carol@example.com>"), wire.flow(EDGE))
    assert wire.one().status == 403
    assert not wire.told(events.CallReferred)


@pytest.mark.parametrize(
    ("uri", "lines", "contact", "said"),
    [
        ("sip:u7x@192.0.2.99:5062", (), "<sip:bob@192.0.2.1>", "sip:"),
        ("sip:u7x@192.0.2.99:5062", (), "<sips:bob@192.0.2.1>", "sips:"),
        ("sip:u7x@192.0.2.99:5062", ("Record-Route: <sips:192.0.2.1;lr>",), "<sip:bob@192.0.2.8>", "sips:"),
        ("sip:u7x@192.0.2.99:5062", ("Record-Route: <sip:192.0.2.1;lr>",), "<sips:bob@192.0.2.8>", "sip:"),
        ("SIPS:u7x@192.0.2.99:5062", (), "<sip:bob@192.0.2.1>", "sips:"),
    ],
)
def test_C04_our_contact_says_sips_where_the_caller_needs_it(
    uri: str, lines: tuple[str, ...], contact: str, said: str
) -> None:
    """RFC 3261 section 12.1.1: the Request-URI, else the top Record-Route, else the Contact decides."""
    wire, bob = Wire("tls"), Caller(transport="TLS", uri=uri, contact=contact)
    wire.deliver(bob.request("INVITE", *lines, body=OFFER), wire.flow(EDGE))
    call = wire.last(events.CallIncoming).call
    wire.do(call.ring)
    assert wire.one().contact.startswith(said)
