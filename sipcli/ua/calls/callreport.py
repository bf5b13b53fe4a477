"""What a call came to: when it rang and was answered, how its audio was, or why it was never up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sipcli.errors import SipcliError
from sipcli.media.quality import AudioVerdict, MediaReport, RxStats, TxStats
from sipcli.sip.calls.invite import OutgoingCall
from sipcli.sip.events import CallEnded
from sipcli.ua.failures import failure_of

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call

__all__ = ["CallReport", "CallTimes", "why_lost", "why_not", "why_over"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """What a call came to.  Times in milliseconds, None where it did not come so far.

    *pdd_ms*: from dialling to the first sign of the far end; *setup_ms*: to the
    answer; *ring_ms* and *talk_ms*: how long it rang, and was up.  *lost*: why it
    ended although nobody hung up; *bye_answered*: what became of our BYE, None
    where there was none, or nobody waited for it.
    """

    by: Literal["local", "remote", "network"]
    code: int | None = None
    reason: str = ""
    setup_ms: float | None = None
    ring_ms: float | None = None
    talk_ms: float | None = None
    pdd_ms: float | None = None
    media: MediaReport = MediaReport()  # noqa: RUF009 - frozen
    lost: str | None = None
    bye_answered: bool | None = None

    @property
    def codec(self) -> str | None:
        return self.media.codec

    @property
    def rx(self) -> RxStats:
        return self.media.rx

    @property
    def tx(self) -> TxStats:
        return self.media.tx

    @property
    def audio(self) -> AudioVerdict:
        return self.media.audio


class CallTimes:
    """The instants that matter, on the loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began = loop.time()
        self._signs: float | None = None
        self._rang: float | None = None
        self._up: float | None = None
        self._down: float | None = None

    @property
    def is_up(self) -> bool:
        """It was answered, at some time."""
        return self._up is not None

    def mark_sign(self, *, rings: bool) -> None:
        """The far end gave a sign of life; *rings* if it said that it does."""
        now = self._loop.time()
        self._signs = self._signs or now
        if rings:
            self._rang = self._rang or now

    def mark_up(self) -> None:
        self._up = self._loop.time()
        self._signs = self._signs or self._up

    def mark_down(self) -> None:
        """We hung up; how long the BYE takes is no talk."""
        self._down = self._down or self._loop.time()

    def report(self, event: CallEnded, media: MediaReport, *, lost: str | None) -> CallReport:
        up, now = self._up, self._down or self._loop.time()
        return CallReport(
            by=event.by,
            code=event.code,
            reason=event.reason,
            setup_ms=_ms(self._began, up),
            ring_ms=_ms(self._rang, up or now),
            talk_ms=_ms(up, now),
            pdd_ms=_ms(self._began, self._signs),
            media=media,
            lost=lost if self.is_up else None,
            bye_answered=event.bye_answered,
        )


def why_not(call: Call, event: CallEnded, *, was_up: bool) -> SipcliError | None:
    """None when *call* was answered, or when we ended it ourselves; else why it was not."""
    account = call.account
    story = None if account is None else account.take_story(call.sip_call_id)
    if was_up or call.direction == "in" or (event.by == "local" and event.why is None):
        return None
    exchange = call.core.exchange if isinstance(call.core, OutgoingCall) else None
    flow = None if exchange is None else exchange.flow
    return failure_of(
        "call",
        None if account is None else account.name,
        code=event.code,
        reason=event.reason,
        why=event.why,
        story=story,
        server=None if flow is None else flow.remote[0],
    )


def why_lost(event: CallEnded, verdict: str | None) -> str | None:
    """Why a call ended although nobody hung up; *verdict*: what its silence came to."""
    if event.by == "local" or not isinstance(event.why, str):
        return None
    return verdict or event.why.partition(": ")[2] or event.why


def why_over(event: CallEnded, verdict: str | None) -> str | None:
    """What *by* and the code do not say of the end of a call, for people."""
    return "our BYE was not answered" if event.bye_answered is False else why_lost(event, verdict)


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round((end - start) * 1000, 1)
