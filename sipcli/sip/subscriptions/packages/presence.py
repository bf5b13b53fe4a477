"""Presence: ``application/pidf+xml`` (RFC 3863), and the activities of RFC 4480 in it."""

from __future__ import annotations

from typing import NamedTuple

from sipcli.sip.subscriptions.packages.tree import Element, parse_xml

__all__ = ["PresenceContact", "PresenceState", "parse_presence"]

MAX_TUPLES = 64
MAX_ACTIVITIES = 16


class PresenceContact(NamedTuple):
    """One tuple: a way to reach somebody.  *open* is None where the document does not say (RFC 3863 section 4.1.4)."""

    id: str
    open: bool | None
    contact: str | None = None
    note: str | None = None


class PresenceState(NamedTuple):
    """*open*: can somebody be reached at all?  *activities* are RFC 4480's words: ``on-the-phone``, ``away``."""

    entity: str
    open: bool | None
    note: str | None = None
    activities: tuple[str, ...] = ()
    contacts: tuple[PresenceContact, ...] = ()


def parse_presence(octets: bytes) -> PresenceState:
    """Raises ParseError.  A document that says nothing is one, too: the neutral state (RFC 3856 section 6.2)."""
    root = parse_xml(octets, "presence")
    tuples = tuple(_contact(element) for element in list(root.all("tuple"))[:MAX_TUPLES])
    known = [contact.open for contact in tuples if contact.open is not None]
    activities = [
        word.name
        for holder in (*root.all("person"), *root.all("tuple"))
        for group in holder.all("activities")
        for word in group.children
    ]
    notes = [
        root.word("note"),
        *(holder.word("note") for holder in root.all("person")),
        *(contact.note for contact in tuples),
    ]
    return PresenceState(
        entity=root.attributes.get("entity", ""),
        open=any(known) if known else None,
        note=next((note for note in notes if note), None),
        activities=tuple(dict.fromkeys(activities))[:MAX_ACTIVITIES],
        contacts=tuples,
    )


def _contact(element: Element) -> PresenceContact:
    status = element.find("status")
    basic = (status.word("basic") or "").lower() if status is not None else ""
    known = {"open": True, "closed": False}.get(basic)
    return PresenceContact(element.attributes.get("id", ""), known, element.word("contact"), element.word("note"))
