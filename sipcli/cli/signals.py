"""What ^C and its relatives mean: abandon a prompt, else clean up within two seconds, else leave at once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Protocol

__all__ = ["CLEAN_UP_S", "SignalledTerminal", "Signals"]

CLEAN_UP_S = 2.0
"""All of BYE, CANCEL and un-REGISTER together must be done by then."""
_AGAIN_S = 2.0
"""A second ^C within this time means that leaving was meant."""
_LOOK_S = 0.1
"""How often we look, in the background, whether we are in the foreground again: before a person types there."""


class SignalledTerminal(Protocol):
    """What signals need to know of the terminal."""

    def interrupt(self) -> bool: ...
    def restore(self) -> None: ...
    def suspend(self) -> None: ...
    def resume(self) -> bool: ...
    def regain(self) -> bool: ...


class Signals:
    """Installed while a verb runs.

    *stop* is called once, on the loop, with the signal that ends the verb;
    *leave* ends the process and does not return.  *reload* takes a SIGHUP that
    comes where no terminal could have hung up; None: SIGHUP ends the verb, too.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        terminal: SignalledTerminal,
        *,
        stop: Callable[[signal.Signals], None],
        leave: Callable[[signal.Signals], None],
    ) -> None:
        self._loop = loop
        self._terminal = terminal
        self._stop = stop
        self._leave = leave
        self.reload: Callable[[], None] | None = None
        self._stopping = False
        self._resumed = True
        self._looking: asyncio.TimerHandle | None = None
        self._abandoned_at = float("-inf")
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_IGN and number == signal.SIGHUP:
                continue  # nohup: somebody wants us to survive it
            self._loop.add_signal_handler(number, self._on_end, number)
        for number, handler in ((signal.SIGTSTP, self._on_stop), (signal.SIGCONT, self._on_continue)):
            if signal.getsignal(number) != signal.SIG_IGN:  # a shell without job control
                self._before[number] = signal.signal(number, handler)
        self._before[signal.SIGQUIT] = signal.signal(signal.SIGQUIT, self._on_quit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._loop.remove_signal_handler(number)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() gave us
        if self._looking is not None:
            self._looking.cancel()
        self._terminal.restore()
        # asyncio has put back Python's own handler: a ^C in our last milliseconds must not print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _on_end(self, number: signal.Signals) -> None:
        if self._stopping:
            self._terminal.restore()
            self._leave(number)
            return
        if number == signal.SIGHUP and self.reload is not None:
            self.reload()
            return
        if number == signal.SIGINT:
            now = time.monotonic()
            again = now - self._abandoned_at < _AGAIN_S
            if not again and self._terminal.interrupt():
                self._abandoned_at = now
                return
        self._stopping = True
        # Echo first: clean-up may take two seconds, and the person may be typing already.
        self._terminal.restore()
        self._stop(number)

    def _on_quit(self, number: int, _frame: FrameType | None) -> None:
        """SIGQUIT asks for a core; we give none (T14), but end as the signal says."""
        self._terminal.restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        self._terminal.suspend()
        self._resumed = False
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # we stop here, and go on at SIGCONT
        signal.signal(number, self._on_stop)
        if not self._resumed:  # an orphaned process group does not stop at all
            self._terminal.resume()

    def _on_continue(self, _number: int, _frame: FrameType | None) -> None:
        self._resumed = True
        # Stopped by SIGSTOP, or brought from background to foreground: the shell has put its own modes in place.
        if not self._terminal.resume():
            self._loop.call_soon_threadsafe(self._look_again)

    def _look_again(self) -> None:
        """After ^Z and ``bg``, ``fg`` sends no SIGCONT to who runs already: a password would be echoed (T25)."""
        if self._looking is None:
            self._looking = self._loop.call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._looking = None
        if not self._terminal.regain():
            self._look_again()
