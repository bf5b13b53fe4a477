"""The exec provider: what it asks a helper, and what it understands of the answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.credentials import (
    BearerCredentials,
    CancelSignal,
    CredentialRequest,
    Ha1Credentials,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    Rejection,
    Secret,
    Unavailable,
)
from sipcli.testing import ProviderContract, ask, make_context, make_request
from sipcli_providers import _program
from sipcli_providers._exec_protocol import Garbled, decode, encode
from sipcli_providers.exec import ExecProvider
from tests.support.execkit import calls, error_of, provider
from tests.support.helpers import FAULTS, SECRET, nothing_left, processes, store_helper, write_helper


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
        asked = ('Digest realm="example.com", nonce="n", algorithm="SHA-256"', 'Digest realm="example.com", nonce="n"')
        request = make_request(
            method="INVITE", attempt=2, rejected=rejected, interactive=False,
            origin="sip.example.com", verified=True, challenges=asked,
        )  # fmt: skip
        ask(provider(helper, command=[str(helper), "--vault=Private"]), request)
        [[verb, arguments, pairs, _, folder]] = calls(helper)
        told = dict(pairs)
        assert (verb, arguments, folder) == ("get", ["--vault=Private"], "/")
        assert 0 < int(told.pop("deadline_ms")) <= 10_000
        assert [value for key, value in pairs if key == "capability[]"] == ["expiry", "state", "sign"]
        assert tuple(value for key, value in pairs if key == "wwwauth[]") == asked
        del told["capability[]"], told["wwwauth[]"]
        assert told == {
            "version": "1",
            "account": "work",
            "aor": "sip:alice@example.com",
            "username": "alice",
            "realm": "example.com",
            "origin": "sip.example.com",
            "tls": "verified",
            "scheme": "digest",
            "method": "INVITE",
            "algorithm": "SHA-256",
            "reason": "rejected",
            "attempt": "2",
            "interactive": "false",
        }

    @pytest.mark.parametrize(("origin", "tls"), [("192.0.2.1:5060", "none"), ("", None)])
    def test_who_asks_without_tls_and_where_nobody_has_asked_yet(
        self, tmp_path: Path, origin: str, tls: str | None
    ) -> None:
        helper = store_helper(tmp_path)
        ask(provider(helper), make_request(origin=origin))
        told = dict(calls(helper)[0][2])
        assert (told.get("origin", ""), told.get("tls")) == (origin, tls)

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
