"""Registration, ladder by ladder (RFC 3261 section 10.2; A02-A05, A21, A25-A27)."""

from __future__ import annotations

import pytest

from sipcli.credentials import PasswordCredentials, Secret
from sipcli.errors import TokenSpent
from sipcli.sip import events
from sipcli.sip.auth import AuthAccepted, AuthChallenged, AuthRejected, GiveUp
from sipcli.sip.core import Core
from sipcli.sip.pauses import refresh_in
from sipcli.sip.registrations.register import State
from tests.support.pair import Gate, Wire, password, response


@pytest.fixture
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance draws the upper bound."""
    monkeypatch.setattr(Core, "uniform", lambda self, low, high: high)


def leased() -> PasswordCredentials:
    """A password whose lease is over before the refresh: the store has to be asked again."""
    return PasswordCredentials("alice", Secret("wonderland"), expires_in=5.0)


def states(wire: Wire) -> list[str]:
    return [event.state for event in wire.told(events.RegistrationChanged)]


def ok(request, *lines: str, expires: int = 600) -> bytes:
    contact = request.header("contact").partition(";expires")[0]
    return response(request, 200, "OK", f"Contact: {contact};expires={expires}", *lines)


def test_register_without_a_challenge() -> None:
    wire = Wire()
    registration = wire.do(lambda: wire.engine.register("work"))
    request = wire.one()
    assert request.start == "REGISTER sip:example.com SIP/2.0"
    assert request.header("to") == "<sip:alice@example.com>"
    assert request.header("max-forwards") == "70"
    assert request.header("via").startswith("SIP/2.0/UDP 192.0.2.99:5062;rport;branch=z9hG4bK")
    assert request.contact == "sip:u7x@192.0.2.99:5062"
    wire.deliver(ok(request, expires=300))
    last = wire.last(events.RegistrationChanged)
    assert (last.state, last.code, last.expires_s, last.contact) == ("registered", 200, 300, "sip:u7x@192.0.2.99:5062")
    assert last.flow == wire.flow()
    assert registration.binding.expires_at == wire.clock + 300


def test_a03_the_retry_is_a_new_transaction_of_the_same_call() -> None:
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.register("work"))
    first = wire.one()
    wire.deliver(gate.ask(first))
    assert wire.silent()
    wire.run(40)
    wire.respond()
    second = wire.one()
    assert second.call_id == first.call_id
    assert second.from_tag == first.from_tag
    assert second.to_tag is None
    assert second.cseq == first.cseq + 1
    assert second.branch != first.branch
    assert gate.admits(second)
    wire.deliver(ok(second))
    assert states(wire) == ["trying", "registered"]
    assert len(wire.told(AuthAccepted)) == 1


def test_a02_a_repeated_401_asks_once() -> None:
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.register("work"))
    challenge = gate.ask(wire.one())
    for _ in range(5):
        wire.deliver(challenge)
    assert len(wire.told(AuthChallenged)) == 1
    wire.run(60)  # long after Timer K
    wire.deliver(challenge)
    assert len(wire.told(AuthChallenged)) == 1
    wire.respond()
    assert gate.admits(wire.one())


def test_a04_wrong_then_right() -> None:
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    wrong = password("looking-glass")
    wire.respond(wrong)
    second = wire.one()
    assert not gate.admits(second)
    wire.deliver(gate.ask(second))
    assert wire.token.realms["example.com"].attempt == 2
    assert wire.token.realms["example.com"].rejected == (wrong,)
    assert wire.session.reinit_request(wire.token, (wrong,)) is None, "a refused secret is never sent again"
    assert [event.status for event in wire.told(AuthRejected)] == [401]
    wire.respond()
    third = wire.one()
    assert gate.admits(third)
    wire.deliver(ok(third))
    assert states(wire)[-1] == "registered"


def test_a05_stale_is_answered_with_the_same_secret_three_times_at_most() -> None:
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.deliver(gate.ask(wire.one()))
    wire.respond()
    for _ in range(3):
        request = wire.one()
        assert gate.admits(request)
        wire.deliver(gate.ask(request, stale=True))
    wire.deliver(gate.ask(wire.one(), stale=True))
    assert wire.silent()
    assert len(wire.told(AuthChallenged)) == 1
    last = wire.last(events.RegistrationChanged)
    assert (last.state, last.why) == ("refused", GiveUp.STALE_LOOP)


def test_a25_403_after_credentials_is_final() -> None:
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.deliver(gate.ask(wire.one()))
    wire.respond()
    wire.deliver(response(wire.one(), 403, "Forbidden"))
    last = wire.last(events.RegistrationChanged)
    assert (last.state, last.code, last.why) == ("refused", 403, GiveUp.REFUSED)
    assert [event.status for event in wire.told(AuthRejected)] == [403]
    wire.drain()


@pytest.mark.parametrize(
    "lines", [(), ("WWW-Authenticate:",), ("WWW-Authenticate: Digest",), ("WWW-Authenticate: Basic realm=x",)]
)
def test_a25_401_without_a_usable_challenge_is_terminal(lines: tuple[str, ...]) -> None:
    wire = Wire()
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.deliver(response(wire.one(), 401, "Unauthorized", *lines))
    assert wire.silent()
    assert not wire.told(AuthChallenged)
    last = wire.last(events.RegistrationChanged)
    assert last.state == "refused"
    assert last.why in (GiveUp.NO_CHALLENGE, GiveUp.UNSUPPORTED)


def test_a21_one_register_at_a_time_and_one_call_id_per_boot() -> None:
    wire, gate = Wire(), Gate()
    registration = wire.do(lambda: wire.engine.register("work"))
    first = wire.one()
    wire.do(registration.refresh)
    wire.deliver(gate.ask(first))
    wire.do(registration.refresh)
    assert wire.do(lambda: wire.engine.register("work")) is registration
    assert wire.silent(), "a pending challenge counts as an outstanding REGISTER"
    wire.respond()
    second = wire.one()
    wire.deliver(ok(second))
    wire.do(registration.refresh)
    third = wire.one()
    assert third.call_id == first.call_id
    assert third.cseq == second.cseq + 1
    assert gate.admits(third), "the accepted nonce is used ahead, with the next nonce count"


def test_T24_a_min_expires_of_thousands_of_digits_is_none() -> None:
    """Fails without the bound on its length in sip/registrations/binding.py: int() itself refuses 4301 digits."""
    wire = Wire()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(response(wire.one(), 423, "Interval Too Brief", "Min-Expires: " + "9" * 5000))
    assert wire.last(events.RegistrationChanged).code == 423


def test_a21_423_asks_for_min_expires_once() -> None:
    wire = Wire(expires=60)
    wire.do(lambda: wire.engine.register("work", keep=False))
    request = wire.one()
    assert "expires=60" in request.header("contact")
    wire.deliver(response(request, 423, "Interval Too Brief", "Min-Expires: 3600"))
    request = wire.one()
    assert "expires=3600" in request.header("contact")
    assert request.header("expires") == "3600"
    wire.deliver(response(request, 423, "Interval Too Brief", "Min-Expires: 7200"))
    assert wire.silent()
    assert wire.last(events.RegistrationChanged).code == 423


def test_refresh_goes_out_in_time_and_expiry_counts_from_the_200() -> None:
    wire = Wire()
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one(), expires=600))
    wire.run(479)
    assert wire.silent()
    wire.run(1.1)
    request = wire.one()
    assert registration.state is State.REFRESHING
    wire.run(0.2)
    wire.deliver(ok(request, expires=100))
    assert registration.binding.expires_at == wire.clock + 100
    wire.run(68.5)
    assert wire.take()


@pytest.mark.parametrize("expires", [1, 10, 33, 47, 48, 60, 160, 600, 3600, 86400])
def test_refresh_is_before_expiry_and_leaves_a_transaction_of_time(expires: int) -> None:
    when = refresh_in(expires)
    assert 0 < when < expires
    assert when <= 0.8 * expires
    if expires >= 48:
        assert when <= expires - 32


def test_unregister_takes_the_binding_back_with_what_is_known() -> None:
    wire, gate = Wire(), Gate()
    registration = wire.register(gate)
    wire.do(registration.unregister)
    request = wire.one()
    assert request.header("contact").endswith(";expires=0")
    assert request.header("expires") == "0"
    assert gate.admits(request)
    wire.deliver(response(request, 200, "OK"))
    assert states(wire)[-1] == "unregistered"
    assert registration.state is State.GONE
    wire.drain()


def test_unregister_during_the_first_challenge_puts_nothing_on_the_wire() -> None:
    wire, gate = Wire(), Gate()
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    token = wire.token
    wire.do(registration.unregister)
    assert states(wire)[-1] == "unregistered"
    assert not token.live
    with pytest.raises(TokenSpent):
        wire.respond(token=token)
    assert wire.silent()
    wire.drain()


def test_unregister_while_register_is_out_waits_for_it_and_takes_it_back() -> None:
    wire = Wire()
    registration = wire.do(lambda: wire.engine.register("work"))
    request = wire.one()
    wire.do(registration.unregister)
    assert wire.silent()
    wire.deliver(ok(request))
    request = wire.one()
    assert request.header("expires") == "0"
    wire.deliver(response(request, 200, "OK"))
    assert states(wire) == ["trying", "unregistered"]


def test_register_again_while_unbinding_binds_after_it() -> None:
    wire = Wire()
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one()))
    wire.do(registration.unregister)
    request = wire.one()
    wire.do(lambda: wire.engine.register("work"))
    assert wire.silent()
    wire.deliver(response(request, 200, "OK"))
    wire.deliver(ok(wire.one()))
    assert states(wire)[-1] == "registered"


def test_failures_back_off_as_rfc_5626_says_and_success_resets() -> None:
    wire = Wire()
    wire.do(lambda: wire.engine.register("work"))
    bounds = [60, 120, 240, 480, 960, 1800, 1800]
    for longest in bounds:
        wire.deliver(response(wire.one(), 500, "Server Internal Error"))
        last = wire.last(events.RegistrationChanged)
        assert last.state == "retrying"
        assert longest / 2 <= last.retry_in_s <= longest
        wire.run(last.retry_in_s - 0.01)
        assert wire.silent()
        wire.run(0.02)
    wire.deliver(ok(wire.one()))
    wire.run(480.2)
    wire.deliver(response(wire.one(), 500, "Server Internal Error"))
    assert wire.last(events.RegistrationChanged).retry_in_s <= 60


@pytest.mark.usefixtures("longest_pauses")
def test_T18_a_store_that_is_down_for_ten_minutes_does_not_lose_a_binding_that_is_valid() -> None:
    """An hour's binding, its store gone from the refresh on: tried again while it is valid, and in time.

    Fails without the bound on the pause in ``Registration._failed``: chance permitting, the third pause alone is
    longer than what is left.
    """
    wire, gate = Wire(expires=3600), Gate()
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    wire.respond(leased())
    wire.deliver(ok(wire.one(), expires=3600))
    expires_at = registration.binding.expires_at
    wire.run(2880)
    down_until, tries = wire.clock + 600, 0
    while wire.clock < down_until:
        tries += 1
        wire.deliver(gate.ask(wire.take()[-1]))
        wire.do(lambda: wire.session.abandon(wire.token, GiveUp.NO_CREDENTIALS))
        last = wire.last(events.RegistrationChanged)
        assert (last.state, last.why) == ("retrying", GiveUp.NO_CREDENTIALS)
        assert registration.binding is not None, "it is valid: the registrar knows nothing of our trouble"
        wire.run(last.retry_in_s)
    assert wire.clock < expires_at
    wire.deliver(gate.ask(wire.take()[-1]))
    wire.respond(leased())
    wire.deliver(ok(wire.one(), expires=3600))
    assert registration.state is State.BOUND
    assert registration.binding.expires_at > expires_at
    assert tries <= 6
    assert "trying" not in states(wire)[1:], "it was never unbound"


@pytest.mark.parametrize("expires", [20, 60, 120, 600, 3600])
@pytest.mark.usefixtures("longest_pauses")
def test_T18_each_binding_gets_a_second_chance_before_it_ends(expires: int) -> None:
    """Fails without the bound in ``Registration._failed``: a minute's binding ends before its first retry."""
    wire, gate = Wire(expires=expires), Gate()
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    wire.respond(leased())
    wire.deliver(ok(wire.one(), expires=expires))
    expires_at = registration.binding.expires_at
    wire.run(refresh_in(expires))
    wire.deliver(gate.ask(wire.take()[-1]))
    wire.do(lambda: wire.session.abandon(wire.token, GiveUp.NO_CREDENTIALS))
    wire.run(wire.last(events.RegistrationChanged).retry_in_s)
    assert wire.clock < expires_at
    wire.deliver(gate.ask(wire.take()[-1]))
    wire.respond(leased())
    wire.deliver(ok(wire.one(), expires=expires))
    assert "trying" not in states(wire)[1:]


