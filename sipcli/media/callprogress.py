"""What a telephone itself sounds: ringing, busy, congestion, call waiting, and the bell, as a country's ears know them.

Sources: ITU-T E.180 and its supplement 2 (tones in national networks: ``eu`` is Germany's, whose 425 Hz are the
recommended ones), ITU-T E.300 supplement 3 (the North American precise tone plan) and BT's SIN 350 (supervisory
tones of the United Kingdom).  No standard says how a bell sounds; ours rings in the cadence of the ringing tone.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log10
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from sipcli.media.tone import SAMPLE_RATE, Oscillator

__all__ = ["BELL_DBFS", "LEVEL_DBFS", "PLANS", "Cadence", "Note", "PlanName", "ToneName", "failure_tone"]

PlanName: TypeAlias = Literal["eu", "uk", "us"]
ToneName: TypeAlias = Literal["ringing", "busy", "congestion", "waiting", "bell"]

LEVEL_DBFS = -18.0
"""Of all frequencies of a tone together: -14.9 dBm0 (a full-scale sine is 3.14 dBm0), for E.180 section 2 wants -15 to
-5 dBm0, and who hears this wears a headset more often than not."""
BELL_DBFS = -9.0
"""The bell is to be heard across the room."""

_BUSY = frozenset({486, 600, 603})


class Note(NamedTuple):
    """*frequencies* at once, in Hz, for *ms*; none of them is a rest."""

    frequencies: tuple[int, ...]
    ms: int


def _notes(*parts: tuple[int, ...] | int) -> tuple[Note, ...]:
    """Frequencies, duration, frequencies, duration…"""
    return tuple(
        Note(hz if isinstance(hz, tuple) else (hz,) if hz else (), ms)
        for hz, ms in zip(parts[::2], parts[1::2], strict=True)
        if isinstance(ms, int)
    )


def _bell(*cadence: int) -> tuple[Note, ...]:
    """On, off, on, off… in ms; on is a warble of two pitches."""
    notes: list[Note] = []
    for on, off in zip(cadence[::2], cadence[1::2], strict=True):
        notes += [Note((hz,), 40) for _ in range(on // 80) for hz in (880, 1100)]
        notes.append(Note((), off))
    return tuple(notes)


PLANS: Mapping[PlanName, Mapping[ToneName, tuple[Note, ...]]] = MappingProxyType(
    {
        "eu": {
            "ringing": _notes(425, 1000, 0, 4000),
            "busy": _notes(425, 480, 0, 480),
            "congestion": _notes(425, 240, 0, 240),
            "waiting": _notes(425, 200, 0, 200, 425, 200, 0, 5000),
            "bell": _bell(960, 4040),
        },
        "uk": {
            "ringing": _notes((400, 450), 400, 0, 200, (400, 450), 400, 0, 2000),
            "busy": _notes(400, 375, 0, 375),
            "congestion": _notes(400, 400, 0, 350, 400, 225, 0, 525),
            "waiting": _notes(400, 100, 0, 4000),
            "bell": _bell(400, 200, 400, 2000),
        },
        "us": {
            "ringing": _notes((440, 480), 2000, 0, 4000),
            "busy": _notes((480, 620), 500, 0, 500),
            "congestion": _notes((480, 620), 250, 0, 250),
            "waiting": _notes(440, 300, 0, 10_000),
            "bell": _bell(2000, 4000),
        },
    }
)


def failure_tone(code: int | None) -> ToneName | None:
    """What a caller hears of a final answer that is no success; None as *code*: there was none.

    None for 3xx, which leads on, and for 487, which is what he himself wanted.
    """
    if code is not None and (code < 400 or code == 487):
        return None
    return "busy" if code in _BUSY else "congestion"


class Cadence:
    """*notes* over and over, 20 ms at a time; or for *seconds*, and then silence.

    *level_dbfs* is that of all frequencies of a note together.
    """

    def __init__(
        self, notes: tuple[Note, ...], *, level_dbfs: float = LEVEL_DBFS, seconds: float | None = None
    ) -> None:
        self.rate = SAMPLE_RATE
        self._notes = notes
        self._level = level_dbfs
        self._at = -1
        self._left = 0
        self._remaining = None if seconds is None else round(seconds * 50)
        self._oscillator: Oscillator | None = None

    @property
    def ends(self) -> bool:
        """It does not go on for ever."""
        return self._remaining is not None

    @property
    def over(self) -> bool:
        return self._remaining == 0

    def tune(self, rate: int) -> None:
        """From now on :meth:`read` gives *rate* samples a second; the note that sounds goes on."""
        if rate == self.rate:
            return
        self._left = self._left * rate // self.rate
        self.rate = rate
        if self._at >= 0:
            self._oscillator = self._make(self._notes[self._at])

    def read(self) -> bytes:
        """The next 20 ms."""
        wanted = self.rate // 50
        if self._remaining is not None:
            if not self._remaining:
                return bytes(2 * wanted)
            self._remaining -= 1
        frame = bytearray()
        while wanted:
            if not self._left:
                self._next()
            count = min(wanted, self._left)
            frame += self._oscillator.read(count) if self._oscillator is not None else bytes(2 * count)
            wanted -= count
            self._left -= count
        return bytes(frame)

    def _next(self) -> None:
        self._at = (self._at + 1) % len(self._notes)
        note = self._notes[self._at]
        self._left = note.ms * self.rate // 1000
        self._oscillator = self._make(note)

    def _make(self, note: Note) -> Oscillator | None:
        if not note.frequencies:
            return None
        each = self._level - 10 * log10(len(note.frequencies))
        return Oscillator(*note.frequencies, level_dbfs=each, rate=self.rate)
