"""How soon a registration is tried again, at the very edges of its times (RFC 5626 section 4.5; C05)."""

from __future__ import annotations

from typing import Any, cast

import pytest

from sipcli.sip.registrations.pace import Pace


class Clock:
    """All that a Pace wants of the core: the instant, and a chance that always gives the longest."""

    now = 1000.0

    def uniform(self, low: float, high: float) -> float:
        return high


def pace() -> tuple[Pace, Clock]:
    clock = Clock()
    return Pace(cast("Any", clock)), clock


@pytest.mark.parametrize(("lasted", "pause"), [(119.9, 60.0), (120.0, 2.0), (3600.0, 2.0)])
def test_C05_a_flow_that_lasted_two_minutes_was_a_good_one(lasted: float, pause: float) -> None:
    """The one before did not last: the second that breaks too soon is not sought at once."""
    ours, clock = pace()
    assert ours.lost(clock.now - 1) == 2.0
    clock.now += lasted
    assert ours.lost(clock.now - lasted) == pause


@pytest.mark.parametrize(("later", "pause"), [(119.9, 2.0), (120.0, 60.0)])
def test_C05_what_is_lost_is_sought_for_two_minutes(later: float, pause: float) -> None:
    ours, clock = pace()
    ours.lost(clock.now - 3600)
    clock.now += later
    assert ours.failed(heard=False, bound_at=None) == pause
