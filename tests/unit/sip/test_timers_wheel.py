"""The wheel: order, lazy deletion, and no owner kept alive; the values of RFC 3261 table 4."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipcli.sip.transactions.tables import In
from sipcli.sip.transactions.timers import TimerValues, Wheel


class Owner:
    def on_timer(self, name: str) -> None:  # pragma: no cover - the wheel never calls it
        raise AssertionError


@pytest.mark.parametrize(
    ("name", "udp", "tcp"),
    [
        ("A", 0.5, None),
        ("B", 32, 32),
        ("D", 32, 0),
        ("E", 0.5, None),
        ("F", 32, 32),
        ("G", 0.5, None),
        ("H", 32, 32),
        ("I", 5, 0),
        ("J", 32, 0),
        ("K", 5, 0),
        ("L", 32, 32),
        ("M", 32, 32),
        ("CANCEL", 32, 32),
        ("TRYING", 0.2, 0.2),
        ("LATE_TRYING", 3.5, 3.5),
    ],
)
def test_durations_are_those_of_table_4(name: str, udp: float, tcp: float | None) -> None:
    values = TimerValues()
    assert values.duration(name, reliable=False) == udp
    assert values.duration(name, reliable=True) == tcp


def test_timer_d_does_not_shrink_with_t1() -> None:
    values = TimerValues(t1=0.01)
    assert (values.b, values.d) == (0.64, 32.0)


def test_every_timer_of_the_tables_has_a_duration() -> None:
    timers = [event for event in In if len(event) == 1 or event in (In.TRYING, In.LATE_TRYING, In.CANCEL)]
    assert len(timers) == 15
    for timer in timers:
        TimerValues().duration(timer, reliable=False)
    with pytest.raises(KeyError):
        TimerValues().duration("Z", reliable=False)


def test_what_is_due_comes_by_instant_and_then_in_the_order_of_arming() -> None:
    wheel, one, two = Wheel(), Owner(), Owner()
    wheel.arm(one, "B", 2.0)
    wheel.arm(two, "A", 1.0)
    wheel.arm(one, "A", 1.0)
    assert wheel.next() == 1.0
    assert list(wheel.due(0.99)) == []
    assert list(wheel.due(1.0)) == [(two, "A"), (one, "A")]
    assert list(wheel.due(5.0)) == [(one, "B")]
    assert wheel.next() is None


def test_arming_again_replaces_and_disarming_forgets() -> None:
    wheel, owner = Wheel(), Owner()
    wheel.arm(owner, "A", 1.0)
    wheel.arm(owner, "A", 3.0)
    wheel.arm(owner, "B", 2.0)
    assert wheel.armed(owner) == {"A": 3.0, "B": 2.0}
    wheel.disarm(owner, "B")
    wheel.disarm(owner, "never armed")
    assert list(wheel.due(2.5)) == []
    assert wheel.next() == 3.0
    wheel.disarm(owner)
    wheel.disarm(owner)
    assert len(wheel) == 0
    assert wheel.next() is None


def test_a_timer_armed_while_others_fire_is_due_in_the_same_round() -> None:
    wheel, owner = Wheel(), Owner()
    wheel.arm(owner, "A", 1.0)
    fired = []
    for who, name in wheel.due(1.0):
        fired.append(name)
        if name == "A":
            wheel.arm(who, "K", 1.0)
    assert fired == ["A", "K"]


def test_a_disarmed_timer_keeps_its_owner_not_alive() -> None:
    wheel, owner = Wheel(), Owner()
    wheel.arm(owner, "L", 32.0)
    wheel.disarm(owner)
    ghost = weakref.ref(owner)
    del owner
    gc.collect()
    assert ghost() is None


def test_dead_timers_do_not_pile_up() -> None:
    wheel = Wheel()
    for number in range(10_000):
        owner = Owner()
        wheel.arm(owner, "F", 32.0 + number)
        wheel.disarm(owner)
    assert len(wheel) == 0
    assert len(wheel._heap) < 200


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["arm", "disarm", "due"]), st.integers(0, 3), st.sampled_from("ABC"), st.integers(0, 9)
        )
    )
)
def test_the_wheel_agrees_with_a_plain_dictionary(steps: list[tuple[str, int, str, int]]) -> None:
    wheel, owners = Wheel(), [Owner() for _ in range(4)]
    model: dict[tuple[int, str], float] = {}
    for verb, who, name, when in steps:
        if verb == "arm":
            wheel.arm(owners[who], name, when)
            model[who, name] = when
        elif verb == "disarm":
            wheel.disarm(owners[who], name)
            model.pop((who, name), None)
        else:
            due = [(owners.index(owner), fired) for owner, fired in wheel.due(when)]  # type: ignore[arg-type]
            assert sorted(due) == sorted(key for key, at in model.items() if at <= when)
            assert [model[key] for key in due] == sorted(model[key] for key in due)
            model = {key: at for key, at in model.items() if at > when}
        assert wheel.next() == min(model.values(), default=None)
        assert len(wheel) == len(model)
