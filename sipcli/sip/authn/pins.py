"""What one account's servers have accepted before, so that less, or another realm, is noticed (T01, T02, T05, T06).

Trust on first use.  Nothing here is a secret, so a snapshot of it may be kept
across restarts; :meth:`Pins.restore` takes it with as little trust as a message
from the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.authn.origin import Origin

__all__ = ["MAX_PINS", "Pins", "strength", "weaker"]

MAX_PINS = 256
"""Realms, and doors, of one account."""
MAX_REALMS_KEPT = 32
"""Entries of each kind in a snapshot: it goes into a file."""
MAX_REALM_TEXT = 256
"""A realm longer than this is no name that a snapshot should keep."""
STRENGTH = {"MD5": 1, "SHA-256": 2, "SHA-512-256": 3, "AKAv1-MD5": 4, "AKAv2-MD5": 5}
"""RFC 7616 section 3.7 and the hashes' own standing; only the order counts.

AKA's passwords serve once and the server proves itself, so no list of words helps
against them; its second version binds them to their use (RFC 4169 section 1).
"""

K = TypeVar("K")
V = TypeVar("V")

_Door: TypeAlias = tuple[tuple[str, int, str | None], str, bool]
"""A server, a realm, and whether it is asked for as a proxy (407) or not (401)."""


def strength(challenge: Challenge) -> int:
    """How much *challenge* protects; only the order means anything."""
    return STRENGTH.get(challenge.algorithm.removesuffix("-sess"), 0)


def weaker(challenge: Challenge, answered: Iterable[Challenge]) -> str:
    """Why *challenge* is less than what its realm was *answered* a moment ago; empty if it is not.

    Nothing was accepted yet, so nothing is pinned; but whoever calls one algorithm after the other stale would
    collect the same secret in each of them.
    """
    for before in answered:
        if before.scheme != "digest" or before.realm != challenge.realm:
            continue
        if strength(challenge) < strength(before):
            return f"weaker than {before.algorithm}, which this realm has just been answered with"
        if before.qop and not challenge.qop:
            return "without the qop that this realm has just been answered with"
    return ""


@dataclass(slots=True)
class Pins:
    """One account's.

    The protection of each realm: less is a downgrade (T05, T06).  The realms of
    each server that TLS verified, as registrar (401) and as proxy (407) apart,
    for two such realms side by side are usual: another one is somebody else's
    (T02).  And which server asks for which realm, at which door, when we call:
    what comes through it from inside a call must be one of these (T01).

    Once a realm's registrar was heard, it alone raises what the realm must offer:
    any other request may have been challenged by whoever we called, in that
    realm's name, and he must not be able to lock us out of it.
    """

    _strength: dict[str, int] = field(default_factory=dict)
    _qop: dict[str, None] = field(default_factory=dict)
    _doors: dict[_Door, None] = field(default_factory=dict)
    _realms: dict[tuple[str, bool, str], None] = field(default_factory=dict)
    _registered: dict[str, None] = field(default_factory=dict)

    def learn(self, challenges: Iterable[Challenge], origin: Origin, method: str) -> None:
        """*challenges* to a request of *method* were answered, and the account's own server took the answers."""
        for challenge in challenges:
            self.admit(challenge, origin, method)
            if not origin.relays and origin.secure:
                _note(self._realms, (_name(origin), challenge.proxy, challenge.realm), None)
            if method == "REGISTER":
                _note(self._registered, challenge.realm, None)
            if challenge.scheme == "digest" and (method == "REGISTER" or challenge.realm not in self._registered):
                strongest = max(strength(challenge), self._strength.get(challenge.realm, 0))
                _note(self._strength, challenge.realm, strongest)
                if challenge.qop:
                    _note(self._qop, challenge.realm, None)

    def admit(self, challenge: Challenge, origin: Origin, method: str) -> None:
        """*origin* itself asked this of a request of *method*, and let it through: so it may ask again in that call."""
        if not origin.relays and method != "REGISTER":
            _note(self._doors, (origin.server, challenge.realm, challenge.proxy), None)

    def knows(self, challenge: Challenge, origin: Origin) -> bool:
        """Has *origin* itself asked this when we called, and let us through?"""
        return (origin.server, challenge.realm, challenge.proxy) in self._doors

    def realms_before(self, challenge: Challenge, origin: Origin) -> tuple[str, ...]:
        """What *origin* asked for in the place of *challenge*'s realm; empty if that is known, or nothing is."""
        if not origin.secure:
            return ()  # an address proves nothing that could be trusted on first use
        name = _name(origin)
        if any((name, door, challenge.realm) in self._realms for door in (False, True)):
            return ()  # what it asked at one door is no other realm at the other
        return tuple(realm for where, proxy, realm in self._realms if (where, proxy) == (name, challenge.proxy))

    def objection(self, challenge: Challenge) -> str:
        """Why *challenge* is less than what its realm accepted before; empty if it is not."""
        pinned = self._strength.get(challenge.realm, 0)
        if strength(challenge) < pinned:
            return f"weaker than {_NAMES[pinned]}, which this realm accepted before"
        if not challenge.qop and challenge.realm in self._qop:
            return "without the qop that this realm asked for before"
        return ""

    # -- across restarts -----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """What is worth keeping, as JSON knows it: no addresses, no endless realms, the latest of many."""
        return {
            "algorithms": {realm: _NAMES[pinned] for realm, pinned in _latest(self._strength.items()) if _short(realm)},
            "qop": [realm for realm in _latest(self._qop) if _short(realm)],
            "realms": [[name, proxy, realm] for name, proxy, realm in _latest(self._realms) if _short(realm)],
            "registered": [realm for realm in _latest(self._registered) if _short(realm)],
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Add what :meth:`snapshot` gave earlier, the stronger winning; what makes no sense is left out."""
        algorithms, qop, realms = kept.get("algorithms"), kept.get("qop"), kept.get("realms")
        for realm, name in algorithms.items() if isinstance(algorithms, dict) else ():
            if isinstance(name, str) and name in STRENGTH and _short(realm):
                _note(self._strength, realm, max(STRENGTH[name], self._strength.get(realm, 0)))
        for names, known in ((qop, self._qop), (kept.get("registered"), self._registered)):
            for realm in names if isinstance(names, list) else ():
                if _short(realm):
                    _note(known, realm, None)
        for entry in realms if isinstance(realms, list) else ():
            match entry:
                case [str(name), bool(proxy), str(realm)] if _short(realm) and _short(name):
                    _note(self._realms, (name, proxy, realm), None)
                case _:
                    pass


_NAMES = {rank: name for name, rank in STRENGTH.items()} | {0: ""}


def _name(origin: Origin) -> str:
    return (origin.identity or "").lower()


def _short(text: object) -> bool:
    return isinstance(text, str) and len(text) <= MAX_REALM_TEXT


def _latest(items: Iterable[V]) -> list[V]:
    return list(items)[-MAX_REALMS_KEPT:]


def _note(store: dict[K, V], key: K, value: V) -> None:
    """Keep the latest: a server that invents a realm per challenge must not make us grow (threat T04)."""
    store.pop(key, None)
    store[key] = value
    if len(store) > MAX_PINS:
        del store[next(iter(store))]
