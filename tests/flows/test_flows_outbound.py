"""Flows that registrations keep: reg-id, pings and pongs, STUN, recovery (RFC 5626), GRUU (RFC 5627)."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from typing import Any

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthSession
from sipcli.sip.flow import Flow
from sipcli.sip.registrations.register import State
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import ANSWER, LOCAL, OFFER, POLICY, Caller, Heard, Wire, response

INSTANCE = "urn:uuid:6f1c1c1e-0c1e-5e1f-8f1e-6f1c1c1e0c1e"
PING, PONG = b"\r\n\r\n", b"\r\n"
FIRMLY = ("Require: outbound",)


def wire(transport: Any = "tcp", **profile: Any) -> Wire:
    return Wire(transport, profile={"instance": INSTANCE, **profile})


def ok(request: Heard, *lines: str, expires: int = 3600, more: str = "") -> bytes:
    contact = request.header("contact").partition(";expires")[0]
    return response(request, 200, "OK", f"Contact: {contact};expires={expires}{more}", *lines)


def bound(here: Wire, *lines: str, expires: int = 3600, more: str = "") -> Any:
    registration = here.do(lambda: here.engine.register("work", expires=expires))
    here.deliver(ok(here.one(), *lines, expires=expires, more=more))
    assert registration.state is State.BOUND
    return registration


def mapped(ping: bytes, host: str = "198.51.100.7", port: int = 40000) -> bytes:
    """A STUN server's answer, by hand (RFC 8489 section 14.2)."""
    cookie = bytes.fromhex("2112a442")
    address = bytes(a ^ b for a, b in zip(map(int, host.split(".")), cookie, strict=True))
    value = b"\0\1" + (port ^ 0x2112).to_bytes(2) + address
    head = struct.pack("!HH4s12sHH", 0x0101, 20, cookie, ping[8:20], 0x0020, 8) + value
    return head + struct.pack("!HHI", 0x8028, 4, zlib.crc32(head) ^ 0x5354554E)


def ask(here: Wire) -> None:
    """Until the next question of a keep-alive."""
    asked = len(here.pings)
    while len(here.pings) == asked:
        when = here.engine.next_timer()
        assert when is not None
        here.run(when - here.clock)


def states(here: Wire) -> list[str]:
    return [event.state for event in here.told(events.RegistrationChanged)]


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


def test_C05_the_pauses_after_lost_flows_grow() -> None:
    """Section 4.5: 50 to 100 % of min(1800, 30 * 2^n) seconds; but for two minutes of min(3, 2^n), as it lets us."""
    here = wire()
    bound(here, *FIRMLY)
    here.servers = ()
    lost_at = here.clock
    here.drop(here.flow())
    here.run(2.0)
    pauses = []
    while here.clock < lost_at + 9000:
        told = here.last(events.RegistrationChanged)
        assert told.state == "retrying"
        pauses.append((here.clock, told.retry_in_s))
        here.run(told.retry_in_s + 0.01)
    hurried = [pause for when, pause in pauses if when < lost_at + 120]
    for n, pause in enumerate(hurried, start=1):
        upper = min(3, 2**n)
        assert upper / 2 <= pause <= upper
    assert 40 <= len(hurried) <= 80
    later = [pause for when, pause in pauses if when >= lost_at + 120]
    for n, pause in enumerate(later, start=1):
        upper = min(1800, 30 * 2**n)
        assert upper / 2 <= pause <= upper
    assert len(later) > 8


def _come_back(here: Wire) -> float:
    """The server is there again; seconds until it knows us."""
    here.take()
    here.servers = (("192.0.2.1", 5060),)
    back = here.clock
    while here.taken == len(here.sent):
        when = here.engine.next_timer()
        assert when is not None
        here.run(when - here.clock)
    here.deliver(ok(here.one(), *FIRMLY), here.sent_over[-1])
    assert states(here)[-1] == "registered"
    return here.clock - back


