"""`sipcli register` through Kamailio: bound, seen in its location table, and gone after unbinding."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, StartKamailio, account
from tests.support.cli import Cli
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]

ALGORITHMS = {"MD5": (), "SHA-256": ("SHA256",)}


def with_file(cli: Cli, server: str, *, password: str = "secret123", more: str = "", **options: str) -> None:
    path = cli.secret("secret", password)
    cli.configure(account(server, **options, more=more) + FILE_PROVIDER.format(path=path))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_once_binds_and_unbinds(
    cli: Cli, start_kamailio: StartKamailio, certs: Path, transport: str, algorithm: str
) -> None:
    server = start_kamailio(*ALGORITHMS[algorithm], tls=True)
    with_file(cli, server.address(transport), transport=transport)
    before = len(server.saved("alice"))
    done = cli.run("register", "--once", "--json", "--ca", str(certs / "ca.pem"))
    assert done.code == 0, done.stderr
    assert done.result["ok"] is True
    assert done.result["outcome"] == "registered"
    [challenged] = done.named("auth.challenged")
    assert challenged["realm"] == "sip.test"
    assert challenged["chosen"] == algorithm
    states = [event["state"] for event in done.named("registration")]
    assert states[-2:] == ["registered", "unregistered"]
    bound, unbound = server.saved("alice")[before:]
    assert transport in bound
    assert bound.endswith("expires=600")
    assert unbound.endswith("expires=0")
    assert server.contacts("alice") == []


def test_a_registration_stays_until_sigterm_and_is_gone_after_it(cli: Cli, kamailio: Kamailio) -> None:
    with_file(cli, kamailio.address())
    running = cli.start("register", "--json")
    try:
        event = running.wait_for("registration", state="registered")
        assert event["expires_s"] > 0
        assert len(kamailio.contacts("alice")) == 1
        running.signal(signal.SIGTERM)
        done = running.finish()
    finally:
        running.kill()
    assert done.code == 143
    assert done.events[-1]["event"] == "result"
    assert kamailio.contacts("alice") == []


def test_wrong_password_is_answered_once_and_refused_with_three(cli: Cli, kamailio: Kamailio) -> None:
    with_file(cli, kamailio.address(), password="not-the-password")
    before = len(kamailio.verdicts())
    done = cli.run("register", "--once", "--json")
    assert done.code == 3, done.stderr
    answers = [line for line in kamailio.verdicts()[before:] if "REGISTER user=alice" in line]
    assert len(answers) == 1
    assert done.result["ok"] is False
    assert done.result["hint"]
    assert "Traceback" not in done.stderr
    assert "not-the-password" not in done.stderr + done.stdout


def test_the_second_store_is_asked_when_the_first_has_a_wrong_secret(cli: Cli, kamailio: Kamailio) -> None:
    wrong, right = cli.secret("wrong", "nope"), cli.secret("right", "secret123")
    cli.configure(
        account(kamailio.address(), credentials='"first", "second"')
        + f'[providers.first]\ntype = "file"\npath = "{wrong}"\n[providers.second]\ntype = "file"\npath = "{right}"\n'
    )
    before = len(kamailio.verdicts())
    done = cli.run("register", "--once", "--json")
    assert done.code == 0, done.stderr
    answers = [line for line in kamailio.verdicts()[before:] if "REGISTER user=alice" in line]
    assert [line.rsplit("=", 1)[1] == "1" for line in answers][:2] == [False, True]


def test_the_environment_serves_a_container(kamailio: Kamailio, tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home", env={"SIP_SECRET": "secret123"})
    cli.configure(
        account(kamailio.address(), credentials='"container"')
        + '[providers.container]\ntype = "env"\nvariable = "SIP_SECRET"\n'
    )
    assert cli.run("register", "--once").code == 0


def test_password_file_from_standard_input(cli: Cli, kamailio: Kamailio) -> None:
    cli.configure(account(kamailio.address(), credentials='"prompt"'))
    done = cli.run("register", "--once", "--json", "--password-file", "-", stdin="secret123\n")
    assert done.code == 0, done.stderr


def test_T26_no_input_and_nobody_to_ask_is_four_at_once(cli: Cli, kamailio: Kamailio) -> None:
    cli.configure(account(kamailio.address(), credentials='"prompt"'))
    done = cli.run("register", "--once", "--json", "--no-input")
    assert done.code == 4
    assert done.result["took_ms"] < 3000


def test_no_configuration_at_all(cli: Cli, kamailio: Kamailio) -> None:
    """`sipcli register sip:alice@HOST` asks when the server does; without a terminal that is exit 4, not a hang."""
    done = cli.run("register", f"sip:alice@127.0.0.1:{kamailio.port}", "--once", "--json")
    assert done.code == 4, done.stderr


class TestTlsIdentity:
    """RFC 5922: who may call himself sip.test."""

    @pytest.mark.parametrize("certificate", ["strict", "urionly", "cnonly"])
    def test_right_names_are_accepted(
        self, cli: Cli, start_kamailio: StartKamailio, certs: Path, certificate: str
    ) -> None:
        require("root")
        server = start_kamailio(tls=True)
        with_file(cli, f"sip.test:{server.tls_port(certificate)}", transport="tls")
        cli.hosts = {"sip.test": "127.0.0.1"}
        done = cli.run("register", "--once", "--json", "--ca", str(certs / "ca.pem"))
        assert done.code == 0, done.stderr

    @pytest.mark.parametrize("certificate", ["expired", "wrong", "dnsuri", "foreign", "selfsigned"])
    def test_C02_T19_wrong_ones_are_refused_with_seven(
        self, cli: Cli, start_kamailio: StartKamailio, certs: Path, certificate: str
    ) -> None:
        require("root")
        server = start_kamailio(tls=True)
        with_file(cli, f"sip.test:{server.tls_port(certificate)}", transport="tls")
        cli.hosts = {"sip.test": "127.0.0.1"}
        done = cli.run("register", "--once", "--json", "--ca", str(certs / "ca.pem"))
        assert done.code == 7
        assert "Traceback" not in done.stderr
        assert done.named("auth.challenged") == []
