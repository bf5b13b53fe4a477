"""The controlling terminal: asks for secrets without echo, cancellably, and leaves the terminal as it found it (T25).

Never getpass: on a worker thread it cannot be cancelled and leaves echo off
when a signal comes.  Here one thread waits for ``/dev/tty`` *and* for the
cancel signal, and what must be put back is kept where a signal handler and
``atexit`` find it.  readpassphrase(3) of OpenBSD is the model.
"""

from __future__ import annotations

import atexit
import os
import selectors
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from sipcli.cli.silent import NoTerminal, action_words
from sipcli.cli.tty import TTY, TtyModes, in_foreground, open_tty
from sipcli.credentials import Cancelled, CancelSignal, Secret, Unavailable, UserAction
from sipcli.observe.text import safe_line

if TYPE_CHECKING:
    from sipcli.cli.bottomline import BottomLine

__all__ = ["TtyTerminal"]

_LONGEST = 4096
"""What a terminal's own line editor holds (termios(3), MAX_CANON)."""
_BACKGROUND_POLL = 0.25
_MOST_KEYS = 4096
# select(2) ends at descriptor 1023, and macOS polls no terminal.
_Selector = selectors.PollSelector if sys.platform == "linux" else selectors.SelectSelector


class _Prompt(NamedTuple):
    tty: int
    text: str
    interrupted: CancelSignal


class TtyTerminal:
    """The person at ``/dev/tty``.

    *say* prints one line for people (standard error).  :meth:`ask` blocks and
    belongs on a worker thread; the rest may be called from anywhere.
    """

    def __init__(self, *, say: Callable[[str], None]) -> None:
        self._say = say
        self._modes = TtyModes()
        self._prompt: _Prompt | None = None
        self._reading = threading.Lock()
        """Held by whoever reads the terminal: a prompt, or the reader of hot-keys."""
        self._nobody_asks = threading.Event()
        self._nobody_asks.set()
        self._yield_keys: CancelSignal | None = None
        self.below: BottomLine | None = None
        """A line that makes room for prompts, and for a shell."""
        atexit.register(self.restore)

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def exists(self) -> bool:
        """Is there a controlling terminal at all, be we in its foreground or not?"""
        try:
            os.close(os.open(TTY, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    @property
    def available(self) -> bool:
        """Could a person be asked: a controlling terminal, and we in its foreground?"""
        try:
            os.close(open_tty())
        except NoTerminal:
            return False
        return True

    def ask(self, prompt: str, *, secret: bool = True, cancel: CancelSignal, timeout: float | None = None) -> Secret:
        """One line from the person.  Raises NoTerminal, Cancelled (^C, ^D, *cancel*), Unavailable in time-out."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._instead_of_keys(), nullcontext() if self.below is None else self.below.put_away():
            tty = open_tty()
            current = _Prompt(tty, safe_line(prompt), CancelSignal())
            said: Secret | None = None
            try:
                self._modes.enter(tty, echo=not secret, lines=True)
                self._prompt = current
                _write(tty, current.text)
                said = self._read_line(current, cancel, deadline)
                return said
            finally:
                self._prompt = None
                self._modes.leave()
                if secret or said is None:  # else Enter has ended the line
                    _write(tty, "\n")
                os.close(tty)
                current.interrupted.close()

    def _read_line(self, prompt: _Prompt, cancel: CancelSignal, deadline: float | None) -> Secret:
        buffer, used = bytearray(_LONGEST), 0
        with _Selector() as selector:
            for source in (prompt.tty, cancel.fileno(), prompt.interrupted.fileno()):
                selector.register(source, selectors.EVENT_READ)
            try:
                while b"\n" not in buffer[:used]:
                    _wait(selector, prompt.tty, deadline)
                    if cancel.is_set() or prompt.interrupted.is_set():
                        raise Cancelled("the prompt was cancelled")
                    got = _read(prompt.tty, memoryview(buffer)[used:])
                    if got == 0:  # ^D, or the terminal is gone
                        raise Cancelled("the prompt was left with ^D")
                    used += max(got, 0)
                    if used == _LONGEST:
                        raise Unavailable(f"more than {_LONGEST} octets were typed")
                return Secret(buffer[: buffer.index(b"\n")].rstrip(b"\r"))
            finally:
                buffer[:] = bytes(len(buffer))

    # ── showing ───────────────────────────────────────────────────────────────────────────────────────────────

    def show(self, text: str) -> None:
        """One line for the person, escaped."""
        self.print_line(safe_line(text))

    def user_action(self, action: UserAction) -> None:
        """Tell the person what to do elsewhere (RFC 8628 section 3.3)."""
        self.show(action_words(action))

    def print_line(self, line: str) -> None:
        """Print *line*, which is fit to be printed; a prompt that stands open is written again below it."""
        prompt = self._prompt if _is_terminal(2) else None
        if prompt is not None:
            _write(prompt.tty, "\n")
        self._say(line)
        if prompt is not None and self._prompt is prompt:
            _write(prompt.tty, prompt.text)

    # ── signals ───────────────────────────────────────────────────────────────────────────────────────────────

    def interrupt(self) -> bool:
        """^C: end the open prompt as if ^D had been typed.  False when there is none."""
        prompt = self._prompt
        if prompt is None:
            return False
        prompt.interrupted.set()
        return True

    def restore(self) -> None:
        """Echo on, as it was found.  For signal handlers and ``atexit``: takes no lock, idempotent."""
        self._modes.restore()
        if self.below is not None:
            self.below.end()

    def suspend(self) -> None:
        """SIGTSTP is about to stop us: the shell must find its terminal in order."""
        self._modes.restore()
        if self.below is not None:
            self.below.suspend()

    def resume(self) -> bool:
        """SIGCONT: ask again, from an empty line.  False: not now, for it was ``bg`` that let us go on."""
        regained = self.regain()
        if self.below is not None:
            self.below.resume()
        return regained

    def regain(self) -> bool:
        """The terminal as we need it, if we are in its foreground; False: look again.  The loop's thread."""
        prompt = self._prompt
        if self._modes.again() and prompt is not None:
            _write(prompt.tty, "\n" + prompt.text)
        return not self._modes.away

    # ── hot-keys ──────────────────────────────────────────────────────────────────────────────────────────────

    def start_keys(self, on_keys: Callable[[str], None], stop: CancelSignal) -> threading.Thread | None:
        """Read keys on a thread until *stop*; None where there is no terminal.  Prompts suspend it.

        *on_keys* gets, on that thread, what was read in one go: one key, unless somebody is quick, or pastes.
        """
        if not self.exists:
            return None
        thread = threading.Thread(target=self._read_keys, args=(on_keys, stop), name="sipcli-keys", daemon=True)
        thread.start()
        return thread

    def _read_keys(self, on_keys: Callable[[str], None], stop: CancelSignal) -> None:
        while not stop.is_set():
            self._nobody_asks.wait(0.5)
            if not self._nobody_asks.is_set():
                continue
            try:
                with self._reading:
                    self._read_keys_until_asked(on_keys, stop)
            except (NoTerminal, OSError):
                # Moved to the background, or hung up: keys are a convenience.
                if stop.wait(1.0):
                    return

    def _read_keys_until_asked(self, on_keys: Callable[[str], None], stop: CancelSignal) -> None:
        tty, give_way = open_tty(), CancelSignal()
        self._yield_keys = give_way
        buffer = bytearray(_MOST_KEYS)
        try:
            self._modes.enter(tty, echo=False, lines=False)
            with _Selector() as selector:
                for source in (tty, give_way.fileno(), stop.fileno()):
                    selector.register(source, selectors.EVENT_READ)
                while self._nobody_asks.is_set() and not stop.is_set():
                    _wait(selector, tty, None)
                    if give_way.is_set() or stop.is_set():
                        return
                    got = _read(tty, memoryview(buffer))
                    if got == 0:
                        raise NoTerminal("the terminal is gone")
                    if typed := buffer[: max(got, 0)].decode("ascii", "ignore"):
                        on_keys(typed)
        finally:
            self._yield_keys = None
            self._modes.leave()
            os.close(tty)
            give_way.close()

    @contextmanager
    def _instead_of_keys(self) -> Iterator[None]:
        self._nobody_asks.clear()
        give_way = self._yield_keys
        if give_way is not None:
            give_way.set()
        try:
            with self._reading:
                yield
        finally:
            self._nobody_asks.set()


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _wait(selector: selectors.BaseSelector, tty: int, deadline: float | None) -> None:
    """Until something can be read.  In the background nothing is: reading would stop us with SIGTTIN."""
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise Unavailable("nobody answered the prompt in time")
        ready = {key.fd for key, _ in selector.select(left)}
        if ready - {tty} or (ready and in_foreground(tty)):
            return
        if ready:
            time.sleep(_BACKGROUND_POLL)


def _read(tty: int, into: memoryview) -> int:
    """Octets read; 0 at the end, -1 when there were none after all."""
    try:
        return os.readv(tty, [into])
    except BlockingIOError:
        return -1
    except OSError:  # EIO: hung up
        return 0


def _write(tty: int, text: str) -> None:
    if not in_foreground(tty):
        return  # with TOSTOP set, writing would stop us
    try:
        os.write(tty, text.encode("utf-8", "replace"))
    except OSError:
        pass  # ^S or a hang-up: the person sees no prompt, and the deadline ends it
