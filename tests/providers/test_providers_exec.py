"""The exec provider: a real program for each answer and for each fault; nothing of it may be left behind."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.credentials import (
    BearerCredentials,
    Cancelled,
    CancelSignal,
    CredentialProvider,
    CredentialRequest,
    Denied,
    Ha1Credentials,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    ProviderError,
    Rejection,
    Secret,
    Unavailable,
)
from sipcli.testing import FakeTerminal, ProviderContract, ask, make_context, make_request
from sipcli_providers import _program
from sipcli_providers._exec_protocol import Garbled, decode, encode
from sipcli_providers._trusted import trusted_program
from sipcli_providers.exec import ExecProvider
from tests.support.helpers import FAULTS, SECRET, nothing_left, processes, store_helper, wait_until, write_helper

AS_ROOT = os.geteuid() == 0


def provider(helper: Path | str, **options: Any) -> ExecProvider:
    return ExecProvider(make_context({"command": str(helper)} | options, name="mine"))


def error_of(made: CredentialProvider, request: CredentialRequest | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(made, request or make_request())
    return caught.value


def calls(helper: Path) -> list[Any]:
    """What a :func:`store_helper` was asked: verb, further arguments, pairs, environment, folder."""
    return [json.loads(line) for line in helper.with_suffix(".log").read_text().splitlines()]


class TestExecKeepsTheContract(ProviderContract):
    # A realm with a line break is refused outright: TestProtocol has that.  The rest is as an attacker chooses it.
    remote_text = '../../x"Via: evil\x1b[2J\u202e{account}'

    @pytest.fixture(autouse=True)
    def _helper(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.helper = store_helper(tmp_path)

    def make_provider(self, context: ProviderContext) -> ExecProvider:
        options = {"command": str(self.helper)}
        return ExecProvider(ProviderContext(name=context.name, options=options, terminal=context.terminal))

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), SECRET

    @contextlib.contextmanager
    def _hanging(self) -> Iterator[tuple[ExecProvider, CredentialRequest]]:
        yield provider(write_helper(self.folder / "hanging", FAULTS["hanging"])), make_request()

    def hanging(self) -> contextlib.AbstractContextManager[tuple[ExecProvider, CredentialRequest]]:
        return self._hanging()


class TestQuestion:
    def test_what_a_helper_is_told(self, tmp_path: Path) -> None:
        helper = store_helper(tmp_path)
        rejected = Rejection(provider="mine", username="alice", status=401)
        request = make_request(method="INVITE", attempt=2, rejected=rejected, interactive=False)
        ask(provider(helper, command=[str(helper), "--vault=Private"]), request)
        [[verb, arguments, pairs, _, folder]] = calls(helper)
        told = dict(pairs)
        assert (verb, arguments, folder) == ("get", ["--vault=Private"], "/")
        assert 0 < int(told.pop("deadline_ms")) <= 10_000
        assert [value for key, value in pairs if key == "capability[]"] == ["expiry", "state", "sign"]
        del told["capability[]"]
        assert told == {
            "version": "1",
            "account": "work",
            "aor": "sip:alice@example.com",
            "username": "alice",
            "realm": "example.com",
            "scheme": "digest",
            "method": "INVITE",
            "algorithm": "SHA-256",
            "reason": "rejected",
            "attempt": "2",
            "interactive": "false",
        }

    def test_state_comes_back(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        helper = write_helper(
            tmp_path / "h", f"sed '/^$/q' >> {log}; printf 'password=x\\nstate[]=here.a=1\\nstate[]=here.b=2\\n'"
        )
        made = provider(helper)
        ask(made, make_request())
        assert "state" not in log.read_text().replace("capability[]=state", "")
        ask(made, make_request())
        assert "state[]=here.a=1\nstate[]=here.b=2\n" in log.read_text()
        log.write_text("")
        ask(made, make_request(realm="another"))
        assert "here" not in log.read_text(), "the state of one realm was told about another"


class TestAnswer:
    def answer(self, tmp_path: Path, text: str, **request: Any) -> Any:
        (tmp_path / "answer").write_text(text)
        return ask(provider(write_helper(tmp_path / "h", f"cat {tmp_path}/answer")), make_request(**request))

    def test_a_password_for_the_account_s_user_or_another(self, tmp_path: Path) -> None:
        found = self.answer(tmp_path, "password=a=b \n\npassword=behind the end\n")
        assert (found.username, found.password.reveal(), found.ref) == ("alice", b"a=b ", "mine")
        assert self.answer(tmp_path, "username=bob\npassword=x").username == "bob"

    def test_octets_stay_as_they_are(self, tmp_path: Path) -> None:
        helper = write_helper(tmp_path / "h", "printf 'password=\\377\\001\\n'")
        assert ask(provider(helper), make_request()).secret.reveal() == b"\xff\x01"

    def test_an_ha1_is_for_the_realm_and_algorithm_that_was_asked(self, tmp_path: Path) -> None:
        found = self.answer(tmp_path, "username=alice\nha1=0123456789abcdef0123456789abcdef\n", algorithms=("MD5",))
        assert isinstance(found, Ha1Credentials)
        assert (found.username, found.realm, found.algorithm) == ("alice", "example.com", "MD5")

    def test_a_token(self, tmp_path: Path) -> None:
        found = self.answer(tmp_path, "bearer=abc\n", scheme="bearer")
        assert isinstance(found, BearerCredentials)
        with pytest.raises(NotFound, match="a token, and the server asks for digest"):
            self.answer(tmp_path, "bearer=abc\n")

    def test_expiry(self, tmp_path: Path) -> None:
        found = self.answer(tmp_path, f"password=x\nexpires_utc={int(time.time()) + 100}\n")
        assert 90 < found.expires_in <= 100
        with pytest.raises(Unavailable, match="expires_utc is not a whole number"):
            self.answer(tmp_path, "password=x\nexpires_utc=tomorrow\n")

    def test_what_it_does_not_know_is_skipped(self, tmp_path: Path) -> None:
        assert self.answer(tmp_path, "colour=blue\nephemeral=1\npassword=x\n").secret.reveal() == b"x"


class TestProtocol:
    @pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"])
    def test_T13_no_value_can_write_a_line_of_its_own(self, bad: str, tmp_path: Path) -> None:
        """Fails without the check of ``_FORBIDDEN`` in ``encode``: the helper then reads two lines (CVE-2020-5260)."""
        with pytest.raises(ValueError, match="the realm contains CR, LF or NUL"):
            encode([("realm", bad)])
        helper = store_helper(tmp_path)
        error = error_of(provider(helper), make_request(realm=f"x{bad}\naor=sip:root@example.com"))
        assert isinstance(error, Unavailable)
        assert "realm contains CR, LF or NUL" in str(error)
        assert not helper.with_suffix(".log").exists(), "it was asked all the same"

    @given(
        st.lists(
            st.tuples(st.sampled_from(["username", "password", "ha1"]), st.binary(max_size=50)),
            unique_by=lambda p: p[0],
        )
    )
    def test_what_is_encoded_is_decoded_or_refused(self, pairs: list[tuple[str, bytes]]) -> None:
        try:
            octets = encode(pairs)
        except ValueError:
            assert any(bad in value for _, value in pairs for bad in (b"\r", b"\n", b"\0"))
            return
        assert decode(octets).values == dict(pairs)

    @given(st.binary(max_size=300))
    def test_any_octets_are_an_answer_or_garbled(self, octets: bytes) -> None:
        try:
            decode(octets)
        except Garbled as error:
            assert str(error).isprintable()

    def test_another_version_is_said(self, tmp_path: Path) -> None:
        error = error_of(provider(write_helper(tmp_path / "h", FAULTS["newer"])))
        assert "another version of the protocol than 1" in str(error)


class TestKeeping:
    def new(self, text: str) -> PasswordCredentials:
        return PasswordCredentials("alice", Secret(text))

    def test_capability_is_asked_once(self, tmp_path: Path) -> None:
        helper = store_helper(tmp_path)
        made = provider(helper)
        made.remember(make_request(), self.new("one"))
        made.remember(make_request(), self.new("two"))
        made.forget(make_request(), self.new("two"))
        assert [call[0] for call in calls(helper)] == ["capability", "store", "store", "erase"]
        assert ["password", "two"] in calls(helper)[-1][2]

    def test_what_it_gave_it_is_not_told_to_store(self, tmp_path: Path) -> None:
        helper = store_helper(tmp_path)
        made = provider(helper)
        made.remember(make_request(), ask(made, make_request()))  # type: ignore[arg-type]
        assert [call[0] for call in calls(helper)] == ["get"]

    def test_what_it_gave_before_something_else_was_stored_is_stored_again(self, tmp_path: Path) -> None:
        helper = store_helper(tmp_path)
        made = provider(helper)
        first = ask(made, make_request())
        for credentials in (self.new("another"), first):
            made.remember(make_request(), credentials)  # type: ignore[arg-type]
        assert ask(made, make_request()).secret == first.secret

    def test_what_another_gave_it_is_not_told_to_erase(self, tmp_path: Path) -> None:
        helper = store_helper(tmp_path)
        provider(helper).forget(make_request(), self.new(SECRET))
        assert not helper.with_suffix(".log").exists()

    @pytest.mark.parametrize("body", ["exit 2", "exit 0", "printf 'version=1\\n'", "printf 'capability[]=sign\\n'"])
    def test_a_helper_that_only_gets(self, tmp_path: Path, body: str) -> None:
        helper = write_helper(tmp_path / "h", f'[ "$1" = get ] && echo password=x && exit; {body}')
        made = provider(helper)
        found = ask(made, make_request())
        made.forget(make_request(), found)
        with pytest.raises(Unavailable, match=r"keeps nothing: it does not announce capability\[\]=store"):
            made.remember(make_request(), self.new("other"))

    def test_a_newer_helper_is_refused_before_it_is_told(self, tmp_path: Path) -> None:
        helper = write_helper(tmp_path / "h", "printf 'version=2\\ncapability[]=store\\n'")
        with pytest.raises(Unavailable, match="another version"):
            provider(helper).remember(make_request(), self.new("x"))


# -- faults ---------------------------------------------------------------------------------------------------------

BY_FAULT = {
    "absent": (NotFound, "has nothing for this account"),
    "failing": (Unavailable, "get ended with status 2: run it by hand"),
    "cancelled": (Cancelled, "was cancelled"),
    "locked": (Denied, "is its store locked?"),
    "killed": (Unavailable, "ended by signal 9"),
    "hanging": (Unavailable, "did not answer in time"),
    "babbling": (Unavailable, "more than 64 KiB"),
    "complaining": (Unavailable, "did not answer in time"),
    "deaf": (Unavailable, "did not answer in time"),
    "garbage": (Unavailable, "line 1 of its answer is not key=value"),
    "binary": (Unavailable, "does not keep to the protocol"),
    "huge": (Unavailable, "more than 64 KiB"),
    "carriage": (Unavailable, "line 1 of its answer contains CR or NUL"),
    "zero": (Unavailable, "line 1 of its answer contains CR or NUL"),
    "twice": (Unavailable, "it gives password twice"),
    "both": (Unavailable, "password and bearer at once"),
    "newer": (Unavailable, "another version"),
    "expired": (NotFound, "has expired"),
    "silent": (NotFound, "has nothing for this account"),
    "quitting": (Cancelled, "nobody else shall be asked"),
    "responding": (Unavailable, "which wants a secret"),
}


class TestFaults:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_T17_each_fault_has_its_error_and_leaves_nothing(self, tmp_path: Path, fault: str) -> None:
        """Fails for hanging, complaining and deaf without ``_signal`` in ``_living``: the helper lives on; for
        babbling and huge without the check of LARGEST_ANSWER: it takes until the deadline, and the wrong error.
        """
        helper = write_helper(tmp_path / f"helper-{fault}", FAULTS[fault])
        kind, sentence = BY_FAULT[fault]
        made = provider(helper)
        with nothing_left(str(tmp_path)):
            began = time.monotonic()
            request = make_request(deadline=time.monotonic() + 1.0)
            error = error_of(made, request)
            request.cancel.close()
            assert time.monotonic() - began < 1.0 + 0.5
        assert type(error) is kind
        assert sentence in str(error)
        assert str(error).isprintable()
        assert "secret12" not in "".join(traceback.format_exception(error))

    def test_T17_a_helper_that_ignores_SIGTERM_is_killed_within_half_a_second(self, tmp_path: Path) -> None:
        """Fails without the SIGKILL in ``_living``: the helper and its child live on."""
        helper = write_helper(tmp_path / "deaf", f"touch {tmp_path}/up; " + FAULTS["deaf"])
        request = make_request()
        ended: list[tuple[float, BaseException]] = []

        def get() -> None:
            try:
                provider(helper).get(request)
            except Cancelled as error:
                ended.append((time.monotonic(), error))

        with nothing_left(str(tmp_path)):
            thread = threading.Thread(target=get)
            thread.start()
            wait_until((tmp_path / "up").exists)
            began = time.monotonic()
            request.cancel.set()
            thread.join(5)
            request.cancel.close()
        assert ended[0][0] - began < 0.5

    def test_T17_a_grandchild_that_keeps_the_pipe_open_does_not_hold_the_answer(self, tmp_path: Path) -> None:
        """Fails if ``go_on`` waits for the end of the pipe instead of the end of the helper."""
        helper = write_helper(tmp_path / "h", f"sleep 601 & echo $! > {tmp_path}/child; echo password={SECRET}")
        request = make_request()
        with nothing_left(str(tmp_path)):
            began = time.monotonic()
            assert ask(provider(helper), request).secret.reveal() == SECRET.encode()
            assert time.monotonic() - began < 2
            request.cancel.close()
        child = int((tmp_path / "child").read_text())
        wait_until(lambda: not _runs(child))

    def test_T17_nothing_runs_on_when_we_end(self, tmp_path: Path) -> None:
        """Fails without ``_end_groups`` at exit: a daemon thread does not get to kill its helper."""
        helper = write_helper(tmp_path / "deaf", f"echo $$ > {tmp_path}/pid; " + FAULTS["deaf"])
        code = (
            f"import sys, threading, time; sys.path[:0] = {sys.path!r}\n"
            "from pathlib import Path\n"
            "from sipcli.testing import make_context, make_request\n"
            "from sipcli_providers.exec import ExecProvider\n"
            "helper, pid = sys.argv[1:]\n"
            "made = ExecProvider(make_context({'command': helper}))\n"
            "threading.Thread(target=made.get, args=(make_request(),), daemon=True).start()\n"
            "while not (Path(pid).exists() and Path(pid).read_text()): time.sleep(0.01)\n"
        )
        subprocess.run([sys.executable, "-c", code, str(helper), str(tmp_path / "pid")], check=True, timeout=30)
        child = int((tmp_path / "pid").read_text())
        try:
            wait_until(lambda: not _runs(child))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # whoever sees this fail shall not keep the helper for ever

    def test_it_is_said_why(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """What it complains of is for the person's eyes: escaped, five lines, and in no log and no exception."""
        lines = "printf 'canary \\033[2J one\\n\\ntwo\\nthree\\nfour\\nfive\\nsix\\n' >&2; exit 2"
        terminal = FakeTerminal()
        helper = write_helper(tmp_path / "h", lines)
        made = ExecProvider(make_context({"command": str(helper)}, name="mine", terminal=terminal))
        with caplog.at_level(logging.DEBUG):
            error = error_of(made)
        assert terminal.shown == [
            "mine: canary \\x1b[2J one",
            *(f"mine: {n}" for n in ("two", "three", "four", "five")),
        ]
        assert "canary" not in "".join(traceback.format_exception(error)) + caplog.text

    def test_a_helper_that_goes_away(self, tmp_path: Path) -> None:
        helper = store_helper(tmp_path)
        made = provider(helper)
        ask(made, make_request())
        helper.unlink()
        error = error_of(made)
        assert isinstance(error, Unavailable)
        assert str(error) == f"there is no program {helper}"
        assert made.describe() == str(error)

    def test_a_helper_that_does_not_listen(self, tmp_path: Path) -> None:
        helper = write_helper(tmp_path / "h", f"exec <&-; echo password={SECRET}")
        assert ask(provider(helper), make_request(realm="x" * 500_000)).secret.reveal() == SECRET.encode()

    def test_a_script_without_its_interpreter(self, tmp_path: Path) -> None:
        helper = write_helper(tmp_path / "h", "#!/nowhere/python\n")
        assert "cannot be run: No such file" in str(error_of(provider(helper)))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


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


