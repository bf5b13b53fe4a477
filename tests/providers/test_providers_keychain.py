"""The keychain provider on gnome-keyring, in every state a user's machine may be in."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keyring.backends.Windows
import pytest

from sipcli.credentials import (
    BearerCredentials,
    CancelSignal,
    CredentialProvider,
    CredentialRequest,
    Denied,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    Secret,
    Unavailable,
)
from sipcli.testing import FakeTerminal, ProviderContract, ask, make_context, make_request
from sipcli_providers._patience import Patience, Wait
from sipcli_providers.keychain import Keychain
from tests.support.real import require
from tests.support.servers.keyring import Keyring, State

ROOT = Path(__file__).parents[2]

CHILD = """
import json, sys
sys.path[:0] = json.loads(sys.argv[2])
from sipcli.credentials import PasswordCredentials, ProviderError, Secret
from sipcli.plugins import make_provider, where
from sipcli.testing import FakeTerminal, make_request

steps = json.loads(sys.argv[1])
provider = make_provider("keychain", steps["options"], FakeTerminal())
request = make_request(**steps.get("request", {}))
for verb, value in steps["steps"]:
    try:
        if verb == "get":
            found = provider.get(request)
            print(json.dumps(["found", found.username, found.secret.reveal().decode()]))
        elif verb == "where":
            print(json.dumps([where(provider)]))
        else:
            getattr(provider, verb)(request, PasswordCredentials("alice", Secret(value)))
            print(json.dumps(["done"]))
    except ProviderError as error:
        print(json.dumps([type(error).__name__, str(error), getattr(error, "retry_after", None)]))
"""

ROGUE = """
import pathlib, os
from keyring.backend import KeyringBackend
pathlib.Path(__file__).with_name("loaded").touch()

class PlaintextKeyring(KeyringBackend):
    priority = 0.5
    entries = {}
    def get_password(self, service, username):
        return self.entries.get((service, username), "from plain text")
    def set_password(self, service, username, password):
        self.entries[service, username] = password
    def delete_password(self, service, username):
        del self.entries[service, username]
