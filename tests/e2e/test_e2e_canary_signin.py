"""A person signs in at the real OpenID provider: the refresh token is where it is kept, and nowhere else (T14)."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.canary import Started, canary
from tests.support.canaryrows import Here
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.keyring import Keyring
from tests.support.servers.oidc import OidcProvider

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.real("oidc"), pytest.mark.xdist_group("canary_stores")]

USER = "oauth"


@pytest.fixture(scope="module")
def registrar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kamailio]:
    server = Kamailio(tmp_path_factory.mktemp("kamailio"), users={USER: canary(USER)})
    yield server
    server.stop()


@pytest.fixture
def here(tmp_path: Path, registrar: Kamailio, oidc: OidcProvider) -> Iterator[Here]:
    """The password is at an address that wants a token, and the token wants a person."""
    made = Here(tmp_path, registrar)
    oidc.control(failure=0, deviceTtl=600, issued=[], passwords={USER: made.hatch(USER, USER)})
    with made.stack:
        yield made


def configure(here: Here, oidc: OidcProvider, certs: Path, store: str) -> None:
    here.use(
        "oauth",
        f'issuer = "{oidc.issuer}"\nclient_id = "cli"\nflow = "device"\nca_file = "{certs / "ca.pem"}"\n'
        f'scope = ["openid", "offline_access", "sip.register"]\nuse = "fetch"\n'
        f'password_url = "{oidc.issuer}/sip-password"\n{store}',
        user=USER,
    )


def look(here: Here, oidc: OidcProvider, *runs: Started) -> list[str]:
    """The tokens that were made; no canary is anywhere."""
    issued = list(oidc.control()["issued"])
    for number, token in enumerate(issued):
        here.look_for(f"token {number}", token.encode())
    left = here.found(*(run.watch for run in runs))
    assert not left, "\n".join(left)
    return issued


@pytest.mark.parametrize("place", ["file", "keychain"])
def test_T14_a_refresh_token_is_nowhere_but_where_it_is_kept(
    here: Here, oidc: OidcProvider, certs: Path, tmp_path_factory: pytest.TempPathFactory, place: str
) -> None:
    """The first run asks the person, the second has the refresh token, which rotates."""
    kept = here.cli.home / "kept" / "sso.json"
    if place == "keychain":
        require("keyring")
        session = Keyring(tmp_path_factory.mktemp("session"), "unlocked")
        here.stack.callback(session.stop)
        here.cli.env["DBUS_SESSION_BUS_ADDRESS"] = session.env["DBUS_SESSION_BUS_ADDRESS"]
        configure(here, oidc, certs, 'store = "keychain"')
    else:
        kept.parent.mkdir(mode=0o700)
        here.places.add(kept)
        configure(here, oidc, certs, f'store = "file"\nstore_file = "{kept}"')
    first = here.start("register", "--once", "-vv", "--ladder", "--json")
    try:
        action = first.wait_for("auth.user_action")
        oidc.person(USER).visit(action["url"], action["user_code"])
        assert first.finish() == 0, first.said()
    finally:
        first.kill()
    second = here.start("register", "--once", "-vv", "--ladder", "--no-input")
    assert second.finish() == 0, second.err.read_text()
    issued = look(here, oidc, first, second)
    assert len(issued) == 4
    if place == "file":
        assert issued[-1] in kept.read_text(), "the newest refresh token is kept"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600


@pytest.mark.parametrize("trouble", ["the person says no", "nobody comes"])
def test_T14_no_canary_is_left_when_nobody_signs_in(here: Here, oidc: OidcProvider, certs: Path, trouble: str) -> None:
    configure(here, oidc, certs, "")
    oidc.control(deviceTtl=600 if trouble == "the person says no" else 1)
    here.stack.callback(oidc.control, deviceTtl=600)
    run = here.start("register", "--once", "-vv", "--ladder", "--json")
    try:
        action = run.wait_for("auth.user_action")
        if trouble == "the person says no":
            oidc.person(USER, deny=True).visit(action["url"], action["user_code"])
        assert run.finish() == 8, run.said()
    finally:
        run.kill()
    assert look(here, oidc, run) == []
    assert ("said no" if trouble == "the person says no" else "nobody used the code in time") in run.said()
    assert run.result["hint"]
