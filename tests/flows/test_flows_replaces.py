"""An INVITE with Replaces: which call it takes the place of, who may, and every refusal (RFC 3891 section 3)."""

from __future__ import annotations

import pytest

from sipcli.errors import ParseError
from sipcli.sip import events
from sipcli.sip.calls.indialog import CallState
from sipcli.sip.calls.replaces import Replaces
from tests.support.pair import ANSWER, OFFER, Caller, Gate, Heard, Wire, response


def carol(call_id: str = "call-of-carol") -> Caller:
    return Caller(user="carol", tag="caroltag", call_id=call_id)


def naming(invite: Heard, *, to_tag: str | None = None, more: str = "") -> str:
    """The header that names the call which *invite* of ours made, as its other end passes it on."""
    return f"Replaces: {invite.call_id};to-tag={to_tag or invite.from_tag};from-tag=peer{more}"


def home() -> tuple[Wire, object, Heard, Caller]:
    """A call through our own server."""
    wire = Wire()
    call, invite, bob = wire.established()
    return wire, call, invite, bob


def refused(wire: Wire, *lines: str, by: Caller | None = None, body: bytes = OFFER) -> int:
    before = len(wire.told(events.CallIncoming))
    wire.deliver((by or carol()).request("INVITE", *lines, body=body))
    assert len(wire.told(events.CallIncoming)) == before
    return wire.one().status


def test_D04_a_new_call_takes_the_place_of_the_old_one() -> None:
    wire, call, invite, _ = home()
    assert "replaces" in invite.header("supported")
    new = carol()
    wire.deliver(new.request("INVITE", naming(invite), "Require: replaces", body=OFFER))
    arrived = wire.last(events.CallIncoming).call
    assert arrived.replaces is call
    assert wire.silent(), "the old call stays until the new one is answered"
    wire.do(lambda: arrived.accept(ANSWER))
    ok, bye = wire.take()
    assert (ok.status, ok.call_id) == (200, "call-of-carol")
    assert (bye.method, bye.call_id) == ("BYE", invite.call_id)
    wire.deliver(response(bye, 200, "OK"))
    assert wire.last(events.CallEnded).call is call
    new.joins(ok)
    wire.deliver(new.request("ACK", cseq=new.cseq))
    assert arrived.state is CallState.CONFIRMED
    wire.deliver(new.request("BYE"))
    wire.take()
    wire.drain()


def test_D04_a_new_call_that_is_not_taken_leaves_the_old_one() -> None:
    wire, call, invite, _ = home()
    wire.deliver(carol().request("INVITE", naming(invite), body=OFFER))
    wire.do(lambda: wire.last(events.CallIncoming).call.reject(488))
    assert wire.one().status == 488
    assert call.state is CallState.CONFIRMED  # type: ignore[attr-defined]


def test_D04_two_replaces_are_400() -> None:
    wire, _, invite, _ = home()
    assert refused(wire, naming(invite), naming(invite)) == 400


@pytest.mark.parametrize(
    "value", ["", "a", "a;to-tag=1", "a;from-tag=1", "a;to-tag=1;from-tag=2;to-tag=3", ";to-tag=1"]
)
def test_D04_a_replaces_that_names_no_dialog_is_400(value: str) -> None:
    wire, _, _, _ = home()
    if value:
        assert refused(wire, f"Replaces: {value}") == 400
    with pytest.raises(ParseError):
        Replaces.parse(value)


def test_D04_a_replaces_in_another_request_or_inside_a_call_is_400() -> None:
    wire, _, invite, bob = home()
    wire.deliver(carol().request("OPTIONS", naming(invite)))
    assert wire.one().status == 400
    wire.deliver(bob.request("INVITE", naming(invite), body=OFFER))
    assert wire.one().status == 400


def test_D04_no_such_call_is_481() -> None:
    wire, _, invite, _ = home()
    assert refused(wire, naming(invite, to_tag="other")) == 481


def test_D04_a_call_that_is_over_is_603() -> None:
    wire, call, invite, _ = home()
    wire.do(call.hangup)  # type: ignore[attr-defined]
    bye = wire.one()
    assert refused(wire, naming(invite)) == 603, "while its BYE is out"
    wire.deliver(response(bye, 200, "OK"))
    assert refused(wire, naming(invite), by=carol("later")) == 603


def test_D04_early_only_of_an_answered_call_is_486() -> None:
    wire, call, invite, _ = home()
    assert refused(wire, naming(invite, more=";early-only")) == 486
    assert call.state is CallState.CONFIRMED  # type: ignore[attr-defined]


def test_D04_a_call_that_we_still_place_is_cancelled() -> None:
    wire = Wire()
    call = wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", "Contact: <sip:bob@192.0.2.1:5060>"))
    wire.deliver(carol().request("INVITE", naming(invite, more=";early-only"), body=OFFER))
    arrived = wire.last(events.CallIncoming).call
    assert arrived.replaces is call
    wire.do(lambda: arrived.accept(ANSWER))
    assert [(heard.method, heard.call_id) for heard in wire.take()] == [
        ("INVITE", "call-of-carol"),
        ("CANCEL", invite.call_id),
    ]


def test_D04_a_call_that_rings_at_ours_is_not_replaced() -> None:
    wire, bob = Wire(), Caller()
    wire.register(Gate())
    wire.deliver(bob.request("INVITE", body=OFFER))
    call = wire.last(events.CallIncoming).call
    wire.do(call.ring)
    tag = wire.take()[-1].to_tag
    assert refused(wire, f"Replaces: {bob.call_id};to-tag={tag};from-tag={bob.tag}") == 481
    assert call.state is CallState.RINGING


def test_T22_a_replacement_comes_through_our_own_server() -> None:
    """Fails without the origin in _may_replace: who read the tags off the wire could take the call over."""
    wire, call, invite, _ = home()
    before = len(wire.told(events.CallIncoming))
    wire.deliver(carol().request("INVITE", naming(invite), body=OFFER), wire.flow(("198.51.100.7", 5060)))
    assert wire.one().status == 403
    assert len(wire.told(events.CallIncoming)) == before
    assert call.state is CallState.CONFIRMED  # type: ignore[attr-defined]


def test_T22_a_call_that_came_from_elsewhere_is_not_replaced() -> None:
    """Fails without ``at_home`` in _may_replace: its other end is nobody our server knows."""
    wire = Wire()
    wire.register(Gate())
    stranger = Caller(address="198.51.100.7:5060", contact="<sip:eve@198.51.100.7:5060>")
    far = wire.flow(("198.51.100.7", 5060))
    wire.deliver(stranger.request("INVITE", body=OFFER), far)
    call = wire.last(events.CallIncoming).call
    wire.do(lambda: call.accept(ANSWER))
    stranger.joins(wire.take()[-1])
    wire.deliver(stranger.request("ACK", cseq=stranger.cseq), far)
    tag = stranger.to.rpartition("tag=")[2]
    assert refused(wire, f"Replaces: {stranger.call_id};to-tag={tag};from-tag={stranger.tag}") == 403


def test_the_header_is_read_as_it_is_written() -> None:
    replaces = Replaces("7@x", "1", "2", early_only=True)
    assert Replaces.parse(str(replaces)) == replaces
    assert replaces.escaped == "7%40x%3Bto-tag%3D1%3Bfrom-tag%3D2%3Bearly-only"
    assert Replaces.parse("7;from-tag=0;to-tag=a").dialog_id == ("7", "a", "")
