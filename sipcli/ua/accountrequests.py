"""What an account sends outside of calls: messages, pings, subscriptions, publications, any other request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from sipcli.errors import ParseError
from sipcli.sip.syntax.uri import SipUri, user_for
from sipcli.ua.failures import AuthStory
from sipcli.ua.oneshot import MessageReport, OptionsReport, RequestReport

if TYPE_CHECKING:
    from sipcli.ua.account import Account
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.subscriptions.publication import Publication
    from sipcli.ua.subscriptions.subscription import Subscription

__all__ = ["AccountRequests"]


class AccountRequests:
    """Base of :class:`~sipcli.ua.account.Account`, whose verbs these are."""

    agent: UserAgent

    @property
    def name(self) -> str:
        raise NotImplementedError

    @property
    def aor(self) -> SipUri:
        raise NotImplementedError

    def begin_action(self) -> None:
        """A person began something: he may be asked again (threat T03)."""
        raise NotImplementedError

    def check_open(self) -> None:
        """Raises AgentClosed when the account, or its agent, is closed."""
        raise NotImplementedError

    def take_story(self, key: str) -> AuthStory | None:
        """What is known of a request's authentication, when it is over."""
        raise NotImplementedError

    async def message(
        self,
        target: str | SipUri,
        text: str,
        *,
        content_type: str = "text/plain",
        headers: Sequence[tuple[str, str]] = (),
    ) -> MessageReport:
        """Send a MESSAGE (RFC 3428), with *headers* beside our own.  Raises the typed error when it is not taken."""
        self._begin()
        uri = self.parse_target(target)
        return await self.agent.message(self._me, uri, text, content_type=content_type, headers=headers)

    async def composing(self, target: str | SipUri, *, active: bool = True, refresh_s: int = 120) -> None:
        """Tell *target* that a message is being written (RFC 3994), or is not any more.

        Say it again within *refresh_s* seconds (a minute at least) while it is.  It is a courtesy: what
        becomes of it is not told, and nobody is asked for a secret again because of it.
        """
        from sipcli.sip.subscriptions.packages.composing import COMPOSING, composing_document

        self.check_open()
        uri, body = self.parse_target(target), composing_document(active=active, refresh_s=refresh_s)
        done = await self.agent.oneshots.run(lambda engine: engine.message(self.name, uri, body, COMPOSING))
        self.take_story(done.oneshot.exchange.call_id)

    async def options(self, target: str | SipUri, *, headers: Sequence[tuple[str, str]] = ()) -> OptionsReport:
        """Ask what *target* can (RFC 3261 section 11), with *headers* beside our own.  Any SIP answer is a success."""
        self._begin()
        return await self.agent.options(self._me, self.parse_target(target), headers=headers)

    async def subscribe(self, target: str | SipUri, event: str, *, expires: int | None = None) -> Subscription:
        """Be told of *event* - ``mwi``, ``presence``, ``dialog``, or a package by its name - at *target* (RFC 6665).

        Returns at once; ``await subscription.accepted()`` waits, ``async for`` reads.
        *expires* is in seconds; 0 asks for the state once; None: what the package recommends.
        """
        from sipcli.ua.subscriptions.soft import package_of

        self._begin()
        return self.agent.soft.subscribe(self._me, self.parse_target(target), package_of(event), expires)

    async def publish(
        self,
        event: str,
        body: bytes | str,
        content_type: str,
        *,
        expires: int = 3600,
        target: str | SipUri | None = None,
    ) -> Publication:
        """Publish *body* as our own state of *event* (RFC 3903), and keep it published until it is closed.

        Returns when the server has taken it.  *target*: of whom, if not of us.  Raises the typed error.
        """
        from sipcli.ua.subscriptions.soft import package_of

        self._begin()
        uri = self.aor if target is None else self.parse_target(target)
        octets = body.encode() if isinstance(body, str) else body
        name = package_of(event).name
        publication = self.agent.soft.publish(self._me, uri, name, octets, content_type, expires)
        await publication.published()
        return publication

    async def send_request(
        self,
        method: str,
        target: str | SipUri,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
        shared_auth: bool | None = None,
    ) -> RequestReport:
        """Send PUBLISH, SUBSCRIBE, REFER... outside of a call.  Any final answer is a report, a refusal, too.

        *shared_auth*: see :meth:`Call.dial`.  Raises the typed error when nobody answers, or a challenge is not met.
        """
        self._begin()
        uri = self.parse_target(target)
        done = await self.agent.oneshots.run(
            lambda engine: engine.request(self.name, method, uri, headers, body, content_type, shared_auth=shared_auth)
        )
        return RequestReport.of(done, self.name, self.take_story(done.oneshot.exchange.call_id))

    def parse_target(self, target: str | SipUri) -> SipUri:
        """A URI as people write it, ``tel:+4930123``, or a bare name or number of our own domain.

        Raises ParseError, also where it holds a password.
        """
        if isinstance(target, SipUri):
            return SipUri.written(str(target)) if target.password is not None else target
        text = target.strip()
        if text.lower().startswith(("sip:", "sips:")):
            return SipUri.written(text)
        text = text[4:] if text.lower().startswith("tel:") else text
        if "@" in text:
            return SipUri.written(f"{self.aor.scheme}:{text}")
        if not (user := user_for(text)):
            raise ParseError("there is nobody to call", hint="write it as sip:bob@example.com")
        return self.aor.aor.replace(user=user)

    @property
    def _me(self) -> Account:
        return cast("Account", self)

    def _begin(self) -> None:
        self.check_open()
        self.begin_action()
