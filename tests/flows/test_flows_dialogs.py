"""What keeps a dialog together and what ends it (RFC 3261 sections 12 and 13.2.2.4, RFC 5057; B07, B08, B10)."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.sip import events
from sipcli.sip.calls.indialog import CallState
from tests.support.pair import ANSWER, OFFER, Caller, Wire, response

HOLD = OFFER + b"a=sendonly\r\n"
NEW = "sip:bob@192.0.2.1:5077"
ROUTES = ("<sip:192.0.2.1;lr>", "<sip:far.example.com;lr>")
ALLOWS_UPDATE = "Allow: INVITE, ACK, BYE, UPDATE"


def either(role: str, **options: Any) -> tuple[Wire, Any, Caller]:
    """A call that is up, with us as its caller (``alice``) or as the called one (``bob``)."""
    wire = Wire()
    call, _, peer = wire.established() if role == "alice" else wire.answered(**options)
    wire.take()
    return wire, call, peer


BOTH = pytest.mark.parametrize("role", ["alice", "bob"])


# -- the three-way handshake (B07, B08) --------------------------------------------------------------------


def test_B07_the_ack_of_a_2xx_is_a_transaction_of_its_own_along_the_route_set() -> None:
    """Also of a re-INVITE, which has the later number."""
    wire = Wire()
    lines = tuple(f"Record-Route: {route}" for route in reversed(ROUTES))
    call, invite, _ = wire.established(*lines)
    first = wire.sent[-1]
    wire.do(lambda: call.reinvite(HOLD))
    again = wire.one()
    wire.deliver(response(again, 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>", body=ANSWER))
    for request, ack in ((invite, first), (again, wire.one())):
        assert (ack.method, ack.header("cseq")) == ("ACK", f"{request.cseq} ACK")
        assert ack.all("route") == list(ROUTES)
        assert ack.uri == "sip:bob@192.0.2.1:5060"
        assert ack.branch not in {heard.branch for heard in wire.sent if heard is not ack}
        assert (ack.call_id, ack.from_tag, ack.to_tag) == (invite.call_id, invite.from_tag, "peer")
        assert ack.header("max-forwards") == "70"


def test_B07_the_2xx_of_a_reinvite_is_acknowledged_each_time() -> None:
    wire, call, _ = either("alice")
    wire.do(lambda: call.reinvite(HOLD))
    ok = response(wire.one(), 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>", body=ANSWER)
    for _ in range(3):
        wire.deliver(ok)
    assert len({heard.data for heard in wire.take()}) == 1
    assert [heard.method for heard in wire.sent[-3:]] == ["ACK"] * 3
    assert len(wire.told(events.CallReanswered)) == 1


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("which", ["INVITE", "re-INVITE"])
def test_B08_a_2xx_is_repeated_from_t1_up_to_every_t2_and_then_comes_bye(transport: Any, which: str) -> None:
    """On any transport: only the two ends know that it came (RFC 3261 section 13.3.1.4)."""
    wire, bob = Wire(transport), Caller(transport=transport.upper())
    wire.deliver(bob.request("INVITE", body=OFFER))
    call = wire.last(events.CallIncoming).call
    wire.do(lambda: call.accept(ANSWER))
    if which == "re-INVITE":
        bob.joins(wire.one())
        wire.deliver(bob.request("ACK", cseq=bob.cseq))
        wire.deliver(bob.request("INVITE", body=OFFER))
        wire.do(lambda: call.answer_reinvite(ANSWER))
    ok, began = wire.one(), wire.clock
    said: list[tuple[float, str]] = []
    while wire.clock < began + 32.05:
        wire.run(0.05)
        said += [(round(wire.clock - began, 1), heard.start.split()[0]) for heard in wire.take()]
    repeated = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert said == [*((at, "SIP/2.0") for at in repeated), (32.0, "BYE")]
    assert {heard.data for heard in wire.sent[-11:-1]} == {ok.data}
    wire.drain()


# -- target refresh (B10) -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_B10_their_reinvite_or_update_moves_the_target(role: str, method: str) -> None:
    wire, call, peer = either(role)
    peer.contact = f"<{NEW}>"
    wire.deliver(peer.request(method, body=HOLD))
    wire.do(lambda: call.answer_reinvite(ANSWER))
    wire.take()
    if method == "INVITE":
        wire.deliver(peer.request("ACK", cseq=peer.cseq))
    wire.do(call.hangup)
    assert wire.one().uri == NEW


@BOTH
def test_B10_an_update_without_an_offer_moves_it_too(role: str) -> None:
    wire, call, peer = either(role)
    peer.contact = f"<{NEW}>"
    wire.deliver(peer.request("UPDATE"))
    wire.take()
    wire.do(call.hangup)
    assert wire.one().uri == NEW


@BOTH
def test_B10_the_2xx_to_our_reinvite_moves_the_target(role: str) -> None:
    wire, call, _ = either(role)
    wire.do(lambda: call.reinvite(HOLD))
    wire.deliver(response(wire.one(), 200, "OK", f"Contact: <{NEW}>", body=ANSWER))
    assert wire.one().uri == NEW, "so the ACK goes there already"
    wire.do(call.hangup)
    assert wire.one().uri == NEW


@BOTH
@pytest.mark.parametrize("method", ["UPDATE", "REFER"])
def test_B10_the_2xx_to_any_other_refresh_of_ours_moves_it(role: str, method: str) -> None:
    """RFC 3311 section 5.1, RFC 6665 section 4.1.2.1; also to the UPDATE of a session timer, which has no offer."""
    wire, call, _ = either(role)
    lines = (("Refer-To", "<sip:carol@example.com>"),) if method == "REFER" else ()
    wire.do(lambda: call.request(method, headers=lines))
    wire.deliver(response(wire.one(), 200, "OK", f"Contact: <{NEW}>"))
    wire.do(call.hangup)
    assert wire.one().uri == NEW


@BOTH
@pytest.mark.parametrize("method", ["INFO", "OPTIONS", "MESSAGE"])
def test_B10_no_other_2xx_does(role: str, method: str) -> None:
    wire, call, _ = either(role)
    wire.do(lambda: call.request(method))
    wire.deliver(response(wire.one(), 200, "OK", f"Contact: <{NEW}>"))
    wire.do(call.hangup)
    assert wire.one().uri == "sip:bob@192.0.2.1:5060"


def test_B10_a_notify_of_our_refer_moves_it_too() -> None:
    """RFC 5057 section 5.4 counts it in."""
    wire, call, peer = either("alice")
    wire.do(lambda: call.refer("<sip:carol@example.com>"))
    wire.deliver(response(wire.one(), 202, "Accepted"))
    peer.contact = f"<{NEW}>"
    lines = ("Event: refer", "Subscription-State: active;expires=60")
    wire.deliver(peer.request("NOTIFY", *lines, body=b"SIP/2.0 100 Trying", kind="message/sipfrag"))
    assert wire.one().status == 200
    wire.do(call.hangup)
    assert wire.one().uri == NEW


def test_B10_the_2xx_to_an_early_update_of_ours_moves_it() -> None:
    wire, alice = Wire(), Caller()
    wire.deliver(alice.request("INVITE", "Supported: 100rel", ALLOWS_UPDATE, body=OFFER))
    call = wire.last(events.CallIncoming).call
    wire.do(lambda: call.ring(183, ANSWER))
    said = wire.one()
    alice.joins(said)
    wire.deliver(alice.request("PRACK", f"RAck: {said.header('rseq')} 1 INVITE"))
    wire.take()
    wire.do(lambda: call.reinvite(HOLD))
    update = wire.one()
    wire.deliver(response(update, 200, "OK", f"Contact: <{NEW}>", body=ANSWER))
    wire.do(lambda: call.accept(ANSWER))
    wire.deliver(alice.request("ACK", cseq=1))
    wire.take()
    wire.do(call.hangup)
    assert (update.method, wire.one().uri) == ("UPDATE", NEW)


@BOTH
@pytest.mark.parametrize(
    ("method", "lines", "status"),
    [
        ("INVITE", ("Require: precondition",), 420),
        ("INVITE", ("Content-Encoding: gzip",), 415),
        ("INVITE", ("Session-Expires: 60", "Supported: timer"), 422),
        ("UPDATE", ("Session-Expires: 60", "Supported: timer"), 422),
        ("FROBNICATE", (), 501),
    ],
)
def test_B10_B15_what_is_refused_moves_nothing(role: str, method: str, lines: tuple[str, ...], status: int) -> None:
    wire, call, peer = either(role)
    before = call.dialog.remote_target
    peer.contact = f"<{NEW}>"
    wire.deliver(peer.request(method, *lines, body=HOLD))
    assert wire.one().status == status
    assert not wire.told(events.CallReoffered)
    assert (call.dialog.remote_target, call.state) == (before, CallState.CONFIRMED)


@BOTH
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_B10_a_lower_number_is_500_and_moves_nothing(role: str, method: str) -> None:
    wire, call, peer = either(role)
    wire.deliver(peer.request("INFO", cseq=peer.cseq + 5))
    wire.take()
    before = call.dialog.remote_target
    peer.contact = f"<{NEW}>"
    wire.deliver(peer.request(method, body=HOLD))
    assert wire.one().status == 500
    assert call.dialog.remote_target == before
    assert not wire.told(events.CallReoffered)


@BOTH
@pytest.mark.parametrize("wrong", ["call_id", "tag", "to"])
def test_B10_a_dialog_is_its_call_id_and_both_tags(role: str, wrong: str) -> None:
    wire, call, peer = either(role)
    setattr(peer, wrong, "<sip:alice@example.com>;tag=another" if wrong == "to" else "another")
    wire.deliver(peer.request("BYE"))
    assert wire.one().status == 481
    assert call.state is CallState.CONFIRMED


# -- what an answer says about the call (RFC 5057 section 5.1) ----------------------------------------------


@BOTH
@pytest.mark.parametrize("status", [404, 410, 416, 482, 483, 484, 485, 502, 604])
def test_B10_an_answer_that_finds_nobody_at_the_end_of_the_dialog_ends_the_call(role: str, status: int) -> None:
    """The target or the way to it is no more: whatever comes later would fail as well."""
    wire, call, _ = either(role)
    wire.do(lambda: call.reinvite(HOLD))
    wire.deliver(response(wire.one(), status, "Nobody"))
    assert [heard.method for heard in wire.take()] == ["ACK", "BYE"]
    ended = wire.last(events.CallEnded)
    assert (ended.by, ended.code) == ("network", status)
    wire.drain()


@pytest.mark.parametrize("status", [400, 403, 415, 420, 486, 488, 500, 503, 504, 600, 603, 606])
def test_B10_an_answer_about_the_request_alone_leaves_the_call(status: int) -> None:
    wire, call, _ = either("alice")
    wire.do(lambda: call.reinvite(HOLD))
    wire.deliver(response(wire.one(), status, "No"))
    assert [heard.method for heard in wire.take()] == ["ACK"]
    assert call.state is CallState.CONFIRMED


@pytest.mark.parametrize("status", [404, 408, 481, None])
def test_B10_a_text_that_was_not_delivered_costs_no_call(status: int | None) -> None:
    """A MESSAGE belongs to no usage of the dialog (RFC 5057 section 5.3): its fate is its own."""
    wire, call, _ = either("alice")
    wire.do(lambda: call.request("MESSAGE", body=b"psst", content_type="text/plain"))
    if status is None:
        wire.run(32.1)
        wire.take()
    else:
        wire.deliver(response(wire.one(), status, "No"))
    assert wire.silent()
    assert call.state is CallState.CONFIRMED
    assert len(wire.told(events.RequestDone)) == 1
