"""What a run touches of its surroundings - streams, clock, environment - in one replaceable place."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

__all__ = ["STARTED", "Environment", "forbid_core", "hide_memory", "open_standard_streams"]

STARTED = time.monotonic()
"""When the program began, for the ``ms`` of every JSON line."""


@dataclass(slots=True)
class Environment:
    """The streams and clocks of one run; tests hand in their own."""

    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def milliseconds(self) -> float:
        """Since the program began, to a tenth."""
        return round((time.monotonic() - STARTED) * 1000, 1)

    def microseconds(self) -> int:
        """Since 1970, UTC."""
        return time.time_ns() // 1000

    def now(self) -> str:
        """UTC as RFC 3339 writes it, with microseconds."""
        return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: UP017  # datetime.UTC reads no better


def open_standard_streams() -> None:
    """Put /dev/null where 0, 1 or 2 is closed, else a socket of ours would be given that number and be printed to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free descriptor is the one that was found closed.
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A locale of "C" must not turn a display name into a UnicodeEncodeError.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")


def forbid_core() -> None:
    """No core file: it would hold what we held (T14)."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # what cannot be forbidden is not our memory's only guard


def hide_memory() -> None:
    """No reading of our memory by other processes of the same user, as ssh-agent does; before a secret comes (T14)."""
    if sys.platform == "linux":
        import ctypes

        pr_set_dumpable = 4
        try:
            ctypes.CDLL(None, use_errno=True).prctl(pr_set_dumpable, 0, 0, 0, 0)
        except (OSError, AttributeError):
            pass
