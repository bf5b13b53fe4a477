"""Requests that stand alone, awaited: what MESSAGE and OPTIONS came to (RFC 3428, RFC 3261 section 11)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from sipcli.sip.events import RequestDone
from sipcli.sip.oneshot import OneShot
from sipcli.sip.syntax.message import Response, code_and_reason
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.failures import AuthStory, failure_of
from sipcli.ua.net.tls import TlsFacts
from sipcli.ua.notices import MessageNotice, address_text

if TYPE_CHECKING:
    from sipcli.sip.engine import Engine
    from sipcli.ua.account import Account
    from sipcli.ua.agent import UserAgent

__all__ = ["MessageReport", "OneShots", "OptionsReport", "RequestReport", "ask_options", "send_message"]


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
            code, reason = code_and_reason(response)
            raise failure_of("request", account, code=code, reason=reason, why=done.why, story=story)
        return cls(response.status, response.reason, _ms(done.rtt_s), response)


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


async def send_message(
    agent: UserAgent,
    account: Account | None,
    target: SipUri,
    text: str,
    content_type: str,
    headers: Sequence[tuple[str, str]] = (),
) -> MessageReport:
    """Send a MESSAGE and tell of it (RFC 3428).  Raises the typed error when it is not taken."""
    name = None if account is None else account.name
    done = await agent.oneshots.run(lambda engine: engine.message(name, target, text.encode(), content_type, headers))
    story = None if account is None else account.take_story(done.oneshot.exchange.call_id)
    response = done.response
    code, reason = code_and_reason(response)
    agent.tell(MessageNotice(direction="out", remote=str(target), content_type=content_type, body=text, code=code))
    if response is None or response.status >= 300 or done.why is not None:
        raise failure_of("message", name, code=code, reason=reason, why=done.why, story=story)
    return MessageReport(code=response.status, reason=response.reason, rtt_ms=_ms(done.rtt_s))


async def ask_options(
    agent: UserAgent, account: Account | None, target: SipUri, headers: Sequence[tuple[str, str]] = ()
) -> OptionsReport:
    """Send OPTIONS (RFC 3261 section 11).  Raises the typed error when nobody answers."""
    name = None if account is None else account.name
    done = await agent.oneshots.run(lambda engine: engine.options(name, target, headers))
    story = None if account is None else account.take_story(done.oneshot.exchange.call_id)
    response, flow = done.response, done.oneshot.exchange.flow
    if response is None or flow is None:
        raise failure_of("options", name, why=done.why, story=story)
    return OptionsReport(
        code=response.status,
        reason=response.reason,
        rtt_ms=_ms(done.rtt_s),
        transport=flow.transport,
        remote=address_text(flow.remote),
        tls=flow.verified_identity,
        server=response.find("Server") or response.find("User-Agent"),
        allow=response.values("Allow"),
        supported=response.values("Supported"),
        accept=response.values("Accept"),
        tls_facts=agent.endpoint.tls_facts(flow),
    )


def _ms(seconds: float | None) -> float:
    return round((seconds or 0.0) * 1000, 1)
