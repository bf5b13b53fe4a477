"""What a run prints: JSON lines for programs on stdout, sentences for people on stderr, each event at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TextIO

from sipcli.cli.environment import Environment
from sipcli.cli.exits import ExitStatus
from sipcli.observe.text import json_line, safe_line

if TYPE_CHECKING:
    from sipcli.cli.bottomline import BottomLine

__all__ = ["Console", "Style"]


class Style:
    """SGR codes; the only escape sequences sipcli ever prints."""

    GOOD = "32"
    BAD = "31"
    WARN = "33"
    DIM = "2"
    BOLD = "1"


class Console:
    """One run's output.

    *print_line*, once a terminal exists, is its
    :meth:`~sipcli.cli.terminal.TtyTerminal.print_line`, so that a line does not
    land in the middle of a prompt.  *on_reader_gone* is called once when stdout
    was closed early (``| head -1``).
    """

    def __init__(
        self,
        *,
        json: bool = False,
        color: str = "auto",
        verbose: int = 0,
        environment: Environment | None = None,
    ) -> None:
        self.json = json
        self.verbose = verbose
        self.environment = environment or Environment()
        self.reader_gone = False
        self.output_failed = False
        """Stdout could not be written for another reason than that nobody reads: a full disk."""
        self.on_reader_gone: Callable[[], None] | None = None
        self.print_line: Callable[[str], None] = self.write_error
        self.below: BottomLine | None = None
        """A line that stays below what is printed."""
        self.stdout_taken = False
        """Something else goes out on stdout (``--audio stdio``): words must not get between its samples."""
        self._color = color
        self._result_done = False

    # ── for programs ──────────────────────────────────────────────────────────────────────────────────────────

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """One JSON line (schema v1), if JSON was asked for.  ``v``, ``t`` and ``ms`` are added here."""
        if not self.json:
            return
        line = {"v": 1, "t": self.environment.now(), "ms": self.environment.milliseconds(), "event": name, **fields}
        self._write(json_line(line))

    def data(self, text: str) -> None:
        """A line of the verb's own data on stdout, where no JSON was asked for."""
        if self.json:
            return
        for line in text.split("\n"):
            if self.stdout_taken:
                self.print_line(safe_line(line))
            else:
                self._write(safe_line(line))

    def picture(self, text: str) -> None:
        """A line that people asked to see (ladder): stderr, with JSON too."""
        self.print_line(safe_line(text))

    # ── for people ────────────────────────────────────────────────────────────────────────────────────────────

    def say(self, text: str, *, style: str | None = None, level: int = 0) -> None:
        """A sentence on stderr; with JSON it is left out, for the events say the same.  *level*: needs -v or -vv."""
        if not self.json and self.verbose >= level:
            self.print_line(self.paint(safe_line(text), style))

    def insist(self, text: str, *, style: str | None = None) -> None:
        """A sentence that a person must see even beside JSON: what to do in a browser, say."""
        self.print_line(self.paint(safe_line(text), style))

    def paint(self, text: str, style: str | None) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if style and self._colored() else text

    def _colored(self) -> bool:
        if self._color != "auto":
            return self._color == "always"
        variables = self.environment.variables
        if variables.get("NO_COLOR") or variables.get("TERM", "dumb") == "dumb":
            return False
        return _is_terminal(self.environment.stderr)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────

    def result(
        self,
        verb: str,
        status: ExitStatus,
        outcome: str,
        message: str,
        *,
        hint: str | None = None,
        cause: str | None = None,
        **more: Any,
    ) -> None:
        """The last line, once: ``result`` for programs; for people the sentence, the next step and the raw cause.

        Success is data (stdout), failure is for people (stderr).
        """
        if self._result_done:
            return
        self._result_done = True
        if self.json:
            fields: dict[str, Any] = {
                "verb": verb,
                "ok": status == ExitStatus.OK,
                "exit": int(status),
                "outcome": outcome,
            }
            fields["message"] = message
            fields.update(
                (key, value) for key, value in {"hint": hint, "cause": cause, **more}.items() if value is not None
            )
            fields.setdefault("took_ms", self.environment.milliseconds())
            fields.setdefault("expectations", [])
            self.event("result", fields)
        elif not message:
            return  # the person knows: it was their ^C
        elif status == ExitStatus.OK:
            self.data(message)
        else:
            self._complain(message, hint, cause)

    def _complain(self, message: str, hint: str | None, cause: str | None) -> None:
        for line in message.split("\n"):
            self.print_line(self.paint("sipcli: ", Style.BAD) + safe_line(line))
        if hint:
            self.print_line(f"  {safe_line(hint)}")
        if cause:
            self.print_line(self.paint(f"  ({safe_line(cause)})", Style.DIM))

    # ── streams ───────────────────────────────────────────────────────────────────────────────────────────────

    def write_error(self, line: str) -> None:
        """*line*, as it is, on stderr.  A closed stderr loses it: there is nobody to tell."""
        try:
            with self._above():
                print(line, file=self.environment.stderr, flush=True)  # this is where sipcli prints
        except (OSError, ValueError):
            pass

    def _above(self) -> AbstractContextManager[None]:
        return nullcontext() if self.below is None else self.below.aside()

    def _write(self, line: str) -> None:
        if self.reader_gone:
            return
        try:
            with self._above():
                print(line, file=self.environment.stdout, flush=True)
        except (OSError, ValueError) as error:
            self.reader_gone = True
            _silence(self.environment.stdout)
            if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                self.output_failed = True
                self.write_error(f"sipcli: what was to be printed is lost: {error.strerror}")
            if self.on_reader_gone is not None:
                self.on_reader_gone()


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False


def _silence(stream: TextIO) -> None:
    """Point a broken stdout at /dev/null: Python would complain at its exit, about what it still holds for it."""
    if stream is not sys.stdout:
        return
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass
