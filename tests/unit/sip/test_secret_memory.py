"""What is left of a secret in memory: our own copy is zeroed (gated), what else lies there is reported (T27)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sipcli.credentials import Secret

ROOT = Path(__file__).resolve().parents[3]

# The canary comes on stdin, and whatever looks for it knows it with its bits turned: the search must not find itself.
CHILD = """
import ctypes, json, sys
from sipcli.credentials import PasswordCredentials, Secret
from tests.support.authkit import Rig, asks, digest

TURNED = bytes(255 - octet for octet in range(256))
SIZE, CHUNK = 64, 1 << 20
typed = bytearray(SIZE)
assert sys.stdin.buffer.raw.readinto(typed) == SIZE
key = typed.translate(TURNED)
secret = Secret(typed)
typed[:] = bytes(SIZE)
place = ctypes.addressof((ctypes.c_char * SIZE).from_buffer(secret._buffer))
memory = open("/proc/self/mem", "rb", buffering=0)
window = bytearray(CHUNK)


def looks_like_it(skip):
    memory.seek(place + skip)
    return all(memory.read(1)[0] == 255 - octet for octet in key[skip:])


def copies():
    found = 0
    for line in open("/proc/self/maps"):
        span, rights = line.split()[:2]
        start, end = (int(edge, 16) for edge in span.split("-"))
        for at in range(start, end, CHUNK - SIZE) if rights.startswith("rw") else ():
            try:
                memory.seek(at)
                memory.readinto(memoryview(window)[: min(CHUNK, end - at)])
            except OSError:
                continue
            found += window.translate(TURNED).count(key[16:])
            window[:] = bytes(CHUNK)
    return found


there, before = looks_like_it(0), copies()
rig = Rig(PasswordCredentials("alice", secret))
exchange = rig.exchange()
exchange.receive(asks(digest()))
answered = "response" in exchange.answer()
rig.session.close()
still = looks_like_it(16)  # the allocator writes into the beginning of what is free
print(json.dumps([there, answered, not secret, still, before, copies()]))
"""


def test_T27_wipe_zeroes_before_it_lets_go() -> None:
    """The allocator keeps what is freed as it was."""

    class Kept(bytearray):
        def clear(self) -> None:
            """Not freed, so that it can be looked at."""

    secret = Secret("hunter2")
    secret._buffer = kept = Kept(b"hunter2")
    secret.wipe()
    assert kept == bytes(7)


def test_T27_our_copy_is_gone_from_memory_and_others_are_reported(
    record_property: Callable[[str, object], None],
) -> None:
    """After a challenge was answered and the session closed; gated is the place where our copy was, and no more.

    How many other copies lie about is a property of the interpreter and the allocator; it is in the report (junit,
    and `pytest -s`), so that a change for the worse is seen.
    """
    canary = bytes(range(0x61, 0x61 + 26)) + b"-canary-" + bytes(range(0x41, 0x41 + 26)) + b"7351"
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=canary, capture_output=True, cwd=ROOT, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr.decode()
    there, answered, wiped, still, before, left = json.loads(done.stdout)
    record_property("canary_copies_left", left)
    print(f"copies of a password in the process: {before} before it was used, {left} after it was used and wiped")
    assert there and before, "what is looked at must be our copy"
    assert answered
    assert wiped and not still
