"""The keys of the live call screen: what each does and when, and which keys a burst of typed characters holds."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["DIGITS", "KEYS", "Command", "Key", "KeyReader", "Keyboard", "Situation", "Typed", "key_rows", "not_now"]

Situation: TypeAlias = Literal["rings", "calling", "up", "held"]
"""``rings``: somebody calls us; the others are about the call in front.  Several may hold at once, or none."""

DIGITS = "0123456789*#"
_LETTERS = "ABCD"
_ALWAYS: frozenset[Situation] = frozenset()
_RINGS: frozenset[Situation] = frozenset({"rings"})
_ANSWERED: frozenset[Situation] = frozenset({"up", "held"})
_CALLED: frozenset[Situation] = frozenset({"up", "held", "calling"})
_UP: frozenset[Situation] = frozenset({"up"})


class Key(NamedTuple):
    """*keys* do *command*, *when* one of the situations holds; empty: always.  *shown* and *does* are for people."""

    keys: str
    command: str
    when: frozenset[Situation]
    shown: str
    does: str


KEYS = (
    Key("a", "answer", _RINGS, "a", "answer, and hold the other call"),
    Key("r", "reject", _RINGS, "r", "reject: busy (486)"),
    Key("R", "decline", _RINGS, "R", "decline (603)"),
    Key("h", "hangup", _CALLED, "h", "hang up"),
    Key("q", "quit", _ALWAYS, "q", "quit; asks once if in a call"),
    Key("m", "mute", _ANSWERED, "m", "microphone off, on"),
    Key("o", "hold", _ANSWERED, "o", "hold, resume"),
    Key(DIGITS, "dtmf", _UP, "0-9 * #", "send a digit (DTMF)"),
    Key("d", "digits", _UP, "d", "digits with A-D; Enter ends it"),
    Key("t", "transfer", _ANSWERED, "t", "transfer: asks where to"),
    Key("T", "consult", _ANSWERED, "T", "call somebody first; again: join the two"),
    Key("c", "conference", _ANSWERED, "c", "conference of all calls"),
    Key("\t", "next", _CALLED | _RINGS, "Tab", "next call"),
    Key("w", "record", _ANSWERED, "w", "start, stop the recording"),
    Key("s", "statistics", _ANSWERED, "s", "statistics"),
    Key("l", "ladder", _ALWAYS, "l", "ladder picture on, off"),
    Key("v", "trace", _ALWAYS, "v", "SIP messages on, off"),
    Key("?", "help", _ALWAYS, "?", "this list"),
)
"""As docs/calls.md has them.  No letter is a digit: A to D are digits only while the prompt of ``d`` is open."""

_BY_KEY = {character: key for key in KEYS for character in key.keys}
_ALSO = ("Ctrl-C", "hang up and leave; twice: now")


class Command(NamedTuple):
    """What is to be done: the name of a :class:`Key`'s command, or of an answer; *key* is what was pressed.

    ``not_now``: the key means something, but not in this situation.
    """

    name: str
    key: str = ""


class Keyboard:
    """Keys in, commands out; knows which question stands open.  It does nothing itself."""

    def __init__(self) -> None:
        self.asked = False
        """Somebody sends us on, and ``y`` or ``n`` decides."""
        self.leaving = False
        """``q`` was pressed once."""
        self.digits = False
        """The prompt for digits is open."""

    def press(self, key: str, situations: AbstractSet[Situation]) -> Command | None:
        """The command that *key* means in *situations*; None: it means nothing."""
        if "up" not in situations:
            self.digits = False
        if self.leaving:
            self.leaving = False
            return Command("leave") if key in "qy" and situations else Command("stay")
        if self.asked and key in "yn":
            self.asked = False
            return Command("go" if key == "y" else "remain")
        if self.digits:
            return self._digit(key)
        found = _BY_KEY.get(key)
        if found is None:
            return None
        if found.when and not found.when & situations:
            return Command("not_now", key)
        if found.command == "quit":
            self.leaving = bool(situations)
            return Command("quit" if situations else "leave")
        if found.command == "digits":
            self.digits = True
        return Command(found.command, key)

    def _digit(self, key: str) -> Command | None:
        """Nothing but digits, and the end of them: no other key works by accident."""
        if key in DIGITS + _LETTERS:
            return Command("dtmf", key)
        if key in "\r\nd":
            self.digits = False
            return Command("digits_done")
        return None


def not_now(key: str, situations: AbstractSet[Situation]) -> str:
    """Why *key* does nothing in *situations*."""
    found = _BY_KEY[key]
    if found.when == _RINGS:
        return f"{found.shown}: nobody calls"
    if not situations & _CALLED:
        return f"{found.shown}: there is no call" + (", one rings: [a]nswer [r]eject" if situations else "")
    if "calling" in situations:
        return f"{found.shown}: the call is not answered yet"
    return f"{found.shown}: the call is on hold, [o] resumes it"


def key_rows(situations: AbstractSet[Situation]) -> list[tuple[str, str]]:
    """Key and what it does: those that work now, and Ctrl-C."""
    return [(key.shown, key.does) for key in KEYS if not key.when or key.when & situations] + [_ALSO]


class Typed(NamedTuple):
    """*keys* to act on; *ignored*: characters that were pasted, and are no keys."""

    keys: str
    ignored: int


_ESCAPE = "\x1b"
_ESCAPE_S = 0.05
"""A terminal sends the rest of a sequence at once; what comes later is a key of its own."""
_BURST = 8
"""Nobody types more at once: it was pasted, or a line was meant for another window."""
_LONGEST_NUMBER = 32
_AFTERMATH_S = 0.2


class KeyReader:
    """Characters as they were read, in bursts, to keys: cursor and function keys are none, and pasted text is not.

    Sequences are those of ECMA-48 5.4 (``ESC [`` ... final) and of ``ESC O`` and ``ESC N`` with one character more.
    Else F3 (``ESC O R``) would decline a call, and F5 (``ESC [ 1 5 ~``) send two digits.
    """

    def __init__(self) -> None:
        self._within = ""
        self._last = float("-inf")
        self._pasted = float("-inf")

    def feed(self, typed: str, now: float) -> Typed:
        """*typed* was read in one go, at *now* in seconds of a clock that only goes forward."""
        if now - self._last > _ESCAPE_S:
            self._within = ""
        self._last = now
        keys = "".join(key for key in typed if self._is_key(key))
        number = len(keys) <= _LONGEST_NUMBER and not keys.strip(DIGITS)
        if now - self._pasted < _AFTERMATH_S or (len(keys) > _BURST and not number):
            self._pasted = now
            return Typed("", len(keys))
        return Typed(keys, 0)

    def _is_key(self, character: str) -> bool:
        before, self._within = self._within, ""
        if character == _ESCAPE:
            self._within = "esc"
            return False
        if before == "esc":
            self._within = {"[": "csi", "O": "ss", "N": "ss"}.get(character, "")
            return False  # Alt and a key: not that key
        if before == "csi":
            if not "\x40" <= character <= "\x7e":
                self._within = "csi"
            return False
        return before != "ss"
