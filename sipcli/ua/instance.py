"""Who we are among the devices of an account: a name that is the same when we come back (RFC 5626 section 4.1)."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import uuid
from pathlib import Path

__all__ = ["Instance"]

_MOST = 64
"""Runs at the same time that have a lasting name; more have one for the time they live."""


class Instance:
    """One running sipcli.  *folder* keeps its names; None: it has one for this run only.

    Two that run at once must not have one name: the registrar would take the
    second's binding for the first's, come anew.  So there is a file for each, and
    whoever holds its lock has its name.  What an account shows is made of that
    name and of the account's address, so that two providers cannot compare.
    Nothing is opened before somebody wants to know.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._name: uuid.UUID | None = None

    def urn(self, aor: str) -> str:
        """``urn:uuid:...`` for the account of *aor*."""
        if self._name is None:
            self._name = uuid.uuid4()
            if self._folder is not None:
                with contextlib.suppress(OSError):  # read-only, or no home: nobody expects us to be remembered
                    self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    self._name = self._claim(self._folder, self._name)
        return uuid.uuid5(self._name, aor).urn

    def close(self) -> None:
        """Leave the name to the next."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _claim(self, folder: Path, new: uuid.UUID) -> uuid.UUID:
        for number in range(_MOST):
            descriptor = os.open(
                folder / f"instance.{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            if _locked(descriptor):
                self._descriptor = descriptor
                return _named(descriptor, new)
            os.close(descriptor)
        return new


def _locked(descriptor: int) -> bool:
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _named(descriptor: int, new: uuid.UUID) -> uuid.UUID:
    """The name in the file; *new*, written down, where there is none that makes sense."""
    try:
        return uuid.UUID(os.pread(descriptor, 64, 0).decode().strip())
    except ValueError:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{new}\n".encode(), 0)
        return new
