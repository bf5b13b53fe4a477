"""The real `sipcli register` against a registrar that answers each REGISTER with thousands of 401s (T03, T04)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.pty import ended, terminal, until_echo

REPOSITORY = Path(__file__).parents[2]
BURST = 2500


def resident(pid: int) -> int:
    """Kilobytes in memory now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.slow
def test_T03_T04_a_flood_shows_three_prompts_and_ends_with_three(cli: Cli) -> None:
    """Every 401 has a realm and a nonce of its own.  Fails without ``broker.Ration``."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.hostile", str(BURST)],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None
    try:
        port = int(server.stdout.readline())
        with terminal(cli, "register", f"sip:alice@127.0.0.1:{port}", "--once") as child:
            sizes, got = [], 0
            for number in range(3):
                child.expect("Password for ")
                until_echo(child, False)
                while got < (number + 1) * BURST:  # the person is slower than the flood
                    got += int(server.stdout.readline())
                sizes.append(resident(child.pid))
                child.sendline(f"guess {number}")
            status, said = ended(child)
        print(f"{got} challenges and more; exit {status}; RSS in kB at each prompt {sizes}; {said.strip()[-160:]}")
        assert status in (3, 4)
        assert "Password for" not in said
        assert "Traceback" not in said
        assert sizes[-1] - sizes[0] < 4096
    finally:
        server.stdin.close()
        server.wait(30)
        server.stdout.close()
