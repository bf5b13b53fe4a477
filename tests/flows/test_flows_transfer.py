"""A REFER of ours, ladder by ladder: the 202, the NOTIFYs before and after it, and every way it may end (RFC 3515)."""

from __future__ import annotations

import pytest

from sipcli.errors import LocalProtocolError
from sipcli.sip import events
from sipcli.sip.auth import AuthChallenged
from sipcli.sip.calls.transfer import LAST_WORD, refer_to, status_of
from tests.support.pair import Caller, Gate, Heard, Wire, response

CAROL = "<sip:carol@example.com>"
OVER = "Subscription-State: terminated;reason=noresource"
ALIVE = "Subscription-State: active;expires=60"


def referring(wire: Wire, call: object) -> Heard:
    wire.do(lambda: call.refer(CAROL, (("Referred-By", "<sip:alice@example.com>"),)))  # type: ignore[attr-defined]
    return wire.one()


def notified(wire: Wire, bob: Caller, line: str, state: str, event: str = "refer") -> int:
    body = f"SIP/2.0 {line}\r\n".encode() if line else b""
    wire.deliver(bob.request("NOTIFY", f"Event: {event}", state, body=body, kind="message/sipfrag;version=2.0"))
    return wire.one().status


def story(wire: Wire) -> list[tuple[str, int | None]]:
    return [(event.state, event.code) for event in wire.told(events.TransferChanged)]


def test_D04_a_transfer_from_the_refer_to_the_last_word() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    refer = referring(wire, call)
    assert (refer.method, refer.uri, refer.header("refer-to")) == ("REFER", "sip:bob@192.0.2.1:5060", CAROL)
    assert refer.header("referred-by") == "<sip:alice@example.com>"
    assert refer.has("contact")
    wire.deliver(response(refer, 202, "Accepted"))
    assert notified(wire, bob, "100 Trying", ALIVE) == 200
    assert notified(wire, bob, "180 Ringing", ALIVE, f"refer;id={refer.cseq}") == 200
    assert notified(wire, bob, "200 OK", OVER) == 200
    assert story(wire) == [
        ("trying", None),
        ("accepted", 202),
        ("progress", 100),
        ("progress", 180),
        ("done", 200),
    ]
    assert notified(wire, bob, "200 OK", OVER) == 481, "it is over"
    wire.do(call.hangup)
    wire.deliver(response(wire.one(), 200, "OK"))
    wire.drain()


def test_D04_the_first_notify_may_come_before_the_202() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    refer = referring(wire, call)
    assert notified(wire, bob, "100 Trying", ALIVE) == 200
    wire.deliver(response(refer, 202, "Accepted"))
    assert notified(wire, bob, "200 OK", OVER) == 200
    assert story(wire)[-1] == ("done", 200)


@pytest.mark.parametrize("status", [603, 405, 501, 403])
def test_D04_a_refusal_ends_the_transfer_and_not_the_call(status: int) -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.deliver(response(referring(wire, call), status, "No"))
    assert story(wire)[-1] == ("failed", status)
    assert call.state.value == "confirmed"


def test_D04_who_is_not_reached_is_the_last_word_too() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(response(referring(wire, call), 202, "Accepted"))
    assert notified(wire, bob, "486 Busy Here", ALIVE) == 200
    assert story(wire)[-1] == ("failed", 486)
    assert notified(wire, bob, "486 Busy Here", OVER) == 200, "some end the subscription with another NOTIFY"
    assert story(wire)[-1] == ("failed", 486)
    assert notified(wire, bob, "486 Busy Here", OVER) == 481
    wire.do(lambda: call.refer(CAROL))
    assert wire.one().method == "REFER"


def test_D04_a_last_notify_that_says_nothing() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(response(referring(wire, call), 202, "Accepted"))
    assert notified(wire, bob, "", "Subscription-State: terminated;reason=giveup") == 200
    last = wire.last(events.TransferChanged)
    assert (last.state, last.code, str(last.why)[:9]) == ("failed", None, "protocol:")


def test_D04_nobody_notifies() -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.deliver(response(referring(wire, call), 202, "Accepted"))
    wire.run(32.1)
    last = wire.last(events.TransferChanged)
    assert (last.state, last.reason, str(last.why)[:8]) == ("failed", "", "timeout:")
    assert call.state.value == "confirmed"


def test_D04_the_last_word_is_told_once_though_the_subscription_goes_on() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(response(referring(wire, call), 202, "Accepted"))
    notified(wire, bob, "100 Trying", "Subscription-State: active;expires=5")
    notified(wire, bob, "200 OK", "Subscription-State: active;expires=5")
    wire.run(600)
    assert story(wire)[2:] == [("progress", 100), ("done", 200)]


@pytest.mark.parametrize(("later", "status"), [(31.9, 200), (32.1, 481)])
def test_D04_a_notify_that_ends_it_may_come_a_while_after_the_last_word(later: float, status: int) -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(response(referring(wire, call), 202, "Accepted"))
    notified(wire, bob, "486 Busy Here", ALIVE)
    wire.run(later)
    assert notified(wire, bob, "486 Busy Here", OVER) == status


@pytest.mark.parametrize("expires", [5, 60])
def test_D04_who_falls_silent_after_a_first_word_is_waited_for_as_long_as_he_said(expires: int) -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(response(referring(wire, call), 202, "Accepted"))
    assert notified(wire, bob, "100 Trying", f"Subscription-State: active;expires={expires}") == 200
    wire.run(expires - 0.1)
    assert story(wire)[-1] == ("progress", 100)
    wire.run(0.2)
    assert story(wire)[-1] == ("failed", None)
    assert wire.last(events.TransferChanged).why == "timeout: nothing was heard of the transfer"


def test_D04_a_notify_of_something_else_is_489_and_without_a_state_400() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    assert notified(wire, bob, "200 OK", OVER) == 481, "nobody asked"
    referring(wire, call)
    assert notified(wire, bob, "200 OK", OVER, "presence") == 489
    assert notified(wire, bob, "200 OK", OVER, "refer;id=99") == 489
    assert notified(wire, bob, "200 OK", "X-State: none") == 400
    assert story(wire) == [("trying", None)]


def test_D04_he_hangs_up_once_he_is_there_and_says_so() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(response(referring(wire, call), 202, "Accepted"))
    notified(wire, bob, "100 Trying", ALIVE)
    wire.deliver(bob.request("BYE"))
    assert wire.one().status == 200
    assert notified(wire, bob, "200 OK", OVER) == 200, "the subscription outlives the call"
    assert story(wire)[-1] == ("done", 200)


def test_D04_he_hangs_up_and_says_nothing() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    wire.deliver(response(referring(wire, call), 202, "Accepted"))
    wire.deliver(bob.request("BYE"))
    assert story(wire)[-1] == ("accepted", 202)
    wire.run(LAST_WORD + 0.1)
    assert story(wire)[-1] == ("done", None)


def test_D04_he_hangs_up_instead_of_an_answer() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    referring(wire, call)
    wire.deliver(bob.request("BYE"))
    assert story(wire)[-1] == ("failed", None)


def test_D04_481_to_the_refer_ends_the_call() -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.deliver(response(referring(wire, call), 481, "Gone"))
    assert story(wire)[-1] == ("failed", 481)
    assert wire.last(events.CallEnded).call is call


def test_one_transfer_at_a_time_and_only_in_a_call() -> None:
    wire = Wire()
    call = wire.call()
    wire.take()
    with pytest.raises(LocalProtocolError, match="once it is answered"):
        call.refer(CAROL)
    with pytest.raises(LocalProtocolError, match="handed over"):
        refer_to(call)
    other = Wire()
    call, _, _ = other.established()
    referring(other, call)
    with pytest.raises(LocalProtocolError, match="already"):
        call.refer(CAROL)


def test_A24_our_proxy_challenges_the_refer() -> None:
    wire = Wire()
    call, _, bob = wire.established()
    gate = Gate(proxy=True)
    refer = referring(wire, call)
    wire.deliver(gate.ask(refer))
    assert wire.told(AuthChallenged)
    wire.respond()
    again = wire.one()
    assert gate.admits(again)
    assert again.cseq == refer.cseq + 1
    wire.deliver(response(again, 202, "Accepted"))
    assert notified(wire, bob, "200 OK", OVER, f"refer;id={refer.cseq}") == 489, "that REFER was not taken"
    assert notified(wire, bob, "200 OK", OVER, f"refer;id={again.cseq}") == 200
    assert story(wire)[-1] == ("done", 200)


def test_D04_the_other_end_of_a_call_is_named_by_its_contact_or_through_its_proxy_by_its_address() -> None:
    wire = Wire()
    direct, invite, _ = wire.established()
    replaces = f"{invite.call_id}%3Bto-tag%3Dpeer%3Bfrom-tag%3D{invite.from_tag}"
    assert refer_to(direct) == f"<sip:bob@192.0.2.1:5060?Replaces={replaces}>"
    through, invite, _ = Wire().established("Record-Route: <sip:192.0.2.1;lr>")
    replaces = f"{invite.call_id}%3Bto-tag%3Dpeer%3Bfrom-tag%3D{invite.from_tag}"
    assert refer_to(through) == f"<sip:bob@example.com?Replaces={replaces}>"
    gruu, _, _ = Wire().established(
        "Record-Route: <sip:192.0.2.1;lr>", contact="<sip:bob@example.com;gr=urn:uuid:f81d4fae>"
    )
    assert refer_to(gruu).startswith("<sip:bob@example.com;gr=urn:uuid:f81d4fae?Replaces=")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"SIP/2.0 200 OK\r\n", (200, "OK")),
        (b"SIP/2.0 486 Busy Here\r\nContact: <sip:x@y>\r\n\r\n", (486, "Busy Here")),
        (b"\r\nSIP/2.0 180", (180, "")),
        (b"SIP/2.0 099 No", None),
        (b"SIP/2.0 2000 No", None),
        (b"INVITE sip:a@b SIP/2.0", None),
        (b"", None),
        (b"SIP/2.0 200 \xff\r\n", (200, "\\xff")),
    ],
)
def test_D04_the_status_line_of_a_sipfrag(body: bytes, said: tuple[int, str] | None) -> None:
    assert status_of(body) == said
