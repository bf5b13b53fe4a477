"""What registration tests say: the registrar's yes, a lease, and what was told."""

from __future__ import annotations

from sipcli.credentials import PasswordCredentials, Secret
from sipcli.sip import events
from tests.support.pair import Wire, response


def leased() -> PasswordCredentials:
    """A password whose lease is over before the refresh: the store has to be asked again."""
    return PasswordCredentials("alice", Secret("wonderland"), expires_in=5.0)


def states(wire: Wire) -> list[str]:
    return [event.state for event in wire.told(events.RegistrationChanged)]


def ok(request, *lines: str, expires: int = 600) -> bytes:
    contact = request.header("contact").partition(";expires")[0]
    return response(request, 200, "OK", f"Contact: {contact};expires={expires}", *lines)
