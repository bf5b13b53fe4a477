"""Several calls at one `sipcli listen`: waiting, answered, rejected and switched from another terminal; dnd."""

from __future__ import annotations

import itertools
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Starts
from tests.support.cli import Cli, Running
from tests.support.vandal import Guest


@pytest.fixture
def caller(starts: Starts, tmp_path: Path) -> Callable[[int], Running]:
    """Somebody else, on his own machine, who calls the listener at a port."""

    def call(port: int) -> Running:
        machine = Cli(tmp_path / f"caller-{len(list(tmp_path.iterdir()))}")
        who = ("--from", "sip:bob@there.invalid", "--no-register")
        return starts(machine, "call", f"sip:alice@127.0.0.1:{port}", "--json", *who, "--audio", "tone:440")

    return call


def listening(starts: Starts, desk: Cli, *arguments: str) -> tuple[Running, int]:
    running = starts(desk, "listen", "--json", "--no-register", "--port", "0", *arguments)
    [at] = [at for at in running.wait_for("ready")["listen"] if at["transport"] == "udp"]
    return running, at["port"]


def test_a_second_call_waits_is_answered_and_switched_to(
    desk: Cli, starts: Starts, caller: Callable[[int], Running]
) -> None:
    phone, port = listening(starts, desk)
    first = caller(port)
    ringing = phone.wait_for("call", state="ringing")
    assert desk.run("ctl", "answer", "--json").result["call"] == {
        "call": ringing["call"],
        "state": "answered",
        "muted": False,
    }
    first.wait_for("call", state="answered")
    second = caller(port)
    waiting = phone.wait_for("call.waiting")
    assert waiting["others"] == [ringing["call"]]
    second.wait_for("call", state="ringing")
    assert desk.run("ctl", "answer").code == 0
    first.wait_for("call", state="held")
    second.wait_for("call", state="answered")
    switched = desk.run("ctl", "switch", ringing["call"], "--json")
    assert (switched.code, switched.result["call"]["state"]) == (0, "answered"), switched.stderr
    second.wait_for("call", state="held")
    first.wait_for("call", state="answered")


def test_a_call_is_rejected_from_another_terminal(desk: Cli, starts: Starts, caller: Callable[[int], Running]) -> None:
    _, port = listening(starts, desk)
    calling = caller(port)
    calling.wait_for("call", state="ringing")
    assert desk.run("ctl", "reject").code == 0
    assert calling.finish().result["code"] == 486


def test_do_not_disturb_is_switched_from_another_terminal(
    desk: Cli, starts: Starts, caller: Callable[[int], Running]
) -> None:
    phone, port = listening(starts, desk)
    assert desk.run("ctl", "dnd", "--json").result["dnd"] is False
    assert desk.run("ctl", "dnd", "on").stdout.strip().endswith("nobody is to disturb")
    phone.wait_for("dnd", on=True)
    refused = caller(port).finish().result
    assert (refused["code"], refused["reason"]) == (480, "Do Not Disturb")
    assert desk.run("ctl", "dnd", "off").code == 0
    rung = caller(port)
    rung.wait_for("call", state="ringing")


def test_without_call_waiting_the_second_is_busy(desk: Cli, starts: Starts, caller: Callable[[int], Running]) -> None:
    desk.configure('[accounts.me]\naor = "sip:alice@127.0.0.1"\ncall_waiting = false\n')
    phone, port = listening(starts, desk, "--answer", "auto")
    caller(port)
    phone.wait_for("call", state="answered")
    assert caller(port).finish().result["code"] == 486


def test_early_media_is_heard_while_it_rings(desk: Cli, starts: Starts, caller: Callable[[int], Running]) -> None:
    phone, port = listening(starts, desk, "--early-media", "--audio", "tone:880")
    calling = caller(port)
    calling.wait_for("call", state="early")
    calling.wait_for("media", state="flowing")
    assert desk.run("ctl", "answer").code == 0
    calling.wait_for("call", state="answered")
    assert phone.wait_for("call", state="answered")["code"] == 200


def test_T22_whoever_does_not_answer_our_bye_hears_nothing_after_it(desk: Cli, starts: Starts) -> None:
    """RFC 3261 section 15.1.1.  Fails without ``media.close`` in ``Call.on_leaving``: he listened for 32 s more."""
    _, port = listening(starts, desk, "--answer", "auto", "--audio", "tone:440", "--duration", "1")
    with Guest("127.0.0.2", port) as guest:
        guest.call()
        while not guest.signalling.recv(65536).startswith(b"BYE "):
            pass
        guest.media.settimeout(1)
        with pytest.raises(TimeoutError):  # what was on its way, 50 packets for each second, comes to an end
            for _ in range(100):
                guest.media.recv(2048)


def test_a_caller_who_cannot_be_answered_is_refused_at_once_and_the_next_is_served(
    desk: Cli, starts: Starts, caller: Callable[[int], Running], tmp_path: Path
) -> None:
    """No file may be opened any more, so there is no port for his audio: he rang on until he gave up."""
    phone, port = listening(starts, desk, "--answer", "auto", "--audio", "echo")
    caller(port).wait_for("call", state="answered")  # what a call imports is there from now on
    phone.wait_for("media", state="flowing")
    pid, number = phone.process.pid, resource.RLIMIT_NOFILE
    limits = resource.prlimit(pid, number)
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    lowest = next(fd for fd in itertools.count() if fd not in taken)
    resource.prlimit(pid, number, (lowest + 1, limits[1]))  # one more may be opened; audio takes two
    refused = caller(port).finish()
    assert refused.result["code"] == 480, refused.result
    said = phone.wait_for("warning", code="call_failed")
    assert "no UDP ports for audio" in said["message"] and "too many open files" in said["message"]
    assert "--max-calls" in said["hint"]
    resource.prlimit(pid, number, limits)
    caller(port).wait_for("call", state="answered")
    assert phone.stderr == ""


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("answer",), 2, "no call rings"),
        (("reject", "--call", "call9"), 2, "no call rings"),
        (("switch",), 2, "wants the id of a call"),
        (("switch", "call9"), 2, "has a call “call9”"),
        (("dnd", "perhaps"), 2, "dnd is on or off"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    desk: Cli, starts: Starts, caller: Callable[[int], Running], words: tuple[str, ...], status: int, said: str
) -> None:
    phone, port = listening(starts, desk, "--answer", "auto")
    caller(port)
    phone.wait_for("call", state="answered")
    done = desk.run("ctl", *words)
    assert (done.code, said in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


def test_dnd_where_nobody_listens(desk: Cli) -> None:
    done = desk.run("ctl", "dnd", "on")
    assert (done.code, "no sipcli of yours takes calls" in done.stderr) == (2, True), done.stderr