"""

Start = Callable[[State], Keyring]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    require("keyring")
    sessions: list[Keyring] = []

    def one(state: State) -> Keyring:
        sessions.append(Keyring(tmp_path / f"session{len(sessions)}", state))
        return sessions[-1]

    yield one
    for session in sessions:
        session.stop()


@pytest.fixture
def rogue(tmp_path: Path) -> Path:
    """A folder with an installed plain text backend, as keyrings.alt brings one."""
    folder = tmp_path / "rogue"
    info = folder / "rogue-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "rogue_backend.py").write_text(ROGUE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rogue\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[keyring.backends]\nrogue = rogue_backend\n")
    return folder


def child(
    session: Keyring,
    *steps: str | tuple[str, str],
    options: dict[str, Any] | None = None,
    request: dict[str, Any] | None = None,
    path: tuple[Path, ...] = (),
    env: dict[str, str] | None = None,
) -> list[list[Any]]:
    """What each step gave, in a program of this session."""
    plan = {
        "options": options or {},
        "request": request or {},
        "steps": [(step, "") if isinstance(step, str) else step for step in steps],
    }
    places = [str(place) for place in (ROOT, ROOT / "providers", *path)]
    out = session.run(CHILD, json.dumps(plan), json.dumps(places), env=env)
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.real("keyring")
class TestStates:
    def test_unlocked(self, start: Start) -> None:
        assert child(start("unlocked"), "get", "where") == [
            ["found", "alice", "secret123"],
            ["Secret Service (keyring.backends.SecretService.Keyring)"],
        ]

    def test_locked_is_denied_and_says_how_to_unlock(self, start: Start) -> None:
        (kind, message, _), *_ = child(start("locked"), "get")
        assert kind == "Denied"
        assert "unlock" in message

    def test_empty_is_unavailable_and_says_how_to_begin(self, start: Start) -> None:
        (kind, message, retry), *_ = child(start("empty"), "get")
        assert (kind, retry) == ("Unavailable", 3600.0)
        assert "no collection" in message

    @pytest.mark.parametrize(("state", "says"), [("absent", "without a Secret Service"), ("nobus", "no D-Bus session")])
    def test_a_headless_machine_gets_one_sentence(self, start: Start, state: State, says: str) -> None:
        (kind, message, retry), (described,) = child(start(state), "get", "where")
        assert kind == "Unavailable"
        assert says in message
        assert "vault, file or prompt" in message
        assert described == message
        assert retry == 3600.0, "the chain need not ask again in this challenge"

    @pytest.mark.parametrize("state", ["absent", "nobus", "empty"])
    def test_one_that_nobody_named_is_absent_in_silence(self, start: Start, state: State) -> None:
        (kind, *_), *_ = child(start(state), "get", options={"optional": True})
        assert kind == "NotFound"

    def test_remember_and_forget_against_the_real_store(self, start: Start) -> None:
        session = start("unlocked")
        steps = [
            "get",
            ("remember", "a new pässword \u2713"),
            "get",
            ("forget", "not this one"),
            "get",
            ("forget", "a new pässword \u2713"),
            "get",
            ("forget", "a new pässword \u2713"),
        ]
        results = child(session, *steps)
        assert [result[0] for result in results] == [
            "found", "done", "found", "done", "found", "done", "NotFound", "done",
        ]  # fmt: skip
        assert results[2][2] == results[4][2] == "a new pässword \u2713"
        assert "sipcli auth save work" in results[6][1]

    def test_the_keyring_command_finds_what_we_keep(self, start: Start) -> None:
        session = start("unlocked")
        child(session, ("remember", "kept by us"), request={"aor": "sips:bob@example.org;transport=tcp"})
        found = session.run("import keyring; print(keyring.get_password('sipcli', 'bob@example.org'))")
        assert found == "kept by us"

    def test_another_service_and_user(self, start: Start) -> None:
        session = start("unlocked")
        options = {"service": "phones", "username": "{account}/{domain}"}
        assert child(session, ("remember", "x"), "get", options=options)[1][0] == "found"
        assert session.run("import keyring; print(keyring.get_password('phones', 'work/example.com'))") == "x"

    def test_hostile_names_stay_names(self, start: Start) -> None:
        session = start("unlocked")
        for user in ("o'brien", 'a"b', "名前", "..", "a/b", "*", "%"):
            request = {"aor": f"sip:{user}@example.com"}
            (missing, *_), (kept,), (found, _, secret) = child(
                session, "get", ("remember", f"of {user}"), "get", request=request
            )
            assert (missing, kept, found, secret) == ("NotFound", "done", "found", f"of {user}")


@pytest.mark.real("keyring")
class TestWhichKeychain:
    """Plain text is refused, and nothing but the user's own configuration may choose a backend."""

    def test_T15_T16_an_installed_plain_text_backend_is_not_even_loaded(self, start: Start, rogue: Path) -> None:
        (kind, *_), *_ = child(start("nobus"), "get", path=(rogue,))
        assert kind == "Unavailable"
        assert not (rogue / "loaded").exists()

    def test_it_is_used_where_that_was_allowed(self, start: Start, rogue: Path) -> None:
        found, where = child(start("nobus"), "get", "where", path=(rogue,), options={"allow_plaintext": True})
        assert found[2] == "from plain text"
        assert "PlaintextKeyring" in where[0]

    def test_a_real_keychain_comes_first_even_then(self, start: Start, rogue: Path) -> None:
        (found, *_) = child(start("unlocked"), "get", path=(rogue,), options={"allow_plaintext": True})
        assert found[2] == "secret123"

    @pytest.mark.parametrize("state", ["nobus", "unlocked"])
    def test_T16_the_environment_does_not_choose(self, start: Start, rogue: Path, state: State) -> None:
        env = {"PYTHON_KEYRING_BACKEND": "rogue_backend.PlaintextKeyring"}
        (result, *_) = child(start(state), "get", path=(rogue,), env=env)
        assert result[0] == ("found" if state == "unlocked" else "Unavailable")
        assert "from plain text" not in result
        assert not (rogue / "loaded").exists()

    def test_T16_the_environment_does_not_set_properties(self, start: Start) -> None:
        env = {"KEYRING_PROPERTY_PREFERRED_COLLECTION": "/org/freedesktop/secrets/collection/evil"}
        (result, *_) = child(start("unlocked"), "get", env=env)
        assert result == ["found", "alice", "secret123"]

    def test_T15_named_in_our_options_it_is_refused_until_allowed(self, start: Start, rogue: Path) -> None:
        session = start("unlocked")
        options: dict[str, Any] = {"backend": "rogue_backend.PlaintextKeyring"}
        (refused, *_) = child(session, "get", path=(rogue,), options=options)
        assert refused[0] == "Denied"
        assert "allow_plaintext = true" in refused[1]
        (found, *_) = child(session, "get", path=(rogue,), options=options | {"allow_plaintext": True})
        assert found[2] == "from plain text"

    @pytest.mark.parametrize(
        ("backend", "kind"),
        [
            ("rogue_backend.PlaintextKeyring", "Denied"),
            ("keyring.backends.chainer.ChainerBackend", "Denied"),
            ("keyring.backends.SecretService.Keyring", "found"),
            ("keyring.backends.fail.Keyring", "Unavailable"),
            ("keyring.backends.null.Keyring", "NotFound"),
            ("no_such_module.Keyring", "Unavailable"),
        ],
    )
    def test_T15_the_users_keyringrc_is_honoured_and_judged(
        self, start: Start, rogue: Path, backend: str, kind: str
    ) -> None:
        session = start("unlocked")
        rc = session.directory / "config" / "python_keyring" / "keyringrc.cfg"
        rc.parent.mkdir(parents=True)
        rc.write_text(f"[backend]\ndefault-keyring={backend}\n")
        (result, *_) = child(session, "get", path=(rogue,))
        assert result[0] == kind, result

    def test_a_chain_of_good_ones_is_good(self, start: Start) -> None:
        session = start("unlocked")
        options = {"backend": "keyring.backends.chainer.ChainerBackend"}
        (result, *_) = child(session, "get", options=options)
        assert result == ["found", "alice", "secret123"]


