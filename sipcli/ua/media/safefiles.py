"""Sound files opened by names that people give: never a device, a FIFO or a link that somebody laid there."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from sipcli.errors import ConfigError

__all__ = ["check_private", "create_private", "open_regular"]


def open_regular(path: Path) -> int:
    """A descriptor of a file that can be played; ConfigError when there is none."""
    try:
        # O_NONBLOCK: a FIFO of that name must not stop the program before it can be refused.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="give a sound file to --audio") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"cannot play {path}: it is not a file", hint="give a sound file to --audio")
    return descriptor


def check_private(path: Path) -> None:
    """Raise ConfigError where :func:`create_private` would refuse what is at *path*; nothing is touched."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="name a new file") from error
    if stat.S_ISLNK(status.st_mode):
        raise ConfigError(f"cannot write {path}: it is a link", hint="name a new file")
    _judge(path, status)
    if not os.access(path, os.W_OK):
        raise ConfigError(f"cannot write {path}: it is not yours to write", hint="name a new file")


def create_private(path: Path) -> BinaryIO:
    """Create or empty *path*, mode 0600; ConfigError when it is a link, a device, or another's file."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        link = path.is_symlink()
        raise ConfigError(
            f"cannot write {path}: {'it is a link' if link else error.strerror}", hint="name a new file"
        ) from error
    try:
        _judge(path, os.fstat(descriptor))
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o600)
        # Emptied only now: what was refused above keeps its contents.
        os.ftruncate(descriptor, 0)
    except (ConfigError, OSError) as error:
        os.close(descriptor)
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="name a new file") from error
    return os.fdopen(descriptor, "wb", buffering=1 << 13)


def _judge(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise ConfigError(f"cannot write {path}: it is not a file of its own", hint="name a new file")
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise ConfigError(f"cannot write {path}: it belongs to somebody else", hint="name a new file")
