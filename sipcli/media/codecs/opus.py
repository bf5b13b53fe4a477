"""Opus for speech, by the system's libopus: RFC 6716, RFC 7587.

A binding of our own, for it is short, and those that exist either cannot conceal a loss or hide the in-band
redundancy (docs/decisions/0070).  The library is looked for by its plain names; where there is none, Opus is
simply not offered.
"""

from __future__ import annotations

import ctypes
import sys
from array import array
from functools import cache
from typing import Any

from sipcli.errors import LocalProtocolError, ParseError
from sipcli.media.codecs.base import Codec, Format
from sipcli.media.tone import pcm_of, samples_of

__all__ = ["OPUS", "OpusDecoder", "OpusEncoder", "missing"]

OPUS = Codec("OPUS", 96, clock_rate=48000, sample_rate=48000, channels=2, fmtp="useinbandfec=1;usedtx=0", rests_s=1.0)
"""RFC 7587 section 7: the rtpmap is ``opus/48000/2``, whatever is sent.

In discontinuous transmission a packet comes every 400 ms (section 3.1.3); one of them may be lost.
"""

_RATE = 48000
_FRAME = _RATE // 50
_MOST_OCTETS = 1275
"""The longest frame (RFC 6716 section 3.2.1)."""
_LONGEST = _RATE * 120 // 1000
"""Samples in the longest packet: 120 ms."""
_BITRATE = 32_000
"""Full-band speech in mono is transparent at 28 to 40 kbit/s (RFC 7587 section 3.1.1)."""

# opus_defines.h
_VOIP = 2048
_SET_BITRATE, _SET_MAX_BANDWIDTH, _SET_VBR, _SET_INBAND_FEC = 4002, 4004, 4006, 4012
_SET_PACKET_LOSS_PERC, _SET_DTX, _SET_SIGNAL = 4014, 4016, 4024
_SIGNAL_VOICE = 3001
_BANDWIDTHS = ((8000, 1101), (12000, 1102), (16000, 1103), (24000, 1104), (48000, 1105))

_NAMES = {"darwin": ("libopus.0.dylib", "/opt/homebrew/lib/libopus.0.dylib"), "win32": ("opus.dll",)}