@pytest.mark.real("keyring")
class TestKeychainKeepsTheContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _session(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        session = start("unlocked")
        for name, value in session.env.items():
            monkeypatch.setenv(name, value)

    def make_provider(self, context: ProviderContext) -> CredentialProvider:
        from sipcli_providers.keychain import KeychainProvider

        return KeychainProvider(context)

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), "secret123"

    @contextlib.contextmanager
    def _hanging(self) -> Iterator[tuple[CredentialProvider, CredentialRequest]]:
        """A desktop whose unlock dialog nobody answers."""
        from sipcli_providers.keychain import KeychainProvider

        provider = KeychainProvider(make_context())
        closed = threading.Event()
        provider._keychain._backends = lambda: [_Dialog(closed)]  # type: ignore[method-assign,list-item,return-value]
        yield provider, make_request()
        closed.set()

    def hanging(self) -> contextlib.AbstractContextManager[tuple[CredentialProvider, CredentialRequest]]:
        return self._hanging()


class _Dialog:
    def __init__(self, closed: threading.Event) -> None:
        self.closed = closed

    def get_password(self, service: str, user: str) -> None:
        self.closed.wait(30)


class TestKeychainAlone:
    """What needs no keychain."""

    def provider(self, **options: Any) -> Any:
        from sipcli_providers.keychain import KeychainProvider

        return KeychainProvider(make_context(options, name="keychain"))

    def test_tokens_are_neither_given_nor_kept(self) -> None:
        provider = self.provider()
        with pytest.raises(NotFound, match="token"):
            ask(provider, make_request(scheme="bearer"))
        provider.remember(make_request(), BearerCredentials(Secret("t")))

    def test_what_is_no_text_cannot_be_kept(self) -> None:
        from sipcli.credentials import Denied

        with pytest.raises(Denied, match="UTF-8"):
            self.provider().remember(make_request(), PasswordCredentials("a", Secret(b"\xff\xfe")))

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"allow_plaintext": "yes"}, "must be true or false"),
            ({"alow_plaintext": True}, "did you mean allow_plaintext?"),
            ({"password": "x"}, "use password_file"),
            ({"username": "{realm}"}, "does not exist"),
        ],
    )
    def test_a_mistake_is_one_sentence(self, options: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=r"^\[providers\.keychain\]") as caught:
            self.provider(**options)
        assert says in str(caught.value)

    def test_T17_a_dialog_nobody_answers_ends_at_the_deadline(self) -> None:
        provider = self.provider()
        closed = threading.Event()
        provider._keychain._backends = lambda: [_Dialog(closed)]
        with pytest.raises(Unavailable, match="unlock dialog"):
            ask(provider, make_request(deadline=time.monotonic() + 0.2))
        closed.set()


