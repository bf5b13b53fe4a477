"""What hostile and careless peers send, and that each request has an end (threats T04, T22, T23; C01)."""

from __future__ import annotations

import pytest

from sipcli.errors import LocalProtocolError
from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged, AuthPolicy
from sipcli.sip.calls.indialog import CallState
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.warningration import WARNING_WINDOW, WARNINGS, WarningRation
from tests.support.pair import ANSWER, OFFER, Caller, Gate, Wire, response

BOB = SipUri.parse("sip:bob@example.com")


def test_a25_t04_a_server_that_asks_in_ever_new_realms_is_left() -> None:
    wire = Wire(policy=AuthPolicy(max_realms=100))
    wire.do(lambda: wire.engine.register("work", keep=False))
    asked = 0
    while len(wire.take()) and asked < 100:
        asked += 1
        wire.deliver(Gate(f"realm{asked}").ask(wire.sent[-1]))
        for token in wire.session.pending:
            wire.respond(token=token)
    assert asked == 16, "EngineConfig.max_sends"
    assert wire.last(events.RegistrationChanged).state == "refused"


def test_five_requests_to_one_hop_are_one_wish() -> None:
    wire = Wire("tcp")
    wire.grant = False
    for _ in range(5):
        wire.do(lambda: wire.engine.options("work", BOB))
    (wanted,) = wire.told(events.FlowWanted)
    assert wanted.account == "work"
    wire.do(lambda: wire.engine.flow_ready(wanted.ticket, wire.flow(), wire.clock))
    assert len(wire.take()) == 5
    wire.do(lambda: wire.engine.flow_ready(wanted.ticket, wire.flow(), wire.clock))
    assert wire.silent(), "a ticket is good for once"


def test_one_failing_wish_fails_all_who_wait() -> None:
    wire = Wire()
    wire.grant = False
    for _ in range(3):
        wire.do(lambda: wire.engine.options("work", BOB))
    wanted = wire.last(events.FlowWanted)
    wire.do(lambda: wire.engine.flow_failed(wanted.ticket, "dns: example.com has no address", wire.clock))
    assert [done.why for done in wire.told(events.RequestDone)] == ["dns: example.com has no address"] * 3


def test_a_stopped_oneshot_tells_nothing_more() -> None:
    wire, gate = Wire(), Gate()
    for delivered in (False, True):
        oneshot = wire.do(lambda: wire.engine.options("work", BOB))
        request = wire.one()
        if delivered:
            wire.deliver(gate.ask(request))
        wire.do(oneshot.stop)
        wire.deliver(response(request, 200, "OK"))
    assert not wire.told(events.RequestDone)
    assert wire.outcomes() == ["revoked"]
    wire.drain()


def test_D05_a_message_that_is_large_goes_by_tcp() -> None:
    """D05: RFC 3428 section 8 wants congestion control beyond 1300 octets."""
    wire = Wire(account=False)
    wire.do(lambda: wire.engine.message(None, SipUri.parse("sip:bob@big.example"), b"x" * 1300))
    assert wire.last(events.FlowWanted).hop.transport == "tcp"


@pytest.mark.parametrize("pinned", ["account", "uri"])
def test_D05_a_message_that_is_large_goes_by_udp_for_nobody(pinned: str) -> None:
    """RFC 3428 section 8: also where the account, or the address, insists on UDP."""
    wire = Wire(account=pinned == "account")
    account, uri = ("work", "sip:bob@example.net") if pinned == "account" else (None, "sip:bob@192.0.2.1;transport=udp")
    for octets, sent in ((200, True), (1300, False)):
        oneshot = wire.do(lambda octets=octets: wire.engine.message(account, SipUri.parse(uri), b"x" * octets))
        assert [heard.method for heard in wire.take()] == (["MESSAGE"] if sent else [])
        assert oneshot.done is not sent
    done = wire.last(events.RequestDone)
    assert done.response is None and str(done.why).startswith("size: ")


