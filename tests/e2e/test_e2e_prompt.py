"""The prompt, on a real pseudo-terminal and against a real registrar: asked at the challenge, echo off, restored."""

from __future__ import annotations

import os
import signal
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.e2e.conftest import account
from tests.support.cli import LEAVES_WITHIN, Cli
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]


@contextmanager
def terminal(cli: Cli, *arguments: str) -> Iterator[pexpect.spawn]:
    argv = cli.argv(*arguments)
    child = pexpect.spawn(argv[0], argv[1:], env=cli.env, cwd=str(cli.home), encoding="utf-8", timeout=40, echo=True)
    try:
        yield child
    finally:
        child.close(force=True)


def echoes(child: pexpect.spawn) -> bool:
    return bool(termios.tcgetattr(child.child_fd)[3] & termios.ECHO)


def wait_for_echo(child: pexpect.spawn, wanted: bool) -> None:
    deadline = time.monotonic() + 15
    while echoes(child) is not wanted:
        assert time.monotonic() < deadline, f"echo is {not wanted}"
        time.sleep(0.01)


def status(child: pexpect.spawn) -> int:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus if child.exitstatus is not None else 128 + child.signalstatus


@pytest.fixture
def asking(cli: Cli, kamailio: Kamailio) -> Cli:
    cli.configure(account(kamailio.address(), credentials='"prompt"'))
    return cli


def test_asks_when_the_server_asks_and_does_not_echo(asking: Cli) -> None:
    with terminal(asking, "register", "--once") as child:
        child.expect("[Pp]assword")
        wait_for_echo(child, False)
        child.sendline("secret123")
        child.expect("registered")
        assert "secret123" not in child.before
        assert status(child) == 0


def test_the_prompt_names_account_and_realm_and_says_refused_the_second_time(asking: Cli) -> None:
    with terminal(asking, "register", "--once") as child:
        child.expect("sip.test")
        wait_for_echo(child, False)
        child.sendline("wrong")
        child.expect("refused")
        wait_for_echo(child, False)
        child.sendline("secret123")
        child.expect("registered")
        assert status(child) == 0


def test_T12_the_prompt_names_the_server_that_tls_verified(cli: Cli, tmp_path: Path, certs: Path) -> None:
    """As the configuration calls it and its certificate says, before the realm, which the server may choose.

    Fails without ``verified`` in ``Flight._make_request``.
    """
    server = Kamailio(tmp_path / "kamailio", certs=certs)
    try:
        cli.configure(account(server.address("tls"), transport="tls", credentials='"prompt"'))
        with terminal(cli, "register", "--once", "--ca", str(certs / "ca.pem")) as child:
            child.expect_exact('Password for alice@sip.test, account work, server 127.0.0.1 (TLS), realm "sip.test": ')
            wait_for_echo(child, False)
            child.sendline("secret123")
            child.expect("registered")
            assert status(child) == 0
    finally:
        server.stop()


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_control_c_and_control_d_abandon_with_four(asking: Cli, key: str) -> None:
    with terminal(asking, "register", "--once") as child:
        child.expect("[Pp]assword")
        wait_for_echo(child, False)
        child.send(key)
        child.expect(pexpect.EOF)
        assert echoes(child)
        child.close()
        assert child.exitstatus == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_T25_a_signal_at_the_prompt_restores_the_terminal(asking: Cli, number: signal.Signals) -> None:
    with terminal(asking, "register", "--once") as child:
        child.expect("[Pp]assword")
        wait_for_echo(child, False)
        began = time.monotonic()
        os.kill(child.pid, number)
        child.expect(pexpect.EOF)
        assert time.monotonic() - began < LEAVES_WITHIN
        assert echoes(child)


def test_T25_keys_typed_before_the_prompt_are_not_the_password(asking: Cli, kamailio: Kamailio) -> None:
    before = len(kamailio.verdicts())
    with terminal(asking, "register", "--once") as child:
        child.send("typed-ahead\r")
        child.expect("[Pp]assword")
        wait_for_echo(child, False)
        child.sendline("secret123")
        child.expect("registered")
        assert status(child) == 0
    answers = [line for line in kamailio.verdicts()[before:] if "REGISTER user=alice" in line]
    assert all(line.endswith("verdict=1") for line in answers)


def test_T14_the_secret_is_in_no_argv_and_no_environment_while_it_is_used(asking: Cli) -> None:
    with terminal(asking, "register") as child:
        child.expect("[Pp]assword")
        wait_for_echo(child, False)
        child.sendline("secret123")
        child.expect("registered")
        for name in ("cmdline", "environ"):
            with open(f"/proc/{child.pid}/{name}", "rb") as file:
                assert b"secret123" not in file.read()
        child.sendintr()
        assert status(child) == 130
