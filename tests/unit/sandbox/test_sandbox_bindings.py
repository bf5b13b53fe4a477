"""The sandbox's registrar, without a socket: bindings made, refreshed, refused (RFC 3261 section 10.3)."""

from __future__ import annotations

from sipcli.sip.syntax.message import Response
from tests.support.gatehouse import House, status


def test_a_binding_is_made_refreshed_shortened_and_removed() -> None:
    house = House(max_expires=100)
    final = house.register(Expires="600")
    assert final.status == 200
    (contact,) = final.contacts
    assert (str(contact.uri), contact.param("expires")) == ("sip:alice@127.0.0.1:40001", "100")
    house.advance(40)
    (contact,) = house.register(Expires="50").contacts
    assert contact.param("expires") == "50"
    assert len(house.gate.location.find("alice", house.now)) == 1
    house.advance(50)
    assert house.gate.location.find("alice", house.now) == ()
    house.register(Expires="50")
    assert house.register(Expires="0").contacts == ()
    assert house.gate.location.find("alice", house.now) == ()


def test_an_interval_too_brief_is_423() -> None:
    house = House(min_expires=60)
    answer = house.register(Expires="30")
    assert (answer.status, answer.get("Min-Expires")) == (423, "60")
    assert house.gate.location.find("alice", house.now) == ()
    assert house.register(Expires="60").status == 200
    assert house.register(Expires="0").status == 200


def test_a_star_removes_all_and_only_with_expires_0() -> None:
    house = House()
    house.register()
    assert house.register(Contact="*", Expires="3600").status == 400
    assert len(house.gate.location.find("alice", house.now)) == 1
    assert house.register(Contact="*", Expires="0").status == 200
    assert house.gate.location.find("alice", house.now) == ()


def test_a_register_out_of_order_changes_nothing() -> None:
    house = House()
    house.register(Expires="600")
    house.advance(40)
    late = house.ask(call_id="register-alice").with_("To", "<sip:alice@sandbox>")
    (challenge,) = house.give(late)
    assert isinstance(challenge, Response)
    again = house.answered(challenge, late).with_("CSeq", "1 REGISTER").with_("Expires", "0")
    assert status(house.give(again.with_("Contact", "<sip:alice@127.0.0.1:40001>"))) == 500
    assert len(house.gate.location.find("alice", house.now)) == 1


def test_nobody_registers_for_another() -> None:
    house = House()
    message = house.ask().with_("To", "<sip:bob@sandbox>")
    (challenge,) = house.give(message)
    assert isinstance(challenge, Response)
    assert status(house.give(house.answered(challenge, message))) == 403
    assert house.gate.location.find("bob", house.now) == ()


def test_a_register_without_contact_asks_what_is_bound() -> None:
    house = House()
    house.register()
    asking = house.ask(call_id="query").without("Contact")
    (challenge,) = house.give(asking)
    assert isinstance(challenge, Response)
    (answer,) = house.give(house.answered(challenge, asking))
    assert len(answer.contacts) == 1
