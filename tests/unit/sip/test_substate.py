"""Event and Subscription-State, as NOTIFYs carry them, and whose a NOTIFY is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.errors import ParseError
from sipcli.sip.subscriptions.substate import EventType, SubscriptionState
from tests.support.pair import Wire
from tests.support.peer import Caller

PAUSE = 45.0


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("active;expires=600", SubscriptionState("active", None, 600)),
        ("Pending ; Expires=60", SubscriptionState("pending", None, 60)),
        ("terminated;reason=noresource;expires=9", SubscriptionState("terminated", "noresource")),
        ('terminated;reason="Giveup";retry-after=120', SubscriptionState("terminated", "giveup", None, 120)),
        ("lingering;expires=0", SubscriptionState("active", None, 0)),
        ("active;expires=x", SubscriptionState("active")),
        ("active;expires=99999999999999999999", SubscriptionState("active", None, 2**32 - 1)),
    ],
)
def test_D04_subscription_state_is_read(value: str, want: SubscriptionState) -> None:
    assert SubscriptionState.parse(value) == want


@pytest.mark.parametrize("value", ["", ";reason=x", "active;;", "act ive", 'active;reason="'])
def test_D04_a_subscription_state_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ParseError):
        SubscriptionState.parse(value)


@pytest.mark.parametrize(
    ("value", "again"),
    [
        ("deactivated;retry-after=900", 0.0),
        ("timeout;retry-after=900", 0.0),
        ("probation;retry-after=900", 900.0),
        ("probation", PAUSE),
        ("giveup;retry-after=7", 7.0),
        ("giveup", PAUSE),
        ("rejected;retry-after=1", None),
        ("noresource;retry-after=1", None),
        ("invariant;retry-after=1", None),
        ("of-tomorrow", PAUSE),
        ("of-tomorrow;retry-after=5", 5.0),
    ],
)
def test_D04_each_reason_says_when_to_come_back(value: str, again: float | None) -> None:
    assert SubscriptionState.parse(f"terminated;reason={value}").again_in(PAUSE) == again


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("message-summary", EventType("message-summary")),
        ("refer;id=93809824", EventType("refer", "93809824")),
        ("presence.winfo ; x=1;ID=a", EventType("presence.winfo", "a")),
    ],
)
def test_D04_an_event_is_its_package_and_id(value: str, want: EventType) -> None:
    assert EventType.parse(value) == want


@given(st.text())
def test_D04_any_text_is_read_or_refused(value: str) -> None:
    for parse in (EventType.parse, SubscriptionState.parse):
        try:
            parse(value)
        except ParseError:
            pass


def test_D04_a_notify_for_no_subscription_earns_481() -> None:
    """Outside of any dialog, in one that nobody knows, and in a call that never sent a REFER."""
    lines = ("Event: refer", "Subscription-State: active;expires=60")
    wire = Wire()
    for to in ("<sip:alice@example.com>", "<sip:alice@example.com>;tag=unknown"):
        wire.deliver(Caller(to=to).request("NOTIFY", *lines))
        assert wire.one().status == 481
    _, _, caller = wire.answered()
    wire.deliver(caller.request("NOTIFY", *lines))
    assert wire.one().status == 481


def test_D04_a_subscribe_to_us_earns_489_with_allow_events() -> None:
    wire = Wire()
    wire.deliver(Caller().request("SUBSCRIBE", "Event: presence", "Contact: <sip:x@192.0.2.1>"))
    outside = wire.one()
    _, _, caller = wire.answered()
    wire.deliver(caller.request("SUBSCRIBE", "Event: dialog"))
    for reply in (outside, wire.one()):
        assert (reply.status, reply.header("allow-events")) == (489, "refer")
