"""Libraries in C that say what they think on file descriptor 2, which is for what we say to people."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

__all__ = ["quiet_stderr"]

_lock = threading.Lock()
_kept: list[int] = []
"""The real descriptor, once for each who wants quiet: threads may want it at the same time."""


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """ALSA and JACK tell whatever they find missing, libmpg123 every damaged frame; nobody asked them."""
    try:
        kept = _silence()
    except OSError:
        yield  # there is no descriptor 2, or none is left
        return
    try:
        yield
    finally:
        with _lock:
            _kept.remove(kept)
            if not _kept:
                os.dup2(kept, 2)
                os.close(kept)


def _silence() -> int:
    with _lock:
        if _kept:
            _kept.append(_kept[0])
            return _kept[0]
        kept = os.dup(2)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)
        os.close(silent)
        _kept.append(kept)
        return kept
