"""The race conditions of RFC 5407, section by section, with us at either end of them (B12).

Alice calls, Bob is called. The re-INVITE crossover of section 3.3.1 is in test_flows_reoffer.py, for both.
"""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.sip import events
from sipcli.sip.calls.indialog import CallState
from tests.support.pair import ANSWER, OFFER, Caller, Heard, Wire, response

CONTACT = "Contact: <sip:bob@192.0.2.1:5060>"
THEIRS = ANSWER.replace(b"4000", b"4400")
HOLD = OFFER + b"a=sendonly\r\n"


def accepted(offer: bytes = OFFER) -> tuple[Wire, Any, Caller, Heard]:
    """We are Bob: our 200 went out, and no ACK has come."""
    wire, alice = Wire(), Caller()
    wire.deliver(alice.request("INVITE", body=offer, branch="z9hG4bK-first"))
    call = wire.last(events.CallIncoming).call
    wire.do(lambda: call.accept(ANSWER))
    ok = wire.one()
    alice.joins(ok)
    return wire, call, alice, ok


def dialled(sdp: bytes | None = OFFER) -> tuple[Wire, Any, Heard]:
    """We are Alice: our INVITE went out."""
    wire = Wire()
    call = wire.call(sdp=sdp)
    return wire, call, wire.one()


def ok_of(invite: Heard, body: bytes = ANSWER) -> bytes:
    return response(invite, 200, "OK", CONTACT, body=body)


def either(role: str) -> tuple[Wire, Any, Caller]:
    wire = Wire()
    call, _, peer = wire.established() if role == "alice" else wire.answered()
    wire.take()
    return wire, call, peer


def methods(heard: list[Heard]) -> list[str]:
    return [f"{one.status} {one.method}" if one.is_response else one.method for one in heard]


BOTH = pytest.mark.parametrize("role", ["alice", "bob"])


