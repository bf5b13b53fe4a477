"""Vault for months: renewal, back-off, one-time logins, other clocks, and a secret kept while Vault is away (T18)."""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import Denied, NotFound, PasswordCredentials, ProviderError, Rejection, Secret, Unavailable
from sipcli.testing import ask, make_context, make_request
from sipcli_providers._vault_tokens import FIRST_PAUSE, LONGEST_PAUSE
from sipcli_providers.vault import VaultProvider
from tests.support.servers.faults import Answer, FaultServer, Seen, forward_to, redirect_to
from tests.support.servers.openbao import OpenBao

File = Callable[[str, str], str]

LOGIN = "/v1/auth/userpass/login/alice"
RENEW = "/v1/auth/token/renew-self"
LOOKUP = "/v1/auth/token/lookup-self"
HEALTH = "/v1/sys/health"
READ = "/v1/secret/sip/alice"


@pytest.fixture
def file(tmp_path: Path) -> File:
    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    return write


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Script:
    """A Vault whose answers a test changes; *refused* are the tokens it does not know (any more)."""

    def __init__(self) -> None:
        self.ttl = 60
        self.renewable = True
        self.renewed_ttl = 60
        self.faults: dict[str, Answer] = {}
        self.refused: set[str] = set()
        self.logins = 0
        self.server = FaultServer(self.answer)

    def answer(self, seen: Seen) -> Answer:
        if seen.path in self.faults:
            return self.faults[seen.path]
        if seen.headers.get("x-vault-token") in self.refused:
            return Answer(403, b'{"errors": ["permission denied"]}')
        if seen.path == LOGIN:
            self.logins += 1
            return token(f"t{self.logins}", self.ttl, self.renewable)
        if seen.path == RENEW:
            return token(seen.headers["x-vault-token"], self.renewed_ttl, True)
        if seen.path == HEALTH:
            return Answer(200, b'{"initialized": true, "sealed": false, "standby": false}')
        return Answer(200, b'{"data": {"password": "secret123"}}')

    def count(self, path: str) -> int:
        return self.server.paths().count(path)


def token(value: str, ttl: int, renewable: bool) -> Answer:
    auth = {"client_token": value, "lease_duration": ttl, "renewable": renewable}
    return Answer(200, json.dumps({"auth": auth}).encode())


@pytest.fixture
def script() -> Any:
    made = Script()
    with made.server:
        yield made


@pytest.fixture
def vault(script: Script, file: File) -> VaultProvider:
    """Logs in by userpass, reads KV 1 of *script*, on a clock of its own and without chance."""
    return made(script.server.url, auth=userpass(file))


def userpass(file: File) -> dict[str, Any]:
    return {"method": "userpass", "username": "alice", "password_file": file("p", "vaultpw")}


def made(url: str, **options: Any) -> VaultProvider:
    defaults: dict[str, Any] = {"url": url, "path": "sip/{username}", "kv_version": 1}
    provider = VaultProvider(make_context(defaults | options, name="vault", http_timeout=2.0))
    provider._tokens.clock = provider._last_good.clock = Clock()
    provider._tokens.uniform = lambda a, b: max(a, b)
    return provider


def later(provider: VaultProvider, seconds: float) -> None:
    clock = provider._tokens.clock
    assert isinstance(clock, Clock)
    clock.now += seconds


def secret_of(provider: VaultProvider) -> bytes:
    return ask(provider, make_request()).secret.reveal()


