"""OAuth for months: renewal before the end, back-off, rotation on disk, other clocks, what tokens say of themselves."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import CredentialRequest, Denied, NotFound, ProviderError, Rejection, Secret, Unavailable
from sipcli.testing import FakeTerminal, ask, make_context, make_request
from sipcli_providers import _oauth_signin
from sipcli_providers._oauth_file import TokenFile
from sipcli_providers._oauth_jwt import claims_of, life_of
from sipcli_providers._patience import Wait
from sipcli_providers.oauth import OAuthProvider
from tests.support.real import require
from tests.support.servers.faults import Answer, FaultServer, Seen
from tests.support.servers.oidc import OidcProvider

ALICE = "alice@example.com"


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    require("openssl")
    monkeypatch.setattr(_oauth_signin, "_INTERVAL", 0.2)


def jwt(**claims: object) -> str:
    parts = ({"alg": "RS256", "typ": "at+jwt"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + ".sig"


class Login:
    """A login server at loopback; ``tokens`` are given out in turn, the last one again and again."""

    def __init__(self, certs: Path, secret_file: str) -> None:
        self.certs, self.secret_file = certs, secret_file
        self.tokens: list[Answer | dict[str, Any]] = [{"access_token": "t1", "expires_in": 300}]
        self.date: float | None = None
        self.server = FaultServer(self.answer, certs=certs)
        self.url = self.server.url

    def answer(self, seen: Seen) -> Answer:
        if seen.path != "/token":
            body: dict[str, Any] = {"issuer": self.url, "token_endpoint": f"{self.url}/token"}
            return Answer(200, json.dumps(body).encode())
        given = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        if isinstance(given, Answer):
            return given
        dated = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self.date or time.time()))
        return Answer(200, json.dumps({"token_type": "Bearer", **given}).encode(), {"Date": dated})

    def provider(self, **options: Any) -> OAuthProvider:
        defaults: dict[str, Any] = {
            "issuer": self.url,
            "ca_file": str(self.certs / "ca.pem"),
            "client_id": "c",
            "client_secret_file": self.secret_file,
            "flow": "client_credentials",
        }
        return OAuthProvider(make_context(defaults | options, name="sso", http_timeout=2.0))

    def request(self, **changes: Any) -> CredentialRequest:
        return make_request(**{"scheme": "bearer", "authz_server": self.url} | changes)

    def asked(self) -> int:
        return self.server.paths().count("/token")


@pytest.fixture
def login(certs: Path, tmp_path: Path) -> Any:
    secret = tmp_path / "client-secret"
    secret.write_text("hunter2-canary")
    secret.chmod(0o600)
    server = Login(certs, str(secret))
    with server.server:
        yield server


def age(provider: OAuthProvider, seconds: float) -> None:
    """The token of alice, and the pause after a failure, are *seconds* older."""
    account = provider._accounts[ALICE]
    token = account.token
    assert token is not None
    assert token.expires_at is not None
    account.token = type(token)(token.access, token.refresh, token.expires_at - seconds, token.born - seconds)
    account.not_before -= seconds


def error_of(provider: OAuthProvider, request: CredentialRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(provider, request)
    return caught.value


class TestRenewal:
    @pytest.mark.parametrize(("life", "usable"), [(300, 270), (3600, 3570), (60, 40), (9, 6)])
    def test_A28_a_token_is_renewed_before_its_end_not_after(self, login: Login, life: int, usable: int) -> None:
        """What the cache is told ends where the renewal begins: half a minute, or a third, before the end.

        Fails when ``expires_in`` is the whole life: the cache would send it to its last second.
        """
        login.tokens = [{"access_token": "t1", "expires_in": life}, {"access_token": "t2", "expires_in": life}]
        provider = login.provider()
        first = ask(provider, login.request())
        assert first.expires_in == pytest.approx(usable, abs=1)
        age(provider, usable - 1)
        assert ask(provider, login.request()).secret.reveal() == b"t1"
        age(provider, 2)
        assert ask(provider, login.request()).secret.reveal() == b"t2"

    def test_A28_a_refused_token_is_renewed_exactly_once(self, login: Login) -> None:
        """``invalid_token`` twice: one renewal, and then nobody is asked.  Fails without ``renewed_at``."""
        login.tokens = [{"access_token": f"t{n}", "expires_in": 300} for n in range(5)]
        provider = login.provider()
        ask(provider, login.request())
        refused = Rejection(provider="sso", username="", status=401)
        assert ask(provider, login.request(attempt=2, rejected=refused)).secret.reveal() == b"t1"
        for _ in range(3):
            assert isinstance(error_of(provider, login.request(attempt=3, rejected=refused)), Denied)
        assert login.asked() == 2

    @pytest.mark.parametrize("fault", [Answer(503, b"{}"), Answer(429, b"{}"), Answer(200, b"<html>")])
    def test_a_renewal_that_fails_backs_off_and_the_token_serves_on(self, login: Login, fault: Answer) -> None:
        """Thirty uses in the last half minute, a handful of tries; over, it is over.  Fails without ``not_before``."""
        login.tokens = [{"access_token": "t1", "expires_in": 300}, fault]
        provider = login.provider()
        ask(provider, login.request())
        age(provider, 271)
        for _ in range(27):
            found = ask(provider, login.request())
            assert found.secret.reveal() == b"t1"
            assert found.expires_in is not None
            assert 0 < found.expires_in <= 29
            age(provider, 1)
        assert 2 <= login.asked() - 1 <= 10
        assert isinstance(error_of(provider, login.request()), Unavailable), "a dead token is not sent"
        login.tokens = [{"access_token": "t2", "expires_in": 300}]
        assert ask(provider, login.request()).secret.reveal() == b"t2"


class TestClocks:
    @pytest.mark.parametrize("skew", [-86400, 3600, 86400])
    def test_T09_a_server_with_another_clock_changes_no_life(self, login: Login, skew: int) -> None:
        """``exp`` is counted from the server's own date.  Fails when it is compared with our clock."""
        login.date = theirs = time.time() + skew
        login.tokens = [{"access_token": jwt(iss=login.url, exp=int(theirs) + 120)}]
        assert ask(login.provider(), login.request()).expires_in == pytest.approx(90, abs=2)

    def test_T09_the_shorter_of_two_lives_counts(self, login: Login) -> None:
        login.tokens = [{"access_token": jwt(exp=int(time.time()) + 60), "expires_in": 3600}]
        assert ask(login.provider(), login.request()).expires_in == pytest.approx(40, abs=2)

    @pytest.mark.parametrize(
        "given",
        [
            {"access_token": "t", "expires_in": -60},
            {"access_token": jwt(exp=1000000000)},
        ],
        ids=["expires_in", "exp"],
    )
    def test_T09_a_token_that_is_over_already_is_not_sent(self, login: Login, given: dict[str, Any]) -> None:
        """Fails when a life that is no life is taken for one without an end."""
        login.tokens = [given]
        error = error_of(login.provider(), login.request())
        assert isinstance(error, Unavailable)
        assert "expired already" in str(error)

    def test_life_without_a_date_is_counted_from_the_tokens_birth(self) -> None:
        assert life_of({"exp": 2000, "iat": 1400}, None) == 600
        assert life_of({"exp": 2000}, None) is None
        assert life_of({"exp": "soon", "iat": 1400}, None) is None


