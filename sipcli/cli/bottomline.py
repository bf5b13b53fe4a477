"""One line of a terminal that stays below everything printed, rewritten in place by carriage returns and blanks alone.

No escape sequence: what every terminal can is enough.  The cursor rests behind
the line, so that after the window was made narrower - the terminal breaks the
line - what cannot be taken back stands above, and new lines begin clean.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from sipcli.cli.screen import width_of
from sipcli.cli.tty import in_foreground

__all__ = ["BottomLine", "columns_of"]


class BottomLine:
    """Drawn on *stream*, a terminal; *render* is asked for the text that fits so many columns, ready to be printed.

    :meth:`draw` belongs on the loop, the rest may be called from anywhere, from signal handlers, too.
    """

    def __init__(
        self, stream: TextIO, render: Callable[[int], str], paint: Callable[[str], str] = lambda text: text
    ) -> None:
        self._stream = stream
        self._render = render
        self._paint = paint
        self._shown = ""
        self._text = ""
        self._away = 0
        self._stopped = self._over = False
        self._lock = threading.RLock()

    def draw(self) -> None:
        """As it is now."""
        with self._lock:
            # The last column stays free: some terminals begin the next line as soon as it is written.
            self._text = self._render(columns_of(self._stream) - 1)
            if self._text != self._shown:
                self._erase()
                self._show()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Whole lines may be printed meanwhile."""
        with self._lock:
            self._erase()
            try:
                yield
            finally:
                self._show()

    @contextmanager
    def put_away(self) -> Iterator[None]:
        """A prompt stands there meanwhile."""
        with self._lock:
            self._erase()
            self._away += 1
        try:
            yield
        finally:
            with self._lock:
                self._away -= 1
                self._show()

    def suspend(self) -> None:
        """SIGTSTP is about to stop us: the shell prints its own."""
        with self._lock:
            self._erase()
            self._stopped = True

    def resume(self) -> None:
        """SIGCONT."""
        with self._lock:
            self._stopped, self._shown = False, ""
            self._show()

    def end(self) -> None:
        """Gone for good."""
        with self._lock:
            self._erase()
            self._over = True

    def _show(self) -> None:
        hidden = self._away or self._stopped or self._over
        if not hidden and self._text and not self._shown and in_foreground(self._stream.fileno()):
            self._write(self._paint(self._text))
            self._shown = self._text

    def _erase(self) -> None:
        if self._shown:
            columns = min(width_of(self._shown), columns_of(self._stream) - 1)
            self._write(f"\r{' ' * columns}\r")
            self._shown = ""

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._over = True  # hung up: there is nobody to show anything to


def columns_of(stream: TextIO) -> int:
    """How wide the terminal is now; 80 where it does not know."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
