"""Our own provisional responses, reliable, and what UPDATE and PRACK may change meanwhile (RFC 3262, RFC 3311; D02)."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.errors import LocalProtocolError
from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged, AuthSession
from sipcli.sip.calls.indialog import CallState
from sipcli.sip.profile import AccountProfile, Reliability
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, OFFER, Caller, Gate, Heard, Wire, response

CAN, MUST = "Supported: 100rel", "Require: 100rel"
UPDATES = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK"
THEIRS = ANSWER.replace(b"4000", b"4444")
NEWER = OFFER.replace(b"4000", b"4002")


def called(*lines: str, body: bytes = OFFER, wire: Wire | None = None) -> tuple[Wire, Any, Caller]:
    """Somebody calls us, and nothing was said yet."""
    wire, bob = wire or Wire(), Caller()
    wire.deliver(bob.request("INVITE", *lines, body=body))
    return wire, wire.last(events.CallIncoming).call, bob


def wanting(policy: Reliability) -> Wire:
    """A wire whose account wants reliability so."""
    wire = Wire(account=False)
    profile = AccountProfile(
        name="work",
        aor=SipUri.parse("sip:alice@example.com"),
        registrar=SipUri.parse("sip:example.com"),
        contact_user="u7x",
        transport="udp",
        reliable=policy,
    )
    wire.engine.add_account(profile, AuthSession())
    return wire


def prack(bob: Caller, said: Heard, body: bytes = b"", **changed: Any) -> bytes:
    bob.joins(said)
    rack = changed.get("rack", f"{said.header('rseq')} {said.cseq} INVITE")
    return bob.request("PRACK", f"RAck: {rack}", body=body)


def early(*lines: str, body: bytes = OFFER, sdp: bytes = ANSWER) -> tuple[Wire, Any, Caller]:
    """Early media of ours, acknowledged."""
    wire, call, bob = called(CAN, UPDATES, *lines, body=body)
    wire.do(lambda: call.ring(183, sdp))
    wire.deliver(prack(bob, wire.one(), b"" if body else THEIRS))
    assert wire.one().status == 200
    return wire, call, bob


class TestRinging:
    @pytest.mark.parametrize("option", [CAN, MUST])
    def test_D02_ringing_is_reliable_where_the_caller_can(self, option: str) -> None:
        wire, call, bob = called(option)
        wire.do(call.ring)
        said = wire.one()
        assert (said.status, said.header("require")) == (180, "100rel")
        assert 1 <= int(said.header("rseq")) < 2**31
        wire.deliver(prack(bob, said))
        ok = wire.one()
        assert (ok.status, ok.method) == (200, "PRACK")
        wire.run(60)
        assert wire.silent()
        wire.do(call.hangup)
        wire.deliver(bob.request("ACK", cseq=1, branch=f"z9hG4bK-{bob.call_id}-1"))
        wire.drain()

    @pytest.mark.parametrize("drawn", [0, 1, 2**31 - 2, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1])
    def test_D02_the_first_number_is_between_1_and_2_to_the_31st_less_1(self, drawn: int) -> None:
        """RFC 3262 section 3: whatever was drawn, so that no row of them ever wraps."""
        wire, bob = Wire(), Caller()
        invite = bob.request("INVITE", CAN, body=OFFER)
        wire.engine._core.config = wire.engine.config._replace(
            random=lambda octets: drawn.to_bytes(4, "big")[-octets:].rjust(octets)
        )
        wire.deliver(invite)
        wire.do(wire.last(events.CallIncoming).call.ring)
        assert 1 <= int(wire.one().header("rseq")) <= 2**31 - 1

    def test_who_cannot_is_told_in_the_old_way(self) -> None:
        wire, call, _ = called()
        wire.do(call.ring)
        said = wire.one()
        assert (said.body, said.has("rseq"), said.has("content-type")) == (b"", False, False)
        wire.do(lambda: call.ring(183, ANSWER))
        said = wire.one()
        assert (said.body, said.has("rseq"), said.header("content-type")) == (ANSWER, False, "application/sdp")

    def test_D02_it_is_repeated_twice_as_slowly_each_time_and_given_up_after_64_t1(self) -> None:
        wire, call, _ = called(CAN)
        wire.do(call.ring)
        first, times = wire.one(), []
        for _ in range(3199):
            wire.run(0.01)
            times += [round(wire.clock - 1000, 1) for again in wire.take() if again.data == first.data]
        assert times == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5], "without the cap that a 2xx has"
        wire.run(0.02)
        assert wire.one().status == 504
        ended = wire.last(events.CallEnded)
        assert (ended.by, ended.code, str(ended.why)[:8]) == ("network", 504, "timeout:")
        wire.drain()

    @pytest.mark.parametrize("rack", ["1 1 INVITE", "x", "", "{n} 2 INVITE", "{n} 1 BYE", "{n} 1"])
    def test_D02_a_prack_that_fits_nothing_is_481_and_stops_nothing(self, rack: str) -> None:
        wire, call, bob = called(CAN)
        wire.do(call.ring)
        said = wire.one()
        wire.deliver(prack(bob, said, rack=rack.format(n=said.header("rseq"))))
        assert wire.one().status == 481
        wire.run(0.6)
        assert wire.one().data == said.data

    def test_a_prack_where_nothing_was_reliable_is_481(self) -> None:
        wire = Wire()
        _, _, bob = wire.established()
        wire.deliver(bob.request("PRACK", "RAck: 1 1 INVITE"))
        assert wire.one().status == 481

    def test_a_second_prack_for_the_same_is_481(self) -> None:
        wire, call, bob = called(CAN)
        wire.do(call.ring)
        said = wire.one()
        wire.deliver(prack(bob, said))
        wire.deliver(prack(bob, said))
        assert [heard.status for heard in wire.take()] == [200, 481]

    def test_D02_the_next_waits_for_the_prack_of_the_one_before(self) -> None:
        wire, call, bob = called(CAN)
        wire.do(call.ring)
        first = wire.one()
        wire.do(lambda: call.ring(181))
        assert wire.silent()
        wire.deliver(prack(bob, first))
        ok, second = wire.take()
        assert (ok.status, second.status) == (200, 181)
        assert int(second.header("rseq")) == int(first.header("rseq")) + 1

    def test_T23_what_waits_is_bounded(self) -> None:
        wire, call, bob = called(CAN)
        for _ in range(50):
            wire.do(call.ring)
        heard = 0
        while (new := wire.take()) and new[-1].status == 180:
            heard += 1
            wire.deliver(prack(bob, new[-1]))
        assert heard == 9

    def test_a_refusal_does_not_wait_and_ends_the_repetition(self) -> None:
        wire, call, _ = called(CAN)
        wire.do(call.ring)
        wire.take()
        wire.do(lambda: call.reject(486))
        assert wire.one().status == 486
        wire.run(5)
        assert {heard.status for heard in wire.take()} == {486}

    @pytest.mark.parametrize(("lines", "every"), [((), 60), ((CAN,), 150)])
    def test_what_rings_for_long_says_so_again(self, lines: tuple[str, ...], every: int) -> None:
        """RFC 3261 section 13.3.1.1: a proxy cancels what it hears nothing of for three minutes."""
        wire, call, bob = called(*lines)
        wire.do(lambda: call.ring(183, ANSWER))
        first = wire.one()
        if lines:
            wire.deliver(prack(bob, first))
            assert wire.one().status == 200
        wire.run(every - 0.1)
        assert wire.silent()
        wire.run(0.2)
        again = wire.one()
        assert (again.status, again.body) == (183, b"" if lines else ANSWER)
        if lines:
            assert int(again.header("rseq")) == int(first.header("rseq")) + 1

    @pytest.mark.parametrize("how", ["reject", "cancel"])
    def test_D02_a_prack_that_was_on_its_way_when_it_was_refused_is_answered(self, how: str) -> None:
        """RFC 3262 section 3: we "MUST be prepared to process PRACK requests for those outstanding responses"."""
        wire, call, bob = called(CAN)
        wire.do(lambda: call.ring(183, ANSWER))
        said = wire.one()
        if how == "reject":
            wire.do(lambda: call.reject(486))
        else:
            wire.deliver(bob.request("CANCEL", cseq=1, branch=f"z9hG4bK-{bob.call_id}-1"))
        wire.take()
        wire.deliver(prack(bob, said))
        answered = wire.one()
        assert (answered.method, answered.status) == ("PRACK", 200)
        wire.deliver(prack(bob, said))
        assert wire.one().status == 481, "once"
        wire.deliver(bob.request("INFO"))
        assert wire.one().status == 481
        assert len(wire.told(events.CallEnded)) == 1 and not wire.told(events.CallConfirmed)
        wire.drain()
        wire.take()
        wire.deliver(bob.request("PRACK", "RAck: 1 1 INVITE"))
        assert wire.one().status == 481
        assert not wire.engine._core.dialogs

    def test_cancel_ends_the_repetition(self) -> None:
        wire, call, bob = called(CAN)
        wire.do(call.ring)
        wire.take()
        wire.deliver(bob.request("CANCEL", cseq=1, branch=f"z9hG4bK-{bob.call_id}-1"))
        assert [heard.status for heard in wire.take()] == [200, 487]
        wire.deliver(bob.request("ACK", cseq=1, branch=f"z9hG4bK-{bob.call_id}-1"))
        wire.run(5)
        assert wire.silent()


class TestPolicy:
    def test_D02_off_means_that_whoever_insists_gets_420(self) -> None:
        wire, bob = wanting("off"), Caller()
        wire.deliver(bob.request("INVITE", MUST, body=OFFER))
        refusal = wire.one()
        assert (refusal.status, refusal.header("unsupported")) == (420, "100rel")
        assert not wire.told(events.CallIncoming)

    def test_off_means_that_whoever_can_is_told_in_the_old_way(self) -> None:
        wire, call, _ = called(CAN, wire=wanting("off"))
        wire.do(call.ring)
        said = wire.one()
        assert not said.has("rseq")
        assert "100rel" not in said.header("supported")

    def test_off_is_not_offered(self) -> None:
        wire = wanting("off")
        wire.call()
        assert "100rel" not in wire.one().header("supported")

    def test_D02_required_means_that_whoever_cannot_gets_421(self) -> None:
        wire, bob = wanting("required"), Caller()
        wire.deliver(bob.request("INVITE", body=OFFER))
        refusal = wire.one()
        assert (refusal.status, refusal.header("require")) == (421, "100rel")
        assert not wire.told(events.CallIncoming)

    def test_D02_required_is_asked_of_whom_we_call(self) -> None:
        wire = wanting("required")
        wire.call()
        assert wire.one().header("require") == "100rel"


class TestEarlyMedia:
    def test_D02_the_2xx_waits_for_the_prack_of_the_answer(self) -> None:
        wire, call, bob = called(CAN)
        wire.do(lambda: call.ring(183, ANSWER))
        said = wire.one()
        assert (said.status, said.body) == (183, ANSWER)
        wire.do(lambda: call.accept(ANSWER))
        assert wire.silent()
        wire.deliver(prack(bob, said))
        acknowledged, ok = wire.take()
        assert (acknowledged.method, ok.method, ok.status) == ("PRACK", "INVITE", 200)
        assert ok.body == b"", "the answer has gone out already (RFC 3261 section 13.3.1.4)"
        assert not ok.has("content-type")
        wire.deliver(bob.request("ACK", cseq=1))
        assert call.state is CallState.CONFIRMED
        wire.do(call.hangup)
        assert wire.one().method == "BYE"

    def test_without_a_description_the_2xx_waits_for_nothing(self) -> None:
        wire, call, bob = called(CAN)
        wire.do(call.ring)
        said = wire.one()
        wire.do(lambda: call.accept(ANSWER))
        ok = wire.one()
        assert (ok.status, ok.body) == (200, ANSWER)
        wire.deliver(prack(bob, said))
        assert wire.one().status == 200, "a PRACK that was on its way is still answered (RFC 3262 section 3)"

    def test_D02_what_waited_for_its_turn_is_not_said_after_the_2xx(self) -> None:
        """RFC 3262 section 3: no reliable response after a final one, though a PRACK makes room for the next."""
        wire, call, bob = called(CAN)
        wire.do(call.ring)
        said = wire.one()
        wire.do(lambda: call.ring(181))
        wire.do(lambda: call.accept(ANSWER))
        assert wire.one().status == 200
        assert wire.engine._core.wheel.armed(call._reliable) == {}
        wire.deliver(prack(bob, said))
        assert [(heard.method, heard.status) for heard in wire.take()] == [("PRACK", 200)]
        wire.deliver(bob.request("ACK", cseq=1))
        wire.run(60)
        assert wire.silent() and call.state is CallState.CONFIRMED

    def test_a_new_offer_of_theirs_waits_while_the_2xx_does(self) -> None:
        """RFC 3261 section 14.2: the first INVITE has no final response yet."""
        wire, call, bob = called(CAN)
        wire.do(lambda: call.ring(183, ANSWER))
        bob.joins(wire.one())
        wire.do(lambda: call.accept(ANSWER))
        wire.deliver(bob.request("INVITE", body=NEWER))
        refusal = wire.one()
        assert (refusal.status, refusal.has("retry-after")) == (500, True)
        assert not wire.told(events.CallReoffered)

    @pytest.mark.parametrize("how", ["hangup", "cancel", "bye", "silence"])
    def test_a_2xx_that_waits_is_given_up_like_ringing(self, how: str) -> None:
        wire, call, bob = called(CAN)
        wire.do(lambda: call.ring(183, ANSWER))
        bob.joins(wire.one())
        wire.do(lambda: call.accept(ANSWER))
        match how:
            case "hangup":
                wire.do(call.hangup)
            case "cancel":
                bob.to = "<sip:alice@example.com>"
                bob.uri = "sip:alice@192.0.2.99:5062"
                wire.deliver(bob.request("CANCEL", cseq=1, branch=f"z9hG4bK-{bob.call_id}-1"))
            case "bye":
                wire.deliver(bob.request("BYE"))
            case _:
                wire.run(32.1)
        refusals = [heard.status for heard in wire.take() if heard.method == "INVITE" and heard.status >= 200]
        assert set(refusals) == {{"hangup": 480, "silence": 504}.get(how, 487)}
        assert len(wire.told(events.CallEnded)) == 1
        wire.drain()

    def test_D01_a_late_offer_gets_ours_early_and_its_answer_in_the_prack(self) -> None:
        wire, call, bob = called(MUST, body=b"")
        wire.do(lambda: call.ring(183, OFFER))
        said = wire.one()
        assert said.body == OFFER
        wire.deliver(prack(bob, said, THEIRS))
        assert wire.one().status == 200
        assert wire.last(events.CallEarlyAnswer).sdp == THEIRS
        wire.do(lambda: call.accept(OFFER))
        ok = wire.one()
        assert (ok.status, ok.body) == (200, b"")

    def test_D02_once_ours_went_out_a_late_offer_is_rung_reliably_too(self) -> None:
        wire, call, bob = called(MUST, body=b"")
        wire.do(lambda: call.ring(183, OFFER))
        wire.deliver(prack(bob, wire.one(), THEIRS))
        assert wire.one().status == 200
        wire.do(call.ring)
        said = wire.one()
        assert (said.status, said.body, said.has("rseq")) == (180, b"", True)

    @pytest.mark.parametrize("act", ["hangup", "reject", "cancel", "accept"])
    def test_T23_no_timer_is_left_of_a_call_that_rang(self, act: str) -> None:
        wire, call, bob = called(CAN)
        wire.do(call.ring)
        wheel = wire.engine._core.wheel
        assert wheel.armed(call)
        if act == "cancel":
            wire.deliver(bob.request("CANCEL", cseq=1, branch=f"z9hG4bK-{bob.call_id}-1"))
        elif act == "accept":
            wire.do(lambda: call.accept(ANSWER))
        else:
            wire.do(getattr(call, act))
        assert wheel.armed(call) == {}

    def test_a_late_offer_is_not_rung_without_ours_where_that_had_to_be_reliable(self) -> None:
        """RFC 3262 section 5: the first reliable response must have brought our offer."""
        wire, call, _ = called(MUST, body=b"")
        wire.do(call.ring)
        assert wire.silent()
        wire, call, _ = called(CAN, body=b"")
        wire.do(call.ring)
        assert not wire.one().has("rseq")

    def test_an_offer_of_ours_is_never_early_where_it_could_be_lost(self) -> None:
        wire, call, _ = called(body=b"")
        assert not call.takes_early_media
        with pytest.raises(LocalProtocolError):
            wire.do(lambda: call.ring(183, OFFER))

    def test_D02_an_offer_in_the_prack_is_answered_in_its_2xx(self) -> None:
        wire, call, bob = called(CAN)
        wire.do(lambda: call.ring(183, ANSWER))
        wire.deliver(prack(bob, wire.one(), THEIRS))
        assert wire.last(events.CallReoffered).offer == THEIRS
        assert wire.do(lambda: call.answer_reinvite(NEWER))
        ok = wire.one()
        assert (ok.method, ok.status, ok.body) == ("PRACK", 200, NEWER)

    def test_a_prack_brings_no_offer_while_the_first_has_no_answer(self) -> None:
        wire, call, bob = called(CAN)
        wire.do(call.ring)
        wire.deliver(prack(bob, wire.one(), THEIRS))
        assert wire.one().status == 200
        assert not wire.told(events.CallReoffered)


class TestUpdateBeforeTheAnswer:
    def test_D02_theirs_is_answered(self) -> None:
        wire, call, bob = early()
        wire.deliver(bob.request("UPDATE", body=THEIRS))
        assert wire.last(events.CallReoffered).offer == THEIRS
        wire.do(lambda: call.answer_reinvite(NEWER))
        ok = wire.one()
        assert (ok.status, ok.method, ok.body) == (200, "UPDATE", NEWER)

    def test_D02_one_that_meets_an_unanswered_offer_of_theirs_is_500_with_retry_after(self) -> None:
        wire, call, bob = called(CAN)
        wire.do(call.ring)
        bob.joins(wire.one())
        wire.deliver(bob.request("UPDATE", body=THEIRS))
        refusal = wire.one()
        assert refusal.status == 500
        assert 0 <= int(refusal.header("retry-after")) <= 10

    def test_D02_one_that_meets_an_unanswered_offer_of_ours_is_491(self) -> None:
        wire, call, bob = called(MUST, body=b"")
        wire.do(lambda: call.ring(183, OFFER))
        bob.joins(wire.one())
        wire.deliver(bob.request("UPDATE", body=THEIRS))
        assert wire.one().status == 491

    def test_D02_one_during_another_is_500_with_or_without_an_offer(self) -> None:
        wire, _, bob = early()
        wire.deliver(bob.request("UPDATE", body=THEIRS))
        for body in (THEIRS, b""):
            wire.deliver(bob.request("UPDATE", body=body))
            refusal = wire.one()
            assert (refusal.status, refusal.has("retry-after")) == (500, True)

    def test_D02_one_that_a_person_would_have_to_think_about_is_504(self) -> None:
        wire = Wire()
        call, _, bob = wire.established()
        wire.deliver(bob.request("UPDATE", body=THEIRS))
        wire.run(8.1)
        assert [heard.status for heard in wire.take() if heard.status != 100] == [504]
        assert wire.do(lambda: call.answer_reinvite(OFFER)) is False
        assert call.state is CallState.CONFIRMED

    @pytest.mark.parametrize("owner", [True, False])
    def test_D02_ours_goes_out_once_the_first_answer_is_through(self, owner: bool) -> None:
        if owner:
            wire, call, bob = progressed()
        else:
            wire, call, bob = early()
        wire.do(lambda: call.reinvite(NEWER))
        update = wire.one()
        assert (update.method, update.body) == ("UPDATE", NEWER)
        assert update.has("contact")
        wire.deliver(bob.request("UPDATE", body=THEIRS))
        assert wire.one().status == 491, "glare"
        wire.deliver(response(update, 200, "OK", f"Contact: {bob.contact}", body=THEIRS))
        assert wire.last(events.CallReanswered).sdp == THEIRS

    @pytest.mark.parametrize("lines", [(CAN,), (UPDATES,)])
    def test_ours_is_refused_here_where_it_may_not_go(self, lines: tuple[str, ...]) -> None:
        """Without UPDATE in their Allow, or without a reliable answer of ours."""
        wire, call, bob = called(*lines)
        wire.do(lambda: call.ring(183, ANSWER))
        said = wire.one()
        if said.has("rseq"):
            wire.deliver(prack(bob, said))
        with pytest.raises(LocalProtocolError):
            wire.do(lambda: call.reinvite(NEWER))

    @pytest.mark.parametrize("body", [OFFER, b""])
    def test_D02_ours_is_refused_here_before_the_first_answer_is_through(self, body: bytes) -> None:
        """Our answer has no PRACK yet, or nobody has offered anything (RFC 3311 section 5.1)."""
        wire, call, bob = called(CAN, UPDATES, body=body)
        wire.do(lambda: call.ring(183, ANSWER) if body else call.ring())
        bob.joins(wire.one())
        with pytest.raises(LocalProtocolError):
            wire.do(lambda: call.reinvite(NEWER))
        assert wire.silent()

    def test_D02_ours_is_tried_again_after_491_and_after_the_pause_that_500_asks_for(self) -> None:
        wire, call, _ = early()
        wire.do(lambda: call.reinvite(NEWER))
        wire.deliver(response(wire.one(), 491, "Request Pending"))
        wire.run(2.01)
        wire.deliver(response(wire.one(), 500, "Server Internal Error", "Retry-After: 7"))
        wire.run(6.9)
        assert wire.silent()
        wire.run(0.2)
        assert wire.one().method == "UPDATE"

    def test_another_500_is_a_refusal(self) -> None:
        wire, call, _ = early()
        wire.do(lambda: call.reinvite(NEWER))
        wire.deliver(response(wire.one(), 500, "Server Internal Error", "Retry-After: 300"))
        assert wire.last(events.CallReanswered).code == 500

    def test_D03_a_refresh_that_update_cannot_do_is_done_by_an_offer(self) -> None:
        wire = Wire()
        wire.established("Session-Expires: 200;refresher=uac", "Require: timer")
        wire.run(100.1)
        wire.deliver(response(wire.one(), 504, "Server Time-out"))
        call = wire.last(events.CallRefreshDue).call
        wire.do(lambda: call.reinvite(OFFER))
        timed = ("Contact: <sip:bob@192.0.2.1:5060>", "Session-Expires: 200;refresher=uac", "Require: timer", UPDATES)
        wire.deliver(response(wire.one(), 200, "OK", *timed, body=ANSWER))
        wire.take()
        wire.run(100.1)
        assert [heard.method for heard in wire.take()] == ["UPDATE"], "its 2xx says that it can, after all"

    def test_D03_what_update_cannot_do_is_not_tried_by_it_again(self) -> None:
        wire = Wire()
        wire.established("Session-Expires: 200;refresher=uac", "Require: timer")
        wire.run(100.1)
        wire.deliver(response(wire.one(), 501, "Not Implemented"))
        call = wire.last(events.CallRefreshDue).call
        wire.do(lambda: call.reinvite(OFFER))
        timed = ("Contact: <sip:bob@192.0.2.1:5060>", "Session-Expires: 200;refresher=uac", "Require: timer")
        wire.deliver(response(wire.one(), 200, "OK", *timed, body=ANSWER))
        wire.take()
        wire.run(100.1)
        assert wire.take() == []
        assert len(wire.told(events.CallRefreshDue)) == 2


def progressed(tag: str = "peer", wire: Wire | None = None, invite: Heard | None = None) -> tuple[Wire, Any, Caller]:
    """A call of ours whose early media came reliably."""
    wire = wire or Wire()
    if invite is None:
        wire.call()
        invite = wire.one()
    lines = (MUST, "RSeq: 7", UPDATES, "Contact: <sip:bob@192.0.2.1:5060>")
    wire.deliver(response(invite, 183, "Session Progress", *lines, to_tag=tag, body=ANSWER))
    pracked = wire.one()
    wire.deliver(response(pracked, 200, "OK"))
    return wire, wire.last(events.CallProgress).call, Caller.called(invite, tag=tag)


class TestAsTheCaller:
    def test_D01_the_answer_that_came_reliably_is_not_replaced_by_the_2xx(self) -> None:
        wire, call, _ = progressed()
        assert wire.last(events.CallProgress).sdp == ANSWER
        invite = wire.sent[0]
        wire.deliver(response(invite, 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>", body=THEIRS))
        assert wire.last(events.CallAnswered).sdp == ANSWER
        assert wire.one().method == "ACK"
        assert call.state is CallState.CONFIRMED

    def test_D02_their_update_before_the_answer_is_answered(self) -> None:
        wire, call, bob = progressed()
        wire.deliver(bob.request("UPDATE", body=THEIRS))
        assert wire.last(events.CallReoffered).offer == THEIRS
        wire.do(lambda: call.answer_reinvite(NEWER))
        assert (ok := wire.one()).status == 200
        assert ok.body == NEWER

    def test_what_an_update_changed_is_not_undone_by_the_2xx(self) -> None:
        wire, call, bob = progressed()
        wire.deliver(bob.request("UPDATE", body=THEIRS))
        wire.do(lambda: call.answer_reinvite(NEWER))
        wire.deliver(response(wire.sent[0], 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>", body=ANSWER))
        assert wire.last(events.CallAnswered).sdp is None
        wire.deliver(bob.request("UPDATE", body=ANSWER))
        assert wire.last(events.CallReoffered).offer == ANSWER

    def test_the_fork_that_answers_brings_its_own_early_media(self) -> None:
        """Another one was heard last; the 2xx has no description, because the early one was the answer."""
        wire, _, _ = progressed("one")
        invite = wire.sent[0]
        other = response(invite, 183, "Session Progress", MUST, "RSeq: 9", "Contact: <sip:c@192.0.2.7>", to_tag="two",
                         body=THEIRS)  # fmt: skip
        wire.deliver(other)
        wire.take()
        wire.deliver(response(invite, 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>", to_tag="one"))
        assert wire.last(events.CallAnswered).sdp == ANSWER

    def test_what_was_offered_in_a_fork_that_lost_is_dropped(self) -> None:
        wire, call, _ = progressed("one")
        invite = wire.sent[0]
        wire.do(lambda: call.reinvite(NEWER))
        assert wire.one().method == "UPDATE"
        wire.deliver(response(invite, 200, "OK", "Contact: <sip:c@192.0.2.7:5060>", to_tag="two", body=THEIRS))
        assert wire.last(events.CallAnswered).sdp == THEIRS
        assert str(wire.last(events.CallReanswered).why).startswith("closed:")

    def test_an_offer_in_one_fork_takes_no_answer_from_another(self) -> None:
        """The one that answers has said before, reliably, what it takes."""
        wire, call, _ = progressed("one")
        invite = wire.sent[0]
        wire.do(lambda: call.reinvite(NEWER))
        assert wire.one().method == "UPDATE"
        said = response(invite, 183, "Session Progress", MUST, "RSeq: 9", "Contact: <sip:c@192.0.2.7>", to_tag="two",
                        body=THEIRS)  # fmt: skip
        wire.deliver(said)
        wire.deliver(response(wire.take()[-1], 200, "OK"))
        wire.deliver(response(invite, 200, "OK", "Contact: <sip:c@192.0.2.7:5060>", to_tag="two"))
        assert wire.last(events.CallAnswered).sdp == THEIRS

    def test_an_offer_in_the_fork_that_answers_goes_on(self) -> None:
        wire, call, _ = progressed("one")
        wire.do(lambda: call.reinvite(NEWER))
        update = wire.one()
        wire.deliver(response(wire.sent[0], 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>", to_tag="one"))
        assert not wire.told(events.CallReanswered)
        wire.deliver(response(update, 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>", body=THEIRS))
        assert wire.last(events.CallReanswered).sdp == THEIRS

    def test_an_offer_that_was_refused_early_leaves_the_answer_of_before(self) -> None:
        wire, call, _ = progressed()
        wire.do(lambda: call.reinvite(NEWER))
        wire.deliver(response(wire.one(), 488, "Not Acceptable Here"))
        assert wire.last(events.CallReanswered).code == 488
        wire.deliver(response(wire.sent[0], 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>"))
        assert wire.last(events.CallAnswered).sdp == ANSWER

    def test_A19_a_challenge_in_a_fork_that_lost_is_not_answered(self) -> None:
        wire, call, _ = progressed("one")
        invite = wire.sent[0]
        wire.do(lambda: call.reinvite(NEWER))
        update = wire.one()
        wire.deliver(response(invite, 200, "OK", "Contact: <sip:c@192.0.2.7:5060>", to_tag="two", body=THEIRS))
        wire.take()
        wire.deliver(Gate(proxy=True).ask(update))
        assert wire.silent() and not wire.told(AuthChallenged)

    def test_their_offer_in_a_fork_that_lost_is_481(self) -> None:
        wire, call, bob = progressed("one")
        wire.deliver(bob.request("UPDATE", body=THEIRS))
        wire.deliver(response(wire.sent[0], 200, "OK", "Contact: <sip:c@192.0.2.7:5060>", to_tag="two", body=THEIRS))
        assert 481 in {heard.status for heard in wire.take() if heard.is_response}
        assert wire.do(lambda: call.answer_reinvite(NEWER)) is False
        assert "answer" not in wire.engine._core.wheel.armed(call._reoffer)

    def test_their_offer_in_the_fork_that_answers_is_still_to_be_answered(self) -> None:
        wire, call, bob = progressed("one")
        wire.deliver(bob.request("UPDATE", body=THEIRS))
        wire.deliver(response(wire.sent[0], 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>", to_tag="one"))
        assert wire.one().method == "ACK"
        assert wire.do(lambda: call.answer_reinvite(NEWER))
        ok = wire.one()
        assert (ok.method, ok.status, ok.body) == ("UPDATE", 200, NEWER)
