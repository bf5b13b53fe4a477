"""Who may challenge us."""

from __future__ import annotations

from sipcli.sip.authn.origin import HomeGround, Origin
from sipcli.sip.flow import Flow

LOCAL = ("192.0.2.9", 5060)
UDP = Flow(1, "udp", LOCAL, ("192.0.2.1", 5060))
TCP = Flow(2, "tcp", LOCAL, ("192.0.2.1", 5060))
TLS = Flow(3, "tls", LOCAL, ("192.0.2.1", 5061), "Example.com")


def test_T01_nobody_is_at_home_before_an_own_hop_led_there() -> None:
    home = HomeGround()
    assert not any(home.judge(flow).bound for flow in (UDP, TCP, TLS))


def test_T01_without_tls_address_and_port_decide() -> None:
    home = HomeGround()
    home.learn(UDP)
    assert home.judge(UDP).bound
    assert home.judge(TCP).bound, "a large INVITE goes to the same server by TCP"
    assert not home.judge(Flow(4, "udp", LOCAL, ("192.0.2.1", 5080))).bound
    assert not home.judge(Flow(5, "udp", LOCAL, ("192.0.2.2", 5060))).bound
    assert not home.judge(Flow(6, "tls", LOCAL, ("192.0.2.1", 5060), "evil.example")).bound


def test_T01_with_tls_the_verified_identity_decides_wherever_it_lives() -> None:
    home = HomeGround()
    home.learn(TLS)
    assert home.judge(Flow(7, "tls", LOCAL, ("198.51.100.7", 5061), "example.COM")).bound
    assert not home.judge(Flow(8, "tls", LOCAL, ("192.0.2.1", 5061), "evil.example")).bound
    assert not home.judge(Flow(9, "tls", LOCAL, ("192.0.2.1", 5061), None)).bound


def test_T01_an_account_on_tls_is_not_at_home_in_the_clear() -> None:
    home = HomeGround()
    home.learn(TLS)
    assert not home.judge(Flow(10, "tcp", LOCAL, ("192.0.2.1", 5061))).bound


def test_T01_unverified_tls_teaches_nothing() -> None:
    home = HomeGround()
    unverified = Flow(11, "tls", LOCAL, ("192.0.2.1", 5061), None)
    home.learn(unverified)
    assert not home.judge(unverified).bound


def test_A28_only_verified_tls_is_secure() -> None:
    assert Origin.of(TLS, bound=True).secure
    assert not Origin.of(Flow(12, "tls", LOCAL, ("192.0.2.1", 5061), None), bound=True).secure
    assert not Origin.of(TCP, bound=True).secure


def test_an_origin_names_itself_for_people() -> None:
    assert str(Origin.of(UDP, bound=True)) == "udp:192.0.2.1:5060"
    assert str(Origin.of(TLS, bound=True)) == "Example.com (tls:192.0.2.1:5061)"
    assert str(Origin("2001:db8::1", 5060)) == "udp:[2001:db8::1]:5060"


def test_udp_and_tcp_to_one_port_are_one_server() -> None:
    assert Origin.of(UDP, bound=True).server == Origin.of(TCP, bound=True).server
    assert Origin.of(UDP, bound=True).server != Origin.of(TLS, bound=True).server


def test_T01_a_websocket_in_tls_is_known_by_its_name_alone() -> None:
    """Fails without the look at every encrypted transport in ``HomeGround.learn``."""
    home = HomeGround()
    home.learn(Flow(11, "wss", LOCAL, ("192.0.2.1", 443), "example.com"))
    assert home.judge(Flow(12, "wss", LOCAL, ("198.51.100.7", 443), "example.com")).bound
    assert home.judge(TLS).bound, "the same domain, proven the same way"
    assert not home.judge(Flow(13, "ws", LOCAL, ("192.0.2.1", 443))).bound
    assert not home.judge(Flow(14, "wss", LOCAL, ("192.0.2.1", 443), "evil.example")).bound
