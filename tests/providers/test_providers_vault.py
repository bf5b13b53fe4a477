"""The vault provider against OpenBao, and against servers that OpenBao cannot be made to be (T18)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
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
    Unavailable,
)
from sipcli.testing import ProviderContract, ask, make_context, make_request
from sipcli_providers.vault import VaultProvider
from tests.support.servers.faults import Answer, FaultServer, Seen, forward_to, redirect_to
from tests.support.servers.openbao import OpenBao

File = Callable[[str, str], str]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """Writes a 0600 file and returns its path."""

    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    return write


def vault(url: str, **options: Any) -> VaultProvider:
    defaults = {"url": url, "path": "sip/{username}"}
    return VaultProvider(make_context(defaults | options, name="vault", http_timeout=5.0))


def error_of(provider: CredentialProvider, request: CredentialRequest | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(provider, request or make_request())
    return caught.value


def by_token(path: str) -> dict[str, Any]:
    return {"auth": {"method": "token", "token_file": path}}


@pytest.mark.real("openbao")
class TestVaultKeepsTheContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _server(self, openbao: OpenBao, file: File) -> None:
        self.bao = openbao
        self.token_file = file("token", openbao.token())

    def make_provider(self, context: ProviderContext) -> VaultProvider:
        options = {"url": self.bao.url, "path": "sip/{username}", **by_token(self.token_file)}
        return VaultProvider(ProviderContext(name=context.name, options=options, terminal=context.terminal))

    def known(self) -> tuple[CredentialRequest, str]:
        return make_request(), "secret123"

    @contextlib.contextmanager
    def _hanging(self) -> Iterator[tuple[VaultProvider, CredentialRequest]]:
        with FaultServer(lambda _: Answer(hang=True)) as server:
            yield vault(server.url, **by_token(self.token_file)), make_request()

    def hanging(self) -> contextlib.AbstractContextManager[tuple[VaultProvider, CredentialRequest]]:
        return self._hanging()


@pytest.mark.real("openbao")
class TestVaultAgainstOpenBao:
    @pytest.fixture(autouse=True)
    def _server(self, openbao: OpenBao) -> None:
        self.bao = openbao

    def secret_of(self, request: CredentialRequest | None = None, **options: Any) -> str:
        return ask(vault(self.bao.url, **options), request or make_request()).secret.reveal().decode()

    # -- logins

    def test_token_from_a_file(self, file: File) -> None:
        assert self.secret_of(**by_token(file("token", self.bao.token() + "\n"))) == "secret123"

    def test_token_from_the_variable_that_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_TOKEN", self.bao.token())
        assert self.secret_of(auth={"method": "token", "token_env": "MY_TOKEN"}) == "secret123"

    def test_approle(self, file: File) -> None:
        auth = {"method": "approle", "role_id": self.bao.role_id()}
        assert self.secret_of(auth=auth | {"secret_id_file": file("s", self.bao.secret_id())}) == "secret123"

    def test_userpass(self, file: File) -> None:
        auth = {"method": "userpass", "username": "alice", "password_file": file("p", "vaultpw")}
        assert self.secret_of(auth=auth) == "secret123"

    def test_jwt(self, file: File) -> None:
        auth = {"method": "jwt", "role": "sipcli", "jwt_file": file("j", self.bao.jwt())}
        assert self.secret_of(auth=auth) == "secret123"

    def test_wrapped_secret_id_is_unwrapped_once_and_serves_later_logins(self, file: File) -> None:
        auth = {"method": "approle", "role_id": self.bao.role_id(), "secret_id_wrapped": True}
        auth["secret_id_file"] = file("w", self.bao.wrapped_secret_id())
        provider = vault(self.bao.url, auth=auth)
        ask(provider, make_request())
        revoke_all_of(self.bao, provider)
        assert ask(provider, make_request()).secret.reveal() == b"secret123"
        stolen = error_of(vault(self.bao.url, auth=auth))
        assert isinstance(stolen, Denied)
        assert "unwrapped already" in str(stolen)

    def test_wrapping_token_of_another_endpoint_is_refused(self, file: File) -> None:
        wrapped = self.bao.call("POST", "sys/wrapping/wrap", {"secret_id": "forged"}, X_Vault_Wrap_TTL="60")
        auth = {"method": "approle", "role_id": self.bao.role_id(), "secret_id_wrapped": True}
        auth["secret_id_file"] = file("w", wrapped["wrap_info"]["token"])
        error = error_of(vault(self.bao.url, auth=auth))
        assert isinstance(error, Denied)
        assert "replaced" in str(error)

    @pytest.mark.parametrize(
        "auth",
        [
            {"method": "approle", "role_id": "no-such-role", "secret_id_file": "bad"},
            {"method": "userpass", "username": "alice", "password_file": "bad"},
            {"method": "jwt", "role": "sipcli", "jwt_file": "bad"},
        ],
        ids=lambda auth: auth["method"],
    )
    def test_T14_bad_login_is_denied_and_the_secret_is_not_in_the_error(self, file: File, auth: dict[str, Any]) -> None:
        bad = file("bad", "hunter2-canary")
        error = error_of(vault(self.bao.url, auth={k: bad if v == "bad" else v for k, v in auth.items()}))
        assert isinstance(error, Denied)
        assert "canary" not in f"{error!r} {error.__cause__!r}"

    def test_a_login_needs_its_file(self) -> None:
        auth = {"method": "userpass", "username": "alice", "password_file": "/nowhere/at/all"}
        assert "/nowhere/at/all" in str(error_of(vault(self.bao.url, auth=auth)))

    # -- secrets

    def test_kv_version_is_detected(self, file: File) -> None:
        auth = by_token(file("token", self.bao.token()))
        first = ask(vault(self.bao.url, mount="kv1", **auth), make_request())
        second = ask(vault(self.bao.url, mount="secret", **auth), make_request())
        assert first.secret.reveal() == second.secret.reveal() == b"secret123"
        assert (first.ref, second.ref) == ("vault:sip/alice", "vault:sip/alice#2")

    @pytest.mark.parametrize(("mount", "kv_version"), [("kv1", 1), ("secret", 2)])
    def test_kv_version_may_be_given(self, file: File, mount: str, kv_version: int) -> None:
        auth = by_token(file("token", self.bao.token()))
        with FaultServer(forward_to(self.bao.url)) as counting:
            ask(vault(counting.url, mount=mount, kv_version=kv_version, **auth), make_request())
            assert len(counting.seen) == 1

    def test_an_older_version_can_be_asked_for(self, file: File) -> None:
        assert self.secret_of(version=1, **by_token(file("t", self.bao.token()))) == "old-password"

    def test_other_fields_and_a_number(self, file: File) -> None:
        auth = by_token(file("token", self.bao.token()))
        credentials = ask(
            vault(self.bao.url, field="pin", username_field="login", **auth), make_request(username="bob")
        )
        assert (credentials.username, credentials.secret.reveal()) == ("bob.trunk", b"4711")

    def test_what_is_not_there_is_not_found(self, file: File) -> None:
        auth = by_token(file("token", self.bao.token()))
        for request, options in (
            (make_request(username="nobody"), {}),
            (make_request(username="gone"), {}),
            (make_request(), {"field": "passwort"}),
            (make_request(), {"version": 99}),
        ):
            assert isinstance(error_of(vault(self.bao.url, **auth, **options), request), NotFound)

    def test_T18_no_permission_is_denied_and_names_the_path_for_the_policy(self, file: File) -> None:
        error = error_of(vault(self.bao.url, path="other/{username}", **by_token(file("t", self.bao.token()))))
        assert isinstance(error, Denied)
        assert "secret/data/other/alice" in str(error)

    def test_a_field_with_a_line_break_is_denied(self, file: File) -> None:
        auth = by_token(file("t", self.bao.token()))
        assert isinstance(error_of(vault(self.bao.url, field="lines", **auth), make_request(username="bob")), Denied)

    def test_a_mount_that_is_no_kv_is_denied(self, file: File) -> None:
        # The root token, for the policy of the others hides this mount.
        error = error_of(vault(self.bao.url, mount="transit", **by_token(file("t", "root"))))
        assert isinstance(error, Denied)
        assert "transit" in str(error)

    @pytest.mark.parametrize("username", ["../other/alice", "..", "alice/../../other/alice", "a\\b", "x\ny"])
    def test_a_name_cannot_leave_its_path(self, file: File, username: str) -> None:
        with FaultServer(forward_to(self.bao.url)) as counting:
            provider = vault(counting.url, **by_token(file("t", self.bao.token())))
            assert isinstance(error_of(provider, make_request(username=username)), Denied)
            assert not counting.seen

    # -- the life of a token

    def test_an_expired_token_means_one_new_login(self, file: File) -> None:
        auth = {"method": "approle", "role_id": self.bao.role_id(), "secret_id_file": file("s", self.bao.secret_id())}
        with FaultServer(forward_to(self.bao.url)) as counting:
            provider = vault(counting.url, auth=auth)
            ask(provider, make_request())
            revoke_all_of(self.bao, provider)
            ask(provider, make_request())
            assert counting.paths().count("/v1/auth/approle/login") == 2

    def test_T18_a_refusal_after_the_new_login_is_final(self, file: File) -> None:
        auth = {"method": "userpass", "username": "alice", "password_file": file("p", "vaultpw")}
        with FaultServer(forward_to(self.bao.url)) as counting:
            provider = vault(counting.url, auth=auth, path="other/{username}", kv_version=2)
            assert isinstance(error_of(provider), Denied)
            assert counting.paths().count("/v1/auth/userpass/login/alice") == 2
            assert counting.paths().count("/v1/secret/data/other/alice") == 2

    def test_a_replaced_token_file_is_noticed(self, file: File) -> None:
        old = self.bao.token()
        path = file("sink", old)
        provider = vault(self.bao.url, **by_token(path))
        ask(provider, make_request())
        self.bao.revoke(old)
        dead = error_of(provider)
        assert isinstance(dead, Unavailable)
        assert "the agent that writes it" in str(dead)
        file("sink", self.bao.token())
        assert ask(provider, make_request()).secret.reveal() == b"secret123"

    def test_a_token_is_renewed_after_two_thirds_of_its_life(self, file: File) -> None:
        auth = {"method": "userpass", "username": "alice", "password_file": file("p", "vaultpw")}
        with FaultServer(forward_to(self.bao.url)) as counting:
            provider = vault(counting.url, auth=auth)
            ask(provider, make_request())
            age(provider, 41.0)  # of 60
            ask(provider, make_request())
            assert counting.paths().count("/v1/auth/token/renew-self") == 1
            assert counting.paths().count("/v1/auth/userpass/login/alice") == 1

    def test_a_renewal_that_fails_is_a_login(self, file: File) -> None:
        auth = {"method": "userpass", "username": "alice", "password_file": file("p", "vaultpw")}
        with FaultServer(forward_to(self.bao.url)) as counting:
            provider = vault(counting.url, auth=auth)
            ask(provider, make_request())
            revoke_all_of(self.bao, provider)
            age(provider, 41.0)
            assert ask(provider, make_request()).secret.reveal() == b"secret123"
            assert counting.paths().count("/v1/auth/userpass/login/alice") == 2

    def test_many_accounts_at_once_need_one_login(self, file: File) -> None:
        auth = {"method": "userpass", "username": "alice", "password_file": file("p", "vaultpw")}
        with FaultServer(forward_to(self.bao.url)) as counting:
            provider = vault(counting.url, auth=auth)
            got: list[bytes] = []
            threads = [
                threading.Thread(target=lambda: got.append(ask(provider, make_request()).secret.reveal()))
                for _ in range(20)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            assert got == [b"secret123"] * 20
            assert counting.paths().count("/v1/auth/userpass/login/alice") == 1

    def test_T18_sealed_is_unavailable_and_works_again_after(self, tmp_path: Path, file: File) -> None:
        own = OpenBao(tmp_path / "own")
        try:
            provider = vault(own.url, **by_token(file("t", own.token())))
            ask(provider, make_request())
            own.seal()
            error = error_of(provider)
            assert isinstance(error, Unavailable)
            assert "sealed" in str(error)
            own.unseal()
            assert ask(provider, make_request()).secret.reveal() == b"secret123"
        finally:
            own.stop()

    def test_T31_the_environment_changes_nothing(
        self, file: File, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password hunter2-canary\n")
        (tmp_path / ".vault-token").write_text("hunter2-canary")
        monkeypatch.setenv("HOME", str(tmp_path))
        keylog = tmp_path / "keylog"
        for name, value in {
            "VAULT_TOKEN": "hunter2-canary",
            "VAULT_ADDR": "http://127.0.0.1:1",
            "VAULT_NAMESPACE": "elsewhere",
            "HTTP_PROXY": "http://127.0.0.1:1",
            "http_proxy": "http://127.0.0.1:1",
            "REQUESTS_CA_BUNDLE": "/nowhere",
            "SSLKEYLOGFILE": str(keylog),
        }.items():
            monkeypatch.setenv(name, value)
        with FaultServer(forward_to(self.bao.url)) as counting:
            assert (
                ask(
                    vault(
                        counting.url,
                        auth={"method": "userpass", "username": "alice", "password_file": file("p", "vaultpw")},
                    ),
                    make_request(),
                ).secret.reveal()
                == b"secret123"
            )
            assert all("canary" not in f"{seen.headers} {seen.body!r}" for seen in counting.seen)
            assert all("x-vault-namespace" not in seen.headers for seen in counting.seen)
        assert not keylog.exists()


class TestVaultMeetsTrouble:
    """What no real server does on request."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_T31_a_redirect_carries_nothing_away(self, file: File, status: int) -> None:
        with FaultServer(lambda _: Answer()) as thief:
            with FaultServer(lambda _: redirect_to(f"{thief.url}/v1/x", status)) as server:
                error = error_of(vault(server.url, **by_token(file("t", "hunter2-canary"))))
            assert isinstance(error, Unavailable)
            assert "redirect" in str(error)
            assert not thief.seen

    def test_busy_says_when_to_come_back(self, file: File) -> None:
        with FaultServer(lambda _: Answer(503, b'{"errors": ["try later"]}', {"Retry-After": "7"})) as server:
            error = error_of(vault(server.url, **by_token(file("t", "x"))))
        assert isinstance(error, Unavailable)
        assert error.retry_after == 7
        assert str(error).endswith("answered 503")  # and not what it said: decision 64

    def test_rate_limit_is_unavailable(self, file: File) -> None:
        with FaultServer(lambda _: Answer(429, b"{}")) as server:
            assert isinstance(error_of(vault(server.url, **by_token(file("t", "x")))), Unavailable)

    def test_T17_an_endless_body_is_cut_off(self, file: File) -> None:
        with FaultServer(lambda _: Answer(200, b" " * 1_000_000)) as server:
            error = error_of(vault(server.url, **by_token(file("t", "x"))))
        assert isinstance(error, Unavailable)
        assert "64 KiB" in str(error)

    def test_T17_a_dripping_body_does_not_outlive_the_time_out(self, file: File) -> None:
        options = {"path": "sip/{username}", **by_token(file("t", "x"))}
        with FaultServer(lambda _: Answer(200, b"x" * 100, drip=0.1)) as server:
            provider = VaultProvider(make_context({"url": server.url, **options}, http_timeout=0.5))
            started = time.monotonic()
            assert isinstance(error_of(provider), Unavailable)
            assert time.monotonic() - started < 8, "all of it takes ten seconds"

    def test_a_dead_server_and_a_deaf_one(self, file: File) -> None:
        auth = by_token(file("t", "x"))
        with FaultServer(lambda _: Answer(hang=True)) as server:
            provider = VaultProvider(make_context({"url": server.url, "path": "x", **auth}, http_timeout=0.3))
            assert "in time" in str(error_of(provider))
        assert "cannot be reached" in str(error_of(vault(server.url, **auth)))

    def test_the_deadline_of_the_request_counts(self, file: File) -> None:
        with FaultServer(lambda _: Answer(hang=True)) as server:
            started = time.monotonic()
            error = error_of(
                vault(server.url, **by_token(file("t", "x"))), make_request(deadline=time.monotonic() + 0.3)
            )
        assert isinstance(error, Unavailable)
        assert time.monotonic() - started < 4.5, "it has five seconds of its own"

    @pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<html>", b'{"data": 7}', b'{"data": {"type": 7}}'])
    @pytest.mark.parametrize("kv_version", [0, 1, 2])
    def test_something_that_is_not_vault(self, file: File, body: bytes, kv_version: int) -> None:
        with FaultServer(lambda _: Answer(200, body)) as server:
            error = error_of(vault(server.url, kv_version=kv_version, **by_token(file("t", "x"))))
        assert isinstance(error, Unavailable | Denied | NotFound)
        assert str(error).isprintable()

    def test_an_untrusted_certificate_says_what_to_do(self, file: File, certs: Path) -> None:
        with FaultServer(lambda _: Answer(), certs=certs) as server:
            error = error_of(vault(server.url, **by_token(file("t", "hunter2"))))
            assert isinstance(error, Unavailable)
            assert "ca_file" in str(error)
            assert not server.seen

    def test_a_named_authority_is_trusted(self, file: File, certs: Path) -> None:
        def answer(seen: Seen) -> Answer:
            assert seen.headers["x-vault-token"] == "a token"
            assert seen.headers["x-vault-namespace"] == "team"
            return Answer(200, b'{"data": {"password": "p"}, "lease_duration": 60}')

        auth = by_token(file("t", "a token"))
        with FaultServer(answer, certs=certs) as server:
            provider = vault(server.url, ca_file=str(certs / "ca.pem"), kv_version=1, namespace="team", **auth)
            credentials = ask(provider, make_request())
        assert (credentials.secret.reveal(), credentials.expires_in) == (b"p", 60.0)

    def test_a_version_that_will_be_deleted_is_not_kept_longer(self, file: File) -> None:
        soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 100)) + ".123456789Z"
        body = f'{{"data": {{"data": {{"password": "p"}}, "metadata": {{"version": 3, "deletion_time": "{soon}"}}}}}}'
        with FaultServer(lambda _: Answer(200, body.encode())) as server:
            credentials = ask(vault(server.url, kv_version=2, **by_token(file("t", "x"))), make_request())
        assert credentials.expires_in is not None
        assert 90 < credentials.expires_in <= 100

    def test_the_configured_proxy_is_used(self, file: File) -> None:
        """And the proxy alone: the name of the server is not even looked up here."""
        answer = Answer(200, b'{"data": {"password": "p"}}')
        with FaultServer(lambda _: answer) as proxy:
            options = {"kv_version": 1, "proxy": proxy.url, **by_token(file("t", "x"))}
            assert ask(vault("http://localhost:1", **options), make_request()).secret.reveal() == b"p"
            assert proxy.paths() == ["http://localhost:1/v1/secret/sip/alice"]
        error = error_of(vault("http://localhost:1", **options))
        assert isinstance(error, Unavailable)
        assert "proxy" in str(error)

    def test_a_token_that_does_not_end_is_kept(self, file: File) -> None:
        login = b'{"auth": {"client_token": "t", "lease_duration": 0, "renewable": false}}'
        secret = b'{"data": {"password": "p"}}'
        with FaultServer(lambda seen: Answer(200, login if "login" in seen.path else secret)) as server:
            auth = {"method": "userpass", "username": "a", "password_file": file("p", "x")}
            provider = vault(server.url, kv_version=1, auth=auth)
            for _ in range(3):
                ask(provider, make_request())
            assert server.paths().count("/v1/auth/userpass/login/a") == 1

    def test_a_token_at_the_end_of_its_days_is_not_renewed_for_seconds(self, file: File) -> None:
        """At the maximum TTL "renewed" means: for what is left of it."""
        login = b'{"auth": {"client_token": "t", "lease_duration": 60, "renewable": true}}'
        renewed = b'{"auth": {"client_token": "t", "lease_duration": 2, "renewable": true}}'

        def answer(seen: Seen) -> Answer:
            if "renew" in seen.path:
                return Answer(200, renewed)
            return Answer(200, login if "login" in seen.path else b'{"data": {"password": "p"}}')

        with FaultServer(answer) as server:
            auth = {"method": "userpass", "username": "a", "password_file": file("p", "x")}
            provider = vault(server.url, kv_version=1, auth=auth)
            ask(provider, make_request())
            age(provider, 50.0)
            ask(provider, make_request())
            assert server.paths().count("/v1/auth/userpass/login/a") == 2

    def test_cancelled_before_a_login_asks_nobody(self, file: File) -> None:
        with FaultServer(lambda _: Answer()) as server:
            request = make_request()
            request.cancel.set()
            assert isinstance(error_of(vault(server.url, **by_token(file("t", "x"))), request), Cancelled)
            assert not server.seen


