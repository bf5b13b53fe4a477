"""Flows that were lost: how soon another is made, and what becomes of calls and bindings (RFC 5626 section 4.5)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthSession
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.uri import SipUri
from tests.support.outbound import FIRMLY, PONG, bound, ok, states, wire
from tests.support.pair import ANSWER, OFFER, POLICY, Caller, Wire, response


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


@pytest.mark.parametrize("code", [404, 410, 480, 502])
def test_C05_a_proxy_that_has_not_found_the_other_side_yet_ends_no_call(code: int) -> None:
    """It was rebooted and has lost both of us; we were the first to be back.  Who seeks the way has a deadline of his.

    Fails without ``adrift`` in ``Call.on_request_done``.
    """
    here = wire()
    bound(here, *FIRMLY)
    call, _, _ = here.established("Record-Route: <sip:192.0.2.1;transport=tcp;lr>")
    here.local = ("192.0.2.99", 5099)
    here.drop(here.flow())
    here.seek()
    here.deliver(ok(here.one(), *FIRMLY), here.sent_over[-1])
    for _ in range(2):
        here.do(lambda: call.reinvite(OFFER))
        invite = here.one()
        here.deliver(response(invite, code, "Not Here Yet"), here.sent_over[-1])
        assert here.one().method == "ACK"
        assert call.adrift and not call.over
    here.do(lambda: call.reinvite(OFFER))
    here.deliver(response(here.one(), 200, "OK", "Contact: <sip:bob@192.0.2.1:5060>", body=ANSWER), here.sent_over[-1])
    assert here.one().method == "ACK"
    here.do(lambda: call.reinvite(OFFER))
    here.deliver(response(here.one(), code, "Gone"), here.sent_over[-1])
    assert [request.method for request in here.take()] == ["ACK", "BYE"], "found once, it is a word on the call"


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
    profile = here.profile._replace(name="other", aor=SipUri.parse("sip:bob@example.com"), contact_user="u8")
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
