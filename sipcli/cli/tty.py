"""The modes of one terminal device: changed for a while, and put back by whoever comes first (termios(3), T25)."""

from __future__ import annotations

import os
import termios
from typing import Any

from sipcli.cli.silent import NoTerminal

__all__ = ["TTY", "TtyModes", "in_foreground", "open_tty"]

TTY = "/dev/tty"

_LOCAL_MODES = 3
"""The places of ``c_lflag`` and ``c_cc`` in what ``tcgetattr`` returns."""
_CONTROL_CHARACTERS = 6


def open_tty() -> int:
    """A descriptor of the terminal that is our own: its O_NONBLOCK is nobody else's.  Raises NoTerminal."""
    try:
        tty = os.open(TTY, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise NoTerminal(f"there is no terminal to ask on ({error.strerror})") from None
    if not in_foreground(tty):
        os.close(tty)
        # Changing the modes from the background would stop the whole process group (SIGTTOU).
        raise NoTerminal("sipcli is not in the foreground of its terminal")
    return tty


def in_foreground(tty: int) -> bool:
    """May we read this terminal and change its modes?"""
    try:
        return os.tcgetpgrp(tty) == os.getpgrp()
    except OSError:
        return False


class TtyModes:
    """What must be put back.  :meth:`restore` takes no lock: signal handlers and ``atexit`` call it."""

    __slots__ = ("_changed", "_saved", "away")

    def __init__(self) -> None:
        self.away = False
        """Our modes are needed, and wait until we are in the foreground again."""
        self._saved: tuple[int, list[Any]] | None = None
        self._changed: list[Any] | None = None

    def enter(self, tty: int, *, echo: bool, lines: bool) -> None:
        """Switch echo and the line editor; typed-ahead input is thrown away, before and after (TCSAFLUSH).

        TCSAFLUSH itself is not used: it waits for the output, which ^S may hold up for ever.
        """
        try:
            saved = termios.tcgetattr(tty)
            changed = termios.tcgetattr(tty)
        except termios.error as error:
            raise NoTerminal(f"the terminal cannot be used: {error.args[-1]}") from None
        local = changed[_LOCAL_MODES]
        local = local | termios.ECHO if echo else local & ~(termios.ECHO | termios.ECHONL)
        local = local | termios.ICANON if lines else local & ~termios.ICANON
        changed[_LOCAL_MODES] = local | termios.ISIG
        if not lines:
            changed[_CONTROL_CHARACTERS][termios.VMIN] = 1
            changed[_CONTROL_CHARACTERS][termios.VTIME] = 0
        self._saved, self._changed = (tty, saved), changed
        termios.tcflush(tty, termios.TCIFLUSH)
        termios.tcsetattr(tty, termios.TCSANOW, changed)
        termios.tcflush(tty, termios.TCIFLUSH)

    def leave(self) -> None:
        """Put everything back and forget it."""
        self.restore()
        self._saved = self._changed = None
        self.away = False

    def restore(self) -> None:
        """The modes as they were found; what is left of a typed line becomes neither hot-key nor shell command (T14).

        Idempotent; may be followed by :meth:`again`.
        """
        saved = self._saved
        if saved is None or not in_foreground(saved[0]):
            return
        try:
            termios.tcsetattr(saved[0], termios.TCSANOW, saved[1])
            termios.tcflush(saved[0], termios.TCIFLUSH)  # second: what comes from now on is seen, and not secret
        except termios.error:
            pass  # hung up

    def again(self) -> bool:
        """After SIGCONT: our modes once more, if anybody still needs them and we are in the foreground."""
        saved, changed = self._saved, self._changed
        self.away = saved is not None and not in_foreground(saved[0])
        if saved is None or changed is None or self.away:
            return False
        try:
            termios.tcsetattr(saved[0], termios.TCSANOW, changed)
            termios.tcflush(saved[0], termios.TCIFLUSH)
        except termios.error:
            return False
        return True