class TestMoratorium:
    """Section 3.1: the 200 is out, its ACK is not in."""

    def test_B12_311_bob_takes_a_repeated_invite_for_what_it_is(self) -> None:
        wire, alice = Wire(), Caller()
        first = alice.request("INVITE", body=OFFER, branch="z9hG4bK-first")
        wire.deliver(first)
        call = wire.last(events.CallIncoming).call
        wire.do(call.ring)
        wire.do(lambda: call.accept(ANSWER))
        alice.joins(wire.take()[-1])
        wire.deliver(first)
        assert set(methods(wire.take())) <= {"200 INVITE"}
        assert len(wire.told(events.CallIncoming)) == 1
        wire.deliver(alice.request("ACK", cseq=1))
        assert wire.last(events.CallConfirmed).call is call

    def test_B12_311_alice_repeats_her_invite_until_the_200_and_no_longer(self) -> None:
        wire, call, invite = dialled()
        wire.run(0.6)
        assert wire.one().data == invite.data
        wire.deliver(ok_of(invite))
        assert methods(wire.take()) == ["ACK"]
        wire.run(40)
        assert wire.silent()
        assert call.state is CallState.CONFIRMED

    def test_B12_312_bob_answers_the_cancel_and_the_call_stays_until_the_bye(self) -> None:
        wire, call, alice, _ = accepted()
        cancel = Caller(call_id=alice.call_id)
        wire.deliver(cancel.request("CANCEL", cseq=1, branch="z9hG4bK-first"))
        assert methods(wire.take()) == ["200 CANCEL"]
        wire.deliver(alice.request("ACK", cseq=1))
        assert call.state is CallState.CONFIRMED
        wire.deliver(alice.request("BYE"))
        assert methods(wire.take()) == ["200 BYE"]
        wire.drain()

    def test_B12_312_alice_acknowledges_the_200_that_crossed_her_cancel_and_says_bye(self) -> None:
        wire, call, invite = dialled()
        wire.deliver(response(invite, 180, "Ringing", CONTACT))
        wire.do(call.hangup)
        cancel = wire.one()
        wire.deliver(ok_of(invite))
        ack, bye = wire.take()
        assert (cancel.method, ack.method, bye.method) == ("CANCEL", "ACK", "BYE")
        wire.deliver(response(cancel, 200, "OK"))
        wire.deliver(response(bye, 200, "OK"))
        assert wire.last(events.CallEnded).by == "local"
        assert not wire.told(events.CallAnswered)
        wire.drain()

    def test_B12_313_bob_takes_an_early_bye_that_crossed_his_200(self) -> None:
        wire, _, alice, _ = accepted()
        wire.deliver(alice.request("BYE"))
        assert methods(wire.take()) == ["200 BYE"]
        wire.run(5)
        assert wire.silent(), "the 200 is not repeated"
        wire.deliver(alice.request("ACK", cseq=1))
        wire.run(40)
        assert wire.silent()
        assert [ended.by for ended in wire.told(events.CallEnded)] == ["remote"]
        wire.drain()

    def test_B12_313_alice_leaves_an_early_dialog_by_cancel_only(self) -> None:
        wire, call, invite = dialled()
        wire.deliver(response(invite, 180, "Ringing", CONTACT))
        wire.do(call.hangup)
        assert methods(wire.take()) == ["CANCEL"]

    def test_B12_314_bob_takes_a_reinvite_before_the_ack_where_his_200_was_the_answer(self) -> None:
        wire, call, alice, first = accepted()
        wire.deliver(alice.request("INVITE", body=THEIRS))
        assert wire.last(events.CallReoffered).offer == THEIRS
        wire.do(lambda: call.answer_reinvite(HOLD))
        second = wire.one()
        assert (second.status, second.body, second.cseq) == (200, HOLD, 2)
        wire.run(0.55)
        repeated = wire.take()
        assert {again.data for again in repeated} <= {first.data, second.data}
        assert first.data in {again.data for again in repeated}, "nobody has acknowledged the first one yet"
        wire.deliver(alice.request("ACK", cseq=1))
        wire.deliver(alice.request("ACK", cseq=2))
        wire.run(40)
        assert wire.silent()
        assert call.state is CallState.CONFIRMED

    def test_a_third_invite_needs_no_ack_of_the_second_either(self) -> None:
        wire, call, alice, _ = accepted()
        for number in (2, 3):
            wire.deliver(alice.request("INVITE", body=THEIRS))
            wire.do(lambda: call.answer_reinvite(HOLD))
            assert wire.one().cseq == number
        for number in (1, 2, 3):
            wire.deliver(alice.request("ACK", cseq=number))
        wire.run(40)
        assert wire.silent()
        assert call.state is CallState.CONFIRMED

    def test_B12_314_alice_acknowledges_the_repeated_200_beside_her_reinvite(self) -> None:
        wire, call, invite = dialled()
        wire.deliver(ok_of(invite))
        lost = wire.one()
        wire.do(lambda: call.reinvite(HOLD))
        reinvite = wire.one()
        wire.deliver(ok_of(invite))
        assert wire.one().data == lost.data
        wire.deliver(response(reinvite, 200, "OK", CONTACT, body=THEIRS))
        ack = wire.one()
        assert (ack.method, ack.cseq) == ("ACK", reinvite.cseq)
        assert wire.last(events.CallReanswered).sdp == THEIRS

    def test_B12_315_bob_refuses_a_reinvite_while_his_own_offer_has_no_answer(self) -> None:
        wire, call, alice, _ = accepted(offer=b"")
        wire.deliver(alice.request("INVITE", body=THEIRS, branch="z9hG4bK-second"))
        assert methods(wire.take()) == ["491 INVITE"]
        wire.deliver(alice.request("ACK", cseq=2, branch="z9hG4bK-second"))
        wire.deliver(alice.request("ACK", cseq=1, body=THEIRS))
        assert wire.last(events.CallConfirmed).sdp == THEIRS
        wire.deliver(alice.request("INVITE", body=THEIRS))
        assert wire.last(events.CallReoffered).call is call

    @BOTH
    def test_B12_315_an_offer_of_ours_in_the_2xx_to_their_reinvite_is_not_crossed_either(self, role: str) -> None:
        """Fails without the look at ``_late`` in ``Reoffer._busy``."""
        wire, call, peer = either(role)
        wire.deliver(peer.request("INVITE"))
        number = peer.cseq
        wire.do(lambda: call.answer_reinvite(OFFER))
        wire.take()
        wire.deliver(peer.request("INVITE", body=THEIRS, branch="z9hG4bK-crossing"))
        assert methods(wire.take()) == ["491 INVITE"]
        wire.deliver(peer.request("UPDATE", body=THEIRS))
        assert methods(wire.take()) == ["491 UPDATE"]
        wire.deliver(peer.request("ACK", cseq=peer.cseq - 1, branch="z9hG4bK-crossing"))
        wire.deliver(peer.request("ACK", cseq=number, body=THEIRS))
        assert wire.last(events.CallReanswered).sdp == THEIRS

    def test_B12_315_alice_repeats_her_answer_and_offers_again_after_the_491(self) -> None:
        wire, call, invite = dialled(sdp=None)
        wire.deliver(ok_of(invite))
        assert wire.silent()
        wire.do(lambda: call.acknowledge(OFFER))
        lost = wire.one()
        wire.do(lambda: call.reinvite(HOLD))
        reinvite = wire.one()
        wire.deliver(ok_of(invite))
        assert wire.one().data == lost.data, "the answer goes with every ACK"
        wire.deliver(response(reinvite, 491, "Request Pending"))
        assert methods(wire.take()) == ["ACK"]
        wire.run(2.05)
        assert wire.silent()
        wire.run(2)
        assert wire.take()[0].body == HOLD

    def test_B12_316_bob_takes_the_bye_that_overtook_the_ack(self) -> None:
        wire, call, alice, first = accepted()
        wire.run(0.55)
        assert wire.one().data == first.data
        wire.deliver(alice.request("BYE"))
        assert methods(wire.take()) == ["200 BYE"]
        wire.deliver(alice.request("ACK", cseq=1))
        assert call.state is CallState.ENDED
        assert not wire.told(events.CallConfirmed), "the session does not begin after its end"
        wire.drain()

    def test_B12_316_alice_acknowledges_a_200_again_after_her_bye(self) -> None:
        wire, call, invite = dialled()
        wire.deliver(ok_of(invite))
        lost = wire.one()
        wire.do(call.hangup)
        bye = wire.one()
        wire.deliver(ok_of(invite))
        assert wire.one().data == lost.data
        wire.deliver(response(bye, 200, "OK"))
        assert len(wire.told(events.CallAnswered)) == len(wire.told(events.CallEnded)) == 1
        wire.drain()