def test_D05_a_message_that_is_large_fails_where_tcp_is_refused() -> None:
    wire = Wire(account=False)
    wire.grant = False
    wire.do(lambda: wire.engine.message(None, SipUri.parse("sip:bob@big.example"), b"x" * 1300))
    wanted = wire.last(events.FlowWanted)
    wire.do(lambda: wire.engine.flow_failed(wanted.ticket, "connect: no", wire.clock))
    wanted = wire.last(events.FlowWanted)
    assert wanted.hop.transport != "tcp", "it may be less than it was guessed to be"
    wire.do(lambda: wire.engine.flow_ready(wanted.ticket, wire.flow(), wire.clock))
    assert wire.silent()
    assert str(wire.last(events.RequestDone).why).startswith("size: ")


def test_a_retry_that_grows_beyond_1300_octets_changes_to_tcp_and_back() -> None:
    for refused in (False, True):
        wire, gate = Wire(), Gate()
        wire.engine.remove_account("work")
        wire.profile = wire.profile._replace(transport=None)
        wire.do(lambda wire=wire: wire.engine.add_account(wire.profile, wire.session))
        wire.do(lambda wire=wire: wire.engine.request("work", "OPTIONS", BOB, body=b"x" * 600))
        first = wire.one()
        wire.deliver(gate.ask(first, nonce="n" * 500))
        wire.grant = False
        wire.respond()
        assert wire.silent()
        wanted = wire.last(events.FlowWanted)
        assert wanted.hop.transport == "tcp"
        wire.grant = True
        if refused:
            wire.do(lambda wire=wire, wanted=wanted: wire.engine.flow_failed(wanted.ticket, "connect: no", wire.clock))
        else:
            flow = wire.flow(transport="tcp")
            wire.do(lambda wire=wire, wanted=wanted, flow=flow: wire.engine.flow_ready(wanted.ticket, flow, wire.clock))
        second = wire.one()
        assert second.header("via").startswith("SIP/2.0/UDP" if refused else "SIP/2.0/TCP")
        assert gate.admits(second)


@pytest.mark.parametrize("route", ["<tel:+49>", "<sip:", "nonsense,,<"])
def test_a_2xx_that_cannot_be_followed_ends_the_call(route: str) -> None:
    wire = Wire()
    call = wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", f"Record-Route: {route}"))
    assert call.state is CallState.EARLY
    wire.deliver(response(invite, 200, "OK", f"Record-Route: {route}", body=ANSWER))
    ended = wire.last(events.CallEnded)
    assert str(ended.why).startswith("protocol:")
    wire.drain()


@pytest.mark.parametrize("contact", [(), ("Contact: <tel:+4930>",)])
def test_a_2xx_without_a_usable_contact_is_followed_to_the_request_uri(contact: tuple[str, ...]) -> None:
    wire = Wire()
    wire.call()
    wire.deliver(response(wire.one(), 200, "OK", *contact, body=ANSWER))
    assert wire.one().uri == "sip:bob@example.com"


def test_the_ack_has_no_way_to_go() -> None:
    wire = Wire()
    wire.call()
    invite = wire.one()
    wire.grant = False
    wire.deliver(response(invite, 200, "OK", "Contact: <sip:bob@203.0.113.7:5077>", body=ANSWER))
    wanted = wire.last(events.FlowWanted)
    assert wanted.hop.host == "203.0.113.7"
    wire.do(lambda: wire.engine.flow_failed(wanted.ticket, "connect: no route", wire.clock))
    assert (wire.last(events.CallEnded).by, wire.last(events.CallEnded).why) == ("network", "connect: no route")
    wire.drain()


def test_T23_more_forks_than_anybody_needs() -> None:
    wire = Wire()
    call = wire.call()
    invite = wire.one()
    for number in range(200):
        wire.deliver(response(invite, 180, "Ringing", "Contact: <sip:bob@192.0.2.1>", to_tag=f"fork{number}"))
    assert len(wire.engine._core.dialogs) == 32
    wire.do(call.hangup)
    wire.deliver(response(invite, 487, "Request Terminated"))
    assert not wire.engine._core.dialogs


def test_T23_more_answers_than_anybody_forks() -> None:
    """Fails without the limit in ``OutgoingCall._on_success``: each 2xx is kept, and costs an ACK and a BYE."""
    wire = Wire()
    wire.call()
    invite = wire.one()
    for number in range(200):
        wire.deliver(response(invite, 200, "OK", "Contact: <sip:bob@192.0.2.1>", to_tag=f"f{number}", body=ANSWER))
    methods = [request.method for request in wire.take()]
    assert (methods.count("ACK"), methods.count("BYE")) == (32, 31)


