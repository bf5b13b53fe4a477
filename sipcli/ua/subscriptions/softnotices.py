"""What is told of subscriptions, publications and people who are writing: events beside those of ``notices``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sipcli.sip.events import PublicationPhase, SubscriptionPhase
from sipcli.sip.subscriptions.packages.dialoginfo import WatchedDialog
from sipcli.sip.subscriptions.packages.presence import PresenceState
from sipcli.sip.subscriptions.packages.summary import MessageSummary
from sipcli.sip.subscriptions.substate import SubState
from sipcli.ua.notices import Notice, maybe

__all__ = ["ComposingNotice", "NotificationNotice", "PublicationNotice", "SubscriptionNotice", "content_fields"]


class SubscriptionNotice(Notice):
    """A subscription changed (RFC 6665).  ``retrying``: it was lost, and is asked for again in *retry_in_s*."""

    event: ClassVar[str] = "subscription"
    subscription: str
    account: str | None
    target: str
    package: str
    state: SubscriptionPhase
    code: int | None = maybe()
    reason: str | None = maybe()
    expires_s: int | None = maybe()
    retry_in_s: float | None = maybe()


class NotificationNotice(Notice):
    """One NOTIFY.  *notifier* counts those whom the SUBSCRIBE reached; what the body says is under its package.

    *subscription* None: nobody subscribed; the server of *account* tells by itself.
    """

    event: ClassVar[str] = "notification"
    subscription: str | None
    account: str | None = maybe()
    target: str
    package: str
    notifier: int
    state: SubState
    reason: str | None = maybe()
    content_type: str | None = maybe()
    mwi: Mapping[str, Any] | None = maybe()
    presence: Mapping[str, Any] | None = maybe()
    dialogs: tuple[Mapping[str, Any], ...] | None = maybe()


class PublicationNotice(Notice):
    """A publication changed (RFC 3903)."""

    event: ClassVar[str] = "publication"
    publication: str
    account: str
    target: str
    package: str
    state: PublicationPhase
    code: int | None = maybe()
    reason: str | None = maybe()
    expires_s: int | None = maybe()
    retry_in_s: float | None = maybe()


class ComposingNotice(Notice):
    """Somebody is writing to us, or not any more (RFC 3994); ``active`` holds for *refresh_s* seconds."""

    event: ClassVar[str] = "composing"
    account: str | None
    remote: str
    state: str
    refresh_s: int | None = maybe()


def content_fields(content: object) -> dict[str, Any]:
    """What a body said, as the fields of a :class:`NotificationNotice`."""
    match content:
        case MessageSummary():
            return {"mwi": {**_known(content._asdict(), "counts"), "messages": [c._asdict() for c in content.counts]}}
        case PresenceState():
            contacts = [_known(contact._asdict()) for contact in content.contacts]
            return {"presence": {**_known(content._asdict(), "contacts"), "contacts": contacts}}
        case tuple():
            return {"dialogs": tuple(_known(row._asdict()) for row in content if isinstance(row, WatchedDialog))}
    return {}


def _known(fields: dict[str, Any], *but: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and name not in but}
