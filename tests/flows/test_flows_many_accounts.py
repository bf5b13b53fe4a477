"""One engine with many accounts: what an account costs does not grow with the number of the others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

from sipcli.sip.auth import AuthSession
from sipcli.sip.events import RequestDone
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.uri import SipUri
from tests.support.outbound import ok
from tests.support.pair import POLICY, Caller, Wire

MANY = 60


def add(here: Wire, name: str) -> None:
    profile = here.profile._replace(name=name, contact_user=name)
    here.do(lambda: here.engine.add_account(profile, AuthSession((), policy=POLICY)))


def steps_of(act: Callable[[], object]) -> int:
    """Functions called while it does *act*."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(before)
    return calls


def steps_to_read(here: Wire, data: bytes, flow: Flow) -> int:
    """Functions called by the engine while it reads *data*."""
    calls = steps_of(lambda: here.engine.receive(data, flow, here.clock))
    here.pump()
    here.take()
    return calls


def steps_to_bind(here: Wire, name: str) -> int:
    add(here, name)
    here.do(lambda: here.engine.register(name))
    return steps_to_read(here, ok(here.one()), here.sent_over[-1])


def steps_to_turn_away(here: Wire) -> int:
    """A call from a stranger to nobody: the second, for what is learned of a stranger is learned of the first."""
    flow = here.flow(("198.51.100.7", 5060))
    invite = Caller(to="<sip:nobody@192.0.2.9>", uri="sip:nobody@192.0.2.9").request("INVITE")
    steps_to_read(here, invite, flow)
    return steps_to_read(here, invite, flow)


def test_a_binding_costs_the_same_among_few_accounts_and_among_many() -> None:
    """Fails when every account is asked whether it keeps the flow that nobody watches."""
    here = Wire()
    few, *_, many = [steps_to_bind(here, f"a{number}") for number in range(MANY)]
    assert many <= few + 10


def test_T23_a_stranger_who_calls_nobody_makes_us_look_at_each_account_and_no_more() -> None:
    """Fails when the address that is called is spelt anew for each account of ours."""
    here = Wire(config={"accept_calls": "bound"})
    few = steps_to_turn_away(here)
    for number in range(MANY):
        add(here, f"a{number}")
    assert steps_to_turn_away(here) <= few + 3 * MANY


def ask(here: Wire, name: str) -> None:
    here.do(lambda: here.engine.options(name, SipUri.parse("sip:example.com")))
    here.take()


def steps_to_close(accounts: int) -> int:
    """With a request of each account under way."""
    here = Wire()
    for number in range(accounts):
        steps_to_bind(here, f"a{number}")
        ask(here, f"a{number}")
    steps = steps_of(here.engine.close)
    here.pump()
    assert all(str(event.why).startswith("closed: ") for event in here.told(RequestDone))
    assert len(here.told(RequestDone)) == accounts
    return steps


def test_closing_costs_each_account_the_same_among_few_and_among_many() -> None:
    """Fails when each account asks all that is under way whether it belongs to it."""
    assert steps_to_close(MANY) <= MANY / 20 * steps_to_close(20) + 20
