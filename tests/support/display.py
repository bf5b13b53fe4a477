"""A terminal with somebody in front of it: what sipcli shows there, as an emulated screen has it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pyte

from tests.support.cli import Cli
from tests.support.pty import until_echo

__all__ = ["Display", "display"]


class Display:
    """*child* on a terminal of *columns* x *rows*; the screen is that of pyte."""

    def __init__(self, child: pexpect.spawn[str], columns: int, rows: int) -> None:
        self.child = child
        self.said = ""
        """Everything that came, octet for octet."""
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, from the top."""
        shown = [line.rstrip() for line in self._screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def bottom(self) -> str:
        """The lowest line: that of the live screen, if there is one."""
        return self.lines[-1] if self.lines else ""

    def read(self, seconds: float = 0.05) -> bool:
        """Take in what comes within *seconds*; False when the program has ended."""
        try:
            got = self.child.read_nonblocking(65536, seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.said += got
        self._stream.feed(got)
        return True

    def until(self, pattern: str, *, within: float = 40, bottom: bool = False) -> re.Match[str]:
        """Wait until a line of the screen, or the lowest one, has *pattern*."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            for line in [self.bottom] if bottom else self.lines:
                if found := re.search(pattern, line):
                    return found
            if not self.read():
                break
        raise AssertionError(f"no {pattern!r} on the screen:\n" + "\n".join(self.lines))

    def until_keys(self) -> None:
        """Wait until keys are read one by one."""
        until_echo(self.child, False, within=10)

    def press(self, keys: str, then: str | None = None, *, bottom: bool = False) -> None:
        """Type *keys* in one go, and wait for *then*."""
        self.child.send(keys)
        if then is not None:
            self.until(then, bottom=bottom)

    def ended(self, within: float = 40) -> int | None:
        """Wait for the end; the exit status."""
        deadline = time.monotonic() + within
        while self.read():
            assert time.monotonic() < deadline, "it goes on:\n" + "\n".join(self.lines)
        self.child.wait()
        return self.child.exitstatus

    def resize(self, columns: int, rows: int) -> None:
        """The window has another size now, which the program is told by SIGWINCH."""
        self._screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)


@contextmanager
def display(
    cli: Cli, *arguments: str, columns: int = 120, rows: int = 40, term: str = "xterm", **more: str
) -> Iterator[Display]:
    """``sipcli ARGUMENTS`` on a terminal; *more*: variables of its environment."""
    argv = cli.argv(*arguments)
    child = pexpect.spawn(
        argv[0],
        argv[1:],
        env={**cli.env, "TERM": term, **more},  # type: ignore[arg-type]
        cwd=str(cli.home),
        encoding="utf-8",
        timeout=40,
        dimensions=(rows, columns),
    )
    child.delaybeforesend = None
    try:
        yield Display(child, columns, rows)
    finally:
        child.close(force=True)
