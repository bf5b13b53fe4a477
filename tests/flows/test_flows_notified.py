"""NOTIFYs that nobody asked for, and what we say that we notify of (RFC 6665, RFC 3842)."""

from __future__ import annotations

import pytest

from sipcli.sip.profile import EngineConfig
from sipcli.sip.subscriptions.unasked import UnaskedNotify
from tests.support.mailbox import BODY, STRANGER, SUMMARY, Mailbox
from tests.support.pair import Caller, Gate, Wire


def unasked(*lines: str, body: bytes = BODY, kind: str = SUMMARY, uri: str = "sip:alice@example.com") -> bytes:
    pbx = Caller(uri=uri, to="<sip:alice@example.com>")
    return pbx.request("NOTIFY", *lines, body=body, kind=kind)


@pytest.mark.parametrize("state", [(), ("Subscription-State: active",)])
def test_D05_our_own_server_may_tell_of_waiting_messages_unasked(state: tuple[str, ...]) -> None:
    wire, gate = Wire(), Gate()
    wire.register(gate)
    wire.deliver(unasked("Event: message-summary", *state))
    assert wire.one().status == 200
    told = wire.last(UnaskedNotify)
    assert (told.account, told.request.body) == ("work", BODY)


def test_T20_D05_nobody_else_may_tell_of_waiting_messages_unasked() -> None:
    """Fails without ``account.origin(arrival).bound`` in sip/subscriptions/unasked.py."""
    wire, gate = Wire(), Gate()
    wire.register(gate)
    for uri in ("sip:alice@example.com", "sip:u7x@192.0.2.99:5062"):
        wire.deliver(unasked("Event: message-summary", uri=uri), wire.flow(STRANGER))
        assert wire.one().status == 481
    assert not wire.told(UnaskedNotify)


@pytest.mark.parametrize(
    ("lines", "kind", "status"),
    [
        (("Event: presence",), SUMMARY, 481),
        ((), SUMMARY, 481),
        (("Event: ;x",), SUMMARY, 481),
        (("Event: message-summary",), "text/html", 415),
    ],
)
def test_D04_anything_else_unasked_is_refused(lines: tuple[str, ...], kind: str, status: int) -> None:
    wire, gate = Wire(), Gate()
    wire.register(gate)
    wire.deliver(unasked(*lines, kind=kind))
    assert wire.one().status == status
    assert not wire.told(UnaskedNotify)


def test_D04_the_answer_to_a_notify_says_where_we_are() -> None:
    mailbox = Mailbox(Wire())
    mailbox.accept()
    assert mailbox.notify("active").header("contact") == "<sip:u7x@192.0.2.99:5062>"


def test_D04_what_we_notify_of_is_said_in_what_makes_dialogs() -> None:
    """RFC 6665 section 8.2.2."""
    wire = Wire()
    wire.call()
    assert wire.one().header("allow-events") == "refer"
    wire = Wire()
    _, ok, caller = wire.answered()
    assert ok.header("allow-events") == "refer"
    wire.deliver(caller.request("OPTIONS"))
    assert wire.one().header("allow-events") == "refer"
    wire.deliver(Caller().request("OPTIONS"))
    assert wire.one().header("allow-events") == "refer"


def test_D04_whoever_takes_no_refer_notifies_of_nothing() -> None:
    """RFC 6665 section 4.4.4: the list says exactly what we notify of, and REFER is how each of ours begins."""
    wire = Wire(config={"allow": tuple(method for method in EngineConfig().allow if method != "REFER")})
    wire.deliver(Caller().request("OPTIONS"))
    assert not wire.one().has("allow-events")
    wire.deliver(Caller().request("SUBSCRIBE", "Event: refer"))
    refusal = wire.one()
    assert (refusal.status, refusal.has("allow-events")) == (489, False)
