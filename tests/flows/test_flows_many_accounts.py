"""One engine with many accounts: what an account costs does not grow with the number of the others."""

from __future__ import annotations

import sys
from types import FrameType

from sipcli.sip.auth import AuthSession
from tests.support.outbound import ok
from tests.support.pair import POLICY, Wire

MANY = 60


def steps_to_bind(here: Wire, name: str) -> int:
    """Functions called while the registrar's 200 to a new account is read."""
    profile = here.profile._replace(name=name, contact_user=name)
    here.do(lambda: here.engine.add_account(profile, AuthSession((), policy=POLICY)))
    here.do(lambda: here.engine.register(name))
    answer, flow = ok(here.one()), here.sent_over[-1]
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        here.engine.receive(answer, flow, here.clock)
    finally:
        sys.setprofile(before)
    here.pump()
    here.take()
    return calls


def test_a_binding_costs_the_same_among_few_accounts_and_among_many() -> None:
    """Fails when every account is asked whether it keeps the flow that nobody watches."""
    here = Wire()
    few, *_, many = [steps_to_bind(here, f"a{number}") for number in range(MANY)]
    assert many <= few + 10
