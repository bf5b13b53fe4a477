"""A sign-in that outlives the process: the refresh token in the real keychain, if asked for."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import CredentialRequest, Denied, NotFound, Secret
from sipcli.testing import FakeTerminal, ask, make_context, make_request
from sipcli_providers import _oauth_signin
from sipcli_providers.oauth import OAuthProvider
from tests.support.real import require
from tests.support.servers.keyring import Keyring, State
from tests.support.servers.oidc import OidcProvider

pytestmark = [pytest.mark.real("oidc"), pytest.mark.real("keyring")]

READ = "import keyring, sys; print(keyring.get_password(sys.argv[1], 'alice@example.com'))"


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_oauth_signin, "_INTERVAL", 0.2)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Keyring]:
    require("keyring")
    state: State = getattr(request, "param", "unlocked")
    keyring = Keyring(tmp_path / "session", state)
    for name, value in keyring.env.items():
        monkeypatch.setenv(name, value)
    yield keyring
    keyring.stop()


def provider(oidc: OidcProvider, terminal: FakeTerminal, **more: Any) -> OAuthProvider:
    options = {"issuer": oidc.issuer, "ca_file": str(oidc.ca), "client_id": "cli", "flow": "device"}
    options |= {"scope": ["openid", "offline_access", "sip.register"], "store": "keychain"}
    return OAuthProvider(make_context(options | more, name="sso", terminal=terminal))


def bearer(oidc: OidcProvider, **changes: Any) -> CredentialRequest:
    return make_request(scheme="bearer", authz_server=oidc.issuer, **changes)


def sign_in(oidc: OidcProvider, terminal: FakeTerminal, **more: Any) -> OAuthProvider:
    made = provider(oidc, terminal, **more)
    who = oidc.person()

    def act() -> None:
        if terminal.acted.wait(10):
            who.visit(terminal.actions[-1].url, terminal.actions[-1].user_code)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    ask(made, bearer(oidc))
    thread.join(10)
    return made


def test_the_next_process_needs_no_person(oidc: OidcProvider, session: Keyring) -> None:
    sign_in(oidc, FakeTerminal())
    terminal = FakeTerminal()
    first = session.run(READ, f"sipcli oauth {oidc.issuer}")
    assert ask(provider(oidc, terminal), bearer(oidc, interactive=False)).scheme == "bearer"
    assert not terminal.actions
    second = session.run(READ, f"sipcli oauth {oidc.issuer}")
    assert first != second, "the rotated token must replace the old one"
    assert ask(provider(oidc, terminal), bearer(oidc, interactive=False)).scheme == "bearer"


def test_a_token_rotated_by_another_process_is_followed(oidc: OidcProvider, session: Keyring) -> None:
    ours = sign_in(oidc, FakeTerminal())
    ask(provider(oidc, FakeTerminal()), bearer(oidc, interactive=False))  # the other process
    account = ours._accounts["alice@example.com"]
    assert account.token is not None
    account.token = type(account.token)(account.token.access, account.token.refresh, 0.0, 0.0)
    assert ask(ours, bearer(oidc, interactive=False)).scheme == "bearer"


def test_a_dead_token_is_erased(oidc: OidcProvider, session: Keyring) -> None:
    service = f"sipcli oauth {oidc.issuer}"
    session.run("import keyring, sys; keyring.set_password(sys.argv[1], 'alice@example.com', 'dead')", service)
    with pytest.raises(NotFound, match="sign in"):
        ask(provider(oidc, FakeTerminal()), bearer(oidc, interactive=False))
    assert session.run(READ, service) == "None"


def test_a_dead_token_is_tried_once_and_said_once(
    oidc: OidcProvider, session: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept and in hand it is the same one; a server that rotates takes each use after the first for theft."""
    terminal = FakeTerminal()
    ours = sign_in(oidc, terminal)
    service = f"sipcli oauth {oidc.issuer}"
    session.run("import keyring, sys; keyring.set_password(sys.argv[1], 'alice@example.com', 'dead')", service)
    account = ours._accounts["alice@example.com"]
    assert account.token is not None
    account.token = type(account.token)(account.token.access, Secret("dead"), 0.0, 0.0)
    shown, tried = len(terminal.shown), 0
    refresh = ours._client.by_refresh

    def counted(*args: Any) -> Any:
        nonlocal tried
        tried += 1
        return refresh(*args)

    monkeypatch.setattr(ours._client, "by_refresh", counted)
    for _ in range(3):
        with pytest.raises(NotFound, match="sign in"):
            ask(ours, bearer(oidc, interactive=False))
    assert tried == 1
    assert len(terminal.shown) == shown + 1


def test_nothing_is_kept_unless_asked_for(oidc: OidcProvider, session: Keyring) -> None:
    sign_in(oidc, FakeTerminal(), store="none")
    assert session.run(READ, f"sipcli oauth {oidc.issuer}") == "None"


# keyring leaves its D-Bus connection to the garbage collector when the collection is locked.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("session", ["locked", "nobus"], indirect=True)
def test_a_keychain_that_fails_costs_one_line_not_the_call(oidc: OidcProvider, session: Keyring) -> None:
    terminal = FakeTerminal()
    sign_in(oidc, terminal)
    assert len(terminal.shown) == 1
    assert terminal.shown[0].startswith("sso: the sign-in could not be")
    gc.collect()


def test_an_account_has_its_own(oidc: OidcProvider, session: Keyring) -> None:
    sign_in(oidc, FakeTerminal())
    with pytest.raises((NotFound, Denied)):
        ask(provider(oidc, FakeTerminal()), bearer(oidc, aor="sip:bob@example.com", interactive=False))
