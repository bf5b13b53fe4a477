"""Why a call ended, in the words that a person is told."""

from __future__ import annotations

from typing import Any, Literal, cast

import pytest

from sipcli.sip.auth import GiveUp
from sipcli.sip.events import CallEnded
from sipcli.ua.calls.callreport import why_lost, why_over


def ended(by: Literal["local", "remote", "network"], why: Any, *, bye_answered: bool | None = None) -> CallEnded:
    return CallEnded(cast("Any", None), by, why=why, bye_answered=bye_answered)


@pytest.mark.parametrize(
    ("by", "why", "verdict", "said"),
    [
        ("network", "timeout: nobody acknowledged our answer", None, "nobody acknowledged our answer"),
        ("network", "protocol: a: b", None, "a: b"),
        ("remote", "refused", None, "refused"),
        ("network", "timeout: no answer", "silent for 30 s", "silent for 30 s"),
        ("local", "timeout: it rang too long", "silent for 30 s", None),
        ("remote", GiveUp.NO_CREDENTIALS, "silent for 30 s", None),
        ("remote", None, "silent for 30 s", None),
    ],
)
def test_what_ended_a_call_that_nobody_hung_up(by: Any, why: Any, verdict: str | None, said: str | None) -> None:
    assert why_lost(ended(by, why), verdict) == said
    assert why_over(ended(by, why), verdict) == said


def test_a_bye_without_an_answer_is_told_whatever_else_there_is() -> None:
    event = ended("network", "timeout: no answer", bye_answered=False)
    assert why_over(event, None) == "our BYE was not answered"
    assert why_lost(event, None) == "no answer"
