"""A stopwatch that speaks SIP: challenges every REGISTER once, answers 200, and notes when what came and went.

It shares no code with sipcli (else both might share a fault), blocks on one UDP
socket, and runs in a process of its own so that its time is not the client's.
``python bench/registrar.py`` prints its port; a datagram ``DUMP`` answers with
the notes as JSON and forgets them; ``QUIT`` ends it.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FIELD = re.compile(
    rb"^(Via|v|From|f|To|t|Call-ID|i|CSeq|Contact|m|Authorization|Expires)[ \t]*:[ \t]*(.*?)\r$", re.I | re.M
)


def serve(algorithm: str = "MD5") -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.bind(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    clock, serial = time.perf_counter, 0
    challenged: dict[bytes, float] = {}
    notes: dict[str, Any] = {"latency_us": [], "first": None, "last": None, "registered": 0, "registered_first": None}
    while True:
        data, peer = sock.recvfrom(65536)
        now = clock()
        if data == b"DUMP":
            sock.sendto(json.dumps(notes).encode()[:60000], peer)
            notes = {"latency_us": [], "first": None, "last": None, "registered": 0, "registered_first": None}
            challenged.clear()
            continue
        if data == b"QUIT":
            return
        if not data.startswith(b"REGISTER"):
            continue
        fields = {name.lower(): value for name, value in FIELD.findall(data)}
        via = fields.get(b"via") or fields[b"v"]
        via = via.replace(b";rport", b";rport=%d" % peer[1], 1) + b";received=" + peer[0].encode()
        call_id = fields.get(b"call-id") or fields[b"i"]
        to = fields.get(b"to") or fields[b"t"]
        common = b"Via: %s\r\nFrom: %s\r\nTo: %s;tag=r%d\r\nCall-ID: %s\r\nCSeq: %s\r\n" % (
            via,
            fields.get(b"from") or fields[b"f"],
            to,
            serial,
            call_id,
            fields[b"cseq"],
        )
        notes["first"] = notes["first"] or time.time()
        if b"authorization" not in fields:
            serial += 1
            sock.sendto(
                b'SIP/2.0 401 Unauthorized\r\n%sWWW-Authenticate: Digest realm="bench", nonce="%016x", algorithm=%s, '
                b'qop="auth"\r\nContent-Length: 0\r\n\r\n' % (common, serial, algorithm.encode()),
                peer,
            )
            challenged[call_id] = clock()
            continue
        asked = challenged.pop(call_id, None)
        if asked is not None:
            notes["latency_us"].append(round((now - asked) * 1e6, 1))
        expires = fields.get(b"expires", b"600")
        contact = fields.get(b"contact") or fields.get(b"m") or b""
        bindings = (
            b"" if expires == b"0" else b"Contact: %s;expires=%s\r\n" % (contact.partition(b";expires")[0], expires)
        )
        sock.sendto(b"SIP/2.0 200 OK\r\n%s%sContent-Length: 0\r\n\r\n" % (common, bindings), peer)
        notes["registered"] += 1
        notes["last"] = time.time()
        notes["registered_first"] = notes["registered_first"] or notes["last"]


class Registrar:
    """The stopwatch as a child process."""

    def __init__(self, algorithm: str = "MD5") -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), algorithm], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def dump(self) -> dict[str, Any]:
        """What it noted since the last dump."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.sendto(b"DUMP", ("127.0.0.1", self.port))
            notes: dict[str, Any] = json.loads(sock.recv(65536))
            return notes

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"QUIT", ("127.0.0.1", self.port))
        self.process.wait(5)
        if self.process.stdout is not None:
            self.process.stdout.close()


if __name__ == "__main__":
    serve(*sys.argv[1:])
