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
    def made(self, tmp_path: Path, item: object, *arguments: str) -> ExecProvider:
        (tmp_path / "item").write_text(item if isinstance(item, str) else json.dumps(item))
        body = f"cat {tmp_path}/item; echo 'a newer op is out' >&2"
        return with_tool(tmp_path, "sipcli-op", "op", body, *arguments)[0]

    def item(self, title: str = "alice@example.com", password: str = "pä ss=1") -> dict[str, object]:
        """As ``op item get --format json`` prints a login."""
        fields = [
            {"id": "username", "type": "STRING", "purpose": "USERNAME", "label": "username", "value": "alice"},
            {"id": "password", "type": "CONCEALED", "purpose": "PASSWORD", "label": "password", "value": password},
            {"id": "notesPlain", "type": "STRING", "purpose": "NOTES", "label": "notesPlain"},
            {"id": "x", "type": "CONCEALED", "label": "password", "value": "of something else"},
        ]
        return {"id": "26", "title": title, "category": "LOGIN", "fields": fields}

    def test_found_by_its_title_for_a_secret_reference_may_hold_no_at_sign(self, tmp_path: Path) -> None:
        """``op read op://Voip/alice@example.com/password`` says: invalid character in secret reference: '@'."""
        made = self.made(tmp_path, self.item(), "Voip")
        assert ask(made, make_request()).secret.reveal() == "pä ss=1".encode()
        assert (tmp_path / "argv").read_text().split() == [
            "item", "get", "alice@example.com", "--vault", "Voip", "--format", "json",
        ]  # fmt: skip

    def test_an_item_that_op_found_by_its_website_is_not_ours(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            ask(self.made(tmp_path, self.item(title="example.com")), make_request())

    @pytest.mark.parametrize("nothing", [{"fields": []}, {}], ids=["no field", "empty"])
    def test_an_item_without_a_password(self, tmp_path: Path, nothing: dict[str, object]) -> None:
        with pytest.raises(NotFound):
            ask(self.made(tmp_path, self.item(password="") | nothing), make_request())

    @pytest.mark.parametrize(
        ("says", "kind"),
        [
            ('"alice@example.com" isn\'t an item in the "Private" vault. Specify the item with its UUID', NotFound),
            ("You are not currently signed in. Please run `op signin --help` for instructions", Denied),
            ("error initializing client: authorization prompt dismissed, please try again", Denied),
            ('More than one item matches "alice@example.com". Try again and specify the item by its ID', Unavailable),
            ("dial tcp: lookup my.1password.com: no such host", Unavailable),
        ],
    )
    def test_its_one_exit_status_is_told_apart_by_its_words(self, tmp_path: Path, says: str, kind: type) -> None:
        (tmp_path / "says").write_text(f"[ERROR] 2026/11/29 07:00:00 {says}\n")
        made, _ = with_tool(tmp_path, "sipcli-op", "op", f"cat {tmp_path}/says >&2; exit 1")
        with pytest.raises(kind):
            ask(made, make_request())

    @pytest.mark.parametrize("said", ["Segmentation fault", "[]", '{"fields": 7}', "{}"])
    def test_another_answer_than_is_documented(self, tmp_path: Path, said: str) -> None:
        with pytest.raises(Unavailable):
            ask(self.made(tmp_path, said), make_request())


class TestBitwarden:
    def made(self, tmp_path: Path, answer: object, status: int = 0, before: str = "") -> ExecProvider:
        (tmp_path / "answer").write_text(before + (answer if isinstance(answer, str) else json.dumps(answer)))
        return with_tool(tmp_path, "sipcli-bw", "bw", f"cat {tmp_path}/answer; exit {status}")[0]

    def items(self, *names: str, login: object = None) -> dict[str, object]:
        """As ``bw --response list items`` prints them; the password is made of the name."""

        def item(name: str) -> dict[str, object]:
            known = login or {"username": "alice", "password": f"pä {name}"}
            return {"object": "item", "name": name, "type": 1, "login": known}

        return {"success": True, "data": {"object": "list", "data": [item(name) for name in names]}}

    def test_found(self, tmp_path: Path) -> None:
        answer = self.items("alice@example.com")
        assert ask(self.made(tmp_path, answer), make_request()).secret.reveal() == "pä alice@example.com".encode()
        assert (tmp_path / "argv").read_text().split() == [
            "--nointeraction", "--response", "list", "items", "--search", "alice@example.com",
        ]  # fmt: skip
        made = self.made(tmp_path, answer, before="Session key is invalid.\n")
        assert ask(made, make_request()).secret.reveal() == "pä alice@example.com".encode()

    def test_only_the_item_of_that_very_name_will_do(self, tmp_path: Path) -> None:
        """bw finds what has the address in its name or user name: the mail account of the same person, say.

        ``bw get password`` gives its password away if nothing else is found, and nothing at all if both are.
        """
        others = ("malice@example.com", "mail alice@example.com", "ALICE@example.com")
        with pytest.raises(NotFound):
            ask(self.made(tmp_path, self.items(*others)), make_request())
        found = ask(self.made(tmp_path, self.items(*others, "alice@example.com")), make_request())
        assert found.secret.reveal() == "pä alice@example.com".encode()

    @pytest.mark.parametrize("login", [{"username": "alice", "password": None}, {"username": "alice"}])
    def test_an_item_without_a_password(self, tmp_path: Path, login: object) -> None:
        with pytest.raises(NotFound):
            ask(self.made(tmp_path, self.items("alice@example.com", login=login)), make_request())

    def test_two_of_that_name(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable):
            ask(self.made(tmp_path, self.items("alice@example.com", "alice@example.com")), make_request())

    @pytest.mark.parametrize(
        ("message", "kind"),
        [("Vault is locked.", Denied), ("You are not logged in.", Denied), ("fetch failed", Unavailable)],
    )
    def test_what_it_complains_of(self, tmp_path: Path, message: str, kind: type) -> None:
        with pytest.raises(kind):
            ask(self.made(tmp_path, {"success": False, "message": message}, 1), make_request())

    @pytest.mark.parametrize("said", ["Segmentation fault", "[]", '{"success": true, "data": [1]}', "7"])
    def test_another_answer_than_is_documented(self, tmp_path: Path, said: str) -> None:
        with pytest.raises(Unavailable):
            ask(self.made(tmp_path, said, 139), make_request())


class TestSecurity:
    def made(self, tmp_path: Path, said: str, *arguments: str) -> ExecProvider:
        """``-g``: the attributes on standard output, the password on standard error."""
        (tmp_path / "said").write_bytes(said.encode())
        body = f"echo 'class: \"genp\"'; cat {tmp_path}/said >&2"
        return with_tool(tmp_path, "sipcli-security", "security", body, *arguments)[0]

    def test_found(self, tmp_path: Path) -> None:
        made = self.made(tmp_path, 'password: "pa ss"\n', "voip")
        assert ask(made, make_request()).secret.reveal() == b"pa ss"
        assert (tmp_path / "argv").read_text().split() == [
            "find-generic-password", "-s", "voip", "-a", "alice@example.com", "-g",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("said", "password"),
        [
            ('password: "ab"cd"\n', 'ab"cd'),
            ('password: "0xDEADBEEF"\n', "0xDEADBEEF"),
            ('password: "  x%s  "\n', "  x%s  "),
            ('password: 0x636166C3A9  "caf\\303\\251"\n', "café"),
            ('password: 0x61625C6364  "ab\\134cd"\n', "ab\\cd"),
            ('password: 0x25732527C3A922  "..."\n', "%s%'é\""),
        ],
    )
    def test_what_is_not_plain_comes_in_hex_and_says_so(self, tmp_path: Path, said: str, password: str) -> None:
        """``-w`` prints ``636166c3a9`` for café, and nothing that tells it from a password that is spelt like that."""
        assert ask(self.made(tmp_path, said), make_request()).secret.reveal() == password.encode()

    def test_an_empty_one_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            ask(self.made(tmp_path, "password: \n"), make_request())

    @pytest.mark.parametrize("octet", ["0A", "0d", "00"])
    def test_a_password_writes_no_line_of_its_own(self, tmp_path: Path, octet: str) -> None:
        with pytest.raises(Unavailable):
            ask(self.made(tmp_path, f'password: 0x61{octet}757365726E616D653D626F62  "..."\n'), make_request())

    @pytest.mark.parametrize(
        ("status", "kind"), [(44, NotFound), (36, Denied), (51, Denied), (128, Denied), (1, Unavailable)]
    )
    def test_its_exit_statuses(self, tmp_path: Path, status: int, kind: type) -> None:
        made, terminal = with_tool(tmp_path, "sipcli-security", "security", f"echo 'no such thing' >&2; exit {status}")
        with pytest.raises(kind):
            ask(made, make_request())
        assert terminal.shown == ([] if kind is NotFound else ["tested: no such thing"])


def test_no_pass_in_PATH_is_no_locked_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    terminal = FakeTerminal()
    options = {"command": str(install("sipcli-pass", tmp_path)), "env": ["PATH"]}
    with pytest.raises(Unavailable):
        ask(ExecProvider(make_context(options, terminal=terminal)), make_request())
    assert terminal.shown == ["tested: pass cannot be run: it is not in PATH"]


@pytest.mark.parametrize("name", ["sipcli-op", "sipcli-bw"])
def test_a_tool_that_is_not_installed_is_no_empty_store(tmp_path: Path, name: str) -> None:
    """Python ends with 1 for an exception, and 1 says that there is nothing for this account."""
    terminal = FakeTerminal()
    made = ExecProvider(make_context({"command": str(install(name, tmp_path))}, terminal=terminal))
    with pytest.raises(Unavailable):
        ask(made, make_request())
    assert terminal.shown == [f"tested: {name.removeprefix('sipcli-')} cannot be run: No such file or directory"]


@pytest.mark.parametrize("name", ["sipcli-op", "sipcli-bw", "sipcli-security"])
def test_those_that_only_get_say_so(tmp_path: Path, name: str) -> None:
    made = ExecProvider(make_context({"command": str(install(name, tmp_path))}))
    with pytest.raises(Unavailable, match="keeps nothing"):
        made.remember(make_request(), PasswordCredentials("alice", Secret("x")))
