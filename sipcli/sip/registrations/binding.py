"""What a registrar granted, and how long it lasts, read from its answer to a REGISTER (RFC 3261 section 10.2.4)."""

from __future__ import annotations

from typing import NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.syntax.message import Response
from sipcli.sip.syntax.uri import NameAddr, SipUri

__all__ = ["Binding", "granted", "own_contact", "service_route"]


class Binding(NamedTuple):
    """Contact and AOR are tied until *expires_at* (the engine's clock); *expires_s* is what the registrar granted."""

    contact: str
    expires_at: float
    expires_s: int


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
