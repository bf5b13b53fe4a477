"""One realm inside one exchange: which secrets were tried, which was refused, and what a new challenge means.

RFC 3261 section 22.1 (what was refused is not sent again), RFC 7616 section
3.3 (``stale``).  The four meanings of "401, after we had answered":

* the nonce was stale, or came from an earlier exchange: the secret may be good
* our answer was late, and the server does not know the word stale: the same, once
* another server answers than before: it has not seen the secret yet
* anything else: the secret is wrong
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TypeAlias

from sipcli.credentials import Credentials, SignedCredentials
from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.authn.digest import can_answer
from sipcli.sip.authn.doors import agreed, in_step, rank
from sipcli.sip.authn.origin import Origin
from sipcli.sip.authn.pins import Pins
from sipcli.sip.authn.policy import AuthPolicy, Choice, GiveUp, choose
from sipcli.sip.authn.proof import Proof, Sent, Server

__all__ = [
    "Answers",
    "Meaning",
    "RealmState",
    "choose_for",
    "keep_in_step",
    "must_yield",
    "pick_all",
    "shown",
    "state_of",
]


class Meaning(enum.Enum):
    """What a challenge says about the secret we have."""

    ASK = "there is none: somebody must decide"
    AGAIN = "the same secret, this nonce"
    REFUSED = "the secret was refused"
    LOOP = "stale once too often"
    BEHIND = "it rang, so the secret was taken: who asks now is not who took it"

    @property
    def end(self) -> GiveUp | None:
        """What the exchange ends with; None where it goes on."""
        return _ENDS.get(self)


_ENDS = {Meaning.LOOP: GiveUp.STALE_LOOP, Meaning.BEHIND: GiveUp.FOREIGN_ORIGIN}


MAX_RESYNCS = 2
"""How often one exchange asks an AKA server for a newer sequence number; one that then knows it needs no second."""


@dataclass(eq=False, slots=True)
class RealmState:
    """The story of one realm, at one door (401 or 407), in one exchange.

    *attempt* counts distinct secrets, from 1; *stale_run* the ``stale=true`` in a
    row; *rejected* holds the very objects that were refused.  *offers* are the
    challenges last received that policy lets us answer, topmost first.  *proof*
    is what answers them, None while that is undecided; *sent* is what the last
    request carried, None if it carried nothing for this realm.
    """

    realm: str
    proxy: bool
    origin: Origin
    attempt: int = 1
    stale_run: int = 0
    offers: tuple[Challenge, ...] = ()
    proof: Proof | None = None
    rejected: tuple[Credentials, ...] = ()
    arrived_at: float = 0.0
    sent: Sent | None = None
    accepted: bool = False
    spared: bool = False
    """The present secret has had its second chance."""
    resyncs: int = 0
    """How often the answer was ``auts``."""
    given: dict[Server, Challenge] = field(default_factory=dict)
    """What each server was last given an answer to."""

    @property
    def challenge(self) -> Challenge | None:
        """The challenge being answered: the proof's, else the topmost offered."""
        if self.proof is not None:
            return self.proof.challenge
        return self.offers[0] if self.offers else None

    @property
    def credentials(self) -> Credentials | None:
        """What answers it - of what was signed, the key -, None while undecided."""
        return None if self.proof is None else self.proof.owner

    @property
    def sent_at(self) -> float | None:
        """When the answer last left, None if the last request carried none."""
        return None if self.sent is None else self.sent.at

    def hear(self, offers: Sequence[Challenge], origin: Origin, now: float, policy: AuthPolicy) -> Meaning:
        """Take in what *origin* asks now, and say what it means for the secret we answered with."""
        proof, sent = self.proof, self.sent
        late = sent is not None and sent.at - self.arrived_at > policy.late_answer
        self.offers, self.origin, self.arrived_at = tuple(offers), origin, now
        self.proof = self.sent = None
        if proof is None:
            return Meaning.ASK
        if sent is None:
            # The request went out without it: another server took over (RFC 3263 section 4.3), the secret is in hand.
            return self._again(proof, now)
        if sent.resync:
            # We refused the server's sequence number, not the server our key (RFC 3310 section 3.4).
            return Meaning.ASK
        stale = [offer for offer in self.offers if offer.stale and offer.scheme == proof.challenge.scheme]
        if stale:
            self.stale_run += 1
            if self.stale_run > policy.max_stale or any(challenge.nonce == sent.nonce for challenge in stale):
                return Meaning.LOOP
            return self._again(proof, now)
        self.stale_run = 0
        if sent.passed:
            return Meaning.BEHIND
        if self._deserves_another_chance(sent, late=late):
            self.spared = True
            return self._again(proof, now)
        self.rejected += (proof.owner,)
        self.attempt += 1
        self.spared = False
        return Meaning.REFUSED

    def refuses(self, credentials: Credentials) -> bool:
        """Was this refused here - this very object, or the same user with the same value?  In constant time.

        Of what was signed it is the key that counts.
        """
        if isinstance(credentials, SignedCredentials):
            credentials = credentials.key
        return bool(self.rejected) and any(
            refused is credentials
            or (refused.username == credentials.username and refused.secret == credentials.secret)
            for refused in self.rejected
        )

    def follow(self, lead: Challenge, now: float) -> None:
        """Answer in the algorithm of *lead*, which the realm's other door gets; undecided if that cannot be."""
        self.offers = tuple(offer for offer in self.offers if in_step(offer, lead))
        if self.proof is not None and not in_step(self.proof.challenge, lead):
            proof, self.proof = self.proof, None
            self._again(proof, now)

    def picks(self, candidates: Sequence[Credentials]) -> Iterator[tuple[Challenge, Credentials]]:
        """The challenges that some candidate answers, topmost first, each with that candidate.

        One made for this realm comes before one for any; what was refused does not count.
        """
        for challenge in self.offers:
            fit = [each for each in candidates if can_answer(challenge, each) and not self.refuses(each)]
            if fit:
                yield challenge, next((each for each in fit if each.realm == self.realm), fit[0])

    def may_resync(self) -> bool:
        return self.resyncs < MAX_RESYNCS

    def _again(self, proof: Proof, now: float) -> Meaning:
        if proof.usable(now) and not proof.signed:
            for challenge in self.offers:
                if can_answer(challenge, proof.credentials):
                    self.proof = proof.renewed(challenge, now)
                    return Meaning.AGAIN
        return Meaning.ASK

    def _deserves_another_chance(self, sent: Sent, *, late: bool) -> bool:
        """Kamailio (by default) and others do not say ``stale`` when a nonce has expired.

        So a refusal is no verdict if the nonce had time to expire while we
        waited for the secret, or was left over from an earlier exchange; once,
        and only if the new nonce really is another.  A quick answer to a fresh
        nonce gets no such benefit: there the RFC's word stands (22.1).
        """
        if self.spared or not sent.nonce or any(challenge.nonce == sent.nonce for challenge in self.offers):
            return False
        return late or sent.preemptive


