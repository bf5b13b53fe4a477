"""Rules of the house at the process boundary: canaries, closed streams, no HOME, no network, read-only disks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support.cli import Cli, parse
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio

CANARY = "canary-7f3a-never-seen"

VERBS = [
    ("register", "--once"),
    ("call", "sip:code-486@sip.test", "--no-register"),
    ("listen", "--timeout", "1"),
    ("message", "sip:nobody@sip.test", "hello"),
    ("options", "sip:sip.test"),
    ("auth", "test", "work"),
    ("providers", "list"),
    ("accounts", "list"),
    ("config", "check"),
    ("devices",),
    ("doctor",),
]


@pytest.fixture
def ready(cli: Cli, kamailio: Kamailio) -> Cli:
    path = cli.secret("secret", "secret123")
    cli.configure(account(kamailio.address()) + FILE_PROVIDER.format(path=path))
    return cli


def launch(cli: Cli, *arguments: str, **streams: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        cli.argv(*arguments), env=cli.env, cwd=cli.home, text=True, timeout=40, check=False, **streams  # type: ignore[call-overload]
    )  # fmt: skip


@pytest.mark.real("kamailio")
@pytest.mark.xdist_group("kamailio")
class TestEveryVerb:
    @pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
    @pytest.mark.parametrize("stdin", ["null", "closed", "pipe"])
    def test_does_not_depend_on_standard_input(self, ready: Cli, verb: tuple[str, ...], stdin: str) -> None:
        if stdin == "closed":
            ready_argv = ["sh", "-c", 'exec "$@" <&-', "sh", *ready.argv(*verb)]
            done = subprocess.run(
                ready_argv, env=ready.env, cwd=ready.home, capture_output=True, text=True, timeout=40, check=False
            )
        else:
            source = {"stdin": subprocess.DEVNULL} if stdin == "null" else {"input": "not a password\n"}
            done = launch(ready, *verb, capture_output=True, **source)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 2, 5, 6, 7, 11), (done.returncode, done.stderr)

    @pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
    def test_survives_a_reader_who_leaves(self, ready: Cli, verb: tuple[str, ...]) -> None:
        read, write = os.pipe()
        os.close(read)
        try:
            done = launch(ready, "--json", *verb, stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE)
        finally:
            os.close(write)
        assert "Traceback" not in done.stderr
        assert "BrokenPipe" not in done.stderr

    @pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
    def test_speaks_json_and_nothing_else(self, ready: Cli, verb: tuple[str, ...]) -> None:
        done = launch(ready, "--json", *verb, stdin=subprocess.DEVNULL, capture_output=True)
        events = parse(done.stdout)
        assert events[-1]["event"] == "result"
        assert events[-1]["exit"] == done.returncode
        assert all(event["v"] == 1 for event in events)

    @pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
    def test_needs_no_home(self, ready: Cli, verb: tuple[str, ...]) -> None:
        config = ready.home / ".config" / "sipcli" / "config.toml"
        for name in ("HOME", "XDG_CONFIG_HOME"):
            ready.env.pop(name, None)
        done = launch(ready, "--config", str(config), *verb, stdin=subprocess.DEVNULL, capture_output=True)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 5, 6, 7, 11), (done.returncode, done.stderr)

    @pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
    def test_needs_no_writable_disk(self, ready: Cli, verb: tuple[str, ...]) -> None:
        require("root")
        script = (
            'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount -o remount,bind,ro /tmp 2>/dev/null;'
            ' mount -o remount,bind,ro / 2>/dev/null; exec "$@"'
        )
        argv = ["unshare", "-m", "sh", "-c", script, str(ready.home), *ready.argv(*verb)]
        done = subprocess.run(
            argv, env=ready.env, cwd=ready.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40,
            check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 5, 6, 7, 11), (done.returncode, done.stderr)


@pytest.mark.real("kamailio")
@pytest.mark.xdist_group("kamailio")
@pytest.mark.parametrize("right", [True, False], ids=["accepted", "refused"])
def test_T14_a_canary_secret_is_nowhere_but_on_the_wire(tmp_path: Path, right: bool) -> None:
    require("kamailio")
    server = Kamailio(tmp_path / "kamailio", users={"alice": CANARY if right else "another"})
    try:
        cli = Cli(tmp_path / "home")
        secret = cli.secret("secret", CANARY)
        cli.configure(account(server.address()) + FILE_PROVIDER.format(path=secret))
        trace = tmp_path / "trace.jsonl"
        done = cli.run("register", "--once", "--json", "-vv", "--trace", str(trace))
        assert done.code == (0 if right else 3)
        assert trace.stat().st_mode & 0o077 == 0
        for text in (done.stdout, done.stderr, trace.read_text()):
            assert CANARY not in text
            assert "response=" not in text or 'response="***' in text.replace('\\"', '"') or "response=***" in text
        for path in tmp_path.rglob("*"):
            if path.is_file() and path != secret and "kamailio" not in path.parts:
                assert CANARY.encode() not in path.read_bytes(), path
    finally:
        server.stop()


def test_a_name_nobody_knows_is_seven(cli: Cli) -> None:
    done = cli.run("register", "sip:alice@no-such-host.invalid", "--once", "--json", "--timeout", "10")
    assert done.code == 7, done.stderr
    assert "no-such-host.invalid" in done.result["message"]


def test_a_server_that_is_not_there_is_seven_over_tcp(cli: Cli) -> None:
    done = cli.run("register", "sip:alice@127.0.0.1:9;transport=tcp", "--once", "--json", "--timeout", "10")
    assert done.code == 7, done.stderr


def test_no_network_at_all(cli: Cli) -> None:
    require("root")
    argv = ["unshare", "-n", *cli.argv("register", "sip:alice@192.0.2.1", "--once", "--json", "--timeout", "5")]
    done = subprocess.run(
        argv,
        env=cli.env,
        cwd=cli.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode in (5, 7), done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "result"


def test_demo_needs_nothing(cli: Cli) -> None:
    done = cli.run("demo", timeout=30)
    assert done.code == 0, done.stderr
    assert "REGISTER" in done.stdout + done.stderr
    assert "INVITE" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "module", ["keyring", "hvac", "requests_oauthlib", "dns", "rich", "importlib.metadata", "sounddevice"]
)
def test_help_imports_nothing_heavy(cli: Cli, module: str) -> None:
    code = (
        "import sys, runpy; sys.argv = ['sipcli', 'register', '--help']\n"
        "try: runpy.run_module('sipcli', run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"sys.exit({module!r} in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=cli.env, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stdout
