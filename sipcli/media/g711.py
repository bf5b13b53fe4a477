"""PCMU and PCMA in pure Python, by table: ITU-T G.711 (11/1988), RFC 3551 section 4.5.14.

PCM everywhere in sipcli is ``bytes``: signed 16 bit, little-endian, mono, 8000 samples a second.
The tables are built from the closed form of the two laws, at first use: 256 runs of equal codes
for the encoder, and two 256-octet translation tables (low and high octet) for the decoder.
"""

from __future__ import annotations

import sys
from array import array
from functools import cache
from operator import itemgetter
from typing import Literal, TypeAlias

__all__ = ["Law", "decode", "encode", "expand", "silence_octet"]

Law: TypeAlias = Literal["PCMU", "PCMA"]

_BIG_ENDIAN = sys.byteorder == "big"


def encode(pcm: bytes, law: Law) -> bytes:
    """One octet per 16-bit sample.  *pcm* must hold whole samples."""
    samples = array("H", pcm)
    if _BIG_ENDIAN:
        samples.byteswap()
    if len(samples) < 2:
        return bytes(_encode_table(law)[sample] for sample in samples)
    return bytes(itemgetter(*samples)(_encode_table(law)))


def decode(payload: bytes, law: Law) -> bytes:
    """Two octets of PCM per octet of *payload*; every octet is a valid code."""
    low, high = _decode_tables(law)
    pcm = bytearray(2 * len(payload))
    pcm[0::2] = payload.translate(low)
    pcm[1::2] = payload.translate(high)
    return bytes(pcm)


def expand(code: int, law: Law) -> int:
    """The 16-bit sample that one *code* (0..255) stands for."""
    if law == "PCMU":
        # All bits are inverted on the line; the bias of 33 makes each segment start at a power of two (G.711 table 2).
        code ^= 0xFF
        segment, step = code >> 4 & 7, code & 15
        magnitude = (((2 * step + 33) << segment) - 33) * 4
        return -magnitude if code & 0x80 else magnitude
    # Even bits are inverted on the line; segment 0 is linear, the rest double (G.711 table 1).
    code ^= 0x55
    segment, step = code >> 4 & 7, code & 15
    magnitude = (2 * step + 1) * 8 if segment == 0 else ((2 * step + 33) << (segment - 1)) * 8
    return magnitude if code & 0x80 else -magnitude


def silence_octet(law: Law) -> int:
    """The code of sample 0."""
    return 0xFF if law == "PCMU" else 0xD5


@cache
def _decode_tables(law: Law) -> tuple[bytes, bytes]:
    values = [expand(code, law) & 0xFFFF for code in range(256)]
    return bytes(value & 0xFF for value in values), bytes(value >> 8 for value in values)


@cache
def _encode_table(law: Law) -> bytes:
    """64 KiB, indexed by the sample read as unsigned: 0..32767, then -32768..-1.

    A negative sample x is coded as the magnitude of its one's complement (-1 - x),
    as ITU-T G.191 does: so the table's second half is the first one mirrored.
    """
    widths = _ulaw_widths() if law == "PCMU" else _alaw_widths()
    invert = 0xFF if law == "PCMU" else 0xD5
    magnitudes = b"".join(bytes([index ^ invert]) * width for index, width in enumerate(widths))[:32768]
    magnitudes += magnitudes[-1:] * (32768 - len(magnitudes))
    negatives = magnitudes[::-1].translate(bytes(code ^ 0x80 for code in range(256)))
    return magnitudes + negatives


def _ulaw_widths() -> list[int]:
    """How many 16-bit magnitudes share each of the 128 codes; the very first step is half a step wide."""
    return [4 if index == 0 else 8 << (index >> 4) for index in range(128)]


def _alaw_widths() -> list[int]:
    return [16 << max(index >> 4, 1) - 1 for index in range(128)]
