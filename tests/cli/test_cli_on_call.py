"""`sipcli listen` with nobody at hand: --answer-after lets it ring first, --on-call asks a program of the user's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli, Running


class Hall:
    """A listener and its callers, each a process of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.desk = Cli(place / "desk")
        self.port = 0
        self.running: list[Running] = []

    def listen(self, *arguments: str) -> Running:
        running = self.desk.start("listen", "--json", "--no-register", "--port", "0", *arguments)
        self.running.append(running)
        [at] = [at for at in running.wait_for("ready")["listen"] if at["transport"] == "udp"]
        self.port = at["port"]
        return running

    def call(self, name: str = "bob", *arguments: str) -> Running:
        machine = Cli(self.place / f"caller-{len(self.running)}")
        who = ("--from", f"sip:{name}@there.invalid", "--no-register")
        target = f"sip:alice@127.0.0.1:{self.port}"
        self.running.append(machine.start("call", target, "--json", *who, "--audio", "tone:440", *arguments))
        return self.running[-1]

    def program(self, text: str, *, mode: int = 0o755) -> Path:
        path = self.place / "who may call"
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(mode)
        return path


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    hall = Hall(tmp_path)
    yield hall
    for running in hall.running:
        running.leave()


def test_it_rings_first_and_answers_by_itself(hall: Hall) -> None:
    hall.listen("--answer", "auto", "--answer-after", "0.5")
    calling = hall.call()
    calling.wait_for("call", state="ringing")
    rang = time.monotonic()
    calling.wait_for("call", state="answered")
    assert time.monotonic() - rang > 0.3


@pytest.mark.parametrize(
    ("script", "code"), [("exit 6", 486), ("exit 1", 603), ("kill -9 $$", 603), ("exec 0<&-; exit 7", 603)]
)
def test_a_program_refuses_by_its_exit_status(hall: Hall, script: str, code: int) -> None:
    hall.listen("--on-call", f"'{hall.program(script)}'")
    assert hall.call().finish().result["code"] == code


def test_a_program_answers_by_what_it_was_told(hall: Hall) -> None:
    told = hall.place / "told.json"
    program = hall.program(f'cat > "$1"; env > {hall.place}/env; pwd > {hall.place}/pwd; grep -q bob "$1"\n')
    hall.desk.env |= {"SIPCLI_CANARY": "nobody hands this on"}
    listener = hall.listen("--on-call", f"'{program}' {told}", "--max-calls", "2")
    calling = hall.call("bob", "--duration", "0.2")
    calling.wait_for("call", state="answered")
    calling.finish()
    refused = hall.call("eve").finish().result
    assert refused["code"] == 603
    facts = json.loads(told.read_text())
    assert (facts["v"], facts["state"], facts["remote"], facts["others"]) == (1, "ringing", "sip:eve@there.invalid", [])
    assert facts.keys() == {"v", "call", "state", "account", "local", "remote", "remote_name", "sip_call_id", "others"}
    assert "SIPCLI_CANARY" not in (hall.place / "env").read_text()
    assert (hall.place / "pwd").read_text() == "/\n"
    assert listener.finish().result["message"] == "2 calls, 1 answered"


def test_a_caller_who_gives_up_ends_the_program_and_its_children(hall: Hall) -> None:
    pids = hall.place / "pids"
    hall.listen("--on-call", f"'{hall.program(f'sleep 60 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait')}'")
    hall.call("bob", "--ring-timeout", "1").finish()
    assert until(lambda: pids.exists() and all(gone(int(pid)) for pid in pids.read_text().split()))


def test_a_program_that_never_says_costs_the_call_only(hall: Hall) -> None:
    hall.listen("--on-call", f"'{hall.program('exec sleep 60')}'", "--ring-timeout", "1")
    assert hall.call().finish().result["code"] == 480
    assert hall.call().finish().result["code"] == 480


def test_whoever_is_not_allowed_does_not_reach_the_program(hall: Hall) -> None:
    ran = hall.place / "ran"
    hall.listen("--on-call", f"'{hall.program(f'touch {ran}')}'", "--allow", "*@example.com")
    assert hall.call().finish().result["code"] == 403
    assert not ran.exists()


def test_a_program_that_went_away_is_told(hall: Hall) -> None:
    program = hall.program("exit 0")
    listener = hall.listen("--on-call", f"'{program}'")
    program.unlink()
    assert hall.call().finish().result["code"] == 603
    assert "cannot be run" in listener.wait_for("warning", code="on_call")["message"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("true", "wants the whole path"),
        ("./true", "wants the whole path"),
        ("'/bin/true", "is no command"),
        ("", "is no command"),
        ("/nowhere/at/all", "no program that may be run"),
        ("/etc/passwd", "chmod u+x /etc/passwd"),
    ],
)
def test_what_is_no_program_is_said_before_anybody_calls(hall: Hall, line: str, said: str) -> None:
    done = hall.desk.run("listen", "--no-register", "--on-call", line)
    assert (done.code, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--on-call", "/bin/true", "--answer", "auto"), "leave one of them out"),
        (("--answer-after", "40"), "rings for 30 s"),
    ],
)
def test_two_who_decide_are_one_too_many(hall: Hall, words: tuple[str, ...], said: str) -> None:
    done = hall.desk.run("listen", "--no-register", *words)
    assert (done.code, said in done.stderr) == (2, True), done.stderr


def until(held: Callable[[], bool], seconds: float = 30) -> bool:
    """Other processes end without telling us: look until it is so."""
    end = time.monotonic() + seconds
    while not (now := held()) and time.monotonic() < end:
        time.sleep(0.02)
    return now


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
