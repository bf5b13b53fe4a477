"""The live call screen on a terminal: every key in every state, prompts, job control, narrow and dumb terminals."""

from __future__ import annotations

import json
import random
import re
import signal
import unicodedata
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.cli.test_cli_hostile_text import UNFIT, hostile
from tests.support.cli import Cli, Running
from tests.support.display import Display, display
from tests.support.peer import Caller
from tests.support.pty import until_echo

NO_CALL = "arRhmot*5dTcws"
"""Keys that mean nothing while there is no call."""


@contextmanager
def running(cli: Cli, *arguments: str) -> Iterator[Running]:
    started = cli.start(*arguments, "--json")
    try:
        yield started
    finally:
        started.kill()


@contextmanager
def in_call(
    cli: Cli, target: str, *arguments: str, columns: int = 150, rows: int = 60, term: str = "xterm"
) -> Iterator[Display]:
    with display(
        cli, "call", target, "--no-register", "--audio", "tone:440", *arguments, columns=columns, rows=rows, term=term
    ) as seen:
        seen.until("in call with")
        seen.until_keys()
        yield seen


@contextmanager
def listening(cli: Cli, *arguments: str) -> Iterator[Display]:
    with display(cli, "listen", "--audio", "tone:600", *arguments) as seen:
        seen.until("registered")
        seen.until_keys()
        yield seen


class TestInACall:
    def test_the_line_and_what_the_keys_do_to_it(self, alice: Cli) -> None:
        with in_call(alice, "echo", "-v") as seen:
            seen.until(r"^● in call 00:0\d  sip:echo@\S+  opus/48k  rx 0\.0% loss \d+ ms jitter .*\[\?\]$", bottom=True)
            seen.press("m", r" un\[m\]ute", bottom=True)
            seen.until("^microphone off$")
            seen.press("m", r"  \[m\]ute", bottom=True)
            seen.press("o", r"^○ on hold 00:\d\d ", bottom=True)
            seen.press("5", "5: the call is on hold|0-9 .*: the call is on hold")
            seen.press("o", r"^● in call 00:\d\d ", bottom=True)
            seen.press("s", r"received +sent")
            seen.until(r"opus/48000|OPUS/48000 to 127\.0\.0\.1:\d+, not encrypted")
            seen.press("?", "Ctrl-C +hang up and leave")
            seen.press("7", "sent DTMF 7")
            seen.press("h")
            assert seen.ended() == 0
            assert not any("[?]" in line for line in seen.lines), "the line is still there"
            assert seen.child.getecho()

    def test_the_recording_is_named_and_whole(self, alice: Cli) -> None:
        with in_call(alice, "echo", columns=250) as seen:
            seen.press("w")
            path = Path(seen.until(r"^recording both sides: (.*\.wav)$")[1])
            seen.until(" recording ", bottom=True)
            seen.until(r"in call 00:0[1-9]", bottom=True)
            seen.press("w", "the recording is whole")
            seen.press("h")
            assert seen.ended() == 0
        assert path.parent == alice.home
        assert path.stat().st_mode & 0o777 == 0o600
        with wave.open(str(path)) as recorded:
            assert recorded.getnchannels() == 2
            assert recorded.getnframes() > 0

    def test_ladder_and_trace_begin_and_end_in_the_middle_of_a_call(self, alice: Cli) -> None:
        with in_call(alice, "echo", rows=300) as seen:
            seen.press("l", "──INVITE 1")
            seen.press("o", r"◀─+ 200 OK", bottom=False)
            seen.until("on hold", bottom=True)
            seen.press("l", "^ladder off$")
            seen.press("v", "SIP messages on")
            seen.press("o", r"^ +INVITE sip:\S+ SIP/2\.0$")
            seen.until("in call", bottom=True)
            assert "wonderland" not in seen.said
            seen.press("v", "SIP messages off")
            seen.press("h")
            assert seen.ended() == 0
            assert "BYE sip:" not in seen.said

    def test_letters_are_digits_only_while_the_prompt_is_open(self, alice: Cli) -> None:
        with in_call(alice, "ivr", "-v") as seen:
            seen.press("A")
            seen.press("d", "digits: 0-9 .* Enter", bottom=True)
            seen.press("Ahqm", "sent DTMF A")
            seen.press("#", "sent DTMF #")
            seen.press("\r", r"\[o\]hold", bottom=True)
            seen.press("h")
            assert seen.ended() == 0
            assert seen.said.count("sent DTMF A") == 1

    def test_q_asks_once(self, alice: Cli) -> None:
        with in_call(alice, "echo") as seen:
            seen.press("q", r"hang up and leave\? \[q\] once more", bottom=True)
            seen.press("h", "^staying$")
            seen.until(r"\[o\]hold", bottom=True)
            seen.press("q", "once more", bottom=True)
            seen.press("q")
            assert seen.ended() == 0
            assert "talked to sip:echo@" in seen.said

    def test_keys_before_the_answer(self, alice: Cli) -> None:
        """Nothing is answered, sent or held; h gives up."""
        with display(alice, "call", "ring", "--no-register") as seen:
            seen.until("ringing", bottom=True)
            seen.until_keys()
            for key in "mo5dtTcws":
                seen.press(key, f"^{'0-9 . .' if key == '5' else key}: the call is not answered yet")
            for key in "arR":
                seen.press(key, f"^{key}: nobody calls")
            seen.press("\t", "there is no other call")
            seen.press("h")
            assert seen.ended() == 5
            assert seen.child.getecho()

    @pytest.mark.parametrize("again", [False, True])
    def test_control_c_hangs_up_and_leaves(self, alice: Cli, again: bool) -> None:
        with in_call(alice, "echo") as seen:
            seen.child.sendcontrol("c")
            if again:
                seen.child.sendcontrol("c")
            assert seen.ended(within=4) == 130
            assert not any("[?]" in line for line in seen.lines)
            assert seen.child.getecho()

    def test_pasted_text_does_nothing(self, alice: Cli) -> None:
        with in_call(alice, "echo") as seen:
            seen.press("please hang up quickly\n", "23 characters at once are no keys")
            seen.until("in call", bottom=True)
            seen.press("\x1b[15~\x1bOR\x1b[A")  # F5, F3, up
            seen.child.sendcontrol("c")
            assert seen.ended() == 130
            assert "staying" not in seen.said and "nobody calls" not in seen.said


