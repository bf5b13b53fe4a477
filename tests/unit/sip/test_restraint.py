"""The pause between runs of a program whose account is refused, on a stepped clock (T04)."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.sip.authn.restraint import Restraint
from sipcli.sip.pauses import MAX_TIME


def longest(low: float, high: float) -> float:
    assert low == high / 2
    return high


def refused(times: int, at: float = 1000.0) -> Restraint:
    restraint = Restraint()
    for _ in range(times):
        restraint = restraint.refused(at, longest)
    return restraint


def test_T04_two_are_free_and_then_the_pause_doubles_to_half_an_hour() -> None:
    """RFC 5626 section 4.5."""
    pauses = [refused(times).left(1000.0) for times in range(1, 12)]
    assert pauses == [0, 0, 30, 60, 120, 240, 480, 960, 1800, 1800, 1800]


def test_it_ends_by_itself() -> None:
    restraint = refused(3)
    assert restraint.left(1029.0) == 1.0
    assert restraint.left(1030.0) == restraint.left(9e9) == 0.0


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    assert refused(9).left(10.0) == 0.0
    assert Restraint(9, 1000.0, 1000.0 + MAX_TIME + 1).left(1000.0) == 0.0


def test_it_survives_a_restart() -> None:
    assert Restraint.restored(refused(5).snapshot()) == refused(5)


@pytest.mark.parametrize(
    "junk",
    [
        {},
        {"refusals": "3", "since": 1.0, "until": 2.0},
        {"refusals": True, "since": 1.0, "until": 2.0},
        {"refusals": -1, "since": 1.0, "until": 2.0},
        {"refusals": 3, "since": None, "until": 2.0},
        {"refusals": 3, "since": 1.0, "until": float("inf")},
        {"refusals": 3, "since": float("nan"), "until": 2.0},
    ],
)
def test_what_makes_no_sense_restrains_nobody(junk: dict[str, Any]) -> None:
    assert Restraint.restored(junk) == Restraint()
