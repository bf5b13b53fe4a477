"""``run_alone.py COMMAND...``: runs it, and ends whatever it leaves behind, sessions of their own included.

A test whose defence is gone may be cut off in its middle, with servers and telephones running: they would hold ports
that the next one wants, and the pipe that its output is read from.  The exit status is that of COMMAND.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""Linux: orphans of our descendants become our children, whatever session they are in (prctl(2))."""


def main(command: list[str]) -> int:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    process = os.posix_spawnp(command[0], command, os.environ)
    try:
        while True:  # orphans that end meanwhile are buried at once: a test may wait for one to be gone
            ended, status = os.waitpid(-1, 0)
            if ended == process:
                return os.waitstatus_to_exitcode(status)
    finally:
        while left := children():  # each that ends leaves us its own
            for pid in left:
                os.kill(pid, signal.SIGKILL)  # ours until it is waited for: its number cannot be another's
                os.waitpid(pid, 0)


def children() -> list[int]:
    """Our own, zombies too; none where there is no /proc to look into."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, fields = place.read_text().rpartition(")")  # a name may hold anything, brackets and blanks too
        except OSError:
            continue  # it has ended meanwhile
        if int(fields.split()[1]) == os.getpid():
            found.append(int(place.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