class TestTransfers:
    def test_t_asks_where_to_and_sends_him_there(self, alice: Cli, bob: Cli) -> None:
        with running(bob, "listen", "--answer", "auto", "--max-calls", "1", "--transfer", "same-domain") as far:
            far.wait_for("ready")
            with in_call(alice, "bob") as seen:
                seen.press("t", "^Transfer to:$", bottom=True)
                until_echo(seen.child, True)
                seen.press("echo\r", "^transferred to sip:echo@")
                assert seen.ended() == 0
            assert far.wait_for("transfer", state="done")["target"].startswith("sip:echo@")
            assert bob.run("ctl", "hangup").code == 0

    @pytest.mark.parametrize("leave", ["\r", "\x04", "\x03"], ids=["empty", "ctrl-d", "ctrl-c"])
    def test_the_prompt_may_be_left(self, alice: Cli, leave: str) -> None:
        """What is typed there is no key, and a ^C ends the prompt, not the call."""
        with in_call(alice, "echo", "-v") as seen:
            seen.press("t", "^Transfer to:$", bottom=True)
            until_echo(seen.child, True)
            if leave == "\x03":
                seen.press("hq5")
            seen.press(leave)
            seen.until("in call", bottom=True)
            seen.until_keys()
            seen.press("5", "sent DTMF 5")
            seen.press("h")
            assert seen.ended() == 0
            assert "transferring" not in seen.said

    def test_a_target_that_is_none_is_said_and_the_call_goes_on(self, alice: Cli) -> None:
        with in_call(alice, "echo") as seen:
            seen.press("t", "^Transfer to:$", bottom=True)
            until_echo(seen.child, True)
            seen.press("sip:a b@@c\r", "sip:a b@@c")
            seen.until("in call", bottom=True)
            seen.until_keys()
            seen.press("h")
            assert seen.ended() == 0

    def test_the_call_ends_while_the_prompt_is_open(self, alice: Cli, bob: Cli) -> None:
        with running(bob, "listen", "--answer", "auto", "--max-calls", "1") as far:
            far.wait_for("ready")
            with in_call(alice, "bob") as seen:
                seen.press("t", "^Transfer to:$", bottom=True)
                until_echo(seen.child, True)
                assert bob.run("ctl", "hangup").code == 0
                assert seen.ended() == 0
                assert seen.child.getecho()

    def test_T_calls_somebody_first_and_joins_the_two(self, alice: Cli, bob: Cli, tmp_path: Path) -> None:
        """Alice talks to bob, asks at her other phone, and both talk to each other without her."""
        other = Cli(tmp_path / "other")
        other.log_in(tmp_path / "run-other")
        other.secret("secret", "wonderland\n")
        config = (alice.home / ".config" / "sipcli" / "config.toml").read_text()
        other.configure(config.replace(str(alice.home), str(other.home)))
        with listening(bob, "--answer", "auto") as far, running(other, "listen", "--answer", "auto") as near:
            near.wait_for("ready")
            with in_call(alice, "bob") as seen:
                seen.press("T", "^Call first:$", bottom=True)
                until_echo(seen.child, True)
                seen.press("alice\r", r"\[T\] joins the two")
                seen.until_keys()
                seen.until(r"^● in call \S+  sip:alice@.*\+1 \[Tab\]", bottom=True)
                seen.press("\t", r"^● in call \S+  sip:bob@", bottom=True)
                seen.press("\t", r"^● in call \S+  sip:alice@", bottom=True)
                seen.press("T")
                far.press("", r"go there\? \[y\]es \[n\]o", bottom=True)
                far.press("y", r"^● in call \S+  sip:alice@", bottom=True)
                seen.until("transferred to sip:alice@")
                assert seen.ended() == 0
            near.wait_for("transfer", kind="replaced", state="done")
            far.press("q", "once more", bottom=True)
            far.press("q")
            assert far.ended() == 0