@pytest.mark.parametrize("why", [GiveUp.REFUSED, GiveUp.ABANDONED, GiveUp.TOO_MANY_ATTEMPTS])
@pytest.mark.usefixtures("longest_pauses")
def test_what_was_refused_keeps_the_long_pauses(why: GiveUp) -> None:
    """The registrar said no: it is not asked more often because a binding ends."""
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one()))
    for longest in (60, 120):
        wire.run(480 if longest == 60 else 60)
        wire.deliver(gate.ask(wire.take()[-1]))
        wire.do(lambda: wire.session.abandon(wire.token, why))
        assert wire.last(events.RegistrationChanged).retry_in_s == longest


@pytest.mark.usefixtures("longest_pauses")
def test_T18_after_the_binding_ended_a_missing_secret_is_looked_for_every_five_minutes_at_least() -> None:
    """A store that is back finds us within five minutes, not half an hour: no server is spared by the longer pause.

    Fails with ``MAX_TIME`` in the place of ``STORE_TIME``.
    """
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.register("work"))
    pauses = []
    for _ in range(8):
        wire.deliver(gate.ask(wire.take()[-1]))
        wire.do(lambda: wire.session.abandon(wire.token, GiveUp.DEADLINE))
        pauses.append(wire.last(events.RegistrationChanged).retry_in_s)
        wire.run(pauses[-1])
    assert pauses == [60, 120, 240, 300, 300, 300, 300, 300]


