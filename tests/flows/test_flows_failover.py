"""The next server, and what stays with the one that was asked (RFC 3263 section 4.3, RFC 3261 9.1, 17.1.1.3; C01)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from tests.support.pair import OFFER, Wire, response

FIRST, SECOND = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
BOB = "Contact: <sip:bob@192.0.2.2:5060>"


def two(transport: str = "udp") -> Wire:
    return Wire(transport, servers=(FIRST, SECOND))  # type: ignore[arg-type]


def ask(wire: Wire, method: str) -> None:
    if method == "INVITE":
        wire.call()
    elif method == "REGISTER":
        wire.do(lambda: wire.engine.register("work", keep=False))
    else:
        wire.do(lambda: wire.engine.request("work", method, wire.profile.aor))


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "OPTIONS", "MESSAGE"])
@pytest.mark.parametrize("why", ["503", "silence", "broken"])
def test_C01_the_next_server_is_asked_with_a_new_branch(method: str, why: str) -> None:
    """After 503, Timer B or F, and an error of the transport."""
    wire = two("tcp" if why == "broken" else "udp")
    ask(wire, method)
    first = wire.one()
    assert wire.sent_over[-1].remote == FIRST
    match why:
        case "503":
            wire.deliver(response(first, 503, "Service Unavailable"))
        case "silence":
            wire.run(31.9)
            assert {flow.remote for flow in wire.sent_over} == {FIRST}, "not before the timer"
            wire.run(0.15)
        case _:
            wire.drop(wire.sent_over[-1])
    second = wire.take()[-1]
    assert (second.method, wire.sent_over[-1].remote) == (method, SECOND)
    assert second.branch not in {heard.branch for heard in wire.sent[:-1]}
    assert second.call_id == first.call_id


@pytest.mark.parametrize("status", [404, 480, 486, 500, 504, 600])
def test_C01_any_other_answer_is_an_answer(status: int) -> None:
    wire = two()
    wire.call()
    wire.deliver(response(wire.one(), status, "No"))
    assert [heard.method for heard in wire.take()] == ["ACK"]
    assert wire.last(events.CallEnded).code == status


def test_C01_cancel_and_ack_go_where_the_invite_went() -> None:
    """To the second server, with its branch: no other knows what they are about."""
    wire = two()
    call = wire.call()
    wire.deliver(response(wire.one(), 503, "Service Unavailable"))
    invite, flow = wire.take()[-1], wire.sent_over[-1]
    assert flow.remote == SECOND
    wire.deliver(response(invite, 180, "Ringing", BOB), flow)
    wire.do(call.hangup)
    cancel = wire.one()
    assert (cancel.method, cancel.branch, wire.sent_over[-1]) == ("CANCEL", invite.branch, flow)
    wire.deliver(response(cancel, 200, "OK"), flow)
    wire.deliver(response(invite, 487, "Request Terminated"), flow)
    ack = wire.one()
    assert (ack.method, ack.branch, wire.sent_over[-1]) == ("ACK", invite.branch, flow)


def test_C01_who_asked_for_no_more_is_not_taken_to_the_next_server() -> None:
    """Hung up while the first one was silent: nobody's phone rings afterwards."""
    wire = two()
    call = wire.call()
    wire.do(call.hangup)
    wire.take()
    wire.run(40)
    assert SECOND not in {flow.remote for flow in wire.sent_over}
    assert wire.last(events.CallEnded).by == "local"
    wire.drain()


# -- whose connection is used again (C03) -------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_C03_an_alias_is_no_way_to_anybody(transport: str) -> None:
    """RFC 5923 lets who proved his name ask for reuse.  We honour no alias: a stranger could name any address in his
    Via, and get what is meant for it."""
    wire = Wire(transport)  # type: ignore[arg-type]
    stranger = wire.flow(("192.0.2.66", 40001), identity=None)
    lines = (
        "OPTIONS sip:alice@example.com SIP/2.0",
        f"Via: SIP/2.0/{transport.upper()} 192.0.2.7:5061;alias;branch=z9hG4bK-alias",
        "From: <sip:m@example.net>;tag=m",
        "To: <sip:alice@example.com>",
        "Call-ID: alias",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
    )
    wire.deliver(("\r\n".join(lines) + "\r\n\r\n").encode(), stranger)
    assert wire.one().status == 200
    wire.call(f"sip:bob@192.0.2.7:5061;transport={transport}")
    assert wire.one().body == OFFER
    assert wire.sent_over[-1].remote == ("192.0.2.7", 5061)
    assert "alias" not in wire.sent[-1].header("via"), "nor do we ask for it"
