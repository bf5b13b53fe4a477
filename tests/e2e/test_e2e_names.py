"""Where the server is: SRV and NAPTR from a real name server, fail-over, IPv6, and names that lead nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, StartKamailio
from tests.support.cli import Cli
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.names import NameServer, Zone
from tests.support.servers.process import free_port

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("names")]

A = {("pbx.sip.test.", "A"): ["127.0.0.1"]}
StartDns = Callable[[Zone], NameServer]


@pytest.fixture
def resolved(cli: Cli) -> Iterator[StartDns]:
    """Start a name server, and let this machine ask it and nobody else."""
    require("root")
    running: list[NameServer] = []

    def start(zone: Zone) -> NameServer:
        running.append(NameServer({**A, **zone}))
        cli.nameserver = running[-1].host
        return running[-1]

    yield start
    for server in running:
        server.stop()


def nothing_but_an_address(cli: Cli, more: str = "") -> None:
    """No registrar, no proxy, no transport: the domain of the address is all that is known."""
    secret = cli.secret("secret", "secret123")
    cli.configure(
        f'[accounts.work]\naor = "sip:alice@sip.test"\ncredentials = ["secret"]\n{more}'
        + FILE_PROVIDER.format(path=secret)
    )


def via(done_events: list[dict[str, object]]) -> str:
    [registered] = [e for e in done_events if e["event"] == "registration" and e["state"] == "registered"]
    place = registered["via"]
    assert isinstance(place, dict)
    return f"{place['transport']} {place['remote']}"


def test_C01_srv_says_the_port(cli: Cli, kamailio: Kamailio, resolved: StartDns) -> None:
    resolved({("_sip._udp.sip.test.", "SRV"): [f"10 0 {kamailio.port} pbx.sip.test."]})
    nothing_but_an_address(cli)
    done = cli.run("register", "--once", "--json")
    assert done.code == 0, done.stderr
    assert via(done.events) == f"udp 127.0.0.1:{kamailio.port}"


def test_C01_naptr_says_the_transport(cli: Cli, kamailio: Kamailio, resolved: StartDns) -> None:
    """RFC 3263 section 4.1: TCP is preferred by the domain, although UDP is there."""
    record = f"10 0 {kamailio.port} pbx.sip.test."
    server = resolved(
        {
            ("sip.test.", "NAPTR"): [
                '10 50 "s" "SIP+D2T" "" _sip._tcp.sip.test.',
                '20 50 "s" "SIP+D2U" "" _sip._udp.sip.test.',
            ],
            ("_sip._tcp.sip.test.", "SRV"): [record],
            ("_sip._udp.sip.test.", "SRV"): [record],
        }
    )
    nothing_but_an_address(cli)
    done = cli.run("register", "--once", "--json")
    assert done.code == 0, done.stderr
    assert via(done.events) == f"tcp 127.0.0.1:{kamailio.port}"
    assert "sip.test. NAPTR" in server.asked


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_C01_the_second_server_is_tried_when_the_first_is_not_there(
    cli: Cli, kamailio: Kamailio, resolved: StartDns, transport: str
) -> None:
    resolved(
        {
            (f"_sip._{transport}.sip.test.", "SRV"): [
                f"5 0 {free_port()} pbx.sip.test.",
                f"10 0 {kamailio.port} pbx.sip.test.",
            ]
        }
    )
    nothing_but_an_address(cli, f'transport = "{transport}"\n')
    done = cli.run("register", "--once", "--json")
    assert done.code == 0, done.stderr
    assert via(done.events) == f"{transport} 127.0.0.1:{kamailio.port}"


@pytest.mark.parametrize(("certificate", "status"), [("strict", 0), ("wrong", 7)])
def test_over_tls_the_certificate_names_the_domain_not_the_host_of_the_srv_record(
    cli: Cli, start_kamailio: StartKamailio, certs: Path, resolved: StartDns, certificate: str, status: int
) -> None:
    """RFC 5922 section 7.1: DNS was not signed, so what it says proves nothing."""
    server = start_kamailio(tls=True)
    resolved({("_sips._tcp.sip.test.", "SRV"): [f"10 0 {server.tls_port(certificate)} pbx.sip.test."]})
    nothing_but_an_address(cli, 'transport = "tls"\n')
    done = cli.run("register", "--once", "--json", "--ca", str(certs / "ca.pem"))
    assert done.code == status, done.stderr
    assert "Traceback" not in done.stderr


def test_a_service_that_is_decidedly_not_there_is_seven(cli: Cli, resolved: StartDns) -> None:
    """RFC 2782: a single record with the target "." says so."""
    resolved({("_sip._udp.sip.test.", "SRV"): ["0 0 0 ."], ("sip.test.", "A"): ["127.0.0.1"]})
    nothing_but_an_address(cli, 'transport = "udp"\n')
    done = cli.run("register", "--once", "--json", "--timeout", "5")
    assert done.code == 7, done.stderr
    assert "sip.test" in done.result["message"]
    assert done.result["hint"]


def test_a_call_by_a_name_that_does_not_exist_is_seven(cli: Cli, resolved: StartDns) -> None:
    resolved({})
    done = cli.run("call", "sip:bob@elsewhere.test", "--from", "sip:me@sip.test", "--no-register", "--json")
    assert done.code == 7, done.stderr
    assert "elsewhere.test" in done.result["message"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_ipv6(cli: Cli, start_kamailio: StartKamailio, transport: str) -> None:
    server = start_kamailio("V6")
    secret = cli.secret("secret", "secret123")
    cli.configure(
        f'[accounts.work]\naor = "sip:alice@sip.test"\nproxy = "sip:[::1]:{server.port};transport={transport};lr"\n'
        'credentials = ["secret"]\n' + FILE_PROVIDER.format(path=secret)
    )
    before = len(server.saved("alice"))
    done = cli.run("register", "--once", "--json")
    assert done.code == 0, done.stderr
    bound = server.saved("alice")[before]
    assert bound.startswith(transport)
    assert "@[::1]:" in bound
