"""Helper programs for the exec provider, written for one fault each, and a look at what they leave behind."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SECRET = "secret123"

STORE = """\
#!{python} -IS
import json, os, sys
verb, place = sys.argv[1], {place!r}
asked = [line.rstrip("\\n").partition("=")[::2] for line in iter(sys.stdin.readline, "\\n") if line]
told = dict(asked)
with open({log!r}, "a") as log:
    log.write(json.dumps([verb, sys.argv[2:], asked, dict(os.environ), os.getcwd()]) + "\\n")
kept = json.load(open(place)) if os.path.exists(place) else {{}}
if verb == "capability":
    print("version=1\\ncapability[]=store\\ncapability[]=erase")
elif verb == "get":
    if told["aor"] not in kept:
        sys.exit(1)
    print(f"username={{told['username']}}\\npassword={{kept[told['aor']]}}\\n")
elif verb == "store":
    kept[told["aor"]] = told["password"]
elif verb == "erase":
    if kept.get(told["aor"]) == told["password"]:
        del kept[told["aor"]]
json.dump(kept, open(place, "w"))
"""

SIGNER = """\
#!{python} -IS
import hashlib, json, sys
verb, key = sys.argv[1], {key!r}
told = dict(line.rstrip("\\n").partition("=")[::2] for line in iter(sys.stdin.readline, "\\n") if line)
with open({log!r}, "a") as log:
    log.write(json.dumps([verb, told]) + "\\n")
if verb == "capability":
    print("version=1\\ncapability[]=sign")
elif verb == "get":
    print("username=" + told["username"])
elif verb == "sign":
    if told["algorithm"] not in ("MD5", "SHA-256"):
        sys.exit(1)
    def h(*parts):
        return hashlib.new(told["algorithm"].replace("-", ""), ":".join(parts).encode()).hexdigest()
    middle = [told[name] for name in ("nc", "cnonce", "qop")] if "qop" in told else []
    for name, method in (("response", told["method"]), ("rspauth", "")):
        a1, a2 = h(told["username"], told["realm"], key), h(method, told["uri"])
        print(name + "=" + h(a1, told["nonce"], *middle, a2))
"""

FAULTS = {
    "absent": "exit 1",
    "failing": "echo 'the vault is down' >&2; exit 2",
    "cancelled": "exit 3",
    "locked": "echo 'the store is locked' >&2; exit 4",
    "killed": "kill -9 $$",
    "hanging": "exec sleep 600",
    "babbling": "exec yes password=secret123",
    "complaining": "exec yes the-store-is-on-fire >&2",
    "deaf": "trap '' TERM; while :; do sleep 600 & wait; done",
    "garbage": "echo 'Welcome to your password manager!'",
    "binary": "head -c 3000 /dev/urandom",
    "huge": "printf password=; head -c 200000 /dev/zero | tr '\\0' x",
    "carriage": "printf 'password=secret123\\r\\n'",
    "zero": "printf 'password=secret\\000123\\n'",
    "twice": "printf 'password=secret123\\npassword=secret124\\n'",
    "both": "printf 'password=secret123\\nbearer=secret124\\n'",
    "newer": "printf 'version=2\\npassword=secret123\\n'",
    "expired": "printf 'password=secret123\\nexpires_utc=1000\\n'",
    "silent": "exit 0",
    "quitting": "printf 'quit=1\\n'",
    "responding": "printf 'response=0123456789abcdef\\n'",
}


def write_helper(path: Path, text: str, mode: int = 0o755) -> Path:
    """A program at *path*: *text* is the body of a shell script unless it brings its own first line."""
    path.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


def store_helper(folder: Path, name: str = "helper", **entries: str) -> Path:
    """A correct helper: it keeps ``aor: password`` in ``NAME.json`` and notes each call in ``NAME.log``."""
    place, log = folder / f"{name}.json", folder / f"{name}.log"

    place.write_text(json.dumps(entries or {"sip:alice@example.com": SECRET}))
    return write_helper(folder / name, STORE.format(python=sys.executable, place=str(place), log=str(log)))


def signing_helper(folder: Path, key: str = SECRET, name: str = "signer") -> Path:
    """A correct helper that signs with *key* and never gives it; each call is noted in ``NAME.log``."""
    text = SIGNER.format(python=sys.executable, key=key, log=str(folder / f"{name}.log"))
    return write_helper(folder / name, text, 0o700)


def processes(sign: str, *, children: bool = False) -> list[str]:
    """The command lines of living processes that hold *sign*; with *children* also what this process left a zombie."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        zombie = children and stat[0] == "Z" and int(stat[1]) == os.getpid()
        if sign in line or zombie:
            found.append(f"{stat[0]} {line}")
    return found


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def wait_until(true: Callable[[], bool], timeout: float = 20) -> None:
    """Wait for what another process does; its pace decides."""
    until = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


@contextmanager
def nothing_left(sign: str) -> Iterator[None]:
    """Afterwards no process with *sign* in its command line lives, no child is a zombie, no descriptor is open."""
    before = descriptors()
    yield
    wait_until(lambda: not processes(sign, children=True))
    assert descriptors() == before
