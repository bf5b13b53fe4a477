"""Recordings on disk: WAV, FLAC, Ogg Opus, MP3 and others, readable by their owner only, never through a link."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, TypeAlias

from sipcli.errors import ConfigError
from sipcli.media.resample import Resampler
from sipcli.media.tone import SAMPLE_RATE, pcm_of, samples_of
from sipcli.media.wav import HEADER_SIZE, wav_header
from sipcli.ua.media.safefiles import check_private, create_private
from sipcli.ua.media.soundfiles import COMPRESSED, FileSink, load_library

__all__ = ["RecordMode", "Recorder", "Sink", "WavSink", "check_recording"]

RecordMode: TypeAlias = Literal["received", "both"]
"""``received``: mono, what we heard. ``both``: stereo, left what we sent, right what we heard."""

_NOT_WRITTEN = frozenset((
    ".aac", ".ac3", ".al", ".amr", ".g722", ".gsm", ".m4a", ".mka", ".mkv", ".mov", ".mp2", ".mp4", ".pcm", ".ra",
    ".raw", ".spx", ".ul", ".w64", ".webm", ".wma",
))  # fmt: skip
"""What people call sound that we do not make; any other name is a WAV, for one may end in a Call-ID."""


def check_recording(path: Path) -> None:
    """Raise ConfigError where *path* could not be made: no folder for it, what is there already, or no library."""
    if _compressed(path):
        load_library()
    folder = path.parent
    if not folder.is_dir():
        raise ConfigError(f"cannot write {path}: there is no folder {folder}", hint="make it, or name another file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"cannot write {path}: {folder} is not yours to write", hint="name another file")
    check_private(path)


class Sink(Protocol):
    """A file that takes 16-bit PCM.  All of it may raise OSError: the disk is full, the file has become too large."""

    def begin(self, rate: int, channels: int) -> None:
        """Before the first :meth:`write`, once."""
        ...

    def write(self, pcm: bytes) -> None: ...

    def close(self) -> None:
        """The file is whole then; the descriptor is closed whatever happens."""
        ...


class Recorder:
    """One frame per beat; after a full disk it keeps quiet, *failure* says why.

    It is what its name says, or WAV.  ConfigError for a name that promises something else.
    """

    def __init__(self, path: Path, mode: RecordMode = "received") -> None:
        self._channels = 2 if mode == "both" else 1
        self._begun = False
        self._rate = SAMPLE_RATE
        self._resamplers: tuple[Resampler, Resampler] | None = None
        self.failure: str | None = None
        self.closed = False
        self._sink = _open_sink(path)

    def tune(self, rate: int) -> None:
        """From now on PCM has *rate* samples a second.  The first frame decides what the file has."""
        if not self._begun:
            self._rate = rate
        same = rate == self._rate
        self._resamplers = None if same else (Resampler(rate, self._rate), Resampler(rate, self._rate))

    def write(self, sent: bytes, heard: bytes) -> None:
        """20 ms of each; they have the same length."""
        if self._resamplers is not None:
            sent, heard = (
                pcm_of(resampler.push(samples_of(pcm)))
                for resampler, pcm in zip(self._resamplers, (sent, heard), strict=True)
            )
        data = heard
        if self._channels == 2:
            both = bytearray(2 * len(heard))
            for offset, pcm in ((0, sent), (2, heard)):
                both[offset::4], both[offset + 1 :: 4] = pcm[0::2], pcm[1::2]
            data = bytes(both)
        if self.failure is not None:
            return
        try:
            self._begin()
            self._sink.write(data)
        except OSError as error:
            self.failure = error.strerror or str(error)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._sink.begin(self._rate, self._channels)

    def close(self) -> None:
        """Make the file whole; again, it does nothing."""
        if self.closed:
            return
        self.closed = True
        try:
            if self.failure is None:
                self._begin()  # an empty recording is a sound file, too
        except OSError as error:
            self.failure = error.strerror or str(error)
        try:
            self._sink.close()
        except OSError as error:
            self.failure = self.failure or error.strerror or str(error)


def _compressed(path: Path) -> bool:
    """Must libsndfile write it?  ConfigError where nobody here can."""
    suffix = path.suffix.lower()
    if suffix in _NOT_WRITTEN:
        raise ConfigError(
            f"cannot write {path}: {suffix} files are not made here",
            hint="name it .wav, or .flac, .opus, .mp3 (pip install 'sipcli[files]'), and convert it afterwards",
        )
    return suffix in COMPRESSED


def _open_sink(path: Path) -> Sink:
    if _compressed(path):
        return FileSink(path)
    return WavSink(create_private(path))


class WavSink:
    """WAV of 16 bits; the length goes into its header at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rate, self._channels, self._octets = SAMPLE_RATE, 1, 0

    def begin(self, rate: int, channels: int) -> None:
        self._rate, self._channels = rate, channels
        self._file.write(wav_header(0, rate=rate, channels=channels))

    def write(self, pcm: bytes) -> None:
        self._octets += len(pcm)
        self._file.write(pcm)

    def close(self) -> None:
        try:
            self._file.flush()
            self._file.seek(0)
            self._file.write(
                wav_header(min(self._octets, 0xFFFFFFFF), rate=self._rate, channels=self._channels)[:HEADER_SIZE]
            )
            self._file.close()
        except OSError:
            # A full disk again at the second flush: the descriptor is closed all the same.
            with contextlib.suppress(OSError):
                self._file.close()
            raise
