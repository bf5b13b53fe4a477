"""Helper programs behind the real command line: each fault has its exit status and its sentence, and SIP goes on."""

from __future__ import annotations

import socket
import time

import pytest

from tests.e2e.conftest import account
from tests.e2e.test_e2e_slow_provider import ping
from tests.support.cli import Cli
from tests.support.helpers import FAULTS, processes, store_helper, wait_until, write_helper
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]

STATUS = {
    "absent": 4, "silent": 4, "expired": 4, "cancelled": 4, "quitting": 4,
    "failing": 8, "locked": 8, "killed": 8, "hanging": 8, "babbling": 8, "complaining": 8, "deaf": 8, "garbage": 8,
    "binary": 8, "huge": 8, "carriage": 8, "zero": 8, "twice": 8, "both": 8, "newer": 8, "responding": 8,
}  # fmt: skip


def configure(cli: Cli, kamailio: Kamailio, helper: object) -> None:
    cli.configure(
        account(kamailio.address(), credentials='"mine"') + f'[providers.mine]\ntype = "exec"\ncommand = "{helper}"\n'
    )


def test_a_helper_registers_us(cli: Cli, kamailio: Kamailio) -> None:
    helper = store_helper(cli.home, **{"sip:alice@sip.test": "secret123"})
    configure(cli, kamailio, helper)
    done = cli.run("register", "--once", "--json", "--no-input")
    assert done.code == 0, done.stderr
    assert done.result["auth"]["provider"] == "mine"
    assert "secret123" not in done.stdout + done.stderr
    assert cli.run("providers", "test", "mine").code == 0
    assert f"helper {helper}" in cli.run("providers", "list").stdout


@pytest.mark.parametrize("fault", FAULTS)
def test_T17_each_fault_has_its_exit_status_and_one_sentence(cli: Cli, kamailio: Kamailio, fault: str) -> None:
    """Fails for deaf without the SIGKILL in ``_living``: the helper lives on."""
    configure(cli, kamailio, write_helper(cli.home / "helper", FAULTS[fault]))
    done = cli.run("register", "--once", "--json", "--no-input", "--max-wait", "2")
    assert done.code == STATUS[fault], (done.result, done.stderr)
    assert done.result["message"]
    assert "\n" not in done.result["message"]
    assert "Traceback" not in done.stderr
    assert "secret12" not in done.stdout + done.stderr
    wait_until(lambda: not processes(str(cli.home / "helper")))


def test_T16_a_helper_that_others_may_write_is_not_run(cli: Cli, kamailio: Kamailio) -> None:
    """Fails without ``trusted_program`` in ``run_program``."""
    configure(cli, kamailio, write_helper(cli.home / "helper", "echo password=secret123", 0o777))
    done = cli.run("register", "--once", "--json", "--no-input")
    assert done.code == 8
    assert "chmod go-w" in done.stdout + done.stderr


def test_the_stack_answers_while_a_helper_hangs(cli: Cli, kamailio: Kamailio) -> None:
    configure(cli, kamailio, write_helper(cli.home / "helper", f"touch {cli.home}/asked; {FAULTS['deaf']}"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = cli.start("listen", "--port", str(port), "--json", "--no-input")
    try:
        wait_until((cli.home / "asked").exists, 15)
        assert max(ping(port, n) for n in range(20)) < 0.5
    finally:
        began = time.monotonic()
        running.leave()
    assert time.monotonic() - began < 5
    wait_until(lambda: not processes(str(cli.home / "helper")))
