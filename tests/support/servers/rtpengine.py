"""rtpengine between the telephones: RTP, SRTP and ICE on one side need not be so on the other."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.support.servers.process import Server, free_port


class Rtpengine:
    """In user space, on loopback; Kamailio commands it at :attr:`port` (UDP)."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port, low = free_port(), free_port(block=100)
        argv = [
            shutil.which("rtpengine") or "rtpengine", "--foreground", "--log-stderr", "--log-level=6", "--table=-1",
            "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{self.port}", f"--port-min={low}",
            f"--port-max={low + 99}", "--num-threads=2", "--delete-delay=0",
        ]  # fmt: skip
        self.server = Server(argv, directory / "rtpengine.log", cwd=directory)
        self.server.wait_until(self._answers, timeout=10)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.2)
            try:
                asking.sendto(b"1 d7:command4:pinge", ("127.0.0.1", self.port))
                return b"pong" in asking.recv(1000)
            except OSError:
                return False

    def stop(self) -> None:
        self.server.stop()
