"""Driving sipcli as a person at a terminal does."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect

from tests.support.cli import Cli

__all__ = ["ended", "terminal", "until_echo", "until_typed"]


@contextmanager
def terminal(cli: Cli, *arguments: str) -> Iterator[pexpect.spawn[str]]:
    """``sipcli ARGUMENTS`` on a pseudo-terminal of its own."""
    argv = cli.argv(*arguments)
    child = pexpect.spawn(
        argv[0], argv[1:], env=cli.env, cwd=str(cli.home), encoding="utf-8", timeout=40, dimensions=(50, 300)
    )
    child.delaybeforesend = None
    try:
        yield child
    finally:
        child.close(force=True)


def until_echo(child: pexpect.spawn[str], wanted: bool, within: float = 15.0) -> None:
    """Wait until the terminal shows what is typed, or does not."""
    deadline = time.monotonic() + within
    while child.getecho() is not wanted:
        assert time.monotonic() < deadline, f"echo is still {not wanted} after {within} s"
        time.sleep(0.01)


def until_typed(child: pexpect.spawn[str]) -> None:
    """Wait until what was sent has come through the terminal's line editor: poll(2) of its other end does."""
    tty = os.open(os.readlink(f"/proc/{child.pid}/fd/0"), os.O_RDWR | os.O_NOCTTY)
    try:
        select.select([tty], [], [], 0)
    finally:
        os.close(tty)


def ended(child: pexpect.spawn[str]) -> tuple[int | None, str]:
    """Exit status, and everything that was printed until then."""
    child.expect(pexpect.EOF)
    said = child.before or ""
    child.wait()
    return child.exitstatus, said
