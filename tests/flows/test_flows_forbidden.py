"""403 from somebody who rang says that the call is forbidden, not that the secret is wrong (RFC 3261 21.4.4)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthRejected, GiveUp
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


def test_A25_403_without_ringing_still_does() -> None:
    wire, gate = Wire(asynchronous=False, credentials=(password(),)), Gate(proxy=True)
    wire.call()
    wire.deliver(gate.ask(wire.one()))
    wire.deliver(response(wire.take()[-1], 403, "Forbidden"))
    assert len(wire.told(AuthRejected)) == 1
    (ended,) = wire.told(events.CallEnded)
    assert ended.why is GiveUp.REFUSED
