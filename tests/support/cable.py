"""A cable that hurts: joins two hosts and loses, delays and reorders what goes through.  Needs root and /dev/net/tun.

Kernels without sch_netem are common where tests run, so this is a program: it reads IP packets from one TUN device and
writes them to the other.  Every protocol suffers, each direction on its own.  Loss, delay and order are drawn from one
seed, so a run that found something can be had again with the same packets.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tests.support.netns import Namespace

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_OVERTAKEN_S = 0.03
"""How much later a reordered packet comes: after the next one of a 20 ms stream."""


@dataclass(frozen=True, slots=True)
class Hurts:
    """What happens to packets, each way.  *jitter_ms*: 0 to so much on top of *delay_ms*, in order, as queues do it."""

    loss_pct: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    reorder_pct: float = 0.0


def at_once(pid: int) -> None:
    """*pid* is served before others: it is the network that is measured, not who else runs on this machine."""
    os.setpriority(os.PRIO_PROCESS, pid, -10)


class Cable:
    """Between ``net0`` of *one* and a device of *other*; it ends with :meth:`close`, or with who made it."""

    def __init__(
        self, one: Namespace, address: str, other: Namespace, other_address: str, hurts: Hurts, *, seed: int = 1
    ) -> None:
        """The addresses have prefix lengths: ``10.78.1.2/24``."""
        ends = [_end(one, "net0", address), _end(other, "cable0", other_address)]
        self._program = subprocess.Popen(
            [sys.executable, "-m", __name__, *map(str, ends), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=ends,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
        for end in ends:
            os.close(end)
        at_once(self._program.pid)
        self.change(hurts)

    def change(self, hurts: Hurts) -> None:
        """From now on, with what is on its way already; returns once it is so."""
        assert self._program.stdin is not None and self._program.stdout is not None
        self._program.stdin.write(json.dumps(asdict(hurts)) + "\n")
        self._program.stdin.flush()
        assert self._program.stdout.readline() == "changed\n", "the cable's program has ended"

    def close(self) -> None:
        self._program.communicate()  # its input ends, and so does it
        self._program.wait()


class Joined(NamedTuple):
    """left 10.78.1.2 ══ the cable ══ 10.78.1.1 [proxy, a router] 10.78.2.1 ── right 10.78.2.2"""

    left: Namespace
    proxy: Namespace
    right: Namespace
    cable: Cable


PROXY = "10.78.1.1"


@contextmanager
def joined(hurts: Hurts) -> Iterator[Joined]:
    """Three hosts; whatever *left* says and hears goes through the cable, to the proxy and to *right*."""
    with ExitStack() as made:
        hosts = []
        for name in ("left", "proxy", "right"):
            hosts.append(Namespace(name))
            made.callback(hosts[-1].close)
        left, proxy, right = hosts
        cable = Cable(left, "10.78.1.2/24", proxy, f"{PROXY}/24", hurts)
        made.callback(cable.close)
        proxy.ip("link", "add", "lan", "type", "veth", "peer", "name", "net0", "netns", right.name)
        for host, device, address in ((proxy, "lan", "10.78.2.1/24"), (right, "net0", "10.78.2.2/24")):
            host.ip("addr", "add", address, "dev", device)
            host.ip("link", "set", device, "up")
        left.ip("route", "add", "default", "via", PROXY)
        right.ip("route", "add", "default", "via", "10.78.2.1")
        subprocess.run(proxy.command(["sysctl", "-qw", "net.ipv4.ip_forward=1"]), check=True)
        yield Joined(left, proxy, right, cable)


def _end(host: Namespace, device: str, address: str) -> int:
    def opened() -> int:
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH14x", device.encode(), _IFF_TUN_NO_PI))
        return end

    end = host.run(opened)
    host.ip("addr", "add", address, "dev", device)
    host.ip("link", "set", device, "up", "mtu", "1500")
    return end


class _Way:
    """One direction: packets in, and when they come out."""

    def __init__(self, seed: int) -> None:
        self.hurts = Hurts()
        self._random = random.Random(seed)
        self._order = count()
        self._last = 0.0
        self._waiting: list[tuple[float, int, bytes]] = []

    def put(self, packet: bytes, now: float) -> None:
        hurts, chance = self.hurts, self._random.random
        if 100 * chance() < hurts.loss_pct:
            return
        due = now + (hurts.delay_ms + hurts.jitter_ms * chance()) / 1000
        if 100 * chance() < hurts.reorder_pct:
            due += _OVERTAKEN_S
        else:
            due = self._last = max(due, self._last)
        heapq.heappush(self._waiting, (due, next(self._order), packet))

    def due(self, now: float) -> list[bytes]:
        packets = []
        while self._waiting and self._waiting[0][0] <= now:
            packets.append(heapq.heappop(self._waiting)[2])
        return packets

    @property
    def next_at(self) -> float:
        return self._waiting[0][0] if self._waiting else float("inf")


def _carry(ends: list[int], ways: list[_Way]) -> None:
    """Until the input ends: a line there is new settings."""
    while True:
        wait = min(way.next_at for way in ways) - time.monotonic()
        ready = select.select([*ends, sys.stdin], [], [], max(0.0, wait) if wait < 3600 else None)[0]
        for end in ready:
            if end is sys.stdin:
                line = sys.stdin.readline()
                if not line:
                    return
                for way in ways:
                    way.hurts = Hurts(**json.loads(line))
                print("changed", flush=True)
            else:
                ways[ends.index(end)].put(os.read(end, 65536), time.monotonic())
        for way, to in zip(ways, reversed(ends), strict=True):
            for packet in way.due(time.monotonic()):
                try:
                    os.write(to, packet)
                except OSError:
                    pass  # the device is down: nobody is there


if __name__ == "__main__":
    devices = [int(text) for text in sys.argv[1:3]]
    _carry(devices, [_Way(int(sys.argv[3])), _Way(int(sys.argv[3]) + 1)])
