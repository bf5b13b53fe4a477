"""Makes what :mod:`~sipcli.ua.media.audiospec` asks for: tone, echo, silence, files, the sound card, a pipe.

:func:`open_audio` makes an :class:`~sipcli.ua.media.audioport.AudioPort`, which is read and written once every 20 ms,
on the loop, without waiting.
"""

from __future__ import annotations

from collections.abc import Callable

from sipcli.ua.media.audioport import AudioPort, EchoPort, MelodyPort, NullPort, TonePort
from sipcli.ua.media.audiospec import AudioFile, AudioSpec, Device, Echo, Melody, Null, Stdio, Tone, WavFile
from sipcli.ua.media.wavport import WavPort

__all__ = ["check_audio", "open_audio"]


def open_audio(spec: AudioSpec, warn: Callable[[str, str], None] | None = None) -> AudioPort:
    """Make *spec* work; may read a file's header or open a device.  ConfigError says what is missing.

    *warn(code, message)* is called on a beat when a device goes away, and when it is back.
    """
    match spec:
        case Tone(hz):
            return TonePort(hz)
        case Melody(notes):
            return MelodyPort(notes)
        case Echo():
            return EchoPort()
        case Null():
            return NullPort()
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
