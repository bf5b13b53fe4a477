"""Payload types by name: which of our codecs and telephone-events a media line means (RFC 3551, RFC 4733)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from sipcli.media.codecs import CODECS, Codec
from sipcli.media.sdp import Attribute, MediaDescription

__all__ = ["EVENT_TYPES", "PayloadTypes", "codec_lines", "codecs_of", "event_for", "event_lines", "event_types"]

EVENT_TYPES = {8000: 101, 16000: 102, 48000: 100}
"""RTP clock → the payload type our offers give to telephone-event on it; 101 is what gateways expect by habit.

RFC 4733 section 2.5.1.2: events share the sequence and the clock of the audio, so each clock has its own type.
"""

_Key: TypeAlias = tuple[str, int, int]
_DYNAMIC = (*range(96, 128), *range(35, 64))
"""Those from 64 to 95 would look like RTCP on a shared port (RFC 5761 section 4)."""
_STATIC: Mapping[int, _Key] = {codec.payload_type: codec.key for codec in CODECS.values() if codec.payload_type < 96}


def _encodings(media: MediaDescription, named_by: MediaDescription | None = None) -> dict[int, _Key]:
    """Payload type to encoding name, clock and channels, in the order of the formats.

    Static types need no rtpmap (RFC 3551 section 6).
    """
    names = dict(_STATIC)
    for line in (named_by, media):
        if line is not None:
            names.update(
                (number, (rtpmap.encoding.upper(), rtpmap.clock_rate, rtpmap.channels))
                for number, rtpmap in line.rtpmaps.items()
            )
    formats = [int(text) for text in media.formats if text.isascii() and text.isdigit() and len(text) <= 3]
    return {number: names[number] for number in formats if number in names}


class PayloadTypes:
    """What each number on our media line means, once anybody has said so: it keeps that meaning (RFC 3264 8.3.2).

    Packets and descriptions overtake each other: a number that changed its meaning would be decoded as what it was.
    """

    def __init__(self) -> None:
        self._meanings: dict[int, _Key] = {}

    def note(self, media: MediaDescription, named_by: MediaDescription | None = None) -> None:
        """An offer or an answer of either side; the first meaning stays."""
        for number, key in _encodings(media, named_by).items():
            self._meanings.setdefault(number, key)

    def of_codec(self, codec: Codec) -> int:
        """The number of *codec* in an offer of ours."""
        return self._number(codec.key, codec.payload_type)

    def of_events(self, clock: int) -> int:
        """The number of telephone-event on *clock* in an offer of ours."""
        return self._number(("TELEPHONE-EVENT", clock, 1), EVENT_TYPES[clock])

    def _number(self, key: _Key, usual: int) -> int:
        """Ours if it is free, else the one that *key* has already, else another (RFC 3551 section 3)."""
        known = [number for number, meaning in self._meanings.items() if meaning == key]
        if usual not in known:
            free = (number for number in (usual, *_DYNAMIC) if number not in self._meanings)
            usual = min(known) if known else next(free, usual)
            self._meanings[usual] = key
        return usual


def event_types(media: MediaDescription, named_by: MediaDescription | None = None) -> dict[int, int]:
    """The payload types of telephone-event, each with its clock."""
    encodings = _encodings(media, named_by)
    return {number: clock for number, (name, clock, _) in encodings.items() if name == "TELEPHONE-EVENT" and clock}


def event_for(codec: Codec, types: Mapping[int, int]) -> tuple[int | None, int]:
    """The type whose clock is the codec's; else, with those who offer only the usual one, that of 8 kHz."""
    for clock in (codec.clock_rate, 8000):
        fitting = [number for number, its in types.items() if its == clock]
        if fitting:
            return min(fitting), clock
    return None, 8000


def codec_lines(codec: Codec, payload_type: int) -> list[Attribute]:
    lines = [Attribute("rtpmap", f"{payload_type} {codec.rtpmap}")]
    return [*lines, Attribute("fmtp", f"{payload_type} {codec.fmtp}")] if codec.fmtp else lines


def event_lines(payload_type: int, clock: int) -> list[Attribute]:
    return [Attribute("rtpmap", f"{payload_type} telephone-event/{clock}"), Attribute("fmtp", f"{payload_type} 0-16")]


def codecs_of(
    media: MediaDescription, codecs: Sequence[Codec], *, named_by: MediaDescription | None = None
) -> dict[int, Codec]:
    """Those of *codecs* that *media* names, in its order; *named_by*: the offer, whose rtpmaps an answer may omit."""
    found = {}
    for payload_type, key in _encodings(media, named_by).items():
        codec = next((codec for codec in codecs if codec.key == key), None)
        if codec is not None:
            found[payload_type] = codec
    return found