class TestWhatATokenSays:
    def test_T09_a_token_of_another_issuer_is_not_used(self, login: Login) -> None:
        """Fails without the comparison of ``iss``."""
        login.tokens = [{"access_token": jwt(iss="https://evil.test"), "expires_in": 300}]
        error = error_of(login.provider(), login.request())
        assert isinstance(error, Denied)
        assert "https://evil.test" in str(error)
        assert ask(login.provider(token_issuer="https://evil.test"), login.request()).scheme == "bearer"

    @pytest.mark.parametrize(
        ("aud", "good"),
        [("sip:pbx", True), (["a", "sip:pbx"], True), ("https://bank.test", False), (["a", "b"], False), ([], False)],
    )
    def test_T09_a_token_for_somebody_else_is_not_used(self, login: Login, aud: object, good: bool) -> None:
        """Fails without the comparison of ``aud``."""
        login.tokens = [{"access_token": jwt(iss=login.url, aud=aud), "expires_in": 300}]
        provider = login.provider(audience="sip:pbx")
        if good:
            assert ask(provider, login.request()).scheme == "bearer"
        else:
            assert isinstance(error_of(provider, login.request()), Denied)

    @pytest.mark.parametrize(
        "token", ["", "opaque", "a.b", "a.b.c", "..", "a.W10.c", "a.bnVsbA.c", "a.\u00e9.c", "a." + "W" * 9999 + ".c"]
    )
    def test_what_is_no_jwt_says_nothing(self, token: str) -> None:
        assert claims_of(token) == {}


