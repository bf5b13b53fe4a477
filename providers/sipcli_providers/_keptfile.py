"""One JSON value in a 0600 file that several processes share: they take turns, and it is replaced as a whole.

What was written is on the disk when :meth:`KeptFile.write` returns, or the old
value is there still: a machine that loses its power in between forgets no
rotated token, and accepts no sequence number twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sipcli.credentials import NotFound, Unavailable
from sipcli_providers._patience import Wait
from sipcli_providers._secretfile import read_secret

_GLANCE = 0.05  # seconds between two looks at a lock that another holds
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class KeptFile:
    """The value at *path*, whose lock lies beside it.

    *make_folder*: not where a folder that is missing may be a disk that is not
    mounted, and an empty memory would be worse than none.
    """

    def __init__(self, path: Path, *, make_folder: bool = False) -> None:
        self.path = path
        self._make_folder = make_folder
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def held(self, wait: Wait) -> Iterator[None]:
        """Nobody else reads or writes meanwhile, in this process or another.

        Raises Unavailable if another does not let go in time, Cancelled when told to stop.
        """
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

    def read(self) -> Any:
        """The value; None without a file.  ValueError if it is no JSON, Denied if others may read or write it."""
        try:
            return json.loads(read_secret(self.path).reveal())
        except NotFound:
            return None
        except RecursionError:
            raise ValueError("nested without end") from None

    def write(self, value: Any) -> None:
        fresh = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            self._need_folder()
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC, 0o600), "w") as file:
                json.dump(value, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise Unavailable(f"{self.path} cannot be written: {error.strerror}") from error
        _sync_folder(self.path.parent)

    def _need_folder(self) -> None:
        if self._make_folder:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _open_lock(self) -> int:
        beside = self.path.with_name(f"{self.path.name}.lock")
        try:
            self._need_folder()
            return os.open(beside, os.O_RDWR | os.O_CREAT | _CLOEXEC | _NOFOLLOW, 0o600)
        except OSError as error:
            raise Unavailable(f"{beside} cannot be opened: {error.strerror}") from error

    def _look(self, wait: Wait) -> None:
        wait.cancel.raise_if_set()
        if wait.left() <= 0:
            raise Unavailable(f"another process is still using {self.path}")


def _locked(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: one process at a time is up to the user
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """The new name is on disk, too; a file system that cannot do that has done what it can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | _CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
