"""A person signs in at the real OpenID provider: the refresh token is where it is kept, and nowhere else (T14)."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import ProxyHandler, build_opener

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


def configure(here: Here, oidc: OidcProvider, certs: Path, store: str, flow: str = "device") -> None:
    here.use(
        "oauth",
        f'issuer = "{oidc.issuer}"\nclient_id = "cli"\nflow = "{flow}"\nca_file = "{certs / "ca.pem"}"\n'
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


def desktop(here: Here) -> Path:
    """A screen with a browser, which writes down what it is given; the file."""
    seen, program = here.folder / "browser", here.cli.home / "bin" / "xdg-open"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nenv > "{seen}"\necho "$@" >> "{seen}"\n')
    program.chmod(0o700)
    here.cli.env |= {"DISPLAY": ":9", "PATH": f"{program.parent}:{here.cli.env['PATH']}"}
    return seen


def test_T14_neither_the_code_of_a_browser_nor_what_it_buys_is_left_anywhere(
    here: Here, oidc: OidcProvider, certs: Path
) -> None:
    """The authorization code flow, back to our port; the browser is told the page, and no secret of our environment.

    Fails without ``env=`` in ``open_browser``: a browser inherits what the provider `env` may need, and hands it on.
    """
    kept = here.cli.home / "kept" / "sso.json"
    kept.parent.mkdir(mode=0o700)
    here.places.add(kept)
    seen = desktop(here)
    here.cli.env["SIP_SECRET"] = here.hatch("environment")
    here.aside.add("environ")
    configure(here, oidc, certs, f'store = "file"\nstore_file = "{kept}"', flow="code")
    first = here.start("register", "--once", "-vv", "--ladder", "--json")
    try:
        person, action = oidc.person(USER), first.wait_for("auth.user_action")
        person.visit(action["url"])
        assert first.finish() == 0, first.said()
    finally:
        first.kill()
    code = parse_qs(urlsplit(person.last).query)["code"][0]
    here.look_for("authorization code", code.encode())
    second = here.start("register", "--once", "-vv", "--ladder", "--no-input")
    assert second.finish() == 0, second.err.read_text()
    issued = look(here, oidc, first, second)
    assert issued[-1] in kept.read_text(), "the newest refresh token is kept"
    assert action["url"] in seen.read_text() and "DISPLAY=:9" in seen.read_text()


@pytest.mark.parametrize(
    ("trouble", "says"), [("the person says no", "said no"), ("the code is worth nothing", "refuses the grant")]
)
def test_T14_no_canary_is_left_when_the_browser_brings_nothing_of_use(
    here: Here, oidc: OidcProvider, certs: Path, trouble: str, says: str
) -> None:
    """A code that the server does not know comes with the right state: whoever sees the page may send one."""
    forged = here.hatch("forged-code", odd=False)
    configure(here, oidc, certs, "browser = false", flow="code")
    run = here.start("register", "--once", "-vv", "--ladder", "--json")
    try:
        action = run.wait_for("auth.user_action")
        if trouble == "the person says no":
            oidc.person(USER, deny=True).visit(action["url"])
        else:
            asked = parse_qs(urlsplit(action["url"]).query)
            back = urlencode({"code": forged, "state": asked["state"][0], "iss": oidc.issuer})
            with build_opener(ProxyHandler({})).open(f"{asked['redirect_uri'][0]}?{back}", timeout=10) as page:
                assert page.status == 200
        assert run.finish() == 8, run.said()
    finally:
        run.kill()
    assert look(here, oidc, run) == []
    assert says in run.said()
    assert run.result["hint"]