class TestIncoming:
    def test_no_key_does_anything_without_a_call_and_q_leaves(self, bob: Cli) -> None:
        with listening(bob) as seen:
            seen.until(r"^○ listening as sip:bob@\S+  \[q\]uit \[\?\]$", bottom=True)
            for key in NO_CALL:
                shown = {"*": "0-9 . .", "5": "0-9 . ."}.get(key, key)
                seen.press(key, f"^{shown}: (nobody calls|there is no call)$")
            seen.press("q")
            assert seen.ended() == 0
            assert "0 calls, 0 answered" in seen.said
            assert seen.child.getecho()

    def test_two_calls(self, cli: Cli, tmp_path: Path) -> None:
        """The second one waits, is answered - the first is held - and Tab, c and h do what they say."""
        with display(cli, "listen", "--no-register", "--audio", "tone:600", "-v") as seen:
            port = seen.until(r"udp:0\.0\.0\.0:(\d+)")[1]
            seen.until_keys()
            dial = ("call", f"sip:bob@127.0.0.1:{port}", "--no-register", "--from")
            with running(Cli(tmp_path / "carol"), *dial, "sip:carol@127.0.0.1") as first:
                seen.until(r"^○ call from  sip:carol@\S+  \[a\]nswer \[r\]eject", bottom=True)
                for key in "hmot":
                    seen.press(key, f"^{key}: there is no call, one rings")
                seen.press("a", r"^● in call 00:0\d  sip:carol@", bottom=True)
                first.wait_for("call", state="answered")
                with running(Cli(tmp_path / "dave"), *dial, "sip:dave@127.0.0.1") as second:
                    seen.until(r"sip:dave@\S* calls: \[a\]nswer \[r\]eject", bottom=True)
                    seen.press("a", r"^● in call 00:\d\d  sip:dave@.*\+1 \[Tab\]", bottom=True)
                    second.wait_for("call", state="answered")
                    first.wait_for("call", state="held")
                    seen.press("\t", r"^● in call 00:\d\d  sip:carol@", bottom=True)
                    first.wait_for("call", state="answered")
                    second.wait_for("call", state="held")
                    seen.press("c", "and you hear each other")
                    seen.until("conference of 3", bottom=True)
                    second.wait_for("call", state="answered")
                    seen.press("m", " muted ", bottom=True)
                    seen.press("h", r"^● in call 00:\d\d  sip:dave@", bottom=True)
                    assert first.finish().code == 0
                    seen.press("q", "once more", bottom=True)
                    seen.press("q")
                    assert seen.ended() == 0
                    assert "2 calls, 2 answered" in seen.said
                    assert second.finish().code == 0

    @pytest.mark.parametrize(("key", "code"), [("r", 486), ("R", 603)])
    def test_a_second_call_is_refused_and_the_first_goes_on(self, alice: Cli, bob: Cli, key: str, code: int) -> None:
        with listening(bob) as seen, running(alice, "call", "bob", "--no-register") as first:
            seen.until("call from", bottom=True)
            seen.press("a", "in call", bottom=True)
            first.wait_for("call", state="answered")
            done = alice.start("call", "bob", "--no-register", "--json")
            try:
                seen.until("calls: ", bottom=True)
                seen.press(key)
                assert done.finish().code == 6
                assert [event.get("code") for event in done.events if event["event"] == "call"][-1] == code
            finally:
                done.kill()
            seen.until(r"^● in call", bottom=True)
            seen.press("h")
            assert first.finish().code == 0

    def test_call_waiting_while_we_are_the_caller(self, alice: Cli, bob: Cli) -> None:
        """``call`` registers, so that others can reach us; it stays until the last call is over."""
        with display(bob, "call", "echo", "--audio", "tone:440") as seen:
            seen.until("in call with sip:echo@")
            seen.until_keys()
            with running(alice, "call", "bob", "--no-register") as calling:
                seen.until(r"sip:alice@\S* calls:", bottom=True)
                seen.press("a", r"^● in call \S+  sip:alice@.*\+1 \[Tab\]", bottom=True)
                calling.wait_for("call", state="answered")
                seen.press("\t", r"^● in call \S+  sip:echo@", bottom=True)
                seen.press("h", "call with sip:echo@.* ended")
                seen.until(r"^○ on hold \S+  sip:alice@", bottom=True)
                seen.press("o", r"^● in call \S+  sip:alice@", bottom=True)
                seen.press("h")
                assert seen.ended() == 0
                assert "talked to sip:echo@" in seen.said
                assert calling.finish().code == 0


