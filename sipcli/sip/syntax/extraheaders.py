"""Headers that a person adds to a request, and those that are not his to write (RFC 3261 section 20)."""

from __future__ import annotations

from sipcli.errors import ParseError
from sipcli.sip.syntax.grammar import is_token
from sipcli.sip.syntax.headers import header_key

__all__ = ["extra_header"]

_OURS = frozenset((
    "via", "from", "to", "call-id", "cseq", "max-forwards", "contact", "user-agent", "route", "record-route", "path",
    "service-route", "content-length", "content-type", "content-encoding", "content-disposition", "authorization",
    "proxy-authorization", "www-authenticate", "proxy-authenticate", "authentication-info",
    "proxy-authentication-info", "expires", "min-expires", "session-expires", "min-se", "allow", "allow-events",
    "supported", "require", "proxy-require", "unsupported", "accept", "accept-encoding", "recv-info", "info-package",
    "event", "subscription-state", "rack", "rseq", "refer-to", "refer-sub", "replaces", "sip-if-match", "sip-etag",
))  # fmt: skip
"""What says where a request goes, who sends it, what it holds and what we can: a second one would contradict ours."""


def extra_header(text: str) -> tuple[str, str]:
    """``Name: value`` as a person writes it.  ParseError where it is none, or the stack writes that header itself.

    What is wrong is told without the value: it may be a secret that was put into the wrong place.
    """
    name, colon, value = text.partition(":")
    name, value = name.rstrip(" "), value.strip(" ")
    if not colon:
        raise ParseError("there is no colon in it; write it as 'X-A: b'")
    if not is_token(name):
        raise ParseError(f"{name[:40]!r} is no header name; write it as 'X-A: b'")
    if header_key(name) in _OURS:
        raise ParseError(f"{name} is written by sipcli itself")
    if not value.isprintable():  # stricter than the grammar: nobody types a tab or an escape sequence on purpose
        raise ParseError(f"the value of {name[:40]} holds a line end or another control character")
    return name, value
