"""The sandbox's proxy, without a socket: who answers, and what passes between two users (RFC 3261 section 16)."""

from __future__ import annotations

import pytest

from sipcli.sip.syntax.message import Request, Response
from tests.support.gatehouse import ALICE, BOB, BOB_TCP, HERE, House, status
from tests.support.transactions import request


@pytest.mark.parametrize(
    ("user", "expected"), [("busy", 486), ("decline", 603), ("503", 503), ("nobody", 404), ("bob", 480)]
)
def test_who_does_not_answer_says_why(user: str, expected: int) -> None:
    house = House(challenged=frozenset())
    assert status(house.give(house.ask("INVITE", uri=f"sip:{user}@sandbox"))) == expected


def test_a_subscription_to_a_user_who_is_not_there_is_left_to_the_engine() -> None:
    """480 would say: try again later.  The engine's 489 says that there is nobody who would ever notify."""
    house = House(challenged=frozenset())
    assert house.give(house.ask("SUBSCRIBE", uri="sip:bob@sandbox")) == []
    assert house.left == ["SUBSCRIBE"]
    assert status(house.give(house.ask("SUBSCRIBE", uri="sip:nobody@sandbox"))) == 404


@pytest.mark.parametrize("user", ["echo", "music", "ivr"])
def test_who_answers_is_left_to_the_engine(user: str) -> None:
    house = House(challenged=frozenset())
    assert house.give(house.ask("INVITE", uri=f"sip:{user}@sandbox")) == []
    assert house.left == ["INVITE"]


def test_ring_rings_until_it_is_cancelled() -> None:
    house = House(challenged=frozenset())
    invite = house.ask("INVITE", uri="sip:ring@sandbox")
    assert status(house.give(invite)) == 180
    house.advance(300)
    cancel = request("CANCEL", uri=invite.uri_text, branch=invite.via.branch, call_id="INVITE")
    answers = house.give(cancel)
    assert [answer.status for answer in answers if isinstance(answer, Response)] == [200, 487]


def test_a_call_between_two_users_goes_through() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB)
    invite = house.ask("INVITE", uri="sip:bob@sandbox", headers=(("Proxy-Authorization", "Digest x=y"),), body=b"v=0")
    (forwarded,) = house.give(invite)
    assert isinstance(forwarded, Request)
    assert house.sent[-1][0] is BOB
    assert forwarded.uri_text == "sip:bob@127.0.0.1:40002"
    assert (forwarded.max_forwards, forwarded.body) == (69, b"v=0")
    assert forwarded.values("Record-Route") == ("<sip:127.0.0.1:5060;lr>",)
    assert [via.sent_by for via in forwarded.vias] == [HERE, ("192.0.2.1", 5060)]
    assert forwarded.find("Proxy-Authorization") is None

    (ringing,) = house.give(forwarded.reply(180, to_tag="b"), BOB)
    assert isinstance(ringing, Response)
    assert (ringing.status, ringing.all("Via"), house.sent[-1][0]) == (180, invite.all("Via"), ALICE)
    (answer,) = house.give(forwarded.reply(200, to_tag="b", headers=(("Contact", "<sip:bob@127.0.0.1:40002>"),)), BOB)
    assert isinstance(answer, Response)
    assert answer.values("Record-Route") == ("<sip:127.0.0.1:5060;lr>",)

    route = (("Route", "<sip:127.0.0.1:5060;lr>"),)
    ack = request(
        "ACK", uri="sip:bob@127.0.0.1:40002", cseq=invite.cseq.number, call_id="INVITE", to_tag="b", headers=route
    )
    (passed_on,) = house.give(ack)
    assert isinstance(passed_on, Request)
    assert (passed_on.method, passed_on.find("Route"), house.sent[-1][0]) == ("ACK", None, BOB)

    bye = request("BYE", uri="sip:alice@192.0.2.1:5060", call_id="INVITE", from_tag="b", to_tag="from-1", headers=route)
    (to_alice,) = house.give(bye, BOB)
    assert isinstance(to_alice, Request)
    assert (to_alice.method, to_alice.uri_text, house.sent[-1][0]) == ("BYE", "sip:alice@192.0.2.1:5060", ALICE)
    (done,) = house.give(to_alice.reply(200))
    assert (done.cseq.method, house.sent[-1][0]) == ("BYE", BOB)
    assert len(house.gate.relay) == 0


def test_between_two_transports_both_sides_are_recorded() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB_TCP)
    (forwarded,) = house.give(house.ask("INVITE", uri="sip:bob@sandbox"))
    assert isinstance(forwarded, Request)
    assert forwarded.values("Record-Route") == ("<sip:127.0.0.1:5060;transport=tcp;lr>", "<sip:127.0.0.1:5060;lr>")
    assert forwarded.via.transport == "TCP"


def test_a_cancel_waits_for_the_callees_first_word() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB)
    invite = house.ask("INVITE", uri="sip:bob@sandbox")
    (forwarded,) = house.give(invite)
    assert isinstance(forwarded, Request)
    cancel = request("CANCEL", uri=invite.uri_text, branch=invite.via.branch, call_id="INVITE")
    assert status(house.give(cancel)) == 200
    out = house.give(forwarded.reply(180, to_tag="b"), BOB)
    assert [getattr(message, "method", None) for message in out] == ["CANCEL", None]
    ack, refusal = house.give(forwarded.reply(487, to_tag="b"), BOB)
    assert isinstance(ack, Request)
    assert isinstance(refusal, Response)
    assert (ack.method, refusal.status) == ("ACK", 487)
    assert len(house.gate.relay) == 0


def test_a_callee_who_never_answers_is_408_and_one_whose_connection_broke_480() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB)
    house.give(house.ask("INVITE", uri="sip:bob@sandbox"))
    house.advance(32)
    assert 408 in {answer.status for _, answer in house.sent if isinstance(answer, Response)}
    house.register("bob", BOB_TCP)
    house.give(house.ask("MESSAGE", uri="sip:bob@sandbox"))
    before = len(house.sent)
    house.layer.flow_lost(BOB_TCP, "reset")
    house.gate.forget_flow(BOB_TCP)
    assert [answer.status for _, answer in house.sent[before:] if isinstance(answer, Response)] == [480]
    assert [binding.flow for binding in house.gate.location.find("bob", house.now)] == [BOB]


def test_a_message_reaches_the_other_user_and_its_answer_comes_back() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB)
    message = house.ask("MESSAGE", uri="sip:bob@sandbox", body=b"hello")
    (forwarded,) = house.give(message)
    assert isinstance(forwarded, Request)
    assert (forwarded.body, forwarded.find("Record-Route")) == (b"hello", None)
    assert status(house.give(forwarded.reply(202), BOB)) == 202


def test_too_many_hops() -> None:
    house = House(challenged=frozenset({"REGISTER"}))
    house.register("bob", BOB)
    assert status(house.give(house.ask("MESSAGE", uri="sip:bob@sandbox").with_("Max-Forwards", "0"))) == 483
