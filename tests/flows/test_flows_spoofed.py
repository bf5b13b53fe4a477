"""Responses and requests that nobody asked for: whoever cannot read our packets changes nothing (T28)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.auth import AuthAccepted, AuthChallenged, AuthRejected, AuthUnanswerable, GiveUp
from sipcli.sip.flow import Transport
from tests.support.outbound import INSTANCE
from tests.support.pair import SERVER, Caller, Gate, Heard, Wire, password, response

MALLORY = ("203.0.113.66", 5066)
SPOOFED = [
    (200, "OK", ("Contact: <sip:alice@192.0.2.99:5062>;expires=7200",)),
    (302, "Moved", ("Contact: <sip:mallory@203.0.113.66:5066>",)),
    (401, "Unauthorized", ('WWW-Authenticate: Digest realm="example.com", nonce="evil", qop="auth"',)),
    (407, "Proxy", ('Proxy-Authenticate: Digest realm="*", nonce="evil"',)),
    (403, "Forbidden", ()),
]
RESPONSES = pytest.mark.parametrize("spoofed", SPOOFED, ids=[str(status) for status, _, _ in SPOOFED])
SOURCES = pytest.mark.parametrize("source", [None, MALLORY], ids=["server's address", "his own"])


@RESPONSES
@SOURCES
def test_T28_the_right_call_id_with_a_wrong_branch_changes_nothing(
    spoofed: tuple[int, str, tuple[str, ...]], source: tuple[str, int] | None
) -> None:
    """Fails without the branch in client_key."""
    wire = Wire(credentials=(password(),))
    wire.do(lambda: wire.engine.register("work"))
    request = wire.one()
    status, reason, lines = spoofed
    forged = response(request, status, reason, *lines).replace(request.branch.encode(), b"z9hG4bK-guessed")
    told = [event for event in wire.events if not isinstance(event, events.ProtocolWarning)]
    wire.deliver(forged, wire.flow(source) if source else None)
    assert wire.silent()
    assert [event for event in wire.events if not isinstance(event, events.ProtocolWarning)] == told
    gate = Gate()
    wire.deliver(gate.ask(request))  # and the real answer still counts
    assert wire.told(AuthChallenged)
    assert not wire.told(AuthAccepted)


def test_T28_a_response_after_the_end_changes_nothing() -> None:
    wire = Wire(credentials=(password(),))
    call, invite, _ = wire.established()
    told = len(wire.told(events.CallEnded))
    for status, reason, lines in SPOOFED[1:]:
        wire.deliver(response(invite, status, reason, *lines), wire.flow(MALLORY))
    assert wire.silent()
    assert len(wire.told(events.CallEnded)) == told
    assert call.state.value == "confirmed"
    assert not wire.told(AuthChallenged)


def test_T28_a_notify_that_nobody_subscribed_to_is_refused() -> None:
    wire = Wire(credentials=(password(),))
    wire.register(Gate())
    wire.take()
    caller = Caller(call_id="unasked", to="<sip:alice@example.com>;tag=guessed")
    wire.deliver(caller.request("NOTIFY", "Event: refer", "Subscription-State: active"), wire.flow(MALLORY))
    assert [answer.status for answer in wire.take()] in ([], [481], [405], [489])
    assert not wire.session.pending


@pytest.mark.parametrize("proxy", [True, False], ids=["407", "401"])
@pytest.mark.parametrize("realm", ["example.com", "*"])
def test_T28_the_right_branch_from_a_wrong_source_gets_neither_digest_nor_question(realm: str, proxy: bool) -> None:
    """Whoever read our packet can end the request, but not take anything home.

    Fails without Exchange._check_arrival.
    """
    wire = Wire(credentials=(password(),))
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(Gate(realm=realm, proxy=proxy).ask(wire.one()), wire.flow(MALLORY))
    assert wire.silent()
    assert not wire.told(AuthChallenged)
    assert wire.last(AuthUnanswerable).why is GiveUp.FOREIGN_ORIGIN


def test_T01_T28_ringing_from_elsewhere_lets_nobody_through() -> None:
    """A callee who answers us directly, past our proxy: that the proxy took our credentials is not his to say.

    Nor does it hurt the proxy's own word, which comes later.  Fails without ``_from_elsewhere()`` in
    ``Exchange._progress``.
    """
    wire, gate = Wire(), Gate(proxy=True)
    wire.call()
    wire.deliver(gate.ask(wire.one()))
    wire.respond()
    invite, token = wire.take()[-1], wire.token
    (challenge,), origin = token.challenges, token.exchange.origin
    wire.deliver(response(invite, 180, "Ringing"), wire.flow(MALLORY))
    assert not wire.session.pins.knows(challenge, origin)
    wire.deliver(response(invite, 180, "Ringing"))
    assert wire.session.pins.knows(challenge, origin)


@pytest.mark.parametrize("status", [200, 302, 403])
@SOURCES
def test_T28_a_verdict_from_a_wrong_source_shows_no_secret_right_or_wrong(
    status: int, source: tuple[str, int] | None
) -> None:
    """The right branch ends the request from wherever it comes (RFC 3261 section 18.1.2), and no more.

    Nothing is remembered, forgotten or taken along because of it.  Fails without
    Exchange._check_arrival in _feedback.
    """
    wire = Wire(credentials=(password(),))
    wire.do(lambda: wire.engine.register("work"))
    gate = Gate()
    wire.deliver(gate.ask(wire.one()))
    wire.respond()
    request = wire.one()
    assert gate.admits(request)
    wire.deliver(response(request, status, "Spoofed", *_lines(status, request)), wire.flow(source) if source else None)
    assert len(wire.told(AuthAccepted)) == (source is None and status != 403)
    assert len(wire.told(AuthRejected)) == (source is None and status == 403)


def test_T28_after_a_200_from_a_wrong_source_the_next_register_takes_nothing_along() -> None:
    """Fails without Exchange._check_arrival in _feedback."""
    wire = Wire(credentials=(password(),))
    registration = wire.do(lambda: wire.engine.register("work"))
    wire.deliver(Gate().ask(wire.one()))
    wire.respond()
    request = wire.one()
    wire.deliver(response(request, 200, "OK", *_lines(200, request)), wire.flow(MALLORY))
    wire.do(registration.refresh)
    assert not wire.one().has("authorization")


@pytest.mark.parametrize("proxy", [True, False], ids=["407", "401"])
def test_T28_in_the_clear_nobody_speaks_for_a_server_that_tls_verified(proxy: bool) -> None:
    """A datagram with the server's address on it proves nothing: the request went over TLS.

    Fails without ``encrypted`` in ``Exchange._from_elsewhere``.
    """
    wire = Wire("tls", credentials=(password(),))
    wire.do(lambda: wire.engine.register("work"))
    request, server = wire.one(), wire.sent_over[-1]
    wire.deliver(Gate(proxy=proxy).ask(request), wire.flow(server.remote, "udp"))
    assert wire.silent()
    assert not wire.told(AuthChallenged)
    assert wire.last(AuthUnanswerable).why is GiveUp.FOREIGN_ORIGIN


@pytest.mark.parametrize("transport", ["udp", "tls"])
def test_T28_T01_a_200_from_elsewhere_sets_no_route(transport: Transport) -> None:
    """Who is the first hop of our calls is a server of our own, and may challenge us: nobody makes himself that.

    Nor does he choose the address that we are called at (GRUU).  Fails without ``origin.bound`` in
    ``Registration._bound``.
    """
    wire = Wire(transport, credentials=(password(),), profile={"instance": INSTANCE})
    wire.do(lambda: wire.engine.register("work"))
    gate = Gate()
    wire.deliver(gate.ask(wire.one()))
    wire.respond()
    request = wire.one()
    forged = (
        f'Contact: <{request.contact}>;expires=600;pub-gruu="sip:alice@203.0.113.66"',
        "Service-Route: <sip:203.0.113.66:5066;transport=udp;lr>",
    )
    wire.deliver(response(request, 200, "OK", *forged), wire.flow(MALLORY, "udp"))
    asked = len(wire.told(AuthChallenged))
    wire.call()
    invite = wire.one()
    assert wire.sent_over[-1].remote == SERVER
    assert "203.0.113.66" not in invite.data.decode()
    wire.deliver(Gate(proxy=True).ask(invite), wire.flow(MALLORY, "udp"))
    assert len(wire.told(AuthChallenged)) == asked


def _lines(status: int, request: Heard) -> tuple[str, ...]:
    if status == 200:
        return (f"Contact: {request.header('contact')};expires=600",)
    return ("Contact: <sip:mallory@203.0.113.66:5066>",) if status == 302 else ()
