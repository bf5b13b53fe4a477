"""The sound card, which has a clock of its own (extra ``sipcli[audio]``, imported when asked for).

Its thread meets the call's 20 ms beat in small rings: what one side is too fast for is dropped,
what it is too slow for is silence.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from typing import Any

from sipcli.errors import ConfigError
from sipcli.media.echo import EchoCanceller, EchoPolicy, join_pairs, split_pairs
from sipcli.media.tone import SAMPLE_RATE
from sipcli.ua.media.cards import DeviceInfo, Direction, choose_card, lasting_name
from sipcli.ua.media.convert import FrameConverter
from sipcli.ua.media.echocancel import canceller_for
from sipcli.ua.media.quiet import quiet_stderr

__all__ = ["DevicePort", "PcmRing", "find_device", "list_devices"]

_CARD_RATE = 48000
"""What nearly every card has of itself, and what Opus needs."""
_PREFILL_FRAMES = 2
_RING_FRAMES = 6
_PAIRED_FRAMES = 10
_DEAF_BEATS = 100
"""Two seconds without a callback: some drivers stop without a word."""
_LOOK_EVERY_S = 1.0


class PcmRing:
    """Octets between two clocks, from any thread: after a bound the oldest go, and reading never waits.

    Once it ran dry, *prefill* octets must gather before it gives again: one gap instead of many.
    """

    def __init__(self, *, most: int, prefill: int = 0) -> None:
        self._most, self._prefill = most, prefill
        self._octets = bytearray()
        self._lock = threading.Lock()
        self._filling = prefill > 0

    def write(self, pcm: bytes) -> None:
        with self._lock:
            self._octets += pcm
            if len(self._octets) > self._most:
                del self._octets[: len(self._octets) - self._most]

    def read(self, octets: int) -> bytes:
        """Just *octets* of them, silence where there are none."""
        with self._lock:
            if self._filling and len(self._octets) < self._prefill:
                return bytes(octets)
            self._filling = False
            out = bytes(self._octets[:octets])
            del self._octets[:octets]
            if len(out) < octets:
                self._filling = self._prefill > 0
        return out + bytes(octets - len(out))

    def drain(self, unit: int) -> bytes:
        """All that is there, but for the last octets that are no whole *unit*."""
        with self._lock:
            octets = len(self._octets) // unit * unit
            out = bytes(self._octets[:octets])
            del self._octets[:octets]
        return out


# -- the sound card -----------------------------------------------------------


def list_devices() -> list[DeviceInfo]:
    """What PortAudio sees; ConfigError when the extra, or PortAudio itself, is not installed."""
    return _list(_load())


def _list(sounddevice: Any) -> list[DeviceInfo]:
    with quiet_stderr():
        found = sounddevice.query_devices()
        default_input, default_output = sounddevice.default.device
    return [
        DeviceInfo(
            index,
            str(device["name"]),
            int(device["max_input_channels"]),
            int(device["max_output_channels"]),
            int(device["default_samplerate"]),
            index == default_input,
            index == default_output,
        )
        for index, device in enumerate(found)
    ]


def find_device(name: str | None, output: str | None = None, *, listens: bool = True) -> None:
    """Raise ConfigError where there is no microphone *name*, or loudspeaker *output* (None: of that name, too).

    They are not opened, and may be busy when they are.  *listens* False: the loudspeaker alone.
    """
    sounddevice = _load()
    wanted: list[tuple[Direction, str | None]] = [("output", output or name)]
    if listens:
        wanted.insert(0, ("input", name))
    for direction, called in wanted:
        try:
            number = None if called is None else choose_card(_list(sounddevice), called, direction).index
            with quiet_stderr():
                sounddevice.query_devices(number, direction)
        except (sounddevice.PortAudioError, ValueError) as error:
            raise _no_card(called, error) from error


def _no_card(name: str | None, error: Exception) -> ConfigError:
    if name is None and "device -1" in str(error):  # PortAudio's number of the default that there is not
        return ConfigError("this machine has no sound card", hint="plug one in, or use --audio null, tone or FILE.wav")
    return ConfigError(
        f"the sound card {name or '(default)'} cannot be opened: {error}",
        hint="`sipcli devices` lists the names, and a part of one is enough; or use --audio null",
    )


def _load() -> Any:
    if not _alsa_has_a_configuration():
        raise ConfigError(
            "the sound card needs ALSA's configuration, which is not there",
            hint="Debian and Ubuntu: apt install libasound2-data; is ALSA_CONFIG_PATH set?",
        )
    try:
        with quiet_stderr():
            import sounddevice
    except ImportError as error:
        raise ConfigError("the sound card needs sounddevice", hint="pip install 'sipcli[audio]'") from error
    except OSError as error:
        raise ConfigError(
            f"the sound card needs PortAudio: {error}", hint="Debian and Ubuntu: apt install libportaudio2"
        ) from error
    return sounddevice


def _alsa_has_a_configuration() -> bool:
    """Without one PortAudio does not fail but aborts the process, so ALSA is asked first, as PortAudio would."""
    if not sys.platform.startswith("linux"):
        return True
    try:
        alsa = ctypes.CDLL("libasound.so.2")
        root, found = ctypes.c_void_p.in_dll(alsa, "snd_config"), ctypes.c_void_p()
        search = alsa.snd_config_search
        search.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
        with quiet_stderr():
            alsa.snd_config_update()
            return int(search(root, b"pcm", ctypes.byref(found))) == 0
    except (OSError, ValueError, AttributeError):
        return True  # no ALSA, or not one we know: PortAudio may have another way


class DevicePort:
    """Microphone *name* and loudspeaker *output* (None: of that name, too), at the card's own rate: it is resampled.

    *listens* False: the loudspeaker alone, and :meth:`read` is silence.  *echo*: whether what the one plays is taken
    out of what the other hears; ConfigError where that is required and cannot be.

    PortAudio calls back from its own thread with blocks of its own size; both rings hold some 120 ms.  A device that
    vanishes becomes silence, *warn(code, message)* is called on the next beat, and every second it is looked for.
    """

    _rate: int
    _microphone: PcmRing
    _pairs: PcmRing
    """With a canceller: what was captured, and what was played at that moment; what is left of it is for the other."""
    _loudspeaker: PcmRing

    def __init__(
        self,
        name: str | None = None,
        warn: Callable[[str, str], None] | None = None,
        *,
        output: str | None = None,
        listens: bool = True,
        echo: EchoPolicy = "off",
    ) -> None:
        self._sounddevice = _load()
        self._name = ", ".join(filter(None, (name, output))) or "(default)"
        self._named: dict[Direction, str | None] = {"input": name, "output": output or name}
        self._listens = listens
        self._echo: EchoPolicy = echo
        self._canceller: EchoCanceller | None = None
        self._warn = warn
        self._call_rate = SAMPLE_RATE
        self._closing = threading.Event()
        self._swap = threading.Lock()
        self._stopped = False
        self._beats = 0
        self._back = False
        self._stream: Any = None
        try:
            self._start()
        except (self._sounddevice.PortAudioError, ValueError) as error:
            raise _no_card(self._name if name or output else None, error) from error

    def _start(self) -> None:
        """Open the device and let it run.  PortAudioError; ConfigError where there is none of that name."""
        with quiet_stderr():
            stream = self._open(self._sounddevice)
            self._stopped, self._beats = False, 0
            try:
                self._prepare(stream)
            except ConfigError:
                stream.close(ignore_errors=True)
                raise
            stream.start()
        with self._swap:
            closed = self._closing.is_set()
            if not closed:
                self._stream = stream
                _working.add(self)
        if closed:
            stream.close(ignore_errors=True)

    def _open(self, sounddevice: Any) -> Any:
        speaker = self._number("output")
        microphone = self._number("input") if self._listens else None

        def stream(rate: int) -> Any:
            self._rate = rate
            settings = {"samplerate": rate, "channels": 1, "dtype": "int16", "latency": "low"}
            settings["finished_callback"] = self._finished
            if not self._listens:
                return sounddevice.RawOutputStream(device=speaker, callback=self._play, **settings)
            return sounddevice.RawStream(device=(microphone, speaker), callback=self._callback, **settings)

        try:
            return stream(_CARD_RATE)
        except sounddevice.PortAudioError:
            rate = int(sounddevice.query_devices(speaker, "output")["default_samplerate"])
            if rate == _CARD_RATE:
                raise
            return stream(rate)

    def _prepare(self, stream: Any) -> None:
        """Rings and converters for *stream*, which has a rate and a delay of its own."""
        if self._listens:
            self._canceller = canceller_for(self._echo, self._rate, sum(stream.latency))
        octets = 2 * (self._rate // 50)
        self._pairs = PcmRing(most=_PAIRED_FRAMES * 2 * octets)
        self._microphone = PcmRing(most=_RING_FRAMES * octets, prefill=_PREFILL_FRAMES * octets)
        self._loudspeaker = PcmRing(most=_RING_FRAMES * octets, prefill=_PREFILL_FRAMES * octets)
        self._convert()

    def _number(self, direction: Direction) -> int | None:
        """What PortAudio calls it now; None is its default."""
        name = self._named[direction]
        if name is None:
            return None
        card = choose_card(_list(self._sounddevice), name, direction)
        if name.isdigit():
            self._named[direction] = lasting_name(card)
        return card.index

    def tune(self, rate: int) -> None:
        """The call's PCM has *rate* from now on; the device is not touched."""
        self._call_rate = rate
        self._convert()

    def _convert(self) -> None:
        rate = self._call_rate
        self._from_card, self._to_card = FrameConverter(self._rate, rate), FrameConverter(rate, self._rate)

    def _callback(self, indata: Any, outdata: Any, frames: int, when: Any, status: Any) -> None:
        captured = bytes(indata)
        self._play(outdata, frames, when, status)
        if self._canceller is None:
            self._microphone.write(captured)
        else:
            self._pairs.write(join_pairs(captured, bytes(outdata)))

    def _play(self, outdata: Any, frames: int, when: Any, status: Any) -> None:
        self._beats = 0
        outdata[:] = self._loudspeaker.read(len(outdata))

    def _finished(self) -> None:
        """PortAudio calls nobody back any more: we closed the stream, or the device is gone."""
        self._stopped = True

    def read(self) -> bytes:
        self._watch()
        if self._stream is None:
            return bytes(2 * (self._call_rate // 50))
        if self._canceller is not None and (pairs := self._pairs.drain(4 * (self._rate // 100))):
            # All of it, also what the ring is too small for: what the canceller misses it hears as an echo of nothing.
            self._microphone.write(self._canceller.cancel(*split_pairs(pairs)))
        return self._from_card.push(self._microphone.read(2 * (self._rate // 50)))

    def write(self, pcm: bytes) -> None:
        if self._stream is not None:
            self._loudspeaker.write(self._to_card.push(pcm))

    def _watch(self) -> None:
        """Once for each beat: is it still there, or there again?"""
        if self._back:
            self._back = False
            self._tell("device-back", f"the sound card {self._name} is back")
        if self._stream is None or self._closing.is_set():
            return
        self._beats += 1
        if self._stopped or self._beats > _DEAF_BEATS:
            dead, self._stream = self._stream, None
            threading.Thread(target=self._look_for_it, args=(dead,), name="sipcli-card", daemon=True).start()
            self._tell("device-lost", f"the sound card {self._name} is gone: silence until it is back")

    def _tell(self, code: str, message: str) -> None:
        if self._warn is not None:
            self._warn(code, message)

    def _look_for_it(self, dead: Any) -> None:
        """On a thread of its own, for PortAudio may take its time."""
        with quiet_stderr():
            dead.close(ignore_errors=True)
        with self._swap:
            _working.discard(self)
        while not self._closing.wait(_LOOK_EVERY_S):
            with _initialising:
                self._look_again()
                try:
                    self._start()
                except (self._sounddevice.PortAudioError, ValueError, ConfigError):
                    continue
            self._back = True
            return

    def _look_again(self) -> None:
        """PortAudio sees devices when it begins, and only then; beginning anew would stop the other calls' streams."""
        if not _working:
            with quiet_stderr():
                self._sounddevice._terminate()  # noqa: SLF001 - what its author says is to be called
                self._sounddevice._initialize()  # noqa: SLF001

    def close(self) -> None:
        with self._swap:
            self._closing.set()
            stream, self._stream = self._stream, None
            _working.discard(self)
        if stream is not None:
            with quiet_stderr():
                stream.close(ignore_errors=True)


_working: set[DevicePort] = set()
_initialising = threading.Lock()
