"""The one door through which credentials leave: what goes out with a request, and to whom (RFC 7616 section 3.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sipcli.credentials import DigestInput, SigningCredentials
from sipcli.sip.authn.decision import Challenged
from sipcli.sip.authn.digest import choose_qop, make_input, signs
from sipcli.sip.authn.doors import in_step
from sipcli.sip.authn.origin import Origin
from sipcli.sip.authn.pins import Pins
from sipcli.sip.authn.policy import AuthPolicy, ends_here
from sipcli.sip.authn.proof import NonceCounter, Proof, ProofCache, Reach
from sipcli.sip.authn.realm import RealmState, must_yield, state_of

if TYPE_CHECKING:
    from sipcli.sip.authn.challenge import Challenge
    from sipcli.sip.syntax.message import Request

__all__ = ["NEVER", "Authorizer"]

NEVER = frozenset(("ACK", "CANCEL"))
"""RFC 3261 section 22.1: neither can be challenged, for neither can be sent again."""


class Authorizer:
    """The proofs that servers accepted, and the nonce counts that are taken; *random* gives n random octets."""

    __slots__ = ("_counter", "_random", "proofs")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self.proofs = ProofCache()
        self._counter = NonceCounter()
        self._random = random

    def private(self) -> Authorizer:
        """One without our proofs but with our counts: a server may give the same nonce to both."""
        private = Authorizer(self._random)
        private._counter = self._counter
        return private

    def authorize(self, exchange: Challenged, request: Request, now: float, policy: AuthPolicy, pins: Pins) -> Request:
        """*request* with what *exchange* may show at this instant; what it had is taken off first."""
        for header in ("Authorization", "Proxy-Authorization"):
            if header in request.headers:
                request = request.without(header)
        for state in exchange.realms.values():
            state.sent = None
        if not exchange.origin.bound or exchange.method in NEVER:
            return request
        if self.proofs:
            self._take_along(exchange, request, now, policy, pins)
        going = {
            state: state.proof
            for state in exchange.realms.values()
            if state.proof is not None and _may_go(state, state.proof, exchange.origin, request, now)
        }
        for state, proof in going.items():
            if not policy.pin_algorithm or not must_yield(state, going):
                request = self._attach(request, state, proof, now, policy.integrity)
        return request

    def digest_inputs(
        self, request: Request, doors: Iterable[RealmState], key: SigningCredentials, policy: AuthPolicy
    ) -> tuple[DigestInput, ...]:
        """What *key* must sign for *request*, one for each of *doors* that it serves; takes a nonce count for each."""
        inputs: list[DigestInput] = []
        leads: dict[str, Challenge] = {}
        for state in doors:
            lead = leads.get(state.realm) if policy.pin_algorithm else None
            offers = (offer for offer in state.offers if signs(offer, key) and (lead is None or in_step(offer, lead)))
            challenge = None if state.refuses(key) else next(offers, None)
            if challenge is None:
                continue
            leads[state.realm] = challenge
            inputs.append(
                make_input(
                    challenge,
                    key.username,
                    request.method,
                    request.uri_text,
                    qop=choose_qop(challenge, integrity=policy.integrity),
                    nc=self._counter.next(challenge.nonce),
                    cnonce=self._random(12).hex(),
                    body=request.body,
                )
            )
        return tuple(inputs)

    def _attach(self, request: Request, state: RealmState, proof: Proof, now: float, integrity: bool) -> Request:
        value, state.sent = proof.header(
            request.method,
            request.uri_text,
            request.body,
            now=now,
            counter=self._counter,
            random=self._random,
            integrity=integrity,
            preemptive=proof.accepted,
        )
        state.given[state.origin.server] = proof.challenge
        return request.adding(proof.challenge.header, value)

    def _take_along(self, exchange: Challenged, request: Request, now: float, policy: AuthPolicy, pins: Pins) -> None:
        """Give the exchange the accepted proofs it may use, where it has none of its own (RFC 7616 section 3.6)."""
        reaches = [Reach("call", exchange.call_id), Reach("any")]
        if not exchange.origin.relays:  # else the Request-URI is what the other end of the call says it is
            reaches.insert(1, Reach("uri", request.uri_text))
        for proof in self.proofs.find(exchange.origin, reaches, now):
            if policy.pin_algorithm and proof.challenge.scheme == "digest" and pins.objection(proof.challenge):
                continue  # its realm has taken better since (T05)
            state = state_of(exchange.realms, proof.challenge, exchange.origin)
            if state.proof is None and not state.refuses(proof.credentials):
                state.proof, state.origin, state.arrived_at = proof, exchange.origin, proof.arrived_at


def _may_go(state: RealmState, proof: Proof, origin: Origin, request: Request, now: float) -> bool:
    if state.origin.server != origin.server or not proof.usable(now):
        return False
    if proof.challenge.scheme == "bearer" and not (origin.secure and ends_here(proof.challenge, request.method)):
        return False
    return proof.fits(request.method, request.uri_text, request.body)
