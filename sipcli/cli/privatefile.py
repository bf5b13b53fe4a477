"""Files for whoever runs us, and nobody else: 0600 before the first octet, and never through a link (T32)."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from sipcli.errors import ConfigError

__all__ = ["open_private"]


def open_private(path: Path, what: str, *, keep: bool = False) -> int:
    """A descriptor that writes to *path*, made or emptied; *keep*: its end is written on.  Raises ConfigError.

    *what* is what a person calls it: "a trace".
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | (os.O_APPEND if keep else 0), 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError(
                f"{path} is a link: {what} is not written through one", hint="name another file"
            ) from None
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", hint="name a place that can be written"
        ) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_uid != os.geteuid():
        os.close(descriptor)
        raise ConfigError(f"{path} is not a file of our own", hint="name another file")
    os.fchmod(descriptor, 0o600)  # before the first octet: it may have been there, and readable
    if not keep:
        os.ftruncate(descriptor, 0)
    return descriptor
