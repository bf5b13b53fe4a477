"""Which sequence numbers of the network are new: TS 33.102 annex C, with its array of 32, kept in a file.

SQN, 48 bits, is SEQ in the upper 43 and an index in the lower 5.  One is fresh
if its SEQ is above the last of the same index (C.2.2), so that a vector which
was fetched early and used late still serves; and not so far above all of them
that a few forged ones would wrap the counter (C.2.1, Delta = 2^28).
"""

from __future__ import annotations

from pathlib import Path

from sipcli.credentials import Denied
from sipcli_providers._keptfile import KeptFile
from sipcli_providers._patience import Wait

_INDEX_BITS = 5
_SLOTS = 1 << _INDEX_BITS
_DELTA = 1 << 28
_LIMIT = 1 << (48 - _INDEX_BITS)


class SequenceNumbers:
    """The numbers that one SIM has seen.  Safe from several threads, and from several processes."""

    def __init__(self, path: Path) -> None:
        self._file = KeptFile(path)

    def accept(self, sqn: int, wait: Wait) -> int | None:
        """None if *sqn* is new, and is on the disk as seen; else the highest that was: the network wants to know.

        Raises Denied or Unavailable if the file cannot be trusted, read or written, or stays locked by another;
        Cancelled when told to stop meanwhile.
        """
        with self._file.held(wait):
            seen = self._read()
            seq, index = sqn >> _INDEX_BITS, sqn % _SLOTS
            highest = max(seen)
            # A new SIM takes what it gets: networks count from a clock.
            too_far = highest > 0 and seq - highest > _DELTA
            if seq <= seen[index] or too_far:
                return (highest << _INDEX_BITS) + seen.index(highest)
            seen[index] = seq
            self._file.write(seen)
            return None

    def _read(self) -> list[int]:
        try:
            seen = self._file.read()
        except ValueError:
            seen = ()
        if seen is None:
            return [0] * _SLOTS
        if isinstance(seen, list) and [*map(_is_sequence, seen)] == [True] * _SLOTS:
            return seen
        path = self._file.path
        raise Denied(f"{path} holds no sequence numbers: remove it, and let the network start afresh", file=path)


def _is_sequence(value: object) -> bool:
    return type(value) is int and 0 <= value < _LIMIT
