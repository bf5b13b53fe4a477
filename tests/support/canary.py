"""Canaries: a secret for every place, unlike any other, and a search for them in all that a run of sipcli leaves (T14).

A :class:`Nest` is a person's machine.  Everything of that person lies below one
folder - home, run-time directory, temporary files, and what was printed - so
that looking through it is looking everywhere; only the places where a canary
was planted are passed over.  What ``/proc`` shows while a process runs is
collected by a :class:`Watch`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pexpect

from tests.support.cli import Cli, Event

__all__ = ["Nest", "Started", "Watch", "canary", "disguises", "offspring"]

UNLIMITED = ["sh", "-c", 'ulimit -c unlimited && exec "$@"', "sh"]
"""The shell of somebody who wants to see cores."""
_SHOWN = ("cmdline", "environ", "status", "comm", "maps", "stat", "wchan")
_RESPONSE = re.compile(rb'response=[\\"]*[0-9a-f]{32}')


def canary(name: str, *, odd: bool = True) -> str:
    """A secret nobody else has, always the same for *name*; *odd*: with what has to be quoted here and there."""
    mark = hashlib.sha256(name.encode()).hexdigest()
    return f"kanari/{name}+{mark[:8]}%&=~{mark[8:16]}" if odd else f"kanari-{name}-{mark[:8]}-{mark[8:16]}"


def disguises(secret: bytes, users: Iterable[str] = (), realm: str = "sip.test") -> dict[bytes, str]:
    """Octets by which *secret* is known again, and what each is: encoded, in halves, hashed, HA1s of *users*."""
    found: dict[bytes, str] = {}
    half = len(secret) // 2
    written = {
        "plain": secret,
        "percent-encoded": quote(secret, safe="").encode(),
        "form-encoded": quote_plus(secret).encode(),
        "in JSON": json.dumps(secret.decode("latin-1"))[1:-1].encode(),
    }
    for way, octets in written.items():
        found.setdefault(octets, way)
        for number, text in enumerate((octets.hex(), octets.hex().upper(), octets.hex(":"))):
            found.setdefault(text.encode(), f"{way}, hex {number}")
        for shift in range(3):
            # What stands before it shifts the groups of three; the groups that hold nothing else are always the same.
            padded = bytes(shift) + octets
            inner = slice(4 if shift else 0, len(padded) // 3 * 4)
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                found.setdefault(encode(padded)[inner], f"{way}, base64 {shift}")
    found.setdefault(secret[:half], "its first half")
    found.setdefault(secret[half:], "its second half")
    for algorithm in ("md5", "sha1", "sha256", "sha512_256"):
        for user in users:
            ha1 = hashlib.new(algorithm, f"{user}:{realm}:".encode() + secret)
            found.setdefault(ha1.hexdigest().encode(), f"HA1 {algorithm} of {user}")
        found.setdefault(hashlib.new(algorithm, secret).hexdigest().encode(), algorithm)
    return found


class Watch:
    """What ``/proc`` shows of a process and of all that it started, for as long as it runs; :attr:`seen` by name."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.seen: dict[str, set[bytes]] = {}
        self.looks = 0
        self._children: list[int] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def _go_on(self) -> None:
        while not self._end.wait(0.03):
            self.look()

    def look(self) -> None:
        """Once, now."""
        if self.looks % 4 == 0:
            self._children = offspring(self.pid)
        self.looks += 1
        for pid in (self.pid, *self._children):
            whose = "" if pid == self.pid else "child's "
            folder = Path(f"/proc/{pid}")
            for name in _SHOWN:
                self._note(whose + name, folder / name)
            with suppress(OSError):
                for thread in (folder / "task").iterdir():
                    self._note(f"{whose}thread's comm", thread / "comm")
            with suppress(OSError):
                for descriptor in (folder / "fd").iterdir():
                    self.seen.setdefault(f"{whose}fd", set()).add(str(descriptor.readlink()).encode())

    def _note(self, name: str, path: Path) -> None:
        with suppress(OSError):
            self.seen.setdefault(name, set()).add(path.read_bytes())

    def stop(self) -> None:
        self._end.set()
        self._thread.join(10)


