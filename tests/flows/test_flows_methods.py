"""Level 1: each method, in and out of a dialog, asked with 401 and with 407, whatever becomes of the question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sipcli.errors import LocalProtocolError, TokenSpent
from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged, AuthRejected, GiveUp
from sipcli.sip.calls.indialog import CallState
from sipcli.sip.calls.session_timer import SessionTimer
from sipcli.sip.events import CallEnded
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, OFFER, Gate, Heard, Wire, password, response

BOB = SipUri.parse("sip:bob@example.com")
HEADERS = {
    "REFER": (("Refer-To", "<sip:carol@example.com>"),),
    "SUBSCRIBE": (("Event", "message-summary"), ("Expires", "600")),
    "NOTIFY": (("Event", "message-summary"), ("Subscription-State", "active")),
    "PUBLISH": (("Event", "presence"),),
    "PRACK": (("RAck", "1 1 INVITE"),),
}


@dataclass
class Deed:
    method: str
    begin: Callable[[Wire], Any]
    """Sends it; gives the call it is in, or None."""
    inside: bool


def _begin_inside(method: str) -> Callable[[Wire], Any]:
    def begin(wire: Wire) -> Any:
        call, _, _ = wire.established()
        act = {"INVITE": lambda: call.reinvite(OFFER), "BYE": call.hangup}.get(method)
        wire.do(act or (lambda: call.request(method, HEADERS.get(method, ()))))
        return call

    return begin


def _begin_outside(method: str) -> Callable[[Wire], Any]:
    def begin(wire: Wire) -> Any:
        if method == "INVITE":
            return wire.call()
        if method == "REGISTER":
            wire.do(lambda: wire.engine.register("work"))
        else:
            wire.do(lambda: wire.engine.request("work", method, BOB, HEADERS.get(method, ())))
        return None

    return begin


INSIDE = ("INVITE", "UPDATE", "BYE", "PRACK", "INFO", "REFER", "SUBSCRIBE", "NOTIFY", "MESSAGE", "OPTIONS")
OUTSIDE = ("REGISTER", "INVITE", "REFER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "OPTIONS")
DEEDS = {f"{method}-in": Deed(method, _begin_inside(method), True) for method in INSIDE} | {
    f"{method}-out": Deed(method, _begin_outside(method), False) for method in OUTSIDE
}
SHORT = ("PRACK", "SUBSCRIBE")
"""Of use for 64*T1 only."""

every = pytest.mark.parametrize("proxy", [False, True], ids=["401", "407"])
each = pytest.mark.parametrize("name", DEEDS)


def sent(wire: Wire, method: str) -> list[Heard]:
    return [heard for heard in wire.take() if not heard.is_response and heard.method == method]


def asked(name: str, proxy: bool) -> tuple[Deed, Wire, Gate, Any, Heard]:
    """The request went out, and was challenged; whatever had to be acknowledged is."""
    deed, wire, gate = DEEDS[name], Wire(), Gate(proxy=proxy)
    call = deed.begin(wire)
    (first,) = sent(wire, deed.method)
    wire.deliver(gate.ask(first))
    assert [heard.method for heard in wire.take()] == (["ACK"] if deed.method == "INVITE" else [])
    assert [event.token.request.method for event in wire.told(AuthChallenged)] == [deed.method]
    return deed, wire, gate, call, first


def succeed(wire: Wire, request: Heard) -> None:
    registers = request.method == "REGISTER"
    contact = request.header("contact").partition(";expires")[0] if registers else "<sip:bob@192.0.2.1:5060>"
    body = ANSWER if request.method == "INVITE" else b""
    wire.deliver(response(request, 200, "OK", f"Contact: {contact}", body=body))


def how_it_went(wire: Wire, deed: Deed) -> tuple[int | None, Any]:
    """The last word on the request, and why there is no better one."""
    match deed.method:
        case "REGISTER":
            told = wire.last(events.RegistrationChanged)
            return (200 if told.state == "registered" else told.code), told.why
        case "INVITE" if deed.inside:
            reanswered = wire.last(events.CallReanswered)
            return (200 if reanswered.sdp == ANSWER else reanswered.code), reanswered.why
        case "INVITE":
            ends = wire.told(events.CallEnded)
            return (ends[-1].code, ends[-1].why) if ends else (wire.last(events.CallAnswered).response.status, None)
        case "BYE":
            ended = wire.last(events.CallEnded)
            return (200 if ended.why is None else None), ended.why
        case _:
            done = wire.last(events.RequestDone)
            return (None if done.response is None else done.response.status), done.why


def unmet(deed: Deed, gate: Gate) -> int | None:
    """What is told of a challenge that nobody met; hanging up succeeds all the same, and has no code."""
    return None if deed.method == "BYE" else gate.code


@every
@each
@pytest.mark.parametrize("delay", [0, 40])
def test_A24_A03_answered_now_or_after_40_s(name: str, proxy: bool, delay: int) -> None:
    deed, wire, gate, _, first = asked(name, proxy)
    if delay and deed.method in SHORT:
        delay = 31
    wire.run(delay)
    assert wire.silent(), "no transaction runs while somebody looks for the secret"
    wire.respond()
    (again,) = sent(wire, deed.method)
    assert (again.call_id, again.from_tag, again.to_tag, again.body) == (
        first.call_id,
        first.from_tag,
        first.to_tag,
        first.body,
    )
    assert (again.to_tag is not None) is deed.inside
    assert (again.cseq, again.branch != first.branch) == (first.cseq + 1, True)
    assert gate.admits(again)
    succeed(wire, again)
    assert how_it_went(wire, deed) == (200, None)


@every
@each
def test_A24_A04_wrong_then_right(name: str, proxy: bool) -> None:
    deed, wire, gate, _, _ = asked(name, proxy)
    wire.respond(password("wrong"))
    (refused,) = sent(wire, deed.method)
    assert not gate.admits(refused)
    wire.deliver(gate.ask(refused))
    wire.take()
    assert len(wire.told(AuthRejected)) == 1
    wire.respond()
    (again,) = sent(wire, deed.method)
    assert gate.admits(again)
    succeed(wire, again)
    assert how_it_went(wire, deed) == (200, None)


@every
@each
def test_A24_A05_stale_asks_nobody(name: str, proxy: bool) -> None:
    deed, wire, gate, _, _ = asked(name, proxy)
    wire.respond()
    (first,) = sent(wire, deed.method)
    wire.deliver(gate.ask(first, stale=True))
    (again,) = sent(wire, deed.method)
    assert gate.admits(again)
    assert len(wire.told(AuthChallenged)) == 1
    succeed(wire, again)
    assert how_it_went(wire, deed) == (200, None)


@every
@each
def test_A24_A27_abandoned(name: str, proxy: bool) -> None:
    deed, wire, gate, _, _ = asked(name, proxy)
    token = wire.token
    wire.do(lambda: wire.session.abandon(token))
    assert wire.silent()
    assert how_it_went(wire, deed) == (unmet(deed, gate), GiveUp.ABANDONED)
    with pytest.raises(TokenSpent):
        wire.respond(token=token)
    assert wire.silent()


@every
@each
def test_A24_A23_the_deadline_passes(name: str, proxy: bool) -> None:
    """64*T1 for PRACK and SUBSCRIBE, from their first sending; the ceiling of a token, 180 s, for all others."""
    deed, wire, gate, _, _ = asked(name, proxy)
    token, limit = wire.token, 32 if deed.method in SHORT else 180
    wire.run(limit - 0.1)
    assert token.live
    assert wire.silent()
    wire.run(0.2)
    assert not token.live
    assert wire.outcomes() == ["expired"]
    assert how_it_went(wire, deed) == (unmet(deed, gate), GiveUp.DEADLINE)
    with pytest.raises(TokenSpent):
        wire.respond(token=token)
    assert not sent(wire, deed.method)


@every
@pytest.mark.parametrize("name", [name for name, deed in DEEDS.items() if deed.inside and deed.method != "BYE"])
def test_A24_A19_hung_up_meanwhile(name: str, proxy: bool) -> None:
    deed, wire, _, call, first = asked(name, proxy)
    token = wire.token
    wire.do(call.hangup)
    bye = wire.one()
    assert (bye.method, bye.cseq) == ("BYE", first.cseq + 1)
    assert wire.outcomes() == ["revoked"]
    with pytest.raises(TokenSpent):
        wire.respond(token=token)
    wire.deliver(response(bye, 200, "OK"))
    assert wire.silent(), f"no {deed.method} after the call"
    wire.drain()


@every
@each
def test_A24_A27_the_account_is_removed_meanwhile(name: str, proxy: bool) -> None:
    deed, wire, _, _, _ = asked(name, proxy)
    token = wire.token
    wire.do(lambda: wire.engine.remove_account("work"))
    assert not token.live
    with pytest.raises(TokenSpent):
        wire.respond(token=token)
    assert not sent(wire, deed.method)


# -- session refresh -----------------------------------------------------------------------------------


def kept(interval: int = 90) -> tuple[Wire, Gate, Any, SessionTimer, Heard]:
    """A call whose first refresh was challenged, at half the interval."""
    wire, gate = Wire(), Gate()
    call, _, _ = wire.established()
    timer = wire.do(lambda: call.keep_session(interval))
    wire.run(interval / 2)
    update = wire.one()
    assert (update.method, update.header("session-expires")) == ("UPDATE", f"{interval};refresher=uac")
    assert not update.body
    wire.deliver(gate.ask(update))
    return wire, gate, call, timer, update


@pytest.mark.parametrize(("interval", "margin"), [(90, 30), (1800, 32)])
def test_A22_a_refresh_waits_for_its_secret_until_the_other_side_hangs_up(interval: int, margin: int) -> None:
    """``min(32 s, SE/3)`` before the expiry the other side says BYE, so we do, and ask for no secret longer."""
    wire, _, call, _, _ = kept(interval)
    if interval / 2 - margin > 180:
        wire.run(180.1)  # the ceiling of the token came first, and the refresh is not sent again
        assert wire.silent()
        wire.run(interval / 2 - margin - 180.2)
    else:
        wire.run(interval / 2 - margin - 0.1)
        assert wire.token.live
    assert call.state is CallState.CONFIRMED
    assert wire.silent()
    wire.run(0.2)
    assert not wire.token.live
    assert wire.one().method == "BYE"
    assert call.state is CallState.ENDED


def test_A22_the_answer_is_of_use_until_the_other_side_hangs_up_and_no_longer() -> None:
    wire, _, _, timer, _ = kept()
    assert timer.patience == 15
    wire.run(10)
    assert timer.patience == 5
    wire.do(timer.stop)
    assert timer.patience is None, "nothing is timed"


def test_A22_only_a_2xx_extends_the_session() -> None:
    wire, gate, call, timer, _ = kept()
    assert timer.expires_at == 1000 + 90, "the 401 extended nothing"
    wire.run(10)
    wire.respond()
    update = wire.one()
    assert gate.admits(update)
    assert timer.expires_at == 1000 + 90, "nor did the answer to it"
    wire.deliver(response(update, 200, "OK", "Session-Expires: 90;refresher=uac"))
    assert timer.expires_at == 1055 + 90
    wire.run(44.9)
    assert wire.silent()
    wire.run(0.2)
    assert wire.one().method == "UPDATE"
    assert call.state is CallState.CONFIRMED


def test_A22_the_other_side_may_shorten_the_interval_and_not_below_90_s() -> None:
    wire, _, _, timer, _ = kept(1800)
    wire.respond()
    wire.deliver(response(wire.one(), 200, "OK", "Session-Expires: 5"))
    assert timer.interval == 90
    assert timer.expires_at == 1900 + 90


def test_A22_the_same_refusal_is_not_tried_for_ever() -> None:
    wire, gate, call, _, _ = kept()
    wire.respond(password("wrong"))
    wire.deliver(gate.ask(wire.one()))
    wire.do(lambda: wire.session.abandon(wire.token))
    wire.run(14.9)
    assert wire.silent()
    wire.run(0.2)
    assert wire.one().method == "BYE"
    assert call.state is CallState.ENDED


@pytest.mark.parametrize(("status", "says_bye"), [(408, True), (481, False)])
def test_A22_408_and_481_end_the_call(status: int, says_bye: bool) -> None:
    """481: the other side has no dialog to take our BYE any more (RFC 3261 section 12.2.1.2)."""
    wire, _, call, _, _ = kept()
    wire.respond()
    wire.deliver(response(wire.one(), status, "No"))
    assert [heard.method for heard in wire.take()] == (["BYE"] if says_bye else [])
    assert call.state is CallState.ENDED


def test_A22_silence_ends_the_call() -> None:
    wire, _, call, _, _ = kept(1800)
    wire.respond()
    wire.run(32.1)
    assert [heard.method for heard in wire.take()][-1] == "BYE"
    assert call.state is CallState.ENDED, "nobody waits for an answer from who gives none"
    ended = wire.last(CallEnded)
    assert (ended.by, ended.bye_answered) == ("network", None)


@pytest.mark.parametrize("answered", [True, False])
def test_a_bye_that_is_not_answered_is_told(answered: bool) -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.do(call.hangup)
    if answered:
        wire.deliver(response(wire.one(), 481, "No Such Call"))
    else:
        wire.run(31.9)
        assert call.state is CallState.ENDING
        wire.run(0.2)  # Timer F
    ended = wire.last(CallEnded)
    assert (ended.by, ended.bye_answered) == ("local", answered)


def test_a_bye_that_crosses_theirs_is_as_good_as_answered() -> None:
    wire = Wire()
    call, _, callee = wire.established()
    wire.do(call.hangup)
    wire.take()
    wire.deliver(callee.request("BYE"))
    assert wire.last(CallEnded).bye_answered is True


def test_A22_the_timer_ends_with_the_call() -> None:
    wire, _, call, _, _ = kept()
    wire.do(call.hangup)
    wire.deliver(response(wire.one(), 200, "OK"))
    wire.drain()
    assert wire.silent()
    with pytest.raises(LocalProtocolError, match="once the call is answered"):
        wire.do(lambda: call.keep_session(90))


def test_A22_no_interval_is_shorter_than_90_s() -> None:
    wire = Wire()
    call, _, _ = wire.established()
    with pytest.raises(LocalProtocolError, match="90 s at least"):
        wire.do(lambda: call.keep_session(89))


# -- others ---------------------------------------------------------------------------------------------


def test_A03_T07_the_answer_to_a_challenge_takes_its_number_after_what_went_out_meanwhile() -> None:
    wire, gate = Wire(), Gate()
    call, _, _ = wire.established()
    wire.do(lambda: call.request("UPDATE"))
    update = wire.one()
    wire.deliver(gate.ask(update))
    for method in ("INFO", "OPTIONS"):
        wire.do(lambda method=method: call.request(method))
    info, options = wire.take()
    wire.respond()
    again = wire.one()
    assert [info.cseq, options.cseq, again.cseq] == [update.cseq + 1, update.cseq + 2, update.cseq + 3]
    assert gate.admits(again)


def test_A13_a_hundred_requests_at_once_never_share_a_nonce_count() -> None:
    """All are challenged with one nonce, as servers do that make it from the time, and answered in another order."""
    wire, gate = Wire(), Gate()
    for _ in range(100):
        wire.do(lambda: wire.engine.message("work", BOB, b"hello"))
    for request in wire.take():
        wire.deliver(gate.ask(request, nonce="one-for-all"))
    for told in reversed(wire.told(AuthChallenged)):
        wire.respond(token=told.token)
    retries = wire.take()
    assert all(gate.admits(request) for request in retries)
    assert {gate.answer(request)["nc"] for request in retries} == {f"{count:08x}" for count in range(1, 101)}  # type: ignore[index]


def test_A02_five_repetitions_are_acknowledged_and_after_timer_d_none_is() -> None:
    wire, gate = Wire(), Gate()
    wire.call()
    challenge = gate.ask(wire.one())
    for _ in range(5):
        wire.deliver(challenge)
    assert [heard.method for heard in wire.take()] == ["ACK"] * 5
    wire.run(32.1)
    wire.deliver(challenge)
    assert wire.silent()
    assert len(wire.told(AuthChallenged)) == 1
    wire.respond()
    assert gate.admits(wire.one())


def test_A23_a_notifier_is_answered_for_401() -> None:
    """RFC 6665 section 4.1.2.1: whoever is subscribed to asks with 401; the answer is an Authorization."""
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.request("work", "SUBSCRIBE", BOB, HEADERS["SUBSCRIBE"]))
    wire.deliver(gate.ask(wire.one()))
    wire.respond()
    again = wire.one()
    assert again.has("authorization")
    assert not again.has("proxy-authorization")
