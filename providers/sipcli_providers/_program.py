"""Runs another program for its answer, and lets it neither hang, flood nor outlive us (threat T17).

No shell, no search, nothing inherited: the program gets the arguments, the
environment and the three pipes that it is given, a session and a process group
of its own, and ``/`` as its folder.  Its group is ended with it, for a
grandchild may hold our pipe open; what must live longer has to take a session
of its own, as gpg-agent does.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from sipcli.credentials import Unavailable
from sipcli_providers._lookup import printable
from sipcli_providers._options import Options
from sipcli_providers._patience import Wait
from sipcli_providers._trusted import NEVER_SOON, trusted_program

LARGEST_ANSWER = 64 * 1024
_LARGEST_COMPLAINT = 4096
_MOST_LINES = 5
_CHUNK = 16 * 1024
_GLANCE = 0.05  # seconds between two looks whether it has ended, for a grandchild may keep its pipes open
_GLANCE_AT_END = 0.005  # the same, once its pipes are closed
_GRACE = 0.2  # seconds from SIGTERM to SIGKILL; a provider must be gone within half a second of its cancel signal
_REAP = 1.0
_DRAIN = 16  # turns that empty a pipe of 64 KiB; a stranger who keeps writing gets no more

# What a program needs to find a person's files, agents and windows, and to speak his language; no secret is among it.
_HARMLESS = (
    "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TMPDIR",
    "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY",
)  # fmt: skip
_PATH = "/usr/bin:/bin"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_groups: set[int] = set()
"""Groups that still run.  The last thing this process does is end them, for their thread may not get to it."""


@atexit.register
def _end_groups() -> None:
    for group in tuple(_groups):
        _signal(group, signal.SIGKILL)


@dataclass(slots=True, repr=False)
class Finished:
    """How a program ended.  *answer* may hold a secret: :meth:`wipe` it.

    *status* is its exit status, negative for a signal; *complaint* is what it
    wrote to standard error, in lines fit for a terminal.
    """

    status: int
    answer: bytearray
    complaint: tuple[str, ...]

    def wipe(self) -> None:
        self.answer[:] = bytes(len(self.answer))
        self.answer.clear()


def environment(names: Sequence[str]) -> dict[str, str]:
    """The environment of a program: the harmless variables, and of ours those that the configuration *names*."""
    wanted = (*_HARMLESS, *names)
    return {"PATH": _PATH} | {name: os.environ[name] for name in wanted if name in os.environ}


def variable_names(options: Options) -> tuple[str, ...]:
    """The option ``env``: names, never values.  Raises ValueError."""
    names = options.texts("env")
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f'{options.where} env lists names of variables, for example env = ["GNUPGHOME"]')
    return names


def run_program(
    path: Path,
    arguments: Sequence[str],
    wait: Wait,
    *,
    told: bytes = b"",
    variables: Mapping[str, str],
) -> Finished:
    """Run *path* with *arguments*, *told* on its standard input, until it ends.

    Raises Denied or Unavailable if it may not or cannot be run, Unavailable
    when the deadline passes or it says more than 64 KiB, Cancelled when told
    to stop; in each case nothing of it is left.
    """
    wait.cancel.raise_if_set()
    program = trusted_program(path)
    try:
        process = subprocess.Popen(  # noqa: S603  # judged, and no shell
            [str(path), *arguments],
            executable=program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables,
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        raise Unavailable(
            f"{printable(str(path))} cannot be run: {error.strerror}", retry_after=NEVER_SOON
        ) from None  # the frames below hold what it is told
    with _living(process), _Talk(process, told) as talk:
        talk.go_on(path.name, wait)
    return Finished(process.returncode, talk.answer, _lines(talk.complaint))


class _Talk:
    """The three pipes of one running program."""

    def __init__(self, process: subprocess.Popen[bytes], told: bytes) -> None:
        self._process = process
        self._left = memoryview(told)
        self.answer = bytearray()
        self.complaint = bytearray()
        self._selector = selectors.DefaultSelector()
        self._open: set[IO[bytes]] = set()

    def __enter__(self) -> _Talk:
        self._listen(self._process.stdin, selectors.EVENT_WRITE, self._write)
        self._listen(self._process.stdout, selectors.EVENT_READ, self._read_answer)
        self._listen(self._process.stderr, selectors.EVENT_READ, self._read_complaint)
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for pipe in self._open:
            pipe.close()

    def _listen(self, pipe: IO[bytes] | None, event: int, act: Callable[[IO[bytes]], None]) -> None:
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        self._open.add(pipe)
        self._selector.register(pipe, event, partial(act, pipe))

    def go_on(self, name: str, wait: Wait) -> None:
        """Until it has ended, and what it had said by then is read.  Raises Unavailable and Cancelled."""
        self._selector.register(wait.cancel.fileno(), selectors.EVENT_READ, wait.cancel.raise_if_set)
        while not _has_ended(self._process):
            left = wait.left()
            if left <= 0:
                raise Unavailable(f"{printable(name)} did not answer in time")
            self._turn(min(_GLANCE if self._open else _GLANCE_AT_END, left))
        _signal(self._process.pid, signal.SIGKILL)
        for _ in range(_DRAIN):
            if not self._turn(0):
                return

    def _turn(self, seconds: float) -> bool:
        """False: there was nothing to do."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            key.data()
        return bool(ready)

    def _write(self, pipe: IO[bytes]) -> None:
        try:
            self._left = self._left[os.write(pipe.fileno(), self._left[:_CHUNK]) :] if self._left else self._left
        except BrokenPipeError:  # it does not want to hear
            self._left = memoryview(b"")
        if not self._left:
            self._close(pipe)

    def _read_answer(self, pipe: IO[bytes]) -> None:
        chunk = self._read(pipe)
        self.answer += chunk
        if len(self.answer) > LARGEST_ANSWER:
            raise Unavailable(
                f"it answers with more than {LARGEST_ANSWER // 1024} KiB: that is no secret", retry_after=NEVER_SOON
            )

    def _read_complaint(self, pipe: IO[bytes]) -> None:
        chunk = self._read(pipe)  # read to the end, or it would wait for us
        self.complaint += chunk[: _LARGEST_COMPLAINT - len(self.complaint)]

    def _read(self, pipe: IO[bytes]) -> bytes:
        chunk = os.read(pipe.fileno(), _CHUNK)
        if not chunk:
            self._close(pipe)
        return chunk

    def _close(self, pipe: IO[bytes]) -> None:
        self._selector.unregister(pipe)
        self._open.discard(pipe)
        pipe.close()


@contextlib.contextmanager
def _living(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens inside, afterwards nothing of the process's group is left."""
    _groups.add(process.pid)
    try:
        yield
    except BaseException:
        _signal(process.pid, signal.SIGTERM)
        until = time.monotonic() + _GRACE
        while not _has_ended(process) and time.monotonic() < until:
            time.sleep(_GLANCE_AT_END)
        raise
    finally:
        # While its leader is not reaped, the group's number cannot be given to another.
        _signal(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # in the kernel's hands: nobody can end it
            process.wait(_REAP)
        _groups.discard(process.pid)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Looks without reaping, where the system can."""
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return process.poll() is not None  # macOS before Python 3.13


def _signal(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass  # all gone; or it has become another user's, who ends it himself


def _lines(complaint: bytearray) -> tuple[str, ...]:
    text = complaint.decode("utf-8", "backslashreplace")
    return tuple(printable(line) for line in text.splitlines() if line.strip())[:_MOST_LINES]