def state_of(states: MutableMapping[str, RealmState], challenge: Challenge, origin: Origin) -> RealmState:
    """The state that *challenge* belongs to, made if it is the first of its realm and door.

    The realm alone defines the protection space (RFC 3261 section 22.1), so it is
    the key.  A fork may ask the same realm at both doors at once: the second
    door then gets a key that no realm can spell.
    """
    key = challenge.realm
    if (known := states.get(key)) is not None and known.proxy != challenge.proxy:
        key = f"\0{challenge.realm}"
    if key not in states:
        states[key] = RealmState(challenge.realm, challenge.proxy, origin)
    return states[key]


def choose_for(
    states: Collection[RealmState],
    challenges: Sequence[Challenge],
    origin: Origin,
    policy: AuthPolicy,
    pins: Pins,
    method: str,
    *,
    may_ask: bool,
) -> Choice:
    """Sort *challenges*, to an exchange in these *states*, into those we may answer and those we may not."""
    before, wanted = answered(states, origin), policy.preferred(challenges)
    choice = choose(wanted, origin, policy, pins, method=method, answered=before, may_ask=may_ask)
    return agreed(choice, repeated(states, origin)) if policy.pin_algorithm else choice


def answered(states: Iterable[RealmState], origin: Origin) -> tuple[Challenge, ...]:
    """What this exchange has answered, door by door, as far as *origin* is the server that saw the answers."""
    return tuple(state.given[origin.server] for state in states if origin.server in state.given)


