"""A server that wants our certificate: Kamailio's port with ``require_certificate`` (RFC 3261 section 26.3.1)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, StartKamailio, account
from tests.support.cli import Cli, Result
from tests.support.servers.kamailio import ASKING, Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]


@pytest.fixture
def server(start_kamailio: StartKamailio) -> Kamailio:
    return start_kamailio(tls=True)


def register(cli: Cli, server: Kamailio, certs: Path, ours: tuple[Path, Path] | None) -> Result:
    secret = cli.secret("secret", "secret123")
    more = f'ca_file = "{certs / "ca.pem"}"\n'
    if ours is not None:
        more += f'cert_file = "{ours[0]}"\nkey_file = "{ours[1]}"\n'
    where = f"127.0.0.1:{server.tls_port(ASKING)}"
    cli.configure(account(where, transport="tls", more=more) + FILE_PROVIDER.format(path=secret))
    return cli.run("register", "--once", "--json")


def own(cli: Cli, certs: Path, kind: str = "client") -> tuple[Path, Path]:
    """A copy that a test may spoil."""
    made = cli.home / f"{kind}.pem", cli.home / f"{kind}.key"
    for place in made:
        shutil.copy(certs / place.name, place)
    made[1].chmod(0o600)
    return made


def test_C02_our_certificate_opens_the_door(cli: Cli, server: Kamailio, certs: Path) -> None:
    done = register(cli, server, certs, own(cli, certs))
    assert done.code == 0, done.stderr


def test_C02_without_one_it_is_seven(cli: Cli, server: Kamailio, certs: Path) -> None:
    done = register(cli, server, certs, None)
    assert done.code == 7, (done.stderr, done.result)
    assert done.result["message"].endswith("the server wants a certificate of ours: set cert_file and key_file")


def test_C02_one_of_a_stranger_is_seven(cli: Cli, server: Kamailio, certs: Path) -> None:
    done = register(cli, server, certs, own(cli, certs, "foreign"))
    assert done.code == 7, (done.stderr, done.result)
    assert "the server does not take our certificate: " in done.result["message"], done.result


def test_T15_a_key_that_others_can_read(cli: Cli, server: Kamailio, certs: Path) -> None:
    ours = own(cli, certs)
    ours[1].chmod(0o644)
    done = register(cli, server, certs, ours)
    assert done.code == 7
    assert f"{ours[1]} can be read by others (mode 0644): chmod 600 {ours[1]}" in done.result["message"]


def test_a_key_with_a_passphrase(cli: Cli, server: Kamailio, certs: Path) -> None:
    certificate, key = own(cli, certs)
    locked = cli.home / "locked.key"
    command = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:xyzzy", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    locked.chmod(0o600)
    done = register(cli, server, certs, (certificate, locked))
    assert done.code == 7
    assert "is protected by a passphrase" in done.result["message"]
    assert "openssl pkey" in done.result["message"]


def test_a_key_of_another_certificate(cli: Cli, server: Kamailio, certs: Path) -> None:
    certificate, _ = own(cli, certs)
    done = register(cli, server, certs, (certificate, own(cli, certs, "good")[1]))
    assert done.code == 7
    assert "cannot be used: key values mismatch" in done.result["message"]
