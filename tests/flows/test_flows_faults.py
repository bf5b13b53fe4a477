"""What goes wrong at the wrong moment: connections that break, challenges that outlast everything else."""

from __future__ import annotations

from itertools import pairwise

import pytest

from sipcli.credentials import PasswordCredentials
from sipcli.errors import LocalProtocolError, TokenSpent
from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged, AuthPolicy, GiveUp
from tests.support.pair import ANSWER, Gate, Wire, password, response

BOB = "Contact: <sip:bob@192.0.2.1:5060>"
PATIENT = AuthPolicy(token_ceiling=1830.0)


def test_a_challenge_may_wait_longer_than_a_call_may_ring() -> None:
    """A 100 came before the 401; ten minutes later a person has signed in.  Nobody rang meanwhile."""
    wire, gate = Wire(policy=PATIENT), Gate()
    wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 100, "Trying", to_tag=None))
    wire.deliver(gate.ask(invite))
    wire.take()
    wire.run(600)
    assert not wire.told(events.CallEnded)
    wire.respond()
    assert gate.admits(wire.one())


def test_the_time_it_may_ring_counts_from_the_answered_challenge() -> None:
    wire, gate = Wire(policy=PATIENT, config={"ring_limit": 60.0}), Gate()
    wire.call()
    invite = wire.one()
    wire.deliver(response(invite, 100, "Trying", to_tag=None))
    wire.deliver(gate.ask(invite))
    wire.run(50)
    wire.take()
    wire.respond()
    invite = wire.one()
    wire.deliver(response(invite, 180, "Ringing", BOB))
    wire.run(59)
    assert wire.silent()
    wire.run(1.2)
    assert wire.one().method == "CANCEL"
    wire.deliver(response(invite, 487, "Request Terminated"))
    ended = wire.last(events.CallEnded)
    assert (ended.by, ended.why) == ("local", "timeout: nobody answered within 60 s")


def test_a_registrar_that_hangs_up_after_each_answer_is_not_hammered() -> None:
    """RFC 5626 section 4.5: one connection may break by chance, the next ones are waited for."""
    wire = Wire("tcp", credentials=(password(),), asynchronous=False)
    wire.register(Gate())
    at: list[float] = []
    for _ in range(6):
        wire.drop(wire.flow())
        when = wire.engine.next_timer()
        assert when is not None
        wire.run(when - wire.clock)
        request = wire.one()
        at.append(wire.clock)
        wire.deliver(response(request, 200, "OK", f"Contact: {request.header('contact')}"))
    pauses = [later - earlier for earlier, later in pairwise(at)]
    assert 1000.25 <= at[0] <= 1002.0
    for failures, pause in enumerate(pauses, 1):
        assert 15 * 2**failures <= pause <= 30 * 2**failures


def test_a_connection_that_lived_for_a_while_is_replaced_at_once() -> None:
    wire = Wire("tcp", credentials=(password(),), asynchronous=False)
    wire.register(Gate())
    for _ in range(3):
        wire.run(150)
        wire.drop(wire.flow())
        wire.seek()
        request = wire.one()
        wire.deliver(response(request, 200, "OK", f"Contact: {request.header('contact')}"))


def test_a_repeated_2xx_after_the_connection_broke_is_acknowledged_over_a_new_one() -> None:
    wire = Wire("tcp")
    _, invite, _ = wire.established()
    broken = wire.sent_over[-1]
    wire.drop(broken)
    wire.deliver(response(invite, 200, "OK", BOB, body=ANSWER))
    ack = wire.one()
    assert ack.method == "ACK"
    assert ack.cseq == invite.cseq
    assert wire.sent_over[-1].id != broken.id


@pytest.mark.parametrize("end", ["they hang up", "we hang up", "the account goes"])
def test_a19_what_waits_inside_a_call_never_goes_out_after_its_end(end: str) -> None:
    """An INFO is challenged, and the call ends before somebody answers."""
    wire, gate = Wire(), Gate()
    call, _, bob = wire.established()
    info = wire.do(lambda: call.request("INFO"))
    wire.deliver(gate.ask(wire.one()))
    token, plan = wire.token, wire.session.reinit_request(wire.token, [password()])
    assert plan is not None
    match end:
        case "they hang up":
            wire.deliver(bob.request("BYE"))
        case "we hang up":
            wire.do(call.hangup)
        case _:
            wire.do(lambda: wire.engine.remove_account("work"))
    assert wire.last(events.RequestDone).oneshot is info
    assert wire.outcomes() == ["revoked"]
    wire.take()
    with pytest.raises(TokenSpent):
        wire.do(lambda: wire.session.send_request(token, plan))
    assert wire.silent()


def test_a_challenge_that_comes_after_the_end_of_the_call_asks_nobody() -> None:
    wire, gate = Wire(), Gate()
    call, _, bob = wire.established()
    wire.do(lambda: call.request("INFO"))
    info = wire.one()
    wire.deliver(bob.request("BYE"))
    wire.take()
    wire.deliver(gate.ask(info))
    assert not wire.session.pending
    assert wire.last(events.RequestDone).response is not None
    assert wire.silent()


