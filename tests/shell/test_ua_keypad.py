"""Digits by SIP INFO: in order, paced, refused, and where neither events nor INFO are wanted (item D06)."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from sipcli.errors import LocalProtocolError, MediaFailed, Refused
from sipcli.ua.calls.keypad import press
from tests.support.agentkit import site

RELAY = "application/dtmf-relay"


@dataclass
class FakeCall:
    """A call that is up, to somebody who takes *events* or not, and answers INFO with *code*."""

    mode: str | None = None
    events: bool = False
    code: int = 200
    is_up: bool = True
    id: str = "call1"
    said: list[Any] = field(default_factory=list)
    account: Any = None

    def __post_init__(self) -> None:
        self.wishes = {"dtmf_mode": self.mode}
        agreement = SimpleNamespace(send_event_type=101 if self.events else None)
        self.session = SimpleNamespace(agreement=agreement, dtmf=self.dtmf)

    async def dtmf(self, digits: str, *, inband: bool) -> None:
        self.said.append((digits, inband))

    async def send_request(self, method: str, *, body: bytes, content_type: str) -> Any:
        self.said.append((method, body, content_type))
        reason = "OK" if self.code == 200 else "Unsupported Media Type"
        return SimpleNamespace(code=self.code, reason=reason)


async def pressed(call: FakeCall, digits: str) -> None:
    await press(call, digits, lambda digit, via: call.said.append((digit, via)))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("sipcli.ua.calls.keypad.asyncio", SimpleNamespace(sleep=sleep))
    return waited


async def test_D06_each_digit_has_an_info_of_its_own_and_the_gateway_its_time(_no_waiting: list[float]) -> None:
    call = FakeCall("auto_info")
    await pressed(call, "5,#a")
    sent = [said for said in call.said if said[0] == "INFO"]
    assert sent == [("INFO", f"Signal={digit}\r\nDuration=100\r\n".encode(), RELAY) for digit in "5#A"]
    assert [said for said in call.said if said[0] != "INFO"] == [("5", "info"), ("#", "info"), ("A", "info")]
    assert _no_waiting == [0.16, 0.5, 0.16, 0.16]


async def test_D06_who_refuses_the_first_digit_is_sent_no_other() -> None:
    call = FakeCall("info", code=415)
    with pytest.raises((Refused, MediaFailed)) as caught:
        await pressed(call, "12")
    assert str(caught.value) == "digits by INFO failed: 415 Unsupported Media Type"
    assert caught.value.hint is not None and "--dtmf-mode auto" in caught.value.hint
    assert len(call.said) == 1, "nothing is told to have been sent"


async def test_by_info_nothing_is_sent_before_the_answer() -> None:
    with pytest.raises(LocalProtocolError, match="before the call is answered"):
        await pressed(FakeCall("info", is_up=False), "1")


@pytest.mark.parametrize(
    ("mode", "events", "said"),
    [
        (None, True, [("1", False), ("1", "rfc4733")]),
        (None, False, [("1", True), ("1", "inband")]),
        ("inband", True, [("1", True), ("1", "inband")]),
        ("auto_info", True, [("1", False), ("1", "rfc4733")]),
    ],
)
async def test_otherwise_they_go_with_the_audio(mode: str | None, events: bool, said: list[Any]) -> None:
    call = FakeCall(mode, events)
    await pressed(call, "1")
    assert call.said == said


async def test_the_account_says_how_where_the_call_does_not() -> None:
    call = FakeCall(account=SimpleNamespace(name="work", config=SimpleNamespace(dtmf_mode="info")))
    await pressed(call, "1")
    assert call.said[0][0] == "INFO"


async def test_what_is_no_digit_is_refused_before_anything_is_sent() -> None:
    call = FakeCall("info")
    with pytest.raises(LocalProtocolError, match="not a DTMF digit"):
        await pressed(call, "1x")
    assert call.said == []


async def test_D06_digits_by_info_on_the_wire(_no_waiting: list[float]) -> None:
    async with site(box={"challenged": frozenset()}) as s:
        account = s.account(register=False)
        call = await account.call("echo", audio="null", dtmf_mode="info")
        await call.answered(timeout=5)
        await call.dtmf("7*")
        infos = s.box.requests("INFO")
        assert [info.body for info in infos] == [b"Signal=7\r\nDuration=100\r\n", b"Signal=*\r\nDuration=100\r\n"]
        assert {info.content_type for info in infos} == {RELAY}
        assert not any(info.find("Info-Package") for info in infos), "legacy usage (RFC 6086 section 2)"
        assert [(n.digit, n.via) for n in s.told("dtmf") if n.direction == "out"] == [("7", "info"), ("*", "info")]
        await call.hangup()
