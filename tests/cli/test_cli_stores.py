"""auth, providers, accounts, config, devices, completion: what needs no server."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sipcli.config.example import EXAMPLE
from sipcli.config.schema import ACCOUNT
from tests.support.cli import Cli

RING = '''
"""A keychain in a file, for tests: what keyring calls a backend."""
import json
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

PLACE = Path.home() / "ring.json"


class Ring(KeyringBackend):
    priority = 5

    def _read(self):
        if (Path.home() / "locked").exists():
            raise KeyringLocked("locked")
        return json.loads(PLACE.read_text()) if PLACE.exists() else {}

    def get_password(self, service, username):
        return self._read().get(f"{service}/{username}")

    def set_password(self, service, username, password):
        PLACE.write_text(json.dumps(self._read() | {f"{service}/{username}": password}))

    def delete_password(self, service, username):
        kept = self._read()
        if kept.pop(f"{service}/{username}", None) is None:
            raise PasswordDeleteError(username)
        PLACE.write_text(json.dumps(kept))
'''


@pytest.fixture
def ring(tmp_path: Path) -> Cli:
    """A machine with a keychain, and an account that uses it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "ringtest.py").write_text(RING)
    cli = Cli(tmp_path / "home", env={"PYTHONPATH": str(tmp_path / "site")})
    cli.configure(
        '[accounts.work]\naor = "sip:alice@example.com"\ncredentials = ["keychain", "prompt"]\n'
        '[providers.keychain]\ntype = "keychain"\nbackend = "ringtest.Ring"\n'
    )
    return cli


def entries(cli: Cli) -> dict[str, str]:
    place = cli.home / "ring.json"
    found: dict[str, str] = json.loads(place.read_text()) if place.exists() else {}
    return found


class TestAuth:
    def test_saved_found_and_forgotten(self, ring: Cli) -> None:
        done = ring.run("auth", "save", "work", "--password-file", "-", stdin="hunter2\n")
        assert done.code == 0, done.stderr
        assert done.stdout == "the password of alice@example.com is in the keychain\n"
        assert entries(ring) == {"sipcli/alice@example.com": "hunter2"}
        done = ring.run("auth", "test", "work", "--json")
        assert done.code == 0
        assert done.result["provider"] == "keychain"
        assert "hunter2" not in done.stdout + done.stderr
        assert ring.run("auth", "forget", "work").code == 0
        assert entries(ring) == {}

    def test_nothing_to_forget_is_no_failure(self, ring: Cli) -> None:
        done = ring.run("auth", "forget", "work", "--json")
        assert done.code == 0
        assert done.result["outcome"] == "nothing"

    def test_an_address_will_do(self, ring: Cli) -> None:
        secret = ring.secret("secret", "hunter2")
        assert ring.run("auth", "save", "bob@example.com", "--password-file", str(secret)).code == 0
        assert entries(ring) == {"sipcli/bob@example.com": "hunter2"}

    def test_nobody_to_ask(self, ring: Cli) -> None:
        done = ring.run("auth", "save", "work")
        assert done.code == 4
        assert "--password-file" in done.stderr
        assert entries(ring) == {}

    def test_nobody_has_it(self, ring: Cli) -> None:
        done = ring.run("auth", "test", "work", "--json", "--no-input")
        assert done.code == 4
        assert [event["outcome"] for event in done.named("auth.provider")] == ["not_found", "not_found"]
        assert done.result["hint"] == "keep one: sipcli auth save work"

    def test_a_keychain_that_is_not_there_is_no_empty_one(self, cli: Cli) -> None:
        tested = cli.run("auth", "test", "bob@example.com", "--no-input")
        assert (tested.code, "sipcli auth save" in tested.stderr) == (4, False)
        for verb in ("save", "forget"):
            done = cli.run("auth", verb, "bob@example.com")
            assert done.code == 8, done.stdout
            assert "there is no keychain" in done.stderr

    def test_a_locked_keychain_is_eight(self, ring: Cli) -> None:
        (ring.home / "locked").touch()
        done = ring.run("auth", "test", "work", "--no-input")
        assert done.code == 8
        assert "locked" in done.stderr
        done = ring.run("auth", "save", "work", "--password-file", "-", stdin="hunter2")
        assert done.code == 8
        assert "hunter2" not in done.stderr

    @pytest.mark.parametrize("mode", [0o644, 0o622])
    def test_a_password_file_that_others_can_read_or_write(self, ring: Cli, mode: int) -> None:
        secret = ring.secret("secret", "hunter2")
        secret.chmod(mode)
        done = ring.run("auth", "save", "work", "--password-file", str(secret))
        assert done.code == 8
        assert "hunter2" not in done.stderr
        assert entries(ring) == {}


