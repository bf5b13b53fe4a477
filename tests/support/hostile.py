"""A server that means harm: answers every datagram with what it was given, or with a flood.

``python -m tests.support.hostile BURST`` is one in a process of its own: each
REGISTER earns BURST 401s, every one with a nonce and a realm of its own.  It
prints its port, then the number of 401s after each flood.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable

from tests.support.peer import Gate, Heard

Answer = Callable[[Heard], Iterable[bytes]]


class Hostile:
    """*answer* gives the datagrams that each request earns; ``heard`` are the requests."""

    def __init__(self, answer: Answer) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.heard: list[Heard] = []
        self._answer = answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                data, source = self.socket.recvfrom(65536)
            except OSError:
                return
            if data == b"end":
                return
            if len(data) < 20:
                continue  # a keep-alive
            try:
                request = Heard(data)
            except (ValueError, AssertionError):
                continue  # somebody else's, meant for whoever had this port before
            if request.is_response:
                continue
            self.heard.append(request)
            for datagram in self._answer(request):
                self.socket.sendto(datagram, source)

    def send(self, data: bytes, port: int) -> None:
        self.socket.sendto(data, ("127.0.0.1", port))

    def close(self) -> None:
        self.socket.sendto(b"end", self.socket.getsockname())
        self._thread.join(5)
        self.socket.close()


def flood(request: Heard, burst: int) -> Iterable[bytes]:
    """*burst* 401s to one request, each with a nonce and a realm that nobody saw before."""
    for number in range(burst):
        if number % 15 == 0:
            time.sleep(0.01)  # 1500 a second: below what makes the whole host go unheard
        yield Gate(f"realm-{request.branch[-8:]}-{number}").ask(request, nonce=f"nonce-{time.monotonic_ns()}")


def main() -> None:
    burst = int(sys.argv[1])

    def answer(request: Heard) -> Iterable[bytes]:
        if request.method == "REGISTER":
            yield from flood(request, burst)
            print(burst, flush=True)

    server = Hostile(answer)
    print(server.port, flush=True)
    sys.stdin.read()  # until whoever started us is gone


if __name__ == "__main__":
    main()
