"""What a failed request of ours inside a call means for the call: RFC 5057 section 5.1, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sipcli.sip import events
from sipcli.sip.calls.consequences import Extent, consequence, extent
from sipcli.sip.calls.indialog import CallState
from sipcli.sip.reasons import REASONS
from sipcli.sip.syntax.message import Response
from tests.support.pair import ANSWER, OFFER, Heard, Wire, response

USAGE = {405, 480, 481, 489, 501}
DIALOG = {404, 410, 416, 482, 483, 484, 485, 502, 604}
TARGET = {404, 410, 416, 484, 485, 604}
TABLE_1 = (
    *range(400, 404), 406, 407, 408, *range(412, 416), 417, *range(420, 424), 428, 429, *range(436, 439), 486, 487, 488,
    491, 493, 494, 500, 503, 504, 505, 513, 580, 600, 603, 606, *USAGE, *DIALOG,
)  # fmt: skip
HANDLED = {401, 407, 491}
"""Of these a request is sent again."""


def _ask(method: str, *headers: tuple[str, str]) -> Callable[[Wire, Any], Any]:
    return lambda wire, call: wire.do(lambda: call.request(method, headers))


ASKS: dict[str, Callable[[Wire, Any], Any]] = {
    "INVITE": lambda wire, call: wire.do(lambda: call.reinvite(OFFER)),
    "UPDATE": _ask("UPDATE"),
    "INFO": _ask("INFO"),
    "REFER": lambda wire, call: wire.do(lambda: call.refer("<sip:carol@example.com>")),
    "OPTIONS": _ask("OPTIONS"),
    "MESSAGE": _ask("MESSAGE"),
    "NOTIFY": _ask("NOTIFY", ("Event", "presence"), ("Subscription-State", "active")),
}


def ends(method: str, status: int) -> bool:
    """The table, read once more: by the notes 2, 3 and 12, and section 5.3."""
    if method == "MESSAGE":
        return False
    if status in DIALOG:
        return not (method == "REFER" and status in TARGET)
    if status in (408, 481):
        return method != "NOTIFY"
    if status in (405, 501):
        return method == "INVITE"
    return status == 480 and method in ("INVITE", "UPDATE", "INFO")


@pytest.mark.parametrize("status", TABLE_1)
def test_the_extent_of_each_status_is_that_of_table_1(status: int) -> None:
    expected = Extent.USAGE if status in USAGE else Extent.DIALOG if status in DIALOG else Extent.REQUEST
    assert extent(status) is expected


@pytest.mark.parametrize("unknown", [499, 599, 699])
def test_an_unknown_status_concerns_the_request_alone(unknown: int) -> None:
    assert extent(unknown) is Extent.REQUEST
    assert consequence("INVITE", Response.build(unknown, "Who Knows", [])) is None


@pytest.mark.parametrize("status", sorted({*TABLE_1} - HANDLED))
@pytest.mark.parametrize("method", ASKS)
def test_B10_the_call_ends_by_the_table_and_by_nothing_else(method: str, status: int) -> None:
    wire = Wire()
    call, _, _ = wire.established()
    ASKS[method](wire, call)
    wire.deliver(response(wire.one(), status, "So It Is"))
    after = [heard.method for heard in wire.take() if heard.method != "ACK"]
    if not ends(method, status):
        assert (call.state, after) == (CallState.CONFIRMED, [])
        return
    assert after == ([] if status == 481 else ["BYE"])
    ended = wire.last(events.CallEnded)
    assert call.state is CallState.ENDED, "nobody waits for an answer to that BYE"
    assert (ended.code, ended.bye_answered) == (status, None)
    assert ended.by == ("network" if status == 408 or status in DIALOG else "remote")
    assert isinstance(ended.why, str)
    if status not in (408, 481):
        assert ended.why.startswith("protocol: ") and ended.why.endswith(f"({status} {REASONS[status]})")
    wire.drain()
    assert not wire.engine._core.dialogs


@pytest.mark.parametrize("method", ASKS)
def test_B10_who_does_not_answer_at_all_is_gone(method: str) -> None:
    """Section 5.2; that OPTIONS and REFER are no part of the call does not keep it up (RFC 3261 section 12.2.1.2)."""
    wire = Wire()
    call, _, _ = wire.established()
    ASKS[method](wire, call)
    wire.run(32.1)
    gone = method not in ("NOTIFY", "MESSAGE")
    assert (call.state is CallState.ENDED) is gone
    assert ("BYE" in [heard.method for heard in wire.take()]) is gone


@pytest.mark.parametrize("status", sorted({*TABLE_1} - {401, 407}))
def test_B10_any_answer_to_our_bye_is_the_end(status: int) -> None:
    wire = Wire()
    call, _, _ = wire.established()
    wire.do(call.hangup)
    wire.deliver(response(wire.one(), status, "So It Is"))
    ended = wire.last(events.CallEnded)
    assert (ended.by, ended.code, ended.bye_answered) == ("local", None, True)
    wire.drain()


def notified(wire: Wire) -> tuple[Any, Heard]:
    """The NOTIFY about a transfer that was asked of us."""
    call, _, bob = wire.established()
    wire.deliver(bob.request("REFER", "Refer-To: <sip:carol@example.com>"))
    wire.do(wire.last(events.CallReferred).referral.accept)
    return call, wire.take()[-1]


@pytest.mark.parametrize("status", [*sorted(USAGE), *sorted(DIALOG), 408, 500, 603])
def test_B10_the_notify_of_a_transfer_is_no_part_of_the_call(status: int) -> None:
    """The example of section 5.1: a 481 ends the subscription, a 404 everything."""
    wire = Wire()
    call, notify = notified(wire)
    wire.deliver(response(notify, status, "So It Is"))
    assert (call.state is CallState.ENDED) is (status in DIALOG)
    assert [heard.method for heard in wire.take()] == (["BYE"] if status in DIALOG else [])


def test_B10_what_waits_behind_the_request_never_goes_out() -> None:
    wire = Wire()
    call, _, _ = wire.established()
    ASKS["INVITE"](wire, call)
    first = wire.one()
    wire.do(lambda: call.reinvite(ANSWER))
    info = wire.do(lambda: call.request("INFO"))
    wire.take()
    wire.deliver(response(first, 404, "Not Found"))
    assert [heard.method for heard in wire.take()] == ["ACK", "BYE"]
    assert not info.done
    wire.drain()


def test_B10_a_callee_ends_by_the_same_rule() -> None:
    wire = Wire()
    call, _, caller = wire.answered()
    wire.do(lambda: call.request("INFO"))
    wire.deliver(response(wire.one(), 604, "Does Not Exist Anywhere"))
    assert wire.one().method == "BYE"
    wire.deliver(caller.request("INFO"))
    assert [heard.status for heard in wire.take() if heard.is_response] == [481]
