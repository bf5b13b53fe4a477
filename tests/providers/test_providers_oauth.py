"""The oauth provider against oidc-provider: every flow, every use, the life of tokens."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import (
    BearerCredentials,
    Cancelled,
    CredentialProvider,
    CredentialRequest,
    Credentials,
    Denied,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    ProviderError,
    Rejection,
    Secret,
    Unavailable,
)
from sipcli.testing import FakeTerminal, ProviderContract, ask, make_context, make_request
from sipcli_providers import _oauth_signin
from sipcli_providers.oauth import OAuthProvider
from tests.support.servers.faults import Answer, FaultServer
from tests.support.servers.oidc import OidcProvider, Person

pytestmark = pytest.mark.real("oidc")

SCOPE = ["openid", "offline_access", "sip.register"]
File = Callable[[str, str], str]


@pytest.fixture
def file(tmp_path: Path) -> File:
    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    return write


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """oidc-provider names no interval, and five seconds are long."""
    monkeypatch.setattr(_oauth_signin, "_INTERVAL", 0.2)


@pytest.fixture
def service(oidc: OidcProvider, file: File) -> dict[str, Any]:
    """A machine's account: client credentials."""
    return {
        "issuer": oidc.issuer,
        "ca_file": str(oidc.ca),
        "flow": "client_credentials",
        "client_id": "svc",
        "client_secret_file": file("secret", "svc-secret"),
        "scope": ["sip.register"],
    }


@pytest.fixture
def person(oidc: OidcProvider) -> dict[str, Any]:
    """A person's account; *flow* is to be added."""
    return {"issuer": oidc.issuer, "ca_file": str(oidc.ca), "client_id": "cli", "scope": SCOPE, "browser": False}


def oauth(options: dict[str, Any], terminal: FakeTerminal | None = None, **more: Any) -> OAuthProvider:
    context = make_context(options | more, name="sso", terminal=terminal or FakeTerminal())
    return OAuthProvider(context)


def bearer(oidc: OidcProvider, **changes: Any) -> CredentialRequest:
    return make_request(scheme="bearer", authz_server=oidc.issuer, **changes)


def error_of(provider: CredentialProvider, request: CredentialRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(provider, request)
    return caught.value


def signing_in(terminal: FakeTerminal, who: Person) -> threading.Thread:
    """*who* does what the terminal asks for, as soon as it does."""

    def act() -> None:
        if terminal.acted.wait(10):
            action = terminal.actions[-1]
            who.visit(action.url, action.user_code)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def signed_in(options: dict[str, Any], who: Person, request: CredentialRequest) -> tuple[OAuthProvider, Credentials]:
    terminal = FakeTerminal()
    provider = oauth(options, terminal)
    thread = signing_in(terminal, who)
    credentials = ask(provider, request)
    thread.join(10)
    return provider, credentials


class TestOAuthKeepsTheContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _server(self, oidc: OidcProvider, service: dict[str, Any], certs: Path) -> None:
        self.oidc, self.service, self.certs = oidc, service, certs

    def make_provider(self, context: ProviderContext) -> OAuthProvider:
        options = self.service | {"use": "fetch", "password_url": f"{self.oidc.issuer}/sip-password?user={{username}}"}
        return OAuthProvider(ProviderContext(name=context.name, options=options, terminal=context.terminal))

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), "secret123"

    @contextlib.contextmanager
    def _hanging(self) -> Iterator[tuple[OAuthProvider, CredentialRequest]]:
        with FaultServer(lambda _: Answer(hang=True), certs=self.certs) as server:
            request = make_request(scheme="bearer", authz_server=server.url)
            yield oauth(self.service, issuer=server.url), request

    def hanging(self) -> contextlib.AbstractContextManager[tuple[OAuthProvider, CredentialRequest]]:
        return self._hanging()


