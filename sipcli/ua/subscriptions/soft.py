"""The soft state of an agent - subscriptions and publications - and the messages that come in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sipcli.errors import ParseError
from sipcli.sip.events import MessageReceived, NotifyReceived, PublicationChanged, SubscriptionChanged
from sipcli.sip.subscriptions.packages import PACKAGES, EventPackage
from sipcli.sip.subscriptions.publication import Publication as CorePublication
from sipcli.sip.subscriptions.subscription import Subscription as CoreSubscription
from sipcli.sip.subscriptions.unasked import UnaskedNotify
from sipcli.sip.syntax.letterbody import COMPOSING, words_of
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.notices import MessageNotice, WarningNotice

if TYPE_CHECKING:
    from sipcli.ua.account import Account
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.subscriptions.publication import Publication
    from sipcli.ua.subscriptions.subscription import Subscription

__all__ = ["SoftStates", "package_of"]


def package_of(event: str) -> EventPackage:
    """``mwi``, ``presence`` and ``dialog``, by our word or the RFC's; any other package by its own name."""
    found = PACKAGES.get(event) or next((known for known in PACKAGES.values() if known.name == event), None)
    return found or EventPackage(event, ("*/*",))


class SoftStates:
    """Joins the core's subscriptions and publications with those who hold them."""

    def __init__(self, agent: UserAgent) -> None:
        self._agent = agent
        self._subscriptions: dict[CoreSubscription, Subscription] = {}
        self._publications: dict[CorePublication, Publication] = {}

    def subscribe(self, account: Account, target: SipUri, package: EventPackage, expires: int | None) -> Subscription:
        from sipcli.ua.subscriptions.subscription import (
            Subscription as Made,  # with the parsers, that a registration needs not
        )

        with self._agent.turn() as engine:
            core = engine.subscribe(
                account.name,
                target,
                package.name,
                accept=package.accept,
                expires=package.expires if expires is None else expires,
                forks=package.forks,
            )
            found = self._subscriptions[core] = Made(account, core)
        return found

    def publish(
        self, account: Account, target: SipUri, event: str, body: bytes, content_type: str, expires: int
    ) -> Publication:
        from sipcli.ua.subscriptions.publication import Publication as Made

        with self._agent.turn() as engine:
            core = engine.publish(account.name, target, event, body, content_type, expires=expires)
            found = self._publications[core] = Made(account, core)
        return found

    def forget(self, core: CoreSubscription | CorePublication) -> None:
        """It is over."""
        if isinstance(core, CoreSubscription):
            self._subscriptions.pop(core, None)
        else:
            self._publications.pop(core, None)

    async def leave(self, account: Account, timeout: float) -> None:
        """End everything of *account*, in *timeout* seconds at most."""
        held: list[Subscription | Publication] = [*self._subscriptions.values(), *self._publications.values()]
        await asyncio.gather(*(state.close(timeout=timeout) for state in held if state.account is account))

    # --- what the core tells ----------------------------------------------------------------------------------

    def on_subscription(self, event: SubscriptionChanged) -> None:
        found = self._subscriptions.get(event.subscription)
        if found is not None:
            found.on_changed(event)

    def on_notify(self, event: NotifyReceived) -> None:
        found = self._subscriptions.get(event.subscription)
        if found is not None:
            found.on_notify(event)

    def on_unasked(self, event: UnaskedNotify) -> None:
        """Waiting messages that our server tells of by itself."""
        from sipcli.sip.subscriptions.packages.summary import parse_summary
        from sipcli.ua.subscriptions.softnotices import NotificationNotice, content_fields

        request = event.request
        try:
            content = parse_summary(request.body) if request.body else None
        except ParseError as error:
            words = f"a NOTIFY of message-summary could not be read: {error}"
            self._agent.tell(WarningNotice(code="malformed", message=words))
            return
        self._agent.tell(
            NotificationNotice(
                subscription=None,
                account=event.account,
                target=str(request.to.uri),
                package="message-summary",
                notifier=1,
                state="active",
                content_type=request.content_type if request.body else None,
                **content_fields(content),
            )
        )

    def on_publication(self, event: PublicationChanged) -> None:
        found = self._publications.get(event.publication)
        if found is not None:
            found.on_changed(event)

    def on_message(self, event: MessageReceived) -> None:
        """Its text; or, quietly, that somebody is writing one (RFC 3994)."""
        words, remote = words_of(event.request), str(event.request.from_.uri)
        if words is None:  # an empty one
            self._agent.tell(MessageNotice(direction="in", remote=remote, content_type="text/plain", body=""))
        elif words.content_type == COMPOSING:
            self._composing(event.account, remote, words.text)
        else:
            self._agent.tell(
                MessageNotice(direction="in", remote=remote, content_type=words.content_type, body=words.text)
            )

    def _composing(self, account: str | None, remote: str, document: str) -> None:
        from sipcli.sip.subscriptions.packages.composing import parse_composing
        from sipcli.ua.subscriptions.softnotices import ComposingNotice

        try:
            heard = parse_composing(document.encode("utf-8", "replace"))
        except ParseError:
            return  # it was about to be a hint; nobody misses it
        state, refresh_s = ("active", heard.refresh_s) if heard.active else ("idle", None)
        self._agent.tell(ComposingNotice(account=account, remote=remote, state=state, refresh_s=refresh_s))
