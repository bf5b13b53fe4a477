"""The command line before any verb runs: what is loaded, what is said, and with which exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sipcli import __version__
from sipcli.cli.main import VERBS, main

Outcome = tuple[int, str, str]
Run = Callable[..., Outcome]

HEAVY = (
    "asyncio",
    "ssl",
    "keyring",
    "hvac",
    "requests",
    "requests_oauthlib",
    "oauthlib",
    "dns",
    "rich",
    "sounddevice",
    "numpy",
)
PROVIDERS = (
    "importlib.metadata",
    "keyring",
    "hvac",
    "requests",
    "requests_oauthlib",
    "oauthlib",
    "dns",
    "rich",
    "sounddevice",
    "numpy",
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SIPCLI_CONFIG", raising=False)
    # Both belong to a process of its own, not to the one that tests run in.
    monkeypatch.setattr("sipcli.cli.environment.forbid_core", lambda: None)
    monkeypatch.setattr("sipcli.cli.runtime.hide_memory", lambda: None)

    def call(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


def loaded_by(*arguments: str) -> set[str]:
    """The modules that ``sipcli`` with these arguments has loaded at its end."""
    code = (
        "import sys, json\nfrom sipcli.cli.main import main\n"
        f"try: main({list(arguments)!r})\nexcept SystemExit: pass\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


class TestWhatIsLoaded:
    @pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("nonsense",)], ids=" ".join)
    def test_nothing_heavy_before_a_verb(self, arguments: tuple[str, ...]) -> None:
        assert not loaded_by(*arguments) & {*HEAVY, "importlib.metadata", "sipcli.ua", "sipcli.sip.engine"}

    @pytest.mark.parametrize("verb", VERBS)
    def test_no_provider_and_no_engine_for_the_help_of_a_verb(self, verb: str) -> None:
        assert not loaded_by(verb, "--help") & {*PROVIDERS, "sipcli.ua.agent", "sipcli.sip.engine", "sipcli.media.rtp"}

    def test_a_registration_that_asks_nobody_loads_no_provider(self) -> None:
        modules = loaded_by("register", "sip:a@127.0.0.1:9", "--once", "--timeout", "0.2")
        assert "sipcli.ua.agent" in modules
        assert not modules & {*PROVIDERS, "sipcli.ua.calls.call", "sipcli.ua.media.media_io", "sipcli.observe.ladder"}
        assert not [name for name in modules if name.startswith(("sipcli.media", "sipcli.sandbox", "sipcli_providers"))]


def test_garbage_is_collected_once_a_verb_has_settled() -> None:
    """What start-up makes is not walked over and over, and set aside for good."""
    code = (
        "import asyncio, gc, json\n"
        "from sipcli.cli import main, runtime\n"
        "from sipcli.cli.parameters import GlobalOptions\n"
        "runtime.SETTLED_S = 0.01\n"
        "async def verb(run):\n"
        "    before = gc.isenabled()\n"
        "    await asyncio.sleep(2 * runtime.SETTLED_S)\n"
        "    print(json.dumps([before, gc.isenabled(), gc.get_freeze_count() > 1000]))\n"
        "    return runtime.Outcome('done')\n"
        "main._run = lambda given: runtime.run_verb('verb', GlobalOptions(), verb)\n"
        "try: main.main([])\nexcept SystemExit: pass\n"
        "print(json.dumps([gc.isenabled(), gc.get_freeze_count()]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    inside, after = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert inside == [False, True, True]
    assert after == [True, 0]


class TestHelp:
    def test_every_verb_has_its_line(self, run: Run) -> None:
        code, out, _ = run("--help")
        assert code == 0
        for name, (_, line) in VERBS.items():
            assert f"  {name} " in out
            assert line in " ".join(out.split())

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_verb_is_what_the_table_says(self, verb: str, run: Run) -> None:
        assert import_module(VERBS[verb][0]).command.name == verb
        code, out, _ = run(verb, "--help")
        assert code == 0
        assert "--json" in out
        assert "Options of every verb:" in out

    def test_version(self, run: Run) -> None:
        assert run("--version") == (0, f"sipcli {__version__}\n", "")

    def test_alone_it_shows_the_help(self, run: Run) -> None:
        code, out, err = run()
        assert code == 2
        assert "Verbs:" in out + err


class TestWrongUsage:
    def test_a_wrong_verb_names_the_nearest(self, run: Run) -> None:
        code, out, err = run("regster")
        assert (code, out) == (2, "")
        assert "did you mean “register”?" in err
        assert "Traceback" not in err

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--json", "regster"),
            ("regster", "--json"),
            ("register", "--json", "--nope"),
            ("--json", "call"),
            ("listen", "--json", "--port", "x"),
            ("--json", "options", "sip:x", "--expect", "1000"),
            ("auth", "--json", "svae"),
            ("--json", "config", "path", "superfluous"),
            ("--json", "call", "bob", "--from", "sip:a@b.example", "--audio", "whale"),
            ("--json", "call", "bob", "--from", "sip:a@b.example", "--dtmf", "12x"),
            ("--json", "listen", "--from", "sip:a@b.example", "--answer", "maybe"),
            ("--json", "register", "no address"),
            ("--json", "register", "--all", "sip:a@b.example"),
            ("--json", "register", "sip:a@b.example", "--password-file", "/nowhere/at/all"),
            ("--json", "--config", "/nowhere/config.toml", "accounts"),
            ("--json", "--account", "nobody", "register"),
            ("--json", "register"),
        ],
        ids=" ".join,
    )
    def test_is_one_json_line_too(self, run: Run, arguments: tuple[str, ...]) -> None:
        code, out, err = run(*arguments)
        assert code == 2, err
        [line] = out.splitlines()
        result = json.loads(line)
        assert result["event"] == "result"
        assert (result["ok"], result["exit"]) == (False, 2)
        assert result["message"]
        assert err == ""

    def test_json_after_two_dashes_is_text(self, run: Run) -> None:
        code, out, _ = run("message", "--", "sip:bob@b.example", "--json")
        assert code == 2
        assert out == ""

    def test_a_sentence_and_the_next_step(self, run: Run) -> None:
        code, out, err = run("register")
        assert (code, out) == (2, "")
        assert err.splitlines() == [
            "sipcli: there is no account",
            "  say who you are (--account sip:you@example.com), or write one: sipcli config init",
        ]

    @pytest.mark.parametrize("words", [(), ("auth",)], ids=["sipcli", "sipcli auth"])
    def test_no_verb_shows_the_help_as_it_is(self, run: Run, words: tuple[str, ...]) -> None:
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert err.startswith("Usage: sipcli")
        assert not any(line.startswith("sipcli: ") for line in err.splitlines())

    def test_no_verb_is_one_line_for_programs(self, run: Run) -> None:
        code, out, err = run("--json")
        assert (code, err) == (2, "")
        assert json.loads(out)["outcome"] == "usage"

    def test_help_of_a_group_cuts_no_sentence_off(self, run: Run) -> None:
        _, out, _ = run("auth", "--help")
        assert "says that it worked, never what it gave" in " ".join(out.split())

    def test_an_account_that_is_not_there_has_a_next_step(self, run: Run) -> None:
        _, _, err = run("register", "nobody")
        assert err.splitlines()[1] == "  write an address, or: sipcli config init"


class TestGlobalOptions:
    @pytest.mark.parametrize(
        "arguments",
        [("--json", "config", "path"), ("config", "--json", "path"), ("config", "path", "--json")],
        ids=" ".join,
    )
    def test_are_taken_in_every_place(self, run: Run, arguments: tuple[str, ...]) -> None:
        code, out, _ = run(*arguments)
        assert code == 0
        assert json.loads(out)["outcome"] == "missing"

    def test_the_last_one_wins(self, run: Run, tmp_path: Path) -> None:
        _, out, _ = run("--config", str(tmp_path / "a"), "config", "path", "--config", str(tmp_path / "b"))
        assert out == f"{tmp_path}/b\n"

    def test_verbosity_adds_up(self, run: Run) -> None:
        code, _, err = run("-v", "auth", "test", "sip:a@b.example", "--no-input", "-v")
        assert code == 4
        assert "Traceback" in err  # -vv shows where it came from


class TestSafety:
    def test_an_unforeseen_error_is_a_sentence(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def explode(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError("of all things")

        monkeypatch.setattr("sipcli.cli.runtime.load_config", explode)
        code, out, err = run("accounts")
        assert (code, out) == (1, "")
        assert "this is a bug of sipcli: ZeroDivisionError: of all things" in err
        assert "Traceback" not in err
        code, _, err = run("accounts", "-vv")
        assert code == 1
        assert "Traceback" in err

    @pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
    def test_a_closed_stream_is_no_trouble(self, stream: str) -> None:
        number = {"stdin": "0<", "stdout": "1>", "stderr": "2>"}[stream]
        command = f'"{sys.executable}" -m sipcli config path {number}&-'
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0
        assert "Traceback" not in done.stderr

    def test_help_into_a_closed_pipe(self) -> None:
        command = f'"{sys.executable}" -m sipcli --help | true; exit ${{PIPESTATUS[0]}}'
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_full_disk_is_a_sentence(self) -> None:
        command = f'"{sys.executable}" -m sipcli config path > /dev/full'
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr

    def test_T14_no_core_can_be_written(self) -> None:
        code = (
            "import resource, sipcli.cli.environment as e\ne.forbid_core(); e.hide_memory()\n"
            "print(resource.getrlimit(resource.RLIMIT_CORE))\n"
            "import ctypes, sys\n"
            "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) if sys.platform == 'linux' else 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout.split("\n")[:2] == ["(0, 0)", "0"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("completion",), "missing argument '{bash|fish|zsh}'. Choose from: bash, fish, zsh"),
        (("call", "sip:bob@b.example", "--srtp"), "option '--srtp' requires an argument"),
    ],
)
def test_what_click_says_is_one_line_with_the_next_step(run: Run, words: tuple[str, ...], sentence: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.splitlines() == [f"sipcli: {sentence}", f"  try: sipcli {words[0]} --help"]
