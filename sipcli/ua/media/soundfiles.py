"""Compressed sound files by libsndfile (extra ``sipcli[files]``, imported when a call wants one): played and recorded.

Files come from anywhere, so what libsndfile says of them is judged like a WAV's header, only formats that people have
are taken, and whatever goes wrong is one sentence.  They are read and written through descriptors that were
checked before: libsndfile opens nothing by name.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from pathlib import Path
from typing import Any

from sipcli.errors import ConfigError
from sipcli.media.resample import Resampler
from sipcli.media.tone import samples_of
from sipcli.ua.media.audioport import SampledPort
from sipcli.ua.media.quiet import quiet_stderr
from sipcli.ua.media.safefiles import create_private, open_regular
from sipcli.ua.media.wavport import check_rate

__all__ = ["COMPRESSED", "FilePort", "FileSink", "load_library"]

COMPRESSED = {
    ".flac": ("FLAC", "PCM_16"),
    ".opus": ("OGG", "OPUS"),
    ".ogg": ("OGG", "OPUS"),
    ".oga": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_16"),
    ".aif": ("AIFF", "PCM_16"),
    ".au": ("AU", "PCM_16"),
    ".caf": ("CAF", "PCM_16"),
}
"""What names promise and libsndfile keeps: its format and subtype."""
_PLAYED = frozenset({"FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "WAV", "WAVEX"})
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
"""What Opus has (RFC 6716 section 2); anything else is brought to the last."""
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Layer III of MPEG-1 (ISO 11172-3), MPEG-2 (13818-3) and the 2.5 that everybody added."""


def load_library() -> Any:
    """The module soundfile; ConfigError when it, or libsndfile, is not installed."""
    try:
        import soundfile
    except ImportError as error:
        raise ConfigError(
            "compressed sound files need soundfile", hint="pip install 'sipcli[files]', or use a WAV file"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"compressed sound files need libsndfile: {error}",
            hint="Debian and Ubuntu: apt install libsndfile1; or use a WAV file",
        ) from error
    return soundfile


class FilePort(SampledPort):
    """Plays a FLAC, Ogg, MP3, AIFF, AU or CAF file, once; a file that ends too early is played as far as it goes."""

    def __init__(self, path: Path) -> None:
        soundfile = load_library()
        descriptor = open_regular(path)
        try:
            with quiet_stderr():
                self._file = soundfile.SoundFile(descriptor, "r", closefd=False)
        except (soundfile.SoundFileError, RuntimeError):
            os.close(descriptor)
            # What libsndfile says of it names the descriptor, and tells nobody more.
            raise ConfigError(
                f"cannot play {path}: it is no sound file that can be read", hint="convert it to WAV or FLAC"
            ) from None
        # soundfile seeks to where it is after every read, and an MP3 falls silent by that (libsndfile 1.2.2).
        self._file.seekable = lambda: False
        self._descriptor, self._error = descriptor, soundfile.SoundFileError
        try:
            self._judge(path)
        except ConfigError:
            self.close()
            raise
        self._channels = self._file.channels
        # libmpg123 comments on every damaged frame of an MP3; the other decoders keep quiet.
        self._hush = quiet_stderr if self._file.format == "MP3" else contextlib.nullcontext
        super().__init__(self._file.samplerate)

    def _judge(self, path: Path) -> None:
        file = self._file
        if file.format not in _PLAYED:
            raise ConfigError(f"cannot play {path}: {file.format} files are not taken", hint="convert it to FLAC")
        if not 1 <= file.channels <= 8:
            raise ConfigError(
                f"cannot play {path}: it has {file.channels} channels", hint="convert it to one with 1 or 2 channels"
            )
        check_rate(path, file.samplerate)

    def _take(self, count: int) -> array[int] | None:
        buffer = bytearray(2 * count * self._channels)
        try:
            with self._hush():
                frames = self._file.buffer_read_into(buffer, dtype="int16")
        except (self._error, RuntimeError):
            return None  # damaged from here on
        # In the machine's own order of octets, as array has it.
        samples = array("h", bytes(buffer[: 2 * frames * self._channels]))
        if not samples or self._channels == 1:
            return samples or None
        columns = [samples[channel :: self._channels] for channel in range(self._channels)]
        return array("h", (sum(frame) // self._channels for frame in zip(*columns, strict=True)))

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()
            os.close(self._descriptor)


class FileSink:
    """A recording in one of the formats that libsndfile writes."""

    def __init__(self, path: Path) -> None:
        self._soundfile = load_library()
        self._format, self._subtype = COMPRESSED[path.suffix.lower()]
        self._file = create_private(path)
        self._encoder: Any = None
        self._empty = True
        self._resamplers: list[Resampler] = []

    def begin(self, rate: int, channels: int) -> None:
        rates = {"OPUS": _OPUS_RATES, "MPEG_LAYER_III": _MP3_RATES}.get(self._subtype, (rate,))
        taken = rate if rate in rates else rates[-1]
        if taken != rate:
            self._resamplers = [Resampler(rate, taken) for _ in range(channels)]
        with self._as_os_error():
            self._encoder = self._soundfile.SoundFile(
                self._file.fileno(),
                "w",
                samplerate=taken,
                channels=channels,
                format=self._format,
                subtype=self._subtype,
                closefd=False,
            )

    def write(self, pcm: bytes) -> None:
        samples = samples_of(pcm)
        if self._resamplers:
            samples = self._resampled(samples)
        with self._as_os_error():
            if self._format == "MP3":
                # libsndfile 1.2.2 takes every 16-bit sample of an MP3 for full scale.
                self._encoder.buffer_write(array("f", (s / 32768 for s in samples)).tobytes(), dtype="float32")
            else:
                self._encoder.buffer_write(samples.tobytes(), dtype="int16")
        self._empty = False

    def _resampled(self, samples: array[int]) -> array[int]:
        channels = len(self._resamplers)
        columns = [resampler.push(samples[n::channels]) for n, resampler in enumerate(self._resamplers)]
        out = array("h", bytes(2 * channels * len(columns[0])))
        for n, column in enumerate(columns):
            out[n::channels] = column
        return out

    def close(self) -> None:
        try:
            if self._encoder is not None:
                if self._empty:
                    self.write(bytes(2 * self._encoder.channels))  # without a sample libsndfile writes no header
                with self._as_os_error():
                    self._encoder.close()  # only now are the last pages written
        finally:
            self._file.close()

    @contextlib.contextmanager
    def _as_os_error(self) -> Any:
        """What libsndfile says when the disk is full is of no use to anybody; that it failed is."""
        try:
            yield
        except (self._soundfile.SoundFileError, AssertionError, RuntimeError) as error:
            raise OSError("the disk is full, or the file cannot grow") from error
