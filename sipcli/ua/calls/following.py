"""Whither we let ourselves be sent, by a REFER or a 3xx: the rules against toll fraud (threat T22)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sipcli.sip.syntax.uri import SipUri, Uri

if TYPE_CHECKING:
    from sipcli.ua.account import Account

__all__ = ["MAX_HOPS", "objection", "same_domain_objection"]

MAX_HOPS = 5
"""Times one call may be sent on, also if a person agrees each time."""
# A number of the public network: somebody pays for it.  Extensions are shorter.  Gateways dial what is left of a user
# part without its parameters (RFC 3261 section 19.1.6) and behind a service code, so it may stand anywhere.
_NUMBER = re.compile(r"^\+[0-9]|[0-9]{7}")
_SEPARATORS = str.maketrans("", "", "-.()/, ")
_PLAIN_PARAMS = frozenset(("transport", "user"))


def objection(target: SipUri, account: Account | None, trail: Sequence[Uri], *, secure: bool) -> tuple[int, str] | None:
    """Why nobody may send us to *target*, whatever anybody says: a status and a reason; None if somebody may.

    *trail* holds whom the call was with before, *secure*: it was made with sips.
    """
    if account is not None and _is_ours(target, account):
        return 482, "it leads back to us"
    if len(trail) >= MAX_HOPS:
        return 483, f"the call was sent on {len(trail)} times already"
    if secure and not target.secure:
        return 403, "it leads from sips to sip"
    return None


def same_domain_objection(target: SipUri, account: Account | None, trail: Sequence[Uri]) -> str | None:
    """Why it takes a person to go to *target*; None where ``same-domain`` lets us go by ourselves."""
    if account is None or target.host.lower() != account.aor.host.lower():
        return "it is not in our domain"
    if target.port not in (None, account.aor.port) or any(
        name.lower() not in _PLAIN_PARAMS for name, _ in target.params
    ):
        return "it is not a plain address of our domain"
    if (target.param("user") or "").lower() == "phone" or _NUMBER.search(target.user_text.translate(_SEPARATORS)):
        return "it is a telephone number"
    if any(isinstance(before, SipUri) and before.aor.equivalent(target.aor) for before in trail):
        return "the call was there before"
    return "the call was sent on before" if trail else None


def _is_ours(target: SipUri, account: Account) -> bool:
    ours = account.aor
    return target.user_text == ours.user_text and target.host.lower() == ours.host.lower()
