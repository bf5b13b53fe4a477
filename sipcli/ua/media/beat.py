"""The 20 ms beat of one call: play what came, send what is said, and see whether audio flows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from sipcli.media.pacing import Pacer
from sipcli.media.stream import AudioStream
from sipcli.ua.media.audioend import BEHIND_FRAMES
from sipcli.ua.media.metronome import metronome_of
from sipcli.ua.media.rtp_sockets import RtpSockets

if TYPE_CHECKING:
    from sipcli.ua.media.ice import IcePath
    from sipcli.ua.media.media_io import MediaSession

__all__ = ["Beat"]

_SILENT_AFTER_S = 2.0
_LEAST_SILENCE_S = 1.0
"""Of whoever says good-bye and goes on: two lines a second of that are enough."""


class Beat:
    """Goes from the moment it is made until :meth:`stop`, on the clock that all calls of the loop share."""

    def __init__(
        self,
        session: MediaSession,
        stream: AudioStream,
        sockets: RtpSockets | IcePath,
        clock: Callable[[], float],
        on_dtmf: Callable[[str, int], None] | None,
    ) -> None:
        """*on_dtmf(digit, duration_ms)* hears the digits that came."""
        loop = asyncio.get_running_loop()
        self._session = session
        self._stream = stream
        self._sockets = sockets
        self._clock = clock
        self._on_dtmf = on_dtmf
        self._started = clock()
        self._silent_since = -inf
        self._metronome = metronome_of(loop)
        first = self._metronome.join(loop, self._when_due)
        self._pacer = Pacer(self._started + first - loop.time())  # the metronome goes by the loop's clock, not *clock*

    def stop(self) -> None:
        """Again, it does nothing."""
        self._metronome.leave(self._when_due)

    def _when_due(self) -> None:
        now = self._clock()
        beats = self._pacer.due(now)
        if beats:
            self._exchange(beats, now)

    def _exchange(self, beats: int, now: float) -> None:
        """One packet, made of the last of *beats* frames; those before it were missed and are not sent any more."""
        stream, end = self._stream, self._session.end
        self._sockets.beat(hurry=stream.protection.waiting)
        silent = self._session.says_nothing
        if beats > 1:
            # After a suspended laptop wakes up, an hour of silence need not be recorded.
            for _ in range(min(beats - 1, BEHIND_FRAMES)):
                end.exchange(stream.play(now), silent=silent)
            stream.skip(beats - 1)
        sent = end.exchange(stream.play(now), silent=silent)
        self._sockets.send(stream.beat(sent, now))
        self._tell_digits()
        if self._session.listens:
            self._watch(now)
        end.wake()

    def _tell_digits(self) -> None:
        digits = self._stream.receiver.digits
        while digits:
            event = digits.popleft()
            if self._on_dtmf is not None:
                self._on_dtmf(event.digit, event.duration_ms)

    def _watch(self, now: float) -> None:
        """Does the other side, who may send, do so?"""
        session, last = self._session, self._stream.receiver.last_arrival
        quiet = self._stream.ended_by_peer or now - (self._started if last is None else last) > _SILENT_AFTER_S
        long_enough = now - self._silent_since >= _LEAST_SILENCE_S
        if quiet and session.state != "silent":
            self._silent_since = now
            session.become("silent")
        elif long_enough and not quiet and last is not None and session.state != "flowing":
            session.become("flowing")