class TestManyAtOnce:
    def test_thirty_at_once_leave_nothing(self, tmp_path: Path) -> None:
        helper = write_helper(tmp_path / "h", f"sleep 0.05; echo password={SECRET}")
        made = provider(helper)
        found: list[bytes] = []
        requests = [make_request(cancel=CancelSignal()) for _ in range(30)]
        with nothing_left(str(tmp_path)):
            threads = [
                threading.Thread(target=lambda r=r: found.append(made.get(r).secret.reveal()))  # type: ignore[misc]
                for r in requests
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            for request in requests:
                request.cancel.close()
        assert found == [SECRET.encode()] * 30
        assert not _program._groups


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({}, "needs command"),
            ({"command": 7}, "must be a list of texts"),
            ({"command": "/bin/x", "env": ["A=b"]}, "env lists names of variables"),
            ({"command": "/bin/x", "timeout": 7}, "has no key timeout"),
            ({"command": "/bin/x", "interactive": 1}, "interactive must be true or false"),
            ({"command": "/bin/\0x"}, "NUL"),
        ],
    )
    def test_each_mistake_has_its_sentence(self, options: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            ExecProvider(make_context(options))

    def test_an_interactive_one_runs_on_the_lane_of_prompts(self, tmp_path: Path) -> None:
        assert provider(store_helper(tmp_path), interactive=True).interactive is True
        assert provider(store_helper(tmp_path)).interactive is False

    def test_it_says_where_it_looks(self, tmp_path: Path) -> None:
        helper = store_helper(tmp_path)
        assert provider(helper).describe() == f"helper {helper}"
        assert not helper.with_suffix(".log").exists(), "describe() ran it"
        helper.chmod(0o777)
        assert "chmod go-w" in provider(helper).describe()
        assert not processes(str(tmp_path))
