"""What another process of the same user may read of a sipcli that holds a secret: next to nothing (T14).

``prctl(PR_SET_DUMPABLE, 0)`` makes Linux refuse the memory, the environment, the descriptors and the map of a process
to everybody but root (prctl(2), proc(5), ptrace(2)).  Whether it does here is found out with a control: a process that
does nothing else.  Ours must then be shut exactly as far as that one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.test_e2e_canary import Registrar
from tests.support.cli import Cli, Running
from tests.support.real import require

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

CANARY = "canary-7f3a-never-seen"
SOMEBODY = 54321
AS_SOMEBODY = [
    "setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups",
    # To reach an interpreter below /root; it opens no door of /proc.
    "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search", "--bounding-set=-all,+dac_read_search",
]  # fmt: skip
IS_ROOT = os.geteuid() == 0
ORDINARY = AS_SOMEBODY if IS_ROOT else []
"""In front of a command: as a user who is not root."""

CONTROL = """
import ctypes, sys
ctypes.CDLL(None).prctl(4, int(sys.argv[1]), 0, 0, 0)
print("up", flush=True)
sys.stdin.read()
"""
READER = """
import json, os, sys
folder, can = f"/proc/{sys.argv[1]}", {}
for name in ("environ", "mem", "maps", "auxv", "io", "syscall", "cwd", "exe", "root", "fd", "map_files"):
    path = os.path.join(folder, name)
    try:
        if name in ("cwd", "exe", "root"):
            os.readlink(path)
        elif name in ("fd", "map_files"):
            [os.readlink(os.path.join(path, entry)) for entry in os.listdir(path)]
        else:
            with open(path, "rb") as file:
                can[name] = CANARY in file.read().decode("latin-1") if name == "environ" else True
                continue
        can[name] = True
    except OSError as error:
        can[name] = error.strerror
print(json.dumps(can))
""".replace("CANARY", repr(CANARY))


def seen(pid: int, who: list[str]) -> dict[str, object]:
    """Of each entry below ``/proc/PID``: True, or why it cannot be read; of the environment, if the canary is in it."""
    command = [*who, sys.executable, "-c", READER, str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, cwd="/")
    return dict(json.loads(done.stdout))


@contextmanager
def control(dumpable: int) -> Iterator[int]:
    process = subprocess.Popen(
        [*ORDINARY, sys.executable, "-c", CONTROL, str(dumpable)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "SIP_SECRET": CANARY}, cwd="/",
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process.pid
    finally:
        process.communicate()


@pytest.fixture
def sipcli(cli: Cli) -> Iterator[Running]:
    """An ordinary user's, registered with the secret of its environment."""
    if IS_ROOT:
        require("root")
    registrar = Registrar("granting")
    cli.env["SIP_SECRET"] = CANARY
    cli.configure(
        f'[accounts.work]\naor = "{registrar.aor}"\ncredentials = ["e"]\n'
        '[providers.e]\ntype = "env"\nvariable = "SIP_SECRET"\n'
    )
    if IS_ROOT:
        for path in (cli.home, *cli.home.rglob("*")):
            os.chown(path, SOMEBODY, SOMEBODY)
    running = Running([*ORDINARY, *cli.argv("register", "--json")], cli.env, cli.home)
    try:
        running.wait_for("registration", state="registered")
        yield running
    finally:
        running.kill()
        registrar.server.close()


def test_T14_our_memory_and_environment_are_shut_as_far_as_the_kernel_shuts_any(sipcli: Running) -> None:
    """Fails without ``hide_memory``, wherever the kernel honours the flag."""
    with control(1) as pid:
        open_to_all = seen(pid, ORDINARY)
    with control(0) as pid:
        shut = seen(pid, ORDINARY)
    assert open_to_all["environ"] is True, "the reader cannot read anything, so this shows nothing"
    assert seen(sipcli.process.pid, ORDINARY) == shut


@pytest.mark.skipif(not IS_ROOT, reason="only root can look as root")
def test_T14_root_may_look_whatever_we_do(sipcli: Running) -> None:
    """What is not promised: CAP_SYS_PTRACE opens every door, ours and the control's alike."""
    with control(0) as pid:
        assert seen(pid, [])["environ"] is True
    assert seen(sipcli.process.pid, [])["environ"] is True
