"""Which transaction does a message belong to?  The keys of RFC 3261 sections 17.1.3, 17.2.3 and 8.2.2.2."""

from __future__ import annotations

from typing import Final, TypeAlias

from sipcli.sip.syntax.message import Message, Request

__all__ = [
    "MAGIC_COOKIE",
    "Key",
    "ack_keys",
    "client_key",
    "dialog_key",
    "has_cookie",
    "merge_key",
    "server_key",
    "via_count",
]

MAGIC_COOKIE: Final = "z9hG4bK"
Key: TypeAlias = tuple[object, ...]


def has_cookie(branch: str | None) -> bool:
    """Whether *branch* may be trusted to be unique: the cookie of RFC 3261 section 8.1.1.7, and something after it.

    A bare cookie is a broken client (RFC 4475 section 3.2.2, "badbranch"): its
    branch is the same in every request, so the rules of RFC 2543 apply.
    """
    return branch is not None and len(branch) > len(MAGIC_COOKIE) and branch.startswith(MAGIC_COOKIE)


def client_key(branch: str | None, method: str) -> Key:
    """Branch and CSeq method: a CANCEL shares the branch of its INVITE (RFC 3261 section 17.1.3)."""
    return (branch, method)


def server_key(request: Request, method: str | None = None) -> Key:
    """The key of the server transaction that *request* belongs to, as if its method were *method* (section 17.2.3)."""
    method = method or request.method
    via = request.via
    if has_cookie(via.branch):
        return (via.branch, via.host.lower(), via.port, method)
    return _key_2543(request, method, request.to.tag)


def ack_keys(ack: Request) -> tuple[Key, ...]:
    """Where the INVITE of an ACK may be filed.

    With the cookie there is one place.  Without it, the To tag of the ACK is
    that of our response; the INVITE had the same one inside a dialog, or none.
    """
    if has_cookie(ack.via.branch):
        return (server_key(ack, "INVITE"),)
    return (_key_2543(ack, "INVITE", None), _key_2543(ack, "INVITE", ack.to.tag))


def merge_key(request: Request) -> Key | None:
    """From tag, Call-ID and CSeq of a request outside of a dialog; None inside (RFC 3261 section 8.2.2.2)."""
    if request.to.tag is not None:
        return None
    return (request.from_.tag, request.call_id, request.cseq)


def via_count(message: Message) -> int:
    """How many Via values; one, nearly always, and then nothing is parsed for it."""
    lines = message.headers.octets("via")
    return 1 if len(lines) == 1 and b"," not in lines[0] else len(message.vias)


def dialog_key(message: Message, to_tag: str | None) -> Key:
    """What an ACK to a 2xx has in common with its INVITE, although its branch is new (RFC 3261 section 13.2.2.4)."""
    return (message.call_id, message.from_.tag, to_tag, message.cseq.number)


def _key_2543(request: Request, method: str, to_tag: str | None) -> Key:
    return (
        request.uri_text,
        to_tag,
        request.from_.tag,
        request.call_id,
        request.cseq.number,
        str(request.via),
        method,
    )
