"""Notices behave like the frozen keyword dataclasses that type checkers take them for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sipcli.media.quality import MediaReport, TxStats
from sipcli.ua.calls.callnotices import CallTeller
from sipcli.ua.notices import AuthDone, RegistrationNotice, StatsNotice, TxFigures, Via, WarningNotice


def done(**changes: object) -> AuthDone:
    fields = {"challenge": "c1", "outcome": "answered", "waited_ms": 1.5, "scheme": "Digest", "algorithm": None}
    return AuthDone(**{**fields, "cause": "fresh", **changes})  # type: ignore[arg-type]


def test_a_notice_is_frozen() -> None:
    notice = WarningNotice(code="x", message="y")
    with pytest.raises(AttributeError, match="frozen"):
        notice.code = "z"  # type: ignore[misc]
    assert notice.code == "x"


@pytest.mark.parametrize(
    ("fields", "odd"), [({"code": "x"}, "message"), ({"code": "x", "message": "y", "colour": "red"}, "colour")]
)
def test_a_field_that_is_missing_or_unknown_is_named(fields: dict[str, str], odd: str) -> None:
    with pytest.raises(TypeError, match=f"WarningNotice: missing or unknown: {odd}"):
        WarningNotice(**fields)


def test_an_optional_key_that_is_none_is_left_out_and_a_nullable_one_is_not() -> None:
    assert done().to_json() == {
        "challenge": "c1",
        "outcome": "answered",
        "waited_ms": 1.5,
        "scheme": "Digest",
        "algorithm": None,
        "cause": "fresh",
    }
    notice = RegistrationNotice(account="a", state="trying", via=Via(transport="udp", remote="192.0.2.1:5060"))
    assert notice.to_json() == {
        "account": "a",
        "state": "trying",
        "via": {"transport": "udp", "remote": "192.0.2.1:5060"},
    }
    assert notice.code is None


def test_the_keys_come_in_the_order_of_the_schema_whatever_the_call_says() -> None:
    notice = WarningNotice(hint="h", message="m", code="c")
    assert list(notice.to_json()) == ["code", "message", "hint"]
    assert repr(notice) == "WarningNotice(code='c', message='m', hint='h')"


def test_equal_where_all_fields_are_and_the_kind_is() -> None:
    assert done() == done()
    assert hash(done()) == hash(done())
    assert done() != done(waited_ms=2.0)
    assert TxFigures(packets=1) != StatsNotice
    assert len({done(), done(), done(scheme="Bearer")}) == 2


def test_the_names_of_events_are_no_fields() -> None:
    assert WarningNotice(code="c", message="m").event == "warning"
    assert "event" not in WarningNotice(code="c", message="m").to_json()


def test_stats_show_the_packets_that_were_never_made() -> None:
    """Whoever reads the events must be able to tell a process that was held up from a network that lost them."""
    told: list[Any] = []
    teller = CallTeller(SimpleNamespace(tell=told.append), SimpleNamespace(id="call1"))  # type: ignore[arg-type]
    teller.stats(MediaReport(tx=TxStats(packets=97, octets=15520, skipped=3)))
    (notice,) = told
    assert notice.to_json()["tx"] == {"packets": 97, "rms_dbfs": None, "speech_pct": None, "skipped": 3}