class TestUses:
    def test_bearer_answers_the_server_it_is_configured_for(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        credentials = ask(oauth(service), bearer(oidc))
        assert isinstance(credentials, BearerCredentials)
        assert credentials.expires_in is not None
        assert 260 < credentials.expires_in <= 270, "it is to be replaced half a minute before its end"
        facts = oidc.call(
            "/token/introspection",
            b"token=" + credentials.secret.reveal(),
            Authorization="Basic cmVzb3VyY2U6cmVzb3VyY2Utc2VjcmV0",
        )
        assert facts["active"] is True
        assert facts["scope"] == "sip.register"

    def test_password_is_the_token(self, service: dict[str, Any]) -> None:
        credentials = ask(oauth(service, use="password"), make_request(username="alice"))
        assert isinstance(credentials, PasswordCredentials)
        assert (credentials.username, len(credentials.secret.reveal()) > 20) == ("alice", True)

    def test_fetch_asks_for_the_password_with_the_token(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        url = f"{oidc.issuer}/sip-password?user={{username}}"
        provider = oauth(service, use="fetch", password_url=url, username_field="username")
        credentials = ask(provider, make_request(username="bob"))
        assert (credentials.username, credentials.secret.reveal()) == ("bob", b"bobpass")
        assert credentials.expires_in == 60
        assert isinstance(error_of(provider, make_request(username="mallory")), NotFound)

    def test_fetch_without_the_scope_is_denied(self, oidc: OidcProvider, service: dict[str, Any], file: File) -> None:
        weak = {"client_id": "weak", "client_secret_file": file("weak", "weak-secret"), "scope": "sip"}
        error = error_of(oauth(service | weak, use="fetch", password_url=f"{oidc.issuer}/sip-password"), make_request())
        assert isinstance(error, Denied)
        assert "403" in str(error)

    def test_fetch_renews_a_token_that_is_refused_there(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        provider = oauth(service, use="fetch", password_url=f"{oidc.issuer}/sip-password")
        ask(provider, make_request())
        account = provider._accounts["alice@example.com"]
        assert account.token is not None
        account.token = type(account.token)(Secret("revoked-meanwhile"), None, account.token.expires_at)
        assert ask(provider, make_request()).secret.reveal() == b"secret123"

    @pytest.mark.parametrize(("use", "scheme"), [("bearer", "digest"), ("password", "bearer"), ("fetch", "bearer")])
    def test_the_other_scheme_is_not_ours(
        self, oidc: OidcProvider, service: dict[str, Any], use: str, scheme: Any
    ) -> None:
        more = {"password_url": f"{oidc.issuer}/sip-password"} if use == "fetch" else {}
        request = make_request(scheme=scheme, authz_server=oidc.issuer)
        assert isinstance(error_of(oauth(service, use=use, **more), request), NotFound)


class TestClientCredentials:
    def test_one_token_serves_until_it_is_old(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        provider, before = oauth(service), len(oidc.granted())
        first, second = (ask(provider, bearer(oidc)).secret.reveal() for _ in range(2))
        assert first == second
        assert len(oidc.granted()) - before == 1

    def test_accounts_do_not_share_tokens(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        provider = oauth(service)
        one = ask(provider, bearer(oidc)).secret.reveal()
        assert ask(provider, bearer(oidc, aor="sip:alice@elsewhere.example")).secret.reveal() != one

    def test_basic_is_form_encoded_first(self, oidc: OidcProvider, service: dict[str, Any], file: File) -> None:
        odd = {"client_id": "odd:id", "client_secret_file": file("odd", "odd%+secret")}
        assert ask(oauth(service | odd), bearer(oidc)).scheme == "bearer"

    def test_a_client_that_posts_its_secret(
        self, oidc: OidcProvider, service: dict[str, Any], file: File, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """oidc-provider offers both ways; only a server that offers no Basic is posted to."""
        provider = oauth(service | {"client_id": "post", "client_secret_file": file("post", "post-secret")})
        known = provider._client.endpoints(wait())
        monkeypatch.setattr(
            provider._client,
            "_discovered",
            type(known)(issuer=known.issuer, token=known.token, auth_methods=frozenset({"client_secret_post"})),
        )
        assert ask(provider, bearer(oidc)).scheme == "bearer"

    def test_T14_a_wrong_secret_is_denied_and_not_shown(
        self, oidc: OidcProvider, service: dict[str, Any], file: File
    ) -> None:
        error = error_of(oauth(service, client_secret_file=file("bad", "hunter2-canary")), bearer(oidc))
        assert isinstance(error, Denied)
        assert "client_id" in str(error)
        assert "canary" not in f"{error!r} {error.__cause__!r}"

    def test_a_scope_that_may_not_be_had(self, oidc: OidcProvider, service: dict[str, Any], file: File) -> None:
        weak = {"client_id": "weak", "client_secret_file": file("weak", "weak-secret")}
        error = error_of(oauth(service | weak), bearer(oidc))
        assert isinstance(error, Denied)
        assert "scope" in str(error)

    def test_busy_is_unavailable(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        provider = oauth(service)
        oidc.control(failure=503)
        error = error_of(provider, bearer(oidc))
        assert isinstance(error, Unavailable)
        assert error.retry_after == 1
        oidc.control(failure=0)
        assert ask(provider, bearer(oidc)).scheme == "bearer"

    def test_explicit_urls_need_no_metadata(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        options = {k: v for k, v in service.items() if k != "issuer"} | {"token_url": f"{oidc.issuer}/token"}
        assert ask(oauth(options, use="password"), make_request()).scheme == "digest"
        trusted = oauth(options, authz_server=oidc.issuer)
        assert ask(trusted, bearer(oidc)).scheme == "bearer"


class TestRefusedTokens:
    def rejected(self, oidc: OidcProvider, attempt: int) -> CredentialRequest:
        return bearer(oidc, attempt=attempt, rejected=Rejection(provider="sso", username="", status=401))

    def test_one_new_token_then_the_end(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        provider = oauth(service)
        first = ask(provider, bearer(oidc)).secret.reveal()
        second = ask(provider, self.rejected(oidc, 2)).secret.reveal()
        assert second != first
        error = error_of(provider, self.rejected(oidc, 3))
        assert isinstance(error, Denied)
        assert "also a new one" in str(error)

    def test_a_later_refusal_gets_a_new_token_again(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        provider = oauth(service)
        ask(provider, bearer(oidc))
        second = ask(provider, self.rejected(oidc, 2)).secret.reveal()
        assert ask(provider, self.rejected(oidc, 2)).secret.reveal() != second

    def test_another_providers_refusal_is_not_ours(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        provider = oauth(service)
        first = ask(provider, bearer(oidc)).secret.reveal()
        other = Rejection(provider="vault", username="alice", status=401)
        assert ask(provider, bearer(oidc, attempt=2, rejected=other)).secret.reveal() == first

    def test_forget_drops_that_very_token(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        provider = oauth(service)
        first = ask(provider, bearer(oidc))
        provider.forget(bearer(oidc), BearerCredentials(Secret("another")))
        assert ask(provider, bearer(oidc)).secret == first.secret
        provider.forget(bearer(oidc), first)
        assert ask(provider, bearer(oidc)).secret.reveal() != first.secret.reveal()

    def test_the_caller_may_wipe_what_it_got(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        provider = oauth(service)
        first = ask(provider, bearer(oidc))
        kept = first.secret.reveal()
        first.secret.wipe()
        assert ask(provider, bearer(oidc)).secret.reveal() == kept


class TestDeviceFlow:
    def test_the_person_types_the_code(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        provider, credentials = signed_in(person | {"flow": "device"}, oidc.person(), bearer(oidc))
        assert credentials.scheme == "bearer"
        terminal = provider._signin._terminal
        assert isinstance(terminal, FakeTerminal)
        (action,) = terminal.actions
        assert action.provider == "sso"
        assert action.url == f"{oidc.issuer}/device"
        assert action.user_code
        assert action.user_code not in action.url
        assert action.expires_in == 600

    def test_the_person_says_no(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        terminal = FakeTerminal()
        provider = oauth(person | {"flow": "device"}, terminal)
        signing_in(terminal, oidc.person(deny=True))
        error = error_of(provider, bearer(oidc))
        assert isinstance(error, Denied)
        assert "said no" in str(error)

    def test_nobody_comes(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        oidc.control(deviceTtl=1)
        error = error_of(oauth(person | {"flow": "device"}), bearer(oidc))
        assert isinstance(error, Unavailable)
        assert "in time" in str(error)

    def test_cancelled_while_waiting(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        terminal = FakeTerminal()
        request = bearer(oidc)
        threading.Thread(target=lambda: terminal.acted.wait(10) and request.cancel.set(), daemon=True).start()
        started = time.monotonic()
        assert isinstance(error_of(oauth(person | {"flow": "device"}, terminal), request), Cancelled)
        assert time.monotonic() - started < 4.5, "the next poll is due after five"

    def test_nobody_may_be_asked(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        terminal = FakeTerminal()
        error = error_of(oauth(person | {"flow": "device"}, terminal), bearer(oidc, interactive=False))
        assert isinstance(error, NotFound)
        assert "sipcli auth test work" in str(error)
        assert not terminal.actions

    def test_the_wait_for_a_person_outlives_the_deadline_of_a_store(
        self, oidc: OidcProvider, person: dict[str, Any]
    ) -> None:
        terminal = FakeTerminal()
        provider = oauth(person | {"flow": "device"}, terminal)
        who = oidc.person()

        def act() -> None:
            terminal.acted.wait(10)
            time.sleep(0.8)
            who.visit(terminal.actions[-1].url, terminal.actions[-1].user_code)

        threading.Thread(target=act, daemon=True).start()
        assert ask(provider, bearer(oidc, deadline=time.monotonic() + 0.6)).scheme == "bearer"


class TestBrowserFlow:
    def test_the_person_logs_in(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        who = oidc.person("bob")
        options = person | {"flow": "code", "use": "fetch", "password_url": f"{oidc.issuer}/sip-password"}
        _, credentials = signed_in(options, who, make_request())
        assert credentials.secret.reveal() == b"bobpass"
        assert who.last.startswith("http://127.0.0.1:")

    def test_the_person_says_no(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        terminal = FakeTerminal()
        provider = oauth(person | {"flow": "code"}, terminal)
        signing_in(terminal, oidc.person(deny=True))
        assert isinstance(error_of(provider, bearer(oidc)), Denied)

    def test_cancelled_while_waiting(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        terminal = FakeTerminal()
        request = bearer(oidc)
        threading.Thread(target=lambda: terminal.acted.wait(10) and request.cancel.set(), daemon=True).start()
        assert isinstance(error_of(oauth(person | {"flow": "code"}, terminal), request), Cancelled)

    def test_T09_pkce_and_state_are_there(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        terminal = FakeTerminal()
        request = bearer(oidc)
        threading.Thread(target=lambda: terminal.acted.wait(10) and request.cancel.set(), daemon=True).start()
        error_of(oauth(person | {"flow": "code"}, terminal), request)
        url = terminal.actions[0].url
        assert "code_challenge_method=S256" in url
        assert "state=" in url
        assert "code_verifier" not in url


class TestRefresh:
    def test_an_old_token_is_refreshed_not_asked_for(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        provider, first = signed_in(person | {"flow": "device"}, oidc.person(), bearer(oidc))
        grow_old(provider)
        second = ask(provider, bearer(oidc, interactive=False))
        assert second.secret.reveal() != first.secret.reveal()
        assert oidc.granted()[-1] == "granted refresh_token cli"

    def test_rotation_is_followed(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        """oidc-provider revokes everything when an old refresh token is used again."""
        provider, _ = signed_in(person | {"flow": "device"}, oidc.person(), bearer(oidc))
        for _ in range(3):
            grow_old(provider)
            ask(provider, bearer(oidc, interactive=False))

    def test_threads_refresh_once(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        provider, _ = signed_in(person | {"flow": "device"}, oidc.person(), bearer(oidc))
        grow_old(provider)
        before = len(oidc.granted())
        got: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: got.append(ask(provider, bearer(oidc)).secret.reveal())) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(got) == 8
        assert len(set(got)) == 1
        assert oidc.granted()[before:] == ["granted refresh_token cli"]

    def test_a_revoked_sign_in_needs_the_person_again(self, oidc: OidcProvider, person: dict[str, Any]) -> None:
        provider, _ = signed_in(person | {"flow": "device"}, oidc.person(), bearer(oidc))
        account = provider._accounts["alice@example.com"]
        assert account.token is not None
        account.token = type(account.token)(Secret("x"), Secret("used-or-revoked"), 0.0, 0.0)
        assert isinstance(error_of(provider, bearer(oidc, interactive=False)), NotFound)
        terminal = provider._signin._terminal
        assert isinstance(terminal, FakeTerminal)
        terminal.acted.clear()
        signing_in(terminal, oidc.person())
        assert ask(provider, bearer(oidc)).scheme == "bearer"

    def test_short_lived_tokens_are_used_for_two_thirds(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        oidc.control(accessTtl=9)
        provider = oauth(service)
        first = ask(provider, bearer(oidc)).secret.reveal()
        account = provider._accounts["alice@example.com"]
        token = account.token
        assert token is not None
        assert token.expires_at is not None
        for age, same in ((5.0, True), (7.0, False)):
            account.token = type(token)(token.access, None, token.expires_at - age, token.born - age)
            assert (ask(provider, bearer(oidc)).secret.reveal() == first) is same


class TestNothingLeaks:
    def test_the_process_keeps_its_switches(self, oidc: OidcProvider, service: dict[str, Any]) -> None:
        """A granted scope that differs raises a Warning in oauthlib; its global switch is never touched."""
        credentials = ask(oauth(service, scope=["sip.register", "world"]), bearer(oidc))
        assert credentials.scheme == "bearer"
        assert not [name for name in os.environ if name.startswith("OAUTHLIB")]

    def test_T14_no_token_in_the_log_at_debug(
        self, oidc: OidcProvider, person: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            provider, credentials = signed_in(person | {"flow": "device"}, oidc.person(), bearer(oidc))
        token = provider._accounts["alice@example.com"].token
        assert token is not None
        assert token.refresh is not None
        for secret in (credentials.secret, token.refresh):
            assert secret.reveal().decode() not in caplog.text

    def test_T31_planted_environment_changes_nothing(
        self, oidc: OidcProvider, service: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password hunter2-canary\n")
        for name, value in {
            "HOME": str(tmp_path),
            "HTTPS_PROXY": "http://127.0.0.1:1",
            "https_proxy": "http://127.0.0.1:1",
            "REQUESTS_CA_BUNDLE": "/nowhere",
            "SSL_CERT_FILE": "/nowhere",
            "SSLKEYLOGFILE": str(tmp_path / "keys"),
        }.items():
            monkeypatch.setenv(name, value)
        assert ask(oauth(service), bearer(oidc)).scheme == "bearer"
        assert not (tmp_path / "keys").exists()


def grow_old(provider: OAuthProvider) -> None:
    """The access token of the account expires, as if time had passed."""
    account = provider._accounts["alice@example.com"]
    assert account.token is not None
    account.token = type(account.token)(account.token.access, account.token.refresh, 0.0, 0.0)


def wait() -> Any:
    from sipcli_providers._patience import Wait

    return Wait.of(make_request())
