"""rtpengine as media relay, in user space: what one side says in one kind of RTP, the other hears in another."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.support.servers.process import Server, free_port

PORTS = 100


class Rtpengine:
    """Relays between loopback addresses of both families; Kamailio commands it at the port :attr:`control` (UDP)."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.control = free_port(block=2)
        self._low = free_port(block=PORTS)
        argv = [
            "rtpengine", "--config-file=none", "--foreground", "--log-stderr", "--log-level=6", "--table=-1",
            "--no-fallback", "--interface=127.0.0.1", "--interface=::1", f"--listen-ng=127.0.0.1:{self.control}",
            f"--listen-cli=127.0.0.1:{self.control + 1}", f"--port-min={self._low}",
            f"--port-max={self._low + PORTS - 1}", "--num-threads=2", "--delete-delay=0",
            f"--pidfile={directory / 'rtpengine.pid'}",
        ]  # fmt: skip
        self.server = Server(argv, directory / "rtpengine.log", cwd=directory)
        self.server.wait_until(self._answers)

    def _answers(self) -> bool:
        """A ping of its control protocol: a cookie, and a dictionary as BitTorrent writes one."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.2)
            asking.connect(("127.0.0.1", self.control))
            try:
                asking.send(b"1 d7:command4:pinge")
                return b"4:pong" in asking.recv(200)
            except (TimeoutError, ConnectionRefusedError):
                return False

    def has(self, address: str) -> bool:
        """Whether *address*, ``host:port``, is one of its places for media."""
        return self._low <= int(address.rpartition(":")[2]) < self._low + PORTS

    def stop(self) -> None:
        self.server.stop()