class TestProviders:
    def test_the_list(self, ring: Cli) -> None:
        done = ring.run("providers", "--json")
        assert done.code == 0
        listed = {entry["name"]: entry for entry in done.result["providers"]}
        assert "ringtest.Ring" in listed["keychain"]["where"]
        assert listed["prompt"]["type"] == "prompt"
        assert {entry["type"] for entry in done.result["types"]} >= {
            "keychain",
            "vault",
            "oauth",
            "prompt",
            "env",
            "file",
        }

    def test_test(self, ring: Cli) -> None:
        assert ring.run("providers", "test", "keychain").code == 4
        ring.run("auth", "save", "work", "--password-file", "-", stdin="hunter2")
        done = ring.run("providers", "test", "keychain")
        assert done.code == 0
        assert done.stdout.startswith("keychain answered for work in ")
        assert "hunter2" not in done.stdout

    def test_a_wrong_name(self, ring: Cli) -> None:
        done = ring.run("providers", "test", "keychian")
        assert done.code == 2
        assert "did you mean “keychain”?" in done.stderr


class TestAccounts:
    def test_the_list_marks_the_default(self, cli: Cli) -> None:
        cli.configure(
            '[defaults]\naccount = "b"\n[accounts.a]\naor = "sip:a@x.example"\n[accounts.b]\naor = "sip:b@x.example"\n'
        )
        lines = cli.run("accounts").stdout.splitlines()
        assert [line.split()[:2] for line in lines] == [["a", "sip:a@x.example"], ["*", "b"]]

    def test_show(self, ring: Cli) -> None:
        done = ring.run("accounts", "show", "work", "--json")
        assert done.result["account"]["aor"] == "sip:alice@example.com"
        assert done.result["account"]["credentials"] == ["keychain", "prompt"]
        assert "aor               sip:alice@example.com" in ring.run("accounts", "show", "work").stdout

    def test_show_leaves_nothing_out(self, cli: Cli) -> None:
        cli.configure(
            '[policy]\nmax_prompts = 2\n[accounts.a]\naor = "sip:a@x.example"\nsrtp = "required"\n'
            'turn = "turn:t.example?transport=tcp"\n100rel = "off"\ncodecs = ["pcmu"]\n'
            '[accounts.a.realms.edge]\nusername = "b"\n[accounts.a.policy]\nmin_qop = "auth"\n'
        )
        shown = cli.run("accounts", "show", "a").stdout
        for line in (
            r"srtp +required", r"turn +turn:t\.example:3478\?transport=tcp", r"100rel +off", r"codecs +pcmu",
            r"dnd +false", r"realms\.edge\.username +b", r"policy\.min_qop +auth",
        ):  # fmt: skip
            assert re.search(rf"^{line}$", shown, re.MULTILINE), (line, shown)
        assert "max_prompts" not in shown
        table = cli.run("accounts", "show", "a", "--json").result["account"]
        assert table.keys() - {"name"} == ACCOUNT.keys()


