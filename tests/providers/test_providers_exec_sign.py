"""The verb sign of the exec provider: a helper whose key never leaves it, and what is taken of its answers."""

from __future__ import annotations

import dataclasses
import json
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import (
    Cancelled,
    Denied,
    DigestInput,
    NotFound,
    PasswordCredentials,
    ProviderError,
    Secret,
    SigningCredentials,
    Signs,
    Unavailable,
)
from sipcli.testing import ask, make_context, make_request
from sipcli_providers.exec import ExecProvider
from tests.support.helpers import FAULTS, SECRET, nothing_left, signing_helper, write_helper
from tests.support.signkit import response

DIGEST = DigestInput(
    username="alice", realm="example.com", nonce="n=\u00fc1", algorithm="SHA-256", method="INVITE",
    uri="sip:bob@example.com", nc="00000001", cnonce="c0ffee", charset="UTF-8",
)  # fmt: skip
RFC_2069 = dataclasses.replace(DIGEST, algorithm="MD5", qop="", nc="", cnonce="", charset=None)
SOUND = "0123456789abcdef0123456789abcdef"


def provider(helper: Path, **options: Any) -> ExecProvider:
    return ExecProvider(make_context({"command": str(helper)} | options, name="mine"))


def answering(folder: Path, *, get: str = "username=alice", sign: str = "", capability: str = "sign") -> ExecProvider:
    """A helper that answers each verb with the given text, whatever it is asked."""
    for verb, text in (("get", get), ("sign", sign), ("capability", f"capability[]={capability}")):
        (folder / verb).write_text(text + "\n")
    return provider(write_helper(folder / "h", f'echo "$1" >> {folder}/log; cat "{folder}/$1"'))


def verbs(folder: Path) -> list[str]:
    return (folder / "log").read_text().split()


