"""The helpers in examples/helpers: pass with the real pass and GnuPG, the others against stand-ins.

1Password, Bitwarden and macOS cannot be installed for a test.  Their stand-ins
print and exit as the documentation and bug reports of the real ones show; what
they cannot show is that the real ones still do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipcli.credentials import (
    CredentialRequest,
    Denied,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    Secret,
    Unavailable,
)
from sipcli.testing import FakeTerminal, ProviderContract, ask, make_context, make_request
from sipcli_providers.exec import ExecProvider
from tests.support.helpers import write_helper
from tests.support.real import require

HELPERS = Path(__file__).parents[2] / "examples" / "helpers"


def install(name: str, folder: Path) -> Path:
    """Copied, as the manual says: the repository itself may be checked out group-writable."""
    place = folder / name
    shutil.copy(HELPERS / name, place)
    place.chmod(0o755)
    return place


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """A password store and a GnuPG home of their own; a short path, for gpg-agent's socket has 108 octets."""
    require("pass")
    with tempfile.TemporaryDirectory(prefix="sipcli-") as folder:
        env = {"GNUPGHOME": f"{folder}/gnupg", "PASSWORD_STORE_DIR": f"{folder}/store"}
        Path(env["GNUPGHOME"]).mkdir(mode=0o700)
        whole = os.environ | env

        def run(*argv: str, told: str | None = None) -> None:
            subprocess.run(argv, env=whole, input=told, text=True, check=True, capture_output=True, timeout=60)

        run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", "sipcli@test.invalid", "default", "default")
        run("pass", "init", "sipcli@test.invalid")
        run("pass", "insert", "--multiline", "sip/alice@example.com", told="secret123\nurl: sip.example.com\n")
        try:
            yield env
        finally:
            subprocess.run(["gpgconf", "--kill", "all"], env=whole, check=False, timeout=20)


