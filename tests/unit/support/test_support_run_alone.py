"""Whatever a command leaves behind is ended with it, in a session of its own or not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "run_alone.py"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="subreapers are Linux's")

LEAVES = """
import os, subprocess, sys
sleeper = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
child = subprocess.Popen(sleeper, start_new_session=True, stdout=subprocess.PIPE)
assert child.stdout.readline() == b"up\\n"
print(child.pid, flush=True)
os._exit(3)
"""
NESTED = """
import os, subprocess, sys
inner = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True, stdout=subprocess.PIPE)
print(inner.stdout.readline().decode().strip(), flush=True)
os._exit(3)
"""
BURIED = """
import os, subprocess, sys
middle = subprocess.Popen(
    [sys.executable, "-c", "import os\\nif os.fork() == 0: os.read(0, 1); os._exit(0)\\nprint('gone', flush=True)"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)
assert middle.stdout.readline() == b"gone\\n" and middle.wait() == 0
middle.stdin.close()  # now the orphan ends
assert middle.stdout.read() == b""
middle.stdout.close()
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, str(SCRIPT), sys.executable, "-c", *command]
    return subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", [(LEAVES,), (NESTED, LEAVES)], ids=["a child", "a child of one"])
def test_a_child_with_a_session_of_its_own_is_ended_and_waited_for(command: tuple[str, ...]) -> None:
    """It sleeps for ten minutes.  Fails without the loop in ``main``."""
    done = run(*command)
    assert done.returncode == 3, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_the_status_is_the_commands_and_an_orphan_that_ends_meanwhile_does_no_harm() -> None:
    done = run(BURIED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