@cache
def _library() -> Any:
    for name in _NAMES.get(sys.platform, ("libopus.so.0",)):
        try:
            return _declared(ctypes.CDLL(name))
        except (OSError, AttributeError):
            continue
    return None


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("opus_encoder_create", pointer, (integer, integer, integer, ctypes.POINTER(integer))),
        ("opus_decoder_create", pointer, (integer, integer, ctypes.POINTER(integer))),
        ("opus_encode", integer, (pointer, ctypes.c_char_p, integer, ctypes.c_char_p, integer)),
        ("opus_decode", integer, (pointer, ctypes.c_char_p, integer, ctypes.c_char_p, integer, integer)),
        # Variadic: only the fixed arguments are declared, or the others go astray on Apple's processors.
        ("opus_encoder_ctl", integer, (pointer, integer)),
        ("opus_packet_get_nb_samples", integer, (ctypes.c_char_p, integer, integer)),
        ("opus_encoder_destroy", None, (pointer,)),
        ("opus_decoder_destroy", None, (pointer,)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, list(arguments)
    return library


@cache
def missing() -> str:
    """What is not installed, for a sentence; empty when all is there."""
    return "" if _library() is not None else "libopus (Debian and Ubuntu: apt install libopus0)"


def _loaded() -> Any:
    library = _library()
    if library is None:
        raise LocalProtocolError(f"Opus needs {missing()}")
    return library


class _Handle:
    """A state of libopus, freed with its owner."""

    def __init__(self, state: int | None, destroy: Any) -> None:
        if not state:
            raise MemoryError("libopus made no state")
        self.state = state
        self._destroy = destroy

    def __del__(self) -> None:
        state, self.state = getattr(self, "state", 0), 0
        if state:
            self._destroy(state)


class OpusEncoder:
    """Speech, mono, 32 kbit/s unless the peer wants less; redundancy grows with the loss that he reports.

    *wanted* is his ``a=fmtp`` (RFC 7587 section 6.1): ``maxaveragebitrate``, ``maxplaybackrate``, ``useinbandfec``,
    ``usedtx`` and ``cbr`` are honoured; mono is what ``stereo`` allows in any case.
    """

    def __init__(self, wanted: Format) -> None:
        self._opus = _loaded()
        error = ctypes.c_int()
        state = self._opus.opus_encoder_create(_RATE, 1, _VOIP, ctypes.byref(error))
        self._handle = _Handle(state, self._opus.opus_encoder_destroy)
        self._out = ctypes.create_string_buffer(_MOST_OCTETS)
        self._redundant = wanted.get("useinbandfec") == "1"
        most = _number(wanted.get("maxaveragebitrate"), _BITRATE)
        self._set(_SET_BITRATE, max(6000, min(_BITRATE, most)))
        self._set(_SET_MAX_BANDWIDTH, _bandwidth(_number(wanted.get("maxplaybackrate"), _RATE)))
        self._set(_SET_SIGNAL, _SIGNAL_VOICE)
        self._set(_SET_VBR, 0 if wanted.get("cbr") == "1" else 1)
        self._set(_SET_DTX, 1 if wanted.get("usedtx") == "1" else 0)
        self._set(_SET_INBAND_FEC, 1 if self._redundant else 0)

    def _set(self, request: int, value: int) -> None:
        self._opus.opus_encoder_ctl(self._handle.state, request, ctypes.c_int(value))

    def encode(self, pcm: bytes) -> bytes:
        if len(pcm) != 2 * _FRAME:
            raise LocalProtocolError(f"Opus takes 20 ms at a time: {2 * _FRAME} octets, not {len(pcm)}")
        native = samples_of(pcm).tobytes()
        size = self._opus.opus_encode(self._handle.state, native, _FRAME, self._out, _MOST_OCTETS)
        if size < 0:
            raise LocalProtocolError(f"libopus refused a frame (error {size})")
        # Two octets or fewer: "need not be transmitted" (opus_encode's own words), for it is silence.
        return self._out.raw[:size] if size > 2 else b""

    def expect_loss(self, percent: float) -> None:
        if self._redundant:
            self._set(_SET_PACKET_LOSS_PERC, max(0, min(100, round(percent))))


class OpusDecoder:
    """Any packet of any sender, as 48 kHz mono."""

    def __init__(self) -> None:
        self._opus = _loaded()
        error = ctypes.c_int()
        state = self._opus.opus_decoder_create(_RATE, 1, ctypes.byref(error))
        self._handle = _Handle(state, self._opus.opus_decoder_destroy)
        self._out = ctypes.create_string_buffer(2 * _LONGEST)

    def decode(self, payload: bytes) -> bytes:
        return self._decoded(payload, _LONGEST, redundancy=False)

    def samples_in(self, payload: bytes) -> int:
        samples = self._opus.opus_packet_get_nb_samples(payload, len(payload), _RATE)
        if samples <= 0:
            raise ParseError(f"Opus: not a packet (error {samples})")
        return int(samples)

    def conceal(self, samples: int, following: bytes | None) -> bytes | None:
        samples = max(120, min(_LONGEST, samples // 120 * 120))  # whole 2.5 ms, as libopus wants them
        if following is not None:
            try:
                return self._decoded(following, samples, redundancy=True)
            except ParseError:
                pass
        return self._decoded(None, samples, redundancy=False)

    def _decoded(self, payload: bytes | None, samples: int, *, redundancy: bool) -> bytes:
        length = 0 if payload is None else len(payload)
        if payload is not None and not length:
            raise ParseError("Opus: an empty packet")
        count = self._opus.opus_decode(self._handle.state, payload, length, self._out, samples, int(redundancy))
        if count < 0:
            raise ParseError(f"Opus: not a packet (error {count})")
        return pcm_of(array("h", self._out.raw[: 2 * count]))


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 9 else default


def _bandwidth(playback_rate: int) -> int:
    """The widest band that *playback_rate* Hz can play."""
    return next((band for rate, band in _BANDWIDTHS if playback_rate <= rate), _BANDWIDTHS[-1][1])
