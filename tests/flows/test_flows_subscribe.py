"""Subscriptions on a stepped clock: their dialogs, refreshes, ends, and whom they answer (RFC 6665)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.subscriptions.subscription import MAX_NOTIFIERS, Phase
from tests.support.mailbox import BODY, STRANGER, SUMMARY, Mailbox, N, alive
from tests.support.pair import Gate, Wire, password, response


def test_D04_a_subscription_says_what_it_wants_and_is_told() -> None:
    box = alive()
    sent = box.subscribe
    assert (sent.uri, sent.header("event"), sent.header("expires")) == ("sip:bob@example.com", "message-summary", "600")
    assert (sent.header("accept"), sent.contact) == (SUMMARY, "sip:u7x@192.0.2.99:5062")
    assert box.states == ["trying", "active"]
    assert box.last.expires_s == 600
    assert box.heard == [(1, "active", BODY)]


def test_D04_a_notify_before_the_200_makes_the_dialog() -> None:
    box = Mailbox(Wire())
    assert box.notify("active;expires=600").status == 200
    assert box.states == ["trying", "active"]
    box.accept("Expires: 600")
    box.wire.run(N + 1)
    assert box.subscription.phase is Phase.ALIVE


def test_D04_a_200_that_never_comes_is_no_matter_when_a_notify_came() -> None:
    box = Mailbox(Wire())
    box.notify("active;expires=600")
    box.wire.run(N + 1)
    assert (box.subscription.phase, box.states) == (Phase.ALIVE, ["trying", "active"])


def test_D04_no_notify_within_timer_n_is_a_failure() -> None:
    box = Mailbox(Wire())
    box.accept("Expires: 600", status=202)
    box.wire.run(N - 1)
    assert box.states == ["trying"]
    box.wire.run(2)
    assert (box.last.state, box.last.why) == ("failed", "timeout: it was accepted, but no NOTIFY came")
    assert box.notify("active").status == 481
    box.wire.drain()


def test_D04_forks_are_dialogs_of_their_own_and_all_are_kept() -> None:
    box = alive()
    assert box.notify("active;expires=100", "fork", body=b"2").status == 200
    assert box.heard == [(1, "active", BODY), (2, "active", b"2")]
    refresh = box.request(within=70)
    assert (refresh.method, refresh.to_tag, refresh.call_id) == ("SUBSCRIBE", "fork", box.subscribe.call_id)
    assert (refresh.from_tag, refresh.cseq) == (box.subscribe.from_tag, box.subscribe.cseq + 1)
    box.notify("terminated;reason=noresource", "fork")
    assert box.subscription.phase is Phase.ALIVE, "the other notifier goes on"


def test_D04_a_package_that_does_not_fork_keeps_the_first() -> None:
    box = alive(forks=False)
    assert box.notify("active;expires=100", "fork").status == 481


def test_D04_a_fork_after_timer_n_earns_481() -> None:
    box = alive()
    box.wire.run(N + 1)
    assert box.notify("active", "late").status == 481


def test_D04_a_flood_of_forks_is_bounded() -> None:
    box = alive()
    answers = [box.notify("active", f"fork{n}").status for n in range(MAX_NOTIFIERS + 3)]
    assert answers == [200] * (MAX_NOTIFIERS - 1) + [481] * 4


def test_D04_it_is_refreshed_before_it_expires_by_the_route_of_the_notify() -> None:
    box = Mailbox(Wire())
    box.accept("Expires: 600")
    box.notify("active;expires=300", record_route=("<sip:192.0.2.1;lr>",))
    box.wire.run(200)
    assert box.wire.silent()
    refresh = box.request(within=45)
    assert (refresh.method, refresh.header("route"), refresh.uri) == (
        "SUBSCRIBE",
        "<sip:192.0.2.1;lr>",
        "sip:mb@192.0.2.1:5060",
    )
    assert (refresh.header("event"), refresh.header("expires")) == ("message-summary", "600")
    box.accept("Expires: 300", request=refresh)
    box.notify("active;expires=300")
    box.wire.run(200)
    assert box.wire.silent()
    assert box.states == ["trying", "active"], "a refresh that changed nothing is not told"


def test_D04_a_notifier_cannot_lengthen_what_we_asked_for() -> None:
    """Else one NOTIFY would keep us from ever refreshing: the true subscription would lapse unseen."""
    box = Mailbox(Wire())
    box.accept("Expires: 600")
    box.notify("active;expires=4294967295")
    assert box.request(within=570).method == "SUBSCRIBE"


def test_D04_a_notifier_that_grants_no_time_cannot_make_us_spin() -> None:
    box = Mailbox(Wire())
    box.accept("Expires: 600")
    for _ in range(50):
        box.notify("active;expires=0")
    box.wire.run(0.9)
    assert box.wire.silent()


def test_D04_a_refresh_that_no_notify_follows_ends_it_and_another_is_made() -> None:
    box = alive()
    refresh = box.request()
    box.accept("Expires: 600", request=refresh)
    anew = box.request(within=N)
    assert (anew.method, anew.to_tag, anew.call_id == box.subscribe.call_id) == ("SUBSCRIBE", None, False)
    assert box.states == ["trying", "active", "retrying", "trying"]


@pytest.mark.parametrize("status", [404, 405, 410, 416, 480, 481, 484, 489, 501, 604])
def test_D04_what_ends_a_subscription_at_its_refresh(status: int) -> None:
    box = alive()
    refresh = box.request()
    box.wire.deliver(response(refresh, status, "Gone"))
    anew = box.request(within=1)
    assert (anew.to_tag, anew.from_tag != box.subscribe.from_tag) == (None, True)
    assert (box.states[2], [e.code for e in box.wire.told(events.SubscriptionChanged)][2]) == ("retrying", status)


def test_D04_any_other_failure_of_a_refresh_leaves_it_its_time() -> None:
    box = alive()
    box.wire.deliver(response(box.request(), 500, "Oops"))
    box.notify("active;expires=600", body=b"still there")
    assert box.heard[-1][2] == b"still there"
    assert box.request().to_tag == "peer"


@pytest.mark.parametrize(("said", "pause"), [((), 60), (("Retry-After: 59",), 60), (("Retry-After: 90",), 90)])
def test_D04_a_refresh_that_failed_is_tried_again_at_half_of_what_is_left(said: tuple[str, ...], pause: int) -> None:
    """Or when the notifier says, if that is later, and what was granted lasts so long."""
    box = alive()
    refresh, at = box.request(), box.wire.clock
    assert at == 1000 + 480
    box.wire.deliver(response(refresh, 500, "Oops", *said))
    assert box.request().to_tag == "peer"
    assert box.wire.clock == at + pause


@pytest.mark.parametrize("seconds", [120, 121])
def test_D04_who_wants_more_time_than_is_left_is_not_asked_in_that_dialog(seconds: int) -> None:
    box = alive()
    box.wire.deliver(response(box.request(), 500, "Oops", f"Retry-After: {seconds}"))
    assert box.request().to_tag is None


def test_D04_a_refresh_that_is_refused_after_the_end_is_the_end() -> None:
    """While it was on its way nobody ended anything; now somebody must, or it would look alive for ever."""
    box = alive(expires=20)
    refresh = box.request()
    box.wire.run(15)
    assert box.subscription.phase is Phase.ALIVE
    box.wire.take()
    box.wire.deliver(response(refresh, 500, "Oops"))
    assert box.last.state == "retrying"
    assert box.request().to_tag is None


def test_D04_a_subscription_that_runs_out_is_asked_for_again() -> None:
    box = alive()
    refusals = 0
    while (refresh := box.request()).to_tag == "peer":
        box.wire.deliver(response(refresh, 500, "Oops"))
        refusals += 1
    assert (box.wire.clock, refusals < 10) == (1600.0, True)
    assert box.states[-2:] == ["retrying", "trying"]


def test_D04_a_peer_that_drops_us_again_and_again_is_asked_more_slowly() -> None:
    box = alive()
    asked = []
    for _ in range(4):
        box.notify("terminated;reason=deactivated")
        began = box.wire.clock
        box.subscribe = box.request()
        asked.append(box.wire.clock - began)
        box.peers.clear()
        box.accept("Expires: 600")
        box.notify("active;expires=600")
    assert asked[0] == 0 and asked[1] >= 15 and asked[3] > 60


def test_D04_unsubscribe_waits_for_the_last_notify() -> None:
    box = alive()
    box.wire.do(box.subscription.unsubscribe)
    goodbye = box.wire.one()
    assert (goodbye.header("expires"), goodbye.to_tag) == ("0", "peer")
    box.accept("Expires: 0", request=goodbye)
    assert box.subscription.phase is Phase.LEAVING
    box.notify("terminated;reason=timeout", body=b"")
    assert (box.last.state, box.subscription.phase) == ("terminated", Phase.GONE)
    assert not box.wire.engine._core.standing, "no network that comes up may bring it back"
    box.wire.drain()


@pytest.mark.parametrize("status", [200, 481, 500, None])
def test_D04_unsubscribe_ends_even_if_the_notifier_does_not_play(status: int | None) -> None:
    box = alive()
    box.wire.do(box.subscription.unsubscribe)
    goodbye = box.wire.one()
    if status is not None:
        box.wire.deliver(response(goodbye, status, "x"))
    box.notify("active;expires=600")
    box.wire.run(N + 33)
    assert box.subscription.phase is Phase.GONE
    box.wire.drain()


def test_D04_unsubscribe_before_the_first_notify_sends_nothing() -> None:
    box = Mailbox(Wire())
    box.wire.do(box.subscription.unsubscribe)
    assert box.wire.silent()
    box.accept("Expires: 600")
    assert box.notify("active").status == 481
    assert box.states == ["trying", "terminated"]


def test_D04_expires_0_asks_once() -> None:
    box = Mailbox(Wire(), expires=0)
    box.accept("Expires: 0")
    box.notify("terminated;reason=timeout")
    assert (box.heard, box.states) == ([(1, "terminated", BODY)], ["trying", "terminated"])
    box.wire.drain()


def test_D04_423_asks_for_longer_once() -> None:
    box = Mailbox(Wire(), expires=10)
    box.wire.deliver(response(box.subscribe, 423, "Interval Too Brief", "Min-Expires: 60"))
    again = box.wire.one()
    assert (again.header("expires"), again.cseq, again.call_id) == ("60", 2, box.subscribe.call_id)
    box.wire.deliver(response(again, 423, "Interval Too Brief", "Min-Expires: 600"))
    assert box.wire.silent()
    assert (box.last.state, box.last.code) == ("failed", 423)


def test_D04_a_server_that_wants_still_longer_later_gets_it() -> None:
    """Once is once for each time that it grants us something: else its next 423 could never be met."""
    box = Mailbox(Wire(), expires=10)
    box.wire.deliver(response(box.subscribe, 423, "Interval Too Brief", "Min-Expires: 60"))
    box.subscribe = box.wire.one()
    box.accept("Expires: 60")
    box.notify("active;expires=60")
    box.notify("terminated;reason=deactivated")
    anew = box.request()
    assert (anew.header("expires"), anew.call_id != box.subscribe.call_id) == ("60", True)
    box.wire.deliver(response(anew, 423, "Interval Too Brief", "Min-Expires: 600"))
    assert box.wire.one().header("expires") == "600"


@pytest.mark.parametrize(("status", "state"), [(489, "failed"), (404, "failed"), (403, "refused"), (481, "failed")])
def test_D04_a_first_subscribe_that_fails_is_not_tried_again(status: int, state: str) -> None:
    box = Mailbox(Wire())
    box.wire.deliver(response(box.subscribe, status, "No", "Allow-Events: presence"))
    assert (box.last.state, box.last.code, box.subscription.phase) == (state, status, Phase.GONE)
    box.wire.drain()


@pytest.mark.parametrize(
    ("state", "soonest", "latest"),
    [
        ("terminated;reason=deactivated", 0, 0),
        ("terminated;reason=timeout", 0, 0),
        ("terminated;reason=probation;retry-after=100", 100, 100),
        ("terminated;reason=giveup;retry-after=50", 50, 50),
        ("terminated;reason=probation", 15, 30),
        ("terminated", 15, 30),
    ],
)
def test_D04_the_reason_of_the_end_says_when_to_come_back(state: str, soonest: int, latest: int) -> None:
    box = alive()
    box.notify(state)
    began = box.wire.clock
    again = box.request()
    assert (again.method, again.to_tag) == ("SUBSCRIBE", None)
    assert soonest <= box.wire.clock - began <= latest


@pytest.mark.parametrize("reason", ["rejected", "noresource", "invariant"])
def test_D04_and_when_not(reason: str) -> None:
    box = alive()
    box.notify(f"terminated;reason={reason};retry-after=5")
    assert (box.last.state, box.last.reason) == ("terminated", reason)
    box.wire.drain()


def test_D04_pending_becomes_active() -> None:
    box = Mailbox(Wire())
    box.accept("Expires: 600", status=202)
    box.notify("pending;expires=600", body=b"")
    box.notify("active;expires=590")
    assert box.states == ["trying", "pending", "active"]


def test_D04_a_notify_of_another_event_in_our_dialog_earns_489() -> None:
    box = alive()
    assert box.notify("active", event="presence").status == 489
    assert box.heard == [(1, "active", BODY)]


def test_D04_a_notify_out_of_order_or_without_a_state_changes_nothing() -> None:
    box = alive()
    peer = box.peers["peer"]
    peer.cseq -= 10
    assert box.notify("terminated").status == 500
    peer.cseq += 20
    box.wire.deliver(peer.request("NOTIFY", "Event: message-summary"))
    assert box.wire.one().status == 400
    assert box.subscription.phase is Phase.ALIVE


def test_D04_a_body_of_a_type_that_we_did_not_ask_for_earns_415() -> None:
    box = alive()
    assert box.notify("active", kind="text/x-surprise").status == 415
    assert len(box.heard) == 1


def test_D04_a_request_other_than_notify_in_its_dialog_earns_481() -> None:
    box = alive()
    box.wire.deliver(box.peers["peer"].request("OPTIONS"))
    assert box.wire.one().status == 481


def test_D04_a_lost_connection_is_a_reason_to_refresh() -> None:
    box = alive(Wire("tcp"))
    box.wire.drop(box.wire.flow())
    refresh = box.wire.one()
    assert (refresh.method, refresh.to_tag) == ("SUBSCRIBE", "peer")


def test_D04_removing_the_account_ends_it_in_silence() -> None:
    box = alive()
    box.wire.do(lambda: box.wire.engine.remove_account("work"))
    assert (box.states[-1], box.wire.silent()) == ("terminated", True)
    assert box.notify("active").status == 481
    box.wire.drain()


# -- challenges --------------------------------------------------------------------------------------


def test_A23_D04_a_challenged_subscribe_is_answered_within_timer_n() -> None:
    wire, gate = Wire(), Gate()
    box = Mailbox(wire)
    wire.deliver(gate.ask(box.subscribe))
    wire.run(N - 1)
    assert wire.silent()
    wire.respond()
    box.subscribe = wire.one()
    assert gate.admits(box.subscribe)
    box.accept("Expires: 600")
    box.notify("active;expires=600")
    assert box.states == ["trying", "active"]


def test_A23_D04_after_timer_n_the_challenge_is_of_no_use() -> None:
    wire, gate = Wire(), Gate()
    box = Mailbox(wire)
    wire.deliver(gate.ask(box.subscribe))
    wire.run(N + 1)
    assert (box.last.state, wire.outcomes()) == ("refused", ["expired"])
    wire.drain()


def test_A23_D04_nor_is_that_of_a_challenged_refresh() -> None:
    wire, gate = Wire(), Gate()
    wire.has_asked("example.com")
    box = alive(wire)
    wire.deliver(gate.ask(box.request()))
    wire.run(N - 1)
    assert wire.token.live
    wire.run(2)
    assert wire.outcomes() == ["expired"]
    assert box.subscription.phase is Phase.ALIVE, "what was granted lasts"


def test_A23_D04_a_challenged_refresh_is_answered_by_the_notifier_at_home() -> None:
    wire, gate = Wire(asynchronous=False, credentials=(password(),)), Gate()
    box = Mailbox(wire)
    wire.deliver(gate.ask(box.subscribe))
    box.subscribe = wire.one()
    assert gate.admits(box.subscribe)
    box.accept("Expires: 600")
    assert box.notify("active;expires=600").status == 200
    wire.deliver(gate.ask(box.request(), stale=True))
    assert gate.admits(wire.one())


@pytest.mark.parametrize("proxy", [False, True], ids=["401", "407"])
def test_T01_a_notifier_at_our_proxy_who_asks_what_nobody_asked_before_gets_nothing(proxy: bool) -> None:
    """No Record-Route: he may be behind a proxy that stays out of the route, with his address there as Contact."""
    wire = Wire(asynchronous=False, credentials=(password(),))
    wire.deliver(Gate(proxy=proxy).ask(alive(wire).request()))
    assert wire.silent()


@pytest.mark.parametrize("proxy", [False, True], ids=["401", "407"])
@pytest.mark.parametrize("realm", ["example.com", "*"])
def test_T01_no_credentials_for_a_dialog_that_a_stranger_made_by_his_notify(proxy: bool, realm: str) -> None:
    """Fails without ``dialog.at_home and self._went_home`` in ``Subscription._join``: with True in their place.

    A fork of our SUBSCRIBE came to somebody who notifies us from his own
    address, names our server as his Contact, and challenges the refresh.
    """
    wire = Wire(asynchronous=False, credentials=(password(),))
    wire.has_asked(realm)
    box = Mailbox(wire)
    box.accept("Expires: 600")
    box.notify("active;expires=600", "stranger", address=STRANGER)
    refresh = box.request()
    assert refresh.to_tag == "stranger"
    wire.deliver(Gate(realm, proxy=proxy).ask(refresh))
    assert wire.silent()


def test_T01_a_notifier_behind_our_proxy_gets_no_credentials_for_a_realm_of_his_own() -> None:
    wire = Wire(asynchronous=False, credentials=(password(),))
    box = Mailbox(wire)
    box.accept("Expires: 600")
    box.notify("active;expires=600", record_route=("<sip:192.0.2.1;lr>",))
    wire.deliver(Gate("voicemail.example").ask(box.request()))
    assert wire.silent()


# -- what nobody subscribed to, and what we say that we notify of ------------------------------------------
