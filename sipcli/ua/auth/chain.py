"""What is asked of providers for an account, and what it means when none of them has it (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sipcli.credentials import CredentialRequest, ProviderError, Rejection
from sipcli.sip.auth import GiveUp
from sipcli.ua.auth.cache import CacheKey
from sipcli.ua.auth.rations import PROMPT_BURST

__all__ = ["FETCH_WAIT", "PROMPT_WAIT", "Chain", "ChainFailure", "PersonWanted", "Terms"]

FETCH_WAIT = 30.0
"""Seconds that stores may take, all of the chain together; queueing counts."""
PROMPT_WAIT = 120.0
"""Seconds that a person may take."""


class Chain(NamedTuple):
    """Whom to ask for one realm of one account, in this order; *required* ones end the chain when they deny.

    *keepers* are not asked, but what was accepted may be kept with them.
    """

    username: str | None
    providers: tuple[str, ...]
    required: frozenset[str] = frozenset()
    keepers: tuple[str, ...] = ()


class Terms(NamedTuple):
    """What an account wants of the broker.  Times are in seconds.

    *max_wait* bounds the whole wait of a challenge, whoever is asked; *prompt_burst*
    is how many prompts one server may cause at once (sipcli.ua.auth.rations).
    """

    account: str
    aor: str
    chain: Callable[[str], Chain]
    max_wait: float | None = None
    cache_ttl: float = 900.0
    save: bool = False
    prompt_burst: int = PROMPT_BURST


class PersonWanted(NamedTuple):
    """*provider* would have asked a person this *request*, had there been one; the answer belongs under *key*.

    *label* is the id of the challenge that began it.
    """

    key: CacheKey
    provider: str
    request: CredentialRequest
    label: str


class ChainFailure(NamedTuple):
    """Why a challenge got no answer: *error* and *provider* are the most telling of the chain.

    *person* is what nobody but a person could have answered: nobody was at the
    terminal, and no store has failed that may be back by itself.
    *room*: a keychain that was asked has nothing yet, and would keep a password.
    """

    why: GiveUp
    realm: str
    error: ProviderError | None = None
    provider: str | None = None
    awaited_person: bool = False
    rejection: Rejection | None = None
    person: PersonWanted | None = None
    room: bool = False
