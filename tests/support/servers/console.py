"""A telephone that is commanded by typing: its process on a pseudo-terminal, and all that it ever printed."""

from __future__ import annotations

import os
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pexpect

from tests.support.netns import Namespace
from tests.support.servers.process import ServerDied


class Console:
    """One process on a pseudo-terminal; what it prints is read all the time, so that it never waits for a reader."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        self.name = argv[0]
        self._child = pexpect.spawn(
            argv[0], list(argv[1:]), env=dict(env), cwd=str(cwd), encoding="utf-8", codec_errors="replace",
            dimensions=(50, 300), echo=False,
        )  # fmt: skip
        self._child.delaybeforesend = None
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self._said.append(self._child.read_nonblocking(4096, timeout=None))
            except (pexpect.EOF, OSError, ValueError):
                return

    def text(self) -> str:
        return "".join(self._said)

    def type(self, line: str) -> None:
        self._child.sendline(line)

    def wait_until(self, ready: Callable[[], bool], *, timeout: float = 30.0) -> None:
        """Poll *ready*; raises :class:`ServerDied` at the deadline, with what was printed last."""
        deadline = time.monotonic() + timeout
        while not ready():
            if time.monotonic() > deadline:
                raise ServerDied(f"{self.name}: not in {timeout} s\n{self.text()[-2000:]}")
            time.sleep(0.02)

    def wait_for(self, pattern: str, *, times: int = 1, timeout: float = 30.0) -> None:
        """Until it has printed *pattern*, a regular expression, so many times."""
        self.wait_until(lambda: len(re.findall(pattern, self.text())) >= times, timeout=timeout)

    def stop(self, goodbye: str, *, patience: float = 5.0) -> None:
        """Type *goodbye*, wait until it has gone, and end it if it does not."""
        if self._child.isalive():
            self.type(goodbye)
            deadline = time.monotonic() + patience
            while self._child.isalive() and time.monotonic() < deadline:
                time.sleep(0.02)
        self._child.close(force=True)
        self._reader.join(5)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """Who a telephone is, what it says, and how."""

    user: str = "bob"
    password: str = "bobpass"
    tone: int = 880
    """What it says, in Hz."""
    transport: str = "udp"
    ca: Path | None = None
    codec: str = "pcmu"
    encryption: str = "none"
    """Or ``srtp`` (SDES), or ``dtls``."""
    stun: str | None = None
    """``host:port``, and with it ICE."""
    host: str = "127.0.0.1"
    inside: Namespace | None = None
    """It runs in that network namespace, at *host*."""


class TypedPhone(ABC):
    """What all such telephones can do, each in words of its own."""

    SAYS: ClassVar[Mapping[str, str]] = {}
    """Verb → the line to type; ``%s`` is what the verb is given.  What is left out is typed as it is called here."""
    PRESSED: ClassVar[str]
    """How it tells of a digit that came: a regular expression with the digit in it."""

    console: Console

    def __init__(self, directory: Path, proxy: str, **wishes: Any) -> None:
        """Registered at *proxy* when this returns; *wishes* are those of :class:`Wishes`."""
        directory.mkdir(parents=True, exist_ok=True)
        self.begin(directory, proxy, Wishes(**wishes))

    @abstractmethod
    def begin(self, directory: Path, proxy: str, wishes: Wishes) -> None:
        """Write its configuration into *directory*, and :meth:`open` it."""

    def open(self, argv: Sequence[str], directory: Path, **environment: str) -> None:
        home = {"PATH": os.environ["PATH"], "HOME": str(directory), "TERM": "dumb", "LANG": "C.UTF-8"}
        self.console = Console(argv, env=home | environment, cwd=directory)

    def _say(self, verb: str, *what: str) -> None:
        self.console.type(self.SAYS.get(verb, " ".join([verb, *["%s"] * len(what)])) % what)

    def dial(self, uri: str) -> None:
        self._say("call", uri)

    def hang_up(self) -> None:
        self._say("bye")

    def hold(self) -> None:
        self._say("hold")

    def resume(self) -> None:
        self._say("resume")

    def transfer(self, uri: str) -> None:
        self._say("transfer", uri)

    def join(self) -> None:
        """Connect the far ends of its first and second call with each other."""
        self._say("join")

    def press(self, digits: str) -> None:
        self._say("dtmf", digits)

    def pressed(self) -> str:
        return "".join(re.findall(self.PRESSED, self.text()))

    def write(self, uri: str, text: str) -> None:
        self._say("message", uri, text)

    def text(self) -> str:
        return self.console.text()

    def stop(self) -> None:
        self.console.stop("quit")
