"""env, file and prompt: the providers without a library."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.credentials import (
    Cancelled,
    CredentialProvider,
    CredentialRequest,
    Denied,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    ProviderError,
    Rejection,
    Unavailable,
)
from sipcli.testing import FakeTerminal, ProviderContract, ask, make_context, make_request
from sipcli_providers import _secretfile
from sipcli_providers._lookup import Template, bare_aor, domain_of, printable, user_of
from sipcli_providers.env import EnvProvider
from sipcli_providers.file import FileProvider
from sipcli_providers.prompt import PromptProvider

AS_ROOT = os.geteuid() == 0


def error_of(provider: CredentialProvider, request: CredentialRequest | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(provider, request or make_request())
    return caught.value


# -- the contract ---------------------------------------------------------------------------------------------------


class TestEnvKeepsTheContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIP_SECRET", "secret123")

    def make_provider(self, context: ProviderContext) -> EnvProvider:
        return EnvProvider(
            ProviderContext(name=context.name, options={"variable": "SIP_SECRET"}, terminal=context.terminal)
        )

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), "secret123"

    def unknown(self) -> None:
        """One variable serves whoever is configured to use it."""


class TestFileKeepsTheContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        write(tmp_path / "alice", "secret123\n")

    def make_provider(self, context: ProviderContext) -> FileProvider:
        options = {"path": f"{self.folder}/{{username}}"}
        return FileProvider(ProviderContext(name=context.name, options=options, terminal=context.terminal))

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), "secret123"


class TestStdinKeepsTheContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _stdin(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with piped(monkeypatch) as write_end:
            os.write(write_end, b"secret123\n")
            os.close(write_end)
            yield

    made: FileProvider | None = None

    def make_provider(self, context: ProviderContext) -> FileProvider:
        return FileProvider(ProviderContext(name=context.name, options={"path": "-"}, terminal=context.terminal))

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), "secret123"

    def unknown(self) -> None:
        """What is piped in serves whoever is configured to use it."""

    @contextlib.contextmanager
    def _hanging(self) -> Iterator[tuple[FileProvider, CredentialRequest]]:
        """A writer that never closes its end."""
        with pytest.MonkeyPatch.context() as patch, piped(patch) as write_end:
            yield FileProvider(make_context({"path": "-"})), make_request()
            os.close(write_end)

    def hanging(self) -> contextlib.AbstractContextManager[tuple[FileProvider, CredentialRequest]]:
        return self._hanging()


class TestPromptKeepsTheContract(ProviderContract):
    def make_provider(self, context: ProviderContext) -> PromptProvider:
        return PromptProvider(ProviderContext(name=context.name, options={}, terminal=FakeTerminal(["secret123"] * 20)))

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), "secret123"

    def unknown(self) -> None:
        """A person answers for everybody."""


# -- env ------------------------------------------------------------------------------------------------------------


class TestEnv:
    def provider(self, **options: Any) -> EnvProvider:
        return EnvProvider(make_context(options, name="container"))

    def test_unset_and_empty_are_not_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SIP_SECRET", raising=False)
        assert isinstance(error_of(self.provider(variable="SIP_SECRET")), NotFound)
        monkeypatch.setenv("SIP_SECRET", "")
        assert isinstance(error_of(self.provider(variable="SIP_SECRET")), NotFound)

    def test_octets_stay_as_they_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(os.environb, b"SIP_SECRET", b"\xff p\xc3\xa4ss ")
        assert ask(self.provider(variable="SIP_SECRET"), make_request()).secret.reveal() == b"\xff p\xc3\xa4ss "

    def test_T13_T14_a_line_break_is_denied_and_not_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIP_SECRET", "hunter2\r\nVia: x")
        error = error_of(self.provider(variable="SIP_SECRET"))
        assert isinstance(error, Denied)
        assert "hunter2" not in repr(error)
        assert error.__suppress_context__

    def test_it_says_which_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIP_SECRET", "x")
        provider = self.provider(variable="SIP_SECRET")
        assert provider.describe() == "environment variable SIP_SECRET (set)"
        assert ask(provider, make_request()).ref == "container:SIP_SECRET"

    def test_it_needs_a_variable(self) -> None:
        with pytest.raises(ValueError, match='needs variable, for example variable = "SIP_SECRET"'):
            self.provider()


# -- file -----------------------------------------------------------------------------------------------------------


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


@contextlib.contextmanager
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe as standard input; yields its writing end."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield write_end


def from_file(path: object, **options: Any) -> FileProvider:
    return FileProvider(make_context({"path": str(path), **options}, name="container"))


class TestFile:
    @pytest.mark.parametrize(
        ("content", "secret"),
        [
            ("plain", b"plain"),
            ("with a line end\n", b"with a line end"),
            ("from Windows\r\n", b"from Windows"),
            ("one line end is the editor's, two are not\n\n", None),
            (" spaces stay \n", b" spaces stay "),
            (b"\xffoctets\n", b"\xffoctets"),
            ("alice:secret", b"alice:secret"),
            ("", None),
            ("\n", None),
            ("two\nlines", None),
            ("nul\0", None),
        ],
    )
    def test_content(self, tmp_path: Path, content: str | bytes, secret: bytes | None) -> None:
        provider = from_file(write(tmp_path / "s", content))
        if secret is None:
            assert isinstance(error_of(provider), Denied | NotFound)
        else:
            assert ask(provider, make_request()).secret.reveal() == secret

    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o700, 0o500])
    def test_T33_modes_that_are_ours_alone(self, tmp_path: Path, mode: int) -> None:
        assert ask(from_file(write(tmp_path / "s", "x", mode)), make_request()).secret.reveal() == b"x"

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o444, 0o440])
    def test_T33_others_may_read_only_where_that_was_said(self, tmp_path: Path, mode: int) -> None:
        path = write(tmp_path / "s", "x", mode)
        error = error_of(from_file(path))
        assert isinstance(error, Denied)
        assert f"{mode:04o}" in str(error)
        assert "chmod 600" in str(error)
        assert "allow_readable" in str(error)
        assert ask(from_file(path, allow_readable=True), make_request()).secret.reveal() == b"x"

    @pytest.mark.parametrize("mode", [0o660, 0o602, 0o666, 0o622, 0o777])
    def test_T33_others_may_never_write(self, tmp_path: Path, mode: int) -> None:
        error = error_of(from_file(write(tmp_path / "s", "x", mode), allow_readable=True))
        assert isinstance(error, Denied)
        assert "chmod go-w" in str(error)

    def test_systemd_names_a_place_where_others_may_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write(tmp_path / "sip", "x", 0o440)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        assert ask(from_file(path), make_request()).secret.reveal() == b"x"

    def test_T33_below_run_secrets_others_may_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Docker mounts there with 0444, Kubernetes through links."""
        data = tmp_path / "secrets" / "..2026_11_22"
        data.mkdir(parents=True)
        write(data / "sip", "x", 0o444)
        (tmp_path / "secrets" / "..data").symlink_to(data.name)
        (tmp_path / "secrets" / "sip").symlink_to("..data/sip")
        path = tmp_path / "secrets" / "sip"
        assert isinstance(error_of(from_file(path)), Denied)
        monkeypatch.setattr(_secretfile, "_SECRETS_PLACE", tmp_path / "secrets")
        assert ask(from_file(path), make_request()).secret.reveal() == b"x"

    def test_T33_a_link_out_of_the_place_is_judged_where_it_leads(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "secrets").mkdir()
        write(tmp_path / "elsewhere", "x", 0o444)
        (tmp_path / "secrets" / "sip").symlink_to(tmp_path / "elsewhere")
        monkeypatch.setattr(_secretfile, "_SECRETS_PLACE", tmp_path / "secrets")
        assert isinstance(error_of(from_file(tmp_path / "secrets" / "sip")), Denied)

    def test_T33_a_link_to_a_good_file_is_good(self, tmp_path: Path) -> None:
        write(tmp_path / "s", "x")
        (tmp_path / "link").symlink_to("s")
        assert ask(from_file(tmp_path / "link"), make_request()).secret.reveal() == b"x"

    @pytest.mark.skipif(not AS_ROOT, reason="only root can give a file away")
    def test_T33_another_owner_is_denied(self, tmp_path: Path) -> None:
        path = write(tmp_path / "s", "x")
        os.chown(path, 12345, 12345)
        error = error_of(from_file(path))
        assert isinstance(error, Denied)
        assert "uid 12345" in str(error)

    @pytest.mark.skipif(not AS_ROOT, reason="only root can become somebody else")
    def test_a_file_of_root_serves_another_user(self) -> None:
        code = (
            f"import os, sys; sys.path[:0] = {sys.path!r}\n"
            "from sipcli.testing import ask, make_context, make_request\n"
            "from sipcli_providers.file import FileProvider\n"
            "os.setuid(12345)\n"
            "provider = FileProvider(make_context({'path': sys.argv[1], 'allow_readable': True}))\n"
            "print(ask(provider, make_request()).secret.reveal())"
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            path = write(Path(folder) / "s", "x", 0o444)
            done = subprocess.run(
                [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=30, check=False
            )
        assert done.stdout == "b'x'\n", done.stderr

    def test_T33_a_folder_where_all_may_write(self, tmp_path: Path) -> None:
        path = write(tmp_path / "s", "x")
        tmp_path.chmod(0o777)
        assert isinstance(error_of(from_file(path)), Denied)
        tmp_path.chmod(0o1777)  # like /tmp: the sticky bit keeps others from swapping it
        assert ask(from_file(path), make_request()).secret.reveal() == b"x"
        tmp_path.chmod(0o700)

    def test_what_is_no_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe", 0o600)
        (tmp_path / "loop").symlink_to("loop")
        for place, kind in (
            ("pipe", Denied),
            (".", Denied),
            ("loop", Denied),
            ("none", NotFound),
            ("none/x", NotFound),
        ):
            started = time.monotonic()
            assert isinstance(error_of(from_file(tmp_path / place)), kind), place
            assert time.monotonic() - started < 20, "a pipe that nobody writes into is waited for"

    def test_a_film_is_no_secret(self, tmp_path: Path) -> None:
        assert isinstance(error_of(from_file(write(tmp_path / "s", "x" * 70_000))), Denied)

    def test_home_and_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        write(tmp_path / "work-alice@example.com", "x")
        credentials = ask(from_file("~/{account}-{aor}"), make_request())
        assert credentials.secret.reveal() == b"x"
        assert credentials.ref == "container:~/work-alice@example.com"

    @pytest.mark.parametrize("username", ["../alice", "..", "/etc/passwd", "a\0b", "a\nb"])
    def test_T33_a_name_cannot_leave_the_folder(self, tmp_path: Path, username: str) -> None:
        write(tmp_path / "alice", "x")
        (tmp_path / "sub").mkdir()
        assert isinstance(error_of(from_file(tmp_path / "sub/{username}"), make_request(username=username)), Denied)

    def test_it_is_read_again_each_time(self, tmp_path: Path) -> None:
        provider = from_file(write(tmp_path / "s", "old"))
        ask(provider, make_request())
        write(tmp_path / "s", "new")
        assert ask(provider, make_request()).secret.reveal() == b"new"


class TestStdin:
    def test_it_is_read_once_and_serves_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with piped(monkeypatch) as write_end:
            os.write(write_end, b"secret123\n")
            os.close(write_end)
            provider = from_file("-")
            first = ask(provider, make_request())
            assert isinstance(first, PasswordCredentials)
            first.secret.wipe()
            assert ask(provider, make_request(aor="sip:bob@example.com")).secret.reveal() == b"secret123"

    def test_empty_and_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with piped(monkeypatch) as write_end:
            os.close(write_end)
            assert isinstance(error_of(from_file("-")), NotFound)
        monkeypatch.setattr(sys, "stdin", None)
        assert isinstance(error_of(from_file("-")), NotFound)
        monkeypatch.setattr(sys, "stdin", io.StringIO("x"))
        assert isinstance(error_of(from_file("-")), NotFound)

    @pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
    def test_the_pipe_of_a_shell_is_read_once_and_serves_all(self, name: str) -> None:
        """``--password-file <(pass show sip)``: the name leads nowhere, for what it links to is ``pipe:[4711]``."""
        read_end, write_end = os.pipe()
        try:
            os.write(write_end, b"secret123\n")
            os.close(write_end)
            provider = from_file(name.format(read_end))
            assert provider.describe() == name.format(read_end)
            for _ in range(2):
                found = ask(provider, make_request())
                assert (found.secret.reveal(), found.ref) == (b"secret123", f"container:{name.format(read_end)}")
        finally:
            os.close(read_end)

    def test_a_descriptor_that_is_no_pipe_is_judged_as_the_file_it_is(self, tmp_path: Path) -> None:
        with write(tmp_path / "open", "secret", 0o644).open() as stream:
            assert isinstance(error_of(from_file(f"/dev/fd/{stream.fileno()}")), Denied)
        assert isinstance(error_of(from_file("/dev/fd/999999")), NotFound)

    def test_a_terminal_is_not_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        master, slave = os.openpty()
        with os.fdopen(slave) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            error = error_of(from_file("-"))
        os.close(master)
        assert isinstance(error, Denied)
        assert "prompt" in str(error)

    def test_nothing_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with piped(monkeypatch) as write_end:
            error = error_of(from_file("-"), make_request(deadline=time.monotonic() + 0.2))
            os.close(write_end)
        assert isinstance(error, Unavailable)

    def test_a_second_account_can_be_cancelled_while_the_first_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with piped(monkeypatch) as write_end:
            provider = from_file("-")
            reader = threading.Thread(target=lambda: ask(provider, make_request()))
            reader.start()
            request = make_request()
            threading.Timer(0.1, request.cancel.set).start()
            assert isinstance(error_of(provider, request), Cancelled)
            os.write(write_end, b"x")
            os.close(write_end)
            reader.join(5)
            assert not reader.is_alive()


# -- prompt ---------------------------------------------------------------------------------------------------------


class TestPrompt:
    def asked(self, request: CredentialRequest, *answers: Any) -> tuple[FakeTerminal, Callable[[], Any]]:
        terminal = FakeTerminal(answers)
        provider = PromptProvider(make_context(name="prompt", terminal=terminal))
        return terminal, lambda: ask(provider, request)

    def test_account_and_realm_are_named(self) -> None:
        terminal, run = self.asked(make_request(realm="trunk"), "typed")
        credentials = run()
        assert (credentials.username, credentials.secret.reveal()) == ("alice", b"typed")
        assert terminal.asked == ['Password for alice@example.com, account work, realm "trunk": ']

    def test_T12_the_server_that_tls_verified_is_named_before_what_it_says(self) -> None:
        """git's CVE-2024-50349: a realm may look like a host.  Fails without ``server_of`` in ``question``."""
        terminal, run = self.asked(make_request(realm="bank.test", origin="example.com", verified=True), "typed")
        run()
        assert terminal.asked == [
            'Password for alice@example.com, account work, server example.com (TLS), realm "bank.test": '
        ]
        terminal, run = self.asked(make_request(realm="bank.test", origin="192.0.2.1:5060"), "typed")
        run()
        assert "server" not in terminal.asked[0], "an address proves nothing"

    def test_an_account_that_is_but_its_address_is_not_named_twice(self) -> None:
        where = {"aor": "sip:alice@192.0.2.1:5070", "account": "alice@192.0.2.1"}
        terminal, run = self.asked(make_request(realm="trunk", **where), "typed")
        run()
        assert terminal.asked == ['Password for alice@192.0.2.1:5070, realm "trunk": ']

    def test_another_user_name_is_named_too(self) -> None:
        terminal, run = self.asked(make_request(username="alice.trunk"), "typed")
        assert run().username == "alice.trunk"
        assert terminal.asked[0].startswith("Password for alice.trunk (alice@example.com), account work")

    def test_the_second_time_it_says_refused(self) -> None:
        rejected = Rejection(provider="prompt", username="alice", status=401)
        terminal, run = self.asked(make_request(rejected=rejected, attempt=2), "typed")
        run()
        assert terminal.asked[0].startswith("The server refused that password (401). Password for alice@example.com")

    def test_T12_the_realm_cannot_paint_the_terminal(self) -> None:
        hostile = 'x"\r\n\x1b[2J\u202e\u2066 Password for bank: ' + "y" * 1000
        terminal, run = self.asked(make_request(realm=hostile), "typed")
        run()
        assert terminal.asked[0].isprintable()
        assert len(terminal.asked[0]) < 400

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (Cancelled("^C"), Cancelled),
            (NotFound("no terminal"), NotFound),
            (Unavailable("too late"), Unavailable),
            ("", Cancelled),
            ("a\0b", Denied),
        ],
    )
    def test_what_goes_wrong(self, answer: Any, kind: type[ProviderError]) -> None:
        _, run = self.asked(make_request(), answer)
        with pytest.raises(kind):
            run()

    def test_T03_nobody_is_asked_in_the_background_or_for_a_token(self) -> None:
        for request in (make_request(interactive=False), make_request(scheme="bearer")):
            terminal, run = self.asked(request, "typed")
            with pytest.raises(NotFound):
                run()
            assert not terminal.asked

    def test_it_is_interactive_and_knows_no_options(self) -> None:
        assert PromptProvider(make_context()).interactive
        with pytest.raises(ValueError, match="has no key colour"):
            PromptProvider(make_context({"colour": "red"}))


