"""An address that leads to this very phone, from the registrar, and where we use it (RFC 5627)."""

from __future__ import annotations

import pytest

from tests.support.outbound import FIRMLY, INSTANCE, bound, wire
from tests.support.pair import response

GRUU = f"sip:alice@example.com;gr={INSTANCE}"


def test_C07_the_gruu_of_the_registrar_is_our_contact_in_dialogs() -> None:
    here = wire(gruu=True)
    registration = bound(here, *FIRMLY, more=f';pub-gruu="{GRUU}";temp-gruu="sip:tgruu.7hs==@example.com;gr"')
    register = here.sent[-1]
    assert register.header("supported") == "path, outbound, gruu"
    assert register.contact == "sip:u7x@192.0.2.99:5062;transport=tcp"
    here.call()
    invite = here.one()
    assert invite.contact == GRUU
    assert "gruu" in invite.header("supported").split(", ")
    _, answer, _ = here.answered()
    assert answer.contact == GRUU
    assert "gruu" in answer.header("supported").split(", ")
    here.do(registration.refresh)
    assert here.one().contact == "sip:u7x@192.0.2.99:5062;transport=tcp"


@pytest.mark.parametrize(
    ("more", "contact"),
    [
        (';temp-gruu="sip:tgruu.7hs==@example.com;gr"', "sip:tgruu.7hs==@example.com;gr"),
        (';pub-gruu="tel:+1"', "sip:u7x@192.0.2.99:5062;transport=tcp"),
        ("", "sip:u7x@192.0.2.99:5062;transport=tcp"),
    ],
)
def test_C07_what_is_no_gruu_is_not_used(more: str, contact: str) -> None:
    here = wire(gruu=True)
    bound(here, more=more)
    here.call()
    assert here.one().contact == contact


def test_C07_the_gruu_of_another_device_is_not_ours() -> None:
    here = wire(gruu=True)
    registration = here.do(lambda: here.engine.register("work"))
    request = here.one()
    other = f'Contact: <sip:other@192.0.2.55>;expires=60;pub-gruu="{GRUU}x"'
    mine = f'Contact: <{request.contact}>;expires=600;pub-gruu="{GRUU}"'
    here.deliver(response(request, 200, "OK", other, mine))
    assert registration.binding.expires_s == 600
    here.call()
    assert here.one().contact == GRUU


def test_C07_without_a_wish_for_one_nobody_asks() -> None:
    here = wire()
    bound(here, more=f';pub-gruu="{GRUU}"')
    assert "gruu" not in here.sent[-1].header("supported")
    here.call()
    assert here.one().contact == "sip:u7x@192.0.2.99:5062;transport=tcp"
