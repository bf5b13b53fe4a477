"""Every verb on a terminal, and those verbs that no list of one-shot verbs can hold: `sandbox`, `demo`, `auth save`."""

from __future__ import annotations

import os
import signal
import subprocess

import pexpect
import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support.cli import Cli
from tests.support.pty import ended, terminal
from tests.support.servers.kamailio import Kamailio

VERBS = [
    ("register", "--once"),
    ("call", "sip:code-486@sip.test", "--no-register"),
    ("listen", "--timeout", "1"),
    ("message", "sip:nobody@sip.test", "hello"),
    ("options", "sip:sip.test", "--account", "work"),
    ("auth", "save", "work", "--password-file", "secret"),
    ("auth", "forget", "work"),
    ("auth", "test", "work"),
    ("providers", "list"),
    ("providers", "test", "secret"),
    ("accounts", "list"),
    ("accounts", "show", "work"),
    ("config", "check"),
    ("config", "show"),
    ("config", "path"),
    ("config", "init"),
    ("devices",),
    ("doctor",),
    ("demo",),
    ("completion", "bash"),
]
EXPECTED = {"call": {6}, "listen": {5}, "message": {11}, "auth save": {8}, "auth forget": {0, 8}, "config init": {2}}
"""No keychain here, an existing configuration, nobody who calls; all other verbs succeed."""


def name_of(verb: tuple[str, ...]) -> str:
    return " ".join(verb[:2]) if verb[0] in ("auth", "providers", "accounts", "config") else verb[0]


def expected(verb: tuple[str, ...]) -> set[int]:
    return EXPECTED.get(name_of(verb), {0})


@pytest.fixture
def ready(cli: Cli, kamailio: Kamailio) -> Cli:
    path = cli.secret("secret", "secret123")
    cli.configure(account(kamailio.address()) + FILE_PROVIDER.format(path=path))
    return cli


@pytest.mark.real("kamailio")
@pytest.mark.xdist_group("terminals")
@pytest.mark.parametrize("verb", VERBS, ids=name_of)
class TestEveryVerb:
    def test_on_a_terminal(self, ready: Cli, verb: tuple[str, ...]) -> None:
        """Typed-ahead keys disturb nothing, and the terminal is left as it was."""
        with terminal(ready, *verb) as child:
            child.send("q\n")
            status, said = ended(child)
            assert status in expected(verb), said
            assert "Traceback" not in said

    @pytest.mark.parametrize("stdin", ["null", "closed", "pipe"])
    def test_with_no_terminal(self, ready: Cli, verb: tuple[str, ...], stdin: str) -> None:
        argv = ready.argv(*verb)
        if stdin == "closed":
            argv = ["sh", "-c", 'exec "$@" <&-', "sh", *argv]
        done = subprocess.run(
            argv, env=ready.env, cwd=ready.home, input="not a password\n" if stdin == "pipe" else None,
            stdin=None if stdin == "pipe" else subprocess.DEVNULL, capture_output=True, text=True, timeout=40,
            check=False, start_new_session=True,
        )  # fmt: skip
        assert done.returncode in expected(verb), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_the_demo_with_closed_streams(cli: Cli, closed: str) -> None:
    """Descriptor 0 is then the first socket: nobody may take it for a terminal or for stdin."""
    argv = ["sh", "-c", f'exec "$@" {closed}', "sh", *cli.argv("demo")]
    done = subprocess.run(
        argv, env=cli.env, cwd=cli.home, capture_output=True, text=True, timeout=40, check=False, start_new_session=True
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stdin", ["null", "pty"])
def test_the_sandbox_serves_until_it_is_told_to_leave(cli: Cli, stdin: str) -> None:
    if stdin == "pty":
        with terminal(cli, "sandbox") as child:
            child.expect("alice")
            child.sendintr()
            status, said = ended(child)
        assert status == 130, said
        assert "Traceback" not in said
        return
    running = cli.start("sandbox", "--json")
    try:
        [udp] = [at for at in running.wait_for("ready")["listen"] if at["transport"] == "udp"]
        secret = cli.secret("wonder", "wonderland")
        address = f"sip:alice@{udp['host']}:{udp['port']}"
        assert cli.run("register", address, "--once", "--password-file", str(secret)).code == 0
        running.signal(signal.SIGTERM)
        done = running.finish()
    finally:
        running.kill()
    assert done.code == 143
    assert done.result["verb"] == "sandbox"


def test_a_reader_who_leaves_the_sandbox_ends_it(cli: Cli) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            cli.argv("sandbox", "--json"), env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL, stdout=write,
            stderr=subprocess.PIPE, text=True, timeout=20, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.real("kamailio")
@pytest.mark.xdist_group("terminals")
def test_auth_save_asks_twice_without_echo(cli: Cli, kamailio: Kamailio) -> None:
    """On a machine without a keychain it says so at the end; what was typed is shown nowhere."""
    cli.configure(account(kamailio.address(), credentials='"keychain"'))
    with terminal(cli, "auth", "save", "work") as child:
        seen = ""
        for _ in range(2):
            found = child.expect(["assword.*: ", pexpect.EOF])
            seen += (child.before or "") + (child.after if isinstance(child.after, str) else "")
            if found == 1:
                break
            child.send("hunter2-canary\n")
        child.expect(pexpect.EOF)
        seen += child.before or ""
        child.wait()
    assert child.exitstatus == 8, seen
    assert "hunter2-canary" not in seen
