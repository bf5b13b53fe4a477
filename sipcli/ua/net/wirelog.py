"""SIP as it was on the wire, without what must not be written down (threats T14, T32)."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from sipcli.sip.flow import Flow

__all__ = ["MASK", "WireRecord", "mask"]

MASK: Final = b"***"


class WireRecord(NamedTuple):
    """One message, unmasked.  *at* is the loop's time in seconds; *direction* is ours."""

    direction: Literal["in", "out"]
    flow: Flow
    data: bytes
    at: float


# A header that carries credentials or a challenge, with its folded lines.
_AUTH = re.compile(
    rb"^((?:proxy-)?authorization|(?:proxy|www)-authenticate|(?:proxy-)?authentication-info)"
    rb"([ \t]*+:[ \t]*+)([^\r\n]*+(?>(?:\r?\n[ \t][^\r\n]*+)*))",
    re.IGNORECASE | re.MULTILINE,
)
# What of a digest is secret, or lets somebody guess at the password off line; ik and ck are the keys that a mobile
# network's own proxy should have taken out of a challenge (3GPP TS 24.229 section 5.2.2).
_DIGEST_SECRET = re.compile(
    rb"\b(response|nonce|cnonce|nextnonce|rspauth|auts|opaque|ik|ck)([ \t\r\n]*+=[ \t\r\n]*+)"
    rb"(?:\"[^\"\\]*+(?>(?:\\.[^\"\\]*+)*)\"?|[^\s,]*+)",
    re.IGNORECASE | re.DOTALL,
)
_DIGEST = re.compile(rb"[ \t\r\n]*+digest\b", re.IGNORECASE)
# A challenge of another scheme is parameters (`Bearer authz_server="…"`); credentials of another scheme are a token.
_OTHER_CREDENTIALS = re.compile(rb"([A-Za-z0-9\-.!%*_+`'~]++[ \t\r\n]++)(.+)", re.DOTALL)
# Session keys in SDP (RFC 4568, RFC 8839, and the obsolete k= of RFC 8866 section 5.12).
_SDP_SECRET = re.compile(
    rb"^(?:(a=crypto:)([^\r\n]++)|(a=ice-pwd:)[^\r\n]++|(k=(?:clear|base64|uri):)[^\r\n]++|(a=key-mgmt:)[^\r\n]++)",
    re.MULTILINE,
)
# What follows a method: `inline:` may be there more than once, and in FEC_KEY= (RFC 4568 sections 6.1 and 6.3.5).
_KEY = re.compile(rb"(:[ \t]*+)[^ \t|;]++")
# sip:user:password@host
_URI_PASSWORD = re.compile(rb"(\bsips?:[^\s:@<>\"]*+:)[^\s@<>\"\[\]]{1,256}+(?=@)", re.IGNORECASE)


def mask(data: bytes) -> bytes:
    """*data* with ``***`` for credentials, nonces, session keys and URI passwords.  Works on any octets."""
    # Body and head alike: a body may repeat a request (message/sip, message/sipfrag), and what is no message has none.
    return _SDP_SECRET.sub(_masked_line, _URI_PASSWORD.sub(rb"\1" + MASK, _AUTH.sub(_masked_field, data)))


def _masked_field(match: re.Match[bytes]) -> bytes:
    name, colon, value = match.groups()
    challenge = name.lower().endswith((b"authenticate", b"authentication-info"))
    if challenge or _DIGEST.match(value):
        value = _DIGEST_SECRET.sub(rb"\1\2" + b'"' + MASK + b'"', value)
    else:
        token = _OTHER_CREDENTIALS.fullmatch(value)
        value = token[1] + MASK if token is not None else MASK
    return bytes(name + colon + value)


def _masked_line(match: re.Match[bytes]) -> bytes:
    crypto, keys, *others = match.groups()
    if crypto is not None:
        return bytes(crypto + _KEY.sub(rb"\1" + MASK, keys))
    kept: bytes = next(group for group in others if group is not None)
    return kept + MASK
