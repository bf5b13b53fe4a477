"""The grid: no drift, no bunching."""

from __future__ import annotations

from sipcli.media.pacing import Pacer


def test_on_time_it_beats_once_per_period() -> None:
    pacer = Pacer(100.0)
    for n in range(1000):
        now = 100 + 0.02 * n
        assert pacer.due(now) == 1
        assert pacer.due(now) == 0
        assert pacer.due(now + 0.015) == 0


def test_small_delays_do_not_add_up() -> None:
    pacer = Pacer(0.0)
    beats = 0
    for n in range(50 * 60 * 10):
        beats += pacer.due(0.02 * n + 0.0007 * (n % 10))
    assert beats == 50 * 60 * 10
    assert pacer.due(600.0 - 2 * Pacer.EARLY_S) == 0
    assert pacer.due(600.0) == 1


def test_a_long_delay_is_skipped_not_caught_up() -> None:
    pacer = Pacer(0.0)
    assert pacer.due(0.0) == 1
    # 110 ms late: the beats at 20, 40, 60 and 80 ms were missed, the one at 100 is due.
    assert pacer.due(0.11) == 5
    assert pacer.due(0.11) == 0
    assert pacer.due(0.118) == 0
    assert pacer.due(0.12) == 1


def test_a_timer_a_little_early_counts() -> None:
    pacer = Pacer(0.0)
    pacer.due(0.0)
    assert pacer.due(0.018) == 0
    assert pacer.due(0.0199) == 1


def test_before_its_start_nothing_is_due() -> None:
    assert Pacer(10.0).due(9.0) == 0
