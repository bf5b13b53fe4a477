"""Registrations that wait for a person who is not at our terminal, and the way in for what he gives.

Nobody holds a challenge meanwhile: a nonce lives for seconds, a person comes when
he comes (docs/decisions/0050).  What he gives is kept for the realm and server
that he was told of, and for nobody else, and a fresh REGISTER is sent, whose
challenge finds it.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from sipcli.credentials import PasswordCredentials, Secret
from sipcli.errors import SipcliError
from sipcli.sip.events import RegistrationChanged
from sipcli.ua.auth.cache import Source
from sipcli.ua.auth.chain import ChainFailure, PersonWanted
from sipcli.ua.notices import AuthNeeded

if TYPE_CHECKING:
    from sipcli.ua.account import Account
    from sipcli.ua.agent import UserAgent

__all__ = ["Answered", "NotWaiting", "WaitingRoom"]

Outcome: TypeAlias = Literal["registered", "refused", "waiting", "retrying", "ended", "trying"]


class NotWaiting(SipcliError):
    """The account does not wait for a person (now)."""


class Answered(NamedTuple):
    """What became of an answer.

    ``refused``: the server did not take it, and the account waits again;
    ``waiting``: it was not asked for any more, but another is (of another realm,
    say); ``retrying``: something else failed, and what was given will be tried
    again; ``ended``: the registration is over; ``trying``: none of these yet.
    """

    outcome: Outcome
    code: int | None = None
    reason: str = ""
    expires_s: int | None = None


@dataclass(slots=True)
class _Entry:
    wanted: PersonWanted
    account: Account
    since: float
    refused: int | None
    open: bool = False

    @property
    def username(self) -> str:
        return self.wanted.request.username or self.account.aor.user or ""

    @property
    def server(self) -> str | None:
        """The SIP domain that TLS verified."""
        return self.wanted.request.origin if self.wanted.request.verified else None


class WaitingRoom:
    """At most one secret is awaited per account: that of the challenge which came last.  For the loop's thread."""

    def __init__(self, agent: UserAgent) -> None:
        self._agent = agent
        self.has_door = True
        """False where nobody can come in: then there is nobody to wait for."""
        self._entries: dict[str, _Entry] = {}
        self._answers: dict[str, asyncio.Future[Answered]] = {}

    def expect(self, account: Account, failure: ChainFailure) -> None:
        """Nobody but a person has what *account* was asked for."""
        wanted, rejection = failure.person, failure.rejection
        assert wanted is not None
        refused = None if rejection is None else rejection.status
        self._entries[account.name] = _Entry(wanted, account, self._agent.gate.loop.time(), refused)
        self._agent.tell(
            AuthNeeded(
                challenge=wanted.label,
                provider=wanted.provider,
                expires_in_s=None,
                at_terminal=True,
                account=account.name,
                realm=wanted.key.realm,
                refused=refused,
            )
        )

    def listing(self) -> list[dict[str, Any]]:
        """What is awaited, as JSON: account, aor, server, realm, username, provider, challenge, since_s, refused.

        *server* is the SIP domain that TLS verified, null without TLS.
        """
        now = self._agent.gate.loop.time()
        return [
            {
                "account": name,
                "aor": str(entry.account.aor),
                "server": entry.server,
                "realm": entry.wanted.key.realm,
                "username": entry.username,
                "provider": entry.wanted.provider,
                "challenge": entry.wanted.label,
                "since_s": round(now - entry.since, 1),
                "refused": entry.refused,
            }
            for name, entry in self._entries.items()
            if entry.open
        ]

    async def answer(
        self,
        name: str,
        secret: Secret,
        *,
        username: str | None = None,
        timeout: float | None = None,
        asked: tuple[str | None, str] | None = None,
    ) -> Answered:
        """Give *secret* to the account that waits for it; returns what the server said, within *timeout* seconds.

        *asked* is the server and realm that the person was told of, as in :meth:`listing`: while he typed, another
        may have asked.  Raises NotWaiting, and ValueError for a secret with a line break in it.
        """
        entry = self._entries.get(name)
        if entry is None or not entry.open:
            account = self._agent.find_account(name)
            state = "" if account is None else f": it is {account.state}"
            raise NotWaiting(f"{name} does not wait for anybody{state}")
        wanted, broker = entry.wanted, self._agent.broker
        if asked is not None and asked != (entry.server, wanted.key.realm):
            raise NotWaiting(f"{name} was asked by another server, or for another realm, meanwhile: nothing was sent")
        credentials = PasswordCredentials(
            username or entry.username, secret, realm=wanted.key.realm, ref=wanted.provider
        )
        if broker.cache.was_refused(wanted.key, credentials):
            secret.wipe()
            return Answered("refused", entry.refused, "as before: it was not sent again")
        broker.cache.store(credentials, Source(wanted.key, wanted.provider, wanted.request, math.inf))
        entry.open = False
        self._answers[name] = future = asyncio.get_running_loop().create_future()
        entry.account.begin_action()
        entry.account.refresh()
        try:
            return await asyncio.wait_for(asyncio.shield(future), timeout)
        except TimeoutError:
            return Answered("trying")

    def on_registration(self, event: RegistrationChanged) -> None:
        """How it goes with an account: it waits, or it waits no more."""
        entry = self._entries.get(event.account)
        if entry is None:
            return
        if event.state == "waiting":
            entry.open = True
            if event.code == 403:  # no second challenge, but a verdict all the same
                entry.refused = 403
            self._settle(event, "waiting" if entry.refused is None else "refused")
        elif event.state == "registered":
            del self._entries[event.account]
            self._settle(event, "registered")
        elif event.state == "retrying":
            self._settle(event, "retrying")
        elif event.state != "trying":
            del self._entries[event.account]
            self._settle(event, "ended")

    def _settle(self, event: RegistrationChanged, outcome: Outcome) -> None:
        future = self._answers.pop(event.account, None)
        if future is not None and not future.done():
            why = event.why if isinstance(event.why, str) else ""
            future.set_result(Answered(outcome, event.code, event.reason or why, event.expires_s))