@pytest.mark.parametrize(
    ("contact", "header", "granted"),
    [
        (";expires=300", "Expires: 900", 300),
        ("", "Expires: 900", 900),
        ("", "Server: x", 600),
        (';expires="120"', "Server: x", 120),
        (";expires=soon", "Expires: 77", 77),
        (";EXPIRES=50", "Expires: 900", 50),
        (";q=0.5;expires=44", "Expires: 900", 44),
    ],
)
def test_the_contacts_own_expiry_comes_before_the_header(contact: str, header: str, granted: int) -> None:
    """RFC 3261 section 10.2.4."""
    wire = Wire()
    wire.do(lambda: wire.engine.register("work"))
    request = wire.one()
    bare = request.header("contact").partition(">")[0]
    wire.deliver(response(request, 200, "OK", f"Contact: {bare}>{contact}", header))
    assert wire.last(events.RegistrationChanged).expires_s == granted


def test_a_registrar_that_grants_no_time_has_not_registered_us() -> None:
    wire = Wire()
    wire.do(lambda: wire.engine.register("work"))
    request = wire.one()
    wire.deliver(response(request, 200, "OK", f"Contact: {request.header('contact').partition('>')[0]}>;expires=0"))
    told = wire.last(events.RegistrationChanged)
    assert (told.state, told.why) == ("retrying", "protocol: the registrar accepted us for no time at all")
    wire.run(10)
    assert wire.silent()


def test_registering_for_no_time_is_refused_here() -> None:
    """It would ask the registrar for nothing, and its 200 would look like a failure."""
    wire = Wire()
    with pytest.raises(LocalProtocolError, match="unregister"):
        wire.do(lambda: wire.engine.register("work", expires=0))
    assert wire.silent()


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (('WWW-Authenticate: Digest realm="a\rb", nonce="n"',), "WWW-Authenticate: Digest realm"),
        (('WWW-Authenticate: Digest realm="a\nX-Smuggled: b", nonce="n"',), "WWW-Authenticate: Digest realm"),
        (("X-First: b\r", 'WWW-Authenticate: Digest realm="ab", nonce="n"'), "X-First: b"),
    ],
)
def test_T13_a_line_end_that_is_none_is_dropped_and_said(lines: tuple[str, ...], named: str) -> None:
    """RFC 3261 section 25.1 allows a CR or LF in CRLF only, also between quotes and behind a backslash.

    Two parsers that differ about where a line ends differ about what was asked, so nobody guesses: no challenge is
    heard.  But who waits for an answer that has come is told why it does not count, and in which header that is.
    """
    wire = Wire()
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(response(wire.one(), 401, "Unauthorized", *lines))
    warning = wire.last(events.ProtocolWarning)
    assert warning.code == "malformed" and named in warning.message
    assert not wire.told(AuthChallenged) and wire.silent()
    wire.run(40)
    assert wire.last(events.RegistrationChanged).why is not None, "it ends as if there had been no answer"


def test_a_response_whose_cseq_makes_no_sense_is_said_to_be_dropped() -> None:
    wire = Wire()
    wire.do(lambda: wire.engine.register("work"))
    answer = response(wire.one(), 200, "OK")
    wire.deliver(answer.replace(b"CSeq: 1 REGISTER", b"CSeq: one REGISTER"))
    assert wire.last(events.ProtocolWarning).code == "malformed"


def broken() -> PasswordCredentials:
    """What no contract lets through, as a bug would make it: a user name that no header can carry."""
    credentials = password()
    object.__setattr__(credentials, "username", "ali\ud800")
    return credentials


def test_an_answer_that_cannot_be_built_ends_the_request_instead_of_leaving_it_open_for_ever() -> None:
    """The token is spent and the transaction left: without an end nobody would ever wake the exchange again."""
    wire, gate = Wire(), Gate()
    registration = wire.do(lambda: wire.engine.register("work", keep=False))
    wire.deliver(gate.ask(wire.one()))
    with pytest.raises(UnicodeEncodeError):
        wire.respond(broken())
    wire.pump()
    last = wire.last(events.RegistrationChanged)
    assert (last.state, last.code, last.why) == ("failed", None, GiveUp.ABANDONED)
    assert not wire.engine._core.exchanges
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(gate.ask(wire.one()))
    wire.respond()
    assert gate.admits(wire.one()), "the account goes on"
    assert registration.state.value == "gone"


def test_the_configured_credentials_may_be_broken_too() -> None:
    wire, gate = Wire(credentials=(broken(),), asynchronous=False), Gate()
    wire.do(lambda: wire.engine.register("work", keep=False))
    with pytest.raises(AssertionError, match="fault"):  # the engine survives and says so; the wire takes no faults
        wire.deliver(gate.ask(wire.one()))
    wire.pump()
    assert wire.last(events.RegistrationChanged).why is GiveUp.ABANDONED
