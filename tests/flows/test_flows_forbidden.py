"""What 403 says: that the secret is wrong, that the request is forbidden, or either (RFC 3261 21.4.4, 22.1)."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.credentials import PasswordCredentials
from sipcli.sip import events
from sipcli.sip.auth import AuthAccepted, AuthForbidden, AuthPolicy, AuthRejected, GiveUp
from sipcli.sip.syntax.uri import SipUri
from tests.support.pair import Gate, Heard, Wire, password, response
from tests.support.registering import ok

BARRED = SipUri.parse("sip:0900@example.com")
STRANGER = ("203.0.113.66", 5060)


def wired(*secrets: PasswordCredentials, **more: Any) -> Wire:
    return Wire(asynchronous=False, credentials=secrets or (password(),), **more)


def challenged(wire: Wire, gate: Gate) -> Heard:
    """What came back with an answer to the 401 or 407 that the last request got."""
    wire.deliver(gate.ask(wire.one()))
    return wire.take()[-1]


def forbidden_call(wire: Wire, gate: Gate | None = None, **how: Any) -> GiveUp | str | None:
    """Why the core says that a call to a barred number failed, after its challenge was answered."""
    wire.do(lambda: wire.engine.invite("work", BARRED, None, **how))
    wire.deliver(response(challenged(wire, gate or Gate(proxy=True, nonces=50)), 403, "Forbidden"))
    wire.take()
    return wire.last(events.CallEnded).why


def registered(wire: Wire, gate: Gate | None = None, source: Any = None) -> Any:
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(ok(challenged(wire, gate or Gate())), source and wire.flow(source))
    return registration


def doubts(wire: Wire) -> list[tuple[str, ...]]:
    """Of each 403, the realms whose secret it may be about."""
    return [tuple(realm for realm, _ in event.used) for event in wire.told(AuthForbidden)]


@pytest.mark.parametrize("proxy", [False, True])
def test_A04_A25_403_from_a_phone_that_rang_does_not_blame_the_secret(proxy: bool) -> None:
    """Whoever presses "reject" could have had our password forgotten.  Fails without ``passed`` in ``doubt``."""
    wire, gate = wired(), Gate(proxy=proxy)
    wire.call()
    invite = challenged(wire, gate)
    assert gate.admits(invite)
    wire.deliver(response(invite, 180, "Ringing", "Contact: <sip:bob@192.0.2.1:5060>"))
    wire.deliver(response(invite, 403, "Forbidden"))
    assert wire.told(AuthRejected) == []
    (ended,) = wire.told(events.CallEnded)
    assert ended.why is None


@pytest.mark.parametrize("known", [False, True], ids=["asked", "taken along"])
@pytest.mark.parametrize("proxy", [False, True])
def test_A04_A25_a_challenge_from_a_phone_that_rang_does_not_blame_the_secret(proxy: bool, known: bool) -> None:
    """Nor does he get another answer: the same secret for a nonce of his.  Fails without ``passed`` in ``hear``."""
    policy = AuthPolicy(proxy_realms=frozenset(("example.com",)))
    wire, gate = Wire(asynchronous=False, credentials=(password(),), policy=policy), Gate(proxy=proxy)
    wire.call()
    wire.deliver(gate.ask(wire.one()))
    invite = wire.take()[-1]
    if known:
        wire.deliver(response(invite, 486, "Busy Here"))
        wire.take()
        wire.call()
        invite = wire.one()
    assert gate.admits(invite)
    wire.deliver(response(invite, 180, "Ringing", "Contact: <sip:bob@192.0.2.1:5060>"))
    wire.deliver(gate.ask(invite, nonce="evil"))
    assert [request.method for request in wire.take()] == ["ACK"]
    assert wire.told(AuthRejected) == []
    assert wire.last(events.CallEnded).why is GiveUp.FOREIGN_ORIGIN


@pytest.mark.parametrize("private", [False, True])
def test_A04_A25_a_barred_number_does_not_blame_the_secret_that_registered(private: bool) -> None:
    """Another nonce, another door, another session.  Fails if ``Verdicts.doubt`` does not look at what is good."""
    wire = wired()
    registered(wire)
    assert forbidden_call(wire, shared_auth=not private) is None
    assert (wire.told(AuthRejected), doubts(wire)) == ([], [()])


def test_A04_A25_nor_one_that_an_earlier_call_was_let_in_with() -> None:
    wire, gate = wired(), Gate(proxy=True)
    wire.call()
    wire.deliver(response(challenged(wire, gate), 486, "Busy Here"))
    wire.take()
    assert forbidden_call(wire) is None
    assert (wire.told(AuthRejected), doubts(wire)) == ([], [()])


def test_A04_A25_403_to_a_first_call_is_no_verdict_on_a_secret_that_nobody_knows() -> None:
    """It is told as a refusal, for it may be one, and nothing is forgotten for it.

    Fails if ``AuthSession.refused`` looks at no method.
    """
    wire = wired()
    assert forbidden_call(wire) is GiveUp.REFUSED
    assert (wire.told(AuthRejected), doubts(wire)) == ([], [("example.com",)])


def test_A25_a_wrong_secret_is_not_good_because_another_was() -> None:
    """Fails if what is good is known by its realm alone."""
    wire = wired()
    registered(wire)
    wire.session.set_credentials([password("wrong")])
    assert forbidden_call(wire) is GiveUp.REFUSED
    assert doubts(wire) == [("example.com",)]


def test_A25_an_equal_secret_is_as_good_as_the_first() -> None:
    """A store gives a new object each time.  Fails if what is good is known by identity."""
    wire = wired()
    registered(wire)
    wire.session.set_credentials([password()])
    assert forbidden_call(wire) is None


def test_A25_nor_is_it_good_in_a_realm_that_has_not_taken_it() -> None:
    """Fails if what is good is known without its realm."""
    wire = wired()
    registered(wire, Gate("registrar.example.com"))
    assert forbidden_call(wire, Gate("trunk.example.com", proxy=True)) is GiveUp.REFUSED
    assert doubts(wire) == [("trunk.example.com",)]


def test_A25_of_two_realms_the_one_that_is_known_is_not_in_doubt() -> None:
    wire = wired()
    registered(wire)
    wire.do(lambda: wire.engine.invite("work", BARRED, None))
    trunk = Gate("trunk", proxy=True)
    wire.deliver(Gate(proxy=True, nonces=50).ask(wire.one()))
    wire.deliver(trunk.ask(wire.take()[-1]))
    wire.deliver(response(wire.take()[-1], 403, "Forbidden"))
    assert wire.last(events.CallEnded).why is GiveUp.REFUSED
    assert doubts(wire) == [("trunk",)]


def test_A04_A25_what_was_refused_since_is_not_good_any_more() -> None:
    """The password was changed at the server.  Fails if ``Verdicts.refused`` keeps what was good."""
    wire = wired()
    registration, gate = registered(wire), Gate(nonces=100)
    wire.do(registration.refresh)
    for _ in range(2):  # the nonce taken along may have been too old, so there is a second chance
        wire.deliver(gate.ask(wire.take()[-1]))
    wire.take()
    assert len(wire.told(AuthRejected)) == 1
    assert forbidden_call(wire) is GiveUp.REFUSED
    assert doubts(wire) == [("example.com",)]


def test_A04_A25_whoever_is_called_takes_nothing_back_that_the_registrar_took() -> None:
    """He asks twice, in our realm, and the registrar's next 403 would have the password forgotten.

    Fails without the look at *method* in ``Verdicts.refused``.
    """
    wire, callee = wired(), Gate(proxy=True, nonces=100)
    registration = registered(wire)
    wire.call()
    wire.deliver(callee.ask(challenged(wire, callee)))
    wire.take()
    assert len(wire.told(AuthRejected)) == 1
    wire.do(registration.refresh)
    wire.deliver(response(challenged(wire, Gate(nonces=200)), 403, "Forbidden"))
    assert (len(wire.told(AuthRejected)), doubts(wire)) == (1, [()])


def test_T28_a_200_from_a_wrong_source_makes_no_secret_good() -> None:
    """Whoever is on the path could shield a wrong secret from its refusals.

    Fails without Exchange._check_arrival in _feedback.
    """
    wire = wired()
    registered(wire, source=STRANGER)
    assert forbidden_call(wire) is GiveUp.REFUSED
    assert doubts(wire) == [("example.com",)]


def test_T04_a_registrar_that_bars_what_it_took_before_is_not_hammered() -> None:
    """Nobody blames the secret, and the pauses are those of any refusal."""
    wire = wired()
    registered(wire)
    wire.run(480.2)
    pauses = []
    for _ in range(4):
        wire.deliver(response(wire.take()[-1], 403, "Forbidden"))
        last = wire.last(events.RegistrationChanged)
        assert (last.state, last.why) == ("retrying", None)
        pauses.append(last.retry_in_s)
        wire.run(pauses[-1] - 0.01)
        assert wire.silent()
        wire.run(0.02)
    assert all(pause >= bound / 2 for pause, bound in zip(pauses, (60, 120, 240, 480), strict=True))
    assert wire.told(AuthRejected) == []


def test_A12_a_proof_that_nobody_can_check_any_more_ends_the_request_all_the_same() -> None:
    """The account was closed, and its secret wiped, while the BYE was out.  Fails without the secret in ``shown``."""
    wire, gate, secret = Wire(), Gate(proxy=True), password()
    call, _, _ = wire.established()
    wire.do(call.hangup)
    wire.deliver(gate.ask(wire.one()))
    wire.respond(secret)
    bye = wire.one()
    proof = gate.proof(bye, "wonderland")
    secret.secret.wipe()
    wire.deliver(response(bye, 200, "OK", f"Proxy-{proof}"))
    assert wire.told(events.CallEnded)
    assert wire.told(AuthAccepted) == []