class TestPrompts:
    def test_T25_no_key_of_a_password_is_a_command(self, cli: Cli, sandbox: str) -> None:
        """The INVITE is challenged while keys work: the prompt has the terminal for itself, and ``hq5mo`` does nothing.

        Fails without ``_instead_of_keys`` in ``TtyTerminal.ask``.
        """
        with display(
            cli, "call", f"sip:echo@{sandbox}", "--from", f"sip:alice@{sandbox}", "--no-register", "-v"
        ) as seen:
            seen.until("^Password for alice@.*:$", bottom=True)
            until_echo(seen.child, False)
            seen.press("hq5mo?\r")
            seen.until("^The server refused that password .* Password for alice@.*:$", bottom=True)
            until_echo(seen.child, False)
            seen.press("wonderland\r", "in call with")
            seen.until("^● in call", bottom=True)
            seen.until_keys()
            for words in ("staying", "not answered yet", "DTMF", "microphone", "Ctrl-C"):
                assert words not in seen.said
            assert "wonderland" not in seen.said
            seen.press("5", "sent DTMF 5")
            seen.press("h")
            assert seen.ended() == 0

    def test_job_control(self, alice: Cli) -> None:
        shell = pexpect.spawn(
            "/bin/bash",
            ["--norc", "--noprofile", "--noediting", "-i"],
            env={**alice.env, "TERM": "xterm"},  # type: ignore[arg-type]
            cwd=str(alice.home),
            encoding="utf-8",
            timeout=15,
            dimensions=(40, 120),
        )
        shell.delaybeforesend = None
        try:
            seen = Display(shell, 120, 40)
            shell.sendline("PS1='READY''> '; stty echo")
            seen.until("READY>$", bottom=True)
            shell.sendline(" ".join(alice.argv("call", "echo", "--no-register", "--audio", "tone:440")))
            seen.until("^● in call", bottom=True)
            until_echo(shell, False)
            shell.sendcontrol("z")
            seen.until("READY>$", bottom=True)
            until_echo(shell, True)
            assert not any("[?]" in line for line in seen.lines)
            shell.sendline("fg")
            seen.until("^● in call", bottom=True)
            until_echo(shell, False)
            shell.send("h")
            seen.until("talked to sip:echo@")
            seen.until("READY>$", bottom=True)
            until_echo(shell, True)
        finally:
            shell.close(force=True)


