"""Who hears whom in a conference: everybody hears the sum of all the others, never himself.

Every member brings 20 ms and takes 20 ms on his own beat; the beats have one clock and any phase.  So between each
two members there is a small queue: the first frame waits for its reader once, and from then on there always is one.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Hashable

from sipcli.media.tone import pcm_of, samples_of

__all__ = ["Mixer", "mix"]

_QUEUE_FRAMES = 3
"""A reader that missed its beat catches up to 60 ms; what is older is lost, not heard late for the rest of the call."""


class Mixer:
    """Frames of *octets* each, 16-bit samples; members are whatever can be a key."""

    def __init__(self, octets: int) -> None:
        self._silence = bytes(octets)
        self._ears: dict[Hashable, dict[Hashable, deque[bytes]]] = {}

    @property
    def members(self) -> tuple[Hashable, ...]:
        return tuple(self._ears)

    def join(self, member: Hashable) -> None:
        """*member* hears the others from now on, and they hear him; again, it does nothing."""
        if member in self._ears:
            return
        for other, ears in self._ears.items():
            ears[member] = deque(maxlen=_QUEUE_FRAMES)
            assert other != member
        self._ears[member] = {other: deque(maxlen=_QUEUE_FRAMES) for other in self._ears}

    def leave(self, member: Hashable) -> None:
        """Nobody hears *member* any more; what he said and was not heard yet is gone."""
        self._ears.pop(member, None)
        for ears in self._ears.values():
            ears.pop(member, None)

    def hear(self, member: Hashable, frame: bytes) -> None:
        """*member* said *frame*."""
        for other, ears in self._ears.items():
            if other != member:
                ears[member].append(frame)

    def speak(self, member: Hashable) -> bytes:
        """What the others said, for *member*: silence when nobody has anything."""
        said = [queue.popleft() for queue in self._ears[member].values() if queue]
        return mix(said) if said else self._silence


def mix(frames: list[bytes]) -> bytes:
    """The sum of *frames*, all of one length; what is louder than 16 bits can say is cut off, not wrapped around."""
    if len(frames) == 1:
        return frames[0]
    columns = zip(*(samples_of(frame) for frame in frames), strict=True)
    return pcm_of(array("h", [max(-32768, min(32767, sum(column))) for column in columns]))