def error_of_signing(made: ExecProvider, digest: DigestInput = DIGEST, **request: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        made.sign(make_request(**request), SigningCredentials("alice"), digest)
    return caught.value


class TestTheKey:
    def test_who_names_a_user_and_no_secret_has_a_key(self, tmp_path: Path) -> None:
        made = provider(signing_helper(tmp_path))
        assert isinstance(made, Signs)
        key = ask(made, make_request())
        assert isinstance(key, SigningCredentials)
        assert (key.username, key.realm, key.ref, key.expires_in) == ("alice", "*", "mine", None)
        assert key.algorithms == ("SHA-512-256", "SHA-256", "MD5")

    def test_it_says_which_algorithms_and_until_when(self, tmp_path: Path) -> None:
        said = "username=bob\nalgorithm[]=AKAv1-MD5\nalgorithm[]=MD5\nexpires_utc=99999999999"
        key = ask(answering(tmp_path, get=said), make_request())
        assert isinstance(key, SigningCredentials)
        assert (key.username, key.algorithms) == ("bob", ("AKAv1-MD5", "MD5"))
        assert key.expires_in is not None

    @pytest.mark.parametrize(
        ("get", "capability", "scheme"),
        [
            ("username=alice", "store", "digest"),
            ("username=", "sign", "digest"),
            ("version=1", "sign", "digest"),
            ("username=alice", "sign", "bearer"),
        ],
    )
    def test_nothing_else_is_a_key(self, tmp_path: Path, get: str, capability: str, scheme: Any) -> None:
        made = answering(tmp_path, get=get, capability=capability)
        with pytest.raises(NotFound):
            ask(made, make_request(scheme=scheme))

    def test_a_secret_comes_before_a_key(self, tmp_path: Path) -> None:
        found = ask(answering(tmp_path, get="username=alice\npassword=x"), make_request())
        assert isinstance(found, PasswordCredentials)

    def test_quit_ends_the_chain_all_the_same(self, tmp_path: Path) -> None:
        with pytest.raises(Cancelled):
            ask(answering(tmp_path, get="username=alice\nquit=1"), make_request())

    def test_A29_who_signs_nothing_is_not_asked_for_a_sims_key(self, tmp_path: Path) -> None:
        """Its store might be unlocked in vain.  Fails without ``_wants_sim``."""
        made = answering(tmp_path, get="username=alice\npassword=x", capability="store")
        with pytest.raises(NotFound, match="wants a SIM"):
            ask(made, make_request(algorithms=("AKAv1-MD5",)))
        assert verbs(tmp_path) == ["capability"]
        assert ask(made, make_request(algorithms=("AKAv1-MD5", "MD5")))

    def test_a_key_is_neither_stored_nor_erased(self, tmp_path: Path) -> None:
        made = answering(tmp_path, capability="sign\ncapability[]=store\ncapability[]=erase")
        key = ask(made, make_request())
        made.remember(make_request(), key)
        made.forget(make_request(), key)
        made.remember(make_request(), SigningCredentials("carol", ref="another store"))
        assert verbs(tmp_path) == ["get", "capability"]


class TestSigning:
    def test_what_it_is_told(self, tmp_path: Path) -> None:
        helper = signing_helper(tmp_path)
        request = make_request(method="INVITE", algorithms=("SHA-256",), attempt=2)
        provider(helper).sign(request, SigningCredentials("alice"), DIGEST)
        [[verb, told]] = [json.loads(line) for line in helper.with_suffix(".log").read_text().splitlines()]
        assert verb == "sign"
        assert 0 < int(told.pop("deadline_ms")) <= 10_000
        assert told == {
            "version": "1", "capability[]": "sign", "account": "work", "aor": "sip:alice@example.com",
            "scheme": "digest", "reason": "initial", "attempt": "2", "interactive": "true",
            "username": "alice", "realm": "example.com", "algorithm": "SHA-256", "method": "INVITE",
            "uri": "sip:bob@example.com", "nonce": "n=\u00fc1", "qop": "auth", "nc": "00000001", "cnonce": "c0ffee",
            "charset": "UTF-8",
        }  # fmt: skip

    @pytest.mark.parametrize("digest", [DIGEST, RFC_2069, dataclasses.replace(RFC_2069, username="j\u00fcrgen")])
    def test_what_it_computes_comes_back(self, tmp_path: Path, digest: DigestInput) -> None:
        made = provider(signing_helper(tmp_path))
        signature = made.sign(make_request(), SigningCredentials("alice"), digest)
        assert signature.response == response(digest, SECRET)
        assert signature.rspauth == response(digest, SECRET, method="")
        assert signature.auts is None

    def test_A29_a_sim_may_ask_to_resynchronise(self, tmp_path: Path) -> None:
        auts = "AAECAwQFBgcICQoLDA0="[:19] + "="
        made = answering(tmp_path, sign=f"response={SOUND}\nauts={auts}")
        assert made.sign(make_request(), SigningCredentials("alice"), DIGEST).auts == auts

    def test_the_state_of_get_is_told_again(self, tmp_path: Path) -> None:
        log = tmp_path / "told"
        for verb, answer in (("get", "username=alice\nstate[]=slot=3"), ("sign", f"response={SOUND}")):
            (tmp_path / verb).write_text(answer + "\n")
        (tmp_path / "capability").write_text("capability[]=sign\n")
        helper = write_helper(tmp_path / "h", f"[ $1 != sign ] || sed '/^$/q' >> {log}; cat {tmp_path}/$1")
        made = provider(helper)
        key = ask(made, make_request())
        assert isinstance(key, SigningCredentials)
        for _ in range(2):
            made.sign(make_request(), key, DIGEST)
        assert log.read_text().count("state[]=slot=3\n") == 2

    @pytest.mark.parametrize("field", ["nonce", "uri", "realm", "username", "cnonce"])
    @pytest.mark.parametrize("bad", ["x\ny", "x\ry", "x\0y"])
    def test_T13_no_input_can_write_a_line_of_its_own(self, tmp_path: Path, field: str, bad: str) -> None:
        """Fails without the check of ``_FORBIDDEN`` in ``encode``."""
        made = answering(tmp_path, sign=f"response={SOUND}")
        error = error_of_signing(made, dataclasses.replace(DIGEST, **{field: bad}))
        assert f"the {field} contains CR, LF or NUL" in str(error)
        assert not (tmp_path / "log").exists(), "it was asked all the same"

    @pytest.mark.parametrize(
        ("answer", "sentence"),
        [
            ("", "answers the verb sign without a response"),
            ("username=alice", "answers the verb sign without a response"),
            ("password=secret123", "gives password to the verb sign, which wants a response"),
            (f"response={SOUND}\npassword=secret123", "gives password and response at once"),
            ("response=secret123", "response is not 32 or 64 lower-case hex digits"),
            (f"response={SOUND.upper()}", "response is not 32 or 64 lower-case hex digits"),
            (f"response={SOUND}\nrspauth=secret123", "rspauth is not 32 or 64 lower-case hex digits"),
            (f"response={SOUND}\nauts=secret123", "auts is not 14 octets in base64"),
            (f"response={SOUND}\nresponse={SOUND}", "gives response twice"),
            (f'response={SOUND}", realm="x', "response is not 32 or 64 lower-case hex digits"),
        ],
    )
    def test_T13_T14_what_is_no_response_goes_nowhere(self, tmp_path: Path, answer: str, sentence: str) -> None:
        """It would go into a header as it is, and may be the secret.  Fails if ``Signature`` takes any text."""
        error = error_of_signing(answering(tmp_path, sign=answer))
        assert isinstance(error, Unavailable)
        assert sentence in str(error)
        assert "secret12" not in "".join(traceback.format_exception(error))

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            ("absent", NotFound), ("failing", Unavailable), ("cancelled", Cancelled), ("locked", Denied),
            ("hanging", Unavailable), ("deaf", Unavailable), ("huge", Unavailable), ("garbage", Unavailable),
        ],
    )  # fmt: skip
    def test_T17_each_fault_has_its_error_and_leaves_nothing(self, tmp_path: Path, fault: str, kind: type) -> None:
        """Fails for hanging and deaf without ``_signal`` in ``_living``: the helper lives on."""
        made = provider(write_helper(tmp_path / "h", FAULTS[fault]))
        with nothing_left(str(tmp_path)):
            request = make_request(deadline=time.monotonic() + 1)
            with pytest.raises(ProviderError) as caught:
                made.sign(request, SigningCredentials("alice"), DIGEST)
            request.cancel.close()
        assert type(caught.value) is kind

    def test_a_stored_password_is_still_stored(self, tmp_path: Path) -> None:
        made = answering(tmp_path, capability="sign\ncapability[]=store")
        (tmp_path / "store").write_text("")
        made.remember(make_request(), PasswordCredentials("alice", Secret("new")))
        assert verbs(tmp_path) == ["capability", "store"]
