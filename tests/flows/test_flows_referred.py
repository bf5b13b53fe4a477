"""A REFER that comes to us, ladder by ladder: who may send it, what is taken of it, what it is told (RFC 3515)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged
from sipcli.sip.calls.refer import DECIDE_LIMIT, LIFETIME, ReferralState
from tests.support.pair import Caller, Gate, Heard, Wire, response

CAROL = "Refer-To: <sip:carol@example.com>"


def referred(wire: Wire, bob: Caller, *lines: str) -> events.CallReferred:
    wire.deliver(bob.request("REFER", *(lines or (CAROL,))))
    return wire.last(events.CallReferred)


def sipfrag(notify: Heard) -> tuple[str, str]:
    """The status line, and the state of the subscription."""
    assert notify.method == "NOTIFY"
    assert notify.header("content-type") == "message/sipfrag;version=2.0"
    return notify.body.decode().removesuffix("\r\n"), notify.header("subscription-state")


def accepted(wire: Wire, bob: Caller, *lines: str) -> tuple[events.CallReferred, Heard]:
    event = referred(wire, bob, *lines)
    assert wire.do(event.referral.accept)
    ok, notify = wire.take()
    assert (ok.status, ok.method) == (202, "REFER")
    assert ok.has("contact")
    return event, notify


def test_D04_a_refer_is_told_at_once_and_until_the_last_word() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    event, notify = accepted(wire, bob, CAROL, "Referred-By: <sip:bob@example.net>;cid=token@x")
    assert (event.call, str(event.referral.reference.target)) == (call, "sip:carol@example.com")
    assert event.referral.reference.referred_by == "<sip:bob@example.net>"
    assert sipfrag(notify) == ("SIP/2.0 100 Trying", f"active;expires={LIFETIME}")
    assert notify.header("event") == f"refer;id={bob.cseq}"
    assert (notify.uri, notify.has("contact")) == ("sip:bob@192.0.2.1:5060", True)
    wire.do(lambda: event.referral.report(180, "Ringing"))
    wire.do(lambda: event.referral.report(200, "OK"))
    assert wire.silent(), "two NOTIFYs in flight may arrive in the wrong order"
    wire.deliver(response(notify, 200, "OK"))
    last = wire.one()
    assert sipfrag(last) == ("SIP/2.0 200 OK", "terminated;reason=noresource")
    wire.deliver(response(last, 200, "OK"))
    wire.do(lambda: event.referral.report(486, "Busy Here"))
    assert wire.silent(), "after the last word there is none"
    wire.deliver(bob.request("BYE"))
    wire.take()
    wire.drain()


def test_D04_progress_is_told_as_it_comes() -> None:
    wire = Wire()
    _, _, bob = wire.established()
    event, notify = accepted(wire, bob)
    for code, reason in ((180, "Ringing"), (486, "Busy Here")):
        wire.deliver(response(notify, 200, "OK"))
        wire.do(lambda code=code, reason=reason: event.referral.report(code, reason))
        notify = wire.one()
        assert sipfrag(notify)[0] == f"SIP/2.0 {code} {reason}"
    assert sipfrag(notify)[1] == "terminated;reason=noresource"
    wire.deliver(response(notify, 481, "Gone"))
    assert not wire.told(events.CallEnded), "a 481 to a NOTIFY is no word on the call (RFC 5057 section 5.1)"


def test_D04_while_a_person_is_asked_the_subscription_is_pending() -> None:
    wire = Wire()
    _, _, bob = wire.established()
    event = referred(wire, bob)
    wire.do(lambda: event.referral.accept(pending=True))
    ok, notify = wire.take()
    assert ok.status == 202
    assert sipfrag(notify) == ("SIP/2.0 100 Trying", f"pending;expires={LIFETIME}")
    wire.deliver(response(notify, 200, "OK"))
    wire.do(event.referral.refuse)
    assert sipfrag(wire.one()) == ("SIP/2.0 603 Decline", "terminated;reason=noresource")
    assert not event.referral.accept(), "it is too late to agree"


def test_D04_a_person_who_never_answers_is_a_no() -> None:
    wire = Wire()
    _, _, bob = wire.established()
    event = referred(wire, bob)
    wire.do(lambda: event.referral.accept(pending=True))
    wire.deliver(response(wire.take()[1], 200, "OK"))
    wire.run(LIFETIME)
    assert sipfrag(wire.take()[0])[0] == "SIP/2.0 603 Decline"
    assert event.referral.state is ReferralState.OVER


def test_D04_refer_sub_false_makes_no_subscription() -> None:
    wire = Wire()
    _, invite, bob = wire.established()
    assert "norefersub" in invite.header("supported")
    event = referred(wire, bob, CAROL, "Refer-Sub: false", "Require: norefersub")
    wire.do(event.referral.accept)
    ok = wire.one()
    assert (ok.status, ok.header("refer-sub")) == (202, "false")
    wire.do(lambda: event.referral.report(200, "OK"))
    assert wire.silent()


@pytest.mark.parametrize(
    "lines",
    [
        ("X-Nothing: here",),
        (CAROL, "Refer-To: <sip:dave@example.com>"),
        ("Refer-To: <sip:carol@example.com>, <sip:dave@example.com>",),
        ("Refer-To: <>",),
        ("Refer-To: <sip:carol@example.com?Replaces=a%3Bto-tag%3D1>",),
        ("Refer-To: <sip:carol@example.com?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2&replaces=b>",),
        (CAROL, "Referred-By: <sip:a@b.c>", "Referred-By: <sip:d@e.f>"),
        (CAROL, "Replaces: a;to-tag=1;from-tag=2"),
    ],
)
def test_D04_not_exactly_one_refer_to_is_400(lines: tuple[str, ...]) -> None:
    wire = Wire()
    _, _, bob = wire.established()
    wire.deliver(bob.request("REFER", *lines))
    assert wire.one().status == 400
    assert not wire.told(events.CallReferred)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("tel:+491901234567", 416),
        ("http://example.com/", 416),
        ("sip:carol@example.com;method=BYE", 403),
        ("sip:carol@example.com;method=REFER", 403),
    ],
)
def test_T22_a_refer_to_what_is_no_call_is_refused(target: str, status: int) -> None:
    """Fails when read_refer takes any scheme (``.sip_uri``) or any method."""
    wire = Wire()
    _, _, bob = wire.established()
    wire.deliver(bob.request("REFER", f"Refer-To: <{target}>"))
    assert wire.one().status == status
    assert not wire.told(events.CallReferred)


def test_T22_of_the_headers_in_a_refer_to_only_replaces_is_taken() -> None:
    """Fails when the target keeps the headers of its URI: they could be From, Route or Subject of our own INVITE."""
    wire = Wire()
    _, _, bob = wire.established()
    headers = (
        "Route=%3Csip:evil.example%3E&From=%3Csip:boss%40example.com%3E&Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2"
    )
    event = referred(wire, bob, f"Refer-To: <sip:carol:secret@example.com;method=INVITE?{headers}&body=hello>")
    reference = event.referral.reference
    assert str(reference.target) == "sip:carol@example.com"
    assert str(reference.replaces) == "a@b;to-tag=1;from-tag=2"
    assert reference.dropped == ("body", "from", "route")


def test_T22_nobody_decides_and_it_is_declined() -> None:
    """Fails without the timer in Referral.start, and when a REFER is accepted by itself."""
    wire = Wire("tcp")
    call, _, bob = wire.established()
    event = referred(wire, bob)
    wire.run(DECIDE_LIMIT - 0.1)
    assert {heard.status for heard in wire.take()} <= {100}
    wire.run(0.2)
    assert wire.one().status == 603
    assert not event.referral.accept()
    assert call.state.value == "confirmed"


def test_T22_outside_of_a_call_a_refer_is_refused() -> None:
    """Fails without the REFER in Reception._open."""
    wire = Wire()
    wire.deliver(Caller().request("REFER", CAROL))
    assert wire.one().status == 603
    assert not wire.told(events.CallReferred)


def test_T22_a_stranger_with_a_refer_gets_no_answer_at_all() -> None:
    """Fails without REFER among the methods that must be welcome."""
    wire = Wire(config={"accept_calls": "bound"})
    wire.deliver(Caller().request("REFER", CAROL))
    assert wire.silent()


def test_T22_a_dialog_that_is_not_the_callers_is_481() -> None:
    wire = Wire()
    _, _, bob = wire.established()
    bob.tag = "guessed"
    wire.deliver(bob.request("REFER", CAROL))
    assert wire.one().status == 481


def test_T22_a_refer_into_a_call_through_our_server_comes_through_it() -> None:
    """Fails without the origin in Call.may_be_referred: who read the tags off the wire could send us anywhere."""
    wire = Wire()
    _, _, bob = wire.established()
    wire.deliver(bob.request("REFER", CAROL), wire.flow(("198.51.100.7", 5060)))
    assert wire.one().status == 403
    assert not wire.told(events.CallReferred)
    referred(wire, bob)


def test_T22_a_refer_into_a_direct_call_comes_from_its_other_end() -> None:
    """Fails without the address in Call.may_be_referred."""
    wire = Wire()
    _, _, bob = wire.answered()
    wire.deliver(bob.request("REFER", CAROL), wire.flow(("198.51.100.7", 5060)))
    assert wire.one().status == 403
    referred(wire, bob)


def test_T22_a_call_that_is_not_answered_cannot_be_transferred() -> None:
    """Fails without ``settled`` in Call.may_be_referred."""
    wire, bob = Wire(), Caller()
    wire.deliver(bob.request("INVITE", body=b""))
    call = wire.last(events.CallIncoming).call
    wire.do(call.ring)
    bob.joins(wire.one())
    wire.deliver(bob.request("REFER", CAROL))
    assert wire.one().status == 403


def test_T22_from_sips_a_transfer_leads_to_sips() -> None:
    """Fails without _secure in Referrals.on_refer."""
    wire = Wire("tls")
    _, _, bob = wire.established(contact="<sips:bob@192.0.2.1:5061>")
    wire.deliver(bob.request("REFER", CAROL))
    assert wire.one().status == 403
    assert not wire.told(events.CallReferred)
    referred(wire, bob, "Refer-To: <sips:carol@example.com>")


def test_T22_one_transfer_at_a_time() -> None:
    """Fails without the 491: each REFER would make a call."""
    wire = Wire()
    _, _, bob = wire.established()
    accepted(wire, bob)
    wire.deliver(bob.request("REFER", CAROL))
    assert wire.one().status == 491
    assert len(wire.told(events.CallReferred)) == 1


def test_D04_the_reports_go_on_after_their_bye() -> None:
    """RFC 5589 lets a transferor hang up as soon as it has its 202; the subscription lives on."""
    wire = Wire()
    _, _, bob = wire.established()
    event, notify = accepted(wire, bob)
    wire.deliver(bob.request("BYE"))
    assert wire.one().status == 200
    wire.deliver(response(notify, 200, "OK"))
    wire.do(lambda: event.referral.report(200, "OK"))
    assert sipfrag(wire.one())[0] == "SIP/2.0 200 OK"


def test_D04_a_subscribe_may_end_the_reports_and_begin_none() -> None:
    wire = Wire()
    _, _, bob = wire.established()
    wire.deliver(bob.request("SUBSCRIBE", "Event: refer", "Expires: 60"))
    assert wire.one().status == 403
    wire.deliver(bob.request("SUBSCRIBE", "Event: dialog", "Expires: 60"))
    assert wire.one().status == 489
    event, notify = accepted(wire, bob)
    wire.deliver(response(notify, 200, "OK"))
    wire.deliver(bob.request("SUBSCRIBE", f"Event: refer;id={bob.cseq}", "Expires: 60"))
    ok, notify = wire.take()
    assert (ok.status, ok.header("expires")) == (200, str(LIFETIME))
    wire.deliver(response(notify, 200, "OK"))
    wire.deliver(bob.request("SUBSCRIBE", "Event: refer", "Expires: 0"))
    ok, notify = wire.take()
    assert (ok.status, sipfrag(notify)) == (200, ("SIP/2.0 100 Trying", "terminated;reason=timeout"))
    wire.deliver(response(notify, 200, "OK"))
    wire.do(lambda: event.referral.report(200))
    assert wire.silent()


def test_D04_nobody_hears_a_notify_and_no_more_are_sent() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    event, notify = accepted(wire, bob)
    wire.run(40)
    assert {heard.branch for heard in wire.take()} == {notify.branch}
    wire.do(lambda: event.referral.report(200, "OK"))
    assert wire.silent()
    assert call.state.value == "confirmed", "the call is another usage"


def test_A24_our_server_challenges_the_notify() -> None:
    wire = Wire()
    _, _, bob = wire.established()
    gate = Gate(proxy=True)
    _, notify = accepted(wire, bob)
    wire.deliver(gate.ask(notify))
    assert wire.told(AuthChallenged)
    wire.respond()
    again = wire.one()
    assert gate.admits(again)
    assert sipfrag(again)[0] == "SIP/2.0 100 Trying"
