"""Each secret from its real store, by the real command line, to the real registrar: UDP, TCP, TLS; MD5, SHA-256."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import StartKamailio, account
from tests.support import wavs
from tests.support.cli import Cli, Result
from tests.support.real import require
from tests.support.servers.baresip import Baresip
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.keyring import Keyring
from tests.support.servers.oidc import OidcProvider
from tests.support.servers.openbao import OpenBao

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]

TRANSPORTS = ["udp", "tcp", "tls"]
ALGORITHMS = {"MD5": (), "SHA-256": ("SHA256",)}

Register = Callable[..., Result]


@pytest.fixture(params=[(t, a) for t in TRANSPORTS for a in ALGORITHMS], ids=lambda p: f"{p[0]}-{p[1]}")
def server(request: pytest.FixtureRequest, start_kamailio: StartKamailio) -> tuple[Kamailio, str]:
    transport, algorithm = request.param
    return start_kamailio(*ALGORITHMS[algorithm], tls=True), transport


def register(cli: Cli, server: tuple[Kamailio, str], certs: Path, provider: str, more: str) -> Result:
    """``register --once``, and what every such run must show, whatever store the secret came from."""
    kamailio, transport = server
    cli.configure(
        account(kamailio.address(transport), transport=transport, credentials=f'"{provider}"')
        + f"[providers.{provider}]\n{more}\n"
    )
    before = len(kamailio.saved("alice"))
    done = cli.run("register", "--once", "--json", "--no-input", "--ca", str(certs / "ca.pem"))
    assert done.code == 0, done.stderr
    bound, unbound = kamailio.saved("alice")[before:]
    assert bound.endswith("expires=600")
    assert unbound.endswith("expires=0")
    assert kamailio.contacts("alice") == []
    [asked] = [event for event in done.named("auth.provider") if event["outcome"] == "found"]
    assert asked["provider"] == provider
    assert "secret123" not in done.stdout + done.stderr
    return done


@pytest.mark.real("openbao")
@pytest.mark.parametrize("version", [1, 2])
def test_vault_by_approle(cli: Cli, server: tuple[Kamailio, str], certs: Path, openbao: OpenBao, version: int) -> None:
    secret_id = cli.secret("secret-id", openbao.secret_id())
    done = register(
        cli,
        server,
        certs,
        "vault",
        f'type = "vault"\nurl = "{openbao.url}"\nmount = "{"kv1" if version == 1 else "secret"}"\n'
        f'path = "sip/{{username}}"\n'
        f'auth = {{ method = "approle", role_id = "{openbao.role_id()}", secret_id_file = "{secret_id}" }}',
    )
    assert done.result["auth"]["provider"] == "vault"
    assert any(str(event.get("secret_ref", "")).startswith("vault:") for event in done.named("auth.provider"))


@pytest.mark.real("openbao")
@pytest.mark.real("baresip")
def test_a_call_whose_407_vault_answers(
    cli: Cli, kamailio: Kamailio, openbao: OpenBao, bob: Baresip, tmp_path: Path
) -> None:
    token = cli.secret("token", openbao.token())
    cli.configure(
        account(kamailio.address(), credentials='"vault"')
        + f'[providers.vault]\ntype = "vault"\nurl = "{openbao.url}"\nmount = "secret"\npath = "sip/{{username}}"\n'
        f'auth = {{ method = "token", token_file = "{token}" }}\n'
    )
    record = tmp_path / "rx.wav"
    done = cli.run(
        "call", "sip:bob@sip.test", "--no-register", "--json", "--audio", "tone:440", "--record", str(record),
        "--duration", "3",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert [event["code"] for event in done.named("auth.challenged")] == [407]
    assert done.result["auth"]["provider"] == "vault"
    wavs.assert_tone(record, 880, seconds=2.0)
    wavs.assert_tone(bob.heard, 440, seconds=2.0)


@pytest.mark.real("keyring")
def test_keychain(server: tuple[Kamailio, str], certs: Path, tmp_path: Path) -> None:
    """`sipcli auth save`, then register without anybody: gnome-keyring on a D-Bus session of its own."""
    require("keyring")
    session = Keyring(tmp_path / "session", "unlocked")
    try:
        cli = Cli(
            tmp_path / "home", env={k: v for k, v in session.env.items() if k.startswith(("DBUS", "XDG_RUNTIME"))}
        )
        kamailio, transport = server
        cli.configure(account(kamailio.address(transport), transport=transport, credentials='"keychain"'))
        saved = cli.run("auth", "save", "work", "--password-file", "-", stdin="secret123\n")
        assert saved.code == 0, saved.stderr
        before = len(kamailio.saved("alice"))
        done = cli.run("register", "--once", "--json", "--no-input", "--ca", str(certs / "ca.pem"))
        assert done.code == 0, done.stderr
        assert done.result["auth"]["provider"] == "keychain"
        assert [line.rsplit("=", 1)[1] for line in kamailio.saved("alice")[before:]] == ["600", "0"]
        assert cli.run("auth", "test", "work", "--no-input").code == 0
        assert cli.run("auth", "forget", "work").code == 0
        assert cli.run("register", "--once", "--no-input", "--ca", str(certs / "ca.pem")).code == 4
    finally:
        session.stop()


@pytest.mark.real("keyring")
def test_a_headless_box_is_told_what_to_do(cli: Cli, kamailio: Kamailio) -> None:
    cli.configure(account(kamailio.address(), credentials='"keychain"'))
    done = cli.run("register", "--once", "--json", "--no-input")
    assert done.code in (4, 8), done.stderr
    assert "Traceback" not in done.stderr
    assert done.result["hint"] or "keychain" in done.result["message"]


def oauth(issuer: str, secret: Path, ca: Path, use: str) -> str:
    return (
        f'type = "oauth"\nissuer = "{issuer}"\nclient_id = "svc"\nclient_secret_file = "{secret}"\n'
        f'flow = "client_credentials"\nscope = ["sip.register"]\nca_file = "{ca}"\n{use}'
    )


@pytest.mark.real("oidc")
def test_oauth_fetches_the_password_with_its_token(
    cli: Cli, server: tuple[Kamailio, str], certs: Path, oidc: OidcProvider
) -> None:
    secret = cli.secret("client-secret", "svc-secret")
    use = f'use = "fetch"\npassword_url = "{oidc.issuer}/sip-password?user={{username}}"\npassword_field = "password"'
    register(cli, server, certs, "sso", oauth(oidc.issuer, secret, certs / "ca.pem", use))


@pytest.mark.real("oidc")
class TestBearer:
    """RFC 8898 through Kamailio, which asks the provider about each token (RFC 7662)."""

    @pytest.fixture
    def bearer(
        self, cli: Cli, start_kamailio: StartKamailio, certs: Path, oidc: OidcProvider
    ) -> Callable[..., Kamailio]:
        def start(*switches: str, transport: str = "tls", user: str = "svc") -> Kamailio:
            kamailio = start_kamailio("BEARER", *switches, tls=True, idp=oidc.issuer.removeprefix("https://"))
            secret = cli.secret("client-secret", f"{user}-secret")
            text = oauth(oidc.issuer, secret, certs / "ca.pem", 'use = "bearer"').replace('"svc"', f'"{user}"')
            cli.configure(
                account(kamailio.address(transport), transport=transport, credentials='"sso"')
                + f"[providers.sso]\n{text}\n"
            )
            return kamailio

        return start

    @pytest.mark.parametrize("also", [(), ("DIGEST_TOO",)], ids=["alone", "beside-digest"])
    def test_over_tls(self, cli: Cli, bearer: Callable[..., Kamailio], certs: Path, also: tuple[str, ...]) -> None:
        kamailio = bearer(*also)
        done = cli.run("register", "--once", "--json", "--no-input", "--ca", str(certs / "ca.pem"))
        assert done.code == 0, done.stderr
        assert done.named("auth.done")[0]["scheme"] == "Bearer"
        assert [line.rsplit("=", 1)[1] for line in kamailio.saved("alice")[-2:]] == ["600", "0"]

    def test_T10_never_without_tls(self, cli: Cli, bearer: Callable[..., Kamailio], oidc: OidcProvider) -> None:
        bearer(transport="tcp")
        before = len(oidc.granted())
        done = cli.run("register", "--once", "--json", "--no-input")
        assert done.code in (3, 4), done.stderr
        assert len(oidc.granted()) == before, "nobody may even fetch a token for a hop without TLS"
        assert "TLS" in done.stdout + done.stderr

    def test_T09_a_foreign_authorization_server_gets_nothing(
        self, cli: Cli, start_kamailio: StartKamailio, certs: Path, oidc: OidcProvider, bearer: Callable[..., Kamailio]
    ) -> None:
        """The challenge names another server than the configured issuer (T09): no token is fetched for it."""
        bearer()
        elsewhere = start_kamailio("BEARER", tls=True, idp="127.0.0.1:9")
        config = cli.home / ".config" / "sipcli" / "config.toml"
        text = config.read_text()
        at = text.index("proxy = ")
        config.write_text(
            text.replace(text[at : text.index("\n", at)], f'proxy = "sip:{elsewhere.address("tls")};transport=tls;lr"')
        )
        before = len(oidc.granted())
        done = cli.run("register", "--once", "--json", "--no-input", "--ca", str(certs / "ca.pem"))
        assert done.code in (3, 4, 8), done.stderr
        assert len(oidc.granted()) == before


@pytest.mark.real("oidc")
def test_the_device_flow_waits_for_the_person_and_goes_on(
    cli: Cli, kamailio: Kamailio, certs: Path, oidc: OidcProvider
) -> None:
    text = (
        f'type = "oauth"\nissuer = "{oidc.issuer}"\nclient_id = "cli"\nflow = "device"\n'
        f'ca_file = "{certs / "ca.pem"}"\nscope = ["openid", "offline_access", "sip.register"]\nuse = "fetch"\n'
        f'password_url = "{oidc.issuer}/sip-password"\npassword_field = "password"'
    )
    cli.configure(account(kamailio.address(), credentials='"sso"') + f"[providers.sso]\n{text}\n")
    running = cli.start("register", "--once", "--json")
    try:
        action = running.wait_for("auth.user_action")
        oidc.person("alice").visit(action["url"], action["user_code"])
        done = running.finish()
    finally:
        running.kill()
    assert done.code == 0, done.stderr
