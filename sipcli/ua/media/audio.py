"""Where a call's audio comes from and goes to: tone, echo, silence, files, the sound card, a pipe.

An :data:`AudioSpec` is a value that says what is wanted (``--audio``); :func:`open_audio` makes
an :class:`AudioPort` of it, which is read and written once every 20 ms, on the loop, without waiting.
"""

from __future__ import annotations

import os
import re
import stat
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

from sipcli.errors import ConfigError, ParseError
from sipcli.media.echo import EchoPolicy
from sipcli.media.tone import FRAME, SAMPLE_RATE, SILENCE, Oscillator, pcm_of
from sipcli.media.wav import WavHeader, parse_wav_header, to_mono
from sipcli.ua.media.cards import split_names
from sipcli.ua.media.convert import make_resampler

__all__ = [
    "AudioFile",
    "AudioPort",
    "AudioSpec",
    "Device",
    "Echo",
    "Melody",
    "Null",
    "SampledPort",
    "Stdio",
    "Tone",
    "WavFile",
    "WavPort",
    "check_rate",
    "open_audio",
    "open_regular",
    "parse_audio",
]

_HEADER_SEARCH = 1 << 20
_ODD_RATES = (11025, 18900, 22050, 37800, 44100, 88200, 176_400)
_COMPRESSED = (".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf")


# -- what is wanted ---------------------------------------------------------


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


# -- what does it -----------------------------------------------------------


class AudioPort(Protocol):
    """One call's microphone and loudspeaker, or what stands for them.  No method waits."""

    def tune(self, rate: int) -> None:
        """From now on PCM has *rate* samples a second; 8000 before the first call."""
        ...

    def read(self) -> bytes:
        """The next 20 ms to send."""
        ...

    def write(self, pcm: bytes) -> None:
        """20 ms that were heard."""
        ...

    def close(self) -> None: ...


def open_audio(spec: AudioSpec, warn: Callable[[str, str], None] | None = None) -> AudioPort:
    """Make *spec* work; may read a file's header or open a device.  ConfigError says what is missing.

    *warn(code, message)* is called on a beat when a device goes away, and when it is back.
    """
    match spec:
        case Tone(hz):
            return _TonePort(hz)
        case Melody(notes):
            return _MelodyPort(notes)
        case Echo():
            return _EchoPort()
        case Null():
            return _NullPort()
        case WavFile(path):
            return WavPort(path)
        case AudioFile(path):
            from sipcli.ua.media.soundfiles import FilePort

            return FilePort(path)
        case Device(name, output, echo):
            from sipcli.ua.media.earpiece import Earpiece
            from sipcli.ua.media.sound import DevicePort

            return Earpiece(DevicePort(name, warn, output=output, echo=echo))
        case Stdio():
            from sipcli.ua.media.pipes import StdioPort

            return StdioPort()


def check_audio(spec: AudioSpec) -> None:
    """Raise ConfigError for what could not be opened: at the start, not when somebody has called."""
    match spec:
        case WavFile() | AudioFile():
            open_audio(spec).close()
        case Device(name, output, echo):
            from sipcli.ua.media.echocancel import check_echo
            from sipcli.ua.media.sound import find_device

            check_echo(echo)
            find_device(name, output)
        case _:
            pass  # made of nothing


