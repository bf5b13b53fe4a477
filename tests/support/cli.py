"""Running the real `sipcli` as a user would: its own process, a fresh HOME, nothing inherited."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.support.netns import Namespace

Event = dict[str, Any]

LEAVES_WITHIN = 6.0
"""Seconds from a signal to the end: two for cleaning up, and the rest for a machine that has more to do.

What it would wait for in error - a person, a store that hangs - takes ten times as long; that the two are two is
shown where the clock is stepped."""

KEPT = ("PATH", "LANG", "PYTHONDEVMODE", "COVERAGE_PROCESS_START")


@dataclass
class Result:
    """What one run left behind."""

    code: int
    stdout: str
    stderr: str
    events: list[Event] = field(default_factory=list)

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event["event"] == name]

    @property
    def result(self) -> Event:
        """The last line: always a ``result``."""
        assert self.events, f"no events; stderr: {self.stderr}"
        assert self.events[-1]["event"] == "result", self.events[-1]
        return self.events[-1]


class Cli:
    """A person's machine: a HOME, a configuration, an environment."""

    def __init__(self, home: Path, *, env: dict[str, str] | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.env = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.env |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "TERM": "dumb"} | (env or {})

    def configure(self, text: str) -> Path:
        """Write ``config.toml`` where sipcli looks for it."""
        path = self.home / ".config" / "sipcli" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path

    def log_in(self, place: Path) -> None:
        """*place* becomes its run-time directory, as a login makes one: there the control socket is."""
        place.mkdir(mode=0o700)
        self.env["XDG_RUNTIME_DIR"] = str(place)

    def secret(self, name: str, value: str) -> Path:
        path = self.home / name
        path.write_text(value)
        path.chmod(0o600)
        return path

    hosts: dict[str, str] | None = None
    """Names this machine knows beside its own; needs root, for a mount namespace with an /etc/hosts of its own."""

    nameserver: str | None = None
    """The address of its DNS server, port 53; needs root, for an /etc/resolv.conf of its own."""

    netns: Namespace | None = None
    """The network namespace that it is in; needs root."""

    def argv(self, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", "sipcli", *arguments]
        if self.netns is not None:
            command = self.netns.command(command)
        files: dict[str, str] = {}
        if self.hosts is not None:
            files["hosts"] = "127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for name, ip in self.hosts.items())
        if self.nameserver is not None:
            files["resolv.conf"] = f"nameserver {self.nameserver}\noptions timeout:2 attempts:1\n"
        for name, text in files.items():
            place = self.home / name
            place.write_text(text)
            script = f'mount --bind "$0" /etc/{name} && exec "$@"'
            command = ["unshare", "-m", "sh", "-c", script, str(place), *command]
        return command

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 90) -> Result:
        """Run to the end.  With ``--json`` among the arguments stdout is parsed into events."""
        done = subprocess.run(
            self.argv(*arguments),
            env=self.env,
            cwd=self.home,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            start_new_session=True,
        )
        return Result(done.returncode, done.stdout, done.stderr, parse(done.stdout) if "--json" in arguments else [])

    def start(self, *arguments: str) -> Running:
        return Running(self.argv(*arguments), self.env, self.home)


def parse(text: str) -> list[Event]:
    """Every line must be one JSON object: rule 1 of the interface."""
    return [json.loads(line) for line in text.splitlines()]


class Running:
    """A sipcli that runs on with ``--json``; events are waited for by name and fields.

    It is served before others, where we may say so: what it does in real time, audio above all, is judged, and not
    who else runs on this machine.
    """

    def __init__(self, argv: Sequence[str], env: dict[str, str], cwd: Path) -> None:
        self.process = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self.process.pid, -10)
        self.events: list[Event] = []
        self.stderr = ""
        self._queue: queue.Queue[Event | None] = queue.Queue()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._threads = [
            threading.Thread(target=self._read_events, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self.process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_events(self, stream: IO[str]) -> None:
        for line in stream:
            self._queue.put(json.loads(line))
        self._queue.put(None)

    def _read_errors(self, stream: IO[str]) -> None:
        for line in stream:
            self.stderr += line

    def wait_for(self, event: str, *, timeout: float = 40, **fields: object) -> Event:
        """The next event of that name whose fields are as given; those before it are kept in :attr:`events`."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                got = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if got is None:
                break
            self.events.append(got)
            if got["event"] == event and all(got.get(name) == value for name, value in fields.items()):
                return got
        raise AssertionError(f"no {event} {fields} in {timeout} s; saw {self.events}; stderr: {self.stderr}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def finish(self, timeout: float = 40) -> Result:
        """Wait for the end and collect everything."""
        code = self.process.wait(timeout)
        for thread in self._threads:
            thread.join(5)
        while not self._queue.empty():
            if (event := self._queue.get()) is not None:
                self.events.append(event)
        self._close()
        return Result(code, "", self.stderr, self.events)

    def leave(self) -> None:
        """End it as a person does, so that it takes its bindings back; and by force if it does not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(5)
        self._close()

    def _close(self) -> None:
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def wait_until_taken(pid: int, number: signal.Signals) -> None:
    """Until *number* is pending no more: a second one would be the same to a process that has not run meanwhile."""
    deadline = time.monotonic() + 20
    while _pending(pid) >> number - 1 & 1:
        assert time.monotonic() < deadline, f"{number.name} is not taken"
        time.sleep(0.001)


def _pending(pid: int) -> int:
    """The signals that the kernel holds for all of *pid*, as bits; none for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd"))
