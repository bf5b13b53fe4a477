"""A sound file as the telephone's bell."""

from __future__ import annotations

from pathlib import Path

from sipcli.errors import ConfigError
from sipcli.media.tone import SAMPLE_RATE
from sipcli.ua.media.audio import open_audio
from sipcli.ua.media.audioport import AudioPort, SampledPort
from sipcli.ua.media.audiospec import AudioFile, Null, WavFile, parse_audio

__all__ = ["FileSound"]


class FileSound:
    """A sound file, over and over; silence once it is gone.  Raises ConfigError where it cannot be played at all."""

    ends = over = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rate = SAMPLE_RATE
        self._file: AudioPort = _open(path)

    def tune(self, rate: int) -> None:
        self._rate = rate
        self._file.tune(rate)

    def read(self) -> bytes:
        if isinstance(self._file, SampledPort) and self._file.finished:
            self._file.close()
            try:
                self._file = _open(self._path)
            except ConfigError:
                self._file = open_audio(Null())
            self._file.tune(self._rate)
        return self._file.read()

    def close(self) -> None:
        self._file.close()


def _open(path: Path) -> AudioPort:
    """Whatever its name says: what a file is, is decided by what it holds."""
    spec = parse_audio(str(path)) if path.suffix else WavFile(path)
    return open_audio(spec if isinstance(spec, WavFile | AudioFile) else WavFile(path))
