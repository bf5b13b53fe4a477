"""What every request of ours carries, and when it is too large for UDP (RFC 3261 8.1.1, 18.1.1, RFC 3581; B13)."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.sip import events
from sipcli.sip.calls.indialog import CallState
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, OFFER, Caller, Gate, Heard, Wire, response

BOB = "Contact: <sip:bob@192.0.2.1:5060>"
LIMIT = 1300


def everything(transport: str) -> list[Heard]:
    """One of each request that we send: in and out of dialogs, by a transaction or by a usage."""
    wire, gate = Wire(transport), Gate()  # type: ignore[arg-type]
    wire.register(gate)
    for method in ("OPTIONS", "MESSAGE", "SUBSCRIBE"):
        wire.do(lambda method=method: wire.engine.request("work", method, SipUri.parse("sip:bob@example.com")))
    call = wire.call()
    invite = wire.take()[-1]
    wire.deliver(response(invite, 180, "Ringing", BOB))
    wire.do(call.hangup)
    wire.deliver(response(invite, 487, "Request Terminated"))
    wire.take()
    call, _, _ = wire.established()
    for method in ("INFO", "UPDATE", "REFER"):
        wire.do(lambda method=method: call.request(method, headers=(("Refer-To", "<sip:c@example.com>"),)))
    wire.do(lambda: call.reinvite(OFFER))
    wire.do(call.hangup)
    return [heard for heard in wire.sent if not heard.is_response]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_B13_every_request_has_70_hops_a_branch_with_the_cookie_and_rport_on_udp(transport: str) -> None:
    sent = everything(transport)
    methods = {
        "REGISTER",
        "OPTIONS",
        "MESSAGE",
        "SUBSCRIBE",
        "INVITE",
        "CANCEL",
        "ACK",
        "INFO",
        "UPDATE",
        "REFER",
        "BYE",
    }
    assert {heard.method for heard in sent} == methods
    for heard in sent:
        assert heard.all("max-forwards") == ["70"], heard
        (via,) = heard.all("via")
        assert via.startswith(f"SIP/2.0/{transport.upper()} 192.0.2.99:5062;"), heard
        assert heard.branch.startswith("z9hG4bK")
        assert len(heard.branch) >= 7 + 32
        assert (";rport" in via) == (transport == "udp"), heard
    of = {heard.branch: heard for heard in sent}
    shared = [heard for heard in sent if of[heard.branch].data != heard.data]
    assert {heard.method for heard in shared} <= {"INVITE", "CANCEL", "ACK"}, "a branch is one transaction's"


def sized(wire: Wire, octets: int) -> tuple[Any, bytes]:
    """An INVITE to the same place as before that is as long as that, Via and all."""
    base = len(wire.sent[0].data) - len(OFFER)
    body = OFFER + b"a=" + b"x" * (octets - base - len(OFFER) - 2 - 1)  # Content-Length has one digit more
    call = wire.do(lambda: wire.engine.invite(None, SipUri.parse("sip:bob@192.0.2.1"), body))
    return call, wire.take()[-1].data


def warm() -> Wire:
    """A UDP flow to that place is known."""
    wire = Wire(account=False)
    wire.do(lambda: wire.engine.invite(None, SipUri.parse("sip:bob@192.0.2.1"), OFFER))
    wire.take()
    return wire


def test_B13_1300_octets_go_by_udp_and_one_more_by_tcp_with_another_via() -> None:
    wire = warm()
    _, data = sized(wire, LIMIT)
    assert (len(data), wire.sent_over[-1].transport) == (LIMIT, "udp")
    _, data = sized(wire, LIMIT + 1)
    assert wire.sent_over[-1].transport == "tcp"
    assert b"Via: SIP/2.0/TCP " in data
    assert b"rport" not in data
    assert wire.sent_over[-1].remote == ("192.0.2.1", 5060), "the same address and port"


def test_B13_where_tcp_is_refused_it_goes_by_udp_after_all() -> None:
    wire = warm()
    wire.grant = False
    body = OFFER + b"a=" + b"x" * LIMIT
    wire.do(lambda: wire.engine.invite(None, SipUri.parse("sip:bob@192.0.2.1"), body))
    wanted = wire.last(events.FlowWanted)
    assert wire.silent()
    wire.do(lambda: wire.engine.flow_failed(wanted.ticket, "connect: refused", wire.clock))
    invite = wire.one()
    assert wire.sent_over[-1].transport == "udp"
    assert invite.header("via").startswith("SIP/2.0/UDP ")
    wire.deliver(response(invite, 200, "OK", BOB, body=ANSWER))
    assert wire.one().method == "ACK"


# -- the way back of our responses (RFC 3261 section 18.2, RFC 3581 section 4) ------------------------------


@pytest.mark.parametrize(
    ("sent_by", "asks", "said", "port"),
    [
        ("10.0.0.5:5099", True, "received=192.0.2.1 rport=5060", 5060),
        ("192.0.2.1:5099", True, "received=192.0.2.1 rport=5060", 5060),
        ("10.0.0.5:5099", False, "received=192.0.2.1", 5099),
        ("phone.example.com", False, "received=192.0.2.1", 5060),
        ("192.0.2.1:5099", False, "", 5099),
        ("192.0.2.1", False, "", 5060),
    ],
)
def test_B13_a_response_goes_to_received_and_rport_or_to_the_port_of_the_via(
    sent_by: str, asks: bool, said: str, port: int
) -> None:
    wire, bob = Wire(), Caller(address=sent_by)
    data = bob.request("OPTIONS")
    wire.deliver(data if asks else data.replace(b";rport", b""))
    answer = wire.one()
    params = answer.header("via").split(";")[1:]
    assert {param for param in params if not param.startswith("branch=")} == set(said.split())
    assert answer.header("via").startswith(f"SIP/2.0/UDP {sent_by};")
    assert wire.sent_over[-1].remote == ("192.0.2.1", port)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_B13_over_a_connection_the_response_goes_back_on_it(transport: str) -> None:
    wire, bob = Wire(transport), Caller(address="10.0.0.5:5099", transport=transport.upper())  # type: ignore[arg-type]
    flow = wire.flow(("192.0.2.50", 40001))
    wire.deliver(bob.request("OPTIONS").replace(b";rport", b""), flow)
    assert wire.one().status == 200
    assert wire.sent_over[-1] == flow


# -- datagrams that are shorter or longer than they say (section 18.3) --------------------------------------


def test_B16_a_request_whose_body_is_cut_off_is_400_and_a_response_is_nothing() -> None:
    wire, bob = Wire(), Caller()
    wire.deliver(bob.request("INVITE", body=OFFER)[:-1])
    assert wire.one().status == 400
    assert not wire.told(events.CallIncoming)
    call = wire.call()
    ok = response(wire.one(), 200, "OK", BOB, body=ANSWER)
    wire.deliver(ok[:-1])
    assert wire.silent()
    assert call.state is CallState.INVITING
    wire.deliver(ok + b"and more")
    assert wire.one().method == "ACK"
    assert wire.last(events.CallAnswered).sdp == ANSWER
    wire.drain()


def test_B16_an_ack_whose_body_is_cut_off_is_answered_by_nobody() -> None:
    wire, bob = Wire(), Caller()
    wire.deliver(bob.request("ACK", body=OFFER)[:-1])
    assert wire.silent()