class TestMortal:
    """Section 3.2: the BYE is out."""

    @BOTH
    def test_B12_321_both_say_bye(self, role: str) -> None:
        wire, call, peer = either(role)
        wire.do(call.hangup)
        ours = wire.one()
        wire.deliver(peer.request("BYE"))
        assert methods(wire.take()) == ["200 BYE"]
        wire.deliver(response(ours, 481, "Call/Transaction Does Not Exist"))
        assert [ended.by for ended in wire.told(events.CallEnded)] == ["local"]
        wire.drain()

    @BOTH
    def test_B12_322_a_reinvite_that_met_our_bye_is_481(self, role: str) -> None:
        wire, call, peer = either(role)
        wire.do(call.hangup)
        bye = wire.one()
        wire.deliver(peer.request("INVITE", body=THEIRS, branch="z9hG4bK-late"))
        assert methods(wire.take()) == ["481 INVITE"]
        wire.deliver(peer.request("ACK", cseq=peer.cseq, branch="z9hG4bK-late"))
        wire.deliver(response(bye, 200, "OK"))
        assert not wire.told(events.CallReoffered)
        wire.drain()

    @BOTH
    def test_B12_322_the_481_to_our_reinvite_that_met_their_bye_is_acknowledged(self, role: str) -> None:
        wire, call, peer = either(role)
        wire.do(lambda: call.reinvite(HOLD))
        ours = wire.one()
        wire.deliver(peer.request("BYE"))
        assert "200 BYE" in methods(wire.take())
        wire.deliver(response(ours, 481, "Call/Transaction Does Not Exist"))
        assert methods(wire.take()) == ["ACK"]
        assert [ended.by for ended in wire.told(events.CallEnded)] == ["remote"]
        wire.drain()

    @BOTH
    def test_B12_323_the_200_to_our_reinvite_is_acknowledged_after_our_bye(self, role: str) -> None:
        wire, call, _ = either(role)
        wire.do(lambda: call.reinvite(HOLD))
        ours = wire.one()
        wire.do(call.hangup)
        bye = wire.one()
        wire.deliver(response(ours, 200, "OK", CONTACT, body=ANSWER))
        assert methods(wire.take()) == ["ACK"]
        assert not wire.told(events.CallReanswered)
        wire.deliver(response(bye, 200, "OK"))
        wire.drain()

    @BOTH
    def test_B12_323_their_bye_ends_the_repetition_of_our_200(self, role: str) -> None:
        wire, call, peer = either(role)
        wire.deliver(peer.request("INVITE", body=THEIRS))
        number = peer.cseq
        wire.do(lambda: call.answer_reinvite(HOLD))
        wire.take()
        wire.deliver(peer.request("BYE"))
        assert methods(wire.take()) == ["200 BYE"]
        wire.run(5)
        assert wire.silent()
        wire.deliver(peer.request("ACK", cseq=number))
        wire.run(40)
        assert wire.silent()
        wire.drain()

    def test_B12_324_bob_waits_for_the_ack_with_his_bye_and_begins_nothing(self) -> None:
        """Of the two ways that the RFC describes we take the one without the race, as RFC 3261 section 15 asks."""
        wire, call, alice, _ = accepted(offer=b"")
        wire.do(call.hangup)
        assert wire.silent()
        wire.deliver(alice.request("ACK", cseq=1, body=THEIRS))
        assert methods(wire.take()) == ["BYE"]

    @pytest.mark.parametrize("body", [OFFER, b""], ids=["our answer", "our offer"])
    def test_B12_324_an_ack_that_comes_when_bob_has_given_up_begins_nothing(self, body: bytes) -> None:
        """Nobody acknowledged for 64*T1 and our BYE is out; the answer in such an ACK is ignored."""
        wire, call, alice, _ = accepted(offer=body)
        wire.run(32.05)
        assert wire.take()[-1].method == "BYE"
        wire.deliver(alice.request("ACK", cseq=1, body=THEIRS if not body else b""))
        wire.run(40)
        assert not wire.told(events.CallConfirmed)
        assert call.state is CallState.ENDED
        assert len(wire.told(events.CallEnded)) == 1
        wire.drain()

    def test_B12_324_alice_takes_the_bye_that_crossed_her_ack(self) -> None:
        wire, _, invite = dialled()
        wire.deliver(ok_of(invite))
        assert methods(wire.take()) == ["ACK"]
        wire.deliver(Caller.called(invite).request("BYE"))
        assert methods(wire.take()) == ["200 BYE"]
        wire.deliver(ok_of(invite))
        wire.drain()
        assert [ended.by for ended in wire.told(events.CallEnded)] == ["remote"]


