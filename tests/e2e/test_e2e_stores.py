"""Each secret from its real store, through the real command line, to the real registrar: UDP, TCP, TLS; MD5, SHA-256."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import StartKamailio, account
from tests.support import wavs
from tests.support.cli import Cli, Result
from tests.support.servers.baresip import Baresip
from tests.support.servers.kamailio import Kamailio
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
def test_vault_by_approle(
    cli: Cli, server: tuple[Kamailio, str], certs: Path, openbao: OpenBao, version: int
) -> None:
    secret_id = cli.secret("secret-id", openbao.secret_id())
    done = register(
        cli,
        server,
        certs,
        "vault",
        f'type = "vault"\nurl = "{openbao.url}"\nmount = "{"kv1" if version == 1 else "secret"}"\npath = "sip/{{username}}"\n'
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
