"""Subscriptions, awaited: ``async for`` what a mailbox, a presentity or somebody's phone tells (RFC 6665)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias

from sipcli.errors import Declined, NoAnswer, NotReachable, ParseError, Refused, RequestFailed, SipcliError
from sipcli.sip.events import NotifyReceived, SubscriptionChanged, SubscriptionPhase
from sipcli.sip.subscriptions.packages.dialoginfo import DialogTable, WatchedDialog, parse_dialog_info
from sipcli.sip.subscriptions.packages.presence import PresenceState, parse_presence
from sipcli.sip.subscriptions.packages.summary import MessageSummary, parse_summary
from sipcli.sip.subscriptions.subscription import Subscription as CoreSubscription
from sipcli.sip.subscriptions.substate import SubState
from sipcli.ua.calls.callchange import quiet_future
from sipcli.ua.failures import failure_of, plain
from sipcli.ua.notices import WarningNotice
from sipcli.ua.subscriptions.softnotices import NotificationNotice, SubscriptionNotice, content_fields

if TYPE_CHECKING:
    from sipcli.ua.account import Account

__all__ = ["Content", "Notification", "Subscription"]

LEAVE_WAIT: Final = 2.0
"""Seconds that unsubscribing may cost: the notifier has to answer, and to send its last NOTIFY."""
UNREAD: Final = 256
"""Notifications that are kept for a reader who is slow; then the oldest is dropped, for the newest is what holds."""

WHOLE_AGAIN: Final = 30.0
"""Seconds at least between two refreshes because a notification was not whole."""

Content: TypeAlias = MessageSummary | PresenceState | tuple[WatchedDialog, ...]

_REASONS: dict[str, type[RequestFailed]] = {"rejected": Declined, "noresource": NotReachable, "giveup": NoAnswer}


class Notification(NamedTuple):
    """One NOTIFY: the *body* as it came, and as *content* what it means; None where it says nothing we could read.

    Of a dialog subscription *content* is all calls that are known, not only those
    that changed.  *notifier* counts those whom the SUBSCRIBE reached, from 1.
    """

    state: SubState
    reason: str | None
    notifier: int
    content_type: str
    body: bytes
    content: Content | None


class Subscription:
    """Made by ``account.subscribe(target, "mwi")``; ends with :meth:`close`, or as an ``async with``."""

    def __init__(self, account: Account, core: CoreSubscription) -> None:
        self.account = account
        self.core = core
        self.state: SubscriptionPhase = "trying"
        self.reason: str | None = None
        """The notifier's word for why it ended."""
        self._accepted: asyncio.Future[None] = quiet_future(asyncio.get_running_loop())
        self._over: asyncio.Future[None] = quiet_future(asyncio.get_running_loop())
        self._heard: deque[Notification] = deque(maxlen=UNREAD)
        self._news = asyncio.Event()
        self._tables: dict[int, DialogTable] = {}
        self._leaving = False
        self._ask_again_at = 0.0

    @property
    def id(self) -> str:
        """Short and ours: ``sub1``."""
        return self.core.id

    @property
    def is_over(self) -> bool:
        return self._over.done()

    def __repr__(self) -> str:
        return f"<Subscription {self.id} {self.core.event} {self.core.target} {self.state}>"

    # --- for whoever subscribed -------------------------------------------------------------------------------

    async def accepted(self) -> None:
        """Return when the first NOTIFY has come.  Raises the typed error if there will be none."""
        await asyncio.shield(self._accepted)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notification:
        """The next notification; ends with the subscription.  Raises the typed error that ended it, if one did."""
        while not self._heard:
            if self._over.done():
                self._over.result()
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._heard.popleft()

    def refresh(self) -> None:
        """Ask for the state now."""
        with self.account.agent.turn():
            self.core.refresh()

    async def close(self, *, timeout: float = LEAVE_WAIT) -> None:
        """Unsubscribe; returns when the last NOTIFY has come, or after *timeout* seconds.  Idempotent."""
        self._leaving = True
        if not self.is_over:
            with self.account.agent.turn():
                self.core.unsubscribe()
        await asyncio.wait({self._over}, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # --- what the core tells ----------------------------------------------------------------------------------

    def on_changed(self, event: SubscriptionChanged) -> None:
        self.state = event.state
        self._tell(event)
        if event.state in ("active", "pending"):
            self._accept(None)
        elif event.state in ("refused", "failed"):
            self._end(self._failure(event))
        elif event.state == "terminated":
            self.reason = event.reason or None
            self._end(None if self._leaving or not event.reason else _ended(event.reason))
        elif event.state == "retrying":
            self._tables.clear()
            self.account.take_story(self.core.call_id)

    def on_notify(self, event: NotifyReceived) -> None:
        request = event.request
        content = self._read(event) if request.body else None
        kind = request.content_type if request.body else ""
        heard = Notification(event.state.state, event.state.reason, event.notifier, kind, request.body, content)
        self._heard.append(heard)
        self._news.set()
        self.account.agent.tell(
            NotificationNotice(
                subscription=self.id,
                target=str(self.core.target),
                package=self.core.event.package,
                notifier=event.notifier,
                state=heard.state,
                reason=heard.reason,
                content_type=kind or None,
                **content_fields(content),
            )
        )
        if self.core.expires == 0:
            self._accept(None)

    # --- inside -----------------------------------------------------------------------------------------------

    def _read(self, event: NotifyReceived) -> Content | None:
        body = event.request.body
        try:
            match event.request.content_type:
                case "application/simple-message-summary":
                    return parse_summary(body)
                case "application/pidf+xml":
                    return parse_presence(body)
                case "application/dialog-info+xml":
                    table = self._tables.setdefault(event.notifier, DialogTable())
                    if not table.take(parse_dialog_info(body)):
                        self._ask_for_all()
                    if event.state.over:
                        del self._tables[event.notifier]
                    return table.dialogs
        except ParseError as error:
            words = f"a NOTIFY of {self.core.event} could not be read: {error}"
            self.account.agent.tell(WarningNotice(code="malformed", message=words))
        return None

    def _ask_for_all(self) -> None:
        """RFC 4235 section 4.3: something is missing.  Who always leaves something out is not asked every time."""
        now = self.account.agent.engine.now
        if not self._leaving and now >= self._ask_again_at:
            self._ask_again_at = now + WHOLE_AGAIN
            self.core.refresh()

    def _tell(self, event: SubscriptionChanged) -> None:
        why = event.why if isinstance(event.why, str) else None if event.why is None else event.why.value
        self.account.agent.tell(
            SubscriptionNotice(
                subscription=self.id,
                account=self.account.name,
                target=str(self.core.target),
                package=self.core.event.package,
                state=event.state,
                code=event.code,
                reason=event.reason or why,
                expires_s=event.expires_s,
                retry_in_s=None if event.retry_in_s is None else round(event.retry_in_s, 1),
            )
        )

    def _failure(self, event: SubscriptionChanged) -> SipcliError:
        story = self.account.take_story(self.core.call_id)
        error = failure_of(
            "subscription", self.account.name, code=event.code, reason=event.reason, why=event.why, story=story
        )
        if event.code == 489 and event.response is not None:
            known = ", ".join(plain(word) for word in event.response.values("Allow-Events")[:16])
            error.hint = f"the server notifies of: {known}" if known else "the server does not notify of that"
        return error

    def _accept(self, error: SipcliError | None) -> None:
        if self._accepted.done():
            return
        if error is None:
            self._accepted.set_result(None)
        else:
            self._accepted.set_exception(error)

    def _end(self, error: SipcliError | None) -> None:
        self.account.take_story(self.core.call_id)
        self._accept(error)
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)
        self._news.set()
        self.account.agent.soft.forget(self.core)


def _ended(reason: str) -> SipcliError:
    """The notifier ended it for good (RFC 6665 section 4.1.3)."""
    kind = _REASONS.get(reason, Refused)
    return kind(f"the notifier ended the subscription: {plain(reason)}", reason=reason)
