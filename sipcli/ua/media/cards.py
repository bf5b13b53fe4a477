"""Sound cards as people name them: by a part of the name, or by number; for the microphone, for the loudspeaker."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sipcli.errors import ConfigError

__all__ = ["DeviceInfo", "Direction", "choose_card", "lasting_name", "split_names"]

Direction: TypeAlias = Literal["input", "output"]
_WORD = {"input": "microphone", "output": "loudspeaker"}
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One device of ``sipcli devices``; *inputs* and *outputs* are channels, *rate* its own in Hz."""

    index: int
    name: str
    inputs: int
    outputs: int
    rate: int
    default_input: bool
    default_output: bool

    def serves(self, direction: Direction) -> bool:
        return (self.inputs if direction == "input" else self.outputs) > 0


def split_names(text: str) -> tuple[str, str | None]:
    """``MICROPHONE,LOUDSPEAKER``, or one name for both; ALSA's own commas are in parentheses: ``Audio (hw:1,0)``.

    Raises ConfigError where that is not one or two names.
    """
    names, depth = [""], 0
    for character in text:
        depth = max(0, depth + {"(": 1, ")": -1}.get(character, 0))
        if character == "," and not depth:
            names.append("")
        else:
            names[-1] += character
    names = [name.strip() for name in names]
    if not all(names) or len(names) > 2:
        raise ConfigError(
            f"device:{text} is not one sound card, and not two",
            hint="device:NAME, or device:MICROPHONE,LOUDSPEAKER; a part of the name without its comma is enough",
        )
    return names[0], names[1] if len(names) == 2 else None


def choose_card(cards: Sequence[DeviceInfo], name: str, direction: Direction) -> DeviceInfo:
    """The card that *name* means: its number, its whole name, or a part of it that no other has; case does not matter.

    One that PortAudio lists several times (Windows: once for each of its interfaces) is the first of them.  Raises
    ConfigError where it is none, or several.
    """
    fits = _fitting(cards, name)
    good = [card for card in fits if card.serves(direction)]
    if len({card.name for card in good}) == 1:
        return good[0]
    what = _WORD[direction]
    if good:
        raise ConfigError(
            f"“{name}” may be any of these for the {what}: {_listed(good)}", hint="say more of its name, or its number"
        )
    if fits:
        hint = "name one for each: --audio device:MICROPHONE,LOUDSPEAKER; `sipcli devices` lists them"
        raise ConfigError(f"the sound card “{fits[0].name}” has no {what}", hint=hint)
    there = _listed([card for card in cards if card.serves(direction)])
    raise ConfigError(
        f"no sound card “{name}” is here for the {what}" + (f"; there is {there}" if there else ""),
        hint="`sipcli devices` lists the names, and a part of one is enough; or use --audio null",
    )


def _fitting(cards: Sequence[DeviceInfo], name: str) -> list[DeviceInfo]:
    if name.isascii() and name.isdigit():
        return [card for card in cards if card.index == int(name)]
    wanted = name.casefold()
    whole = [card for card in cards if card.name.casefold() == wanted]
    return whole or [card for card in cards if wanted in card.name.casefold()]


def _listed(cards: Sequence[DeviceInfo]) -> str:
    names = [f"{card.name} ({card.index})" for card in cards[:_SHOWN]]
    return ", ".join(names) + (f" and {len(cards) - _SHOWN} more" if len(cards) > _SHOWN else "")


def lasting_name(card: DeviceInfo) -> str:
    """What it is called when it was unplugged and is back: numbers, ALSA's among them, are dealt anew."""
    return re.sub(r" \(hw:\d+,\d+\)$", "", card.name)