def offspring(pid: int) -> list[int]:
    """The processes that *pid* started, and those that they started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found = list(parents.get(pid, ()))
    for child in found:
        found += parents.get(child, ())
    return found


class Nest:
    """The machine, its canaries by name, and the places where they may be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.canaries: dict[str, bytes] = {}
        self.users: set[str] = set()
        self.realm = "sip.test"
        self.places: set[Path] = set()
        self.aside: set[str] = set()
        """Names of ``/proc`` entries that hold a canary because the person put it there."""
        home = folder / "home"
        homes = {"XDG_STATE_HOME": ".state", "XDG_DATA_HOME": ".data", "XDG_CACHE_HOME": ".cache", "TMPDIR": "tmp"}
        self.cli = Cli(home, env={name: str(home / place) for name, place in homes.items()})
        for place in homes.values():
            (home / place).mkdir(mode=0o700)
        self.histories = [home / name for name in (".bash_history", ".python_history", ".inputrc_history")]
        for path in self.histories:
            path.write_text("sipcli --version\n")
        self.cli.env |= {
            "HISTFILE": str(self.histories[0]),
            "PYTHON_HISTORY": str(self.histories[1]),
            "PYTHONFAULTHANDLER": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.stdin: Callable[[], int] | None = None
        """Makes the standard input of each run."""
        self._runs = 0

    def hatch(self, name: str, user: str | None = None, *, odd: bool = True) -> str:
        """A canary called *name*, looked for from now on; *user*: also in what Digest makes of it."""
        text = canary(name, odd=odd)
        self.look_for(name, text.encode(), user)
        return text

    def look_for(self, name: str, secret: bytes, user: str | None = None) -> None:
        """A secret that somebody else made - a token, a key - is a canary, too."""
        self.canaries[name] = secret
        if user is not None:
            self.users.add(user)

    def plant(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        """A file of the person's own with a canary in it."""
        path = self.cli.home / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        self.places.add(path)
        return path

    # -- running -------------------------------------------------------------------------------------------------

    def start(self, *arguments: str) -> Started:
        """sipcli, with cores allowed, and what it prints in files that are looked through like all others."""
        self._runs += 1
        return Started(self, f"run{self._runs}", arguments)

    @contextmanager
    def terminal(self, *arguments: str) -> Iterator[tuple[pexpect.spawn[str], Started]]:
        """The same on a pseudo-terminal, whose screen is one more file."""
        self._runs += 1
        run = Started(self, f"run{self._runs}", arguments, on_terminal=True)
        with (self.folder / f"run{self._runs}.screen").open("w") as screen:
            child = run.spawn(screen)
            try:
                yield child, run
            finally:
                child.close(force=True)
                run.watch.stop()

    @contextmanager
    def shell(self, *argv: str) -> Iterator[pexpect.spawn[str]]:
        """An interactive program that keeps a history, on a terminal whose screen is looked through."""
        self._runs += 1
        with (self.folder / f"run{self._runs}.screen").open("w") as screen:
            child = pexpect.spawn(
                argv[0], list(argv[1:]), env=self.cli.env, cwd=str(self.cli.home), encoding="utf-8", timeout=40,
                dimensions=(50, 400),
            )  # fmt: skip
            child.delaybeforesend = None
            child.logfile_read = screen
            try:
                yield child
            finally:
                child.close(force=True)

    # -- looking -------------------------------------------------------------------------------------------------

    def found(self, *watches: Watch) -> list[str]:
        """Where a canary is that was not planted there; cores; and an answer to a challenge in the open."""
        known = {octets: f"{name} ({way})" for name, secret in self.canaries.items()
                 for octets, way in disguises(secret, self.users, self.realm).items()}  # fmt: skip
        assert known, "nothing was hatched"
        # The longest first: a half of it is in the whole.
        pattern = re.compile(b"|".join(re.escape(octets) for octets in sorted(known, key=len, reverse=True)))

        def within(octets: bytes, where: str) -> list[str]:
            marks = sorted({known[match] for match in pattern.findall(octets)})
            marks += ["an answer"] if _RESPONSE.search(octets) else []
            return [f"{mark} in {where}" for mark in marks]

        complaints = []
        for path in sorted(self.folder.rglob("*")):
            complaints += within(str(path).encode(), f"the name {path}")
            if path.is_symlink() or not path.is_file() or path in self.places:
                continue
            complaints += [f"a core: {path}"] if path.name.startswith("core") else within(path.read_bytes(), str(path))
        for watch in watches:
            for name, texts in watch.seen.items():
                if name not in self.aside:
                    complaints += within(b"\0".join(texts), f"/proc: {name}")
        changed = [path for path in self.histories if path.read_text() != "sipcli --version\n"]
        return [*complaints, *(f"{path} was written" for path in changed)]


class Started:
    """One run of sipcli below *nest*: its prints are ``NAME.out`` and ``NAME.err``, its trace ``NAME.trace``."""

    def __init__(self, nest: Nest, name: str, arguments: Iterable[str], *, on_terminal: bool = False) -> None:
        self._nest = nest
        self.out, self.err = (nest.folder / f"{name}.{kind}" for kind in ("out", "err"))
        self.trace = nest.folder / f"{name}.trace"
        self._argv = [*UNLIMITED, *nest.cli.argv(*arguments, "--trace", str(self.trace))]
        self.code: int | None = None
        if on_terminal:
            return
        stdin = os.open(os.devnull, os.O_RDONLY) if nest.stdin is None else nest.stdin()
        with self.out.open("wb") as out, self.err.open("wb") as err, os.fdopen(stdin, "rb") as given:
            self._process = subprocess.Popen(
                self._argv, env=nest.cli.env, cwd=nest.cli.home, stdout=out, stderr=err, start_new_session=True,
                stdin=given,
            )  # fmt: skip
        self.watch = Watch(self._process.pid)

    def spawn(self, screen: Any) -> pexpect.spawn[str]:
        """On a terminal; only prompts go there, what is printed goes where it goes otherwise."""
        script = f'exec "$@" > "{self.out}" 2> "{self.err}"'
        child = pexpect.spawn(
            "sh", ["-c", script, "sh", *self._argv], env=self._nest.cli.env, cwd=str(self._nest.cli.home),
            encoding="utf-8", timeout=40, dimensions=(50, 300),
        )  # fmt: skip
        child.delaybeforesend = None
        child.logfile_read = screen
        self.watch = Watch(child.pid)
        return child

    @property
    def pid(self) -> int:
        return self.watch.pid

    def events(self) -> list[Event]:
        """What it has said so far, with ``--json``."""
        lines = self.out.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n") and line.startswith("{")]

    def wait_for(self, event: str, within: float = 60.0, **fields: object) -> Event:
        """The first event of that name whose fields are as given."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            for said in self.events():
                if said["event"] == event and all(said.get(name) == value for name, value in fields.items()):
                    return said
            time.sleep(0.01)
        raise AssertionError(f"no {event} {fields}: {self.out.read_text()} {self.err.read_text()}")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def finish(self, within: float = 30.0) -> int:
        """Its exit status."""
        try:
            self.code = self._process.wait(within)
        finally:
            self.kill()
        return self.code

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.watch.stop()

    @property
    def result(self) -> Event:
        """The last event."""
        last = self.events()[-1]
        assert last["event"] == "result", last
        return last

    def said(self) -> str:
        """All its sentences: the result's, the next step's, the warnings', and what providers reported."""
        kept = ("message", "hint", "reason", "error")
        return " | ".join(str(event[key]) for event in self.events() for key in kept if event.get(key))
