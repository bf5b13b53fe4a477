"""Requests that stand alone, awaited: what MESSAGE and OPTIONS came to (RFC 3428, RFC 3261 section 11)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from sipcli.sip.events import RequestDone
from sipcli.sip.message import Response
from sipcli.sip.oneshot import OneShot
from sipcli.ua.failures import AuthStory, failure_of
from sipcli.ua.tls import TlsFacts

if TYPE_CHECKING:
    from sipcli.sip.engine import Engine

__all__ = ["MessageReport", "OneShots", "OptionsReport", "RequestReport"]


class MessageReport(NamedTuple):
    """A MESSAGE that was taken: 200 (delivered) or 202 (kept for later)."""

    code: int
    reason: str
    rtt_ms: float


class OptionsReport(NamedTuple):
    """What answered a ping.  *tls* is the verified identity, *remote* the address that answered.

    *tls_facts* is what the handshake agreed on, while the connection is open.
    """

    code: int
    reason: str
    rtt_ms: float
    transport: str
    remote: str
    tls: str | None
    server: str | None
    allow: tuple[str, ...]
    supported: tuple[str, ...]
    accept: tuple[str, ...]
    tls_facts: TlsFacts | None = None


class RequestReport(NamedTuple):
    """What a request of any method came to: its last final response."""

    code: int
    reason: str
    rtt_ms: float
    response: Response

    @classmethod
    def of(cls, done: RequestDone, account: str | None, story: AuthStory | None) -> RequestReport:
        """Raises the typed error when there is no answer, or when a challenge to it was not met."""
        response = done.response
        if response is None or done.why is not None:
            code, reason = (None, "") if response is None else (response.status, response.reason)
            raise failure_of("request", account, code=code, reason=reason, why=done.why, story=story)
        return cls(response.status, response.reason, round((done.rtt_s or 0.0) * 1000, 1), response)


class OneShots:
    """Joins one-shots under way with those who wait for them."""

    def __init__(self, turn: Callable[[], AbstractContextManager[Engine]]) -> None:
        self._turn = turn
        self._waiting: dict[OneShot, asyncio.Future[RequestDone]] = {}

    async def run(self, start: Callable[[Engine], OneShot]) -> RequestDone:
        """Send what *start* makes, and wait for its end.  Cancelled, it is stopped, a pending challenge included."""
        with self._turn() as engine:
            oneshot = start(engine)
            future: asyncio.Future[RequestDone] = asyncio.get_running_loop().create_future()
            self._waiting[oneshot] = future
        try:
            return await future
        finally:
            if self._waiting.pop(oneshot, None) is not None and not oneshot.done:
                with self._turn():
                    oneshot.stop()

    def on_done(self, event: RequestDone) -> None:
        future = self._waiting.pop(event.oneshot, None)
        if future is not None and not future.done():
            future.set_result(event)
