"""A person at the terminal: prompted at the challenge, hanging up with a key, answering a call."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pexpect
import pytest

from tests.support.cli import LEAVES_WITHIN, Cli
from tests.support.pty import ended, terminal, until_echo

PROMPT = r"Password for alice@127\.0\.0\.1:\d+, realm \"sandbox\": "


@pytest.fixture
def address(sandbox: str) -> str:
    return f"sip:alice@{sandbox}"


class TestThePrompt:
    def test_comes_at_the_challenge_and_what_is_typed_registers(self, cli: Cli, address: str) -> None:
        with terminal(cli, "register", address, "--once") as child:
            child.expect(PROMPT)
            until_echo(child, False)
            child.sendline("wonderland")
            status, said = ended(child)
            assert status == 0
            assert "registered sip:alice@" in said
            assert "wonderland" not in said
            assert child.getecho()

    def test_refused_is_said_the_second_time_and_the_right_one_helps(self, cli: Cli, address: str) -> None:
        with terminal(cli, "register", address, "--once", "--json") as child:
            child.expect(PROMPT)
            until_echo(child, False)
            child.sendline("wrong")
            child.expect("The server refused that password")
            child.expect(PROMPT)
            until_echo(child, False)
            child.sendline("wonderland")
            status, said = ended(child)
            assert status == 0
            assert '"ok":true' in said

    def test_T03_three_wrong_ones_are_enough(self, cli: Cli, address: str) -> None:
        with terminal(cli, "register", address, "--once") as child:
            for number in range(3):
                child.expect(PROMPT)
                until_echo(child, False)
                child.sendline(f"wrong {number}")
            status, said = ended(child)
            assert status == 3
            assert "Password" not in said

    def test_the_same_wrong_one_is_not_sent_twice(self, cli: Cli, address: str, tmp_path: Path) -> None:
        trace = tmp_path / "t.jsonl"
        with terminal(cli, "register", address, "--once", "--trace", str(trace)) as child:
            for _ in range(2):
                child.expect(PROMPT)
                until_echo(child, False)
                child.sendline("wrong")
            assert ended(child)[0] == 3
        answers = [
            line
            for line in trace.read_text().splitlines()
            if '"direction":"out"' in line and "\\nAuthorization" in line
        ]
        assert len(answers) == 1

    @pytest.mark.parametrize("key", ["c", "d"])
    def test_abandoned(self, cli: Cli, address: str, key: str) -> None:
        with terminal(cli, "register", address) as child:
            child.expect(PROMPT)
            until_echo(child, False)
            child.sendcontrol(key)
            status, said = ended(child)
            assert status == 4
            assert child.getecho()
            assert "Traceback" not in said

    def test_a_second_control_c_leaves_a_verb_that_goes_on(self, cli: Cli, address: str, sandbox: str) -> None:
        """The first abandons one account's challenge, the second within two seconds means leaving."""
        cli.configure(f'[accounts.a]\naor = "{address}"\n[accounts.b]\naor = "sip:bob@{sandbox}"\n')
        with terminal(cli, "register", "--all") as child:
            child.expect("Password for ")
            until_echo(child, False)
            child.sendcontrol("c")
            child.expect("Password for ")
            until_echo(child, False)
            child.sendcontrol("c")
            assert ended(child)[0] in (4, 130)
            assert child.getecho()

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_T25_signals_restore_the_terminal_and_leave(
        self, cli: Cli, address: str, number: signal.Signals, status: int
    ) -> None:
        with terminal(cli, "register", address) as child:
            child.expect(PROMPT)
            until_echo(child, False)
            began = time.monotonic()
            os.kill(child.pid, number)
            until_echo(child, True)
            assert ended(child)[0] == status
            assert time.monotonic() - began < LEAVES_WITHIN

    def test_T26_no_input_never_asks(self, cli: Cli, address: str) -> None:
        with terminal(cli, "register", address, "--once", "--no-input") as child:
            status, said = ended(child)
            assert status == 4
            assert "Password" not in said

    def test_T12_a_hostile_realm_moves_no_cursor(self, cli: Cli) -> None:
        sandbox = cli.start("sandbox", "--json", "--realm", "\u202eevil\x9b31m\u2028")
        try:
            at = sandbox.wait_for("ready")["listen"][0]
            with terminal(cli, "register", f"sip:alice@127.0.0.1:{at['port']}", "--once") as child:
                child.expect("Password for .*: ")
                said = child.after
                until_echo(child, False)
                child.sendcontrol("d")
                said += ended(child)[1]
            assert "\\u202eevil\\x9b31m\\u2028" in said
            assert not {"\x1b", "\x9b", "\u202e", "\u2028"} & set(said)
        finally:
            sandbox.kill()

    def test_T25_keys_typed_before_it_are_not_the_password(self, cli: Cli) -> None:
        sandbox = cli.start("sandbox", "--json", "--delay", "0.7")
        try:
            at = sandbox.wait_for("ready")["listen"][0]
            with terminal(cli, "register", f"sip:alice@127.0.0.1:{at['port']}", "--once") as child:
                time.sleep(0.3)
                child.send("typed ahead\r")
                child.expect("Password for ")
                until_echo(child, False)
                child.sendline("wonderland")
                status, said = ended(child)
                assert status == 0, said
        finally:
            sandbox.kill()

    def test_saved_once_accepted(self, tmp_path: Path, address: str) -> None:
        from tests.cli.test_cli_stores import RING, entries

        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "ringtest.py").write_text(RING)
        cli = Cli(tmp_path / "home", env={"PYTHONPATH": str(tmp_path / "site")})
        cli.configure(
            f'[accounts.work]\naor = "{address}"\ncredentials = ["keychain", "prompt"]\n'
            '[providers.keychain]\ntype = "keychain"\nbackend = "ringtest.Ring"\n'
        )
        with terminal(cli, "register", "--once", "--save") as child:
            child.expect("Password for ")
            until_echo(child, False)
            child.sendline("wonderland")
            assert ended(child)[0] == 0
        assert list(entries(cli).values()) == ["wonderland"]
        assert cli.run("register", "--once", "--no-input").code == 0


