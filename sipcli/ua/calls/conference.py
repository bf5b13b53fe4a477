"""A local conference: two calls or more, and the person at this machine, all hear each other (RFC 4579 section 5.1).

Nothing of it is on the wire: each of the others has an ordinary call with us, and we mix.  The person is the audio of
the call that was named first; while the conference lasts, the audio of the other calls is set aside.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sipcli.errors import LocalProtocolError
from sipcli.media.mixer import Mixer
from sipcli.ua.media.audio import open_audio
from sipcli.ua.media.audioport import AudioPort
from sipcli.ua.media.audiospec import Null
from sipcli.ua.media.convert import FrameConverter

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call

__all__ = ["Conference"]

log = logging.getLogger(__name__)

_PERSON = "the person at this machine"
_WIDE, _NARROW = 16000, 8000


class Conference:
    """Made by :meth:`start`.  A call that ends leaves; with one call left, that one goes on as an ordinary call."""

    def __init__(self, rate: int, person: AudioPort) -> None:
        self.rate = rate
        self.muted = False
        """The others do not hear the person; they still hear each other."""
        self._mixer = Mixer(2 * (rate // 50))
        self._mixer.join(_PERSON)
        self._person = person
        self._person.tune(rate)
        self._seats: dict[Call, _Seat] = {}

    @classmethod
    async def start(cls, calls: Sequence[Call]) -> Conference:
        """Join *calls*, all of one agent; those on hold are resumed.

        Raises LocalProtocolError when there are not two that are up and free, MediaFailed when one cannot be resumed;
        no call was joined then.
        """
        busy = [call.id for call in calls if call.conference is not None]
        fit = [call for call in dict.fromkeys(calls) if call.state in ("answered", "held")]
        if busy:
            raise LocalProtocolError(f"{', '.join(busy)}: in a conference already")
        if len(fit) < 2 or len(fit) < len(calls):
            raise LocalProtocolError(
                "a conference wants two calls that are up", hint="answer them first; `sipcli status` lists the calls"
            )
        for call in fit:
            if call.session.held:
                await call.resume()
        fit = [call for call in fit if not call.is_over and call.conference is None]  # much may happen in a resume
        if len(fit) < 2:
            raise LocalProtocolError("a conference wants two calls that are up", hint="one of them left meanwhile")
        wide = any(call.session.rate > _NARROW for call in fit)
        first, *others = fit
        placeholder = open_audio(Null())
        conference = cls(_WIDE if wide else _NARROW, first.session.swap_port(placeholder))
        for call in (first, *others):
            conference._seat(call)
        return conference

    @property
    def calls(self) -> tuple[Call, ...]:
        """Those who are in it, in the order in which they came."""
        return tuple(self._seats)

    def _seat(self, call: Call) -> None:
        seat = _Seat(self, call)
        # Muted is the person from now on: a call that stayed so would not hear the others either.
        self.muted, call.session.muted = self.muted or call.session.muted, False
        self._mixer.join(call)
        self._seats[call] = seat
        seat.own = call.session.swap_port(seat)
        call.conference = self

    async def add(self, call: Call) -> None:
        """Join one more call.  Raises as :meth:`start` does."""
        self._check_fit(call)
        if call.session.held:
            await call.resume()
            self._check_fit(call)
        self._seat(call)

    @staticmethod
    def _check_fit(call: Call) -> None:
        if call.conference is not None or call.state not in ("answered", "held"):
            raise LocalProtocolError(f"{call.id} cannot join: it is {call.state}, or in a conference already")

    def leave(self, call: Call) -> None:
        """*call* goes on by itself, with its own audio; the one that is left alone at last has the person's."""
        seat = self._seats.pop(call, None)
        if seat is None:
            return
        self._mixer.leave(call)
        call.conference, call.session.muted = None, self.muted
        call.session.swap_port(seat.own)
        if len(self._seats) == 1:
            self._end()

    def end(self) -> None:
        """Everybody goes on by himself; the person talks to the one who came first."""
        while len(self._seats) > 1:
            self.leave(self.calls[-1])

    def _end(self) -> None:
        ((call, seat),) = self._seats.items()
        self._seats.clear()
        call.conference, call.session.muted = None, self.muted
        call.session.swap_port(self._person)
        seat.own.close()

    # --- what the seats ask -----------------------------------------------------------------------------------

    def left(self, call: Call) -> None:
        """The call is over: its session closes its audio."""
        seat = self._seats.pop(call, None)
        self._mixer.leave(call)
        if seat is None:
            return
        call.conference = None
        seat.own.close()
        if len(self._seats) == 1:
            self._end()
        elif not self._seats:
            self._person.close()

    def beat(self, call: Call, heard: bytes) -> bytes:
        """*call* said *heard*; what it hears.  The person speaks and hears on the first call's beat."""
        self._mixer.hear(call, heard)
        if call is next(iter(self._seats), None):
            self._serve_person()
        return self._mixer.speak(call)

    def _serve_person(self) -> None:
        try:
            self._person.write(self._mixer.speak(_PERSON))
            own = self._person.read()
        except Exception:
            log.exception("the audio of the person in the conference failed; silence from now on")
            self._person.close()
            self._person = open_audio(Null())
            self._person.tune(self.rate)
            own = self._person.read()
        if not self.muted:
            self._mixer.hear(_PERSON, own)


class _Seat:
    """A call's place: an :class:`AudioPort` whose loudspeaker and microphone is the conference."""

    def __init__(self, conference: Conference, call: Call) -> None:
        self._conference = conference
        self._call = call
        self._heard = b""
        self.own: AudioPort = open_audio(Null())
        """The call's own audio, set aside."""
        self.tune(call.session.rate)

    def tune(self, rate: int) -> None:
        room = self._conference.rate
        self._to_room, self._from_room = FrameConverter(rate, room), FrameConverter(room, rate)

    def write(self, pcm: bytes) -> None:
        self._heard = self._to_room.push(pcm)

    def read(self) -> bytes:
        return self._from_room.push(self._conference.beat(self._call, self._heard))

    def close(self) -> None:
        self._conference.left(self._call)
