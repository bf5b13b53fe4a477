"""A user agent and a sandbox on one loop, with providers made of prepared answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sipcli.config import AccountConfig
from sipcli.sandbox import Sandbox
from sipcli.sip.flow import Transport
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.account import Account
from sipcli.ua.agent import UserAgent
from sipcli.ua.brokered import BrokeredAccount
from sipcli.ua.notices import Notice
from tests.support.brokerkit import FakeProvider

A = TypeVar("A", bound=Account)


class Site:
    """``site.box`` is the server, ``site.agent`` ours; ``site.notices`` is everything that was told."""

    def __init__(self, box: Sandbox, agent: UserAgent) -> None:
        self.box = box
        self.agent = agent
        self.notices: list[Notice] = []
        agent.subscribe(self.notices.append)

    def config(self, name: str = "work", *, transport: Transport = "udp", **fields: Any) -> AccountConfig:
        host, port = self.box.address(transport)
        registrar = SipUri.parse(f"sip:{host}:{port};transport={transport}")
        values: dict[str, Any] = {
            "name": name,
            "aor": SipUri.parse(f"sip:alice@{host}"),
            "registrar": registrar,
            "transport": transport,
            "username": "alice",
            "credentials": ("p",),
        }
        return AccountConfig(**values | fields)

    def account(self, cls: type[A] = BrokeredAccount, **fields: Any) -> A:  # type: ignore[assignment]
        own = fields.pop("own", ())
        return self.agent.add_account(self.config(**fields), cls, credentials=own)

    def told(self, event: str) -> list[Any]:
        return [notice for notice in self.notices if notice.event == event]

    def states(self) -> list[str]:
        return [notice.state for notice in self.told("registration")]

    def sent(self, method: str) -> int:
        """How many requests of *method* reached the server."""
        return len(self.box.requests(method))


@asynccontextmanager
async def site(
    *providers: FakeProvider, box: dict[str, Any] | None = None, close: bool = True, **settings: Any
) -> AsyncIterator[Site]:
    """*box*: fields of SandboxConfig; *settings*: of UserAgent."""
    shelf = {provider.name: provider for provider in providers}
    async with Sandbox(**(box or {})) as sandbox:
        agent = UserAgent(providers=shelf.__getitem__, **settings)
        await agent.start()
        try:
            yield Site(sandbox, agent)
        finally:
            if close:
                await agent.close()
