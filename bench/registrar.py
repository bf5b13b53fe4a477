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
LONG_FORM = {b"v": b"via", b"f": b"from", b"t": b"to", b"i": b"call-id", b"m": b"contact"}


def serve(algorithm: str = "MD5") -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.bind(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    clock, serial = time.perf_counter, 0
    challenged: dict[bytes, float] = {}
    notes = blank_notes()
    while True:
        data, peer = sock.recvfrom(65536)
        now = clock()
        if data == b"DUMP":
            sock.sendto(json.dumps(notes).encode()[:60000], peer)
            notes = blank_notes()
            challenged.clear()
            continue
        if data == b"QUIT":
            return
        if not data.startswith(b"REGISTER"):
            continue
        fields = {LONG_FORM.get(name.lower(), name.lower()): value for name, value in FIELD.findall(data)}
        notes["first"] = notes["first"] or time.time()
        if b"authorization" not in fields:
            serial += 1
            sock.sendto(challenge_to(fields, peer, serial, algorithm), peer)
            challenged[fields[b"call-id"]] = clock()
            continue
        asked = challenged.pop(fields[b"call-id"], None)
        if asked is not None:
            notes["latency_us"].append(round((now - asked) * 1e6, 1))
        sock.sendto(acceptance_of(fields, peer, serial), peer)
        notes["registered"] += 1
        notes["last"] = time.time()
        notes["registered_first"] = notes["registered_first"] or notes["last"]


def blank_notes() -> dict[str, Any]:
    return {"latency_us": [], "first": None, "last": None, "registered": 0, "registered_first": None}


def challenge_to(fields: dict[bytes, bytes], peer: tuple[str, int], serial: int, algorithm: str) -> bytes:
    return (
        b'SIP/2.0 401 Unauthorized\r\n%sWWW-Authenticate: Digest realm="bench", nonce="%016x", algorithm=%s, '
        b'qop="auth"\r\nContent-Length: 0\r\n\r\n' % (copied(fields, peer, serial), serial, algorithm.encode())
    )


def acceptance_of(fields: dict[bytes, bytes], peer: tuple[str, int], serial: int) -> bytes:
    expires = fields.get(b"expires", b"600")
    contact = fields.get(b"contact", b"").partition(b";expires")[0]
    bindings = b"" if expires == b"0" else b"Contact: %s;expires=%s\r\n" % (contact, expires)
    return b"SIP/2.0 200 OK\r\n%s%sContent-Length: 0\r\n\r\n" % (copied(fields, peer, serial), bindings)


def copied(fields: dict[bytes, bytes], peer: tuple[str, int], serial: int) -> bytes:
    """What every answer repeats of its request (RFC 3261 section 8.2.6.2)."""
    via = fields[b"via"].replace(b";rport", b";rport=%d" % peer[1], 1) + b";received=" + peer[0].encode()
    return b"Via: %s\r\nFrom: %s\r\nTo: %s;tag=r%d\r\nCall-ID: %s\r\nCSeq: %s\r\n" % (
        via,
        fields[b"from"],
        fields[b"to"],
        serial,
        fields[b"call-id"],
        fields[b"cseq"],
    )


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