def test_retry_after_makes_the_pause_longer() -> None:
    wire = Wire()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(response(wire.one(), 500, "Server Internal Error", "Retry-After: 900 (maintenance);duration=60"))
    assert wire.last(events.RegistrationChanged).retry_in_s == 900


def test_no_answer_ends_after_timer_f() -> None:
    wire = Wire()
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.run(33)
    last = wire.last(events.RegistrationChanged)
    assert last.state == "failed"
    assert str(last.why).startswith("timeout:")
    wire.drain()


def test_nobody_answers_the_challenge_and_the_ceiling_ends_it() -> None:
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.deliver(gate.ask(wire.one()))
    wire.run(179)
    assert wire.token.live
    wire.run(2)
    last = wire.last(events.RegistrationChanged)
    assert (last.state, last.why) == ("refused", GiveUp.DEADLINE)
    assert wire.outcomes() == ["expired"]
    wire.drain()


def test_abandoned_challenge_fails_and_the_account_lives_on() -> None:
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.deliver(gate.ask(wire.one()))
    wire.do(lambda: wire.session.abandon(wire.token))
    assert wire.last(events.RegistrationChanged).why is GiveUp.ABANDONED
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one()))
    assert states(wire)[-1] == "registered"


def test_a_refused_registration_that_is_kept_starts_afresh_with_refresh() -> None:
    """The secret's arrival after the token was given up starts a fresh REGISTER (docs/architecture.md)."""
    wire, gate = Wire(), Gate()
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    wire.do(lambda: wire.session.abandon(wire.token))
    assert registration.state is State.RETRYING
    wire.do(registration.refresh)
    wire.deliver(gate.ask(wire.one()))
    wire.respond()
    wire.deliver(ok(wire.one()))
    assert registration.state is State.BOUND


