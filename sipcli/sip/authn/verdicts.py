"""What a final response says of the secrets that a request carried, and which secrets were taken before.

A challenge that comes back is :mod:`~sipcli.sip.authn.realm`'s.  Of the others,
RFC 3261 section 22.1 lets a server say 403 to wrong credentials, and section
21.4.4 to a request that nothing will help.  Most 403 are of the second kind: a
barred number, a service that is not paid for.  Which of the two a 403 is can be
known in one case: one of the account's own servers took that secret before.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

from sipcli.credentials import Credentials
from sipcli.sip.authn.authinfo import find_impostor
from sipcli.sip.authn.decision import Challenged, Used
from sipcli.sip.authn.pins import Pins
from sipcli.sip.authn.policy import AuthPolicy
from sipcli.sip.authn.proof import ProofCache, reaches_of
from sipcli.sip.authn.realm import RealmState, shown

if TYPE_CHECKING:
    from sipcli.sip.syntax.message import Response

__all__ = ["Doubt", "Taken", "Verdicts", "mark_of"]

MAX_GOOD = 64
"""Secrets of one account that are known to be good, each in one realm."""

_SALT = os.urandom(16)


def mark_of(credentials: Credentials) -> bytes:
    """By which user name and secret are known again, in this process alone; nobody reads them out of it.

    The user name is part of it: the same password under another name is another answer.
    """
    mark = hashlib.blake2b(key=_SALT, digest_size=16)
    mark.update(f"{credentials.scheme}\0{credentials.username}\0".encode("utf-8", "surrogateescape"))
    mark.update(credentials.secret.reveal())
    return mark.digest()


class Taken(NamedTuple):
    """A response that shows acceptance: what it takes for the first time with its nonce, or who only pretends to."""

    used: Used = ()
    impostor: RealmState | None = None


class Doubt(NamedTuple):
    """403: *used* may be wrong.  *cleared*: something was shown, and all of it is known to be good, or rang."""

    used: Used = ()
    cleared: bool = False


class Verdicts:
    """Of one account's session.  *proofs* are what it may show again; what is good is common to its private sessions.

    For the memory of a secret is by value and realm, which is the protection space
    (RFC 3261 section 22.1): the registrar's word counts for a call through the proxy.
    """

    __slots__ = ("_good", "_proofs")

    def __init__(self, proofs: ProofCache) -> None:
        self._proofs = proofs
        self._good: dict[tuple[str, bytes], bool] = {}  # True: the registrar has taken it

    def private(self, proofs: ProofCache) -> Verdicts:
        private = Verdicts(proofs)
        private._good = self._good
        return private

    def accepted(self, exchange: Challenged, response: Response, now: float, policy: AuthPolicy, pins: Pins) -> Taken:
        """*response* shows that what *exchange* carried is good, unless it lies about that."""
        carried = shown(exchange.realms.values(), exchange.origin)
        impostor = find_impostor(response, [state for state, _ in carried], now)
        if impostor is not None:
            if impostor.proof is not None:  # he may have been believed before
                self._proofs.forget(impostor.proof.credentials)
                self._good.pop((impostor.realm, mark_of(impostor.proof.owner)), None)
            return Taken(impostor=impostor)
        used: list[tuple[str, Credentials]] = []
        for state, proof in carried:
            state.accepted = True
            pins.learn((proof.challenge,), exchange.origin, exchange.method)
            reaches = reaches_of(proof.challenge, exchange.call_id, exchange.request.uri_text, policy.proxy_realms)
            if not proof.signed:  # what was signed was for that one request
                self._proofs.keep(exchange.origin, reaches, proof)
            self._remember(state.realm, proof.owner, exchange.method)
            if not proof.accepted:
                proof.accepted = True
                used.append((state.realm, proof.owner))
        return Taken(tuple(used))

    def doubt(self, exchange: Challenged) -> Doubt:
        """403 came back to *exchange*: is what it carried in doubt?

        Not what a server of the account took before, nor what got the request as far
        as to ring: then whoever rang said no.
        """
        carried = shown(exchange.realms.values(), exchange.origin)
        unheard = [(state, proof) for state, proof in carried if state.sent is not None and not state.sent.passed]
        used = tuple(
            (state.realm, proof.owner)
            for state, proof in unheard
            if (state.realm, mark_of(proof.owner)) not in self._good
        )
        return Doubt(used, bool(carried) and not used)

    def refused(self, used: Used, method: str) -> None:
        """*used* is wrong, says the answer to a request of *method*.

        What the registrar has taken, it alone takes back: whoever is called can ask in its realm, too.
        """
        for realm, credentials in used:
            self._proofs.forget(credentials)
            key = realm, mark_of(credentials)
            if method == "REGISTER" or not self._good.get(key):
                self._good.pop(key, None)

    def is_registered(self, realm: str, credentials: Credentials) -> bool:
        """Has the registrar taken this very user name and secret, and not taken that back?"""
        return self._good.get((realm, mark_of(credentials)), False)

    def clear(self) -> None:
        self._good.clear()

    def _remember(self, realm: str, credentials: Credentials, method: str) -> None:
        key = realm, mark_of(credentials)
        self._good[key] = self._good.pop(key, False) or method == "REGISTER"
        if len(self._good) > MAX_GOOD:
            del self._good[next(iter(self._good))]
