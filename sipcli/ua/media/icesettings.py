"""Whether a call looks for a path of its own, and who helps it: from the account and the command line."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sipcli.config.iceserver import IceServer
from sipcli.credentials import Credentials, PasswordCredentials
from sipcli.errors import ConfigError
from sipcli.media.candidates import IcePolicy
from sipcli.ua.notices import WarningNotice

if TYPE_CHECKING:
    from sipcli.config import AccountConfig
    from sipcli.ua.account import Account

__all__ = ["IceSettings", "check_ice", "ice_for", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IceSettings:
    """What an account says of ICE.

    *authenticate(server, address, realm)* gives the password of a TURN server, or raises ConfigError with a sentence
    that goes on from its name; *verdict* is told whether the server took it. *ca_file* is for ``turns:``.
    """

    policy: IcePolicy = "optional"
    stun: IceServer | None = None
    turn: IceServer | None = None
    authenticate: Callable[[IceServer, tuple[str, int], str], Awaitable[PasswordCredentials]] | None = None
    verdict: Callable[[Credentials, bool], None] = lambda _credentials, _accepted: None
    ca_file: Path | None = None

    @property
    def required(self) -> bool:
        return self.policy in ("required", "relay")


@cache
def missing() -> str:
    """What is not installed, for a sentence; empty when all is there."""
    return "" if importlib.util.find_spec("aioice") is not None else "the package aioice (pip install 'sipcli[ice]')"


def check_ice(config: AccountConfig | None, said: IcePolicy | None) -> IcePolicy:
    """What holds for one call, ``off`` where there is no ICE; *said* outranks the account.

    Raises ConfigError where ICE must be and cannot.
    """
    policy = said or ("off" if config is None else config.ice)
    if policy in ("required", "relay") and missing():
        raise ConfigError(f"ICE needs {missing()}", hint="install it")
    if policy == "relay" and (config is None or config.turn is None):
        raise ConfigError("--ice relay needs a TURN server", hint='turn = "turn:turn.example.com" in the account')
    return policy


def ice_for(account: Account | None, said: IcePolicy | None) -> IceSettings | None:
    """The settings of one call; None: no ICE.  Raises what :func:`check_ice` does; a warning where it only may be."""
    config = None if account is None else account.config
    policy = check_ice(config, said)
    if policy == "off":
        return None
    if missing():
        if account is not None:
            account.agent.tell(WarningNotice(code="ice-missing", message=f"no ICE: it needs {missing()}"))
        return None
    settings = IceSettings(policy=policy)
    if config is None or account is None:
        return settings
    settings = replace(settings, stun=config.stun, turn=config.turn, ca_file=config.ca_file)
    if config.turn is None:
        return settings
    from sipcli.ua.auth.turnkey import TurnKeys

    keys = TurnKeys(account)
    return replace(settings, authenticate=keys.authenticate, verdict=keys.verdict)
