"""The loudspeaker of a person, over which the telephone itself makes itself heard: its tones, its bell."""

from __future__ import annotations

import asyncio
from typing import Protocol

from sipcli.media.mixer import mix
from sipcli.media.tone import SAMPLE_RATE
from sipcli.ua.media.audioport import AudioPort
from sipcli.ua.media.metronome import Metronome, metronome_of

__all__ = ["Earpiece", "Sound"]

_PATIENCE = 5
"""Beats without a word of the call, after which a tone is played without it."""


class Sound(Protocol):
    """Something that is heard over whatever else there is."""

    @property
    def ends(self) -> bool:
        """It does not go on for ever."""
        ...

    @property
    def over(self) -> bool: ...

    def tune(self, rate: int) -> None: ...

    def read(self) -> bytes:
        """The next 20 ms."""
        ...


class Earpiece:
    """An :class:`AudioPort` around *port*, a sound card: its person hears tones over what the call brings.

    They go nowhere else: neither to the other side, nor into a recording.  While the call does not beat yet, or no
    more, it plays the tone on a beat of its own, and looks whether the device is still there.
    """

    def __init__(self, port: AudioPort) -> None:
        self._port = port
        self._rate = SAMPLE_RATE
        self._sound: Sound | None = None
        self._unheard = _PATIENCE
        self._metronome: Metronome | None = None
        self._closed = self._shut = False
        self._silent = asyncio.Event()
        self._silent.set()

    # -- the call's side ----------------------------------------------------------

    def tune(self, rate: int) -> None:
        self._rate = rate
        self._port.tune(rate)
        if self._sound is not None:
            self._sound.tune(rate)

    def read(self) -> bytes:
        return self._port.read()

    def write(self, pcm: bytes) -> None:
        self._unheard = 0
        tone = self._next()
        self._port.write(pcm if tone is None else mix([pcm, tone]))

    def close(self) -> None:
        """The call is over.  A sound that ends by itself is played to its end, and the card is closed then."""
        self._closed = True
        self._unheard = _PATIENCE
        if self._sound is None or not self._sound.ends:
            self.hush()

    # -- the telephone's side --------------------------------------------------------

    def play(self, sound: Sound) -> None:
        """*sound* from now on, in place of the one before."""
        if self._closed:
            return
        sound.tune(self._rate)
        self._sound = sound
        self._silent.clear()
        if self._metronome is None:
            loop = asyncio.get_running_loop()
            self._metronome = metronome_of(loop)
            self._metronome.join(loop, self._beat)

    def hush(self, sound: Sound | None = None) -> None:
        """Silence; only if it is *sound* that sounds, where one is named."""
        if sound is not None and sound is not self._sound:
            return
        self._sound = None
        if self._metronome is not None:
            self._metronome.leave(self._beat)
            self._metronome = None
        if self._closed and not self._shut:
            self._shut = True
            self._port.close()
        self._silent.set()

    async def faded(self) -> None:
        """Return when nothing sounds any more."""
        await self._silent.wait()

    def _beat(self) -> None:
        self._unheard += 1
        if self._unheard > _PATIENCE:
            self._port.read()  # what the microphone hears meanwhile is nobody's
            tone = self._next()
            if tone is not None:
                self._port.write(tone)

    def _next(self) -> bytes | None:
        """20 ms of the tone; None is silence."""
        if self._sound is None:
            return None
        if self._sound.over:
            self.hush()
            return None
        return self._sound.read()
