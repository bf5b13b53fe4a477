"""What a call's audio is to be: the values that ``--audio`` and :meth:`~sipcli.Account.call` take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sipcli.errors import ConfigError
from sipcli.media.echo import EchoPolicy
from sipcli.media.tone import SAMPLE_RATE
from sipcli.ua.media.cards import split_names

__all__ = ["AudioFile", "AudioSpec", "Device", "Echo", "Melody", "Null", "Stdio", "Tone", "WavFile", "parse_audio"]

_COMPRESSED = (".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf")


@dataclass(frozen=True, slots=True)
class Tone:
    """A sine of *hz* at -12 dBFS; what comes is not played."""

    hz: int = 440


@dataclass(frozen=True, slots=True)
class Melody:
    """Notes of (Hz, ms), over and over; 0 Hz is a rest."""

    notes: tuple[tuple[int, int], ...] = ((523, 240), (659, 240), (784, 240), (1047, 480), (0, 240))


@dataclass(frozen=True, slots=True)
class Echo:
    """What comes goes back, after the jitter buffer."""


@dataclass(frozen=True, slots=True)
class Null:
    """Silence is sent, so that NATs stay open and the peer hears a line; what comes is not played."""


@dataclass(frozen=True, slots=True)
class WavFile:
    """A file is sent, then silence; what comes is not played (``--record`` keeps it)."""

    path: Path


@dataclass(frozen=True, slots=True)
class AudioFile:
    """The same of a FLAC, Ogg, MP3, AIFF, AU or CAF file; needs ``sipcli[files]``."""

    path: Path


@dataclass(frozen=True, slots=True)
class Device:
    """The sound card: a part of its name, or its number; None is the default.

    *output* names another one for the loudspeaker; None: that of *name*.  *echo*: whether what the loudspeaker plays is
    taken out of what the microphone hears.
    """

    name: str | None = None
    output: str | None = None
    echo: EchoPolicy = "auto"


@dataclass(frozen=True, slots=True)
class Stdio:
    """16-bit little-endian mono at 8 kHz: standard input is sent, what comes goes to standard output."""


AudioSpec: TypeAlias = Tone | Melody | Echo | Null | WavFile | AudioFile | Device | Stdio


def parse_audio(text: str) -> AudioSpec:
    """The value of ``--audio``: ``tone[:HZ]|echo|null|FILE|device[:NAME[,NAME]]|stdio``; ConfigError on all else."""
    kind, colon, rest = text.partition(":")
    if kind == "tone":
        if not colon:
            return Tone()
        if not re.fullmatch(r"[0-9]{1,4}", rest) or not 1 <= int(rest) < SAMPLE_RATE // 2:
            raise ConfigError(f"--audio {text}: a tone is 1 to {SAMPLE_RATE // 2 - 1} Hz", hint="for example tone:440")
        return Tone(int(rest))
    if kind == "device" and (rest or not colon):
        return Device(*split_names(rest)) if rest else Device()
    plain: dict[str, AudioSpec] = {"echo": Echo(), "null": Null(), "stdio": Stdio()}
    if text in plain:
        return plain[text]
    if text.lower().endswith(".wav"):
        return WavFile(Path(text).expanduser())
    if text.lower().endswith(_COMPRESSED):
        return AudioFile(Path(text).expanduser())
    raise ConfigError(
        f"--audio {text!r} is nothing that sounds",
        hint="tone[:HZ], echo, null, device[:NAME[,NAME]], stdio, or a file: .wav, .flac, .opus, .ogg, .mp3",
    )
