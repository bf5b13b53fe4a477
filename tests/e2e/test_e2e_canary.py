"""A secret that was typed or looked up is in nothing that a crash or a failing provider leaves behind (T14)."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.support.cli import Cli
from tests.support.hostile import Hostile
from tests.support.peer import Gate, Heard, response
from tests.support.pty import until_echo

CANARY = "canary-7f3a-never-seen"
UNLIMITED = ["sh", "-c", 'ulimit -c unlimited && exec "$@"', "sh"]
"""The shell of somebody who wants to see cores."""


class Registrar:
    """Asks once, and then says nothing (``silent``), yes (``granting``) or no (``refusing``) to an answer."""

    def __init__(self, manner: str) -> None:
        self.manner = manner
        self.gate = Gate("home")
        self.server = Hostile(self._answer)
        self.aor = f"sip:alice@127.0.0.1:{self.server.port}"

    def _answer(self, request: Heard) -> list[bytes]:
        if not request.has("authorization"):
            return [self.gate.ask(request)]
        if self.manner == "silent":
            return []
        if self.manner == "granting":
            return [response(request, 200, "OK", f"Contact: {request.header('contact')};expires=600")]
        return [response(request, 403, "Forbidden")]


@pytest.fixture
def registrar(request: pytest.FixtureRequest) -> Iterator[Registrar]:
    made = Registrar(request.param)
    yield made
    made.server.close()


def left_below(folder: Path) -> list[Path]:
    """Cores, and files with the canary in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if path.name.startswith("core") or CANARY.encode() in path.read_bytes()]


def test_T14_the_check_itself_finds_a_core(tmp_path: Path) -> None:
    """Else what follows could not fail."""
    code = "import os; os.kill(os.getpid(), 11)"
    subprocess.run([*UNLIMITED, sys.executable, "-c", code], cwd=tmp_path, check=False, timeout=20)
    if not Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/")):
        assert [path.name[:4] for path in left_below(tmp_path)] == ["core"]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT])
@pytest.mark.parametrize(
    ("registrar", "state"),
    [("silent", "prompt"), ("silent", "answered"), ("granting", "registered")],
    indirect=["registrar"],
    ids=["prompt", "answered", "registered"],
)
def test_T14_a_crash_leaves_no_core(cli: Cli, registrar: Registrar, state: str, number: signal.Signals) -> None:
    """Fails without ``forbid_core``; that nobody may read our memory is in ``test_cli_main.py``."""
    argv = [*UNLIMITED, *cli.argv("register", registrar.aor, "-vv", "--trace", str(cli.home / "trace"))]
    child = pexpect.spawn(argv[0], argv[1:], env=cli.env, cwd=str(cli.home), encoding="utf-8", timeout=40)
    child.delaybeforesend = None
    try:
        child.expect("Password for .*: ")
        until_echo(child, False)
        if state != "prompt":
            child.sendline(CANARY)
            child.expect("Authorization" if state == "answered" else "registered sip:")
        said = f"{child.before}{child.after}"
        limits = Path(f"/proc/{child.pid}/limits").read_text()
        assert limits.partition("Max core file size")[2].split()[:2] == ["0", "0"]
        assert CANARY not in Path(f"/proc/{child.pid}/cmdline").read_text()
        child.kill(number)
        child.expect(pexpect.EOF)
        said += str(child.before)
        child.wait()
        assert CANARY not in said
        assert left_below(cli.home.parent) == []
    finally:
        child.close(force=True)


PLUGIN = """
import subprocess
from sipcli.credentials import PasswordCredentials, Secret, SigningCredentials

CANARY = "canary-7f3a-never-seen"


class Odd(BaseException):
    pass


MADE = {
    "decode": lambda: UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY),
    "process": lambda: subprocess.CalledProcessError(1, ["helper", CANARY], CANARY, CANARY),
    "os": lambda: OSError(5, CANARY, CANARY),
    "group": lambda: ExceptionGroup(CANARY, [ValueError(CANARY), KeyError(CANARY)]),
    "exit": lambda: SystemExit(CANARY),
    "base": lambda: Odd(CANARY),
    **{kind.__name__: lambda kind=kind: kind(CANARY) for kind in (
        RuntimeError, ValueError, KeyError, TypeError, TimeoutError, MemoryError, RecursionError, AssertionError)},
}


class RaisingProvider:
    interactive = False

    def __init__(self, context):
        self.name, self.options = context.name, context.options

    def _here(self, hook):
        if self.options["hook"] == hook:
            raise MADE[self.options["kind"]]() from ValueError(CANARY)

    def get(self, request):
        self._here("get")
        if self.options["hook"] == "sign":
            return SigningCredentials(request.username or "")
        return PasswordCredentials(request.username or "", Secret(CANARY))

    def sign(self, request, credentials, digest):
        self._here("sign")

    def remember(self, request, credentials):
        self._here("remember")

    def forget(self, request, credentials):
        self._here("forget")

"""
KINDS = ["decode", "process", "os", "group", "exit", "base", "RuntimeError", "ValueError", "KeyError", "TypeError",
         "TimeoutError", "MemoryError", "RecursionError", "AssertionError"]  # fmt: skip


def install(cli: Cli, registrar: Registrar, hook: str, kind: str) -> None:
    folder = cli.home / "plugins"
    info = folder / "raises-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "raises_canary.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: raises\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sipcli.providers]\nraises = raises_canary:RaisingProvider\n")
    cli.env["PYTHONPATH"] = str(folder)
    cli.env["PYTHONDONTWRITEBYTECODE"] = "1"
    cli.configure(
        f'[accounts.work]\naor = "{registrar.aor}"\ncredentials = ["odd"]\n'
        f'[providers.odd]\ntype = "raises"\nhook = "{hook}"\nkind = "{kind}"\n'
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("registrar", "hook"),
    [
        ("refusing", "get"),
        ("refusing", "sign"),
        ("granting", "remember"),
        ("refusing", "forget"),
    ],
    indirect=["registrar"],
    ids=["get", "sign", "remember", "forget"],
)
def test_T14_whatever_a_provider_raises_is_not_quoted(cli: Cli, registrar: Registrar, hook: str, kind: str) -> None:
    """The secret in the text, the arguments and the cause of every exception, at every hook."""
    install(cli, registrar, hook, kind)
    trace = cli.home / "trace.jsonl"
    verb = ("register", "work", "--once", "--no-input", "-vv", "--trace", str(trace), "--timeout", "5")
    if hook == "remember":
        verb += ("--save",)
    done = cli.run(*verb)
    assert done.code in ((0,) if hook == "remember" else (3, 4, 8)), done.stderr
    assert CANARY not in done.stdout + done.stderr
    left = [path for path in left_below(cli.home.parent) if path.name != "raises_canary.py"]
    assert left == []