def error_of(provider: VaultProvider, **request: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(provider, make_request(**request))
    return caught.value


class TestRenewal:
    def test_T18_a_token_is_renewed_after_two_thirds_and_not_before(self, vault: VaultProvider, script: Script) -> None:
        """Fails when ``Lease.due_at`` is the end of the token's life."""
        secret_of(vault)
        later(vault, 40)
        secret_of(vault)
        assert script.count(RENEW) == 0
        later(vault, 1)
        for _ in range(3):
            secret_of(vault)
        assert (script.count(RENEW), script.logins) == (1, 1)
        later(vault, 41)  # of the renewed life
        secret_of(vault)
        assert (script.count(RENEW), script.logins) == (2, 1)

    @pytest.mark.parametrize("status", [500, 503, 429, 404])
    def test_T18_a_failing_renewal_backs_off_and_the_token_serves_on(
        self, vault: VaultProvider, script: Script, status: int
    ) -> None:
        """A hundred uses in the last third, and a handful of tries, ever further apart (hashicorp/vault #26844).

        Fails without the ``_not_before`` that a failure sets: a hundred renewals.
        """
        script.ttl = 600
        secret_of(vault)
        later(vault, 401)
        script.faults[RENEW] = script.faults[LOGIN] = Answer(status, b"{}")
        for _ in range(100):
            assert secret_of(vault) == b"secret123"
            later(vault, 1.9)
        assert 3 <= script.count(RENEW) <= 9  # 1, 2, 4, ... 60 s apart
        script.faults.clear()
        later(vault, 11)  # its life is over
        assert secret_of(vault) == b"secret123"

    def test_T18_pauses_double_have_chance_and_an_end(self, vault: VaultProvider, script: Script) -> None:
        """Fails when ``_failures`` is not counted, or the pause is fixed."""
        drawn: list[tuple[float, float]] = []

        def draw(a: float, b: float) -> float:
            drawn.append((a, b))
            return b

        vault._tokens.uniform = draw
        script.faults[LOGIN] = Answer(503, b"{}")
        for _ in range(9):
            error_of(vault)
            later(vault, 2 * LONGEST_PAUSE)
        assert [high for _, high in drawn] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        assert all(low == high / 2 for low, high in drawn)
        assert drawn[0][1] == FIRST_PAUSE

    def test_T18_the_servers_retry_after_is_kept(self, vault: VaultProvider, script: Script) -> None:
        """Fails without ``patient`` in the pause."""
        script.faults[LOGIN] = Answer(429, b"{}", {"Retry-After": "30"})
        first = error_of(vault)
        assert isinstance(first, Unavailable)
        assert first.retry_after == 30
        assert "slower pace (429)" in str(first)
        later(vault, 29)
        again = error_of(vault)
        assert isinstance(again, Unavailable)
        assert again.retry_after is not None
        assert script.count(LOGIN) == 1
        later(vault, 2)
        error_of(vault)
        assert script.count(LOGIN) == 2

    def test_T18_forty_accounts_and_a_vault_that_is_down_cost_one_login(
        self, vault: VaultProvider, script: Script
    ) -> None:
        """Fails without the remembered error in ``_log_in``: forty logins, and a locked user (userpass lockout)."""
        for fault in (Answer(503, b"{}"), Answer(400, b'{"errors": ["invalid username or password"]}')):
            script.faults[LOGIN] = fault
            before = script.count(LOGIN)
            kind = Unavailable if fault.status == 503 else Denied
            assert all(isinstance(error_of(vault, username=f"u{n}"), kind) for n in range(40))
            assert script.count(LOGIN) - before == 1
            later(vault, LONGEST_PAUSE)

    def test_T18_a_token_at_its_maximum_is_replaced(self, vault: VaultProvider, script: Script) -> None:
        """Fails without the look at what a renewal gave: it is "renewed" for the two seconds that are left."""
        secret_of(vault)
        later(vault, 41)
        script.renewed_ttl = 2
        secret_of(vault)
        assert (script.count(RENEW), script.logins) == (1, 2)

    def test_T18_one_that_cannot_be_renewed_is_replaced(self, vault: VaultProvider, script: Script) -> None:
        """Fails when ``renewable`` is not asked: a renewal that Vault refuses, each time."""
        script.renewable = False
        secret_of(vault)
        later(vault, 41)
        secret_of(vault)
        assert (script.count(RENEW), script.logins) == (0, 2)

    def test_T18_a_dead_token_is_not_renewed_but_replaced(self, vault: VaultProvider, script: Script) -> None:
        """Fails without ``is_over``: a renewal of what no longer lives."""
        secret_of(vault)
        later(vault, 61)
        secret_of(vault)
        assert (script.count(RENEW), script.logins) == (0, 2)

    def test_T18_a_refused_renewal_is_one_login(self, vault: VaultProvider, script: Script) -> None:
        secret_of(vault)
        later(vault, 41)
        script.refused.add("t1")
        assert secret_of(vault) == b"secret123"
        assert (script.count(RENEW), script.logins, script.count(READ)) == (1, 2, 2)

    def test_T18_a_refusal_costs_one_login_and_two_reads_and_is_the_end(
        self, vault: VaultProvider, script: Script
    ) -> None:
        """Fails when the second 403 is met with a third login."""
        script.faults[READ] = Answer(403, b'{"errors": ["permission denied"]}')
        error = error_of(vault)
        assert isinstance(error, Denied)
        assert "policy with read" in str(error)
        assert (script.logins, script.count(READ), script.count(HEALTH)) == (2, 2, 0)


class TestToldApart:
    """Which of them it is cannot be seen in the answer to a read: each class and sentence is its own."""

    CASES: dict[str, tuple[Answer, dict[str, Any] | None, str, float | None]] = {
        "sealed": (Answer(503, b"{}"), {"sealed": True, "initialized": True}, "is sealed: somebody has to", None),
        "new": (Answer(501, b"{}"), {"sealed": True, "initialized": False}, "is not initialised", 3600.0),
        "slow down": (Answer(429, b"{}", {"Retry-After": "9"}), {"standby": False}, "slower pace (429)", 9.0),
        "busy": (Answer(503, b"{}", {"Retry-After": "4"}), {"standby": False}, "answered 503", 4.0),
        "broken": (Answer(500, b'{"errors": ["disk full"]}'), {"standby": False}, "answered 500", None),
        "standby": (redirect_to("https://active.test:8200/v1/x"), {"standby": True}, "is a standby", 3600.0),
        "standby without leader": (Answer(500, b"{}"), {"standby": True}, "is a standby", None),
        "performance standby": (Answer(473, b"{}"), {"performance_standby": True}, "is a standby", None),
        "recovery": (Answer(472, b"{}"), {"replication_dr_mode": "secondary"}, "disaster recovery", 3600.0),
        "a proxy's redirect": (redirect_to("https://elsewhere.test/"), {"standby": False}, "redirect (307)", 3600.0),
        "no health": (Answer(502, b"<html>"), None, "answered 502", None),
    }  # fmt: skip

    @pytest.mark.parametrize("name", CASES)
    def test_T18_each_state_has_its_sentence(self, script: Script, file: File, name: str) -> None:
        """Fails without the look at ``/v1/sys/health``."""
        answer, health, says, retry_after = self.CASES[name]
        status = {"sealed": 503, "new": 501, "standby": 429, "performance standby": 473, "recovery": 472}
        script.faults[READ] = answer
        script.faults[HEALTH] = (
            Answer(404) if health is None else Answer(status.get(name, 200), json.dumps(health).encode())
        )
        provider = made(script.server.url, auth={"method": "token", "token_file": file("t", "hunter2-canary")})
        error = error_of(provider)
        assert isinstance(error, Unavailable)
        assert says in str(error)
        assert error.retry_after == retry_after
        assert script.server.seen[-1].path == HEALTH
        assert "x-vault-token" not in script.server.seen[-1].headers, "health wants no token"

    def test_T18_a_missing_permission_and_a_dead_token_are_told_apart(self, script: Script, file: File) -> None:
        """A token of an agent's sink, which may be replaced any time: it is out of order, not denied for ever.

        Fails without the look-up of the token by itself.
        """
        provider = made(script.server.url, auth={"method": "token", "token_file": file("t", "sink")})
        script.faults[READ] = Answer(403, b"{}")
        assert isinstance(error_of(provider), Denied)
        script.faults.clear()
        script.refused.add("sink")
        dead = error_of(provider)
        assert isinstance(dead, Unavailable)
        assert dead.retry_after == 3600.0
        file("t", "a new one")
        assert secret_of(provider) == b"secret123"

    def test_T18_a_dead_token_of_the_environment_is_denied(
        self, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MY_TOKEN", "dead")
        script.refused.add("dead")
        error = error_of(made(script.server.url, auth={"method": "token", "token_env": "MY_TOKEN"}))
        assert isinstance(error, Denied)
        assert "MY_TOKEN" in str(error)
        assert script.count(READ) == 1


class TestClocks:
    @pytest.mark.parametrize("skew", [-86400, -3600, 3600, 86400])
    def test_T18_a_server_with_another_clock_changes_no_life(self, file: File, skew: int) -> None:
        """Fails when ``deletion_time`` is compared with our own clock: expired at once, or good for a day."""
        theirs = time.time() + skew

        def answer(_: Seen) -> Answer:
            end = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(theirs + 100)) + ".5Z"
            meta = {"version": 3, "deletion_time": end}
            body = json.dumps({"data": {"data": {"password": "p"}, "metadata": meta}}).encode()
            return Answer(200, body, {"Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(theirs))})

        with FaultServer(answer) as server:
            provider = made(server.url, kv_version=2, auth={"method": "token", "token_file": file("t", "x")})
            found = ask(provider, make_request())
        assert found.expires_in == pytest.approx(100, abs=2)

    def test_T18_a_clock_that_is_set_does_not_end_a_token(
        self, vault: VaultProvider, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody sets our clock by a year; durations count on the monotonic one.  Fails with ``time.time``."""
        secret_of(vault)
        monkeypatch.setattr(time, "time", lambda: 4e9)
        secret_of(vault)
        assert (script.count(RENEW), script.logins) == (0, 1)


class TestLastGood:
    """``use_stale``: the policy that lets a secret outlive the store that gave it."""

    def test_T18_without_the_policy_nothing_is_kept(self, vault: VaultProvider, script: Script) -> None:
        """Fails when ``use_stale`` is anything but 0 by itself."""
        secret_of(vault)
        script.faults[READ] = Answer(503, b"{}")
        assert isinstance(error_of(vault), Unavailable)
        assert vault._last_good._kept == {}

    def stale(self, script: Script, file: File) -> VaultProvider:
        provider = made(script.server.url, auth=userpass(file), use_stale=600)
        provider._last_good.clock = provider._tokens.clock
        return provider

    def test_T18_with_it_the_last_one_serves_for_so_long(self, script: Script, file: File) -> None:
        provider = self.stale(script, file)
        secret_of(provider)
        script.faults[READ] = Answer(503, b"{}")
        later(provider, 590)
        kept = ask(provider, make_request())
        assert (kept.secret.reveal(), kept.ref) == (b"secret123", "vault:sip/alice (kept)")
        assert kept.expires_in == pytest.approx(10)
        kept.secret.wipe()
        assert secret_of(provider) == b"secret123", "the caller may wipe what it got"
        later(provider, 11)
        assert isinstance(error_of(provider), Unavailable)

    @pytest.mark.parametrize("status", [403, 404])
    def test_T18_what_was_denied_or_is_gone_is_not_kept(self, script: Script, file: File, status: int) -> None:
        """Fails when only Unavailable ends a kept secret: a revoked one would live on with the next outage."""
        provider = self.stale(script, file)
        secret_of(provider)
        script.faults[READ] = Answer(status, b"{}")
        assert isinstance(error_of(provider), Denied | NotFound)
        script.faults[READ] = Answer(503, b"{}")
        assert isinstance(error_of(provider), Unavailable)

    def test_T18_what_the_sip_server_refused_is_not_kept(self, script: Script, file: File) -> None:
        provider = self.stale(script, file)
        first = ask(provider, make_request())
        script.faults[READ] = Answer(503, b"{}")
        refused = Rejection(provider="vault", username="alice", status=401)
        assert isinstance(error_of(provider, attempt=2, rejected=refused), Unavailable)
        provider.forget(make_request(), PasswordCredentials("alice", Secret("another")))
        assert secret_of(provider) == b"secret123"
        provider.forget(make_request(), first)
        assert isinstance(error_of(provider), Unavailable)


@pytest.mark.real("openbao")
class TestOneTimeLogins:
    """Response wrapping at the real OpenBao: what opens once must not end, and must not open twice."""

    @pytest.fixture(autouse=True)
    def _server(self, openbao: OpenBao) -> None:
        self.bao = openbao

    def wrapped(self, file: File, bao_path: str = "auth/token/create", **more: Any) -> dict[str, Any]:
        data = {"policies": ["sipcli"], "ttl": "60s", **more}
        answer = self.bao.call("POST", bao_path, data, X_Vault_Wrap_TTL="600")
        path = file("wrapped", answer["wrap_info"]["token"])
        return {"method": "token", "token_file": path, "token_wrapped": True}

    def test_T18_a_wrapped_token_opens_once_and_the_thief_is_noticed(self, file: File) -> None:
        """Fails when a wrapping token that opens nothing is taken for a passing fault."""
        auth = self.wrapped(file)
        with FaultServer(forward_to(self.bao.url)) as counting:
            provider = made(counting.url, mount="kv1", auth=auth)
            for _ in range(3):
                assert secret_of(provider) == b"secret123"
            assert counting.paths().count("/v1/sys/wrapping/unwrap") == 1
        stolen = error_of(made(self.bao.url, mount="kv1", auth=auth))
        assert isinstance(stolen, Denied)
        assert "unwrapped already" in str(stolen)
        assert "somebody else has read it" in str(stolen)

    def test_T18_a_wrapping_token_of_another_endpoint_is_refused(self, file: File) -> None:
        """Fails without the look at ``creation_path``: anybody who may wrap could hand us his token."""
        auth = self.wrapped(file, "sys/wrapping/wrap")
        error = error_of(made(self.bao.url, mount="kv1", auth=auth))
        assert isinstance(error, Denied)
        assert "replaced" in str(error)

    def test_T18_a_new_wrapped_token_in_the_file_is_taken_when_the_old_one_ended(self, file: File) -> None:
        provider = made(self.bao.url, mount="kv1", auth=self.wrapped(file))
        secret_of(provider)
        later(provider, 61)
        error = error_of(provider)
        assert isinstance(error, Denied)
        assert "put a new wrapped one into" in str(error)
        self.wrapped(file)
        assert secret_of(provider) == b"secret123"

    def test_T18_a_missing_permission_does_not_cost_a_token_that_cannot_be_had_again(self, file: File) -> None:
        """Fails without the look whether the token lives: it would be thrown away for a 403."""
        provider = made(self.bao.url, mount="kv1", auth=self.wrapped(file))
        secret_of(provider)
        provider._path = type(provider._path)("other/{username}", key="path")
        assert isinstance(error_of(provider), Denied)
        provider._path = type(provider._path)("sip/{username}", key="path")
        assert secret_of(provider) == b"secret123"

    def test_T18_an_idle_one_time_token_is_kept_alive(self, file: File) -> None:
        """Used again when Vault would have forgotten it long ago: only the thread has prevented that.

        Vault gives it four seconds from renewal to renewal; we are told one, by a clock that the test moves, so
        that a machine that stands still for three of them loses no token.
        Fails without ``_keep_alive``: the token is over, and the wrapped one cannot be opened again.
        """
        auth = self.wrapped(file, ttl="4s", period="4s")
        renewed = threading.Semaphore(0)
        through = forward_to(self.bao.url)

        def answer(seen: Seen) -> Answer:
            done = through(seen)
            if seen.path == RENEW and done.status == 200:
                renewed.release()
            return replace(done, body=done.body.replace(b'"lease_duration":4', b'"lease_duration":1'))

        with FaultServer(answer) as server:
            provider = made(server.url, mount="kv1", auth=auth)
            secret_of(provider)
            forgotten = time.monotonic() + 5
            while time.monotonic() < forgotten:
                later(provider, 0.7)
                assert renewed.acquire(timeout=20), "nobody renews"
            assert secret_of(provider) == b"secret123"
            keeper = provider._tokens._keeper
            assert keeper is not None
            del provider
            gc.collect()
            keeper.join(20)
            assert not keeper.is_alive(), "it ends with its provider"

    def test_T18_a_login_that_can_be_repeated_needs_no_thread(self, file: File) -> None:
        provider = made(self.bao.url, mount="kv1", auth=userpass(file))
        secret_of(provider)
        assert provider._tokens._keeper is None

    def test_T18_a_refused_secret_id_is_not_sent_twice_and_a_new_one_at_once(self, file: File) -> None:
        """The pause after a refused login ends when its file is replaced, and what the broker keeps says so, too."""
        auth = {"method": "approle", "role_id": self.bao.role_id(), "secret_id_file": file("s", "it-has-ended")}
        provider = made(self.bao.url, mount="kv1", auth=auth)
        first, second = error_of(provider), error_of(provider)
        assert isinstance(first, Denied) and first.stands()
        assert isinstance(second, Denied) and second.stands() and str(second) == str(first)
        file("s", self.bao.secret_id())
        assert not first.stands() and not second.stands()
        assert secret_of(provider) == b"secret123"

    def test_T18_a_new_wrapped_secret_id_replaces_the_old(self, file: File) -> None:
        auth: dict[str, Any] = {"method": "approle", "role_id": self.bao.role_id(), "secret_id_wrapped": True}
        auth["secret_id_file"] = file("w", self.bao.wrapped_secret_id())
        provider = made(self.bao.url, mount="kv1", auth=auth)
        secret_of(provider)
        Path(auth["secret_id_file"]).unlink()  # whoever delivered it cleans up
        later(provider, 20)
        assert secret_of(provider) == b"secret123"
        file("w", self.bao.wrapped_secret_id())
        later(provider, 20)
        assert secret_of(provider) == b"secret123"
