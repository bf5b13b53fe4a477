"""WebSocket octets by hand (RFC 6455): upgrades and frames as no library would make them."""

from __future__ import annotations

import base64
import hashlib
import re
import struct

__all__ = ["agreed", "frame", "upgrade"]

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = None,
    length: int | None = None,
    wide: int = 0,
) -> bytes:
    """One frame; *length* is what it claims, *wide* the octets (2 or 8) of that, needed or not."""
    size = len(payload) if length is None else length
    wide = wide or (0 if size < 126 else 2 if size < 1 << 16 else 8)
    short = size if wide == 0 else 126 if wide == 2 else 127
    long = b"" if wide == 0 else struct.pack("!H" if wide == 2 else "!Q", size)
    head = bytes((fin << 7 | rsv << 4 | opcode, (mask is not None) << 7 | short)) + long
    if mask is None:
        return head + payload
    return head + mask + bytes(octet ^ mask[n % 4] for n, octet in enumerate(payload))


def agreed(request: bytes) -> list[bytes]:
    """The lines of a right answer to an upgrade."""
    key = re.search(rb"(?i)Sec-WebSocket-Key: (\S+)", request)
    assert key is not None
    proof = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
    return [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + proof,
        b"Sec-WebSocket-Protocol: sip",
    ]


def upgrade(lines: list[bytes]) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"