@pytest.mark.parametrize("away", [0.0, 1.0, 7.7, 30.0, 61.3, 110.0])
def test_C05_a_proxy_that_was_rebooted_knows_us_again_in_three_seconds(away: float) -> None:
    here = wire()
    bound(here, *FIRMLY)
    here.run(60)
    here.servers = ()
    here.drop(here.flow())
    assert here.silent(), "not all its phones at once"
    here.run(away)
    assert _come_back(here) <= 3.0


def test_C05_a_silent_loss_that_only_the_refresh_finds_is_sought_as_hard() -> None:
    """Without keep-alives - UDP, and no outbound - nobody notices before: then one Timer F, or ICMP at once."""
    here = wire("udp", outbound="off")
    bound(here)
    while here.taken == len(here.sent):
        when = here.engine.next_timer()
        assert when is not None
        here.run(when - here.clock)
    refresh = here.one()
    assert refresh.method == "REGISTER"
    here.flows.clear()
    here.servers = ()
    here.drop(here.sent_over[-1], "lost: connection refused")
    told = here.last(events.RegistrationChanged)
    assert told.state == "retrying" and told.retry_in_s <= 2.0
    here.run(20.0)
    assert _come_back(here) <= 3.0


@pytest.mark.parametrize("code", [503, 500, 403])
def test_C05_a_proxy_that_answers_sets_the_pace(code: int) -> None:
    """It is there, and overloaded, or of another opinion: nothing is gained by hurry (section 4.5)."""
    here = wire()
    bound(here, *FIRMLY)
    here.run(60)
    here.drop(here.flow())
    here.seek()
    here.deliver(response(here.one(), code, "Not Now"), here.sent_over[-1])
    told = here.last(events.RegistrationChanged)
    assert told.state == "retrying" and 30 <= told.retry_in_s <= 60


def test_C05_who_was_never_bound_is_in_no_hurry() -> None:
    """Section 4.5: when the UA boots, the first retry is 30 to 60 s later."""
    here = wire()
    here.servers = ()
    here.do(lambda: here.engine.register("work"))
    assert 30 <= here.last(events.RegistrationChanged).retry_in_s <= 60


