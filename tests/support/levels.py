"""Levels 2 and 3 by one name: a server, an account that keeps each challenge, and handles that answer them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sipcli.ua.account import Account
from sipcli.ua.agent import AuthChallengeParam
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge
from tests.support.agentkit import Site, site
from tests.support.authkit import CalledBefore, password

__all__ = ["RIGHT", "WRONG", "Asked", "Handle", "at_level"]

RIGHT, WRONG = password("wonderland"), password("mock turtle")


class Asked(Account):
    """Keeps the handle of each challenge that reaches level 3."""

    deferred: list[DeferredChallenge]

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        self.deferred.append(challenge.defer())


class Handle:
    """What both levels answer with, by one name."""

    def __init__(self, level: int, deferred: Any) -> None:
        self.respond: Callable[..., None] = deferred.send_request if level == 2 else deferred.respond
        self.abandon: Callable[[], None] = deferred.abandon


@asynccontextmanager
async def at_level(
    level: int, box: dict[str, Any], **settings: Any
) -> AsyncIterator[tuple[Site, Asked, Callable[[], list[Handle]]]]:
    """The site, its account, and what gives the challenges that came so far to *level*; the rest as of ``site``."""
    taken: list[Handle] = []

    def hook(param: AuthChallengeParam) -> None:
        taken.append(Handle(2, param.defer()))

    async with site(box=box, on_auth_challenge=hook if level == 2 else None, **settings) as s:
        account = s.account(Asked)
        account.deferred = []
        account.auth.pins = CalledBefore()

        def handles() -> list[Handle]:
            return taken if level == 2 else [Handle(3, deferred) for deferred in account.deferred]

        yield s, account, handles
