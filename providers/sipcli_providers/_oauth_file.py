"""Refresh tokens in a file of the user's choice, for machines without a keychain: ``store = "file"``.

The file is 0600 from its first octet, and is replaced as a whole: a rotated
token is on disk before the access token that came with it is used, or the old
one is there still.  Two processes that share it take turns, for a refresh token
that is used twice is an alarm at the login server (RFC 9700 section 4.14).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

from sipcli.credentials import Denied, NotFound, Secret, Unavailable
from sipcli_providers._patience import Wait
from sipcli_providers._secretfile import read_secret

_GLANCE = 0.05


class TokenFile:
    """A JSON object, aor → refresh token, in one 0600 file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def held(self, wait: Wait) -> Iterator[None]:
        """Nobody else reads, refreshes or writes meanwhile, in this process or another."""
        while not self._lock.acquire(timeout=_GLANCE):
            _look(wait, self.path)
        try:
            descriptor = self._open_lock()
            try:
                while not _locked(descriptor):
                    _look(wait, self.path)
                    wait.sleep(_GLANCE)
                yield
            finally:
                os.close(descriptor)  # and with it the lock
        finally:
            self._lock.release()

    def _open_lock(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be kept: {error.strerror}") from error

    def find(self, user: str) -> Secret | None:
        """The refresh token of *user*; Denied for a file that others may read or write, or that is not ours."""
        value = self._read().get(user)
        return Secret(value) if value else None

    def save(self, user: str, refresh: Secret) -> None:
        kept = self._read()
        kept[user] = refresh.reveal().decode()
        self._write(kept)

    def erase(self, user: str, refresh: Secret) -> None:
        """Erase *refresh* and nothing newer."""
        kept = self._read()
        if user in kept and Secret(kept[user]) == refresh:
            del kept[user]
            self._write(kept)

    def _read(self) -> dict[str, str]:
        try:
            kept = json.loads(read_secret(self.path).reveal())
        except NotFound:
            return {}
        except ValueError:
            kept = None
        if not isinstance(kept, dict) or not all(isinstance(value, str) for value in kept.values()):
            raise Denied(
                f"{self.path} holds something else than the sign-ins that sipcli keeps: name another store_file"
            )
        return kept

    def _write(self, kept: dict[str, str]) -> None:
        fresh = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(fresh, flags, 0o600), "w") as file:
                json.dump(kept, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise Unavailable(f"{self.path} cannot be written: {error.strerror}") from error
        _sync_folder(self.path.parent)


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


def _look(wait: Wait, path: Path) -> None:
    wait.cancel.raise_if_set()
    if wait.left() <= 0:
        raise Unavailable(f"another process is still using {path}")


def _sync_folder(folder: Path) -> None:
    """The new name is on disk, too; a file system that cannot do that has done what it can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
