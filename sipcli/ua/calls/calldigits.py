"""A call's DTMF: digits that are sent, and those that come in its audio (RFC 4733) or by INFO, in order to be read."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Literal

from sipcli.media.dtmf import TONE_MS
from sipcli.sip.syntax.message import Request
from sipcli.ua.calls.keypad import press
from sipcli.ua.notices import DtmfNotice

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call

__all__ = ["CallDigits", "DigitQueue", "digit_of_info"]

_MOST_DIGITS = 64
"""Digits that wait for a program to read them; after that the oldest go."""


class DigitQueue:
    """The digits that the other side pressed, in order, for whoever comes to read them."""

    def __init__(self) -> None:
        self._digits: deque[str] = deque(maxlen=_MOST_DIGITS)
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, digit: str) -> None:
        self._digits.append(digit)
        self._changed.set()

    def close(self) -> None:
        """The call is over: nobody waits any more."""
        self._closed = True
        self._changed.set()

    async def get(self, timeout: float | None = None) -> str | None:
        """The next digit, ``0-9 * # A-D``; None after *timeout* seconds without one, or when the call is over."""
        try:
            async with asyncio.timeout(timeout):
                while not self._digits and not self._closed:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        return self._digits.popleft() if self._digits else None


class CallDigits(DigitQueue):
    """The digits of one call, both ways."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call

    async def send(self, digits: str) -> None:
        """Send *digits* (``0-9 * # A-D``, a comma waits), and tell of each; returns when they are out."""
        await press(self._call, digits, self.sent)

    def sent(self, digit: str, via: str) -> None:
        """*digit* went out."""
        self._tell("out", digit, via, TONE_MS)

    def hear(self, digit: str, duration_ms: int, via: str = "rfc4733") -> None:
        """The other side pressed *digit*."""
        self._tell("in", digit, via, duration_ms)
        self.put(digit)
        if self._call.on_dtmf is not None:
            self._call.on_dtmf(digit, duration_ms)

    def hear_info(self, request: Request) -> None:
        """As some gateways still send them (``application/dtmf-relay``); any other INFO says nothing to us."""
        found = digit_of_info(request)
        if found is not None:
            self.hear(*found, "info")

    def _tell(self, direction: Literal["in", "out"], digit: str, via: str, duration_ms: int) -> None:
        call = self._call
        call.agent.tell(DtmfNotice(call=call.id, direction=direction, digit=digit, via=via, duration_ms=duration_ms))


def digit_of_info(request: Request) -> tuple[str, int] | None:
    """The digit and its milliseconds in an INFO body: ``application/dtmf-relay``, or one bare character."""
    text = request.body.decode("ascii", "replace")
    if request.content_type == "application/dtmf":
        digit, duration = text.strip(), 0
    elif request.content_type == "application/dtmf-relay":
        fields = dict(re.findall(r"(?im)^\s*(signal|duration)\s*=\s*([^\s]+)", text.lower()))
        digit, duration = fields.get("signal", ""), int(fields.get("duration", "0")[:5] or 0) if _whole(fields) else 0
    else:
        return None
    digit = {"10": "*", "11": "#"}.get(digit, digit.upper())
    return (digit, duration) if re.fullmatch(r"[0-9*#A-D]", digit) else None


def _whole(fields: dict[str, str]) -> bool:
    return fields.get("duration", "").isdecimal()
