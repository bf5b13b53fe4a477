"""`register` without a terminal, and `auth answer` from another one: the real command line against the sandbox."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipcli.cli import controlclient
from sipcli.credentials import Secret
from sipcli.errors import ConfigError, NetworkError
from tests.support.cli import LEAVES_WITHIN, Cli, Running
from tests.support.pty import ended, terminal, until_echo

CANARY = "canary-5e1f"


@pytest.fixture
def address(sandbox: str) -> str:
    return f"sip:alice@{sandbox}"


@pytest.fixture
def waiting(desk: Cli, address: str) -> Iterator[Running]:
    running = desk.start("register", address, "--json")
    try:
        running.wait_for("registration", state="waiting", reason="a person is awaited")
        yield running
    finally:
        running.leave()


def control_of(desk: Cli, running: Running) -> Path:
    return Path(desk.env["XDG_RUNTIME_DIR"]) / "sipcli" / f"{running.process.pid}.sock"


def test_the_answer_from_a_file_registers_it(desk: Cli, waiting: Running) -> None:
    needed = next(event for event in waiting.events if event["event"] == "auth.needed")
    assert (needed["provider"], needed["expires_in_s"], needed["realm"]) == ("prompt", None, "sandbox")
    wrong = desk.run("auth", "answer", "--json", "--password-file", "-", stdin=f"{CANARY}\n")
    assert wrong.code == 3
    assert wrong.result["outcome"] == "refused"
    waiting.wait_for("registration", state="waiting", reason="a person is awaited")
    right = desk.run("auth", "answer", needed["account"], "--password-file", "-", stdin="wonderland\n")
    assert (right.code, right.stdout.startswith("registered sip:alice@")) == (0, True), right
    waiting.wait_for("registration", state="registered")
    ready = waiting.wait_for("ready") if not any(e["event"] == "ready" for e in waiting.events) else waiting.events[-1]
    assert ready["control"] == str(control_of(desk, waiting))
    again = desk.run("auth", "answer", "--password-file", "-", stdin="x\n")
    assert (again.code, "no sipcli of yours waits" in again.stderr) == (1, True)
    told = json.dumps(waiting.events) + waiting.stderr + wrong.stdout + wrong.stderr + right.stdout + right.stderr
    assert CANARY not in told and "wonderland" not in told


def test_the_answer_from_a_terminal_is_not_echoed(desk: Cli, waiting: Running) -> None:
    with terminal(desk, "auth", "answer") as child:
        child.expect_exact("Password for alice@")
        child.expect_exact('realm "sandbox": ')
        until_echo(child, False)
        child.sendline("wonderland")
        status, said = ended(child)
    assert status == 0
    assert "registered sip:alice@" in said and "wonderland" not in said
    waiting.wait_for("registration", state="registered")


def test_T26_nobody_at_the_terminal_and_no_file_is_four(desk: Cli, waiting: Running) -> None:
    """Fails when ``_typed`` lets NotFound wait for somebody."""
    done = desk.run("auth", "answer")
    assert done.code == 4
    assert "--password-file" in done.stderr


def test_status_tells_who_waits(desk: Cli, waiting: Running) -> None:
    told = desk.run("status", "--json")
    (status,) = told.named("status")
    assert (status["verb"], status["pid"]) == ("register", waiting.process.pid)
    assert status["accounts"][0]["state"] == "waiting"
    assert status["waiting"][0]["realm"] == "sandbox"
    words = desk.run("status").stdout
    assert "waiting for the password of realm “sandbox”; sipcli auth answer" in words


def test_sigusr1_prints_the_status(waiting: Running) -> None:
    waiting.signal(signal.SIGUSR1)
    assert waiting.wait_for("status")["waiting"][0]["provider"] == "prompt"


def test_sigterm_while_it_waits_leaves_at_once_and_nothing_behind(desk: Cli, waiting: Running) -> None:
    path = control_of(desk, waiting)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    began = time.monotonic()
    waiting.signal(signal.SIGTERM)
    assert waiting.finish().code == 143
    assert time.monotonic() - began < LEAVES_WITHIN
    assert not path.exists()


def test_two_that_wait_are_told_apart_by_their_sockets(desk: Cli, waiting: Running, address: str) -> None:
    other = desk.start("register", address, "--json")
    try:
        other.wait_for("registration", state="waiting", reason="a person is awaited")
        done = desk.run("auth", "answer", "--password-file", "-", stdin="wonderland\n")
        assert done.code == 2
        assert str(control_of(desk, waiting)) in done.stderr and str(control_of(desk, other)) in done.stderr
        path = str(control_of(desk, other))
        done = desk.run("auth", "answer", "--control", path, "--password-file", "-", stdin="wonderland\n")
        assert done.code == 0, done
        other.wait_for("registration", state="registered")
    finally:
        other.leave()


def test_a_socket_may_be_named_and_is_refused_where_it_cannot_be(cli: Cli, address: str, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    place.mkdir(mode=0o700)
    running = cli.start("register", address, "--json", "--control", str(place / "ops"))
    try:
        running.wait_for("registration", state="waiting", reason="a person is awaited")
        told = cli.run("status", "--control", str(place / "ops"))
        assert (told.code, told.stdout.rstrip().endswith(f" --control {place / 'ops'}")) == (0, True), told
        wrong = cli.run("auth", "answer", "--control", str(place / "ops"), "--password-file", "-", stdin=f"{CANARY}\n")
        assert (wrong.code, wrong.stderr.rstrip().endswith(f" --control {place / 'ops'}")) == (3, True), wrong
    finally:
        running.leave()
    place.chmod(0o777)
    done = cli.run("register", address, "--control", str(place / "ops"))
    assert (done.code, "others can get into" in done.stderr) == (2, True)
    assert cli.run("status", "--control", str(tmp_path / "nothing")).code == 2
    assert cli.run("status").code == 2  # no $XDG_RUNTIME_DIR


@pytest.mark.parametrize("arguments", [("--no-input",), ("--once",)])
def test_T26_who_must_not_wait_is_four_at_once(desk: Cli, address: str, arguments: tuple[str, ...]) -> None:
    """No terminal (setsid), stdin is /dev/null.  Fails when ``controlled`` ignores
    --no-input, or when --once is controlled, too.
    """
    began = time.monotonic()
    done = desk.run("register", address, *arguments)
    assert done.code == 4
    assert time.monotonic() - began < 30, "it waits for two minutes"
    assert not (Path(desk.env["XDG_RUNTIME_DIR"]) / "sipcli").exists() or arguments == ("--no-input",)


def test_T26_without_a_way_in_nobody_is_waited_for(cli: Cli, address: str) -> None:
    """Fails without ``has_door``: a cron job would wait for ever for somebody who cannot come."""
    done = cli.run("register", address)
    assert done.code == 4


def test_T34_a_planted_directory_is_told_and_not_used(desk: Cli, address: str, tmp_path: Path) -> None:
    """Fails when ``_listen`` goes on in a directory that others can enter."""
    (tmp_path / "run" / "sipcli").mkdir()
    (tmp_path / "run" / "sipcli").chmod(0o777)
    done = desk.run("register", address)
    assert done.code == 4
    assert "there is no control socket: others can get into" in done.stderr
    assert list((tmp_path / "run" / "sipcli").iterdir()) == []
    assert desk.run("status").code == 2


def test_T34_the_client_sends_nothing_to_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when ``ask`` sends before ``_check_peer``, or without it."""
    tmp_path.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "s"))
        listener.listen()
        monkeypatch.setattr(controlclient, "peer_of", lambda connection: os.geteuid() + 1)
        running = controlclient.RunningSipcli(tmp_path / "s")
        with pytest.raises(ConfigError, match="nothing was sent"):
            running.ask("auth.answer", {"account": "ops"}, secret=Secret(CANARY))
        connection, _ = listener.accept()
        assert connection.recv(100) == b""
        connection.close()


def test_T34_an_answer_that_is_nested_without_end_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails without RecursionError in ``_understood``: a traceback."""
    tmp_path.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "s"))
        listener.listen()
        monkeypatch.setattr(controlclient, "_read_line", lambda connection: b"[" * 200_000)
        with pytest.raises(NetworkError, match="left without an answer"):
            controlclient.RunningSipcli(tmp_path / "s").ask("status")


def test_T34_the_client_follows_no_link(desk: Cli, waiting: Running, tmp_path: Path) -> None:
    """Fails when ``check_socket`` looks through links."""
    (tmp_path / "run" / "sipcli" / "77.sock").symlink_to(control_of(desk, waiting))
    done = desk.run("status", "--control", str(tmp_path / "run" / "sipcli" / "77.sock"))
    assert (done.code, "is not a socket" in done.stderr) == (2, True)
