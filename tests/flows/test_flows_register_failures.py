"""Registrations that fail: pauses, second chances, and who is asked again (RFC 5626 section 4.5; T18)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.auth import GiveUp
from sipcli.sip.core import Core
from sipcli.sip.pauses import refresh_in
from sipcli.sip.registrations.register import State
from tests.support.pair import Gate, Wire, response
from tests.support.registering import leased, ok, states


@pytest.fixture
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance draws the upper bound."""
    monkeypatch.setattr(Core, "uniform", lambda self, low, high: high)


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
