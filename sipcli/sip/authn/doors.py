"""One realm at two doors: registrar (401) and proxy (407) get their digests in one algorithm, or neither gets one.

RFC 3261 section 22.1: the realm alone is the protection space, so both doors
want the same secret; whoever had it in two algorithms could try words at the
weaker (threat T05).  A fork may bring both at once (RFC 8760 section 2.5).
"""

from __future__ import annotations

from collections.abc import Iterable

from sipcli.sip.authn.challenge import Challenge, Skipped
from sipcli.sip.authn.pins import strength
from sipcli.sip.authn.policy import Choice, GiveUp

__all__ = ["agreed", "in_step", "rank"]


def rank(challenge: Challenge) -> tuple[int, bool]:
    """How much a digest protects: its hash, ``-sess`` or not, and whether it has a qop."""
    return strength(challenge), bool(challenge.qop)


def in_step(one: Challenge, other: Challenge) -> bool:
    """May both be answered in one request?  A token is no digest; two digests must protect alike."""
    return "digest" not in (one.scheme, other.scheme) or one.scheme != other.scheme or rank(one) == rank(other)


def agreed(choice: Choice, carried: Iterable[Challenge]) -> Choice:
    """*choice* less the digests that the other door of their realm does not ask for; empty if a door is left with none.

    What the other door asks is in the same response; if nothing, in *carried*:
    the challenges that the last request answered, for it will answer them again.
    """
    before = tuple(carried)
    kept: list[Challenge] = []
    skipped: list[Skipped] = []
    for challenge in choice.usable:
        others = _across(challenge, choice.usable) or _across(challenge, before)
        if not others or any(in_step(challenge, other) for other in others):
            kept.append(challenge)
        else:
            words = f"not what the same realm asks for in its {401 if challenge.proxy else 407}"
            skipped.append(Skipped(challenge.scheme, challenge.realm, challenge.algorithm, words))
    told = choice._replace(usable=tuple(kept), skipped=choice.skipped + tuple(skipped))
    if _doors(kept) == _doors(choice.usable):
        return told
    return told._replace(usable=(), why=GiveUp.AT_ODDS)


def _across(challenge: Challenge, challenges: Iterable[Challenge]) -> list[Challenge]:
    return [other for other in challenges if other.realm == challenge.realm and other.proxy != challenge.proxy]


def _doors(challenges: Iterable[Challenge]) -> set[tuple[str, bool]]:
    return {(challenge.realm, challenge.proxy) for challenge in challenges}
