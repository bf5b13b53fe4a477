"""Registration, ladder by ladder (RFC 3261 section 10.2; A02-A05, A21, A25-A27)."""

from __future__ import annotations

import pytest

from sipcli.errors import TokenSpent
from sipcli.sip import events
from sipcli.sip.auth import AuthAccepted, AuthChallenged, AuthRejected, GiveUp
from sipcli.sip.pauses import refresh_in
from sipcli.sip.registrations.register import State
from tests.support.pair import Gate, Wire, password, response
from tests.support.registering import ok, states


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


@pytest.mark.parametrize("least", [59, 60])
def test_a21_a_423_that_asks_for_no_more_than_was_offered_is_a_refusal(least: int) -> None:
    wire = Wire(expires=60)
    wire.do(lambda: wire.engine.register("work", keep=False))
    wire.deliver(response(wire.one(), 423, "Interval Too Brief", f"Min-Expires: {least}"))
    assert wire.silent()
    assert wire.last(events.RegistrationChanged).code == 423


def test_a21_each_binding_may_ask_for_longer_once() -> None:
    wire = Wire(expires=60)
    registration = wire.do(lambda: wire.engine.register("work"))
    for least in (100, 200):
        wire.deliver(response(wire.one(), 423, "Interval Too Brief", f"Min-Expires: {least}"))
        request = wire.one()
        assert f"expires={least}" in request.header("contact")
        wire.deliver(ok(request, expires=least))
        assert registration.state is State.BOUND
        wire.run(refresh_in(least) + 0.1)


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