class TestVaultOptions:
    GOOD: dict[str, Any] = {
        "url": "https://vault.example.com:8200",
        "path": "voip/{username}",
        "auth": {"method": "token", "token_file": "/t"},
    }

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"url": ""}, 'needs url, for example url = "https://'),
            ({"url": "http://vault.example.com"}, "https://"),
            ({"url": "https://me:secret@vault.example.com"}, "must not hold a user"),
            ({"url": "https://vault.example.com/#x"}, "do not belong in a URL"),
            ({"url": "https://bücher.example"}, "xn--"),
            ({"path": ""}, "needs path"),
            ({"path": "voip/{realm}"}, "uses {realm}, which does not exist"),
            ({"path": "voip/{username!r}"}, "does not exist"),
            ({"path": "voip/{"}, "brace"),
            ({"kv_version": 3}, "must be 1 or 2"),
            ({"kv_version": True}, "must be a whole number"),
            ({"kv_verison": 2}, "did you mean kv_version?"),
            ({"token": "s.abc"}, "does not belong in the configuration; use token_file"),
            ({"auth": {}}, 'method must be one of "token" | "approle" | "userpass" | "jwt"'),
            ({"auth": "token"}, "must be a table"),
            ({"auth": {"method": "token"}}, "one of them"),
            ({"auth": {"method": "token", "token": "s.abc"}}, "one of them"),
            ({"auth": {"method": "token", "token_env": "V", "token_wrapped": True}}, "goes with token_file"),
            ({"use_stale": "10m"}, "use_stale must be a whole number"),
            ({"auth": {"method": "approle", "secret_id_file": "/s"}}, "needs role_id"),
            ({"auth": {"method": "userpass", "username": "a", "password": "b"}}, "needs password_file"),
            ({"auth": {"method": "jwt", "role": "a", "jwt_file": "/j", "secret_id": "b"}}, "use secret_id_file"),
            ({"ca_file": "/nowhere/ca.pem"}, "ca_file /nowhere/ca.pem cannot be used"),
        ],
    )
    def test_a_mistake_is_one_sentence(self, change: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=r"^(\[providers\.vault\]|ca_file)") as caught:
            VaultProvider(make_context(self.GOOD | change, name="vault"))
        assert says in str(caught.value)
        assert "s.abc" not in str(caught.value)

    def test_without_auth(self) -> None:
        with pytest.raises(ValueError, match="needs auth"):
            VaultProvider(make_context({k: v for k, v in self.GOOD.items() if k != "auth"}))

    def test_loopback_may_be_plain(self) -> None:
        VaultProvider(make_context(self.GOOD | {"url": "http://127.0.0.1:8200"}))

    def test_it_describes_itself(self) -> None:
        described = VaultProvider(make_context(self.GOOD)).describe()
        assert described == "Vault at vault.example.com:8200, secret/voip/{username}, login by token"


def age(provider: VaultProvider, seconds: float) -> None:
    """Let the token in use be *seconds* older, as if time had passed."""
    lease = provider._tokens._lease
    assert lease is not None
    object.__setattr__(lease, "since", lease.since - seconds)


def revoke_all_of(bao: OpenBao, provider: VaultProvider) -> None:
    """End the token that *provider* holds, behind its back."""
    lease = provider._tokens._lease
    assert lease is not None
    bao.revoke(lease.token.reveal().decode())
