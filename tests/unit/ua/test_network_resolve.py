"""From hop to addresses (RFC 3263 section 4, RFC 2782), on records made up here."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Sequence

import pytest

from sipcli.errors import ResolveError
from sipcli.sip.flow import Hop
from sipcli.ua.net.resolve import Candidate, Naptr, Srv, SystemRecords, look_up


class Zone:
    """Records by name; remembers what was asked."""

    def __init__(self, **kinds: dict[str, list[object]]) -> None:
        self._kinds = kinds
        self.asked: list[tuple[str, str]] = []

    def _find(self, kind: str, name: str) -> list[object]:
        self.asked.append((kind, name.rstrip(".")))
        return self._kinds.get(kind, {}).get(name.rstrip("."), [])

    def naptr(self, name: str) -> Sequence[Naptr]:
        return self._find("naptr", name)  # type: ignore[return-value]

    def srv(self, name: str) -> Sequence[Srv]:
        return self._find("srv", name)  # type: ignore[return-value]

    def addresses(self, host: str) -> Sequence[str]:
        return self._find("hosts", host)  # type: ignore[return-value]


HOSTS: dict[str, list[object]] = {
    "example.com": ["192.0.2.1", "2001:db8::1"],
    "a.example.com": ["192.0.2.10"],
    "b.example.com": ["192.0.2.20"],
    "c.example.com": ["192.0.2.30"],
}
SRV: dict[str, list[object]] = {
    "_sip._udp.example.com": [Srv(20, 0, 5062, "b.example.com."), Srv(10, 0, 5061, "a.example.com.")],
    "_sip._tcp.example.com": [Srv(1, 0, 5070, "c.example.com.")],
    "_sips._tcp.example.com": [Srv(1, 0, 5443, "c.example.com.")],
}


@pytest.mark.parametrize(
    ("hop", "candidate"),
    [
        (Hop("192.0.2.7"), Candidate("udp", "192.0.2.7", 5060)),
        (Hop("2001:db8::7", transport="tcp"), Candidate("tcp", "2001:db8::7", 5060)),
        (Hop("192.0.2.7", transport="tls"), Candidate("tls", "192.0.2.7", 5061)),
        (Hop("192.0.2.7", 99, secure=True), Candidate("tls", "192.0.2.7", 99)),
    ],
)
def test_C01_a_literal_address_asks_nobody(hop: Hop, candidate: Candidate) -> None:
    zone = Zone()
    assert look_up(hop, zone) == [candidate]
    assert zone.asked == []


def test_C01_a_port_skips_the_services() -> None:
    zone = Zone(srv=SRV, hosts=HOSTS)
    assert look_up(Hop("example.com", 5090), zone) == [
        Candidate("udp", "192.0.2.1", 5090),
        Candidate("udp", "2001:db8::1", 5090),
    ]
    assert [kind for kind, _ in zone.asked] == ["hosts"]


def test_C01_C04_a_transport_chooses_its_service_and_sips_is_tls() -> None:
    zone = Zone(srv=SRV, hosts=HOSTS)
    assert look_up(Hop("example.com", transport="tcp"), zone) == [Candidate("tcp", "192.0.2.30", 5070)]
    assert look_up(Hop("example.com", transport="tls"), zone) == [Candidate("tls", "192.0.2.30", 5443)]
    assert look_up(Hop("example.com", secure=True), zone) == [Candidate("tls", "192.0.2.30", 5443)]
    assert "naptr" not in [kind for kind, _ in zone.asked]


def test_C01_without_naptr_all_services_are_asked() -> None:
    assert look_up(Hop("example.com"), Zone(srv=SRV, hosts=HOSTS)) == [
        Candidate("udp", "192.0.2.10", 5061),
        Candidate("udp", "192.0.2.20", 5062),
        Candidate("tcp", "192.0.2.30", 5070),
        Candidate("tls", "192.0.2.30", 5443),
    ]


def test_C01_naptr_says_which_transport_first() -> None:
    naptr: dict[str, list[object]] = {
        "example.com": [
            Naptr(90, 50, "SIP+D2U", "_sip._udp.example.com."),
            Naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com."),
            Naptr(10, 50, "SIP+D2S", "_sip._sctp.example.com."),
        ]
    }
    assert look_up(Hop("example.com"), Zone(naptr=naptr, srv=SRV, hosts=HOSTS)) == [
        Candidate("tls", "192.0.2.30", 5443),
        Candidate("udp", "192.0.2.10", 5061),
        Candidate("udp", "192.0.2.20", 5062),
    ]


def test_C01_C04_without_services_the_host_is_asked() -> None:
    assert look_up(Hop("example.com"), Zone(hosts=HOSTS)) == [
        Candidate("udp", "192.0.2.1", 5060),
        Candidate("udp", "2001:db8::1", 5060),
    ]
    assert look_up(Hop("example.com", secure=True), Zone(hosts=HOSTS))[0] == Candidate("tls", "192.0.2.1", 5061)


def test_C01_a_service_that_is_decidedly_not_there() -> None:
    srv: dict[str, list[object]] = {"_sip._tcp.example.com": [Srv(0, 0, 0, ".")]}
    zone = Zone(srv=srv, hosts=HOSTS)
    with pytest.raises(ResolveError, match="does not offer tcp"):
        look_up(Hop("example.com", transport="tcp"), zone)
    assert ("hosts", "") not in zone.asked, "the root has no address"
    assert look_up(Hop("example.com", transport="udp"), zone)[0] == Candidate("udp", "192.0.2.1", 5060)


@pytest.mark.parametrize("host", ["localhost", "pbx", "printer.local", "x.localhost"])
def test_names_that_dns_cannot_know_ask_for_no_service(host: str) -> None:
    zone = Zone(hosts={host: ["127.0.0.1"]})
    assert look_up(Hop(host), zone) == [Candidate("udp", "127.0.0.1", 5060)]
    assert [kind for kind, _ in zone.asked] == ["hosts"]


def test_nobody_knows_it() -> None:
    with pytest.raises(ResolveError, match=r"^dns: .*nowhere\.example"):
        look_up(Hop("nowhere.example"), Zone())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_C01_C04_secure_never_gets_less(transport: str) -> None:
    with pytest.raises(ResolveError):
        look_up(Hop("192.0.2.1", None, transport, True), Zone())  # type: ignore[arg-type]


def test_C01_weights_are_kept_in_the_long_run() -> None:
    srv: dict[str, list[object]] = {
        "_sip._tcp.example.com": [
            Srv(1, 60, 1, "a.example.com."),
            Srv(1, 30, 2, "b.example.com."),
            Srv(1, 10, 3, "c.example.com."),
            Srv(2, 99, 4, "example.com."),
        ]
    }
    zone, chance = Zone(srv=srv, hosts=HOSTS), random.Random(3263)
    first: Counter[int] = Counter()
    for _ in range(2000):
        found = look_up(Hop("example.com", transport="tcp"), zone, shuffle=chance)
        assert sorted(c.port for c in found) == [1, 2, 3, 4, 4]
        assert [c.port for c in found[3:]] == [4, 4]
        first[found[0].port] += 1
    assert 1100 < first[1] < 1300
    assert 500 < first[2] < 700
    assert 130 < first[3] < 290


def test_C01_the_weightless_get_a_turn() -> None:
    srv: dict[str, list[object]] = {
        "_sip._tcp.example.com": [Srv(1, 0, 1, "a.example.com"), Srv(1, 0, 2, "b.example.com")]
    }
    found = look_up(Hop("example.com", transport="tcp"), Zone(srv=srv, hosts=HOSTS))
    assert {c.port for c in found} == {1, 2}


def test_a_name_that_nobody_could_be_asked_about_is_not_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def unheard(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unheard)
    with pytest.raises(ResolveError, match="no name server could be asked about sip"):
        look_up(Hop("sip"), SystemRecords())


def test_of_two_servers_the_one_whose_name_is_known_is_taken() -> None:
    class Half(Zone):
        def addresses(self, host: str) -> Sequence[str]:
            if host == "a.test.":
                raise ResolveError("dns: no name server could be asked about a.test.")
            return ["192.0.2.2"]

    servers: list[object] = [Srv(1, 1, 5060, "a.test."), Srv(2, 1, 5062, "b.test.")]
    records = Half(srv={"_sip._udp.example.test": servers})
    assert look_up(Hop("example.test", transport="udp"), records) == [Candidate("udp", "192.0.2.2", 5062)]
