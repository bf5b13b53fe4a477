"""403 from somebody who rang says that the call is forbidden, not that the secret is wrong (RFC 3261 21.4.4)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthAccepted, AuthPolicy, AuthRejected, GiveUp
from tests.support.pair import Gate, Wire, password, response


@pytest.mark.parametrize("proxy", [False, True])
def test_A04_A25_403_from_a_phone_that_rang_does_not_blame_the_secret(proxy: bool) -> None:
    """Whoever presses "reject" could have had our password forgotten.  Fails without ``passed`` in ``refused``."""
    wire, gate = Wire(asynchronous=False, credentials=(password(),)), Gate(proxy=proxy)
    wire.call()
    wire.deliver(gate.ask(wire.one()))
    invite = wire.take()[-1]
    assert gate.admits(invite)
    wire.deliver(response(invite, 180, "Ringing", "Contact: <sip:bob@192.0.2.1:5060>"))
    wire.deliver(response(invite, 403, "Forbidden"))
    assert wire.told(AuthRejected) == []
    (ended,) = wire.told(events.CallEnded)
    assert ended.why is not GiveUp.REFUSED


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


def test_A25_403_without_ringing_still_does() -> None:
    wire, gate = Wire(asynchronous=False, credentials=(password(),)), Gate(proxy=True)
    wire.call()
    wire.deliver(gate.ask(wire.one()))
    wire.deliver(response(wire.take()[-1], 403, "Forbidden"))
    assert len(wire.told(AuthRejected)) == 1
    (ended,) = wire.told(events.CallEnded)
    assert ended.why is GiveUp.REFUSED


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