def test_the_accounts_of_two_names_do_not_mix() -> None:
    wire = Wire()
    with pytest.raises(LocalProtocolError):
        wire.engine.add_account(wire.profile, wire.session)
    with pytest.raises(LocalProtocolError):
        wire.engine.request("work", "BYE", BOB)
    with pytest.raises(LocalProtocolError):
        wire.engine.options("other", BOB)


def test_commands_of_incoming_calls_out_of_place() -> None:
    wire, bob = Wire(), Caller()
    wire.deliver(bob.request("INVITE", body=OFFER))
    call = wire.last(events.CallIncoming).call
    with pytest.raises(LocalProtocolError):
        call.ring(200)
    with pytest.raises(LocalProtocolError):
        call.reject(200)
    with pytest.raises(LocalProtocolError):
        call.reinvite(OFFER)
    wire.do(call.hangup)
    assert wire.one().status == 480
    with pytest.raises(LocalProtocolError):
        call.ring()
    with pytest.raises(LocalProtocolError):
        call.request("INFO")
    wire.do(call.hangup)
    assert len(wire.told(events.CallEnded)) == 1


def test_an_incoming_call_over_a_connection_that_breaks() -> None:
    wire, bob = Wire("tcp"), Caller(transport="TCP")
    wire.deliver(bob.request("INVITE", body=OFFER))
    wire.drop(wire.flow())
    assert wire.last(events.CallEnded).by == "network"
    wire.drain()


def test_a_refusal_that_is_never_acknowledged_ends() -> None:
    wire, bob = Wire(), Caller()
    wire.deliver(bob.request("INVITE", body=OFFER))
    wire.do(wire.last(events.CallIncoming).call.reject)
    wire.run(33)
    assert not len(wire.engine._core.layer)


def test_a_fault_of_ours_does_not_end_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    wire, bob = Wire(), Caller()
    monkeypatch.setattr(type(wire.engine._core.layer), "on_request", lambda *args: 1 / 0)
    wire.engine.receive(bob.request("OPTIONS"), wire.flow(), wire.clock)
    assert wire.engine.next_event() == events.ProtocolWarning("fault", "ZeroDivisionError: division by zero")


def test_T23_a_flood_of_nonsense_is_no_flood_of_warnings() -> None:
    """Two thousand a second would be two thousand lines in a journal.  Fails without ``WarningRation.take``."""
    wire = Wire()
    for _ in range(2000):
        wire.deliver(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
    told = [event.message for event in wire.told(events.ProtocolWarning)]
    assert len(told) == WARNINGS
    wire.run(WARNING_WINDOW)
    wire.deliver(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
    wire.deliver(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
    after = [event.message for event in wire.told(events.ProtocolWarning)][WARNINGS:]
    assert after == [f"{told[0]} ({2000 - WARNINGS} more like it were not told)", told[0]]


def test_a_flood_of_one_kind_hides_no_other_warning() -> None:
    ration = WarningRation()
    said = [ration.take("malformed", "nonsense", 0.0) for _ in range(WARNINGS + 1)]
    assert said == ["nonsense"] * WARNINGS + [None]
    assert ration.take("fault", "a bug", 0.0) == "a bug"
    assert ration.take("malformed", "nonsense", WARNING_WINDOW - 0.1) is None


def test_a_fault_in_one_timer_leaves_the_others() -> None:
    wire = Wire(account=False)
    fired = []

    class Owner:
        def on_timer(self, name: str) -> None:
            fired.append(name)
            assert name != "bad"

    wheel, owner = wire.engine._core.wheel, Owner()
    for name in ("bad", "good"):
        wheel.arm(owner, name, wire.clock)
    wire.engine.handle_timer(wire.clock)
    assert fired == ["bad", "good"]
    assert wire.engine.next_event().code == "fault"


def test_challenged_oneshots_end_with_their_account() -> None:
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.message("work", BOB, b"hi"))
    wire.deliver(gate.ask(wire.one()))
    wire.do(lambda: wire.engine.message("work", BOB, b"ho"))
    wire.take()
    wire.do(wire.engine.close)
    assert [str(done.why)[:7] for done in wire.told(events.RequestDone)] == ["closed:"] * 2
    assert len(wire.told(AuthChallenged)) == 1
    assert not wire.session.pending
    wire.drain()
