"""systemd credentials, and the window of an askpass program (also where the prompt provider falls back to it)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import (
    Cancelled,
    CredentialProvider,
    CredentialRequest,
    Denied,
    NotFound,
    ProviderContext,
    ProviderError,
    Rejection,
    Unavailable,
)
from sipcli.testing import FakeTerminal, ProviderContract, ask, make_context, make_request
from sipcli_providers import _askpass, askpass, prompt
from sipcli_providers.askpass import AskpassProvider
from sipcli_providers.prompt import PromptProvider
from sipcli_providers.systemd import SystemdProvider
from tests.support.helpers import FAULTS, SECRET, nothing_left, write_helper
from tests.support.real import require

AS_ROOT = os.geteuid() == 0


def error_of(made: CredentialProvider, request: CredentialRequest | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(made, request or make_request())
    return caught.value


# -- systemd --------------------------------------------------------------------------------------------------------


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder as systemd makes it: 0500 and 0400, its owner the service's user or root (systemd.exec(5))."""
    folder = tmp_path / "sipcli.service"
    folder.mkdir()
    (folder / "sip-alice").write_text(SECRET + "\n")
    (folder / "sip-alice").chmod(0o400)
    folder.chmod(0o500)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    yield folder
    folder.chmod(0o700)


class TestSystemdKeepsTheContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _given(self, given: Path) -> None:
        pass

    def make_provider(self, context: ProviderContext) -> SystemdProvider:
        options = {"credential": "sip-{username}"}
        return SystemdProvider(ProviderContext(name=context.name, options=options, terminal=context.terminal))

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), SECRET


