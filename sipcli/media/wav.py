"""WAV headers as values: parse what people have, write what everybody reads (RIFF/WAVE, Microsoft 1991 and 1994).

Reads PCM of 8, 16, 24 and 32 bits, 32-bit float, G.711, plain or "extensible", any rate and up to 8 channels;
writes PCM of 16 bits. The octets of the samples stay with whoever holds the file.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from typing import Literal

from sipcli.errors import ParseError
from sipcli.media import g711
from sipcli.media.tone import SAMPLE_RATE, samples_of

__all__ = ["HEADER_SIZE", "WavFormat", "WavHeader", "parse_wav_header", "to_mono", "wav_header"]

HEADER_SIZE = 44
"""Octets of the header that :func:`wav_header` makes."""

_Encoding = Literal["pcm", "float", "PCMA", "PCMU"]
_ENCODINGS: dict[int, _Encoding] = {1: "pcm", 3: "float", 6: "PCMA", 7: "PCMU"}
_BITS: dict[_Encoding, tuple[int, ...]] = {"pcm": (8, 16, 24, 32), "float": (32,), "PCMA": (8,), "PCMU": (8,)}
_EXTENSIBLE = 0xFFFE
_FORMAT = struct.Struct("<HHIIHH")
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")[2:]


@dataclass(frozen=True, slots=True)
class WavFormat:
    """*bits* per sample and channel."""

    encoding: _Encoding
    channels: int
    rate: int
    bits: int

    @property
    def frame_octets(self) -> int:
        return self.channels * self.bits // 8


@dataclass(frozen=True, slots=True)
class WavHeader:
    """*data_octets* is None when the writer did not know (a stream): up to the end of the file."""

    format: WavFormat
    data_offset: int
    data_octets: int | None


def wav_header(data_octets: int, *, channels: int = 1, rate: int = SAMPLE_RATE) -> bytes:
    """The 44 octets before *data_octets* of 16-bit PCM; what does not fit into 32 bits is said to be the most."""
    size = min(data_octets, 0xFFFFFFFF - 36)
    fields = _FORMAT.pack(1, channels, rate, rate * channels * 2, channels * 2, 16)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16) + fields + struct.pack("<4sI", b"data", size)
    )


def parse_wav_header(data: bytes) -> WavHeader:
    """From the beginning of a file up to its samples; ParseError says what is wrong, or that they are not in *data*."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ParseError("not a WAV file: it does not begin with RIFF and WAVE")
    found: WavFormat | None = None
    offset = 12
    while offset + 8 <= len(data):
        name = data[offset : offset + 4]
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        offset += 8
        if name == b"fmt ":
            found = _parse_format(data[offset : offset + size])
        elif name == b"data":
            if found is None:
                raise ParseError("not a usable WAV file: samples come before their format")
            return WavHeader(found, offset, size if 0 < size < 0xFFFFFFFF - 36 else None)
        offset += size + size % 2
    raise ParseError("not a usable WAV file: it holds no samples")


def _parse_format(chunk: bytes) -> WavFormat:
    if len(chunk) < _FORMAT.size:
        raise ParseError("not a usable WAV file: its format is cut short")
    code, channels, rate, _, block, bits = _FORMAT.unpack_from(chunk)
    if code == _EXTENSIBLE and len(chunk) >= 40 and chunk[28:40] == _GUID_TAIL:
        code = int.from_bytes(chunk[24:26], "little")
    encoding = _ENCODINGS.get(code)
    if encoding is None or bits not in _BITS[encoding]:
        raise ParseError(f"this WAV file's format (code {code}, {bits} bits) is not one of {', '.join(_BITS)}")
    if not 1 <= channels <= 8 or not 1000 <= rate <= 384_000 or block != channels * bits // 8:
        raise ParseError(
            f"this WAV file says {channels} channels, {rate} Hz, {block} octets a frame: it makes no sense"
        )
    return WavFormat(encoding, channels, rate, bits)


def to_mono(data: bytes, form: WavFormat) -> array[int]:
    """Whole frames of a file's *data* as 16-bit samples, the channels averaged."""
    data = data[: len(data) // form.frame_octets * form.frame_octets]
    samples = _to_16_bits(data, form)
    if form.channels == 1:
        return samples
    columns = [samples[channel :: form.channels] for channel in range(form.channels)]
    return array("h", (sum(frame) // form.channels for frame in zip(*columns, strict=True)))


def _to_16_bits(data: bytes, form: WavFormat) -> array[int]:
    if form.encoding in ("PCMA", "PCMU"):
        return samples_of(g711.decode(data, form.encoding))
    if form.encoding == "float":
        values = struct.unpack(f"<{len(data) // 4}f", data)
        # `value == value` is False for NaN, which no comparison would clamp.
        return array("h", (int(max(-1.0, min(1.0, value)) * 32767) if value == value else 0 for value in values))
    if form.bits == 8:
        return array("h", ((octet - 128) << 8 for octet in data))
    width = form.bits // 8
    if width == 2:
        return samples_of(data)
    # The two upper octets of each sample are its 16-bit value.
    upper = bytearray(2 * (len(data) // width))
    upper[0::2], upper[1::2] = data[width - 2 :: width], data[width - 1 :: width]
    return samples_of(bytes(upper))
