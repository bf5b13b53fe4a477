"""The prompt on a real pseudo-terminal: echo off while it asks, echo on again whatever ends it (threat T25)."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.support.cli import LEAVES_WITHIN

REPOSITORY = Path(__file__).parents[2]
SECRET = "correct horse"
GOT = f"got {len(SECRET)} {hashlib.sha256(SECRET.encode()).hexdigest()[:16]}"

Spawn = Any


@pytest.fixture
def spawn() -> Iterator[Any]:
    children: list[pexpect.spawn[str]] = []

    def start(*arguments: str, command: list[str] | None = None) -> pexpect.spawn[str]:
        argv = command or [sys.executable, "-m", "tests.support.asker", *arguments]
        child = pexpect.spawn(argv[0], argv[1:], cwd=str(REPOSITORY), encoding="utf-8", timeout=40)
        child.delaybeforesend = None
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


def until_echo(child: pexpect.spawn[str], wanted: bool, within: float = 15.0) -> None:
    deadline = time.monotonic() + within
    while child.getecho() is not wanted:
        assert time.monotonic() < deadline, f"echo is still {not wanted} after {within} s"
        time.sleep(0.01)


def ask(spawn: Spawn, *arguments: str) -> pexpect.spawn[str]:
    """An asker whose prompt stands open."""
    child: pexpect.spawn[str] = spawn(*arguments)
    assert child.getecho()
    child.expect_exact("Secret: ")
    until_echo(child, False)
    return child


def ended(child: pexpect.spawn[str]) -> tuple[int | None, int | None, str]:
    """Exit status, signal, and everything that was printed until then."""
    child.expect(pexpect.EOF)
    rest = child.before or ""
    child.wait()
    return child.exitstatus, child.signalstatus, rest


def test_a_line_is_the_secret_and_is_never_shown(spawn: Spawn) -> None:
    child = ask(spawn)
    child.sendline(SECRET)
    status, _, said = ended(child)
    assert status == 0
    assert GOT in said
    assert SECRET not in said
    assert child.getecho()


def test_T25_what_was_typed_before_the_prompt_is_not_the_secret(spawn: Spawn) -> None:
    child = spawn("--delay", "0.5")
    child.expect_exact("begun")
    child.send("typed ahead\nand more")
    child.expect_exact("Secret: ")
    until_echo(child, False)
    child.sendline(SECRET)
    status, _, said = ended(child)
    assert (status, GOT in said) == (0, True), said


@pytest.mark.parametrize("key", ["c", "d"])
def test_control_c_and_control_d_abandon(spawn: Spawn, key: str) -> None:
    child = ask(spawn)
    child.sendcontrol(key)
    status, _, said = ended(child)
    assert status == 4, said
    assert child.getecho()
    assert "Traceback" not in said


def test_a_prompt_that_shows_what_is_typed_leaves_its_line_too(spawn: Spawn) -> None:
    child = spawn("--shown")
    child.expect_exact("Secret: ")
    child.send("\x04")
    assert ended(child)[2].startswith("\r\n")


def test_control_d_in_the_middle_of_a_line_sends_nothing_yet(spawn: Spawn) -> None:
    child = ask(spawn)
    child.send(SECRET[:5])
    child.sendcontrol("d")
    child.sendline(SECRET[5:])
    status, _, said = ended(child)
    assert (status, GOT in said) == (0, True), said


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 4)], ids=lambda x: str(x)
)
def test_T25_signals_end_it_with_echo_on(spawn: Spawn, number: signal.Signals, status: int) -> None:
    child = ask(spawn)
    child.send("half a secr")
    began = time.monotonic()
    os.kill(child.pid, number)
    until_echo(child, True)
    code, _, said = ended(child)
    assert code == status
    assert time.monotonic() - began < LEAVES_WITHIN
    assert "Traceback" not in said


def test_T25_sigquit_ends_as_a_signal_does_with_echo_on_and_without_a_core(spawn: Spawn) -> None:
    child = ask(spawn)
    os.kill(child.pid, signal.SIGQUIT)
    until_echo(child, True)
    _, number, _ = ended(child)
    assert number == signal.SIGQUIT
    assert not list(REPOSITORY.glob("core*"))


def test_a_prompt_that_nobody_answers_ends_in_time(spawn: Spawn) -> None:
    child = ask(spawn, "--timeout", "0.3")
    status, _, said = ended(child)
    assert status == 8, said
    assert "nobody answered the prompt in time" in said
    assert child.getecho()


def test_T25_a_cancelled_prompt_ends_at_once_and_swallows_what_was_typed(spawn: Spawn) -> None:
    child = ask(spawn, "--cancel-after", "0.2")
    child.send("half a secr")
    status, _, said = ended(child)
    assert status == 4
    assert "half" not in said
    assert child.getecho()


def test_news_do_not_land_in_the_prompt_which_is_asked_again_below(spawn: Spawn) -> None:
    child = ask(spawn, "--news-after", "0.2")
    child.expect_exact("\r\nnews\r\nSecret: ")
    child.sendline(SECRET)
    status, _, said = ended(child)
    assert (status, GOT in said) == (0, True), said


def test_T25_a_terminal_that_hangs_up(spawn: Spawn) -> None:
    child = ask(spawn)
    child.ptyproc.fileobj.close()
    deadline = time.monotonic() + 15
    while child.isalive():
        assert time.monotonic() < deadline, "it outlived its terminal"
        time.sleep(0.02)
    assert child.exitstatus in (4, 129)


def test_hot_keys_give_way_to_a_prompt_and_come_back(spawn: Spawn) -> None:
    child = spawn("--keys")
    child.expect_exact("begun")
    until_echo(child, False)  # keys are read one by one, and not shown
    child.send("h")
    child.expect_exact("key h")
    child.expect_exact("Secret: ")
    child.sendline(SECRET)
    child.expect_exact(GOT)
    assert "key" not in (child.before or "")
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:  # the reader of keys comes back, and then hears us
        child.send("5")
        if child.expect_exact(["key 5", pexpect.TIMEOUT], timeout=0.2) == 0:
            break
    else:
        raise AssertionError("the keys did not come back")
    child.sendcontrol("c")
    assert ended(child)[0] == 130
    assert child.getecho()


class TestJobControl:
    @pytest.fixture
    def shell(self, spawn: Spawn) -> pexpect.spawn[str]:
        child: pexpect.spawn[str] = spawn(command=["/bin/bash", "--norc", "--noprofile", "--noediting", "-i"])
        child.sendline("PS1='READY''> '; bind 'set enable-bracketed-paste off' 2>/dev/null; stty echo")
        child.expect_exact("READY> ")
        return child

    def run(self, shell: pexpect.spawn[str], line: str) -> None:
        shell.sendline(line)
        shell.expect_exact(line)

    def test_T25_stopped_the_shell_has_its_echo_and_continued_it_asks_again(self, shell: pexpect.spawn[str]) -> None:
        self.run(shell, f"{sys.executable} -m tests.support.asker")
        shell.expect_exact("Secret: ")
        until_echo(shell, False)
        shell.send("wrong st")
        shell.sendcontrol("z")
        shell.expect_exact("READY> ")
        until_echo(shell, True)
        self.run(shell, "fg")
        shell.expect_exact("Secret: ")
        until_echo(shell, False)
        shell.sendline(SECRET)
        shell.expect_exact(GOT)
        shell.expect_exact("READY> ")
        assert shell.getecho()

    def test_T25_by_way_of_the_background_it_asks_again_without_echo(self, shell: pexpect.spawn[str]) -> None:
        """Fails without ``_look_again`` in ``Signals``: ``fg`` tells who runs nothing, and the echo stays on."""
        self.run(shell, f"{sys.executable} -m tests.support.asker")
        shell.expect_exact("Secret: ")
        until_echo(shell, False)
        shell.sendcontrol("z")
        shell.expect_exact("READY> ")
        self.run(shell, "bg")
        shell.expect_exact("READY> ")
        until_echo(shell, True)
        self.run(shell, "fg")
        shell.expect_exact("Secret: ")
        until_echo(shell, False)
        shell.sendline(SECRET)
        shell.expect_exact(GOT)
        assert SECRET not in (shell.before or "")
        shell.expect_exact("READY> ")
        assert shell.getecho()

    @pytest.mark.parametrize("times", [1, 3])
    def test_T25_hot_keys_come_back_by_way_of_the_background(self, shell: pexpect.spawn[str], times: int) -> None:
        self.run(shell, f"{sys.executable} -m tests.support.asker --keys")
        shell.expect_exact("begun")
        until_echo(shell, False)
        for _ in range(times):
            shell.sendcontrol("z")
            shell.expect_exact("READY> ")
            self.run(shell, "bg")
            shell.expect_exact("READY> ")
            self.run(shell, "fg")
            until_echo(shell, False)
        shell.send("x")
        shell.expect_exact("key x")
        shell.expect_exact("Secret: ")

    def test_T26_in_the_background_nobody_is_asked_and_nothing_is_stopped(self, shell: pexpect.spawn[str]) -> None:
        self.run(shell, f"{sys.executable} -m tests.support.asker & wait $!; echo status $?")
        shell.expect_exact("not in the foreground")
        shell.expect_exact("status 4")
        assert shell.getecho()


def test_T26_without_a_terminal_nobody_is_asked() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.asker"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 4
    assert "there is no terminal to ask on" in done.stderr