# -- names ----------------------------------------------------------------------------------------------------------


class TestNames:
    @pytest.mark.parametrize(
        ("aor", "bare", "user", "domain"),
        [
            ("sip:alice@example.com", "alice@example.com", "alice", "example.com"),
            ("sips:alice@example.com;transport=tls?x=y", "alice@example.com", "alice", "example.com"),
            ("SIP:al%20ice@example.com:5070", "al%20ice@example.com:5070", "al ice", "example.com"),
            ("sip:alice@[2001:db8::1]:5060", "alice@[2001:db8::1]:5060", "alice", "[2001:db8::1]"),
            ("alice@example.com", "alice@example.com", "alice", "example.com"),
            ("sip:a@b@example.com", "a@b@example.com", "a@b", "example.com"),
        ],
    )
    def test_parts_of_an_aor(self, aor: str, bare: str, user: str, domain: str) -> None:
        request = make_request(aor=aor)
        assert (bare_aor(request), user_of(request), domain_of(request)) == (bare, user, domain)

    def test_the_configured_user_name_wins(self) -> None:
        assert user_of(make_request(username="trunk")) == "trunk"

    def test_braces_can_stay(self) -> None:
        assert Template("a/{{b}}/{domain}", key="path").expand(make_request()) == "a/{b}/example.com"

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_an_expanded_path_stays_below_its_folder(self, username: str, account: str) -> None:
        request = make_request(username=username or None, account=account)
        try:
            path = Template("/base/{account}/{username}", key="path").expand(request)
        except Denied:
            return
        assert os.path.normpath(path).startswith("/base/")
        assert path.count("/") == 3

    @given(st.text(max_size=300))
    def test_T12_printable_is_printable_and_bounded(self, text: str) -> None:
        shown = printable(text, 50)
        assert shown.isprintable()
        assert len(shown) <= 51

    @given(st.text(max_size=60))
    def test_any_aor_is_survived(self, aor: str) -> None:
        request = make_request(aor=aor)
        assert isinstance(bare_aor(request) + user_of(request) + domain_of(request), str)
