"""Which sequence numbers of the network are new: TS 33.102 annex C, with its array of 32, kept in a file.

SQN, 48 bits, is SEQ in the upper 43 and an index in the lower 5.  One is fresh
if its SEQ is above the last of the same index (C.2.2), so that a vector which
was fetched early and used late still serves; and not so far above all of them
that a few forged ones would wrap the counter (C.2.1, Delta = 2^28).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

from sipcli.credentials import Denied, NotFound, Unavailable
from sipcli_providers._patience import Wait
from sipcli_providers._secretfile import read_secret

try:
    import fcntl
except ImportError:  # Windows: one process at a time is up to the user
    fcntl = None  # type: ignore[assignment]

_INDEX_BITS = 5
_SLOTS = 1 << _INDEX_BITS
_DELTA = 1 << 28
_LIMIT = 1 << (48 - _INDEX_BITS)
_GLANCE = 0.05  # seconds between two looks at a lock that another holds


class SequenceNumbers:
    """The numbers that one SIM has seen.  Safe from several threads, and from several processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def accept(self, sqn: int, wait: Wait) -> int | None:
        """None if *sqn* is new, and is on the disk as seen; else the highest that was: the network wants to know.

        Raises Denied or Unavailable if the file cannot be trusted, read or written, or stays locked by another;
        Cancelled when told to stop meanwhile.
        """
        with self._held(wait):
            seen = self._read()
            seq, index = sqn >> _INDEX_BITS, sqn % _SLOTS
            highest = max(seen)
            # A new SIM takes what it gets: networks count from a clock.
            too_far = highest > 0 and seq - highest > _DELTA
            if seq <= seen[index] or too_far:
                return (highest << _INDEX_BITS) + seen.index(highest)
            seen[index] = seq
            self._write(seen)
            return None

    @contextlib.contextmanager
    def _held(self, wait: Wait) -> Iterator[None]:
        while not self._lock.acquire(timeout=_GLANCE):
            self._look(wait)
        try:
            descriptor = self._open_lock()
            try:
                while not _locked(descriptor):
                    self._look(wait)
                    wait.sleep(_GLANCE)
                yield
            finally:
                os.close(descriptor)  # and with it the lock
        finally:
            self._lock.release()

    def _open_lock(self) -> int:
        beside = self._path.with_name(self._path.name + ".lock")
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        try:
            return os.open(beside, flags, 0o600)
        except OSError as error:
            raise Unavailable(f"{beside} cannot be opened: {error.strerror}") from error

    def _look(self, wait: Wait) -> None:
        wait.cancel.raise_if_set()
        if wait.left() <= 0:
            raise Unavailable(f"another process is still using {self._path}")

    def _read(self) -> list[int]:
        try:
            seen = json.loads(read_secret(self._path).reveal())
        except NotFound:
            return [0] * _SLOTS
        except ValueError:
            seen = None
        if isinstance(seen, list) and [*map(_is_sequence, seen)] == [True] * _SLOTS:
            return seen
        raise Denied(f"{self._path} holds no sequence numbers: remove it, and let the network start afresh")

    def _write(self, seen: list[int]) -> None:
        new = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        try:
            with os.fdopen(os.open(new, flags, 0o600), "w") as file:
                json.dump(seen, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise Unavailable(f"{self._path} cannot be written: {error.strerror}") from error


def _is_sequence(value: object) -> bool:
    return type(value) is int and 0 <= value < _LIMIT


def _locked(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
