"""Reliable provisional responses and session timers, and what a challenge to them may take (RFC 3262, RFC 4028)."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged
from sipcli.sip.calls.session_timer import interval_of
from sipcli.sip.syntax.message import parse_message
from tests.support.pair import ANSWER, OFFER, Caller, Gate, Heard, Wire, password, response

CONTACT = "Contact: <sip:bob@192.0.2.1:5060>"


def ringing(wire: Wire, invite: Heard, number: int, *lines: str, status: int = 180, tag: str = "peer") -> None:
    """A reliable provisional response."""
    wire.deliver(response(invite, status, "Ringing", "Require: 100rel", f"RSeq: {number}", CONTACT, *lines, to_tag=tag))


def dialled() -> tuple[Wire, Heard]:
    wire = Wire()
    wire.has_asked("example.com")
    wire.call()
    return wire, wire.one()


class TestPrack:
    def test_D02_an_invite_says_that_it_can(self) -> None:
        _, invite = dialled()
        assert "100rel" in invite.header("supported")

    def test_without_an_offer_of_ours_it_does_not(self) -> None:
        """Theirs would come in the provisional response, and the PRACK had to answer it."""
        wire = Wire()
        wire.call(sdp=None)
        assert "100rel" not in wire.one().header("supported")

    def test_D02_each_is_acknowledged_in_the_early_dialog(self) -> None:
        wire, invite = dialled()
        for number in (7, 8):
            ringing(wire, invite, number)
            prack = wire.one()
            assert prack.method == "PRACK"
            assert prack.header("rack") == f"{number} {invite.cseq} INVITE"
            assert (prack.call_id, prack.to_tag, prack.uri) == (invite.call_id, "peer", "sip:bob@192.0.2.1:5060")
            wire.deliver(response(prack, 200, "OK"))
        assert len(wire.told(events.CallProgress)) == 2
        wire.deliver(response(invite, 200, "OK", CONTACT, body=ANSWER))
        ack = wire.one()
        assert (ack.method, ack.cseq) == ("ACK", invite.cseq)
        wire.do(wire.last(events.CallAnswered).call.hangup)
        assert wire.one().cseq == invite.cseq + 3  # the two PRACKs have counted

    def test_a_repeated_one_is_acknowledged_once(self) -> None:
        wire, invite = dialled()
        ringing(wire, invite, 7)
        prack = wire.one()
        wire.deliver(response(prack, 200, "OK"))
        ringing(wire, invite, 7)
        assert wire.silent()
        assert len(wire.told(events.CallProgress)) == 1

    def test_D02_one_that_comes_before_its_turn_is_not_looked_at(self) -> None:
        """Section 4: it must not be acknowledged, so that it is repeated after its predecessor."""
        wire, invite = dialled()
        ringing(wire, invite, 7)
        wire.one()
        ringing(wire, invite, 9, status=183)
        assert wire.silent()
        assert [told.state for told in wire.told(events.CallProgress)] == ["ringing"]

    def test_each_fork_counts_by_itself(self) -> None:
        wire, invite = dialled()
        for tag, number in (("one", 100), ("two", 5), ("one", 101)):
            ringing(wire, invite, number, tag=tag)
            prack = wire.one()
            assert (prack.to_tag, prack.header("rack").split()[0]) == (tag, str(number))

    @pytest.mark.parametrize("rseq", ["", "RSeq: 0", "RSeq: x", "RSeq: 99999999999"])
    def test_without_a_usable_number_it_rings_all_the_same(self, rseq: str) -> None:
        wire, invite = dialled()
        wire.deliver(response(invite, 180, "Ringing", "Require: 100rel", CONTACT, *([rseq] if rseq else [])))
        assert wire.silent()
        assert wire.last(events.CallProgress).state == "ringing"

    def test_A25_a_challenged_prack_is_answered(self) -> None:
        wire, invite = dialled()
        gate = Gate(proxy=True)
        ringing(wire, invite, 7)
        wire.deliver(gate.ask(wire.one()))
        wire.run(20)
        wire.respond()
        again = wire.take()[-1]
        assert gate.admits(again)
        assert (again.method, again.header("rack")) == ("PRACK", f"7 {invite.cseq} INVITE")

    def test_A25_who_asked_the_invite_may_ask_the_prack_before_anybody_has_answered(self) -> None:
        """Fails without ``_progress`` in the exchange: the INVITE has no final response yet that shows it accepted."""
        wire, gate = Wire(), Gate(proxy=True)
        wire.call()
        wire.deliver(gate.ask(wire.one()))
        wire.respond()
        invite = wire.take()[-1]
        ringing(wire, invite, 7)
        wire.deliver(gate.ask(wire.one()))
        wire.respond()
        again = wire.take()[-1]
        assert (again.method, gate.admits(again)) == ("PRACK", True)

    def test_T01_100_does_not_show_that_anybody_was_let_through(self) -> None:
        """Nor does silence: whoever forks, or answers in a proxy's name, may be the one who asks."""
        wire, gate = Wire(), Gate(proxy=True)
        wire.call()
        wire.deliver(gate.ask(wire.one()))
        wire.respond()
        wire.deliver(response(wire.take()[-1], 100, "Trying"))
        token = wire.token
        assert not wire.session.pins.knows(token.challenges[0], token.exchange.origin)

    def test_A23_a_secret_that_comes_later_than_64_t1_serves_no_prack(self) -> None:
        wire, invite = dialled()
        ringing(wire, invite, 7)
        wire.deliver(Gate().ask(wire.one()))
        wire.run(31.9)
        assert wire.token.live
        wire.run(0.2)
        assert not wire.token.live
        assert wire.outcomes() == ["expired"]
        assert wire.last(events.CallProgress).state == "ringing", "the call itself is not hurt"

    def test_A19_hanging_up_revokes_a_prack_that_waits(self) -> None:
        wire, invite = dialled()
        ringing(wire, invite, 7)
        wire.deliver(Gate().ask(wire.one()))
        wire.deliver(response(invite, 486, "Busy Here"))
        assert wire.outcomes() == ["revoked"]
        assert [heard.method for heard in wire.take()] == ["ACK"]


