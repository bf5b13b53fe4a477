"""Telephone events both ways: RFC 4733 section 2 (named events, final packet three times)."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from sipcli.errors import LocalProtocolError, ParseError
from sipcli.media.rtp import CLOCK_RATE, RtpPacket

__all__ = [
    "DIGITS",
    "GAP_MS",
    "PAUSE",
    "PAUSE_MS",
    "TONE_MS",
    "DtmfMode",
    "DtmfReceived",
    "DtmfReceiver",
    "DtmfSender",
    "DtmfWay",
    "EventPacket",
    "EventPayload",
    "check_digits",
    "event_steps",
    "way_of",
]

DIGITS = "0123456789*#ABCD"
"""The digit at index n is event n (RFC 4733 table 3)."""

PAUSE = ","
"""In a string to send: half a second of nothing."""

TONE_MS = 100
GAP_MS = 60
PAUSE_MS = 500
_REPEATS = 3
_VOLUME_DBM0 = 10

_PAYLOAD = struct.Struct("!BBH")


class EventPayload(NamedTuple):
    """RFC 4733 section 2.3; *volume* in -dBm0, *duration* in clock units."""

    event: int
    end: bool
    volume: int
    duration: int

    def to_bytes(self) -> bytes:
        return _PAYLOAD.pack(self.event, (0x80 if self.end else 0) | self.volume, self.duration)

    @classmethod
    def parse(cls, data: bytes) -> EventPayload:
        """The first event of a payload; ParseError when it is cut short."""
        if len(data) < _PAYLOAD.size:
            raise ParseError("telephone-event: shorter than four octets")
        event, flags, duration = _PAYLOAD.unpack_from(data)
        return cls(event, bool(flags & 0x80), flags & 0x3F, duration)


def check_digits(digits: str) -> str:
    """*digits* in upper case; LocalProtocolError when one cannot be dialled."""
    wrong = [digit for digit in digits if digit.upper() not in DIGITS + PAUSE]
    if wrong:
        raise LocalProtocolError(f"{wrong[0]!r} is not a DTMF digit", hint="0-9, *, #, A-D, and a comma for a pause")
    return digits.upper()


DtmfMode: TypeAlias = Literal["auto", "auto_info", "info", "inband"]
"""``auto``: as events, and as tones to who takes none; ``auto_info``: by INFO to who takes none."""
DtmfWay: TypeAlias = Literal["rfc4733", "info", "inband"]


def way_of(mode: DtmfMode, *, events: bool) -> DtmfWay:
    """How digits go to a peer who takes *events*, or does not."""
    if mode in ("auto", "auto_info") and events:
        return "rfc4733"
    return "info" if mode in ("info", "auto_info") else "inband"


class EventPacket(NamedTuple):
    """One packet to send; *marker* means that a new event, hence a new timestamp, begins with it."""

    payload: EventPayload
    marker: bool


class DtmfSender:
    """Digits in, one step per 20 ms out.  The stream's own sequence numbers and clock carry them (section 2.5.1.2).

    *started* collects the digits whose first packet has left, for whoever wants to tell; *clock_rate* is that of
    the payload type that carries them.
    """

    def __init__(self) -> None:
        self.clock_rate = CLOCK_RATE
        self._waiting: deque[str] = deque()
        self._steps: Iterator[EventPacket | None] | None = None
        self.started: deque[str] = deque()

    @property
    def idle(self) -> bool:
        return self._steps is None and not self._waiting

    def push(self, digits: str) -> None:
        self._waiting.extend(check_digits(digits))

    def clear(self) -> None:
        self._waiting.clear()
        self._steps = None

    def step(self) -> EventPacket | None:
        """The packet that takes the place of this step's audio; None: send the audio."""
        while True:
            if self._steps is None:
                if not self._waiting:
                    return None
                digit = self._waiting.popleft()
                if digit == PAUSE:
                    self._steps = iter([None] * (PAUSE_MS // 20))
                else:
                    self.started.append(digit)
                    self._steps = iter(event_steps(DIGITS.index(digit), self.clock_rate))
            for packet in self._steps:
                return packet
            self._steps = None


def event_steps(event: int, clock_rate: int = CLOCK_RATE) -> list[EventPacket | None]:
    """Updates of growing duration, M on the first only; E and the full duration on the last, three times."""
    updates, step = TONE_MS // 20, clock_rate // 50
    steps: list[EventPacket | None] = [
        EventPacket(EventPayload(event, False, _VOLUME_DBM0, n * step), n == 1) for n in range(1, updates)
    ]
    steps += [EventPacket(EventPayload(event, True, _VOLUME_DBM0, updates * step), False)] * _REPEATS
    return steps + [None] * (GAP_MS // 20 - _REPEATS + 1)


@dataclass(frozen=True, slots=True)
class DtmfReceived:
    digit: str
    duration_ms: int


class DtmfReceiver:
    """Packets in, each digit out once: at its end packet, at the next event, or 120 ms after its last update."""

    TIMEOUT_S = 0.12

    def __init__(self) -> None:
        self._clock_rate = CLOCK_RATE
        self._event: EventPayload | None = None
        self._timestamp = 0
        self._deadline = 0.0
        self._done: int | None = None

    def receive(self, packet: RtpPacket, now: float, clock_rate: int = CLOCK_RATE) -> list[DtmfReceived]:
        """What ended with *packet*, whose payload type has *clock_rate*; ParseError when it is cut short."""
        self._clock_rate = clock_rate
        payload = EventPayload.parse(packet.payload)
        if payload.event >= len(DIGITS) or (self._done is not None and not _is_newer(packet.timestamp, self._done)):
            return []
        ended = []
        if self._event is not None and packet.timestamp != self._timestamp:
            if not _is_newer(packet.timestamp, self._timestamp):
                return []
            ended += self._finish()
        if self._event is None or payload.duration > self._event.duration:
            self._event, self._timestamp = payload, packet.timestamp
        self._deadline = now + self.TIMEOUT_S
        if payload.end:
            ended += self._finish()
        return ended

    def expire(self, now: float) -> list[DtmfReceived]:
        """An event whose end packets were all lost."""
        return self._finish() if self._event is not None and now >= self._deadline else []

    def _finish(self) -> list[DtmfReceived]:
        event, self._event, self._done = self._event, None, self._timestamp
        if event is None:
            return []
        return [DtmfReceived(DIGITS[event.event], event.duration * 1000 // self._clock_rate)]


def _is_newer(timestamp: int, than: int) -> bool:
    return 0 < (timestamp - than & 0xFFFFFFFF) < 0x80000000
