"""Telephone events (RFC 4733): what leaves, what is understood, what is lost."""

from __future__ import annotations

import pytest

from sipcli.errors import LocalProtocolError, ParseError
from sipcli.media.dtmf import (
    DIGITS,
    DtmfMode,
    DtmfReceived,
    DtmfReceiver,
    DtmfSender,
    EventPayload,
    check_digits,
    event_steps,
    way_of,
)
from sipcli.media.rtp import RtpPacket


def _event(digit: str, timestamp: int, duration: int, *, end: bool = False) -> RtpPacket:
    payload = EventPayload(DIGITS.index(digit), end, 10, duration).to_bytes()
    return RtpPacket(payload_type=101, sequence=0, timestamp=timestamp, ssrc=1, payload=payload)


def test_D06_the_payload_of_the_rfc() -> None:
    """RFC 4733 section 2.3.1: event, E, R, volume, duration."""
    assert EventPayload(9, True, 7, 1600).to_bytes() == bytes([9, 0x87, 0x06, 0x40])
    assert EventPayload.parse(bytes([9, 0x87, 0x06, 0x40])) == EventPayload(9, True, 7, 1600)
    with pytest.raises(ParseError):
        EventPayload.parse(b"\x09\x87\x06")


def test_D06_one_digit_on_the_wire() -> None:
    sender = DtmfSender()
    sender.push("5")
    steps = []
    while not sender.idle:
        steps.append(sender.step())
    sent = [step for step in steps if step is not None]
    assert {step.payload.event for step in sent} == {5}
    assert [step.marker for step in sent] == [True] + [False] * 6
    assert [step.payload.duration for step in sent] == [160, 320, 480, 640, 800, 800, 800]
    assert [step.payload.end for step in sent] == [False] * 4 + [True] * 3
    assert sender.step() is None
    assert list(sender.started) == ["5"]


def test_digits_are_apart_and_commas_wait() -> None:
    sender = DtmfSender()
    sender.push("1,2")
    steps = []
    while not sender.idle:
        steps.append(sender.step())
    first_of_two = next(n for n, step in enumerate(steps) if step and step.payload.event == 2)
    assert 600 <= 20 * first_of_two <= 700


def test_what_cannot_be_dialled() -> None:
    assert check_digits("12#ab,") == "12#AB,"
    with pytest.raises(LocalProtocolError, match="'x'"):
        check_digits("12x")


def test_D06_a_digit_is_heard_once() -> None:
    receiver = DtmfReceiver()
    heard = []
    for n, (duration, end) in enumerate([(160, False), (320, False), (480, True), (480, True), (480, True)]):
        heard += receiver.receive(_event("7", 1000, duration, end=end), 0.02 * n)
    assert heard == [DtmfReceived("7", 60)]
    assert receiver.expire(10.0) == []


def test_the_same_digit_twice_is_two() -> None:
    receiver = DtmfReceiver()
    heard = []
    for timestamp in (1000, 3000):
        heard += receiver.receive(_event("1", timestamp, 800, end=True), timestamp / 8000)
    assert heard == [DtmfReceived("1", 100)] * 2


def test_an_event_whose_end_is_lost_ends_by_itself() -> None:
    receiver = DtmfReceiver()
    assert receiver.receive(_event("#", 1000, 320), 1.0) == []
    assert receiver.expire(1.1) == []
    assert receiver.expire(1.2) == [DtmfReceived("#", 40)]
    # Its end, after all: too late to be another one.
    assert receiver.receive(_event("#", 1000, 800, end=True), 1.3) == []


def test_the_next_event_ends_the_one_before() -> None:
    receiver = DtmfReceiver()
    receiver.receive(_event("1", 1000, 320), 1.0)
    assert receiver.receive(_event("2", 3000, 160), 1.1) == [DtmfReceived("1", 40)]


def test_reordered_leftovers_are_ignored() -> None:
    receiver = DtmfReceiver()
    heard = receiver.receive(_event("1", 1000, 800, end=True), 1.0)
    heard += receiver.receive(_event("2", 3000, 160), 1.1)
    heard += receiver.receive(_event("1", 1000, 800, end=True), 1.11)
    heard += receiver.receive(_event("2", 3000, 800, end=True), 1.2)
    heard += receiver.receive(_event("1", 1000, 800, end=True), 1.21)
    assert heard == [DtmfReceived("1", 100), DtmfReceived("2", 100)]


def test_a_longest_duration_survives_reordering() -> None:
    receiver = DtmfReceiver()
    receiver.receive(_event("A", 1000, 640), 1.0)
    receiver.receive(_event("A", 1000, 480), 1.01)
    assert receiver.expire(2.0) == [DtmfReceived("A", 80)]


def test_events_that_are_no_digits_are_ignored() -> None:
    receiver = DtmfReceiver()
    flash = RtpPacket(
        payload_type=101, sequence=0, timestamp=1, ssrc=1, payload=EventPayload(16, True, 0, 800).to_bytes()
    )
    assert receiver.receive(flash, 0.0) == []


@pytest.mark.parametrize(
    ("mode", "to_who_takes_events", "to_others"),
    [
        ("auto", "rfc4733", "inband"),
        ("auto_info", "rfc4733", "info"),
        ("info", "info", "info"),
        ("inband", "inband", "inband"),
    ],
)
def test_D06_info_is_the_fall_back_of_who_wants_it(mode: DtmfMode, to_who_takes_events: str, to_others: str) -> None:
    assert (way_of(mode, events=True), way_of(mode, events=False)) == (to_who_takes_events, to_others)


def test_D06_an_event_longer_than_a_packet_can_say_is_none_of_ours() -> None:
    """RFC 4733 section 2.5.1.3: 0xFFFF units are the longest; ours last 100 ms on any clock."""
    for clock in (8000, 16000, 48000):
        durations = [step.payload.duration for step in event_steps(5, clock) if step is not None]
        assert durations == sorted(durations) and durations[-1] == clock // 10 <= 0xFFFF