def repeated(states: Iterable[RealmState], origin: Origin) -> tuple[Challenge, ...]:
    """What the last request to *origin* answered, and the next one will: not what it took along unasked."""
    return tuple(
        state.proof.challenge
        for state in states
        if state.proof is not None
        and state.sent is not None
        and not state.sent.preemptive
        and state.origin.server == origin.server
    )


def shown(states: Iterable[RealmState], origin: Origin) -> list[tuple[RealmState, Proof]]:
    """What the last request proved to *origin*, if that is the account's own server; an ``auts`` proves nothing.

    Nor does what was wiped since: nobody can keep it, or compare a proof of the server's with it.
    """
    if not origin.bound:
        return []
    sent = ((state, state.proof) for state in states if state.sent is not None and not state.sent.resync)
    return [(state, proof) for state, proof in sent if proof is not None and proof.credentials.secret]


def keep_in_step(doors: Sequence[RealmState], now: float) -> None:
    """What a secret in hand answers at one of *doors*, all just heard, binds the other door of its realm."""
    for state, other in combinations(doors, 2):
        if state.realm == other.realm:
            lead, second = (state, other) if state.proof is not None else (other, state)
            if lead.proof is not None:
                second.follow(lead.proof.challenge, now)


def must_yield(state: RealmState, going: Iterable[RealmState]) -> bool:
    """Does *state*'s answer stay behind, because one of another algorithm goes to the other door of its realm?

    What this exchange was asked for goes before what it took along unasked, then the stronger.
    """
    for other in going:
        if other is state or other.realm != state.realm or state.proof is None or other.proof is None:
            continue
        if not in_step(state.proof.challenge, other.proof.challenge):
            return _precedence(other, other.proof) > _precedence(state, state.proof)
    return False


def _precedence(state: RealmState, proof: Proof) -> tuple[bool, tuple[int, bool], bool]:
    return not proof.accepted, rank(proof.challenge), state.proxy


Answers: TypeAlias = tuple[tuple[RealmState, Challenge, Credentials], ...]
"""For each door its challenge, and what will answer it."""

_Pick: TypeAlias = tuple[Challenge, Credentials]


def pick_all(doors: Sequence[RealmState], candidates: Sequence[Credentials], policy: AuthPolicy) -> Answers | GiveUp:
    """One answer for every door, or why there is none: all or nothing, for half an answer only earns the next 401."""
    answers: dict[RealmState, _Pick] = {}
    for realm in dict.fromkeys(state.realm for state in doors):
        picked = _pick_together([state for state in doors if state.realm == realm], candidates, policy)
        if isinstance(picked, GiveUp):
            return picked
        answers.update(picked)
    return tuple((state, *answers[state]) for state in doors)


def _pick_together(
    doors: Sequence[RealmState], candidates: Sequence[Credentials], policy: AuthPolicy
) -> dict[RealmState, _Pick] | GiveUp:
    """For the one door of a realm, or both: the topmost of the first that the second can be answered like, too."""
    at_odds = False
    for picked in _combined(doors, candidates):
        (first, _), (last, _) = picked[0], picked[-1]
        if policy.pin_algorithm and not in_step(first, last):
            at_odds = True
            continue
        chosen = dict(zip(doors, picked, strict=True))
        if any(_resyncs(credentials) and not state.may_resync() for state, (_, credentials) in chosen.items()):
            return GiveUp.TOO_MANY_ATTEMPTS
        return chosen
    if at_odds:
        return GiveUp.AT_ODDS
    lacking = [state for state in doors if next(state.picks(candidates), None) is None]
    refused = any(state.refuses(candidate) for state in lacking for candidate in candidates)
    return GiveUp.REFUSED if refused else GiveUp.NO_CREDENTIALS


def _combined(doors: Sequence[RealmState], candidates: Sequence[Credentials]) -> Iterator[tuple[_Pick, ...]]:
    """Every way to answer *doors*, one or two, the order of the first one before that of the second."""
    first, *second = doors
    for pick in first.picks(candidates):
        if not second:
            yield (pick,)
            continue
        signed = isinstance(pick[1], SignedCredentials)
        left = [each for each in candidates if each is not pick[1]] if signed else candidates  # it goes out once
        for other in second[0].picks(left):
            yield pick, other


def _resyncs(credentials: Credentials) -> bool:
    return isinstance(credentials, SignedCredentials) and credentials.signature.auts is not None