class TestConfig:
    def test_init_writes_the_example_for_us_alone_and_once(self, cli: Cli) -> None:
        path = cli.home / ".config/sipcli/config.toml"
        assert cli.run("config", "init").stdout == f"wrote {path}\n"
        assert path.read_text() == EXAMPLE
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.write_text("# mine\n")
        done = cli.run("config", "init")
        assert done.code == 2
        assert "exists already" in done.stderr
        assert path.read_text() == "# mine\n"

    def test_init_does_not_write_through_a_link(self, cli: Cli, tmp_path: Path) -> None:
        link = tmp_path / "link.toml"
        link.symlink_to(tmp_path / "elsewhere")
        assert cli.run("--config", str(link), "config", "init").code == 2
        assert not (tmp_path / "elsewhere").exists()

    def test_init_where_nothing_can_be_written(self, cli: Cli) -> None:
        done = cli.run("--config", "/proc/nowhere/config.toml", "config", "init")
        assert done.code == 1
        assert "Traceback" not in done.stderr

    def test_check_lists_everything(self, cli: Cli) -> None:
        cli.configure('[accounts.x]\naor = "sip:a@b.example"\nregitrar = "y"\nexpires = 0\npassword = "hunter2"\n')
        done = cli.run("config", "check", "--json")
        assert done.code == 2
        assert [problem["where"] for problem in done.result["problems"]] == [
            "[accounts.x] password", "[accounts.x] regitrar", "[accounts.x] expires",
        ]  # fmt: skip
        assert "hunter2" not in done.stdout + done.stderr
        said = cli.run("config", "check").stderr
        assert said.count("sipcli: ") == 3

    def test_check_asks_the_providers_themselves(self, cli: Cli) -> None:
        cli.configure(
            '[providers.v]\ntype = "vault"\nurl = "https://v.example"\npath = "p"\nauth = { method = "smoke signal" }\n'
        )
        done = cli.run("config", "check")
        assert done.code == 2
        assert "method must be one of" in done.stderr

    def test_check_misses_a_certificate(self, cli: Cli) -> None:
        cli.configure('[accounts.x]\naor = "sip:a@b.example"\nca_file = "nowhere.pem"\n')
        done = cli.run("config", "check")
        assert done.code == 2
        assert "nowhere.pem cannot be read" in done.stderr

    def test_show_is_json_in_any_case(self, ring: Cli) -> None:
        shown = json.loads(ring.run("config", "show").stdout)
        assert shown["accounts"]["work"]["registrar"] == "sip:example.com"
        assert ring.run("config", "show", "--json").result["config"] == shown

    def test_T14_show_keeps_what_a_url_asks_for_to_itself(self, cli: Cli) -> None:
        """Fails without ``_without_query``: some services want a token in their URL."""
        cli.configure(
            '[providers.sso]\ntype = "oauth"\nissuer = "https://login.example"\nclient_id = "x"\nflow = "device"\n'
            'use = "fetch"\npassword_field = "password"\n'
            'password_url = "https://api.example/pw?user={username}&key=never-seen&never-seen"\n'
        )
        for form in ((), ("--json",)):
            shown = cli.run("config", "show", *form).stdout
            assert "never-seen" not in shown
            assert "https://api.example/pw?user={username}&key=***&***" in shown

    def test_path(self, cli: Cli) -> None:
        assert cli.run("config", "path").stdout == f"{cli.home}/.config/sipcli/config.toml\n"


def test_devices_say_what_to_do_where_there_are_none(cli: Cli) -> None:
    done = cli.run("devices", "--json")
    assert done.code == 0
    assert done.result["devices"] or done.result["message"]


def test_devices_without_the_extra(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise ImportError('not here')\n")
    cli.env["PYTHONPATH"] = str(tmp_path)
    done = cli.run("devices")
    assert done.code == 0
    assert "pip install 'sipcli[audio]'" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli: Cli, shell: str) -> None:
    done = cli.run("completion", shell)
    assert done.code == 0
    assert "_SIPCLI_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("sipcli reg", {"register"}),
        ("sipcli auth s", {"save"}),
        ("sipcli call --acc", {"--account"}),
        ("sipcli register --account w", {"work"}),
    ],
)
def test_completion_completes_verbs_options_and_accounts(ring: Cli, words: str, expected: set[str]) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("sipcli"))],
        env=ring.env
        | {"_SIPCLI_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert {line.split(",", 1)[1] for line in done.stdout.splitlines()} == expected
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["file", "half"])
def test_a_provider_that_cannot_be_made_is_a_matter_of_the_configuration(cli: Cli, name: str) -> None:
    cli.configure('[providers.half]\ntype = "exec"\ncommand = "bin/helper"\n')
    done = cli.run("providers", "test", name, "--json")
    assert (done.code, done.result["outcome"]) == (2, "usage")
    assert f"[providers.{name}]" in done.result["message"]


def test_a_keychain_that_the_account_does_not_ask_is_no_way_out(ring: Cli) -> None:
    ring.configure(
        '[accounts.work]\naor = "sip:alice@example.com"\ncredentials = ["safe"]\n'
        '[providers.safe]\ntype = "env"\nvariable = "NOTHING"\n'
        '[providers.keychain]\ntype = "keychain"\nbackend = "ringtest.Ring"\n'
    )
    tested = ring.run("auth", "test", "work", "--json")
    assert (tested.code, "auth save" in tested.result["hint"]) == (4, False)
    saved = ring.run("auth", "save", "work", "--password-file", "-", stdin="hunter2\n")
    assert saved.code == 0
    assert saved.stdout == (
        "the password of alice@example.com is in the keychain, which is not asked; "
        'add "keychain" to credentials of account work\n'
    )