class TestCrossover:
    """Section 3.3."""

    @BOTH
    def test_B12_332_their_update_and_our_reinvite_refuse_each_other_and_ours_goes_again(self, role: str) -> None:
        wire, call, peer = either(role)
        wire.do(lambda: call.reinvite(HOLD))
        ours = wire.one()
        wire.deliver(peer.request("UPDATE", body=THEIRS))
        assert methods(wire.take()) == ["491 UPDATE"]
        wire.deliver(response(ours, 491, "Request Pending"))
        assert methods(wire.take()) == ["ACK"]
        wire.run(4.01)
        assert wire.take()[0].body == HOLD

    @BOTH
    def test_B12_332_two_updates_with_offers_refuse_each_other(self, role: str) -> None:
        """Ours has one before the answer only."""
        wire = Wire()
        lines = ("Supported: 100rel", "Allow: INVITE, ACK, BYE, UPDATE, PRACK")
        if role == "bob":
            peer = Caller()
            wire.deliver(peer.request("INVITE", *lines, body=OFFER))
            call = wire.last(events.CallIncoming).call
            wire.do(lambda: call.ring(183, ANSWER))
            said = wire.one()
            peer.joins(said)
            wire.deliver(peer.request("PRACK", f"RAck: {said.header('rseq')} 1 INVITE"))
        else:
            call = wire.call()
            invite = wire.one()
            reliable = ("Require: 100rel", "RSeq: 3", CONTACT, lines[1])
            wire.deliver(response(invite, 183, "Session Progress", *reliable, body=ANSWER))
            peer = Caller.called(invite)
        wire.take()
        wire.do(lambda: call.reinvite(HOLD))
        ours = wire.one()
        assert ours.method == "UPDATE"
        wire.deliver(peer.request("UPDATE", body=THEIRS))
        assert methods(wire.take()) == ["491 UPDATE"]
        wire.deliver(response(ours, 491, "Request Pending"))
        wire.run(4.01)
        again = next(heard for heard in wire.take() if heard.method == "UPDATE")
        assert (again.method, again.body, again.cseq) == ("UPDATE", HOLD, ours.cseq + 1)

    @BOTH
    def test_B12_332_without_an_offer_both_succeed(self, role: str) -> None:
        wire, call, peer = either(role)
        wire.do(lambda: call.request("UPDATE"))
        update = wire.one()
        wire.deliver(peer.request("INVITE", body=THEIRS))
        wire.do(lambda: call.answer_reinvite(OFFER))
        assert methods(wire.take()) == ["200 INVITE"]
        wire.deliver(response(update, 200, "OK", CONTACT))
        assert wire.last(events.RequestDone).response is not None

    @BOTH
    def test_B12_333_a_refer_that_met_our_bye_is_481(self, role: str) -> None:
        wire, call, peer = either(role)
        wire.do(call.hangup)
        wire.take()
        wire.deliver(peer.request("REFER", "Refer-To: <sip:carol@example.com>"))
        assert methods(wire.take()) == ["481 REFER"]

    @BOTH
    def test_B12_333_the_481_to_our_refer_that_met_their_bye_ends_nothing_twice(self, role: str) -> None:
        wire, call, peer = either(role)
        wire.do(lambda: call.request("REFER", headers=(("Refer-To", "<sip:carol@example.com>"),)))
        refer = wire.one()
        wire.deliver(peer.request("BYE"))
        assert "200 BYE" in methods(wire.take())
        wire.deliver(response(refer, 481, "Call/Transaction Does Not Exist"))
        assert [ended.by for ended in wire.told(events.CallEnded)] == ["remote"]
        wire.drain()
