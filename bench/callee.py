"""A callee for peers: answers every INVITE with one SDP, everything else with 200.  Shares no code with us."""

from __future__ import annotations

import re
import socket
import threading
from types import TracebackType
from typing import Self

_KEPT = re.compile(rb"^(?:via|v|from|f|to|t|call-id|i|cseq|record-route):", re.IGNORECASE)


class Callee:
    """``with Callee(sdp) as callee``: on loopback, UDP, at :attr:`port`; from a thread of its own."""

    def __init__(self, sdp: bytes) -> None:
        self._sdp = sdp
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._sock.close()

    def _serve(self) -> None:
        while True:
            data, source = self._sock.recvfrom(65536)
            if not data:
                return
            lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
            if lines[0].startswith((b"ACK ", b"SIP/2.0 ")):
                continue
            answer = [b"SIP/2.0 200 OK"]
            for line in lines[1:]:
                if _KEPT.match(line):
                    fresh = line[:3].lower().startswith((b"to:", b"t:")) and b"tag=" not in line
                    answer.append(line + b";tag=callee" if fresh else line)
            body = self._sdp if lines[0].startswith(b"INVITE ") else b""
            answer.append(b"Contact: <sip:sink@127.0.0.1:%d>" % self.port)
            if body:
                answer.append(b"Content-Type: application/sdp")
            answer.append(b"Content-Length: %d" % len(body))
            self._sock.sendto(b"\r\n".join(answer) + b"\r\n\r\n" + body, source)
