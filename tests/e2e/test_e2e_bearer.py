"""RFC 8898 in the long run: which scheme, over which transport, and a token that ends while we are bound (A28, T10)."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support.cli import Cli, Running
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.oidc import OidcProvider

pytestmark = [
    pytest.mark.real("kamailio"),
    pytest.mark.real("oidc"),
    pytest.mark.xdist_group("bearer"),
]

Site = Callable[..., Kamailio]


@pytest.fixture
def login(tmp_path: Path, certs: Path) -> Iterator[OidcProvider]:
    """A login server of this test's own, to be changed and restarted."""
    require("oidc")
    server = OidcProvider(tmp_path / "login", certs)
    yield server
    server.stop()


@pytest.fixture
def site(tmp_path: Path, cli: Cli, certs: Path, login: OidcProvider) -> Iterator[Site]:
    """Starts a Kamailio that wants tokens of *login*, and configures alice to have them, or her password."""
    started: list[Kamailio] = []

    def start(
        *switches: str, transport: str = "tls", policy: str = "", more: str = "", idp: str = "", expires: int = 600
    ) -> Kamailio:
        server = Kamailio(
            tmp_path / f"kamailio{len(started)}", "BEARER", *switches, certs=certs,
            idp=(idp or login.issuer).removeprefix("https://"),
        )  # fmt: skip
        started.append(server)
        client, password = cli.secret("client-secret", "svc-secret"), cli.secret("password", "secret123")
        cli.configure(
            account(
                server.address(transport),
                transport=transport,
                credentials='"sso", "secret"',
                more=f"expires = {expires}",
            )
            + f'[providers.sso]\ntype = "oauth"\nissuer = "{login.issuer}"\nclient_id = "svc"\n'
            f'client_secret_file = "{client}"\nflow = "client_credentials"\nscope = ["sip.register"]\n'
            f'ca_file = "{certs / "ca.pem"}"\nuse = "bearer"\n{more}\n'
            + FILE_PROVIDER.format(path=password)
            + f"[policy]\n{policy}\n"
        )
        return server

    yield start
    for server in started:
        server.stop()


def granted(login: OidcProvider) -> int:
    return len(login.granted())


@pytest.mark.parametrize(
    ("policy", "scheme"),
    [
        ("", "Bearer"),
        ('schemes = ["bearer", "digest"]', "Bearer"),
        ('schemes = ["digest", "bearer"]', "Digest"),
        ('schemes = ["digest"]', "Digest"),
    ],
    ids=["as the server says", "bearer first", "digest first", "digest only"],
)
def test_A28_policy_decides_between_digest_and_bearer(
    cli: Cli, site: Site, login: OidcProvider, certs: Path, policy: str, scheme: str
) -> None:
    """Kamailio offers both, Bearer above.  Where Digest comes first nobody fetches a token.

    Fails, digest first, without ``AuthPolicy.preferred``.
    """
    server = site("DIGEST_TOO", policy=policy)
    done = cli.run("register", "--once", "--json", "--no-input", "--ca", str(certs / "ca.pem"))
    assert done.code == 0, done.stderr
    assert {event["scheme"] for event in done.named("auth.done")} == {scheme}
    assert [line.rsplit("=", 1)[1] for line in server.saved("alice")] == ["600", "0"]
    assert granted(login) == (1 if scheme == "Bearer" else 0)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("also", [(), ("DIGEST_TOO",)], ids=["alone", "beside-digest"])
def test_T10_without_tls_the_login_server_is_not_even_asked(
    cli: Cli, site: Site, login: OidcProvider, certs: Path, transport: str, also: tuple[str, ...]
) -> None:
    """No token, no metadata: its requests are counted.  Digest answers if it may.

    Fails without the look at ``origin.secure`` for a bearer challenge.
    """
    site(*also, transport=transport, policy='schemes = ["bearer", "digest"]')
    before = login.requests()
    assert before > 0, "it counts"
    done = cli.run("register", "--once", "--json", "--no-input", "--ca", str(certs / "ca.pem"))
    if also:
        assert done.code == 0, done.stderr
        assert {event["scheme"] for event in done.named("auth.done")} == {"Digest"}
    else:
        assert done.code in (3, 9), done.stderr
        assert "TLS" in done.stdout + done.stderr
    assert login.requests() == before


def bound(cli: Cli, certs: Path) -> Running:
    running = cli.start("register", "--json", "--no-input", "--ca", str(certs / "ca.pem"))
    running.wait_for("registration", state="registered")
    return running


def leave(running: Running) -> None:
    running.signal(signal.SIGINT)
    done = running.finish()
    assert done.code == 130, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_A28_a_token_that_ends_is_renewed_before_kamailio_sees_it_dead(
    cli: Cli, site: Site, login: OidcProvider, certs: Path
) -> None:
    """Tokens of nine seconds, refreshes every four: each is fresh when it is sent, and none is refused.

    Fails when the cache is told the token's whole life.
    """
    login.control(accessTtl=9)
    server = site(expires=8)
    running = bound(cli, certs)
    try:
        for _ in range(5):
            running.wait_for("registration", state="registered")
        assert "BEARER refused" not in server.server.text()
        assert granted(login) >= 3
        leave(running)
    finally:
        running.kill()


def test_A28_a_token_that_kamailio_refuses_is_renewed_once_and_that_is_enough(
    cli: Cli, site: Site, login: OidcProvider, certs: Path
) -> None:
    """The login server restarts and knows our token no more: ``invalid_token``, one new token, still bound."""
    server = site(expires=8)
    running = bound(cli, certs)
    try:
        login.restart()
        running.wait_for("registration", state="registered")
        assert server.server.text().count("BEARER refused") == 1
        assert granted(login) == 1, "since the restart"
        assert len(server.contacts("alice")) == 1
        leave(running)
    finally:
        running.kill()


def test_A28_a_second_invalid_token_is_the_end(
    cli: Cli, site: Site, login: OidcProvider, certs: Path, tmp_path: Path
) -> None:
    """Kamailio asks another server about our tokens, which knows none: two tokens, two refusals, and 3.

    Two defences, each enough alone: fails when ``attempts_for`` lets a token have as many attempts as a password and
    the provider forgets ``renewed_at``.
    """
    other = OidcProvider(tmp_path / "other", certs)
    try:
        server = site(idp=other.issuer, more=f'authz_server = "{other.issuer}"')
        done = cli.run("register", "--once", "--json", "--no-input", "--ca", str(certs / "ca.pem"))
        assert done.code == 3, done.stderr
        assert granted(login) == 2
        assert server.server.text().count("BEARER refused") == 2
        assert "Traceback" not in done.stderr
        assert server.contacts("alice") == []
    finally:
        other.stop()