class TestTerminals:
    def test_a_window_of_twenty_columns(self, alice: Cli) -> None:
        with in_call(alice, "echo", columns=20, rows=20) as seen:
            seen.until(r"^● in call 00:0\d", bottom=True)
            assert len(seen.bottom) < 20
            seen.press("s")
            seen.until("packets")
            seen.press("h")
            assert seen.ended() == 0

    def test_another_size_in_the_middle(self, alice: Cli) -> None:
        with in_call(alice, "echo") as seen:
            seen.until(r"\[h\]ang up", bottom=True)
            seen.resize(30, 40)
            seen.until(r"^● in call \S+ +\S+.{0,8}$", bottom=True)
            assert len(seen.bottom) < 30
            seen.resize(150, 40)
            seen.until(r"\[h\]ang up \[\?\]$", bottom=True)
            seen.press("m", "^microphone off$")
            seen.press("h")
            assert seen.ended() == 0

    def test_a_dumb_terminal_has_lines_and_keys(self, alice: Cli) -> None:
        with in_call(alice, "echo", term="dumb") as seen:
            seen.press("m", "^microphone off$")
            seen.press("o", "is on hold")
            seen.press("s", "packets")
            seen.press("h")
            assert seen.ended() == 0
            assert "[?]" not in seen.said
            assert "\r" not in seen.said.replace("\r\n", "")
            assert "\x1b" not in seen.said

    def test_no_color(self, alice: Cli) -> None:
        with display(alice, "call", "echo", "--no-register", "--audio", "tone:440", NO_COLOR="1") as seen:
            seen.until("^● in call", bottom=True)
            seen.until_keys()
            seen.press("h")
            assert seen.ended() == 0
            assert "\x1b" not in seen.said

    def test_with_json_there_is_no_line(self, alice: Cli) -> None:
        with display(alice, "call", "echo", "--no-register", "--json", "--audio", "tone:440", columns=3000) as seen:
            seen.until('"state":"answered"')
            seen.until_keys()
            seen.press("h")
            assert seen.ended() == 0
        assert all(json.loads(line)["event"] for line in seen.said.splitlines())

    @pytest.mark.parametrize("seed", range(4))
    def test_T25_whatever_is_typed_the_terminal_is_restored(self, alice: Cli, seed: int, tmp_path: Path) -> None:
        """Any octets but those of ^C, ^Z and ^\\; what was sent is what a key is for, and nobody was called."""
        chance, trace = random.Random(seed), tmp_path / "t.jsonl"
        octets = bytes(octet for octet in range(256) if octet not in (0x03, 0x1A, 0x1C))
        with in_call(alice, "echo", "--trace", str(trace)) as seen:
            for _ in range(60):
                typed = bytes(chance.choice(octets) for _ in range(chance.choice((1, 1, 1, 2, 5, 30))))
                try:
                    seen.child.ptyproc.write(typed)
                except OSError:
                    break
                if not seen.read(0.02):
                    break
            if seen.child.isalive():
                for _ in range(3):
                    seen.child.sendcontrol("c")
                    seen.read(0.1)
            # A ^C in its last milliseconds, all being said, ends it by that signal: 130 to a shell, too.
            assert seen.ended() in (0, 130) or seen.child.signalstatus == signal.SIGINT
            assert seen.child.getecho()
            assert "Traceback" not in seen.said
            assert "is a bug" not in seen.said
        sent = {
            json.loads(line)["start_line"].split()[0]
            for line in trace.read_text().splitlines()
            if '"direction":"out"' in line and '"event":"trace"' in line
        }
        assert sent <= {"INVITE", "ACK", "BYE", "CANCEL", "SIP/2.0"}


@pytest.mark.parametrize(
    "user",
    ["%1b%5b2J", "x%0d%0a", "\u202egpj.exe", "\x9b2J", "a" * 3000, "%s%n{0.__class__}"],
    ids=["csi", "crlf", "bidi", "c1", "long", "format"],
)
def test_T12_whoever_calls_cannot_write_on_the_screen(cli: Cli, user: str) -> None:
    """The line below the log shows an address from the network all the time that it rings."""
    cli.configure("")
    with (
        hostile(lambda request: []) as mallory,
        display(cli, "listen", "--no-register", "--port", "0", "--allow-anonymous", "-v", columns=100) as seen,
    ):
        port = int(seen.until(r"udp:0\.0\.0\.0:(\d+)")[1])
        caller = Caller(address=f"127.0.0.1:{mallory.port}", uri=f"sip:x@127.0.0.1:{port}", call_id="hostile")
        invite = caller.request("INVITE", body=b"")
        line = next(line for line in invite.split(b"\r\n") if line.startswith(b"From: "))
        theirs = f'From: "{user}" <sip:{user}@h>;tag=x'.encode()
        mallory.send(invite.replace(line, theirs, 1), port)
        seen.read(1.0)
        seen.child.sendintr()
        seen.ended()
        # Ours are colours, and the way to take the line back: to its beginning, blanks, to its beginning.
        left = re.sub(r"\r *\r|\x1b\[\d*m|\r\n", "", seen.said)
        assert not {character for character in left if unicodedata.category(character) in UNFIT}