class _NullPort:
    def __init__(self) -> None:
        self._silence = SILENCE

    def tune(self, rate: int) -> None:
        self._silence = bytes(2 * (rate // 50))

    def read(self) -> bytes:
        return self._silence

    def write(self, pcm: bytes) -> None:
        pass

    def close(self) -> None:
        pass


class _TonePort(_NullPort):
    def __init__(self, hz: int) -> None:
        super().__init__()
        self._hz = hz
        self._oscillator = Oscillator(hz)

    def tune(self, rate: int) -> None:
        super().tune(rate)
        self._oscillator = Oscillator(self._hz, rate=rate)

    def read(self) -> bytes:
        return self._oscillator.read()


class _MelodyPort(_NullPort):
    def __init__(self, notes: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self._notes = notes
        self._frames = self._play(notes, SAMPLE_RATE)

    def tune(self, rate: int) -> None:
        super().tune(rate)
        self._frames = self._play(self._notes, rate)

    def read(self) -> bytes:
        return next(self._frames)

    @staticmethod
    def _play(notes: tuple[tuple[int, int], ...], rate: int) -> Iterator[bytes]:
        silence = bytes(2 * (rate // 50))
        for hz, ms in cycle(notes):
            oscillator = Oscillator(hz, rate=rate) if hz else None
            for _ in range(max(1, ms // 20)):
                yield oscillator.read() if oscillator else silence


class _EchoPort(_NullPort):
    """Written just before it is read, on the same beat: so it adds nothing to the jitter buffer's delay."""

    def __init__(self) -> None:
        super().__init__()
        self._heard: deque[bytes] = deque(maxlen=1)

    def tune(self, rate: int) -> None:
        super().tune(rate)
        self._heard.clear()

    def read(self) -> bytes:
        return self._heard.popleft() if self._heard else super().read()

    def write(self, pcm: bytes) -> None:
        self._heard.append(pcm)


class SampledPort(_NullPort):
    """Samples of a rate of their own, converted as they are read, 20 ms at a time; silence after their end."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self._rate = rate
        self._frame = FRAME
        self._resampler = make_resampler(rate, SAMPLE_RATE)
        self._samples: array[int] = array("h")
        self.finished = False

    def tune(self, rate: int) -> None:
        if rate // 50 != self._frame:
            super().tune(rate)
            self._frame = rate // 50
            self._resampler = make_resampler(self._rate, rate)
            self._samples = array("h")  # some milliseconds are lost where a call changes its codec in the middle

    def read(self) -> bytes:
        while len(self._samples) < self._frame and not self.finished:
            # 20 ms at a time: the conversion in pure Python takes some 4 ms of them.
            samples = self._take(-(-self._rate // 50))
            if samples is None:
                self.finished = True
                self._samples += self._resampler.flush()
            else:
                self._samples += self._resampler.push(samples)
        frame = pcm_of(self._samples[: self._frame])
        del self._samples[: self._frame]
        return frame + bytes(2 * self._frame - len(frame))

    def _take(self, count: int) -> array[int] | None:
        """Some *count* samples, mono; None at the end."""
        raise NotImplementedError


class WavPort(SampledPort):
    """Plays a regular WAV file, once."""

    def __init__(self, path: Path) -> None:
        self._file, header = _open_wav(path)
        try:
            check_rate(path, header.format.rate)
        except ConfigError:
            self.close()
            raise
        self._format = header.format
        self._left = header.data_octets if header.data_octets is not None else float("inf")
        super().__init__(header.format.rate)

    def _take(self, count: int) -> array[int] | None:
        try:
            data = self._file.read(int(min(count * self._format.frame_octets, self._left)))
        except OSError:
            data = b""
        self._left -= len(data)
        return to_mono(data, self._format) if data else None

    def close(self) -> None:
        self._file.close()


def check_rate(path: Path, rate: int) -> None:
    """ConfigError for a rate that no sound has: a filter to convert it would take seconds to compute."""
    if not 1000 <= rate <= 192_000 or (rate % 1000 and rate not in _ODD_RATES):
        raise ConfigError(f"cannot play {path}: it has {rate} samples a second", hint="convert it to 48000")


def open_regular(path: Path) -> int:
    """A descriptor of a file that can be played; ConfigError when there is none."""
    try:
        # O_NONBLOCK: a FIFO of that name must not stop the program before it can be refused.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="give a sound file to --audio") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"cannot play {path}: it is not a file", hint="give a sound file to --audio")
    return descriptor


def _open_wav(path: Path) -> tuple[BinaryIO, WavHeader]:
    file = os.fdopen(open_regular(path), "rb")
    try:
        header = parse_wav_header(file.read(_HEADER_SEARCH))
        file.seek(header.data_offset)
    except ParseError as error:
        file.close()
        raise ConfigError(f"cannot play {path}: {error}", hint="16-bit PCM at 8 kHz is always right") from error
    except OSError:
        file.close()
        raise
    return file, header