class TestTokenFile:
    """``store = "file"``: for machines without a keychain."""

    def wait(self, seconds: float = 5.0) -> Wait:
        return Wait.of(make_request(deadline=time.monotonic() + seconds))

    def test_it_is_ours_alone_from_its_first_octet(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Watched at each opening, with a umask that hides nothing.  Fails with ``Path.write_text`` and a chmod."""
        modes: list[int] = []
        real = os.fsync

        def fsync(descriptor: int) -> None:
            modes.append(os.fstat(descriptor).st_mode & 0o777)
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        before = os.umask(0)
        try:
            kept = TokenFile(tmp_path / "new" / "sso.json")
            with kept.held(self.wait()):
                kept.save(ALICE, Secret("r1"))
        finally:
            os.umask(before)
        assert modes[0] == 0o600
        assert kept.path.stat().st_mode & 0o777 == 0o600
        assert kept.path.parent.stat().st_mode & 0o077 == 0
        assert sorted(p.name for p in kept.path.parent.iterdir()) == ["sso.json", "sso.json.lock"]

    def test_a_write_that_fails_leaves_the_old_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The disk is full in the middle: the old token is there, whole.  Fails when the file is written in place."""
        kept = TokenFile(tmp_path / "sso.json")
        kept.save(ALICE, Secret("r1"))

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="No space left"):
            kept.save(ALICE, Secret("r2"))
        assert kept.find(ALICE) == Secret("r1")
        assert [p.name for p in tmp_path.iterdir()] == ["sso.json"]

    def test_what_another_has_renewed_meanwhile_is_not_erased(self, tmp_path: Path) -> None:
        """Fails without the comparison in ``TokenFile.erase``."""
        kept = TokenFile(tmp_path / "sso.json")
        kept.save(ALICE, Secret("r2"))
        kept.erase(ALICE, Secret("r1"))
        assert kept.find(ALICE) == Secret("r2")
        kept.erase(ALICE, Secret("r2"))
        assert kept.find(ALICE) is None

    def test_others_may_not_have_read_it(self, tmp_path: Path) -> None:
        kept = TokenFile(tmp_path / "sso.json")
        kept.save(ALICE, Secret("r1"))
        kept.path.chmod(0o644)
        with pytest.raises(Denied, match="can be read by others"):
            kept.find(ALICE)

    @pytest.mark.parametrize("content", ["[]", "not json", '{"a": 1}', '"x"'])
    def test_another_file_is_not_overwritten(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "precious"
        path.write_text(content)
        path.chmod(0o600)
        with pytest.raises(Denied, match="something else"):
            TokenFile(path).save(ALICE, Secret("r"))
        assert path.read_text() == content

    def test_two_take_turns(self, tmp_path: Path) -> None:
        """Two objects, as two processes have.  Fails without the lock on the file."""
        one, two = TokenFile(tmp_path / "sso.json"), TokenFile(tmp_path / "sso.json")
        inside = threading.Event()
        with one.held(self.wait()):
            with pytest.raises(Unavailable, match="another process"), two.held(self.wait(0.2)):
                inside.set()
            assert not inside.is_set()
        with two.held(self.wait()):
            inside.set()
        assert inside.is_set()


@pytest.mark.real("oidc")
class TestRotation:
    """oidc-provider rotates, and ends a sign-in whose refresh token is used twice."""

    @pytest.fixture(autouse=True)
    def _server(self, oidc: OidcProvider, tmp_path: Path) -> None:
        self.oidc, self.file = oidc, tmp_path / "sso.json"

    def provider(self, terminal: FakeTerminal) -> OAuthProvider:
        options = {
            "issuer": self.oidc.issuer,
            "ca_file": str(self.oidc.ca),
            "client_id": "cli",
            "flow": "device",
            "scope": ["openid", "offline_access", "sip.register"],
            "store": "file",
            "store_file": str(self.file),
        }
        return OAuthProvider(make_context(options, name="sso", terminal=terminal))

    def request(self, **changes: Any) -> CredentialRequest:
        return make_request(scheme="bearer", authz_server=self.oidc.issuer, **changes)

    def sign_in(self) -> None:
        terminal, who = FakeTerminal(), self.oidc.person()

        def act() -> None:
            if terminal.acted.wait(10):
                who.visit(terminal.actions[-1].url, terminal.actions[-1].user_code)

        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        ask(self.provider(terminal), self.request())
        thread.join(10)

    def kept(self) -> str:
        return str(json.loads(self.file.read_text())[ALICE])

    def test_the_rotated_token_is_on_disk_before_the_access_token_is_used(self) -> None:
        """Fails when the store is written after ``get`` returned, or not at all: the second process is locked out."""
        self.sign_in()
        seen = {self.kept()}
        for _ in range(3):  # three processes, one after the other
            ask(self.provider(FakeTerminal()), self.request(interactive=False))
            seen.add(self.kept())
        assert len(seen) == 4

    def test_many_processes_at_once_do_not_raise_the_alarm(self) -> None:
        """Each takes the token, uses it, and writes the next.  Fails without ``held``: a reuse ends the sign-in."""
        self.sign_in()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                ask(self.provider(FakeTerminal()), self.request(interactive=False))
            except BaseException as error:  # shown below
                errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert errors == []

    def test_a_token_used_elsewhere_is_said_once_and_erased(self) -> None:
        """A thief used the copy first: the server ends the sign-in.  Fails without the word to the terminal."""
        self.sign_in()
        stolen = self.kept()
        ask(self.provider(FakeTerminal()), self.request(interactive=False))
        form = f"grant_type=refresh_token&client_id=cli&refresh_token={stolen}".encode()
        assert self.oidc.call("/token", form)["error"] == "invalid_grant"
        terminal = FakeTerminal()
        error = error_of(self.provider(terminal), self.request(interactive=False))
        assert isinstance(error, NotFound)
        assert "somebody has to sign in" in str(error)
        assert len(terminal.shown) == 1
        assert "somebody may have copied it" in terminal.shown[0]
        assert ALICE not in json.loads(self.file.read_text())
