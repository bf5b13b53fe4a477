"""The verbs as processes, against the sandbox: exit statuses, events, streams, signals."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import address_of
from tests.support.cli import LEAVES_WITHIN, Cli, Result, Running, wait_until_taken
from tests.support.real import require
from tests.support.servers.process import free_port

CANARY = "canary-91c4-never-seen"


def states(done: Result, event: str = "registration") -> list[str]:
    return [entry["state"] for entry in done.named(event)]


class TestRegister:
    def test_once_in_json(self, alice: Cli) -> None:
        done = alice.run("register", "--once", "--json")
        assert done.code == 0, done.stderr
        assert done.stderr == ""
        assert states(done) == ["trying", "waiting", "registered", "unregistered"]
        result = done.result
        assert (result["ok"], result["outcome"], result["verb"]) == (True, "registered", "register")
        assert result["auth"]["attempts"] == 1
        assert result["auth"]["provider"] == "safe"
        assert result["registration"]["expires_s"] == 600
        for event in done.events:
            assert event["v"] == 1
            assert event["t"].endswith("Z")
        clock = [event["ms"] for event in done.events]
        assert clock == sorted(clock)

    def test_once_in_words_with_the_ladder(self, alice: Cli) -> None:
        done = alice.run("register", "--once", "--ladder")
        assert done.code == 0
        [line] = done.stdout.splitlines()
        assert line.startswith("registered sip:alice@127.0.0.1")
        picture = done.stderr.splitlines()
        assert "401 Unauthorized" in done.stderr
        asked = next(index for index, row in enumerate(picture) if "credentials? safe:" in row)
        assert "REGISTER 2  SHA-256 alice" in picture[asked + 1]

    @pytest.mark.parametrize("how", ["--password-file <(echo wonderland)", "--password-file /dev/stdin"])
    def test_the_password_may_come_from_a_shells_pipe(self, cli: Cli, sandbox: str, how: str) -> None:
        words = " ".join(cli.argv("register", f"sip:alice@{sandbox}", "--once"))
        script = f"echo wonderland | {words} {how}"
        done = subprocess.run(
            ["bash", "-c", script], env=cli.env, cwd=cli.home, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr

    def test_two_accounts_side_by_side(self, alice: Cli, sandbox: str) -> None:
        bobs = alice.secret("bobs", "builder")
        config = alice.home / ".config/sipcli/config.toml"
        config.write_text(
            config.read_text()
            + f'[accounts.bob]\naor = "sip:bob@{sandbox}"\ncredentials = ["bobs"]\n'
            + f'[providers.bobs]\ntype = "file"\npath = "{bobs}"\n'
        )
        done = alice.run("register", "--all", "--once", "--json")
        assert done.code == 0, done.stderr
        registered = {event["account"] for event in done.named("registration") if event["state"] == "registered"}
        assert registered == {"alice", "bob"}

    def test_a_wrong_password_is_three(self, cli: Cli, sandbox: str) -> None:
        wrong = cli.secret("wrong", CANARY)
        done = cli.run("register", f"sip:alice@{sandbox}", "--once", "--json", "--password-file", str(wrong))
        assert done.code == 3
        assert done.result["outcome"] == "refused"
        assert done.result["hint"] == "is that the right secret, and the right user name (--username NAME)?"

    @pytest.mark.parametrize(
        ("target", "status"),
        [
            ("sip:alice@127.0.0.1:1", 7),
            ("sip:alice@127.0.0.1:1;transport=tcp", 7),
            ("sip:alice@no-such-host.invalid", 7),
        ],
    )
    def test_no_way_there_is_seven(self, cli: Cli, target: str, status: int) -> None:
        done = cli.run("register", target, "--once", "--no-input")
        assert done.code == status
        sentence, hint, *_ = done.stderr.splitlines()
        assert sentence.startswith("sipcli: ")
        assert hint.startswith("  ")
        assert "Traceback" not in done.stderr

    def test_T26_nobody_to_ask_is_four_at_once(self, cli: Cli, sandbox: str) -> None:
        done = cli.run("register", f"sip:alice@{sandbox}", "--once", "--json", "--no-input")
        assert done.code == 4
        assert done.result["outcome"] == "no_credentials"
        assert done.result["took_ms"] < 5000

    def test_a_silent_server_is_five(self, cli: Cli) -> None:
        import socket

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
            deaf.bind(("127.0.0.1", 0))
            target = f"sip:alice@127.0.0.1:{deaf.getsockname()[1]}"
            done = cli.run("register", target, "--once", "--json", "--timeout", "0.5", "--no-input")
        assert done.code == 5
        assert done.result["outcome"] == "no_answer"

    def test_a_silent_server_is_five_for_who_listens_too(self, cli: Cli) -> None:
        import socket

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
            deaf.bind(("127.0.0.1", 0))
            target = f"sip:alice@127.0.0.1:{deaf.getsockname()[1]}"
            done = cli.run("listen", "--from", target, "--json", "--timeout", "0.5", "--no-input", timeout=15)
        assert done.code == 5
        assert "did not answer" in done.result["message"], "not: nobody called"

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 0)])
    def test_signals(self, alice: Cli, number: signal.Signals, status: int) -> None:
        running = alice.start("register", "--json")
        try:
            running.wait_for("registration", state="registered")
            running.signal(number)
            if number == signal.SIGHUP:  # no terminal that could have hung up: refresh
                running.wait_for("registration", state="registered")
                running.signal(signal.SIGTERM)
                status = 143
            began = time.monotonic()
            done = running.finish()
        finally:
            running.kill()
        assert time.monotonic() - began < LEAVES_WITHIN
        assert done.code == status
        assert done.named("registration")[-1]["state"] == "unregistered"
        assert done.result["outcome"] == "interrupted"

    def test_sighup_from_nohup_is_survived(self, alice: Cli) -> None:
        running = Running(["nohup", *alice.argv("register", "--json")], alice.env, alice.home)
        try:
            running.wait_for("registration", state="registered")
            running.signal(signal.SIGHUP)
            running.signal(signal.SIGTERM)
            assert running.finish().code == 143
        finally:
            running.kill()

    def test_a_reader_who_leaves_ends_it(self, alice: Cli, sandbox: str) -> None:
        command = (
            f"{' '.join(alice.argv('register', '--json', f'sip:alice@{sandbox}'))} | head -1; exit ${{PIPESTATUS[0]}}"
        )
        done = subprocess.run(
            ["bash", "-c", command],
            env=alice.env,
            cwd=alice.home,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["event"] == "registration"


class TestCall:
    @pytest.mark.parametrize(("target", "status"), [("busy", 6), ("nobody", 11), ("sip:x@127.0.0.1:1", 7)])
    def test_refusals(self, alice: Cli, target: str, status: int) -> None:
        done = alice.run("call", target, "--json")
        assert done.code == status, done.stderr
        assert done.result["ok"] is False

    @pytest.mark.parametrize("limit", ["--timeout", "--ring-timeout"])
    def test_it_rings_for_ever(self, alice: Cli, limit: str) -> None:
        done = alice.run("call", "ring", "--json", limit, "0.5", "--no-register")
        assert done.code == 5
        assert "ringing" in states(done, "call")
        assert states(done, "call")[-1] == "ended"

    @pytest.mark.parametrize("codec", ["opus", "g722", "pcmu", "pcma"])
    def test_echo_is_heard_and_measured(self, alice: Cli, tmp_path: Path, codec: str) -> None:
        require("opus")
        record = tmp_path / "rx.wav"
        wishes = ("--audio", "tone:600", "--codec", codec, "--duration", "1.5", "--record", str(record))
        done = alice.run("call", "echo", "--json", *wishes)
        assert done.code == 0, done.stderr
        call = done.result["call"]
        assert call["codec"] == codec.upper()
        assert (call["stats"]["mos"] is None) == (codec not in ("pcmu", "pcma"))
        assert call["audio"]["tone_hz"] == pytest.approx(600, abs=8)
        assert call["stats"]["rx"]["packets"] > 40
        assert call["talk_ms"] > 1000
        assert record.stat().st_size > 8000
        assert stat.S_IMODE(record.stat().st_mode) == 0o600

    def test_a_codec_that_is_none_is_one_sentence(self, alice: Cli) -> None:
        done = alice.run("call", "echo", "--codec", "opsu", "--json")
        assert done.code == 2
        assert "no such codec: opsu" in done.result["message"]

    def test_digits_arrive(self, alice: Cli) -> None:
        done = alice.run("call", "ivr", "--json", "--dtmf", "12#", "--duration", "2.5", "--no-register")
        assert done.code == 0, done.stderr
        assert "".join(event["digit"] for event in done.named("dtmf") if event["direction"] == "out") == "12#"
        assert "".join(event["digit"] for event in done.named("dtmf") if event["direction"] == "in") == "12#"

    def test_a_pipe_is_a_telephone(self, alice: Cli) -> None:
        """Samples in on stdin, samples out on stdout, and no word between them."""
        done = subprocess.run(
            alice.argv("call", "echo", "--no-register", "--audio", "stdio", "--duration", "1"),
            env=alice.env, cwd=alice.home, input=b"\x00\x20" * 8000, capture_output=True, timeout=20, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert len(done.stdout) > 8000
        assert b"talked" not in done.stdout
        assert b"talked to" in done.stderr
        assert alice.run("call", "echo", "--json", "--audio", "stdio").code == 2

    def test_sigint_while_it_rings_cancels(self, alice: Cli) -> None:
        running = alice.start("call", "ring", "--json")
        try:
            running.wait_for("call", state="ringing")
            running.signal(signal.SIGINT)
            done = running.finish()
        finally:
            running.kill()
        assert done.code == 130
        assert done.named("registration")[-1]["state"] == "unregistered"

    def test_the_words(self, alice: Cli) -> None:
        done = alice.run("call", "echo", "--audio", "tone", "--codec", "pcmu", "--duration", "1.5")
        assert done.code == 0
        assert done.stdout.startswith("talked to sip:echo@127.0.0.1")
        for words in ("calling sip:echo@", "in call with sip:echo@", "received ", "MOS "):
            assert words in done.stderr


class TestListen:
    def listen(self, cli: Cli, sandbox: str, *arguments: str) -> Running:
        secret = cli.secret("bobs", "builder")
        return cli.start("listen", "--json", "--from", f"sip:bob@{sandbox}", "--password-file", str(secret), *arguments)

    def test_it_answers_and_leaves_after_enough_calls(self, alice: Cli, sandbox: str, tmp_path: Path) -> None:
        ready = tmp_path / "ready"
        listening = self.listen(
            alice, sandbox, "--answer", "auto", "--audio", "echo", "--max-calls", "1", "--ready-file", str(ready)
        )
        try:
            listening.wait_for("ready")
            done = alice.run("call", "bob", "--json", "--audio", "tone:700", "--duration", "1.2")
            assert done.code == 0, done.stderr
            assert done.result["call"]["audio"]["tone_hz"] == pytest.approx(700, abs=8)
            heard = listening.finish()
        finally:
            listening.kill()
        assert heard.code == 0, heard.stderr
        assert json.loads(ready.read_text())["listen"]
        assert heard.result["answered"] == 1

    def test_a_list_of_answers(self, alice: Cli, sandbox: str) -> None:
        listening = self.listen(alice, sandbox, "--answer", "busy,decline,404", "--max-calls", "3")
        try:
            listening.wait_for("ready")
            codes = [alice.run("call", "bob", "--no-register").code for _ in range(3)]
            assert codes == [6, 6, 11]
            assert listening.finish().code == 0
        finally:
            listening.kill()

    def test_only_some_are_answered(self, alice: Cli, sandbox: str) -> None:
        listening = self.listen(alice, sandbox, "--answer", "auto", "--allow", "carol@*", "--max-calls", "1")
        try:
            listening.wait_for("ready")
            done = alice.run("call", "bob", "--json", "--no-register")
            assert done.result["code"] == 403
        finally:
            listening.kill()

    def test_nobody_calls(self, alice: Cli, sandbox: str) -> None:
        done = alice.run("listen", "--json", "--timeout", "0.5")
        assert done.code == 5
        assert done.result["message"] == "no call came in 0.5 s"

    def test_without_a_registrar_on_a_port(self, cli: Cli) -> None:
        listening = cli.start(
            "listen", "--json", "--no-register", "--port", "0", "--answer", "auto", "--max-calls", "1"
        )
        try:
            target = f"sip:anybody@{address_of(listening).replace('0.0.0.0', '127.0.0.1')}"
            arguments = ("--from", "sip:me@there.invalid", "--no-register", "--audio", "tone", "--duration", "0.5")
            done = cli.run("call", target, "--json", *arguments)
            assert done.code == 0, done.stderr
            assert listening.finish().code == 0
        finally:
            listening.kill()

    def test_a_port_that_is_taken(self, cli: Cli) -> None:
        import socket

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("0.0.0.0", 0))
            port = other.getsockname()[1]
            done = cli.run("listen", "--no-register", "--port", str(port), "--timeout", "2")
        assert done.code == 7
        assert done.stderr.splitlines() == [
            f"sipcli: cannot bind UDP 0.0.0.0 port {port}: Address already in use",
            "  choose another: --port N",
        ]

    def test_a_port_of_ones_choice(self, alice: Cli) -> None:
        port = free_port()
        listening = alice.start("listen", "--json", "--port", str(port))
        try:
            assert {at["port"] for at in listening.wait_for("ready")["listen"]} == {port}
        finally:
            listening.kill()

    def test_a_call_that_asks_where_nobody_can_is_not_answered(self, alice: Cli, sandbox: str) -> None:
        listening = self.listen(alice, sandbox, "--ring-timeout", "0.5", "--max-calls", "1")
        try:
            listening.wait_for("ready")
            assert alice.run("call", "bob", "--no-register").code == 5
            assert listening.finish().code == 0
        finally:
            listening.kill()

    @pytest.mark.parametrize(
        ("logged_in", "says"), [(True, "sipcli ctl answer, or: sipcli ctl reject"), (False, "nobody can answer here")]
    )
    def test_where_no_key_works_none_is_offered(
        self, alice: Cli, bob: Cli, tmp_path: Path, logged_in: bool, says: str
    ) -> None:
        if not logged_in:
            del bob.env["XDG_RUNTIME_DIR"]
        ready = tmp_path / "ready"
        argv = bob.argv("listen", "--ring-timeout", "0.5", "--max-calls", "1", "--ready-file", str(ready))
        listening = subprocess.Popen(
            argv, env=bob.env, cwd=bob.home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        with listening:
            try:
                deadline = time.monotonic() + 20
                while not ready.exists():
                    assert time.monotonic() < deadline and listening.poll() is None
                    time.sleep(0.01)
                assert alice.run("call", "bob", "--no-register").code == 5
                said = listening.communicate(timeout=20)[1]
            finally:
                listening.kill()
        assert says in said and "[a]nswer" not in said


class TestRulesOfTheHouse:
    def test_T14_no_canary_in_anything_we_leave_behind(self, cli: Cli, sandbox: str, tmp_path: Path) -> None:
        secret, trace = cli.secret("secret", CANARY), tmp_path / "trace.jsonl"
        arguments = ("register", f"sip:alice@{sandbox}", "--once", "--password-file", str(secret), "-vv", "--ladder")
        for more in ((), ("--json",)):
            done = cli.run(*arguments, "--trace", str(trace), *more)
            assert done.code == 3
            for text in (done.stdout, done.stderr, trace.read_text()):
                assert CANARY not in text
        assert stat.S_IMODE(trace.stat().st_mode) == 0o600
        traced = [json.loads(line) for line in trace.read_text().splitlines()]
        answered = [
            event["sip"] for event in traced if event["event"] == "trace" and "\nAuthorization:" in event["sip"]
        ]
        assert answered
        assert "response=" in answered[0]
        for sip in answered:
            assert not any(
                len(word) == 64 and set(word) <= set("0123456789abcdef") for word in sip.replace('"', " ").split()
            )

    def test_T14_no_canary_in_the_process_table(self, alice: Cli, sandbox: str) -> None:
        running = alice.start("register", "--json")
        try:
            running.wait_for("registration", state="registered")
            for name in ("cmdline", "environ"):
                try:
                    assert b"wonderland" not in Path(f"/proc/{running.process.pid}/{name}").read_bytes()
                except PermissionError:
                    pass  # better still: nobody may look
        finally:
            running.kill()

    @pytest.mark.parametrize("home", ["unset", "missing", "read-only"])
    def test_no_home(self, cli: Cli, sandbox: str, home: str, tmp_path: Path) -> None:
        cli.env.pop("XDG_CONFIG_HOME")
        if home == "unset":
            cli.env.pop("HOME")
        elif home == "missing":
            cli.env["HOME"] = str(tmp_path / "nowhere")
        else:
            (tmp_path / "ro").mkdir(mode=0o500)
            cli.env["HOME"] = str(tmp_path / "ro")
        secret = cli.secret("secret", "wonderland")
        done = cli.run("register", f"sip:alice@{sandbox}", "--once", "--password-file", str(secret))
        assert done.code == 0, done.stderr

    def test_T26_a_prompt_needs_a_terminal(self, cli: Cli, sandbox: str) -> None:
        done = cli.run("register", f"sip:alice@{sandbox}", "--once", "--json", stdin="wonderland\n")
        assert done.code == 4

    def test_the_locale_may_be_c(self, alice: Cli) -> None:
        alice.env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        done = alice.run("register", "--once", "--ladder")
        assert done.code == 0, done.stderr

    def test_a_second_signal_leaves_at_once(self, cli: Cli, tmp_path: Path) -> None:
        """With one alone it tries to take the binding back, and says so, before it ends."""
        running = cli.start("sandbox", "--json", "--delay", "30")
        try:
            target = f"sip:alice@{address_of(running)}"
            calling = cli.start("register", target, "--json", "--no-input")
            try:
                calling.wait_for("registration", state="trying")
                for _ in range(2):
                    calling.signal(signal.SIGTERM)
                    wait_until_taken(calling.process.pid, signal.SIGTERM)
                done = calling.finish()
            finally:
                calling.kill()
            assert done.code == 143
            assert [event["event"] for event in done.events] == ["registration", "result"]
        finally:
            running.kill()


def test_a_file_that_cannot_say_ready_is_told_before_anything_else(cli: Cli) -> None:
    done = cli.run("listen", "--no-register", "--port", "0", "--ready-file", "nosuch/ready", "--json")
    assert done.code == 2, done.stderr
    assert [event["event"] for event in done.events] == ["result"]
    assert "cannot write nosuch/ready: there is no folder nosuch" in done.result["message"]


def test_the_demo(cli: Cli) -> None:
    done = cli.run("demo")
    assert done.code == 0, done.stderr
    for words in ("401 Unauthorized", "credentials? store:", "SHA-256 alice", "PCMU/8000", "MOS ", "everything works"):
        assert words in done.stdout
    assert done.stderr == ""


def test_the_demo_in_json(cli: Cli) -> None:
    done = cli.run("demo", "--json")
    assert done.code == 0, done.stderr
    assert done.result["outcome"] == "passed"
    heard = done.result["call"]["audio"]
    assert heard["speech_pct"] > 0 and heard["tone_hz"] in (None, pytest.approx(440, abs=5))
    assert any(event["provider"] == "store" for event in done.named("auth.provider"))


def test_doctor_looks_at_everything(cli: Cli) -> None:
    done = cli.run("doctor", "--json")
    assert done.code == 0, done.stderr
    checks: dict[str, Any] = {check["name"]: check for check in done.result["checks"]}
    assert {"sipcli", "configuration", "keychain", "terminal", "audio", "DNS", "TLS", "plug-ins"} <= checks.keys()
    assert checks["configuration"]["state"] == "missing"
    assert checks["terminal"]["state"] == "missing"


def test_doctor_names_a_broken_configuration(cli: Cli) -> None:
    cli.configure('[accounts.x]\naro = "sip:a@b.example"\n')
    done = cli.run("doctor")
    assert done.code == 2
    assert "did you mean “aor”?" in done.stdout


@pytest.mark.parametrize("wanted", ["taken", "not ours"])
def test_a_sandbox_that_cannot_listen_says_where_and_what_to_do(cli: Cli, sandbox: str, wanted: str) -> None:
    where = ("--port", sandbox.partition(":")[2]) if wanted == "taken" else ("--host", "192.0.2.1")
    done = cli.run("sandbox", *where, "--json")
    assert done.code == 7, done.stderr
    assert done.result["message"].startswith("the sandbox cannot listen on ")
    assert "--port N" in done.result["hint"]