class TestPatience:
    """The threads behind calls that cannot be interrupted."""

    def test_T17_stuck_calls_are_bounded_and_named(self) -> None:
        patience, release = Patience("the store", width=2), threading.Event()
        for _ in range(2):
            with pytest.raises(Unavailable, match="the store did not answer in time: try again later"):
                patience.run(release.wait, Wait(CancelSignal(), time.monotonic() + 0.05))
        for _ in range(5):
            with pytest.raises(Unavailable, match="2 earlier calls have not come back"):
                patience.run(release.wait, Wait(CancelSignal(), time.monotonic() + 0.05))
        assert [thread.name for thread in threading.enumerate()].count("sipcli the store") == 2
        release.set()
        assert patience.run(lambda: 7, Wait(CancelSignal(), time.monotonic() + 5)) == 7

    def test_an_error_comes_over_as_it_was(self) -> None:
        def fail() -> None:
            raise KeyError("x")

        with pytest.raises(KeyError, match="x"):
            Patience("x").run(fail, Wait(CancelSignal(), time.monotonic() + 5))

    def test_a_fake_terminal_has_nobody(self) -> None:
        with pytest.raises(NotFound):
            FakeTerminal().ask("?", cancel=CancelSignal())


class TestLimits:
    """T35: what a keychain cannot do is said, in the docs and when it happens."""

    def test_T35_the_page_says_who_else_is_let_in_and_what_does_not_fit(self) -> None:
        page = " ".join((ROOT / "docs/providers/keychain.md").read_text().split())
        said = page.partition("## What a keychain does not do")[2]
        assert "does not protect it from other programs that run as you" in said
        assert "macOS lets in whatever the same Python interpreter runs" in said
        assert "Windows keeps at most 2560 octets in an entry, 1280 characters" in said
        assert "too little for large tokens" in said

    @pytest.mark.parametrize(("text", "octets"), [("x" * 1281, 2562), ("\N{KEY}" * 641, 2564)])
    def test_T35_what_is_too_large_for_windows_is_refused_with_the_next_step(
        self, monkeypatch: pytest.MonkeyPatch, text: str, octets: int
    ) -> None:
        """keyring writes UTF-16, and Windows' own word for too much of it is "The stub received bad data"."""
        kept = windows_keychain(monkeypatch)
        with pytest.raises(Denied) as caught:
            kept.save("sipcli", "alice", Secret(text), WAIT)
        assert str(caught.value) == (
            "Windows Credential Manager (keyring.backends.Windows.WinVaultKeyring) keeps 2560 octets in an entry, and "
            f'this secret takes {octets}: keep it in a file instead (type = "file"; for oauth: store = "file")'
        )
        kept.save("sipcli", "alice", Secret("x" * 1280), WAIT)

    def test_other_keychains_have_no_such_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = windows_keychain(monkeypatch)
        monkeypatch.setattr(keyring.backends.Windows.WinVaultKeyring, "__module__", "elsewhere")
        kept.save("sipcli", "alice", Secret("x" * 100_000), WAIT)


WAIT = Wait(CancelSignal(), math.inf)


def windows_keychain(monkeypatch: pytest.MonkeyPatch) -> Keychain:
    """A keychain on keyring's own class for Windows, whose entries nobody keeps."""
    kind = keyring.backends.Windows.WinVaultKeyring
    monkeypatch.setattr(kind, "set_password", lambda *_: None)
    kept = Keychain()
    kept._chosen = [kind()]  # type: ignore[no-untyped-call]
    return kept
