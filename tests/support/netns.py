"""Hosts in network namespaces, and the cables between them.  Needs root; everything goes with the test."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")
_CLONE_NEWNET = 0x40000000


class Namespace:
    """One host.  Its name is unique on this machine."""

    def __init__(self, name: str) -> None:
        _sweep()
        self.name = f"sipcli-{os.getpid()}-{name}"
        _ip("netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments: str) -> str:
        """``ip`` in there."""
        return _ip("-n", self.name, *arguments)

    def command(self, argv: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, function: Callable[[], _T]) -> _T:
        """*function* on a thread that is in there: its sockets are this host's."""
        results: list[_T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                with open(f"/run/netns/{self.name}") as place:
                    if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), f"setns {self.name}")
                results.append(function())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)


@cache
def _sweep() -> None:
    """What a test run that was killed has left behind: its namespaces, and who still runs in them."""
    for name in re.findall(r"^sipcli-\d+-\S+", _ip("netns", "list"), re.MULTILINE):
        if not Path(f"/proc/{name.split('-')[1]}").exists():
            pids = subprocess.run(["ip", "netns", "pids", name], check=False, capture_output=True, text=True).stdout
            for pid in pids.split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextmanager
def two_hosts(left: str = "10.77.0.1/24", right: str = "10.77.0.2/24") -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces and a cable, whose end in each is called ``net0``."""
    hosts: list[Namespace] = []
    try:
        hosts += [Namespace("left"), Namespace("right")]
        one, other = hosts
        one.ip("link", "add", "net0", "type", "veth", "peer", "name", "net0", "netns", other.name)
        for host, address in ((one, left), (other, right)):
            host.ip("addr", "add", address, "dev", "net0")
            host.ip("link", "set", "net0", "up")
        yield one, other
    finally:
        for host in hosts:
            host.close()


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout
