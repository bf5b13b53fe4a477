"""Thousands of registrations, challenges and calls on a stepped clock: nothing is left of them (T03, T04, T23)."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable

import pytest

from sipcli.credentials import PasswordCredentials
from sipcli.sip.auth import AuthSession, ChallengeToken
from sipcli.sip.authn.realm import RealmState
from sipcli.sip.calls.indialog import Call
from sipcli.sip.dialog import Dialog
from sipcli.sip.engine import AccountProfile
from sipcli.sip.events import FlowReleased
from sipcli.sip.exchange import Exchange
from sipcli.sip.flow import Flow, Hop
from sipcli.sip.syntax.message import Message
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.transactions.interpreter import Transaction
from tests.support.pair import Gate, Wire, response

TIMES = 600
SLACK = 150
"""What is bounded goes up and down; a leak would be of TIMES."""
KINDS = (
    Transaction,
    Exchange,
    Call,
    Dialog,
    ChallengeToken,
    RealmState,
    Message,
    PasswordCredentials,
    AuthSession,
    Hop,
)


def forget(wire: Wire) -> None:
    """The wire's own notes."""
    wire.events.clear()
    wire.sent.clear()
    wire.sent_over.clear()
    wire.taken = 0


def census(wire: Wire) -> Counter[str]:
    """What lives once every timer of the last minute has fired."""
    wire.run(70)
    forget(wire)
    gc.collect()
    return Counter(kind.__name__ for thing in gc.get_objects() for kind in KINDS if isinstance(thing, kind))


def target(number: int) -> SipUri:
    return SipUri.parse(f"sip:bob{number}@example.com")


def refreshed(wire: Wire, number: int) -> None:
    wire.do(lambda: wire.engine.register("work"))
    request = wire.one()
    wire.deliver(Gate().ask(request, nonce=f"n{number}"))
    if wire.session.pending:
        wire.respond()
    request = wire.take()[-1]
    wire.deliver(response(request, 200, "OK", f"Contact: {request.header('contact')}"))


def challenged(wire: Wire, number: int) -> None:
    """Answered, abandoned, declined, or left to the ceiling."""
    wire.do(lambda: wire.engine.options("work", target(number)))
    wire.deliver(Gate(realm=f"realm-{number}", algorithm="MD5").ask(wire.one()))
    match number % 4:
        case 0:
            wire.respond()
            wire.deliver(response(wire.one(), 200, "OK"))
        case 1:
            wire.do(lambda: wire.session.abandon(wire.token))
        case 2:
            wire.do(lambda: wire.session.decline(wire.token))
        case _:
            wire.run(181)


def hung_up_while_challenged(wire: Wire, number: int) -> None:
    call = wire.call()
    wire.deliver(Gate().ask(wire.one()))
    wire.take()
    wire.do(call.hangup)


def cancelled(wire: Wire, number: int) -> None:
    call = wire.call()
    invite, tag = wire.one(), f"fork{number}"
    wire.deliver(response(invite, 180, "Ringing", "Contact: <sip:b@192.0.2.1>", to_tag=tag))
    wire.do(call.hangup)
    wire.deliver(response(wire.one(), 200, "OK"))
    wire.deliver(response(invite, 487, "Request Terminated", to_tag=tag))


def called(wire: Wire, number: int) -> None:
    call, _, _ = wire.established()
    wire.do(call.hangup)
    wire.deliver(response(wire.one(), 200, "OK"))


def called_us(wire: Wire, number: int) -> None:
    """Each caller names another Contact, which our BYE goes to."""
    address = f"10.0.{number >> 8}.{number & 255}"
    call, _, _ = wire.answered(call_id=f"call{number}", contact=f"<sip:x@{address}:5070>")
    wire.do(call.hangup)
    wire.deliver(response(wire.one(), 200, "OK"), wire.sent_over[-1])


def visited(wire: Wire, number: int) -> None:
    """A name per request; all of them lead to one server."""
    wire.do(lambda: wire.engine.options("work", SipUri.parse(f"sip:bob@host{number}.example.net")))
    wire.deliver(response(wire.one(), 200, "OK"), wire.sent_over[-1])


def closed_while_challenged(wire: Wire, number: int) -> None:
    name = f"account{number}"
    profile = AccountProfile(
        name=name, aor=target(number), registrar=SipUri.parse("sip:example.com"), contact_user=f"u{number}"
    )
    session = AuthSession(asynchronous=True)
    wire.do(lambda: wire.engine.add_account(profile, session))
    wire.do(lambda: wire.engine.register(name))
    wire.deliver(Gate().ask(wire.one()))
    wire.do(lambda: wire.engine.remove_account(name))


@pytest.mark.parametrize(
    "story",
    [
        refreshed,
        challenged,
        hung_up_while_challenged,
        cancelled,
        called,
        called_us,
        visited,
        closed_while_challenged,
    ],
)
def test_T04_T23_nothing_is_left(story: Callable[[Wire, int], None]) -> None:
    wire = Wire()

    def happens(numbers: range) -> None:
        for number in numbers:
            story(wire, number)
            wire.run(1)
            forget(wire)

    happens(range(TIMES))  # fills whatever is bounded
    before = census(wire)
    happens(range(TIMES, 2 * TIMES))
    after = census(wire)
    grown = {kind: (before[kind], count) for kind, count in after.items() if count > before[kind] + SLACK}
    assert not grown


@pytest.mark.slow
def test_T03_T04_ten_thousand_challenges_to_registers_leave_nothing() -> None:
    """Every 401 names a realm and a nonce of its own, every one is answered, and every REGISTER ends.

    Fails without ``AuthPolicy.max_realms``.
    """
    wire = Wire()
    heard = longest = 0

    def attempts(upto: int) -> None:
        nonlocal heard, longest
        while heard < upto:
            wire.do(lambda: wire.engine.register("work", keep=False))
            answers = 0
            while requests := wire.take():
                heard, answers = heard + 1, answers + 1
                gate = Gate(realm=f"realm-{heard}", algorithm="MD5")
                wire.deliver(gate.ask(requests[-1], nonce=f"nonce-{heard}"))
                for token in wire.session.pending:
                    wire.respond(token=token)
            longest = max(longest, answers)
            wire.run(60)
            forget(wire)

    attempts(5000)
    gc.collect()
    tracemalloc.start()
    try:
        attempts(10_000)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    print(f"{heard} challenges, at most {longest} to one REGISTER, kept {kept >> 10} kB of the second half")
    assert longest == 9, "eight realms, and the one too many"
    assert kept < 256 << 10


def test_strangers_addresses_are_given_back_to_the_shell_and_calls_find_their_way() -> None:
    """Else each would get keep-alives for ever."""
    wire = Wire()
    wire.register(Gate())
    talking, _, _ = wire.answered(call_id="talking", contact="<sip:bob@10.9.9.9:5070>")
    released: list[Flow] = []
    for number in range(TIMES):
        called_us(wire, number)
        wire.run(40)
        released += [event.flow for event in wire.told(FlowReleased)]
        forget(wire)
    assert len(released) > TIMES // 2
    assert len({flow.id for flow in released}) == len(released)
    assert wire.flow().id not in {flow.id for flow in released}, "the registrar's own"
    wire.do(talking.hangup)
    assert wire.one().method == "BYE"
    assert wire.sent_over[-1].remote == ("10.9.9.9", 5070)
