"""The exec provider: whose program it runs, and what that gets to see (T14, T16)."""

from __future__ import annotations

import logging
import os
import signal
import traceback
from pathlib import Path

import pytest

from sipcli.credentials import (
    Denied,
    PasswordCredentials,
    Secret,
)
from sipcli.testing import ask, make_request
from sipcli_providers import _program
from sipcli_providers._trusted import trusted_program
from tests.support.execkit import AS_ROOT, calls, error_of, provider
from tests.support.helpers import FAULTS, store_helper, write_helper

# -- whose program is it --------------------------------------------------------------------------------------------


class TestHijack:
    def test_T16_neither_PATH_nor_the_current_folder_is_searched(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fails without the check of ``is_absolute`` in ``absolute``: the name is looked up."""
        write_helper(tmp_path / "sipcli-pass", "echo password=rogue")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.chdir(tmp_path)
        for command in ("sipcli-pass", "./sipcli-pass", ""):
            with pytest.raises(ValueError, match=r"whole path|needs command"):
                provider(command)

    def test_T16_a_fake_tool_earlier_in_PATH_is_not_what_the_helper_runs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fails if ``environment`` hands our PATH on."""
        write_helper(tmp_path / "id", "echo rogue")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.chdir(tmp_path)
        helper = write_helper(tmp_path / "h", 'echo "password=$(id -u)"')
        assert ask(provider(helper), make_request()).secret.reveal() == str(os.geteuid()).encode()
        assert ask(provider(helper, env=["PATH"]), make_request()).secret.reveal() == b"rogue"

    @pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
    def test_T16_a_helper_that_others_may_write(self, tmp_path: Path, mode: int) -> None:
        """Fails without the check of ``_OTHERS_WRITE`` in ``_judge``."""
        helper = write_helper(tmp_path / "h", "echo password=x", mode)
        error = error_of(provider(helper))
        assert isinstance(error, Denied)
        assert str(error) == f"{helper} can be written by others (mode {mode:04o}): chmod go-w {helper}"

    def test_T16_a_folder_on_the_way_that_others_may_write(self, tmp_path: Path) -> None:
        """Fails if only the helper's own folder is judged."""
        (tmp_path / "a" / "b").mkdir(parents=True)
        helper = write_helper(tmp_path / "a" / "b" / "h", "echo password=x")
        (tmp_path / "a").chmod(0o777)
        error = error_of(provider(helper))
        assert isinstance(error, Denied)
        assert f"{helper} is reached through {tmp_path}/a, which can be written by others" in str(error)
        (tmp_path / "a").chmod(0o1777)
        assert ask(provider(helper), make_request()).secret.reveal() == b"x"

    def test_T16_a_link_is_followed_and_its_way_judged(self, tmp_path: Path) -> None:
        """Fails if the links' own folders are not judged: whoever can write there points the link elsewhere."""
        for folder in ("good", "links", "open"):
            (tmp_path / folder).mkdir()
        helper = write_helper(tmp_path / "good" / "h", "echo password=x")
        (tmp_path / "links" / "one").symlink_to("../open/two")
        (tmp_path / "open" / "two").symlink_to(helper)
        assert trusted_program(tmp_path / "links" / "one") == helper
        (tmp_path / "open").chmod(0o777)
        assert f"reached through {tmp_path}/open" in str(error_of(provider(tmp_path / "links" / "one")))
        (tmp_path / "loop").symlink_to("loop")
        assert "leads to itself" in str(error_of(provider(tmp_path / "loop")))

    @pytest.mark.skipif(not AS_ROOT, reason="only root can give a file away")
    @pytest.mark.parametrize("what", ["helper", "folder", "link"])
    def test_T16_another_owner(self, tmp_path: Path, what: str) -> None:
        """Fails without the check of the owner in ``_judge``: a link in /tmp is its owner's to change."""
        (tmp_path / "folder").mkdir()
        helper = write_helper(tmp_path / "folder" / "helper", "echo password=x")
        (tmp_path / "link").symlink_to(helper)
        assert ask(provider(tmp_path / "link"), make_request())
        place = helper if what == "helper" else tmp_path / what
        os.chown(place, 12345, 12345, follow_symlinks=False)
        error = error_of(provider(tmp_path / "link"))
        assert isinstance(error, Denied)
        assert "belongs to another user (uid 12345)" in str(error)

    def test_T16_what_is_no_program(self, tmp_path: Path) -> None:
        assert "another kind of file" in str(error_of(provider(tmp_path)))
        assert "chmod u+x" in str(error_of(provider(write_helper(tmp_path / "h", "", 0o644))))
        assert "there is no program" in str(error_of(provider(tmp_path / "h" / "x")))


# -- what it gets to see --------------------------------------------------------------------------------------------


class TestCanary:
    def test_T14_the_secret_is_in_no_argument_and_no_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Fails if ``_verdict`` is handed to ``run_program`` as arguments or variables instead of ``told``."""
        canary = "hunter2-canary"
        monkeypatch.setenv("SIP_SECRET", canary)
        look = f"cat /proc/$$/cmdline /proc/$$/environ > {tmp_path}/seen-$1; cat > {tmp_path}/told-$1"
        helper = write_helper(tmp_path / "h", look + "; printf 'capability[]=store\\ncapability[]=erase\\n'")
        made, credentials = provider(helper), PasswordCredentials("alice", Secret(canary))
        with caplog.at_level(logging.DEBUG):
            made.remember(make_request(), credentials)
            made.forget(make_request(), credentials)
        for verb in ("capability", "store", "erase"):
            assert canary.encode() not in (tmp_path / f"seen-{verb}").read_bytes()
        for verb in ("store", "erase"):
            assert f"password={canary}\n" in (tmp_path / f"told-{verb}").read_text()
        assert canary not in caplog.text + repr(made.__dict__)

    @pytest.mark.parametrize("fault", ["carriage", "zero", "twice", "both", "newer", "expired", "huge"])
    def test_T14_no_exception_quotes_what_a_helper_said(self, tmp_path: Path, fault: str) -> None:
        """Fails if ``Garbled`` quotes the line."""
        error = error_of(provider(write_helper(tmp_path / "h", FAULTS[fault])))
        text = "".join(traceback.format_exception(error)) + repr(error.__dict__)
        assert "secret12" not in text

    def test_T14_only_harmless_variables_and_those_named_are_handed_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fails if ``run_program`` is given ``os.environ``."""
        for name in ("SIP_SECRET", "BW_SESSION", "LD_PRELOAD_NOT", "GNUPGHOME"):
            monkeypatch.setenv(name, "x")
        monkeypatch.setenv("HOME", "/srv/alice")
        helper = store_helper(tmp_path)
        ask(provider(helper, env=["GNUPGHOME", "NOT_SET"]), make_request())
        [call] = calls(helper)
        seen = set(call[3]) - {"LC_CTYPE"}  # Python sets it for itself
        assert seen <= {*_program._HARMLESS, "PATH", "GNUPGHOME"}
        assert {"HOME", "GNUPGHOME"} <= seen
        assert call[3]["PATH"] == "/usr/bin:/bin"

    def test_T14_no_descriptor_of_ours_is_inherited(self, tmp_path: Path) -> None:
        """Fails with ``close_fds=False`` for what somebody made inheritable."""
        read, write = os.pipe()
        os.set_inheritable(read, True)
        try:
            helper = write_helper(tmp_path / "h", 'echo "password=$(ls /proc/$$/fd | tr "\\n" " ")"')
            seen = ask(provider(helper), make_request()).secret.reveal().split()
        finally:
            os.close(read)
            os.close(write)
        assert str(read).encode() not in seen

    def test_a_group_and_a_session_of_its_own(self, tmp_path: Path) -> None:
        helper = write_helper(tmp_path / "h", 'echo "password=$$ $(ps -o pgid=,sid= -p $$)"')
        own, group, session = ask(provider(helper), make_request()).secret.reveal().split()
        assert own == group == session

    def test_signals_are_as_a_program_expects_them(self, tmp_path: Path) -> None:
        """Python ignores SIGPIPE; a helper in a pipeline must not."""
        helper = write_helper(tmp_path / "h", "echo password=$(grep SigIgn /proc/self/status | cut -f2)")
        ignored = int(ask(provider(helper), make_request()).secret.reveal(), 16)
        assert not ignored & 1 << (signal.SIGPIPE - 1)
