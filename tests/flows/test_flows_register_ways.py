"""The way to the registrar: which server, over which connection, by which route (RFC 3263, RFC 3608; A26)."""

from __future__ import annotations

import pytest

from sipcli.errors import TokenSpent
from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import Gate, Wire, response
from tests.support.registering import ok, states


def test_a26_the_retry_goes_to_the_server_that_challenged() -> None:
    wire = Wire(servers=(("192.0.2.1", 5060), ("192.0.2.2", 5060)))
    gate = Gate()
    wire.do(lambda: wire.engine.register("work"))
    wire.run(0)
    first = wire.one()
    wire.deliver(response(first, 503, "Service Unavailable"))
    second = wire.one()
    assert second.branch != first.branch
    assert wire.sent_over[-1].remote == ("192.0.2.2", 5060)
    wire.deliver(gate.ask(second), wire.sent_over[-1])
    wire.respond()
    assert gate.admits(wire.one())
    assert wire.sent_over[-1].remote == ("192.0.2.2", 5060)


def test_a26_the_retry_stays_with_its_server_though_all_else_has_left_it() -> None:
    wire = Wire(servers=(("192.0.2.1", 5060), ("192.0.2.2", 5060)))
    gate = Gate()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    bob = SipUri.parse("sip:bob@example.com")
    wire.do(lambda: wire.engine.request("work", "MESSAGE", bob))
    wire.deliver(response(wire.one(), 503, "Service Unavailable"))
    assert (wire.one().method, wire.sent_over[-1].remote) == ("MESSAGE", ("192.0.2.2", 5060))
    wire.respond()
    assert gate.admits(wire.one())
    assert wire.sent_over[-1].remote == ("192.0.2.1", 5060)


def test_a26_fail_over_after_the_challenge_uses_the_secret_in_hand() -> None:
    wire = Wire(servers=(("192.0.2.1", 5060), ("192.0.2.2", 5060)))
    gate = Gate()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    wire.respond()
    wire.take()
    wire.run(32.1)
    second = wire.take()[-1]
    assert wire.sent_over[-1].remote == ("192.0.2.2", 5060)
    wire.deliver(gate.ask(second), wire.sent_over[-1])
    assert len(wire.told(AuthChallenged)) == 1, "nobody is asked again"
    third = wire.one()
    assert gate.admits(third)
    wire.deliver(ok(third), wire.sent_over[-1])
    assert states(wire)[-1] == "registered"


def test_c01_all_servers_fail_and_the_last_word_is_told() -> None:
    wire = Wire(servers=(("192.0.2.1", 5060), ("192.0.2.2", 5060)))
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.deliver(response(wire.one(), 503, "Service Unavailable"))
    wire.deliver(response(wire.one(), 503, "Still Unavailable"), wire.sent_over[-1])
    assert wire.silent()
    last = wire.last(events.RegistrationChanged)
    assert (last.state, last.code, last.reason) == ("failed", 503, "Still Unavailable")
    wire.drain()


def test_the_connection_breaks_and_the_binding_moves() -> None:
    wire = Wire("tcp")
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one()))
    wire.drop(wire.flow())
    wire.seek()
    request = wire.one()
    assert request.method == "REGISTER"
    assert len({flow.id for flow in wire.sent_over}) == 2
    wire.deliver(ok(request))
    assert states(wire) == ["trying", "registered", "registered"]


def test_a26_the_connection_breaks_while_the_challenge_waits() -> None:
    wire, gate = Wire("tcp"), Gate()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    wire.drop(wire.flow())
    assert wire.silent()
    wire.respond()
    request = wire.one()
    assert wire.sent_over[-1] != wire.sent_over[0]
    assert gate.admits(request)


def test_a_registration_without_a_way_there_says_why() -> None:
    wire = Wire(servers=())
    wire.do(lambda: wire.engine.register("work", keep=False))
    last = wire.last(events.RegistrationChanged)
    assert last.state == "failed"
    assert str(last.why).startswith("connect:")
    wire.drain()


def test_nobody_grants_a_flow() -> None:
    wire = Wire()
    wire.grant = False
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.run(65)
    assert str(wire.last(events.RegistrationChanged).why).startswith("connect:")
    wire.drain()


def test_remove_account_revokes_and_sends_nothing() -> None:
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    token = wire.token
    wire.do(lambda: wire.engine.remove_account("work"))
    last = wire.last(events.RegistrationChanged)
    assert last.state == "unregistered"
    assert str(last.why).startswith("closed:")
    with pytest.raises(TokenSpent):
        wire.respond(token=token)
    assert wire.silent()
    wire.drain()


