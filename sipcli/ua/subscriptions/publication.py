"""Publications, awaited: our own state at a server, for those who subscribe to it (RFC 3903)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from sipcli.errors import SipcliError
from sipcli.sip.events import PublicationChanged, PublicationPhase
from sipcli.sip.subscriptions.publication import Publication as CorePublication
from sipcli.ua.calls.callchange import quiet_future
from sipcli.ua.failures import failure_of
from sipcli.ua.subscriptions.softnotices import PublicationNotice
from sipcli.ua.subscriptions.subscription import LEAVE_WAIT

if TYPE_CHECKING:
    from sipcli.ua.account import Account

__all__ = ["Publication"]


class Publication:
    """Made by ``await account.publish(...)``; kept until :meth:`close`, or the end of an ``async with``."""

    def __init__(self, account: Account, core: CorePublication) -> None:
        self.account = account
        self.core = core
        self.state: PublicationPhase = "trying"
        self._settled: asyncio.Future[None] = quiet_future(asyncio.get_running_loop())
        self._over: asyncio.Future[None] = quiet_future(asyncio.get_running_loop())

    @property
    def id(self) -> str:
        """Short and ours: ``pub1``."""
        return self.core.id

    async def published(self) -> None:
        """Return when the server has what was said last.  Raises the typed error when it does not take it."""
        await asyncio.shield(self._settled)

    async def modify(self, body: bytes | str, content_type: str | None = None) -> None:
        """Say something new, and return when the server has it.  Raises the typed error when it does not take it."""
        with self.account.agent.turn():
            if not self._over.done():
                self._settled = quiet_future(asyncio.get_running_loop())
            self.core.modify(body.encode() if isinstance(body, str) else body, content_type or self.core.content_type)
        await self.published()

    async def close(self, *, timeout: float = LEAVE_WAIT) -> None:
        """Take it back; returns when the server has done so, or after *timeout* seconds.  Idempotent."""
        if not self._over.done():
            with self.account.agent.turn():
                self.core.remove()
        await asyncio.wait({self._over}, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def on_changed(self, event: PublicationChanged) -> None:
        """What the core tells."""
        self.state = event.state
        self._tell(event)
        if event.state == "published":
            self._settle(None)
        elif event.state == "retrying":
            self._settle(self._failure(event))
        elif event.state != "trying":
            self._settle(self._failure(event) if event.state != "removed" or event.why else None)
            self._over.set_result(None)
            self.account.agent.soft.forget(self.core)

    def _settle(self, error: SipcliError | None) -> None:
        self.account.take_story(self.core.call_id)
        if self._settled.done():
            return
        if error is None:
            self._settled.set_result(None)
        else:
            self._settled.set_exception(error)

    def _failure(self, event: PublicationChanged) -> SipcliError:
        story = self.account.take_story(self.core.call_id)
        return failure_of(
            "publication", self.account.name, code=event.code, reason=event.reason, why=event.why, story=story
        )

    def _tell(self, event: PublicationChanged) -> None:
        why = event.why if isinstance(event.why, str) else None if event.why is None else event.why.value
        self.account.agent.tell(
            PublicationNotice(
                publication=self.id,
                account=self.account.name,
                target=str(self.core.target),
                package=self.core.event,
                state=event.state,
                code=event.code,
                reason=event.reason or why,
                expires_s=event.expires_s,
                retry_in_s=None if event.retry_in_s is None else round(event.retry_in_s, 1),
            )
        )
