"""Flows that registrations keep: reg-id, what the registrar makes of it, pings and pongs, STUN (RFC 5626)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.flow import Flow
from tests.support.outbound import FIRMLY, INSTANCE, PING, PONG, ask, bound, mapped, ok, states, wire
from tests.support.pair import LOCAL, response

# -- what a REGISTER says ------------------------------------------------------------------------------------


def test_C05_a_register_names_instance_and_flow() -> None:
    here = wire()
    here.do(lambda: here.engine.register("work"))
    request = here.one()
    assert request.header("supported") == "path, outbound"
    assert request.header("contact").startswith("<sip:u7x@192.0.2.99:5062;transport=tcp>;expires=600;reg-id=1;")
    assert f';+sip.instance="<{INSTANCE}>"' in request.header("contact")


def test_C07_a_register_says_what_we_can() -> None:
    """RFC 3840 section 9: the methods that Allow names, and that we take audio."""
    here = wire()
    here.do(lambda: here.engine.register("work"))
    request = here.one()
    methods = request.header("allow").replace(" ", "")
    assert request.header("contact").endswith(f';audio;methods="{methods}"')


def test_C05_the_binding_is_taken_back_under_the_same_names() -> None:
    here = wire()
    registration = bound(here, *FIRMLY)
    here.do(registration.unregister)
    assert here.one().header("contact") == (
        f'<sip:u7x@192.0.2.99:5062;transport=tcp>;expires=0;reg-id=1;+sip.instance="<{INSTANCE}>"'
    )


def test_C05_off_is_a_plain_register() -> None:
    here = wire(outbound="off")
    here.do(lambda: here.engine.register("work"))
    request = here.one()
    assert request.header("contact") == "<sip:u7x@192.0.2.99:5062;transport=tcp>;expires=600"
    assert request.header("supported") == "path"


# -- what the registrar makes of it ----------------------------------------------------------------------------


def test_C05_ob_is_in_our_contact_once_the_registrar_keeps_flows() -> None:
    here = wire()
    bound(here, *FIRMLY)
    here.call()
    invite = here.one()
    assert invite.contact == "sip:u7x@192.0.2.99:5062;transport=tcp;ob"
    assert "outbound" in invite.header("supported").split(", ")
    call, answer, _ = here.answered()
    assert answer.contact == "sip:u7x@192.0.2.99:5062;transport=tcp;ob"
    assert call.state.value == "confirmed"


def test_C05_without_require_nothing_else_changes() -> None:
    here = wire()
    bound(here)
    here.call()
    assert here.one().contact == "sip:u7x@192.0.2.99:5062;transport=tcp"
    here.run(1000)
    assert here.pings == []


def test_C05_439_is_followed_by_a_plain_register() -> None:
    here = wire()
    here.do(lambda: here.engine.register("work"))
    first = here.one()
    here.deliver(response(first, 439, "First Hop Lacks Outbound Support"))
    second = here.one()
    assert second.cseq == first.cseq + 1
    assert second.header("contact") == "<sip:u7x@192.0.2.99:5062;transport=tcp>;expires=600"
    assert second.header("supported") == "path"
    here.deliver(ok(second))
    assert states(here) == ["trying", "registered"]


def test_C05_439_where_we_insist_is_a_failure() -> None:
    here = wire(outbound="on")
    here.do(lambda: here.engine.register("work", keep=False))
    here.deliver(response(here.one(), 439, "First Hop Lacks Outbound Support"))
    assert here.silent()
    assert (here.last(events.RegistrationChanged).state, here.last(events.RegistrationChanged).code) == ("failed", 439)


def test_C05_a_registrar_that_does_not_keep_flows_is_told_where_we_insist() -> None:
    here = wire(outbound="on")
    registration = bound(here)
    [warning] = [event for event in here.told(events.ProtocolWarning) if event.code == "outbound"]
    assert "does not keep flows (RFC 5626)" in warning.message
    here.do(registration.refresh)
    here.deliver(ok(here.one()))
    assert len([event for event in here.told(events.ProtocolWarning) if event.code == "outbound"]) == 1


# -- pings and pongs -------------------------------------------------------------------------------------------


def test_C05_pings_go_out_at_80_to_100_percent_of_two_minutes() -> None:
    here = wire()
    bound(here, *FIRMLY, expires=100_000)
    since, gaps = here.clock, []
    for _ in range(40):
        count = len(here.pings)
        while len(here.pings) == count:
            here.run(1.0)
        when, flow, data = here.pings[-1]
        assert data == PING
        gaps.append(when - since)
        here.deliver(PONG, flow)
        since = here.clock
    # The pong comes with the next whole second.
    assert all(95 <= gap <= 121 for gap in gaps), gaps
    assert max(gaps) - min(gaps) > 10, "they are not spread"
    assert states(here) == ["trying", "registered"]


@pytest.mark.parametrize(("said", "low", "high"), [("60", 48, 61), ("5", 9, 13), ("", 95, 121), ("soon", 95, 121)])
def test_C05_the_flow_timer_sets_the_pace(said: str, low: float, high: float) -> None:
    here = wire()
    bound(here, *FIRMLY, f"Flow-Timer: {said}")
    begun = here.clock
    here.run(130)
    assert low <= here.pings[0][0] - begun <= high


def test_C05_a_flow_timer_alone_is_a_promise_of_pongs() -> None:
    here = wire()
    bound(here, "Flow-Timer: 30")
    here.run(31)
    assert len(here.pings) == 1


def test_C05_no_pong_in_ten_seconds_is_a_lost_flow() -> None:
    here = wire()
    bound(here, *FIRMLY)
    old = here.flow()
    while not here.pings:
        here.run(1.0)
    here.flows.clear()  # the next connection is another one
    here.flows["spare", ("", 0)] = old
    left = here.pings[0][0] + 10 - here.clock
    here.run(left - 0.1)
    assert here.silent()
    here.run(0.2)
    assert [event.flow for event in here.told(events.FlowReleased)] == [old]
    here.seek()
    again = here.one()
    assert again.method == "REGISTER"
    assert ";reg-id=1;" in again.header("contact")
    here.deliver(ok(again, *FIRMLY), here.sent_over[-1])
    assert here.sent_over[-1].id != old.id
    assert states(here)[-1] == "registered"


def test_C05_a_pong_that_nobody_asked_for_is_nothing() -> None:
    here = wire()
    bound(here, *FIRMLY)
    for _ in range(3):
        here.deliver(PONG)
    here.run(121)
    assert len(here.pings) == 1
    here.deliver(PONG)
    here.run(20)
    assert states(here) == ["trying", "registered"]


def test_C05_after_the_binding_nobody_is_pinged() -> None:
    here = wire()
    registration = bound(here, *FIRMLY)
    here.do(registration.unregister)
    here.deliver(response(here.one(), 200, "OK"))
    here.run(1000)
    assert here.pings == []
    here.drain()


# -- STUN ------------------------------------------------------------------------------------------------------


def test_C05_over_udp_it_is_stun_every_24_to_29_seconds() -> None:
    here = wire("udp")
    bound(here, *FIRMLY)
    since = here.clock
    for _ in range(10):
        count = len(here.pings)
        while len(here.pings) == count:
            here.run(0.25)
        when, flow, ping = here.pings[-1]
        assert 24 <= when - since <= 29.3
        assert ping[:8] == bytes.fromhex("000100082112a442")
        here.deliver(mapped(ping), flow)
        since = here.clock
    assert states(here) == ["trying", "registered"]


def test_C05_stun_is_repeated_seven_times_and_then_the_flow_is_lost() -> None:
    here = wire("udp")
    bound(here, *FIRMLY)
    ask(here)
    here.deliver(mapped(here.pings[-1][2]))
    here.pings.clear()
    here.take()
    while not here.pings:
        here.run(0.25)
    first = here.pings[0][0]
    here.run(39.0)
    assert [round(when - first, 1) for when, _, _ in here.pings] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert len({ping for *_, ping in here.pings}) == 1
    assert here.silent()
    here.run(0.6)
    here.seek()
    assert here.one().method == "REGISTER"


@pytest.mark.parametrize(("unanswered", "again"), [(2, False), (3, True), (6, True)])
def test_C05_who_was_silent_for_a_while_may_have_been_rebooted(unanswered: int, again: bool) -> None:
    """Over UDP nothing breaks: a proxy that was away for less than 39.5 s answers, and knows nobody any more."""
    here = wire("udp")
    bound(here, *FIRMLY)
    ask(here)
    here.deliver(mapped(here.pings[-1][2]))
    here.pings.clear()
    while len(here.pings) <= unanswered:
        here.run(0.25)
    assert here.silent()
    here.deliver(mapped(here.pings[-1][2]))
    if again:
        here.seek()
        register = here.one()
        assert register.method == "REGISTER"
        here.deliver(ok(register, *FIRMLY))
        assert states(here) == ["trying", "registered", "registered"]
    here.run(20.0)
    assert here.silent()


def test_C05_where_there_never_was_stun_it_is_left_at_that() -> None:
    here = wire("udp")
    bound(here, *FIRMLY)
    here.run(300)
    assert here.silent()
    assert len(here.pings) == 7
    assert [event.watched for event in here.told(events.FlowWatched)] == [True, False]
    assert states(here) == ["trying", "registered"]


def test_C05_another_mapping_is_another_flow() -> None:
    here = wire("udp")
    bound(here, *FIRMLY)
    ask(here)
    here.deliver(mapped(here.pings[-1][2]))
    ask(here)
    assert here.silent()
    here.deliver(mapped(here.pings[-1][2], port=40001))
    here.seek()
    assert here.one().method == "REGISTER"


def test_C05_stun_that_answers_another_question_is_nothing() -> None:
    here = wire("udp")
    bound(here, *FIRMLY)
    ask(here)
    good = here.pings[-1][2]
    here.deliver(mapped(good))
    ask(here)
    for forged in (mapped(good, port=1), mapped(bytes(20), port=1), mapped(here.pings[-1][2])[:-1]):
        here.deliver(forged)
    assert here.silent()


def test_C05_stun_from_elsewhere_is_nothing() -> None:
    here = wire("udp")
    bound(here, *FIRMLY)
    ask(here)
    here.deliver(mapped(here.pings[-1][2]))
    ask(here)
    here.deliver(mapped(here.pings[-1][2], port=1), Flow(99, "udp", LOCAL, ("203.0.113.9", 5060)))
    assert here.silent()


# -- recovery ----------------------------------------------------------------------------------------------------
# -- GRUU ----------------------------------------------------------------------------------------------------------
