"""Who refreshes a session: us or them, as its caller or its callee (RFC 4028 sections 7.2, 9 and 10; D03)."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.sip import events
from tests.support.pair import ANSWER, OFFER, Caller, Wire, response

TIMED = "Supported: timer"
UPDATES = "Allow: INVITE, ACK, BYE, UPDATE"


def called(asked: str, *lines: str) -> tuple[Wire, Any, Caller, str]:
    """We are called with that Session-Expires; what our 2xx says of it."""
    wire, peer = Wire(), Caller()
    wire.deliver(peer.request("INVITE", TIMED, f"Session-Expires: {asked}", *lines, body=OFFER))
    call = wire.last(events.CallIncoming).call
    wire.do(lambda: call.accept(ANSWER))
    ok = wire.take()[-1]
    peer.joins(ok)
    wire.deliver(peer.request("ACK", cseq=peer.cseq))
    return wire, call, peer, ok.header("session-expires")


def test_D03_as_the_callee_we_refresh_where_the_caller_wants_it() -> None:
    """``refresher=uas`` is us: UPDATE at half time, and as its sender we are the ``uac`` of that."""
    wire, _, _, said = called("120;refresher=uas", UPDATES)
    assert said == "120;refresher=uas"
    for _ in range(3):
        wire.run(59)
        assert wire.silent()
        wire.run(1)
        update = wire.one()
        assert (update.method, update.header("session-expires")) == ("UPDATE", "120;refresher=uac")
        wire.deliver(response(update, 200, "OK", "Session-Expires: 120;refresher=uac"))
    assert not wire.told(events.CallEnded)


@pytest.mark.parametrize("asked", ["300", "300;refresher=uac"])
@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
def test_D03_as_the_callee_we_wait_for_a_caller_who_refreshes(asked: str, method: str) -> None:
    wire, call, peer, said = called(asked, UPDATES)
    assert said == "300;refresher=uac"
    for _ in range(2):
        wire.run(200)
        assert wire.silent(), "it is not ours to refresh"
        body = OFFER if method == "INVITE" else b""
        wire.deliver(peer.request(method, TIMED, "Session-Expires: 300;refresher=uac", body=body))
        if method == "INVITE":
            wire.do(lambda: call.answer_reinvite(ANSWER))
        assert wire.one().header("session-expires") == "300;refresher=uac"
        if method == "INVITE":
            wire.deliver(peer.request("ACK", cseq=peer.cseq))
    wire.run(300 - 32 - 1)
    assert wire.silent()
    wire.run(1.5)
    assert wire.take()[0].method == "BYE", "min(32 s, a third) before the end (section 10)"


def test_D03_the_roles_may_change_with_a_refresh() -> None:
    """They refreshed, and want us to do it from now on."""
    wire, _, peer, _ = called("120;refresher=uac", UPDATES)
    wire.run(50)
    wire.deliver(peer.request("UPDATE", TIMED, "Session-Expires: 120;refresher=uas"))
    assert wire.one().header("session-expires") == "120;refresher=uas"
    wire.run(60.1)
    assert wire.take()[0].method == "UPDATE"
