"""The least user agent: an engine, an endpoint and one account with a password, to try servers with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from sipcli.credentials import Credentials, PasswordCredentials, Secret
from sipcli.sip.auth import AuthPolicy, AuthSession
from sipcli.sip.calls.invite import OutgoingCall
from sipcli.sip.engine import Engine
from sipcli.sip.events import (
    CallAnswered,
    CallConfirmed,
    CallEnded,
    CallIncoming,
    MessageReceived,
    RegistrationChanged,
    RequestDone,
)
from sipcli.sip.flow import Transport
from sipcli.sip.profile import AccountProfile
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.media.media_io import MediaSession
from sipcli.ua.net.endpoint import Endpoint

E = TypeVar("E")


async def eventually(check: Callable[[], bool], *, within: float = 30.0) -> None:
    """Wait until *check* holds."""
    async with asyncio.timeout(within):
        while not check():
            await asyncio.sleep(0.005)


class Softphone:
    """``async with Softphone("alice", "wonderland", registrar) as phone``; *registrar* is a SIP URI."""

    def __init__(
        self,
        user: str,
        password: str,
        registrar: str,
        *,
        transport: Transport | None = None,
        credentials: tuple[Credentials, ...] | None = None,
        **endpoint: Any,
    ) -> None:
        self.user = user
        self.domain = SipUri.parse(registrar)
        self.engine = Engine()
        self.events: list[Any] = []
        self._waiting: list[asyncio.Event] = []
        secrets = (PasswordCredentials(user, Secret(password)),) if credentials is None else credentials
        self.session = AuthSession(secrets, policy=AuthPolicy(md5_over_udp="allow"))
        self._profile = AccountProfile(
            name=user,
            aor=SipUri.parse(f"sip:{user}@sandbox"),
            registrar=self.domain,
            contact_user=user,
            transport=transport,
        )
        self._endpoint_options = endpoint
        self.endpoint: Endpoint

    async def __aenter__(self) -> Self:
        self.endpoint = Endpoint(self.engine, on_event=self._on_event, **self._endpoint_options)
        await self.endpoint.start()
        with self.endpoint.turn():
            self.engine.add_account(self._profile, self.session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.endpoint.turn():
            self.engine.close()
        await self.endpoint.close()

    def _on_event(self, event: Any) -> None:
        self.events.append(event)
        for waiting in self._waiting:
            waiting.set()

    async def wait_for(self, kind: type[E], check: Callable[[E], bool] = lambda _: True, *, within: float = 30.0) -> E:
        """The first event of a kind, also one that came already."""
        signal = asyncio.Event()
        self._waiting.append(signal)
        try:
            async with asyncio.timeout(within):
                while True:
                    for event in self.events:
                        if isinstance(event, kind) and check(event):
                            return event
                    signal.clear()
                    await signal.wait()
        finally:
            self._waiting.remove(signal)

    def target(self, user: str) -> SipUri:
        return SipUri.parse(f"sip:{user}@sandbox")

    async def register(self, expires: int = 600) -> RegistrationChanged:
        """The verdict: the first state that is neither trying nor retrying."""
        self.events = [event for event in self.events if not isinstance(event, RegistrationChanged)]
        with self.endpoint.turn():
            self.engine.register(self.user, expires=expires, keep=False)
        return await self.wait_for(RegistrationChanged, lambda event: event.state not in ("trying", "retrying"))

    async def unregister(self) -> RegistrationChanged:
        with self.endpoint.turn():
            self.engine.register(self.user).unregister()
        return await self.wait_for(RegistrationChanged, lambda event: event.state == "unregistered")

    async def message(self, user: str, text: str) -> RequestDone:
        with self.endpoint.turn():
            oneshot = self.engine.message(self.user, self.target(user), text.encode())
        return await self.wait_for(RequestDone, lambda event: event.oneshot is oneshot)

    async def call(self, user: str, media: MediaSession | None = None, **options: Any) -> OutgoingCall:
        """Ring; with *media*, which is open, offer it."""
        offer = media.offer() if media is not None else b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
        with self.endpoint.turn():
            return self.engine.invite(self.user, self.target(user), offer, **options)

    async def answered(self, call: OutgoingCall) -> CallAnswered:
        return await self.wait_for(CallAnswered, lambda event: event.call is call)

    async def ended(self, call: Any) -> CallEnded:
        return await self.wait_for(CallEnded, lambda event: event.call is call)

    async def incoming(self) -> CallIncoming:
        return await self.wait_for(CallIncoming)

    async def confirmed(self, call: Any) -> CallConfirmed:
        return await self.wait_for(CallConfirmed, lambda event: event.call is call)

    async def received_message(self) -> MessageReceived:
        return await self.wait_for(MessageReceived)

    def hangup(self, call: Any) -> None:
        with self.endpoint.turn():
            call.hangup()


async def within(seconds: float, work: Awaitable[E]) -> E:
    async with asyncio.timeout(seconds):
        return await work
