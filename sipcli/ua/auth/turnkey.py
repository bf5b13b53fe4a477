"""The password of a TURN server, from the same providers, by the same rules, as that of a SIP server (RFC 8489 9.2).

To the broker it is one more deferred challenge: cached, asked for once, rationed where a person is asked, and the
provider hears what became of it. Only ``turn_credentials`` are asked: no SIP password goes to a TURN server unsaid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from sipcli.config.iceserver import IceServer
from sipcli.credentials import Credentials, DigestInput, PasswordCredentials, SigningCredentials
from sipcli.errors import ConfigError
from sipcli.sip.auth import GiveUp, RealmState
from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.authn.origin import Origin
from sipcli.ua.auth.ask import Ask
from sipcli.ua.auth.chain import ChainFailure
from sipcli.ua.auth.terms import turn_chain

if TYPE_CHECKING:
    from sipcli.ua.account import Account

__all__ = ["TurnKeys"]

_METHOD = "TURN"


class _TurnChallenge:
    """What the broker needs of a challenge (:class:`~sipcli.ua.auth.broker.Answerable`): MD5, as RFC 8489 has it."""

    def __init__(self, realm: str) -> None:
        self.challenges = (Challenge("digest", realm),)
        self.realms: Mapping[str, RealmState] = MappingProxyType({})
        self.answer: asyncio.Future[Credentials] = asyncio.get_running_loop().create_future()
        self.failure: ChainFailure | None = None
        self._revoked: Callable[[], None] | None = None

    @property
    def is_valid(self) -> bool:
        return not self.answer.done()

    def digest_inputs(self, key: SigningCredentials) -> tuple[DigestInput, ...]:
        return ()  # no input is ever signed: what a key signs is SIP

    def respond(self, *credentials: Credentials) -> None:
        if self.is_valid:
            self.answer.set_result(credentials[0])

    def give_up(self, why: GiveUp) -> None:
        if self.is_valid:
            self.answer.set_exception(_no_password(self.failure))

    def on_revoked(self, callback: Callable[[], None]) -> None:
        self._revoked = callback

    def revoke(self) -> None:
        """Nobody wants it any more."""
        if self._revoked is not None:
            self._revoked()

    def failed(self, failure: ChainFailure) -> None:
        self.failure = failure


class TurnKeys:
    """Asks the broker for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._terms = account.terms._replace(
            chain=lambda realm: turn_chain(account.config, account.agent.config, realm)
        )

    async def authenticate(self, server: IceServer, address: tuple[str, int], realm: str) -> PasswordCredentials:
        """Who we are to *server*, and the password.  ConfigError, with a sentence that goes on from its name."""
        account = self._account
        if not account.config.turn_credentials:
            raise ConfigError(f"wants a password for {realm!r}; say who knows it: turn_credentials = [...]")
        challenge = _TurnChallenge(realm)
        ask = Ask(
            deferred=challenge,
            terms=self._terms,
            origin=Origin(*address, identity=server.host if server.scheme == "turns" else None, bound=True),
            method=_METHOD,
            prompts=account.agent.interactive,
            ration=account.ration,
            on_failed=challenge.failed,
        )
        account.agent.broker.submit(ask)
        try:
            found = await challenge.answer
        except asyncio.CancelledError:
            challenge.revoke()
            raise
        if not isinstance(found, PasswordCredentials):
            raise ConfigError("takes a password, and what the provider has is none")
        return found

    def verdict(self, credentials: Credentials, accepted: bool) -> None:
        broker = self._account.agent.broker
        if accepted:
            broker.accepted(credentials, self._terms)
        else:
            broker.refused(credentials, _METHOD, stands=False)


def _no_password(failure: ChainFailure | None) -> ConfigError:
    if failure is None or failure.error is None:
        return ConfigError("wants a password that nobody gave")
    who = f" ({failure.provider})" if failure.provider else ""
    return ConfigError(f"wants a password that nobody gave{who}: {failure.error}")