class TestKeys:
    def test_h_hangs_up_and_digits_are_sent(self, alice: Cli) -> None:
        with terminal(alice, "call", "ivr", "--no-register", "-v") as child:
            child.expect("in call with")
            until_echo(child, False)
            child.send("7")
            child.expect("sent DTMF 7")
            child.send("x")  # no such key
            child.send("h")
            status, said = ended(child)
            assert status == 0
            assert "talked to sip:ivr@" in said
            assert child.getecho()

    def test_control_c_in_a_call_hangs_up_and_is_130(self, alice: Cli) -> None:
        with terminal(alice, "call", "echo", "--no-register") as child:
            child.expect("in call with")
            until_echo(child, False)
            child.sendcontrol("c")
            assert ended(child)[0] == 130
            assert child.getecho()

    @pytest.mark.parametrize(("key", "status"), [("a", 0), ("r", 6), ("R", 6)])
    def test_a_call_is_answered_or_refused_by_a_key(
        self, alice: Cli, cli: Cli, sandbox: str, key: str, status: int
    ) -> None:
        bobs = cli.secret("bobs", "builder")
        with terminal(
            cli, "listen", "--from", f"sip:bob@{sandbox}", "--password-file", str(bobs), "--max-calls", "1"
        ) as child:
            child.expect("registered")
            calling = alice.start("call", "bob", "--json", "--no-register", "--duration", "0.5")
            try:
                child.expect_exact("[a]nswer")
                until_echo(child, False)
                child.send(key)
                done = calling.finish()
            finally:
                calling.kill()
            assert done.code == status, done.stderr
            assert ended(child)[0] == 0
            assert child.getecho()

    def test_a_caller_who_gives_up_ends_the_question(self, alice: Cli, cli: Cli, sandbox: str) -> None:
        bobs = cli.secret("bobs", "builder")
        with terminal(
            cli, "listen", "--from", f"sip:bob@{sandbox}", "--password-file", str(bobs), "--max-calls", "1"
        ) as child:
            child.expect("registered")
            done = alice.run("call", "bob", "--no-register", "--timeout", "0.7")
            assert done.code == 5
            status, said = ended(child)
            assert status == 0
            assert "1 call, 0 answered" in said
            assert child.getecho()


def test_job_control_goes_through_a_pending_prompt(cli: Cli, address: str) -> None:
    shell = pexpect.spawn(
        "/bin/bash",
        ["--norc", "--noprofile", "--noediting", "-i"],
        env=cli.env,
        cwd=str(cli.home),
        encoding="utf-8",
        timeout=15,
    )
    shell.delaybeforesend = None
    try:
        shell.sendline("PS1='READY''> '; stty echo")
        shell.expect_exact("READY> ")
        shell.sendline(" ".join(cli.argv("register", address, "--once")))
        shell.expect("Password for ")
        until_echo(shell, False)
        shell.sendcontrol("z")
        shell.expect_exact("READY> ")
        until_echo(shell, True)
        shell.sendline("fg")
        shell.expect("Password for ")
        until_echo(shell, False)
        shell.sendline("wonderland")
        shell.expect("registered sip:alice@")
        shell.expect_exact("READY> ")
    finally:
        shell.close(force=True)
