"""Starting a server for a test, waiting until it answers, and ending it - by its own process id."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class ServerDied(RuntimeError):
    """The server ended, or was not ready in time; the message ends with the tail of its log."""


LOWEST, HIGHEST = 12_000, 32_000
"""Ports for servers: below those that the kernel gives to whoever connects or binds to port 0 (ip_local_port_range)."""

_given: deque[int] = deque(maxlen=5000)


def free_port(*, block: int = 1) -> int:
    """A port on loopback such that it and the *block* - 1 after it are free for TCP and UDP now.

    None is given again soon, nor to others who run tests beside us: between this and the server's bind() there is time.
    """
    lowest, highest = _share()
    for _ in range(2000):
        port = random.SystemRandom().randrange(lowest, highest - block)
        wanted = range(port, port + block)
        if not any(p in _given or not _is_free(p) for p in wanted):
            _given.extend(wanted)
            return port
    raise RuntimeError("no free ports on loopback")


def _share() -> tuple[int, int]:
    """The ports of this process, where several run tests side by side (pytest-xdist)."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    place = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    width = (HIGHEST - LOWEST) // count
    return LOWEST + place * width, LOWEST + (place + 1) * width


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something listens on a TCP port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


class Server:
    """One process of somebody else's, in a session of its own, its output in a file."""

    def __init__(
        self, argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def wait_until(self, ready: Callable[[], bool], *, timeout: float = 40.0) -> None:
        """Poll *ready* until it says so; raises :class:`ServerDied` at the deadline or when the server ends."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.process.poll() is not None:
                raise ServerDied(f"{self.process.args!r} ended with {self.process.returncode}\n{self.text()[-2000:]}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServerDied(f"{self.process.args!r} was not ready in {timeout} s\n{self.text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, *, patience: float = 3.0) -> None:
        """End it and what it started: SIGTERM, then SIGKILL to its session."""
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self.process.wait()
        else:
            self._signal(signal.SIGKILL)  # children that outlived it

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass
