"""A 3xx to our INVITE: a refusal, unless somebody says whither; and nothing of ours goes along (RFC 3261 8.1.3.4)."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged, GiveUp
from sipcli.sip.calls.redirect import DECIDE_LIMIT
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, Gate, Heard, Wire, response

ELSEWHERE = SipUri.parse("sip:bob@198.51.100.7:5060")


def moved(wire: Wire, *contacts: str, status: int = 302, gate: Gate | None = None) -> tuple[Any, Heard]:
    """A call that waits for a word on a 3xx; *gate* had it prove who we are first."""
    call = wire.call()
    call.redirects = True
    invite = wire.one()
    if gate is not None:
        wire.deliver(gate.ask(invite))
        assert wire.one().method == "ACK"
        wire.respond()
        invite = wire.one()
        assert gate.admits(invite)
    lines = [f"Contact: {contact}" for contact in contacts]
    wire.deliver(response(invite, status, "Moved", *lines))
    assert wire.one().method == "ACK"
    return call, invite


def test_T22_a_3xx_is_a_refusal_by_default() -> None:
    """Fails when OutgoingCall follows without being told to."""
    wire = Wire()
    call = wire.call()
    wire.deliver(response(wire.one(), 302, "Moved Temporarily", f"Contact: <{ELSEWHERE}>"))
    assert wire.one().method == "ACK"
    ended = wire.last(events.CallEnded)
    assert (ended.call, ended.code, ended.by) == (call, 302, "remote")
    wire.drain()


def test_a_redirected_call_goes_on_under_the_same_call_id() -> None:
    wire = Wire()
    call, invite = moved(wire, f"<{ELSEWHERE}>")
    assert wire.last(events.CallRedirected).targets == (ELSEWHERE,)
    assert wire.do(lambda: call.redirect(ELSEWHERE))
    again = wire.one()
    assert again.uri == str(ELSEWHERE)
    assert wire.sent_over[-1].remote == ("198.51.100.7", 5060)
    for header in ("call-id", "from", "to"):
        assert again.header(header) == invite.header(header)
    assert (again.cseq, again.body) == (invite.cseq + 1, invite.body)
    wire.deliver(response(again, 200, "OK", f"Contact: <{ELSEWHERE}>", body=ANSWER), wire.flow(("198.51.100.7", 5060)))
    assert wire.one().method == "ACK"
    assert str(call.remote.uri) == "sip:bob@198.51.100.7:5060"
    assert wire.last(events.CallAnswered).call is call


def test_T22_no_credentials_go_along_and_no_challenge_of_the_new_target_is_answered() -> None:
    """Fails when the new INVITE keeps the old one's Authorization, or takes its new server for the account's own."""
    wire = Wire()
    gate = Gate(proxy=True)
    call, _ = moved(wire, f"<{ELSEWHERE}>", gate=gate)
    wire.do(lambda: call.redirect(ELSEWHERE))
    again = wire.one()
    assert not again.has("authorization") and not again.has("proxy-authorization")
    asked = len(wire.told(AuthChallenged))
    wire.deliver(Gate().ask(again), wire.flow(("198.51.100.7", 5060)))
    assert wire.one().method == "ACK"
    assert len(wire.told(AuthChallenged)) == asked
    ended = wire.last(events.CallEnded)
    assert (ended.code, ended.why) == (401, GiveUp.FOREIGN_ORIGIN)


def test_T22_through_our_own_proxy_a_new_target_asks_for_a_realm_in_vain() -> None:
    """Fails without ``_standing``: whoever redirected us may sit behind our proxy, and ask for any realm through it."""
    wire = Wire(proxy="sip:192.0.2.1;lr")
    gate = Gate(proxy=True)
    call, _ = moved(wire, "<sip:eve@evil.example>", gate=gate)
    wire.do(lambda: call.redirect(SipUri.parse("sip:eve@evil.example")))
    again = wire.one()
    assert wire.sent_over[-1].remote == ("192.0.2.1", 5060)
    asked = len(wire.told(AuthChallenged))
    wire.deliver(Gate(realm="evil.example").ask(again))
    assert wire.one().method == "ACK"
    assert len(wire.told(AuthChallenged)) == asked
    assert wire.last(events.CallEnded).why is GiveUp.FOREIGN_ORIGIN


def test_T22_nobody_decides_and_it_is_a_refusal() -> None:
    """Fails without the timer in _wait_for_word."""
    wire = Wire()
    call, _ = moved(wire, f"<{ELSEWHERE}>")
    wire.run(DECIDE_LIMIT + 0.1)
    assert wire.last(events.CallEnded).code == 302
    assert not call.redirect(ELSEWHERE)
    wire.drain()


def test_to_hang_up_or_to_stay_ends_it() -> None:
    for act, by in (("stay", "remote"), ("hangup", "local")):
        wire = Wire()
        call, _ = moved(wire, f"<{ELSEWHERE}>")
        wire.do(getattr(call, act))
        assert wire.last(events.CallEnded).by == by
        assert wire.silent()
        wire.drain()


@pytest.mark.parametrize("status", [305, 380, 399])
def test_T22_other_3xx_lead_nowhere(status: int) -> None:
    """Fails when redirected_to takes every 3xx: a 305 would put a stranger's proxy into our way."""
    wire = Wire()
    moved(wire, f"<{ELSEWHERE}>", status=status)
    assert not wire.told(events.CallRedirected)
    assert wire.last(events.CallEnded).code == status


def test_T22_contacts_that_are_no_sip_and_headers_in_them_are_left_out() -> None:
    """Fails when a ``tel:`` counts as a target, or the headers of a Contact become ours."""
    wire = Wire()
    moved(
        wire,
        "<tel:+4990012345>",
        "<sip:low@example.net>;q=0.2",
        "<sip:high@example.net?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2&Route=%3Csip:evil%3E>;q=0.8",
        "<sip:odd@example.net>;q=much",
    )
    assert [str(target) for target in wire.last(events.CallRedirected).targets] == [
        "sip:high@example.net",
        "sip:low@example.net",
        "sip:odd@example.net",
    ]


@pytest.mark.parametrize("contacts", [(), ("<tel:+4990012345>",)])
def test_a_3xx_that_names_nobody_is_a_refusal(contacts: tuple[str, ...]) -> None:
    wire = Wire()
    moved(wire, *contacts)
    assert wire.last(events.CallEnded).code == 302
