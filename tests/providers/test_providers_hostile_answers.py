"""JSON that no parser of ours expects, from stores and login servers that do not mean well: one sentence, and no bug.

A provider that raises anything but our four errors is called broken, and is not asked again: the person would be sent
to mend sipcli for what a server said, and a token that still lives would be thrown away for it.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import Denied, PasswordCredentials, ProviderError, Secret, Unavailable
from sipcli.testing import ask, make_context, make_request
from sipcli_providers._answers import DEEPEST, is_bomb, seconds_of
from sipcli_providers._oauth_jwt import life_of
from sipcli_providers.keychain import KeychainProvider
from sipcli_providers.vault import VaultProvider
from tests.support.loginserver import Login, answer_json, error_of
from tests.support.servers.faults import Answer, FaultServer, Seen

BOMBS = {"lists": b"[" * 60_000, "objects": b'{"a":' * 10_000, "strings between": b'["\\"",' * 9_000}
GOOD = {"access_token": "x", "token_type": "Bearer", "expires_in": 60}
FOR_EVER = b"1" + b"0" * 400
"""A whole number that no float can hold; JSON may have it."""


def check_sentence(error: ProviderError) -> None:
    assert type(error) is not ProviderError
    assert str(error).isprintable() and 0 < len(str(error)) < 300


class TestAnswers:
    @pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
    def test_T11_a_bomb_is_known_without_being_read(self, body: bytes) -> None:
        assert is_bomb(body)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\xff<html>",
            b"[" * DEEPEST + b"]" * DEEPEST,
            b"[[[" + b'{"a": [1, 2]},' * 500 + b"1]]]",
            json.dumps({"pem": "[{" * 500, "quoted": '"[' * 500}).encode(),
        ],
    )
    def test_T11_what_is_merely_long_is_none(self, body: bytes) -> None:
        assert not is_bomb(body)

    def test_T11_the_deepest_that_passes_is_read_wherever_the_reader_stands(self) -> None:
        """Python's own limit counts the caller's frames as well, so ours must leave room for them."""

        def read_far_down(frames: int) -> object:
            return read_far_down(frames - 1) if frames else json.loads("[" * DEEPEST + "]" * DEEPEST)

        assert read_far_down(200)

    @pytest.mark.parametrize(
        "said", [True, None, "60", [60], float("nan"), float("inf"), float("-inf"), int(FOR_EVER), 1e300]
    )
    def test_T18_what_is_no_time_is_none(self, said: object) -> None:
        assert seconds_of(said) is None

    def test_T18_numbers_are_seconds(self) -> None:
        assert [seconds_of(said) for said in (60, 0.5, 0, -5)] == [60.0, 0.5, 0.0, -5.0]

    @pytest.mark.parametrize("end", [int(FOR_EVER), float("nan"), "never", True])
    def test_T09_a_token_that_names_no_time_says_nothing_of_its_life(self, end: object) -> None:
        assert life_of({"exp": end, "iat": 1}, None) is None


class TestLoginServer:
    @pytest.mark.parametrize("place", ["/.well-known/oauth-authorization-server", "/token"])
    @pytest.mark.parametrize("status", [200, 400, 503])
    @pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
    def test_T11_a_bomb_is_the_servers_fault(
        self, login: Login, secret_file: str, place: str, status: int, body: bytes
    ) -> None:
        """Fails without ``is_bomb`` in ``Session.send``: RecursionError is no error that a provider may raise."""
        login.answers[place] = Answer(status, body)
        error = error_of(login.provider(client_secret_file=secret_file), login.request())
        assert isinstance(error, Unavailable) and "nested without end" in str(error)

    @pytest.mark.parametrize("life", [FOR_EVER, b"Infinity", b"NaN", b"1e999"])
    def test_T11_a_life_that_is_no_number_is_one_sentence_or_no_limit(
        self, login: Login, secret_file: str, life: bytes
    ) -> None:
        login.answers["/token"] = Answer(
            200, b'{"access_token": "x", "token_type": "Bearer", "expires_in": ' + life + b"}"
        )
        try:
            found = ask(login.provider(client_secret_file=secret_file), login.request())
        except Unavailable as error:
            check_sentence(error)
        else:
            assert found.expires_in is None

    @pytest.mark.parametrize("end", [FOR_EVER, b"NaN", b"-Infinity"])
    def test_T09_a_jwt_that_ends_at_no_time_lives_as_long_as_its_server_says(
        self, login: Login, secret_file: str, end: bytes
    ) -> None:
        claims = base64.urlsafe_b64encode(b'{"exp": ' + end + b"}").rstrip(b"=").decode()
        login.answers["/token"] = answer_json(GOOD | {"access_token": f"e30.{claims}.c2ln", "expires_in": 900})
        found = ask(login.provider(client_secret_file=secret_file), login.request())
        assert found.expires_in is not None and 800 < found.expires_in < 900

    @pytest.mark.parametrize("field", ["access_token", "refresh_token"])
    def test_T13_half_a_character_in_a_token_is_one_sentence(self, login: Login, secret_file: str, field: str) -> None:
        login.answers["/token"] = answer_json(GOOD | {field: "a\ud800b"})
        error = error_of(login.provider(client_secret_file=secret_file), login.request())
        assert isinstance(error, Denied) and "half a character" in str(error)

    def test_T18_a_device_answer_that_is_no_json_is_not_blamed_on_the_way_there(self, login: Login) -> None:
        """It said ``the login server at :80 cannot be asked (JSONDecodeError)``."""
        login.answers["/device"] = Answer(200, b"<html>welcome</html>")
        error = error_of(login.provider("device"), login.request())
        assert isinstance(error, Unavailable) and "something that is not OAuth" in str(error)

    def test_T11_metadata_that_names_nobody_is_not_quoted(self, login: Login, secret_file: str) -> None:
        """It said ``says that it is None: write exactly that as issuer``."""
        del login.metadata["issuer"]
        error = error_of(login.provider(client_secret_file=secret_file), login.request())
        assert isinstance(error, Denied) and "does not say who it is" in str(error)

    @pytest.mark.parametrize("life", [FOR_EVER, b"NaN", b"true", b'"soon"'])
    def test_T18_a_fetched_password_lives_for_a_number_of_seconds_or_for_no_known_time(
        self, login: Login, secret_file: str, life: bytes
    ) -> None:
        login.answers["/token"] = answer_json(GOOD)
        login.answers["/pw"] = Answer(200, b'{"password": "p", "expires_in": ' + life + b"}")
        provider = login.provider(client_secret_file=secret_file, use="fetch", password_url=f"{login.url}/pw")
        assert ask(provider, make_request()).expires_in is None


LOGIN = {"client_token": "t", "lease_duration": 60, "renewable": True}
SECRET = {"data": {"data": {"password": "p"}, "metadata": {"version": 7, "deletion_time": ""}}}


class TestVault:
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.file = tmp_path / "pw"
        self.file.write_text("s3cret")
        self.file.chmod(0o600)

    def ask(self, kv_version: int = 2, *, login: bytes | None = None, read: Any = SECRET, health: bytes = b"{}") -> Any:
        """The credentials, or the error."""

        def answer(seen: Seen) -> Answer:
            if seen.path == "/v1/sys/health":
                return Answer(200, health)
            if "/login/" in seen.path:
                return answer_json({"auth": LOGIN}) if login is None else Answer(200, login)
            return read if isinstance(read, Answer) else answer_json(read)

        auth = {"method": "userpass", "username": "alice", "password_file": str(self.file)}
        with FaultServer(answer) as server:
            options = {"url": server.url, "path": "sip/{username}", "kv_version": kv_version, "auth": auth}
            provider = VaultProvider(make_context(options, name="vault", http_timeout=2.0))
            try:
                return ask(provider, make_request())
            except ProviderError as error:
                check_sentence(error)
                return error

    @pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
    def test_T18_a_bomb_is_no_bug(self, body: bytes) -> None:
        """Fails without ``is_bomb`` in ``Session.send``: to the login, to the read, and in what explains a failure."""
        for error in (
            self.ask(read=Answer(200, body)),
            self.ask(login=body),
            self.ask(read=Answer(503, b"x"), health=body),
        ):
            assert isinstance(error, Unavailable), error

    @pytest.mark.parametrize("life", [FOR_EVER, b"NaN", b"Infinity", b"-60", b'"60"', b"null"])
    def test_T18_a_lease_of_no_time_is_no_lease(self, life: bytes) -> None:
        """NaN would never be due, and never be over."""
        body = b'{"auth": {"client_token": "t", "renewable": true, "lease_duration": ' + life + b"}}"
        assert "does not speak like Vault" in str(self.ask(login=body))

    @pytest.mark.parametrize("token", ["", 5, None, [1, 2], {"a": 1}, "\ud800"])
    def test_T18_a_token_is_a_text(self, token: object) -> None:
        """``bytearray(5)`` is five zeros, and ``bytearray(10**12)`` no memory at all."""
        body = json.dumps({"auth": LOGIN | {"client_token": token}}).encode()
        assert "does not speak like Vault" in str(self.ask(login=body))

    @pytest.mark.parametrize("life", [FOR_EVER, b"NaN", b"Infinity", b"-60"])
    def test_T18_version_1_says_how_often_to_look_in_seconds_or_not_at_all(self, life: bytes) -> None:
        found = self.ask(1, read=Answer(200, b'{"data": {"password": "p"}, "lease_duration": ' + life + b"}"))
        assert isinstance(found, PasswordCredentials) and found.expires_in is None

    @pytest.mark.parametrize("version", ["7\x1b]52;c;AAAA\a", "\u202e7", {"a": 1}, None, True])
    def test_T12_a_version_is_shown_so_it_is_a_number(self, version: object) -> None:
        """Fails without ``_version``: it stands in ``secret_ref`` and in the sentence about a refused answer."""
        data = SECRET["data"] | {"metadata": {"version": version}}
        assert "does not speak like Vault" in str(self.ask(read={"data": data}))
        assert self.ask().ref == "vault:sip/alice#7"


class TestKeychain:
    @pytest.mark.parametrize("found", [5, 1_000_000, [104], object(), 1.5])
    def test_T15_a_backend_that_gives_no_text_is_one_sentence(self, found: object) -> None:
        """Fails without the look at the type in ``Secret``: five zeros are not what was kept."""

        class Backend:
            def get_password(self, service: str, user: str) -> object:
                return found

        provider = KeychainProvider(make_context(name="keychain"))
        provider._keychain._backends = lambda: [Backend()]  # type: ignore[method-assign,list-item,return-value]
        with pytest.raises(Unavailable, match="the chosen keychain backend cannot be used"):
            ask(provider, make_request())


@pytest.mark.parametrize("value", [5, 1_000_000, None, [104, 105], 1.5])
def test_T14_a_secret_is_text_or_octets(value: Any) -> None:
    """And what it was instead is not quoted: a PIN is a number."""
    with pytest.raises(TypeError, match="a secret is text or octets, not") as caught:
        Secret(value)
    assert str(value) not in str(caught.value) or value is None
