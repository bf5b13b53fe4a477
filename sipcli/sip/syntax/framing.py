"""Octets of a stream to messages, and keep-alives (RFC 3261 sections 7.5 and 18.3, RFC 5626 section 4.4.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from sipcli.errors import ParseError
from sipcli.sip.syntax.message import (
    CHALLENGE_LINE,
    MAX_HEADERS,
    MAX_LINE,
    MAX_MESSAGE,
    content_length,
    find_answerable,
    is_too_long,
)

__all__ = ["KEEPALIVE", "PONG", "Ping", "StreamFramer"]

KEEPALIVE: Final = b"\r\n\r\n"
"""What a client sends to keep a flow alive (RFC 5626 section 4.4.1)."""

PONG: Final = b"\r\n"
"""What the other side answers."""

_HEAD_END = b"\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"\r\n((?:content-length|l)[ \t]*+:[^\r]*+(?>(?:\r\n[ \t][^\r]*+)*))", re.IGNORECASE)


class Ping(Enum):
    """A keep-alive between two messages."""

    PING = "ping"
    """A double CRLF: answer it with :data:`PONG`."""
    PONG = "pong"
    """The single CRLF that answers ours; found only after :meth:`StreamFramer.pinged`."""


class StreamFramer:
    """Cuts one direction of a stream into the octets of whole messages.

    However the octets are cut on their way, the same messages come out, in
    linear time, and never more than one message's octets are held.  Once the
    frame is lost (RFC 3261 section 18.3: no Content-Length, or one that makes
    no sense), it stays lost: close the connection.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._size: int | None = None
        self._pings = 0
        self._lost: ParseError | None = None

    @property
    def pending(self) -> bool:
        """Has a message begun and not ended?  The time for that is limited (threat T23)."""
        return self._size is not None or bytes(self._buffer) not in (b"", b"\r", b"\r\n", b"\r\n\r")

    def pinged(self) -> None:
        """We sent :data:`KEEPALIVE`: the next single CRLF is its answer."""
        self._pings += 1

    def feed(self, data: bytes) -> Iterator[bytes | Ping]:
        """Take *data*; iterate over what is whole now.

        The iterator raises ParseError when the frame is lost, after what was
        whole before; its *partial* is the request that deserves a 400 first.
        """
        if self._lost is None:
            self._buffer += data
        return self._frames()

    def _frames(self) -> Iterator[bytes | Ping]:
        if self._lost is not None:
            raise self._lost
        try:
            while (frame := self._next()) is not None:
                yield frame
        except ParseError as error:
            self._lost = error
            self._buffer.clear()
            raise

    def _next(self) -> bytes | Ping | None:
        if self._size is None:
            ping = self._skip_line_ends()
            if ping is not None:
                return ping
            self._size = self._find_size()
        size = self._size
        if size is None or len(self._buffer) < size:
            return None
        message = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        self._size, self._scanned = None, 0
        return message

    def _skip_line_ends(self) -> Ping | None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):
            if buffer.startswith(KEEPALIVE):
                del buffer[:4]
                return Ping.PING
            if self._pings:
                self._pings -= 1
                del buffer[:2]
                return Ping.PONG
            if bytes(buffer[2:4]) in (b"", b"\r"):
                return None  # half a ping, perhaps
            del buffer[:2]
        return None

    def _find_size(self) -> int | None:
        buffer = self._buffer
        if len(buffer) <= 3 and _HEAD_END.startswith(buffer):
            return None
        end = buffer.find(_HEAD_END, max(0, self._scanned - 3))
        self._scanned = len(buffer)
        if end < 0:
            if len(buffer) > MAX_MESSAGE or self._ends_too_long():
                raise self._error("a header without end", bytes(buffer))
            return None
        head = bytes(memoryview(buffer)[:end])
        lines = head.split(b"\r\n")
        if len(lines) > MAX_HEADERS + 1 or any(map(is_too_long, lines)):
            raise self._error("a header too long or with too many lines", head)
        lengths = [match[1] for match in _CONTENT_LENGTH.finditer(head)]
        if not lengths:
            raise self._error("a message without Content-Length", head)
        try:
            size = end + len(_HEAD_END) + content_length(lengths)
        except ParseError as error:
            raise self._error(str(error), head) from None
        if size > MAX_MESSAGE:
            raise self._error(f"a message of more than {MAX_MESSAGE} octets", head)
        return size

    def _ends_too_long(self) -> bool:
        """Is the line that has not ended yet longer than any may be?"""
        buffer = self._buffer
        if len(buffer) <= MAX_LINE + 2 or buffer.rfind(b"\n", len(buffer) - MAX_LINE - 2) >= 0:
            return False
        return CHALLENGE_LINE.match(buffer, buffer.rfind(b"\n") + 1) is None

    @staticmethod
    def _error(why: str, head: bytes) -> ParseError:
        error = ParseError(f"the stream is lost: {why}")
        error.partial = find_answerable(head)
        return error
