"""A 3xx to our INVITE: whither, and what the INVITE that follows it says (RFC 3261 section 8.1.3.4)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sipcli.errors import ParseError
from sipcli.sip.letter import Letter
from sipcli.sip.syntax.message import Response
from sipcli.sip.syntax.uri import NameAddr, SipUri
from sipcli.sip.targets import out_of_dialog

if TYPE_CHECKING:
    from sipcli.sip.account import AccountState
    from sipcli.sip.authn.origin import Origin
    from sipcli.sip.targets import Target

__all__ = ["DECIDE_LIMIT", "redirected_to", "sent_on"]

DECIDE_LIMIT = 120.0
"""Seconds until a redirection that nobody decides is a refusal; nobody waits for us meanwhile."""
_FOLLOWED = (300, 301, 302)
"""305 would name a proxy for us, and 380 something that is no call."""
_MAX_TARGETS = 8


def redirected_to(response: Response) -> tuple[SipUri, ...]:
    """Where *response* sends us: its SIP contacts, the dearest first, without headers; none where it sends nowhere."""
    if response.status not in _FOLLOWED:
        return ()
    try:
        contacts = sorted(response.contacts[:_MAX_TARGETS], key=_weight, reverse=True)
    except ParseError:
        return ()
    uris = [contact.uri for contact in contacts if isinstance(contact.uri, SipUri)]
    return tuple(uri.replace(headers=(), password=None).without_param("method") for uri in uris)


def _weight(contact: NameAddr) -> float:
    text = contact.param("q") or "1"
    return float(text) if text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) < 8 else 0.0


def sent_on(letter: Letter, account: AccountState | None, target: SipUri) -> Letter:
    """*letter* to another address: the same From, To and Call-ID, the next CSeq."""
    where = out_of_dialog(account, target)
    return dataclasses.replace(letter, target=lambda: where, standing=_standing)


def _standing(origin: Origin, target: Target) -> Origin:
    """Who sent us here may own what is behind our server: only what that asks for by itself is answered (T01, T22)."""
    return origin._replace(relays=True) if origin.bound else origin
