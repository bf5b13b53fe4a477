"""What a registrar granted, and how long it lasts, read from its answer to a REGISTER (RFC 3261 section 10.2.4)."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.authn.restraint import MAX_TIME
from sipcli.sip.syntax.message import Response
from sipcli.sip.syntax.uri import NameAddr, SipUri

__all__ = ["Binding", "granted", "longer", "own_contact", "refresh_in", "retry_after", "service_route", "verdict"]

MARGIN = 32.0
"""Seconds before expiry by which a refresh goes out: one full non-INVITE transaction."""
_REFUSALS = frozenset((401, 403, 407))


class Binding(NamedTuple):
    """Contact and AOR are tied until *expires_at* (the engine's clock); *expires_s* is what the registrar granted."""

    contact: str
    expires_at: float
    expires_s: int


def refresh_in(expires: float) -> float:
    """Seconds from the 200 to the refresh: at 80 % of the time, but never later than 32 s before its end."""
    if expires >= 1.5 * MARGIN:
        return min(0.8 * expires, expires - MARGIN)
    return expires / 2


def granted(response: Response, ours: str, user: str, asked: int) -> int:
    """Seconds that the registrar gave *our* Contact; it lists those of our other devices, too (section 10.2.4)."""
    try:
        text = _expires_of(response, ours, user)
        if text is not None and text.isascii() and text.isdigit() and len(text) < 11:
            return int(text)
        whole = response.expires
    except ParseError:
        return asked
    return asked if whole is None else whole


def _expires_of(response: Response, ours: str, user: str) -> str | None:
    alone = response.find("Contact") or ""
    if alone.startswith(f"<{ours}>;expires=") and len(response.all("Contact")) == 1:  # the usual case, unparsed
        text = alone[len(ours) + 11 :]
        if text.isdigit():
            return text
    mine = own_contact(response, ours, user)
    return None if mine is None else mine.param("expires")


def own_contact(response: Response, ours: str, user: str) -> NameAddr | None:
    """Which of the Contacts in *response* is ours.  Raises ParseError."""
    uri = SipUri.parse(ours)
    listed = [c for c in response.contacts if isinstance(c.uri, SipUri)]
    mine = next((c for c in listed if c.sip_uri.equivalent(uri)), None)
    if mine is None:  # a registrar behind a NAT fixer may write our host anew, but not our random user part
        mine = next((c for c in listed if c.sip_uri.user == user), None)
    return mine


def service_route(response: Response) -> tuple[str, ...]:
    """RFC 3608 section 6.1; a route that is none would lose every later request, so then there is no route at all."""
    try:
        routes = response.values("Service-Route")
        for route in routes:
            _ = NameAddr.parse(route).sip_uri
    except ParseError:
        return ()
    return routes


def longer(response: Response, asked: int) -> int | None:
    """Seconds that a 423 wants instead of *asked*; None when they are no more (RFC 3261 section 10.2.8)."""
    least = response.find("Min-Expires") or ""
    if response.status != 423 or not (least.isascii() and least.isdigit() and len(least) < 11):
        return None
    return int(least) if asked < int(least) < 2**32 else None


def retry_after(response: Response | None) -> float:
    """Seconds that it asks us to stay away, 0.0 if it does not say (RFC 3261 section 20.33)."""
    text = (response.find("Retry-After") or "") if response is not None else ""
    digits = text.partition("(")[0].partition(";")[0].strip()
    return min(float(digits), MAX_TIME) if digits.isascii() and digits.isdigit() and len(digits) < 9 else 0.0


def verdict(response: Response | None) -> Literal["refused", "failed"]:
    """How what was never granted ended: by a no to us, or by anything else, which says nothing of a secret."""
    return "refused" if response is not None and response.status in _REFUSALS else "failed"
