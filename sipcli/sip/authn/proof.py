"""A secret put to one challenge, request after request: nonce counts, ``-sess`` keys, next nonces, and their cache.

RFC 7616 section 3.6 calls this an authentication session; RFC 3261 sections
22.2 and 22.3 say how far it may reach.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from sipcli.credentials import BearerCredentials, Credentials, Secret, SignedCredentials, SigningCredentials
from sipcli.errors import LocalProtocolError
from sipcli.sip.authn.challenge import MAX_NONCE, Challenge
from sipcli.sip.authn.digest import (
    Qop,
    choose_qop,
    compute_response,
    hash_function,
    make_ha1,
    make_header,
    make_session_ha1,
    make_signed_header,
    verify_rspauth,
)
from sipcli.sip.authn.origin import Origin

__all__ = ["NonceCounter", "Proof", "ProofCache", "Reach", "Sent", "Server", "reaches_of"]


class NonceCounter:
    """How often each nonce was used: ``nc`` is never the same twice (RFC 7616 section 3.4).

    Counted by nonce and not by challenge, because servers that derive a nonce
    from the time hand the same one to all who ask within a second.
    """

    __slots__ = ("_counts", "_limit")

    def __init__(self, limit: int = 1024) -> None:
        self._counts: dict[str, int] = {}
        self._limit = limit

    def next(self, nonce: str) -> int:
        """1 for a new nonce, then 2, 3, ...; the nonces longest unused are forgotten."""
        count = self._counts.pop(nonce, 0) + 1
        self._counts[nonce] = count
        if len(self._counts) > self._limit:
            del self._counts[next(iter(self._counts))]
        return count


class Sent(NamedTuple):
    """What one request carried: enough to know its answer again (``rspauth``), and to judge a refusal."""

    nonce: str
    at: float
    preemptive: bool = False
    method: str = ""
    uri: str = ""
    qop: Qop = ""
    nc: int = 0
    cnonce: str = ""
    resync: bool = False
    """AKA: it answered nothing, but asked for a newer sequence number (RFC 3310 section 3.4)."""
    passed: bool = False
    """The request was let through: it rang at the other end."""


@dataclass(eq=False, slots=True)
class Proof:
    """One challenge and the credentials that answer it.  Shared by all requests that use its nonce.

    *arrived_at* is when the nonce came, *expires_at* when the lease on the
    secret ends (None: unknown), both on the session's clock.  *accepted* is True
    once a server took it.
    """

    challenge: Challenge
    credentials: Credentials
    arrived_at: float
    expires_at: float | None = None
    accepted: bool = False
    nonce: str = field(default="")
    _cnonce: str = field(default="", repr=False)
    _ha1: Secret | None = field(default=None, repr=False)
    _spent: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        self.nonce = self.nonce or self.challenge.nonce

    @property
    def owner(self) -> Credentials:
        """Whose secret it is: the credentials, or the key that signed them.  Verdicts are about this."""
        return self.credentials.key if isinstance(self.credentials, SignedCredentials) else self.credentials

    @property
    def signed(self) -> bool:
        """Somebody else computed it, for one sending: it cannot be computed again for another nonce or request."""
        return isinstance(self.credentials, SignedCredentials)

    def fits(self, method: str, uri: str, body: bytes) -> bool:
        """May it go with this very request?  What was signed may not if anything it covers has changed, or twice."""
        if not isinstance(self.credentials, SignedCredentials):
            return True
        inputs = self.credentials.inputs
        if self._spent or (inputs.method, inputs.uri) != (method, uri):
            return False
        return inputs.qop != "auth-int" or inputs.body_hash == hash_function(inputs.algorithm)(body)

    def usable(self, now: float) -> bool:
        """Not wiped, and its lease not over."""
        return bool(self.credentials.secret) and (self.expires_at is None or now < self.expires_at)

    def renewed(self, challenge: Challenge, now: float) -> Proof:
        """The same secret for a newer *challenge*; the HA1 goes along where it is the very same one."""
        ours = self.challenge
        same = (ours.realm, ours.algorithm, ours.charset) == (challenge.realm, challenge.algorithm, challenge.charset)
        keep = self._ha1 if same and not challenge.algorithm.endswith("-sess") else None
        return Proof(challenge, self.credentials, now, self.expires_at, _ha1=keep)

    def continued(self, nextnonce: str, now: float) -> None:
        """The server wants *nextnonce* from now on (RFC 7616 section 3.5); a ``-sess`` key stays what it is."""
        if 0 < len(nextnonce) <= MAX_NONCE and nextnonce != self.nonce:
            self.nonce, self.arrived_at = nextnonce, now

    def header(
        self,
        method: str,
        uri: str,
        body: bytes,
        *,
        now: float,
        counter: NonceCounter,
        random: Callable[[int], bytes],
        integrity: bool = False,
        preemptive: bool = False,
    ) -> tuple[str, Sent]:
        """The header value for one request, and the record of it.  Raises LocalProtocolError after :meth:`wipe`."""
        credentials, challenge = self.credentials, self.challenge
        if isinstance(credentials, BearerCredentials):
            token = credentials.token.reveal().decode("ascii")
            if not token:
                raise LocalProtocolError("this token is empty, or was wiped")
            return f"Bearer {token}", Sent("", now, preemptive, method, uri)
        if isinstance(credentials, SignedCredentials):
            self._spent = True
            inputs, resync = credentials.inputs, credentials.signature.auts is not None
            count = int(inputs.nc or "0", 16)
            sent = Sent(inputs.nonce, now, preemptive, method, uri, inputs.qop, count, inputs.cnonce, resync)
            return make_signed_header(challenge, credentials), sent
        qop = choose_qop(challenge, integrity=integrity)
        nc = counter.next(self.nonce)
        # A -sess key holds the first cnonce, so that one is kept: a server that computes A1 anew from each
        # request's cnonce and one that remembers the first (section 3.4.2) then agree.
        cnonce = self._cnonce or random(12).hex()
        ha1 = self._hashed(cnonce)
        value = make_header(
            challenge,
            credentials.username,
            ha1,
            method,
            uri,
            qop=qop,
            nc=nc,
            cnonce=cnonce,
            body=body,
            nonce=self.nonce,
        )
        return value, Sent(self.nonce, now, preemptive, method, uri, qop, nc, cnonce)

    def vouches(self, sent: Sent, rspauth: str, body: bytes) -> bool:
        """Is *rspauth* what only somebody with our secret can say?  *body* is the response's.

        Where somebody else signed, only he can tell; if he did not, nobody is blamed.
        """
        if isinstance(self.credentials, SignedCredentials):
            told = self.credentials.signature.rspauth
            return told is None or sent.qop == "auth-int" or verify_rspauth(told, rspauth)
        expected = compute_response(
            self.challenge.algorithm,
            self._hashed(sent.cnonce),
            sent.nonce,
            method="",
            uri=sent.uri,
            qop=sent.qop,
            nc=sent.nc,
            cnonce=sent.cnonce,
            body=body,
        )
        return verify_rspauth(expected, rspauth)

    def _hashed(self, cnonce: str) -> str:
        """H(A1): made once, kept beside the secret for this realm and algorithm only."""
        credentials, challenge = self.credentials, self.challenge
        if isinstance(credentials, BearerCredentials | SigningCredentials | SignedCredentials):
            raise LocalProtocolError("a token, or a key that never left its store, has no digest")
        if self._ha1 is None or not credentials.secret:
            ha1 = make_ha1(challenge, credentials)
            if challenge.algorithm.endswith("-sess"):
                self._cnonce = cnonce
                ha1 = make_session_ha1(challenge.algorithm, ha1, challenge.nonce, cnonce)
            self._ha1 = Secret(ha1)
        return self._ha1.reveal().decode("ascii")

    def wipe(self) -> None:
        """Zero the HA1 and the secret itself."""
        if self._ha1 is not None:
            self._ha1.wipe()
            self._ha1 = None
        self.credentials.secret.wipe()


class Reach(NamedTuple):
    """How far an accepted nonce may be used again: ``call`` (one Call-ID), ``uri`` (one Request-URI), ``any``.

    RFC 3261 section 22.3: a proxy's credentials go with every later request of
    the same Call-ID, and to other dialogs only where the realm is the configured
    outbound proxy's.  Authorization travels to the far end: another Request-URI
    may be another person, who could take the digest home.
    """

    kind: str
    what: str = ""


def reaches_of(challenge: Challenge, call_id: str, uri: str, proxy_realms: Container[str]) -> tuple[Reach, ...]:
    """How far an accepted answer to *challenge* may be used again, for the request with this Call-ID and *uri*."""
    call = Reach("call", call_id)
    if not challenge.proxy:
        return call, Reach("uri", uri)
    return (call, Reach("any")) if challenge.realm in proxy_realms else (call,)


Server: TypeAlias = tuple[str, int, str | None]
"""An :attr:`~sipcli.sip.authn.origin.Origin.server`."""


class ProofCache:
    """Accepted proofs by server and reach, so that the next request needs no challenge.  Bounded: the oldest go."""

    __slots__ = ("_limit", "_shelves")

    def __init__(self, limit: int = 256) -> None:
        self._shelves: dict[tuple[Server, Reach], dict[tuple[str, bool], Proof]] = {}
        self._limit = limit

    def __bool__(self) -> bool:
        return bool(self._shelves)

    def keep(self, origin: Origin, reaches: Iterable[Reach], proof: Proof) -> None:
        slot = (proof.challenge.realm, proof.challenge.proxy)
        for reach in reaches:
            key = (origin.server, reach)
            shelf = self._shelves[key] = self._shelves.pop(key, {})  # the youngest stands last
            shelf[slot] = proof
        while len(self._shelves) > self._limit:
            del self._shelves[next(iter(self._shelves))]

    def find(self, origin: Origin, reaches: Iterable[Reach], now: float) -> Iterator[Proof]:
        """The proofs that a request to *origin* may carry unasked: one per realm and door, the closest reach first."""
        seen: set[tuple[str, bool]] = set()
        for reach in reaches:
            shelf = self._shelves.get((origin.server, reach))
            for slot, proof in shelf.items() if shelf else ():
                if slot not in seen and proof.usable(now):
                    seen.add(slot)
                    yield proof

    def forget(self, credentials: Credentials) -> None:
        """Drop whatever these very credentials proved.  By identity: a newer secret must survive a late refusal."""
        for key, shelf in list(self._shelves.items()):
            for slot in [slot for slot, proof in shelf.items() if proof.credentials is credentials]:
                del shelf[slot]
            if not shelf:
                del self._shelves[key]

    def clear(self) -> None:
        for shelf in self._shelves.values():
            for proof in shelf.values():
                proof.wipe()
        self._shelves.clear()
