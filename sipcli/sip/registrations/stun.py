"""STUN Binding, as a UDP flow is kept alive by it: one request, one answer (RFC 8489 sections 5 and 14, RFC 5626 8).

No credentials are sent and none are checked: what the answer says is compared with what it said before, nothing more.
"""

from __future__ import annotations

import ipaddress
import struct
import zlib
from typing import Final, NamedTuple

from sipcli.errors import ParseError
from sipcli.sip.flow import Address

__all__ = ["BindingAnswer", "binding_request", "is_stun", "parse_answer"]

MAGIC_COOKIE: Final = 0x2112A442
_HEAD = struct.Struct("!HHI12s")
_REQUEST, _SUCCESS, _ERROR = 0x0001, 0x0101, 0x0111
_MAPPED_ADDRESS, _XOR_MAPPED_ADDRESS, _ERROR_CODE, _FINGERPRINT = 0x0001, 0x0020, 0x0009, 0x8028
_FINGERPRINT_XOR: Final = 0x5354554E


class BindingAnswer(NamedTuple):
    """*mapped* is our address as the server saw it, None when it does not say or *error* (a STUN code) came instead."""

    transaction: bytes
    mapped: Address | None
    error: int | None = None


def is_stun(data: bytes | memoryview) -> bool:
    """Could this be STUN?  The first octet and the cookie tell it from SIP at the same port (RFC 8489 section 5)."""
    return len(data) >= _HEAD.size and data[0] < 4 and bytes(data[4:8]) == MAGIC_COOKIE.to_bytes(4)


def binding_request(transaction: bytes) -> bytes:
    """A Binding request with a fingerprint (section 14.7), so that a server with SIP at the same port is sure of it.

    *transaction* has 12 random octets.
    """
    head = _HEAD.pack(_REQUEST, 8, MAGIC_COOKIE, transaction)
    return head + struct.pack("!HHI", _FINGERPRINT, 4, zlib.crc32(head) ^ _FINGERPRINT_XOR)


def parse_answer(data: bytes) -> BindingAnswer | None:
    """A success or error response to a Binding request; None for any other STUN message.  Raises ParseError."""
    if not is_stun(data):
        raise ParseError("this is no STUN message")
    kind, length, _, transaction = _HEAD.unpack_from(data)
    if kind not in (_SUCCESS, _ERROR):
        return None
    if length % 4 or length != len(data) - _HEAD.size:
        raise ParseError("a STUN message is not as long as it says")
    attributes = _attributes(data)
    # It is always the last attribute, and counts what is before it.
    fingerprint = struct.pack("!I", zlib.crc32(data[:-8]) ^ _FINGERPRINT_XOR)
    if attributes.get(_FINGERPRINT, fingerprint) != fingerprint:
        raise ParseError("a STUN message has a wrong fingerprint")
    if kind == _ERROR:
        code = attributes.get(_ERROR_CODE, b"")
        return BindingAnswer(transaction, None, code[2] * 100 + code[3] if len(code) >= 4 else 500)
    if _XOR_MAPPED_ADDRESS in attributes:
        mask = MAGIC_COOKIE.to_bytes(4) + transaction
        return BindingAnswer(transaction, _address(attributes[_XOR_MAPPED_ADDRESS], mask))
    mapped = attributes.get(_MAPPED_ADDRESS)  # servers of RFC 3489 know no other
    return BindingAnswer(transaction, None if mapped is None else _address(mapped, bytes(16)))


def _attributes(data: bytes) -> dict[int, bytes]:
    """Type to value; of one that is there twice, the first (section 14)."""
    found: dict[int, bytes] = {}
    at = _HEAD.size
    while at + 4 <= len(data):
        kind, size = struct.unpack_from("!HH", data, at)
        value = data[at + 4 : at + 4 + size]
        if len(value) < size:
            raise ParseError("a STUN attribute is longer than its message")
        found.setdefault(kind, value)
        at += 4 + size + -size % 4
    return found


def _address(value: bytes, mask: bytes) -> Address:
    """The XOR is over port and address (section 14.2); a mask of zeros leaves them as they are (section 14.1)."""
    size = {1: 4, 2: 16}.get(value[1] if len(value) > 1 else 0)
    if size is None or len(value) != 4 + size:
        raise ParseError("a STUN address of no known family")
    port = int.from_bytes(value[2:4]) ^ int.from_bytes(mask[:2])
    host = bytes(octet ^ other for octet, other in zip(value[4:], mask, strict=False))
    return str(ipaddress.ip_address(host)), port