def timed(seconds: int, refresher: str, *more: str) -> tuple[Wire, Any, Caller]:
    """A call that we made, with a session timer."""
    wire = Wire()
    call, _, callee = wire.established(f"Session-Expires: {seconds};refresher={refresher}", "Require: timer", *more)
    return wire, call, callee


class TestSessionTimer:
    def test_without_session_expires_nothing_is_timed(self) -> None:
        wire = Wire()
        wire.established()
        wire.run(10_000)
        assert wire.silent()

    def test_D03_we_refresh_at_half_time_by_update(self) -> None:
        wire, _, _ = timed(120, "uac", "Allow: INVITE, ACK, BYE, UPDATE")
        for _ in range(3):
            wire.run(59)
            assert wire.silent()
            wire.run(1)
            update = wire.take()[0]
            assert (update.method, update.header("session-expires")) == ("UPDATE", "120;refresher=uac")
            wire.deliver(response(update, 200, "OK", "Session-Expires: 120;refresher=uac"))

    def test_where_update_is_unknown_a_new_offer_is_asked_for(self) -> None:
        wire, call, _ = timed(120, "uac", "Allow: INVITE, ACK, BYE")
        wire.run(60)
        assert wire.last(events.CallRefreshDue).call is call
        wire.do(lambda: call.reinvite(OFFER))
        invite = wire.one()
        assert (invite.method, invite.header("session-expires")) == ("INVITE", "120;refresher=uac")
        wire.deliver(response(invite, 200, "OK", CONTACT, "Session-Expires: 120;refresher=uac", body=ANSWER))
        wire.take()
        wire.run(60)
        assert len(wire.told(events.CallRefreshDue)) == 2

    @pytest.mark.parametrize(("seconds", "bye_at"), [(180, 180 - 32), (90, 60)])
    def test_A22_who_does_not_refresh_is_hung_up_on(self, seconds: int, bye_at: int) -> None:
        """RFC 4028 section 10: BYE min(32 s, SE/3) before the end."""
        wire, _, _ = timed(seconds, "uas")
        wire.run(bye_at - 1)
        assert wire.silent()
        wire.run(1.5)
        assert wire.take()[0].method == "BYE"

    def test_A22_only_a_2xx_extends_and_the_secret_is_of_use_until_the_other_side_gives_up(self) -> None:
        wire, _, _ = timed(180, "uac", "Allow: UPDATE")
        gate = Gate(proxy=True)
        wire.run(90)
        wire.deliver(gate.ask(wire.one()))
        assert wire.last(AuthChallenged).token.exchange.method == "UPDATE"
        wire.run(180 - 32 - 90 - 1)
        assert wire.token.live
        wire.run(1.5)
        assert wire.outcomes() == ["revoked"], "the call is hung up, as the other side would"
        assert wire.take()[0].method == "BYE"

    def test_A22_answered_in_time_it_goes_on(self) -> None:
        wire, _, _ = timed(180, "uac", "Allow: UPDATE")
        gate = Gate(proxy=True)
        wire.run(90)
        wire.deliver(gate.ask(wire.one()))
        wire.run(40)
        wire.respond()
        update = wire.take()[-1]
        assert gate.admits(update)
        wire.deliver(response(update, 200, "OK", "Session-Expires: 180;refresher=uac"))
        wire.run(89)
        assert wire.silent()

    def test_A22_the_same_refusal_is_not_earned_for_ever(self) -> None:
        wire, _, _ = timed(180, "uac", "Allow: UPDATE")
        gate = Gate(proxy=True)
        wire.run(90)
        wire.deliver(gate.ask(wire.one()))
        sent = 0
        while wire.token.live and sent < 10:
            wire.respond(password(f"wrong {sent}"))
            wire.deliver(gate.ask(wire.take()[-1]))
            sent += 1
        assert sent == 3

    @pytest.mark.parametrize("status", [408, 481])
    def test_A22_a_refresh_that_finds_nobody_ends_the_call(self, status: int) -> None:
        wire, _, _ = timed(180, "uac", "Allow: UPDATE")
        wire.run(90)
        wire.deliver(response(wire.one(), status, "No"))
        wire.drain()
        assert wire.last(events.CallEnded)

    def test_their_refresh_keeps_the_call(self) -> None:
        wire, _, callee = timed(180, "uas")
        for _ in range(3):
            wire.run(100)
            wire.deliver(callee.request("UPDATE", "Supported: timer", "Session-Expires: 180;refresher=uac"))
            ok = wire.one()
            assert (ok.status, ok.header("session-expires")) == (200, "180;refresher=uac")
        assert not wire.told(events.CallEnded)

    def test_D03_as_the_callee_we_let_the_caller_refresh(self) -> None:
        wire = Wire()
        caller = Caller()
        wire.deliver(caller.request("INVITE", "Supported: timer", "Session-Expires: 300", body=OFFER))
        call = wire.last(events.CallIncoming).call
        wire.do(lambda: call.accept(ANSWER))
        ok = wire.take()[-1]
        assert ok.header("session-expires") == "300;refresher=uac"
        assert ok.header("require") == "timer"

    def test_D03_too_short_is_422_with_what_we_would_take(self) -> None:
        wire = Wire()
        wire.deliver(Caller().request("INVITE", "Supported: timer", "Session-Expires: 60", body=OFFER))
        refused = wire.take()[-1]
        assert (refused.status, refused.header("min-se")) == (422, "90")
        assert not wire.told(events.CallIncoming)

    @pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
    def test_D03_too_short_inside_a_call_is_422_and_the_session_stays(self, method: str) -> None:
        wire, _, callee = timed(180, "uas")
        wire.deliver(callee.request(method, "Supported: timer", "Session-Expires: 89", body=OFFER))
        refused = wire.take()[-1]
        assert (refused.status, refused.header("min-se")) == (422, "90")
        assert not wire.told(events.CallReoffered)
        if method == "INVITE":
            wire.deliver(callee.request("ACK", cseq=refused.cseq, branch=refused.branch))
        wire.run(147)
        assert wire.silent(), "it ends when it would have ended"
        wire.run(1.5)
        assert wire.take()[0].method == "BYE"

    def test_D03_where_a_proxy_asked_for_a_caller_without_timers_we_refresh(self) -> None:
        """RFC 4028 section 9, table 2: refresher=uas, and no Require; else the proxy takes the call for dead."""
        wire, caller = Wire(), Caller()
        lines = ("Session-Expires: 300;refresher=uac", "Allow: INVITE, ACK, BYE, UPDATE")
        wire.deliver(caller.request("INVITE", *lines, body=OFFER))
        call = wire.last(events.CallIncoming).call
        wire.do(lambda: call.accept(ANSWER))
        ok = wire.take()[-1]
        assert (ok.header("session-expires"), ok.has("require")) == ("300;refresher=uas", False)
        caller.joins(ok)
        wire.deliver(caller.request("ACK", cseq=1))
        wire.run(149)
        assert wire.silent()
        wire.run(1.1)
        update = wire.one()
        assert (update.method, update.header("session-expires")) == ("UPDATE", "300;refresher=uac")

    def test_D03_every_change_of_the_session_says_that_we_know_timers(self) -> None:
        """RFC 4028 section 7.1: also where nothing is timed."""
        wire = Wire()
        call, _, _ = wire.established()
        wire.do(lambda: call.reinvite(OFFER))
        invite = wire.one()
        assert (invite.header("supported"), invite.has("session-expires"), invite.has("min-se")) == (
            "timer",
            False,
            False,
        )

    def test_D03_a_refresh_that_is_too_short_for_a_proxy_is_sent_again_as_it_wants(self) -> None:
        """RFC 4028 sections 7.3 and 7.4: the longest Min-SE that was heard, and an interval as long."""
        wire, _, _ = timed(120, "uac", "Allow: UPDATE")
        wire.run(60)
        update = wire.one()
        assert not update.has("min-se")
        wire.deliver(response(update, 422, "Session Interval Too Small", "Min-SE: 600"))
        again = wire.one()
        assert (again.method, again.cseq) == ("UPDATE", update.cseq + 1)
        assert (again.header("session-expires"), again.header("min-se")) == ("600;refresher=uac", "600")
        wire.deliver(response(again, 200, "OK", "Session-Expires: 600;refresher=uac"))
        wire.run(299)
        assert wire.silent(), "the new interval counts from now on"
        wire.run(1.1)
        later = wire.one()
        assert (later.header("session-expires"), later.header("min-se")) == ("600;refresher=uac", "600")

    def test_D03_only_a_2xx_extends_not_what_a_422_asks_for(self) -> None:
        """Section 10: the session ends when it would have ended."""
        wire, _, _ = timed(120, "uac", "Allow: UPDATE")
        wire.run(60)
        wire.deliver(response(wire.one(), 422, "Session Interval Too Small", "Min-SE: 600"))
        wire.run(27)
        assert "BYE" not in [heard.method for heard in wire.take()]
        wire.run(1.1)
        assert "BYE" in [heard.method for heard in wire.take()], "32 s before the end of the 120"

    def test_D03_who_always_wants_more_is_not_asked_for_ever(self) -> None:
        wire, _, _ = timed(120, "uac", "Allow: UPDATE")
        wire.run(60)
        asked = 0
        while (sent := wire.take()) and asked < 10:
            asked += 1
            wire.deliver(response(sent[-1], 422, "Session Interval Too Small", f"Min-SE: {600 + asked}"))
        assert asked == 4

    @pytest.mark.parametrize("said", [(), ("Min-SE: 90",), ("Min-SE: x",), ("Min-SE: 99999999999",)])
    def test_D03_a_422_that_asks_for_nothing_is_a_refusal(self, said: tuple[str, ...]) -> None:
        wire, _, _ = timed(120, "uac", "Allow: UPDATE")
        wire.run(60)
        wire.deliver(response(wire.one(), 422, "Session Interval Too Small", *said))
        assert wire.silent()

    def test_D03_a_new_offer_is_sent_again_so_too(self) -> None:
        wire, call, _ = timed(120, "uac", "Allow: INVITE, ACK, BYE")
        wire.do(lambda: call.reinvite(OFFER))
        wire.deliver(response(wire.one(), 422, "Session Interval Too Small", "Min-SE: 600"))
        wire.run(0.1)
        ack, again = wire.take()
        assert (ack.method, again.method, again.body) == ("ACK", "INVITE", OFFER)
        assert (again.header("session-expires"), again.header("min-se")) == ("600;refresher=uac", "600")
        assert not wire.told(events.CallReanswered)

    def test_D03_a_call_that_a_proxy_finds_too_brief_is_placed_again(self) -> None:
        """Another proxy asked for a session timer on the way, too short for this one (section 7.3)."""
        wire, invite = dialled()
        wire.deliver(response(invite, 422, "Session Interval Too Small", "Min-SE: 600"))
        ack, again = wire.take()
        assert (ack.method, again.method, again.cseq) == ("ACK", "INVITE", invite.cseq + 1)
        assert (again.call_id, again.header("min-se"), again.body) == (invite.call_id, "600", invite.body)
        assert not wire.told(events.CallEnded)
        wire.deliver(response(again, 422, "Session Interval Too Small", "Min-SE: 600"))
        wire.run(0.1)
        assert [heard.method for heard in wire.take()] == ["ACK"]
        assert wire.last(events.CallEnded).code == 422

    def test_D03_what_the_other_side_wants_at_least_goes_into_our_refreshes(self) -> None:
        wire, _, callee = timed(180, "uac", "Allow: UPDATE")
        wire.deliver(callee.request("UPDATE", "Supported: timer", "Session-Expires: 900;refresher=uas", "Min-SE: 800"))
        assert wire.one().header("session-expires") == "900;refresher=uas"
        wire.run(450.1)
        assert wire.one().header("min-se") == "800"

    def test_who_knows_no_timers_is_not_told_of_one(self) -> None:
        wire = Wire()
        wire.deliver(Caller().request("INVITE", "Session-Expires: 60", body=OFFER))
        call = wire.last(events.CallIncoming).call
        wire.do(lambda: call.accept(ANSWER))
        assert not wire.take()[-1].has("session-expires")

    @pytest.mark.parametrize("value", ["", "x", "0", "-1", "99999999999", "1;refresher=", "90 ; refresher = uac"])
    def test_any_value_is_an_interval_or_none(self, value: str) -> None:
        raw = (
            "UPDATE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
            "To: <sip:a@b>\r\n"
            f"Call-ID: 1\r\nCSeq: 1 UPDATE\r\nSession-Expires: {value}\r\nContent-Length: 0\r\n\r\n"
        )
        interval = interval_of(parse_message(raw.encode()))
        assert interval is None or 0 < interval.seconds < 2**31