@pytest.mark.real("pass")
class TestPass(ProviderContract):
    """get, store and erase: the whole contract, with the real pass."""

    @pytest.fixture(autouse=True)
    def _store(self, store: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in store.items():
            monkeypatch.setenv(name, value)
        self.helper = install("sipcli-pass", tmp_path)
        self.store = Path(store["PASSWORD_STORE_DIR"])

    # A realm with a line break is refused before any helper is asked.
    remote_text = '../../x"Via: evil\x1b[2J\u202e{account}'

    def make_provider(self, context: ProviderContext) -> ExecProvider:
        options = {"command": str(self.helper), "env": ["GNUPGHOME", "PASSWORD_STORE_DIR"]}
        return ExecProvider(ProviderContext(name=context.name, options=options, terminal=context.terminal))

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), "secret123"

    def test_an_address_cannot_leave_the_folder(self) -> None:
        request = make_request(aor="sip:../sip/alice@example.com")
        with pytest.raises(NotFound):
            ask(self._made(), request)

    def test_another_key_is_denied(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The entry is there, and this GnuPG home has no key for it."""
        with tempfile.TemporaryDirectory(prefix="sipcli-") as empty:
            Path(empty).chmod(0o700)
            monkeypatch.setenv("GNUPGHOME", empty)
            with pytest.raises(Denied, match="locked"):
                ask(self._made(), make_request())
            subprocess.run(["gpgconf", "--kill", "all"], check=False, timeout=20)


def with_tool(folder: Path, helper: str, tool: str, body: str, *arguments: str) -> tuple[ExecProvider, FakeTerminal]:
    write_helper(folder / tool, f'printf "%s\\n" "$@" > {folder}/argv\n{body}')
    terminal = FakeTerminal()
    command = [str(install(helper, folder)), *arguments]
    return ExecProvider(make_context({"command": command, "env": ["PATH"]}, terminal=terminal)), terminal


@pytest.fixture(autouse=True)
def first_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


class TestOnePassword:
    def test_found(self, tmp_path: Path) -> None:
        made, _ = with_tool(tmp_path, "sipcli-op", "op", "printf 'pa ss=1'", "Voip")
        assert ask(made, make_request()).secret.reveal() == b"pa ss=1"
        assert (tmp_path / "argv").read_text().split() == [
            "read", "--no-newline", "op://Voip/alice@example.com/password",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("says", "kind"),
        [
            ('could not read secret op://x: "alice" isn\'t an item in the "Private" vault', NotFound),
            ("You are not currently signed in. Please run `op signin --help` for instructions", Denied),
            ("error initializing client: authorization prompt dismissed, please try again", Denied),
            ("dial tcp: lookup my.1password.com: no such host", Unavailable),
        ],
    )
    def test_its_one_exit_status_is_told_apart_by_its_words(self, tmp_path: Path, says: str, kind: type) -> None:
        (tmp_path / "says").write_text(f"[ERROR] 2026/11/29 07:00:00 {says}\n")
        made, _ = with_tool(tmp_path, "sipcli-op", "op", f"cat {tmp_path}/says >&2; exit 1")
        with pytest.raises(kind):
            ask(made, make_request())


class TestBitwarden:
    def made(self, tmp_path: Path, answer: object, status: int = 0, before: str = "") -> ExecProvider:
        (tmp_path / "answer").write_text(before + (answer if isinstance(answer, str) else json.dumps(answer)))
        return with_tool(tmp_path, "sipcli-bw", "bw", f"cat {tmp_path}/answer; exit {status}")[0]

    def test_found(self, tmp_path: Path) -> None:
        answer = {"success": True, "data": {"object": "string", "data": "pä ss"}}
        assert ask(self.made(tmp_path, answer), make_request()).secret.reveal() == "pä ss".encode()
        assert (tmp_path / "argv").read_text().split() == [
            "--nointeraction", "--response", "get", "password", "alice@example.com",
        ]  # fmt: skip
        made = self.made(tmp_path, answer, before="Session key is invalid.\n")
        assert ask(made, make_request()).secret.reveal() == "pä ss".encode()

    @pytest.mark.parametrize(
        ("message", "kind"),
        [
            ("Not found.", NotFound),
            ("Vault is locked.", Denied),
            ("You are not logged in.", Denied),
            ("More than one result was found. Try getting a specific object by `id` instead.", Unavailable),
        ],
    )
    def test_what_it_complains_of(self, tmp_path: Path, message: str, kind: type) -> None:
        with pytest.raises(kind):
            ask(self.made(tmp_path, {"success": False, "message": message}, 1), make_request())

    def test_no_JSON(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable):
            ask(self.made(tmp_path, "Segmentation fault", 139), make_request())


class TestSecurity:
    def test_found(self, tmp_path: Path) -> None:
        made, _ = with_tool(tmp_path, "sipcli-security", "security", "echo 'pa ss'", "voip")
        assert ask(made, make_request()).secret.reveal() == b"pa ss"
        assert (tmp_path / "argv").read_text().split() == [
            "find-generic-password", "-s", "voip", "-a", "alice@example.com", "-w",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("status", "kind"), [(44, NotFound), (36, Denied), (51, Denied), (128, Denied), (1, Unavailable)]
    )
    def test_its_exit_statuses(self, tmp_path: Path, status: int, kind: type) -> None:
        made, terminal = with_tool(tmp_path, "sipcli-security", "security", f"echo 'no such thing' >&2; exit {status}")
        with pytest.raises(kind):
            ask(made, make_request())
        assert terminal.shown == ([] if kind is NotFound else ["tested: no such thing"])


@pytest.mark.parametrize("name", ["sipcli-op", "sipcli-bw", "sipcli-security"])
def test_those_that_only_get_say_so(tmp_path: Path, name: str) -> None:
    made = ExecProvider(make_context({"command": str(install(name, tmp_path))}))
    with pytest.raises(Unavailable, match="keeps nothing"):
        made.remember(make_request(), PasswordCredentials("alice", Secret("x")))