class TestSystemd:
    def provider(self, credential: str = "sip-alice") -> SystemdProvider:
        return SystemdProvider(make_context({"credential": credential}, name="service"))

    @pytest.mark.parametrize(("folder_mode", "mode"), [(0o500, 0o400), (0o550, 0o440), (0o700, 0o600)])
    def test_T33_the_modes_that_systemd_makes(self, given: Path, folder_mode: int, mode: int) -> None:
        """0550 and 0440 are what an ACL for the service's user looks like.  The second fails without
        CREDENTIALS_DIRECTORY in ``_is_secrets_place``.
        """
        (given / "sip-alice").chmod(mode)
        given.chmod(folder_mode)
        found = ask(self.provider(), make_request())
        assert found.secret.reveal() == SECRET.encode()
        assert found.ref == "service:sip-alice"

    @pytest.mark.parametrize("mode", [0o420, 0o402, 0o666])
    def test_T33_others_may_not_write_it(self, given: Path, mode: int) -> None:
        """Fails without the check of ``_OTHERS_WRITE`` in ``_judge_file``."""
        (given / "sip-alice").chmod(mode)
        assert isinstance(error_of(self.provider()), Denied)

    def test_T33_a_link_out_of_the_folder_is_judged_where_it_leads(self, given: Path, tmp_path: Path) -> None:
        """Fails if the link is judged by the folder it lies in."""
        (tmp_path / "elsewhere").write_text("x")
        (tmp_path / "elsewhere").chmod(0o444)
        given.chmod(0o700)
        (given / "link").symlink_to(tmp_path / "elsewhere")
        assert isinstance(error_of(self.provider("link")), Denied)

    @pytest.mark.skipif(not AS_ROOT, reason="only root can give a file away")
    def test_T33_it_belongs_to_us_or_to_root(self, given: Path) -> None:
        """Fails without the check of the owner in ``_judge_file``."""
        os.chown(given / "sip-alice", 12345, 12345)
        assert "uid 12345" in str(error_of(self.provider()))

    def test_outside_a_service_there_is_none(self, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert isinstance(error_of(self.provider("another")), NotFound)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", "relative")
        assert isinstance(error_of(self.provider()), Denied)
        monkeypatch.delenv("CREDENTIALS_DIRECTORY")
        error = error_of(self.provider())
        assert isinstance(error, NotFound)
        assert "LoadCredential=" in str(error)
        assert "is not set" in self.provider().describe()

    def test_the_network_and_the_account_cannot_lead_out(self, given: Path) -> None:
        assert isinstance(error_of(self.provider("{username}"), make_request(username="../../etc/shadow")), Denied)
        for path in ("/etc/shadow", "../x", ".."):
            with pytest.raises(ValueError, match="not a path"):
                self.provider(path)

    def test_two_lines_are_no_password(self, given: Path) -> None:
        (given / "sip-alice").chmod(0o600)
        (given / "sip-alice").write_text("one\ntwo\n")
        assert "more than one line" in str(error_of(self.provider()))

    @pytest.mark.real("systemd-creds")
    def test_systemd_creds_reads_the_same(self, given: Path) -> None:
        require("systemd-creds")
        shown = subprocess.run(["systemd-creds", "cat", "sip-alice"], capture_output=True, timeout=20, check=True)
        assert shown.stdout.removesuffix(b"\n") == ask(self.provider(), make_request()).secret.reveal()

    @pytest.mark.real("systemd-creds")
    def test_one_that_was_encrypted_as_the_manual_says(
        self, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """LoadCredentialEncrypted= hands over what ``decrypt`` gives; with a host key of the test's own."""
        require("systemd-creds")
        monkeypatch.setenv("SYSTEMD_CREDENTIAL_SECRET", str(tmp_path / "host-key"))
        plain, kept = tmp_path / "password.txt", tmp_path / "sip"
        plain.write_text("öffne dich\n")
        for argv in (
            ["encrypt", "--with-key=host", "--name=sip", str(plain), str(kept)],
            ["decrypt", "--name=sip", str(kept), str(plain)],
        ):
            plain.chmod(0o600)
            subprocess.run(["systemd-creds", *argv], capture_output=True, timeout=20, check=True)
        assert "öffne" not in kept.read_text()
        given.chmod(0o700)
        (given / "sip").write_bytes(plain.read_bytes())
        (given / "sip").chmod(0o400)
        assert ask(self.provider("sip"), make_request()).secret.reveal() == "öffne dich".encode()


# -- askpass --------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the developer's display nor his terminal may be asked."""
    for name in ("SIPCLI_ASKPASS", "SSH_ASKPASS", "SIPCLI_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    terminal(monkeypatch, False)


def terminal(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    for module in (askpass, prompt):
        monkeypatch.setattr(module, "has_terminal", lambda: there)


def window(folder: Path, body: str = f"echo {SECRET}", name: str = "window") -> Path:
    """An askpass program that notes what it was asked in ``asked``."""
    return write_helper(folder / name, f'printf "%s\\n" "$#" "$1" > {folder}/asked; {body}')


class TestAskpassKeepsTheContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _window(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DISPLAY", ":0")
        self.folder = tmp_path
        self.program = window(tmp_path)

    def make_provider(self, context: ProviderContext) -> AskpassProvider:
        options = {"command": str(self.program)}
        return AskpassProvider(ProviderContext(name=context.name, options=options, terminal=context.terminal))

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), SECRET

    def unknown(self) -> None:
        """A person answers for everybody."""

    @contextlib.contextmanager
    def _hanging(self) -> Iterator[tuple[AskpassProvider, CredentialRequest]]:
        program = write_helper(self.folder / "open", FAULTS["hanging"])
        yield AskpassProvider(make_context({"command": str(program)})), make_request()

    def hanging(self) -> contextlib.AbstractContextManager[tuple[AskpassProvider, CredentialRequest]]:
        return self._hanging()


class TestAskpass:
    def provider(self, **options: Any) -> AskpassProvider:
        return AskpassProvider(make_context(options, name="window"))

    def test_the_prompt_names_ours_first_and_then_what_the_server_says(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DISPLAY", ":0")
        monkeypatch.setenv("SSH_ASKPASS", str(window(tmp_path)))
        ask(self.provider(), make_request())
        assert (tmp_path / "asked").read_text() == (
            "1\nsipcli: password for account work, alice@example.com (the server says it is “example.com”):\n"
        )

    def test_T12_the_server_that_tls_verified_is_named_before_what_it_says(self) -> None:
        """Fails without ``server_of`` in ``question``."""
        asked = _askpass.question(make_request(origin="example.com", verified=True))
        assert ", server example.com (TLS) (the server says" in asked
        assert "(TLS)" not in _askpass.question(make_request(origin="192.0.2.1:5060"))

    def test_T12_a_realm_in_the_prompt_is_inert(self) -> None:
        """Fails without ``printable`` in ``question``; a closing quote of the realm's cannot end ours either."""
        asked = _askpass.question(make_request(realm="x\x1b]0;a\x07\r\n\u202e”) account bank:"))
        assert asked.isprintable()
        assert asked.count("”") == 1
        refused = Rejection(provider="window", username="alice", status=401)
        assert _askpass.question(make_request(rejected=refused)).startswith("The server refused that password (401). ")

    def test_SIPCLI_ASKPASS_comes_before_SSH_ASKPASS(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
        monkeypatch.setenv("SSH_ASKPASS", str(window(tmp_path, "echo ssh", "ssh")))
        assert ask(self.provider(), make_request()).secret.reveal() == b"ssh"
        monkeypatch.setenv("SIPCLI_ASKPASS", str(window(tmp_path, "echo sipcli", "sipcli")))
        assert ask(self.provider(), make_request()).secret.reveal() == b"sipcli"

    @pytest.mark.parametrize(
        ("require", "display", "there", "asked"),
        [
            (None, True, False, True), (None, True, True, False), (None, False, False, False),
            ("never", True, False, False), ("prefer", True, True, True), ("prefer", False, True, False),
            ("force", False, True, True), ("nonsense", True, True, False),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("kind", [AskpassProvider, PromptProvider])
    def test_when_the_window_is_asked(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        kind: type[AskpassProvider],
        require: str | None,
        display: bool,
        there: bool,
        asked: bool,
    ) -> None:
        """As ssh(1) has it for SSH_ASKPASS_REQUIRE; the prompt provider, and so the default chain, does the same."""
        monkeypatch.setenv("SIPCLI_ASKPASS", str(window(tmp_path)))
        if require is not None:
            monkeypatch.setenv("SIPCLI_ASKPASS_REQUIRE", require)
        if display:
            monkeypatch.setenv("DISPLAY", ":0")
        terminal(monkeypatch, there)
        made = kind(make_context({}, terminal=FakeTerminal(["typed"] if there else [])))
        if asked:
            assert ask(made, make_request()).secret.reveal() == SECRET.encode()
        elif there and kind is PromptProvider:  # type: ignore[comparison-overlap]
            assert ask(made, make_request()).secret.reveal() == b"typed"
        else:
            assert isinstance(error_of(made), NotFound)
        assert (tmp_path / "asked").exists() == asked

    @pytest.mark.parametrize(
        ("require", "display", "there", "elsewhere"),
        [
            (None, True, False, False), (None, True, True, True), (None, False, False, True),
            ("never", True, False, True), ("prefer", True, True, False), ("force", False, False, False),
        ],
    )  # fmt: skip
    def test_where_a_window_will_be_opened_nobody_is_awaited_at_another_terminal(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        require: str | None, display: bool, there: bool, elsewhere: bool,
    ) -> None:  # fmt: skip
        monkeypatch.setenv("SIPCLI_ASKPASS", str(window(tmp_path)))
        if require is not None:
            monkeypatch.setenv("SIPCLI_ASKPASS_REQUIRE", require)
        if display:
            monkeypatch.setenv("DISPLAY", ":0")
        terminal(monkeypatch, there)
        assert PromptProvider(make_context({})).at_terminal is elsewhere

    @pytest.mark.parametrize("kind", [AskpassProvider, PromptProvider])
    def test_nobody_is_asked_where_nobody_may_be(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[AskpassProvider]
    ) -> None:
        monkeypatch.setenv("SIPCLI_ASKPASS", str(window(tmp_path)))
        monkeypatch.setenv("SIPCLI_ASKPASS_REQUIRE", "force")
        assert isinstance(error_of(kind(make_context({})), make_request(interactive=False)), NotFound)
        assert not (tmp_path / "asked").exists()

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            ("exit 1", Cancelled), ("kill -9 $$", Cancelled), ("echo", Cancelled), ("exit 0", Cancelled),
            ("exec yes", Unavailable), ("exec sleep 600", Unavailable), ("trap '' TERM; sleep 600", Unavailable),
            ("printf 'a\\000b\\n'", Denied),
        ],
    )  # fmt: skip
    def test_T17_each_fault_has_its_error_and_leaves_nothing(
        self, tmp_path: Path, body: str, kind: type[ProviderError]
    ) -> None:
        """``yes`` never ends, and so is ended at 64 KiB.  Fails without ``_signal`` in ``_living``."""
        made = self.provider(command=str(window(tmp_path, body)), require="force")
        with nothing_left(str(tmp_path)):
            request = make_request(deadline=time.monotonic() + 1)
            assert type(error_of(made, request)) is kind
            request.cancel.close()

    def test_the_first_line_counts(self, tmp_path: Path) -> None:
        made = self.provider(command=str(window(tmp_path, "printf ' p w \\r\\nmore\\n'")), require="force")
        assert ask(made, make_request()).secret.reveal() == b" p w "

    @pytest.mark.parametrize("kind", [AskpassProvider, PromptProvider])
    def test_T16_a_program_that_others_may_write_is_not_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[AskpassProvider]
    ) -> None:
        """Fails without ``trusted_program`` in ``run_program``."""
        program = window(tmp_path)
        program.chmod(0o777)
        monkeypatch.setenv("SIPCLI_ASKPASS", str(program))
        monkeypatch.setenv("SIPCLI_ASKPASS_REQUIRE", "force")
        assert isinstance(error_of(kind(make_context({}))), Denied)
        assert not (tmp_path / "asked").exists()

    def test_T16_PATH_is_not_searched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Fails without the check of ``is_absolute`` in ``of_environment``."""
        window(tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("SIPCLI_ASKPASS", "window")
        monkeypatch.setenv("SIPCLI_ASKPASS_REQUIRE", "force")
        assert "SIPCLI_ASKPASS must be a whole path" in str(error_of(self.provider()))

    def test_it_says_where_it_looks(self, tmp_path: Path) -> None:
        assert "neither SIPCLI_ASKPASS nor SSH_ASKPASS names a program" in self.provider().describe()
        program = window(tmp_path)
        assert self.provider(command=str(program), require="force").describe() == f"asks in a window ({program})"
        program.chmod(0o777)
        assert "chmod go-w" in self.provider(command=str(program)).describe()

    def test_there_is_a_terminal_only_where_it_can_be_opened(self, tmp_path: Path) -> None:
        assert not _askpass.has_terminal(str(tmp_path / "none"))
        assert _askpass.has_terminal("/dev/null")