def test_c06_service_route_is_used_for_calls_and_forgotten_on_failure() -> None:
    wire = Wire()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one(), "Service-Route: <sip:192.0.2.7;lr>, <sip:core.example.com;lr>"))
    wire.call("sip:bob@elsewhere.example")
    invite = wire.one()
    assert invite.all("route") == ["<sip:192.0.2.7;lr>", "<sip:core.example.com;lr>"]
    assert wire.sent_over[-1].remote == ("192.0.2.7", 5060)
    wire.run(481)
    register = next(heard for heard in wire.take() if heard.method == "REGISTER")
    assert not register.has("route")
    wire.deliver(response(register, 500, "Server Internal Error"))
    wire.call()
    assert not wire.take()[-1].has("route")


@pytest.mark.parametrize("last", ["unregister", "silence", "a 200 without one", "one that is none"])
def test_C06_the_service_route_is_what_the_last_answer_said(last: str) -> None:
    """RFC 3608 section 6.1: a later 200 replaces it, also by nothing; what is no route leads nowhere and is none."""
    wire = Wire()
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one(), "Service-Route: <sip:192.0.2.7;lr>"))
    match last:
        case "unregister":
            wire.do(registration.unregister)
            wire.deliver(ok(wire.one()))
        case "silence":
            wire.do(registration.refresh)
            wire.run(33)
        case "a 200 without one":
            wire.do(registration.refresh)
            wire.deliver(ok(wire.one()))
        case _:
            wire.do(registration.refresh)
            wire.deliver(ok(wire.one(), "Service-Route: <tel:+491234>"))
    wire.take()
    wire.call("sip:bob@elsewhere.example")
    assert not next(heard for heard in wire.take() if heard.method == "INVITE").has("route")


def test_C06_the_service_route_follows_the_outbound_proxy_and_no_register_takes_it() -> None:
    wire = Wire(proxy="sip:edge.example.com")
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one(), "Service-Route: <sip:one.example.com;lr>", "Service-Route: <sip:two.example.com;lr>"))
    wire.call("sip:bob@elsewhere.example")
    routes = ["<sip:edge.example.com;lr>", "<sip:one.example.com;lr>", "<sip:two.example.com;lr>"]
    assert wire.one().all("route") == routes
    wire.do(registration.refresh)
    assert wire.one().all("route") == routes[:1]


@pytest.mark.parametrize(
    "path", ["<sip:p1.example.com;lr>", "<sip:p1.example.com;lr;ob>, <sip:p2.example.com;lr>", "nonsense <", ""]
)
def test_C06_path_is_offered_and_what_comes_back_of_it_changes_nothing(path: str) -> None:
    """RFC 3327 section 5.1: the registrar repeats what proxies put there; it is no route of ours."""
    wire = Wire()
    wire.do(lambda: wire.engine.register("work"))
    register = wire.one()
    assert "path" in register.header("supported").split(", ")
    assert not register.has("path")
    wire.deliver(ok(register, f"Path: {path}"))
    assert states(wire)[-1] == "registered"
    wire.call("sip:bob@elsewhere.example")
    assert not wire.one().has("route")


def test_the_outbound_proxy_is_a_loose_route_for_everything() -> None:
    wire = Wire(proxy="sip:edge.example.com")
    wire.do(lambda: wire.engine.register("work"))
    request = wire.one()
    assert request.uri == "sip:example.com"
    assert request.all("route") == ["<sip:edge.example.com;lr>"]
    assert wire.last(events.FlowWanted).hop.host == "edge.example.com"


def test_the_registrar_lists_other_devices_first() -> None:
    wire = Wire()
    registration = wire.do(lambda: wire.engine.register("work"))
    request = wire.one()
    ours = request.header("contact").partition(";")[0]
    wire.deliver(
        response(request, 200, "OK", f"Contact: <sip:desk@192.0.2.50>;expires=5, {ours};expires=77", "Expires: 9999")
    )
    assert registration.binding.expires_s == 77


def test_what_is_taken_back_is_the_contact_that_was_bound() -> None:
    wire = Wire("tcp")
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one()))
    wire.drop(wire.flow())
    wire.seek()
    wire.deliver(response(wire.one(), 500, "Server Internal Error"))
    wire.local = ("192.0.2.99", 6000)
    wire.drop(wire.flow())
    wire.do(registration.unregister)
    request = wire.one()
    assert request.header("via").startswith("SIP/2.0/TCP 192.0.2.99:6000")
    assert request.all("contact") == ["<sip:u7x@192.0.2.99:5062;transport=tcp>;expires=0"]


def test_a_connection_that_leads_nowhere_is_released() -> None:
    wire = Wire("tcp")
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.run(33)
    assert [event.flow for event in wire.told(events.FlowReleased)] == [wire.flow()]


def test_a_connection_is_released_with_its_account_unless_a_call_lives_on_it() -> None:
    wire = Wire("tcp")
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one()))
    wire.do(lambda: wire.engine.remove_account("work"))
    assert wire.told(events.FlowReleased)
    wire = Wire("tcp")
    wire.established()
    oneshot = wire.do(lambda: wire.engine.options("work", wire.profile.aor))
    wire.run(33)
    assert oneshot.done
    assert not wire.told(events.FlowReleased)
