"""``--trace FILE``: SIP messages as JSON lines, masked, readable by us alone, and never through a link (T32)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from sipcli.cli.environment import Environment
from sipcli.errors import ConfigError
from sipcli.observe.text import json_line

__all__ = ["TraceFile"]


class TraceFile:
    """Opened before anything is sent, so that a place that cannot be written is said at once.  Raises ConfigError."""

    def __init__(self, path: Path, environment: Environment) -> None:
        self._environment = environment
        self._stream: TextIO | None = _open_private(path)

    def write(self, event: str, fields: Mapping[str, Any]) -> str | None:
        """One event as one line; a full disk ends the trace, not the call.  Returns why it has ended, once."""
        if self._stream is None:
            return None
        line = {"v": 1, "t": self._environment.now(), "ms": self._environment.milliseconds(), "event": event, **fields}
        try:
            self._stream.write(json_line(line) + "\n")
            self._stream.flush()
        except OSError as error:
            self.close()
            return error.strerror or str(error)
        return None

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                stream.close()
            except OSError:
                pass  # what could not be flushed is lost; the call was not


def _open_private(path: Path) -> TextIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError(
                f"{path} is a link: a trace is not written through one", hint="name another file"
            ) from None
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", hint="name a place that can be written"
        ) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_uid != os.geteuid():
        os.close(descriptor)
        raise ConfigError(f"{path} is not a file of our own", hint="name another file")
    os.fchmod(descriptor, 0o600)  # before the first octet: it may have been there, and readable
    os.ftruncate(descriptor, 0)
    return os.fdopen(descriptor, "w", encoding="utf-8")
