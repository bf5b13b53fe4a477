"""Changing a running session: re-INVITE, UPDATE, glare (RFC 3261 section 14, RFC 3311, RFC 5407; A03, A20, B12)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged, GiveUp
from sipcli.sip.calls.indialog import CallState
from tests.support.pair import ANSWER, OFFER, Gate, Wire, response

HOLD = OFFER + b"a=sendonly\r\n"
THEIRS = ANSWER + b"a=sendonly\r\n"
FRESH = HOLD.replace(b"1 1 IN", b"1 3 IN")


def test_hold_and_resume() -> None:
    wire = Wire()
    call, invite, _ = wire.established()
    wire.do(lambda: call.reinvite(HOLD))
    again = wire.one()
    assert (again.method, again.uri, again.body) == ("INVITE", "sip:bob@192.0.2.1:5060", HOLD)
    assert (again.cseq, again.to_tag) == (invite.cseq + 1, "peer")
    assert again.contact == "sip:u7x@192.0.2.99:5062"
    ok = response(again, 200, "OK", "Contact: <sip:bob@192.0.2.1:5077>", body=ANSWER)
    wire.deliver(ok)
    ack = wire.one()
    assert (ack.method, ack.cseq) == ("ACK", again.cseq)
    assert wire.last(events.CallReanswered).sdp == ANSWER
    wire.deliver(ok)
    assert wire.one().data == ack.data
    wire.run(40)
    wire.deliver(ok)
    assert wire.one().data == ack.data
    wire.do(call.hangup)
    assert wire.one().uri == "sip:bob@192.0.2.1:5077", "the 2xx refreshed the remote target"


def test_offers_wait_their_turn_and_the_latest_wins() -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.do(lambda: call.reinvite(HOLD))
    first = wire.one()
    wire.do(lambda: call.reinvite(OFFER))
    wire.do(lambda: call.reinvite(FRESH))
    assert wire.silent()
    wire.deliver(response(first, 200, "OK", body=ANSWER))
    ack, second = wire.take()
    assert (ack.method, second.method, second.body) == ("ACK", "INVITE", FRESH)


def test_a_refused_offer_changes_nothing() -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.do(lambda: call.reinvite(HOLD))
    wire.deliver(response(wire.one(), 488, "Not Acceptable Here"))
    assert wire.one().method == "ACK"
    told = wire.last(events.CallReanswered)
    assert (told.sdp, told.code) == (None, 488)
    assert call.state is CallState.CONFIRMED


@pytest.mark.parametrize(("status", "by"), [(481, "remote"), (408, "network")])
def test_481_and_408_end_the_call(status: int, by: str) -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.do(lambda: call.reinvite(HOLD))
    wire.deliver(response(wire.one(), status, "Gone"))
    wire.run(33)
    assert wire.last(events.CallEnded).by == by
    wire.drain()


def test_nobody_answers_our_offer() -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.do(lambda: call.reinvite(HOLD))
    wire.run(32.1)
    assert wire.sent[-1].method == "BYE"
    wire.run(33)
    assert wire.last(events.CallEnded).by == "network"
    wire.drain()


def test_our_offer_is_only_ever_provisional() -> None:
    wire = Wire(config={"answer_limit": 10.0})
    call, _, _ = wire.established()
    wire.do(lambda: call.reinvite(HOLD))
    wire.deliver(response(wire.one(), 180, "Ringing"))
    wire.run(10.1)
    assert wire.take()[0].method == "CANCEL"
    wire.run(100)
    assert wire.told(events.CallEnded)
    wire.drain()


# -- theirs ------------------------------------------------------------------------------------------------


def test_a_provisional_response_to_our_offer_takes_it_not_back() -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.do(lambda: call.reinvite(HOLD))
    again = wire.one()
    wire.deliver(response(again, 100, "Trying"))
    wire.deliver(response(again, 180, "Ringing"))
    assert wire.silent()
    wire.deliver(response(again, 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>", body=ANSWER))
    assert wire.one().method == "ACK"
    assert wire.last(events.CallReanswered).sdp == ANSWER


def test_their_reinvite_is_answered() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    bob.contact = "<sip:bob@192.0.2.1:5088>"
    wire.deliver(bob.request("INVITE", body=THEIRS))
    told = wire.last(events.CallReoffered)
    assert (told.call, told.offer) == (call, THEIRS)
    assert wire.do(lambda: call.answer_reinvite(OFFER)) is True
    ok = wire.one()
    assert (ok.status, ok.body, ok.contact) == (200, OFFER, "sip:u7x@192.0.2.99:5062")
    wire.run(0.6)
    assert wire.one().status == 200, "the 2xx is repeated"
    wire.deliver(bob.request("ACK", cseq=bob.cseq))
    wire.run(40)
    assert wire.silent()
    wire.do(call.hangup)
    assert wire.one().uri == "sip:bob@192.0.2.1:5088"


def test_their_reinvite_without_an_offer_asks_for_ours() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(bob.request("INVITE"))
    assert wire.last(events.CallReoffered).offer is None
    wire.do(lambda: call.answer_reinvite(OFFER))
    wire.take()
    wire.deliver(bob.request("ACK", cseq=bob.cseq, body=ANSWER))
    assert wire.last(events.CallReanswered).sdp == ANSWER


def test_their_reinvite_is_refused_and_the_target_stays() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    bob.contact = "<sip:bob@192.0.2.66:5088>"
    wire.deliver(bob.request("INVITE", body=THEIRS))
    assert wire.do(call.reject_reinvite) is True
    assert wire.one().status == 488
    assert wire.do(call.reject_reinvite) is False
    wire.deliver(bob.request("ACK", cseq=bob.cseq, branch=bob.branch().replace("-2", "-1")))
    wire.do(call.hangup)
    assert wire.take()[-1].uri == "sip:bob@192.0.2.1:5060"


def test_nobody_of_ours_answers_their_offer() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(bob.request("INVITE", body=THEIRS))
    wire.run(20.1)
    assert 500 in {heard.status for heard in wire.take()}
    assert wire.do(lambda: call.answer_reinvite(OFFER)) is False


def test_they_take_their_offer_back() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(bob.request("INVITE", body=THEIRS, branch="z9hG4bK-back"))
    wire.deliver(bob.request("CANCEL", cseq=bob.cseq, branch="z9hG4bK-back"))
    assert [heard.status for heard in wire.take()] == [200, 487]
    assert wire.do(lambda: call.answer_reinvite(OFFER)) is False
    assert call.state is CallState.CONFIRMED


def test_they_hang_up_while_their_offer_waits() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(bob.request("INVITE", body=THEIRS))
    wire.deliver(bob.request("BYE"))
    assert [heard.status for heard in wire.take()] == [200, 487]
    assert wire.do(lambda: call.answer_reinvite(HOLD)) is False
    assert wire.last(events.CallEnded).by == "remote"
    wire.drain()


def test_a19_to_hang_up_takes_our_offer_back_and_its_487_is_acknowledged() -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.do(lambda: call.reinvite(HOLD))
    again = wire.one()
    wire.deliver(response(again, 100, "Trying"))
    wire.do(call.hangup)
    assert sorted(heard.method for heard in wire.take()) == ["BYE", "CANCEL"]
    wire.deliver(response(again, 487, "Request Terminated"))
    assert wire.one().method == "ACK"
    assert not wire.told(events.CallReanswered)


def test_our_answer_is_not_repeated_once_they_have_hung_up() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(bob.request("INVITE", body=THEIRS))
    wire.do(lambda: call.answer_reinvite(HOLD))
    assert wire.one().status == 200
    wire.deliver(bob.request("BYE"))
    assert wire.one().method == "BYE"
    wire.run(40)
    assert wire.silent()
    assert [ended.by for ended in wire.told(events.CallEnded)] == ["remote"]


def test_our_answer_is_never_acknowledged() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(bob.request("INVITE", body=THEIRS))
    wire.do(lambda: call.answer_reinvite(OFFER))
    wire.run(32.1)
    assert wire.sent[-1].method == "BYE"
    wire.drain()
    assert wire.last(events.CallEnded).by == "network"


def test_update_with_and_without_an_offer() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    bob.contact = "<sip:bob@192.0.2.1:5099>"
    wire.deliver(bob.request("UPDATE"))
    assert wire.one().status == 200
    assert not wire.told(events.CallReoffered)
    wire.deliver(bob.request("UPDATE", body=THEIRS))
    assert wire.last(events.CallReoffered).offer == THEIRS
    wire.do(lambda: call.answer_reinvite(OFFER))
    ok = wire.one()
    assert (ok.status, ok.method, ok.body) == (200, "UPDATE", OFFER)
    wire.run(40)
    assert wire.silent(), "an UPDATE has no ACK, so its 2xx is not repeated"
    wire.do(call.hangup)
    assert wire.one().uri == "sip:bob@192.0.2.1:5099"


# -- when they meet (B12, RFC 5407) ------------------------------------------------------------------------


def test_B12_331_both_reinvites_are_491_and_the_owner_of_the_call_id_waits_longer() -> None:
    for owner, low, high in ((True, 2.1, 4.0), (False, 0.0, 2.0)):
        wire = Wire()
        call, _, bob = wire.established() if owner else wire.answered()
        wire.do(lambda call=call: call.reinvite(HOLD))
        ours = wire.one()
        wire.deliver(bob.request("INVITE", body=THEIRS))
        assert wire.one().status == 491
        wire.deliver(response(ours, 491, "Request Pending"))
        assert wire.one().method == "ACK"
        before = wire.clock
        while not (again := [heard for heard in wire.take() if not heard.is_response]):
            wire.run(0.01)
        assert low <= wire.clock - before <= high + 0.02
        assert (again[0].method, again[0].body) == ("INVITE", HOLD)
        assert again[0].cseq == ours.cseq + 1


def test_b12_a_second_invite_during_the_first_is_500_with_retry_after() -> None:
    wire = Wire()
    _, _, bob = wire.established()
    wire.deliver(bob.request("INVITE", body=THEIRS))
    wire.deliver(bob.request("INVITE", body=THEIRS))
    refusal = wire.one()
    assert refusal.status == 500
    assert 0 <= int(refusal.header("retry-after")) <= 10


# -- challenged (A20) ----------------------------------------------------------------------------------------


def challenged(wire: Wire, gate: Gate):
    call, _, bob = wire.established()
    wire.do(lambda: call.reinvite(HOLD))
    ours = wire.one()
    wire.deliver(gate.ask(ours))
    assert wire.one().method == "ACK"
    return call, ours, bob


def test_a20_while_ours_is_challenged_theirs_is_taken_and_ours_follows_with_fresh_sdp() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    call, ours, bob = challenged(wire, gate)
    wire.deliver(bob.request("INVITE", body=THEIRS))
    assert wire.last(events.CallReoffered).offer == THEIRS
    wire.do(lambda: call.answer_reinvite(OFFER))
    assert wire.one().status == 200, "no INVITE transaction of ours runs, so no 491"
    assert wire.told(events.CallOfferStale)
    wire.do(lambda: call.replace_offer(FRESH))
    wire.respond()
    assert wire.silent(), "theirs is not acknowledged yet"
    wire.deliver(bob.request("ACK", cseq=bob.cseq))
    retry = wire.one()
    assert (retry.method, retry.body) == ("INVITE", FRESH)
    assert retry.cseq == ours.cseq + 1
    assert gate.admits(retry)
    wire.deliver(response(retry, 200, "OK", body=ANSWER))
    assert wire.last(events.CallReanswered).sdp == ANSWER


def test_a03_the_retry_takes_the_next_number_at_send_time() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    call, ours, _ = challenged(wire, gate)
    wire.do(lambda: call.request("INFO"))
    info = wire.one()
    assert info.cseq == ours.cseq + 1
    wire.respond()
    retry = wire.take()[-1]
    assert retry.cseq == ours.cseq + 2


def test_a19_hang_up_with_a_pending_reinvite_sends_bye_and_discards_the_answer() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    call, _, _ = challenged(wire, gate)
    token = wire.token
    wire.do(call.hangup)
    assert wire.one().method == "BYE"
    assert not token.live
    assert wire.outcomes() == ["revoked"]


def test_a20_their_bye_revokes_our_challenge() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    _, _, bob = challenged(wire, gate)
    token = wire.token
    wire.deliver(bob.request("BYE"))
    assert wire.one().status == 200
    assert not token.live
    assert wire.last(events.CallEnded).by == "remote"
    wire.drain()


def test_an_abandoned_reinvite_leaves_the_call_as_it_was() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    call, _, _ = challenged(wire, gate)
    wire.do(lambda: wire.session.abandon(wire.token))
    told = wire.last(events.CallReanswered)
    assert (told.sdp, told.code, told.why) == (None, 407, GiveUp.ABANDONED)
    assert call.state is CallState.CONFIRMED
    wire.do(lambda: call.reinvite(HOLD))
    assert wire.one().method == "INVITE"


def test_t07_two_challenges_in_one_dialog_are_answered_out_of_order() -> None:
    wire, gate = Wire(), Gate(proxy=True)
    call, ours, _ = challenged(wire, gate)
    first = wire.token
    wire.do(lambda: call.request("INFO"))
    wire.deliver(gate.ask(wire.one()))
    second = wire.token
    assert second is not first
    wire.respond(token=second)
    info = wire.one()
    wire.respond(token=first)
    reinvite = wire.one()
    assert (info.method, reinvite.method) == ("INFO", "INVITE")
    assert (info.cseq, reinvite.cseq) == (ours.cseq + 2, ours.cseq + 3)
    assert gate.admits(info)
    assert gate.admits(reinvite)
    assert len(wire.told(AuthChallenged)) == 2
