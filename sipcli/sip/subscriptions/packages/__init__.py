"""Event packages: what may be subscribed to, and how its bodies are read (RFC 6665 section 7)."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["PACKAGES", "EventPackage"]


class EventPackage(NamedTuple):
    """*name* is the Event header's word; *expires*, in seconds, what the package recommends.

    *forks*: whether every notifier that a SUBSCRIBE reached is kept, or the first one only.
    """

    name: str
    accept: tuple[str, ...]
    expires: int = 3600
    forks: bool = True


PACKAGES: Final = {
    "mwi": EventPackage("message-summary", ("application/simple-message-summary",)),  # RFC 3842 section 3.10
    "presence": EventPackage("presence", ("application/pidf+xml",), forks=False),  # RFC 3856 section 6.9
    "dialog": EventPackage("dialog", ("application/dialog-info+xml",)),  # RFC 4235 section 3.9
}
"""By the word that people use for it."""
