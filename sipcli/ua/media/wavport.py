"""WAV files as a call's microphone: whatever a file says of itself is judged before it is played."""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import BinaryIO

from sipcli.errors import ConfigError, ParseError
from sipcli.media.wav import WavHeader, parse_wav_header, to_mono
from sipcli.ua.media.audioport import SampledPort
from sipcli.ua.media.safefiles import open_regular

__all__ = ["WavPort", "check_rate"]

_HEADER_SEARCH = 1 << 20
_ODD_RATES = (11025, 18900, 22050, 37800, 44100, 88200, 176_400)


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
