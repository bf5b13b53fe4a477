"""The server's own proof, and the nonce it wants next: (Proxy-)Authentication-Info (RFC 7616 section 3.5, RFC 7615)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sipcli.sip.authn.challenge import split_challenges
from sipcli.sip.authn.realm import RealmState

if TYPE_CHECKING:
    from sipcli.sip.syntax.message import Response

__all__ = ["find_impostor", "parse_auth_info"]


def parse_auth_info(value: str) -> dict[str, str]:
    """The parameters of one Authentication-Info value, names in lower case; empty when malformed.  Never raises."""
    match list(split_challenges(value)):
        case [info] if not info.flaw and not info.scheme:
            return info.params
        case _:
            return {}


def find_impostor(response: Response, carried: Sequence[RealmState], now: float) -> RealmState | None:
    """The state whose server failed to prove that it knows our secret; None if nobody lied.

    Takes each ``nextnonce`` on the way: the proof goes on with it.  A server that
    sends no ``rspauth`` proves nothing and is not blamed for it: most do not.  But
    then its ``nextnonce`` is taken from the answer to a REGISTER only: any other
    may be of whoever we called, and a nonce of his choice is what he wants signed.
    """
    for header, proxy in (("Authentication-Info", False), ("Proxy-Authentication-Info", True)):
        for value in response.all(header):
            info = parse_auth_info(value)
            state = _addressee(info, [state for state in carried if state.proxy is proxy])
            if state is None or state.proof is None or state.sent is None:
                continue
            rspauth = info.get("rspauth")
            if rspauth is not None and not state.proof.vouches(state.sent, rspauth, response.body):
                return state
            if "nextnonce" in info and (rspauth is not None or state.sent.method == "REGISTER"):
                state.proof.continued(info["nextnonce"], now)
    return None


def _addressee(info: dict[str, str], candidates: Sequence[RealmState]) -> RealmState | None:
    """Whose answer *info* is about.  It names no realm, but repeats our cnonce; without one there must be no doubt."""
    digests = [state for state in candidates if state.proof is not None and state.proof.challenge.scheme == "digest"]
    cnonce = info.get("cnonce")
    if cnonce is not None:
        digests = [state for state in digests if state.sent is not None and state.sent.cnonce == cnonce]
    return digests[0] if len(digests) == 1 else None
