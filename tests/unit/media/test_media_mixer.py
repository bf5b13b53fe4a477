"""Everybody hears the sum of the others, whatever the phases of their beats."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.media.mixer import Mixer, mix

FRAME = 8


def frame(value: int) -> bytes:
    return array("h", [value] * (FRAME // 2)).tobytes()


def room(*members: str) -> Mixer:
    mixer = Mixer(FRAME)
    for member in members:
        mixer.join(member)
    return mixer


def test_everybody_hears_the_others_and_not_himself() -> None:
    mixer = room("a", "b", "c")
    for member, value in (("a", 1), ("b", 20), ("c", 300)):
        mixer.hear(member, frame(value))
    assert [mixer.speak(member) for member in "abc"] == [frame(320), frame(301), frame(21)]
    assert mixer.speak("a") == bytes(FRAME), "said once, heard once"


@pytest.mark.parametrize(("loud", "sum_"), [(20000, 32767), (-20000, -32768)])
def test_two_who_shout_are_cut_off_and_not_wrapped_around(loud: int, sum_: int) -> None:
    assert mix([frame(loud), frame(loud)]) == frame(sum_)


def test_who_leaves_is_not_heard_any_more_and_who_comes_hears_from_then_on() -> None:
    mixer = room("a", "b")
    mixer.hear("b", frame(7))
    mixer.leave("b")
    mixer.leave("b")
    assert mixer.speak("a") == bytes(FRAME) and mixer.members == ("a",)
    mixer.hear("a", frame(9))
    mixer.join("c")
    assert mixer.speak("c") == bytes(FRAME)


def test_a_reader_that_sleeps_hears_the_latest_60_ms_and_no_more() -> None:
    mixer = room("a", "b")
    for value in range(1, 10):
        mixer.hear("a", frame(value))
    assert [mixer.speak("b") for _ in range(4)] == [frame(7), frame(8), frame(9), bytes(FRAME)]


@given(order=st.lists(st.permutations(["a", "b", "c"]), min_size=2, max_size=30))
def test_whatever_the_order_of_the_beats_nothing_is_lost_and_silence_comes_once(order: list[list[str]]) -> None:
    """Each beat every member brings a frame and takes one, in any order: each hears each other's frames in order."""
    mixer = room("a", "b", "c")
    digit = {"a": 1, "b": 100, "c": 10_000}
    heard: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for beat in order:
        for member in beat:
            mixer.hear(member, frame(digit[member]))
            heard[member].append(array("h", mixer.speak(member))[0])
    for member, sums in heard.items():
        for other in set(digit) - {member}:
            shares = [value // digit[other] % 100 for value in sums]
            assert set(shares) <= {0, 1} and shares.count(0) <= 1, f"{member} heard {other}: {shares}"