def test_C05_a_call_goes_on_over_the_new_flow_and_says_where() -> None:
    """RFC 5626 section 4.3, RFC 3261 section 12.2.1: the proxy lost us; a re-INVITE says where we are."""
    here = wire()
    bound(here, *FIRMLY)
    call, _, _ = here.established("Record-Route: <sip:192.0.2.1;transport=tcp;lr>")
    assert not call.adrift
    old = here.flow()
    here.local = ("192.0.2.99", 5099)
    here.drop(old)
    assert call.adrift
    here.seek()
    again = here.one()
    assert again.method == "REGISTER"
    new = here.sent_over[-1]
    assert new.id != old.id
    here.deliver(ok(again, *FIRMLY), new)
    assert call.adrift
    here.do(lambda: call.reinvite(OFFER))
    invite = here.one()
    assert (invite.method, here.sent_over[-1].id) == ("INVITE", new.id)
    assert invite.contact == "sip:u7x@192.0.2.99:5099;transport=tcp;ob"
    here.deliver(response(invite, 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>", body=ANSWER), new)
    assert here.one().method == "ACK"
    assert not call.adrift


def test_C05_an_address_that_is_gone_is_a_lost_flow_on_udp_too() -> None:
    here = wire("udp")
    bound(here)
    call, *_ = here.established()
    here.grant = False
    here.do(lambda: here.engine.address_lost("192.0.2.99", here.clock))
    assert call.adrift
    assert states(here) == ["trying", "registered"]
    here.local = ("192.0.2.100", 5062)
    here.flows.clear()
    wish = here.last(events.FlowWanted)
    here.engine.flow_ready(wish.ticket, Flow(50, "udp", here.local, ("192.0.2.1", 5060)), here.clock)
    here.pump()
    again = here.one()
    assert (again.method, again.contact) == ("REGISTER", "sip:u7x@192.0.2.100:5062")


def test_C05_where_our_own_address_went_nobody_waits_for_others() -> None:
    """The spread is for what all phones of a proxy lose at one moment; this is our moment alone."""
    here = wire()
    bound(here, *FIRMLY)
    here.local = ("192.0.2.100", 5062)
    here.flows.clear()
    here.do(lambda: here.engine.address_lost("192.0.2.99", here.clock))
    again = here.one()
    assert (again.method, again.contact) == ("REGISTER", "sip:u7x@192.0.2.100:5062;transport=tcp")


def test_T01_in_another_network_a_private_address_is_another_machine() -> None:
    """Fails without ``HomeGround.leave``: whoever has the old proxy's private address here is taken for it."""
    here = wire("udp")
    bound(here)
    old = Flow(51, "udp", ("192.0.2.100", 5062), ("192.0.2.1", 5060))
    account = here.engine._core.accounts["work"]
    assert account.origin(old).bound
    here.servers = (("198.51.100.1", 5060),)
    here.local = ("192.0.2.100", 5062)
    here.flows.clear()
    here.do(lambda: here.engine.address_lost("192.0.2.99", here.clock))
    here.deliver(ok(here.one()), here.sent_over[-1])
    assert here.sent_over[-1].remote == ("198.51.100.1", 5060)
    assert account.origin(here.sent_over[-1]).bound
    assert not account.origin(old).bound
    here.deliver(Caller(uri="sip:alice@example.com").request("INVITE", body=OFFER), old)
    assert here.silent(), "nor may he call"


def test_C05_where_another_address_goes_our_servers_stay_ours() -> None:
    here = wire("udp")
    bound(here)
    here.do(lambda: here.engine.address_lost("192.0.2.98", here.clock))
    assert here.engine._core.accounts["work"].origin(here.sent_over[-1]).bound


def test_C05_somebody_elses_address_is_none_of_ours() -> None:
    here = wire("udp")
    bound(here)
    call, *_ = here.established()
    here.do(lambda: here.engine.address_lost("192.0.2.98", here.clock))
    assert here.silent()
    assert not call.adrift


def test_C05_a_new_network_ends_the_pause_after_no_answer_but_not_after_a_refusal() -> None:
    here = wire()
    here.servers = ()
    here.do(lambda: here.engine.register("work"))
    assert states(here)[-1] == "retrying"
    here.servers = (("192.0.2.1", 5060),)
    here.do(lambda: here.engine.network_changed(here.clock))
    here.deliver(response(here.one(), 503, "Service Unavailable"))
    assert states(here)[-1] == "retrying"
    here.do(lambda: here.engine.network_changed(here.clock))
    assert here.silent()


def test_C05_what_a_lost_flow_left_behind_is_taken_back() -> None:
    """Where flows are not kept nothing else tells the registrar that the old Contact leads nowhere (section 4.2.1)."""
    here = wire()
    bound(here)
    here.local = ("192.0.2.99", 5099)
    here.drop(here.flow())
    here.seek()
    again = here.one()
    assert [contact.partition(";reg-id")[0] for contact in again.all("contact")] == [
        "<sip:u7x@192.0.2.99:5099;transport=tcp>;expires=3600",
        "<sip:u7x@192.0.2.99:5062;transport=tcp>;expires=0",
    ]
    here.deliver(ok(again), here.sent_over[-1])
    assert here.last(events.RegistrationChanged).contact == "sip:u7x@192.0.2.99:5099;transport=tcp"


def test_C05_over_the_same_address_nothing_was_left_behind() -> None:
    here = wire()
    bound(here)
    here.drop(here.flow())
    here.seek()
    assert len(here.one().all("contact")) == 1


def test_C05_two_accounts_over_one_flow_keep_it_for_each_other() -> None:
    here = wire()
    bound(here, *FIRMLY)
    profile = dataclasses.replace(
        here.profile, name="other", aor=SipUri.parse("sip:bob@example.com"), contact_user="u8"
    )
    here.do(lambda: here.engine.add_account(profile, AuthSession((), policy=POLICY)))
    here.do(lambda: here.engine.register("other"))
    here.deliver(ok(here.one()))  # for this one the registrar does not
    here.run(121)
    assert len(here.pings) == 1
    here.deliver(PONG)
    here.do(lambda: here.engine.remove_account("work"))
    here.take()
    here.run(200)
    assert len(here.pings) == 1


# -- GRUU ----------------------------------------------------------------------------------------------------------

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
