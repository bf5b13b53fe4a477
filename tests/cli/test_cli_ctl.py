"""`sipcli ctl`: one sipcli is in a call, another commands it, over the control socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import wavs
from tests.support.cli import Cli, Running


@pytest.fixture
def desk(alice: Cli, desk: Cli) -> Cli:
    """Alice's machine: both are the same one."""
    assert alice is desk
    return desk


@pytest.fixture
def talking(desk: Cli) -> Iterator[Running]:
    running = desk.start("call", "echo", "--json", "--audio", "tone:440", "--codec", "pcmu")
    try:
        running.wait_for("call", state="answered")
        yield running
    finally:
        running.kill()


def test_hold_and_resume_and_hang_up(desk: Cli, talking: Running) -> None:
    held = desk.run("ctl", "hold", "--json")
    assert (held.code, held.result["call"]["state"]) == (0, "held"), held.stderr
    talking.wait_for("call", state="held")
    assert desk.run("ctl", "resume").stdout.strip() == "call1 goes on"
    done = desk.run("ctl", "hangup", "--json")
    assert (done.code, done.result["call"]["state"]) == (0, "ended")
    ended = talking.finish()
    assert (ended.code, ended.named("call")[-1]["by"]) == (0, "local")


def test_mute_is_silence_for_the_far_end(desk: Cli, talking: Running) -> None:
    assert desk.run("ctl", "mute", "--json").result["call"]["muted"] is True
    assert desk.run("ctl", "unmute").stdout == "call1 is no longer muted\n"
    desk.run("ctl", "hangup")
    assert talking.finish().code == 0


def test_digits_go_out(desk: Cli, talking: Running) -> None:
    assert desk.run("ctl", "dtmf", "12#", "--call", "call1").stdout == "12# sent in call1\n"
    for digit in "12#":
        talking.wait_for("dtmf", direction="out", digit=digit)


def test_a_recording_of_both_sides_begins_in_the_middle(desk: Cli, talking: Running, tmp_path: Path) -> None:
    """A relative name is the client's, wherever the running one was started."""
    assert desk.run("ctl", "record", "both.wav").stdout == f"call1 is recorded to {desk.home / 'both.wav'}\n"
    twice = desk.run("ctl", "record", "other.wav")
    assert (twice.code, "stop-recording" in twice.stderr) == (1, True)
    wavs.wait_for_growth(lambda: desk.home / "both.wav", 2.0)
    assert desk.run("ctl", "stop-recording").code == 0
    desk.run("ctl", "hangup")
    assert talking.finish().code == 0
    assert (desk.home / "both.wav").stat().st_mode & 0o777 == 0o600
    wavs.assert_tone(desk.home / "both.wav", 440, seconds=0.5)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("hold", "--call", "call7"), 2, "has a call “call7”"),
        (("dtmf",), 2, "wants digits\n  sipcli ctl dtmf 12#"),
        (("switch",), 2, "wants the id of a call"),
        (("transfer", "call1", "sip:a@b.example", "c"), 2, "wants [CALL] TARGET"),
        (("transfer", "sip:a:pw@b.example"), 2, "not even in sip:a@b.example's\n  leave it out"),
        (("answer",), 2, "no call rings\n  look what there is"),
        (("dnd", "on"), 2, "sipcli listen"),
        (("hold", "1"), 2, "wants nothing more"),
        (("record",), 2, "wants a file"),
        (("stop-recording",), 1, "is not being recorded\n  begin with: "),
        (("conference",), 1, "two calls that are up"),
        (("record", "/dev/null"), 1, "cannot write"),
        (("dtmf", "xyz"), 1, "is not a DTMF digit"),
        (("dance",), 2, "dance"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    desk: Cli, talking: Running, words: tuple[str, ...], status: int, said: str
) -> None:
    done = desk.run("ctl", *words)
    assert done.code == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--audio", "nosuch.wav"), "nosuch.wav: No such file"),
        (("--record", "nosuch/heard.wav"), "there is no folder nosuch"),
    ],
)
@pytest.mark.parametrize("verb", [("call", "echo"), ("listen",)], ids="-".join)
def test_a_file_that_cannot_be_used_is_told_before_anybody_calls(
    desk: Cli, verb: tuple[str, ...], words: tuple[str, ...], said: str
) -> None:
    done = desk.run(*verb, *words, "--json")
    assert (done.code, said in done.result["message"]) == (2, True), done.result
    assert done.named("registration") == []


def test_only_those_that_ring_are_answered(desk: Cli) -> None:
    """A listener and a caller of the same user: `ctl answer` means the one that rings, without being told."""
    listening = desk.start("listen", "--json", "--no-register", "--port", "0")
    calling = None
    try:
        [port] = [at["port"] for at in listening.wait_for("ready")["listen"] if at["transport"] == "udp"]
        who = ("--from", "sip:bob@there.invalid", "--no-register")
        calling = desk.start("call", f"sip:alice@127.0.0.1:{port}", "--json", *who)
        listening.wait_for("call", state="ringing")
        assert desk.run("ctl", "answer").stdout == "call1 is answered\n"
        calling.wait_for("call", state="answered")
        done = desk.run("ctl", "hold")
        assert (done.code, "which one? call1 with sip:" in done.stderr) == (2, True), done.stderr
    finally:
        for running in filter(None, (calling, listening)):
            running.kill()


def test_nobody_is_told_to_lock_the_world_out_of_tmp(desk: Cli, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    done = desk.run("ctl", "hangup", "--control", str(shared / "nosuch"))
    assert (done.code, "chmod" in done.stderr, "folder of your own" in done.stderr) == (2, False, True)


def test_without_a_call_it_says_where_to_look(desk: Cli) -> None:
    done = desk.run("ctl", "hangup")
    assert done.code == 2
    assert "no sipcli of yours is in a call" in done.stderr and "sipcli status" in done.stderr
