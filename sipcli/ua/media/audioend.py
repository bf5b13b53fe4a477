"""Our end of a call's audio: the source and the sink, the recording, and the PCM of a program that is the person."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

from sipcli.errors import LocalProtocolError
from sipcli.media.quality import AudioMeter, Level, MediaReport
from sipcli.media.tone import SAMPLE_RATE
from sipcli.ua.media.audio import open_audio
from sipcli.ua.media.audioport import AudioPort
from sipcli.ua.media.audiospec import AudioSpec, Device, Null
from sipcli.ua.media.convert import FrameConverter
from sipcli.ua.media.earpiece import Earpiece
from sipcli.ua.media.recorder import Recorder, RecordMode

__all__ = ["BEHIND_FRAMES", "AudioEnd"]

_log = logging.getLogger(__name__)

_AHEAD_FRAMES = 10
BEHIND_FRAMES = 50
"""A second: who reads later than that loses the oldest."""


class AudioEnd:
    """Takes 20 ms that were heard and gives 20 ms to send, at every beat; *warn(code, message)* when a part fails.

    All PCM here has :attr:`rate` samples a second: the line's, or *rate* if it is given; :meth:`exchange` converts.
    """

    def __init__(self, spec: AudioSpec, rate: int | None, warn: Callable[[str, str], None]) -> None:
        self._spec = spec
        self.is_microphone = isinstance(spec, Device)
        self._warn = warn
        self._fixed_rate = rate
        self.rate = SAMPLE_RATE if rate is None else rate
        self._from_line: FrameConverter | None = None
        self._to_line: FrameConverter | None = None
        self._port: AudioPort | None = None
        self.earpiece: Earpiece | None = None
        """Where our person hears the telephone's own tones; None: nobody would hear them."""
        self.recorder: Recorder | None = None
        self._meters: tuple[AudioMeter, AudioMeter] | None = None  # of what is sent, and heard
        self._closed = False
        self._to_send = bytearray()
        self._heard: deque[bytes] | None = None
        self._beaten: list[asyncio.Future[None]] = []

    async def open(self, record: Path | None, mode: RecordMode) -> None:
        """NetworkError or ConfigError when the audio or the recording cannot be opened."""
        # Only a device can take long to open.
        if isinstance(self._spec, Device):
            self._port = await asyncio.to_thread(open_audio, self._spec, self._warn)
            self.earpiece = self._port if isinstance(self._port, Earpiece) else None
            self.levels()  # a person speaks, and may wonder whether he is heard
        else:
            self._port = open_audio(self._spec)
        if record is not None:
            self.recorder = Recorder(record, mode)

    def close(self) -> None:
        """Let go of everything, and of everybody who waits; again, it does nothing."""
        self._closed = True
        if self._port is not None:
            self._port.close()
        if self.recorder is not None:
            self.recorder.close()
            self._check_recording()
        self.wake()

    def tune(self, line: int) -> None:
        """The codec has *line* samples a second: whatever gives or takes PCM follows, or is resampled."""
        rate = line if self._fixed_rate is None else self._fixed_rate
        if rate != self.rate:
            self._to_send.clear()
        self.rate = rate
        self._from_line, self._to_line = FrameConverter(line, rate), FrameConverter(rate, line)
        if self._port is not None:
            self._port.tune(rate)
        if self.recorder is not None:
            self.recorder.tune(rate)
        for meter in self._meters or ():
            meter.tune(rate)

    def swap_port(self, port: AudioPort) -> AudioPort:
        """Speak and hear by *port* from the next beat on; the one until now is given back, open."""
        if self._port is None or self._closed:
            raise LocalProtocolError("the media session is not open")
        before, self._port = self._port, port
        port.tune(self.rate)
        return before

    def record(self, path: Path, mode: RecordMode) -> None:
        """Begin to record.  LocalProtocolError when it is being recorded already, ConfigError about the file."""
        if self.recorder is not None:
            raise LocalProtocolError(
                "the call is being recorded already", hint="end that first: sipcli ctl stop-recording"
            )
        if self._closed:
            raise LocalProtocolError("the media session is closed")
        self.recorder = Recorder(path, mode)
        self.recorder.tune(self.rate)

    def stop_recording(self) -> bool:
        """Close the recording; False when there is none."""
        if self.recorder is None:
            return False
        ended, self.recorder = self.recorder, None
        ended.close()
        if ended.failure is not None:
            self._warn("recording-failed", f"the recording is not whole: {ended.failure}")
        return True

    def exchange(self, heard: bytes, *, silent: bool) -> bytes:
        """Hand out what was heard; what is to be sent in return (*silent*: nothing of ours)."""
        assert self._port is not None and self._from_line is not None and self._to_line is not None
        heard = self._from_line.push(heard)
        octets = self._octets
        if self._heard is not None:
            self._heard.append(heard)
        try:
            self._port.write(heard)
            own = self._port.read()
        except Exception as error:
            _log.debug("audio port failed", exc_info=True)
            self._warn("audio-failed", f"the audio source failed, silence is sent: {error}")
            self._port.close()
            self._port, own = open_audio(Null()), bytes(octets)
            self._port.tune(self.rate)
        if self._to_send:
            own = bytes(self._to_send[:octets])
            own += bytes(octets - len(own))
            del self._to_send[:octets]
        sent = bytes(octets) if silent else own
        if self._meters is not None:
            self._meters[0].feed(sent)
            self._meters[1].feed(heard)
        if self.recorder is not None:
            self.recorder.write(sent, heard)
            self._check_recording()
        return self._to_line.push(sent)

    def levels(self) -> tuple[Level | None, Level | None]:
        """How loud what was sent is, and what was heard, since the last look; from the first one on it is measured.

        It costs some 50 us of each 20 ms of G.711, so that nobody pays who does not look.
        """
        if self._meters is None:
            self._meters = AudioMeter(), AudioMeter()
            for meter in self._meters:
                meter.tune(self.rate)
        sent, heard = self._meters
        return sent.look(), heard.look()

    def measured(self, report: MediaReport) -> MediaReport:
        """*report* with the level of what we sent, where it was measured."""
        if self._meters is None:
            return report
        sent, _ = self._meters
        return replace(report, tx=replace(report.tx, rms_dbfs=sent.rms_dbfs, speech_pct=sent.speech_pct))

    @property
    def _octets(self) -> int:
        """Of 20 ms."""
        return 2 * (self.rate // 50)

    def _check_recording(self) -> None:
        if self.recorder is not None and self.recorder.failure is not None:
            failed, self.recorder = self.recorder, None
            failed.close()
            self._warn("recording-failed", f"the recording stopped: {failed.failure}")

    # -- for programs -----------------------------------------------------------

    async def write(self, pcm: bytes) -> None:
        """Send *pcm* in place of the source; waits at 200 ms."""
        if self._closed:
            raise LocalProtocolError("the media session is closed")
        self._to_send += pcm
        while len(self._to_send) > _AHEAD_FRAMES * self._octets and not self._closed:
            await self.next_beat()

    async def drain(self) -> None:
        """Return when all that was written is sent, or this is closed."""
        while self._to_send and not self._closed:
            await self.next_beat()

    def clear(self) -> None:
        """Forget what was written and is not sent yet."""
        self._to_send.clear()

    async def read(self) -> bytes | None:
        """The next 20 ms that were heard; None after :meth:`close`.  A reader a second behind loses the oldest."""
        if self._heard is None:
            self._heard = deque(maxlen=BEHIND_FRAMES)
        while not self._heard:
            if self._closed:
                return None
            await self.next_beat()
        return self._heard.popleft()

    async def frames(self) -> AsyncIterator[bytes]:
        """Every 20 ms that are heard, until the end; each has ``2 * rate // 50`` octets."""
        while (frame := await self.read()) is not None:
            yield frame

    async def next_beat(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._beaten.append(future)
        await future

    def wake(self) -> None:
        """A beat has passed."""
        beaten, self._beaten = self._beaten, []
        for future in beaten:
            if not future.done():
                future.set_result(None)