def test_a26_the_retry_goes_to_the_server_that_challenged() -> None:
    wire = Wire(servers=(("192.0.2.1", 5060), ("192.0.2.2", 5060)))
    gate = Gate()
    wire.do(lambda: wire.engine.register("work"))
    wire.run(0)
    first = wire.one()
    wire.deliver(response(first, 503, "Service Unavailable"))
    second = wire.one()
    assert second.branch != first.branch
    assert wire.sent_over[-1].remote == ("192.0.2.2", 5060)
    wire.deliver(gate.ask(second), wire.sent_over[-1])
    wire.respond()
    assert gate.admits(wire.one())
    assert wire.sent_over[-1].remote == ("192.0.2.2", 5060)


def test_a26_fail_over_after_the_challenge_uses_the_secret_in_hand() -> None:
    wire = Wire(servers=(("192.0.2.1", 5060), ("192.0.2.2", 5060)))
    gate = Gate()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    wire.respond()
    wire.take()
    wire.run(32.1)
    second = wire.take()[-1]
    assert wire.sent_over[-1].remote == ("192.0.2.2", 5060)
    wire.deliver(gate.ask(second), wire.sent_over[-1])
    assert len(wire.told(AuthChallenged)) == 1, "nobody is asked again"
    third = wire.one()
    assert gate.admits(third)
    wire.deliver(ok(third), wire.sent_over[-1])
    assert states(wire)[-1] == "registered"


def test_c01_all_servers_fail_and_the_last_word_is_told() -> None:
    wire = Wire(servers=(("192.0.2.1", 5060), ("192.0.2.2", 5060)))
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.deliver(response(wire.one(), 503, "Service Unavailable"))
    wire.deliver(response(wire.one(), 503, "Still Unavailable"), wire.sent_over[-1])
    assert wire.silent()
    last = wire.last(events.RegistrationChanged)
    assert (last.state, last.code, last.reason) == ("failed", 503, "Still Unavailable")
    wire.drain()


