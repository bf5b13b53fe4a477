"""What a person hears of the telephone itself: ringing, busy, congestion, call waiting, and the bell.

They are played by the sound card only, where one is named for the audio of calls, and go to nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sipcli.errors import SipcliError
from sipcli.media.callprogress import BELL_DBFS, PLANS, Cadence, PlanName, ToneName, failure_tone
from sipcli.ua.media.audiospec import Device
from sipcli.ua.media.earpiece import Earpiece
from sipcli.ua.media.ringfile import FileSound
from sipcli.ua.notices import CallNotice, MediaNotice, Notice, WarningNotice

if TYPE_CHECKING:
    from sipcli.ua.agent import UserAgent
    from sipcli.ua.calls.call import Call
    from sipcli.ua.media.audioport import AudioPort

__all__ = ["CallTones", "ToneSettings"]

_FAILURE_S = 2.4
"""How long busy and congestion are heard: who hears five of them knows."""
_BELL_RATE = 48000


@dataclass(frozen=True, slots=True, kw_only=True)
class ToneSettings:
    """*bell* is the card that rings, by its loudspeaker; *file*: what it plays in place of the plan's bell."""

    plan: PlanName = "eu"
    bell: Device = field(default_factory=Device)
    file: Path | None = None


class CallTones:
    """The tones of the calls of *agent*; *settings* None: none.  :meth:`close` ends it.

    A caller hears ringing after a 180, for as long as no audio comes (RFC 3960 section 3.2), and busy or congestion
    for some seconds when the call has failed.  Who is in a call hears a beep while :meth:`ringing` another one; who is
    in none, the bell.
    """

    def __init__(self, agent: UserAgent, settings: ToneSettings | None) -> None:
        self._agent = agent
        self._settings = settings
        self._ringback: dict[str, tuple[Earpiece, Cadence]] = {}
        self._fading: list[Earpiece] = []
        self._rings: list[Call] = []
        self._beep: tuple[Earpiece, Cadence] | None = None
        self._bell: _Bell | None = None
        self._unsubscribe = agent.subscribe(self._look)

    async def close(self) -> None:
        """Be silent now, whatever sounds."""
        self._unsubscribe()
        for ear, tone in self._ringback.values():
            ear.hush(tone)
        for ear in self._fading:
            ear.hush()
        self._stop_beep()
        if self._bell is not None:
            await self._bell.silence()

    async def faded(self) -> None:
        """Return when busy and congestion were heard."""
        for ear in self._fading:
            await ear.faded()

    # --- calls of ours --------------------------------------------------------------------------------------------

    def _look(self, notice: Notice) -> None:
        if self._settings is None:
            return
        if isinstance(notice, MediaNotice) and notice.state == "flowing":
            self._end_ringback(notice.call)
        elif isinstance(notice, CallNotice):
            if notice.direction == "out":
                self._follow(notice)
            self._ring_or_beep()

    def _follow(self, notice: CallNotice) -> None:
        call = self._agent.find_call(notice.call)
        ear = None if call is None else _ear_of(call)
        if call is None or ear is None or notice.state in ("calling", "trying"):
            return
        if notice.state in ("ringing", "early"):
            heard = call.media is not None and call.media.state == "flowing"
            if notice.code == 180 and not heard and notice.call not in self._ringback:
                self._ringback[notice.call] = ear, self._play(ear, "ringing")
            return
        self._end_ringback(notice.call)
        if notice.state == "ended" and not call.is_up and notice.by != "local":
            tone = failure_tone(notice.code)
            if tone is not None:
                self._play(ear, tone, seconds=_FAILURE_S)
                self._fading.append(ear)

    def _play(self, ear: Earpiece, tone: ToneName, *, seconds: float | None = None) -> Cadence:
        assert self._settings is not None
        cadence = Cadence(PLANS[self._settings.plan][tone], seconds=seconds)
        ear.play(cadence)
        return cadence

    def _end_ringback(self, call: str) -> None:
        sounding = self._ringback.pop(call, None)
        if sounding is not None:
            ear, tone = sounding
            ear.hush(tone)

    # --- calls of others ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def ringing(self, call: Call) -> AsyncIterator[None]:
        """Meanwhile *call* rings here.  Afterwards the bell is silent, and its card free for whoever answers."""
        if self._settings is None:
            yield
            return
        self._rings.append(call)
        self._ring_or_beep()
        try:
            yield
        finally:
            self._rings.remove(call)
            if not self._rings:
                self._stop_beep()
            # Another one that rings goes on with the next news of this one: answered by a beep, refused by the bell.
            bell, self._bell = self._bell, None
            if bell is not None:
                await bell.silence()

    def _ring_or_beep(self) -> None:
        ear = self._ear_in_use() if self._rings else None
        if self._beep is not None and self._beep[0] is not ear:
            self._stop_beep()
        if ear is not None and self._beep is None:
            self._beep = ear, self._play(ear, "waiting")
        wanted = bool(self._rings) and ear is None
        if wanted and self._bell is None:
            assert self._settings is not None
            self._bell = _Bell(self._agent, self._settings)
        elif not wanted and self._bell is not None:
            self._bell.stop()
            self._bell = None

    def _ear_in_use(self) -> Earpiece | None:
        """That of the call which is talked in; of one on hold, if there is no other."""
        up = [call for call in self._agent.calls if call.is_up and _ear_of(call) is not None]
        up.sort(key=lambda call: call.session.held)
        return _ear_of(up[0]) if up else None

    def _stop_beep(self) -> None:
        if self._beep is not None:
            ear, tone = self._beep
            self._beep = None
            ear.hush(tone)


def _ear_of(call: Call) -> Earpiece | None:
    return None if call.media is None else call.media.end.earpiece


class _Bell:
    """Rings from the beginning until :meth:`stop`; the card is opened on a thread, which may take its time."""

    def __init__(self, agent: UserAgent, settings: ToneSettings) -> None:
        self._agent = agent
        self._settings = settings
        self._stopped = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._ring(), name="bell")

    def stop(self) -> None:
        self._stopped.set()

    async def silence(self) -> None:
        """Stop, and return when the card is free."""
        self.stop()
        await self._task

    async def _ring(self) -> None:
        sound: Cadence | FileSound | None = None
        try:
            sound = self._sound()
            port = await asyncio.to_thread(self._open)
        except SipcliError as error:
            message = f"a call rings, and cannot be heard: {error}"
            self._agent.tell(WarningNotice(code="bell", message=message, hint=error.hint))
        else:
            ear = Earpiece(port)
            ear.tune(_BELL_RATE)
            if not self._stopped.is_set():
                ear.play(sound)
            await self._stopped.wait()
            ear.close()
        if isinstance(sound, FileSound):
            sound.close()

    def _sound(self) -> Cadence | FileSound:
        if self._settings.file is not None:
            return FileSound(self._settings.file)
        return Cadence(PLANS[self._settings.plan]["bell"], level_dbfs=BELL_DBFS)

    def _open(self) -> AudioPort:
        from sipcli.ua.media.sound import DevicePort  # whoever does without a sound card need not load it

        bell = self._settings.bell
        return DevicePort(bell.name, self._warn, output=bell.output, listens=False)

    def _warn(self, code: str, message: str) -> None:
        self._agent.tell(WarningNotice(code=code, message=message))
