"""What the broker remembers of credentials: those in use, where they came from, and what servers refused.

Lives on the loop, so it holds plain dicts and no lock.  A refused secret is
remembered as a keyed hash only, for it need not live on to be recognised.
"""

from __future__ import annotations

import hmac
import weakref
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sipcli.credentials import CredentialRequest, Credentials
from sipcli.sip.authn.challenge import AKA, Challenge
from sipcli.sip.authn.verdicts import mark_of

__all__ = ["REFUSAL_MEMORY", "CacheKey", "CredentialCache", "Source", "kind_wanted"]

MAX_REALMS = 32
"""Realms kept per account: a server that invents a new one per challenge must not make us grow (threat T04)."""
MAX_REFUSALS = 16
REFUSAL_MEMORY = 1800.0
"""Seconds for which a refused secret is not sent again: as long as the longest back-off between registrations."""


class CacheKey(NamedTuple):
    """Whose secret, for whom.

    *origin* is the server's TLS identity, or its address and port; *scheme* is
    ``digest``, ``bearer``, or ``aka`` for what only a SIM can answer.
    """

    account: str
    origin: Hashable
    realm: str
    scheme: str


def kind_wanted(challenge: Challenge) -> str:
    """The :attr:`CacheKey.scheme` of what answers *challenge*: a password does not stand in for a SIM."""
    return "aka" if challenge.algorithm in AKA else challenge.scheme


@dataclass(slots=True, eq=False)
class Source:
    """Where a credentials object came from, and what its server said of it."""

    key: CacheKey
    provider: str
    request: CredentialRequest
    expires_at: float
    accepted: bool = False
    refused: bool = False
    erased: bool = False
    remembered: bool = False


class CredentialCache:
    """Credentials by :class:`CacheKey`, each with its :class:`Source`.

    Eviction is by *identity*: a late 401 for an older object must not evict the
    newer and good one, else a person is asked again after typing it right.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[str, dict[CacheKey, Credentials]] = {}
        self._refusals: dict[str, dict[CacheKey, list[tuple[float, bytes]]]] = {}
        self._sources: weakref.WeakKeyDictionary[Credentials, Source] = weakref.WeakKeyDictionary()

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def find(self, key: CacheKey, *, even_expired: bool = False) -> Credentials | None:
        """What answers *key*, unless its time is over; *even_expired* for a last request that may ask nobody."""
        found = self._entries.get(key.account, {}).get(key)
        if found is None or even_expired or self._sources[found].expires_at > self._clock():
            return found
        del self._entries[key.account][key]
        return None

    def store(self, credentials: Credentials, source: Source) -> None:
        """Keep *credentials* until the source's ``expires_at``."""
        self._sources[credentials] = source
        mine = self._entries.setdefault(source.key.account, {})
        mine.pop(source.key, None)
        while len(mine) >= MAX_REALMS:
            del mine[next(iter(mine))]
        mine[source.key] = credentials

    def source(self, credentials: Credentials) -> Source | None:
        """None for credentials that no provider gave: the account's own."""
        return self._sources.get(credentials)

    def evict(self, credentials: Credentials, source: Source) -> None:
        """Forget *credentials*, this very object, and no newer one in its place."""
        mine = self._entries.get(source.key.account, {})
        if mine.get(source.key) is credentials:
            del mine[source.key]

    def refuse(self, key: CacheKey, credentials: Credentials) -> None:
        """The server of *key* said no to *credentials*."""
        mine = self._refusals.setdefault(key.account, {})
        marks = mine.setdefault(key, [])
        marks.append((self._clock() + REFUSAL_MEMORY, mark_of(credentials)))
        del marks[:-MAX_REFUSALS]
        while len(mine) > MAX_REALMS:
            del mine[next(iter(mine))]

    def was_refused(self, key: CacheKey, credentials: Credentials) -> bool:
        """Did the server of *key* lately say no to these very user name and secret?"""
        marks = self._refusals.get(key.account, {}).get(key)
        if not marks:
            return False
        mark, now = mark_of(credentials), self._clock()
        return any(until > now and hmac.compare_digest(mark, known) for until, known in marks)

    def accept(self, key: CacheKey) -> None:
        """The server of *key* said yes: what it refused before is forgiven."""
        self._refusals.get(key.account, {}).pop(key, None)

    def drop(self, account: str | None = None) -> None:
        """Forget everything of *account*, or of all."""
        for store in (self._entries, self._refusals):
            if account is None:
                store.clear()
            else:
                store.pop(account, None)

    def wipe(self) -> None:
        """Zero every secret that is still kept, and forget all."""
        for credentials in self._all():
            credentials.secret.wipe()
        self.drop()

    def _all(self) -> Iterator[Credentials]:
        for mine in self._entries.values():
            yield from mine.values()