def test_the_connection_breaks_and_the_binding_moves() -> None:
    wire = Wire("tcp")
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one()))
    wire.drop(wire.flow())
    request = wire.one()
    assert request.method == "REGISTER"
    assert len({flow.id for flow in wire.sent_over}) == 2
    wire.deliver(ok(request))
    assert states(wire) == ["trying", "registered", "registered"]


def test_the_connection_breaks_while_the_challenge_waits() -> None:
    wire, gate = Wire("tcp"), Gate()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    wire.drop(wire.flow())
    assert wire.silent()
    wire.respond()
    request = wire.one()
    assert wire.sent_over[-1] != wire.sent_over[0]
    assert gate.admits(request)


def test_a_registration_without_a_way_there_says_why() -> None:
    wire = Wire(servers=())
    wire.do(lambda: wire.engine.register("work", keep=False))
    last = wire.last(events.RegistrationChanged)
    assert last.state == "failed"
    assert str(last.why).startswith("connect:")
    wire.drain()


def test_nobody_grants_a_flow() -> None:
    wire = Wire()
    wire.grant = False
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.run(65)
    assert str(wire.last(events.RegistrationChanged).why).startswith("connect:")
    wire.drain()


def test_remove_account_revokes_and_sends_nothing() -> None:
    wire, gate = Wire(), Gate()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    token = wire.token
    wire.do(lambda: wire.engine.remove_account("work"))
    last = wire.last(events.RegistrationChanged)
    assert last.state == "unregistered"
    assert str(last.why).startswith("closed:")
    with pytest.raises(TokenSpent):
        wire.respond(token=token)
    assert wire.silent()
    wire.drain()


def test_c06_service_route_is_used_for_calls_and_forgotten_on_failure() -> None:
    wire = Wire()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one(), "Service-Route: <sip:192.0.2.7;lr>, <sip:core.example.com;lr>"))
    wire.call("sip:bob@elsewhere.example")
    invite = wire.one()
    assert invite.all("route") == ["<sip:192.0.2.7;lr>", "<sip:core.example.com;lr>"]
    assert wire.sent_over[-1].remote == ("192.0.2.7", 5060)
    wire.run(481)
    register = next(heard for heard in wire.take() if heard.method == "REGISTER")
    assert not register.has("route")
    wire.deliver(response(register, 500, "Server Internal Error"))
    wire.call()
    assert not wire.take()[-1].has("route")


def test_the_outbound_proxy_is_a_loose_route_for_everything() -> None:
    wire = Wire(proxy="sip:edge.example.com")
    wire.do(lambda: wire.engine.register("work"))
    request = wire.one()
    assert request.uri == "sip:example.com"
    assert request.all("route") == ["<sip:edge.example.com;lr>"]
    assert wire.last(events.FlowWanted).hop.host == "edge.example.com"


def test_the_registrar_lists_other_devices_first() -> None:
    wire = Wire()
    registration = wire.do(lambda: wire.engine.register("work"))
    request = wire.one()
    ours = request.header("contact").partition(";")[0]
    wire.deliver(
        response(request, 200, "OK", f"Contact: <sip:desk@192.0.2.50>;expires=5, {ours};expires=77", "Expires: 9999")
    )
    assert registration.binding.expires_s == 77


def test_what_is_taken_back_is_the_contact_that_was_bound() -> None:
    wire = Wire("tcp")
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one()))
    wire.drop(wire.flow())
    wire.deliver(response(wire.one(), 500, "Server Internal Error"))
    wire.local = ("192.0.2.99", 6000)
    wire.drop(wire.flow())
    wire.do(registration.unregister)
    request = wire.one()
    assert request.header("via").startswith("SIP/2.0/TCP 192.0.2.99:6000")
    assert request.all("contact") == ["<sip:u7x@192.0.2.99:5062;transport=tcp>;expires=0"]


def test_a_connection_that_leads_nowhere_is_released() -> None:
    wire = Wire("tcp")
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.run(33)
    assert [event.flow for event in wire.told(events.FlowReleased)] == [wire.flow()]


def test_a_connection_is_released_with_its_account_unless_a_call_lives_on_it() -> None:
    wire = Wire("tcp")
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(wire.one()))
    wire.do(lambda: wire.engine.remove_account("work"))
    assert wire.told(events.FlowReleased)
    wire = Wire("tcp")
    wire.established()
    oneshot = wire.do(lambda: wire.engine.options("work", wire.profile.aor))
    wire.run(33)
    assert oneshot.done
    assert not wire.told(events.FlowReleased)
