"""Next hops, route sets and contacts (RFC 3261 sections 8.1.2, 12.2.1.1, RFC 3608, RFC 5630)."""

from __future__ import annotations

import pytest

from sipcli.sip.account import AccountState
from sipcli.sip.auth import AuthSession
from sipcli.sip.flow import Flow, Hop
from sipcli.sip.profile import AccountProfile
from sipcli.sip.syntax.uri import SipUri
from sipcli.sip.targets import contact_uri, is_literal, loose, out_of_dialog, preferring, sent_by, through, via_of

BOB = SipUri.parse("sip:bob@192.0.2.9")


def account(registrar: str = "sip:sbc.example.com", proxy: str | None = None, **more: object) -> AccountState:
    profile = AccountProfile(
        name="work",
        aor=SipUri.parse("sip:alice@example.com"),
        registrar=SipUri.parse(registrar),
        proxy=SipUri.parse(proxy) if proxy else None,
        contact_user="u",
        **more,  # type: ignore[arg-type]
    )
    return AccountState(profile, AuthSession(), "boot")


def test_no_route_goes_to_the_target() -> None:
    assert through(BOB, ()).hop == Hop("192.0.2.9")


def test_loose_routes_keep_the_request_uri() -> None:
    target = through(BOB, ("<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"))
    assert (target.uri, target.hop.host) == (BOB, "p1.example.com")
    assert target.routes == ("<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>")


def test_a_strict_router_changes_places_with_the_target() -> None:
    target = through(BOB, ("<sip:p1.example.com?X=y>", "<sip:p2.example.com;lr>"))
    assert str(target.uri) == "sip:p1.example.com"
    assert target.routes == ("<sip:p2.example.com;lr>", "<sip:bob@192.0.2.9>")
    assert target.hop.host == "p1.example.com"


@pytest.mark.parametrize(
    ("target", "hop"),
    [
        ("sip:bob@example.com", Hop("sbc.example.com")),
        ("sip:bob@sbc.example.com", Hop("sbc.example.com")),
        ("sip:bob@EXAMPLE.com;user=phone", Hop("sbc.example.com")),
        ("sip:bob@elsewhere.example", Hop("elsewhere.example")),
        ("sip:bob@example.com:5090", Hop("example.com", 5090)),
        ("sip:bob@192.0.2.9:5070;transport=tcp", Hop("192.0.2.9", 5070, "tcp")),
        ("sips:bob@example.com", Hop("example.com", None, "tls", True)),
    ],
)
def test_our_own_domain_goes_where_the_register_went(target: str, hop: Hop) -> None:
    assert out_of_dialog(account(), SipUri.parse(target)).hop == hop


def test_the_accounts_transport_fills_what_the_uri_leaves_open() -> None:
    work = account(transport="tcp")
    assert work.registrar_hop.transport == "tcp"
    assert out_of_dialog(work, SipUri.parse("sip:bob@elsewhere.example")).hop.transport == "tcp"
    assert out_of_dialog(work, SipUri.parse("sip:bob@elsewhere.example;transport=udp")).hop.transport == "udp"
    assert preferring(Hop("h"), None) == Hop("h")


def test_the_outbound_proxy_takes_everything_and_service_route_follows_it() -> None:
    work = account(proxy="sip:edge.example.com;transport=tcp")
    assert work.registrar_hop == Hop("edge.example.com", None, "tcp")
    work.use_service_route(("<sip:core.example.com;lr>",))
    target = out_of_dialog(work, SipUri.parse("sip:bob@elsewhere.example"))
    assert target.routes == ("<sip:edge.example.com;transport=tcp;lr>", "<sip:core.example.com;lr>")
    assert target.hop == work.registrar_hop


def test_T22_headers_in_a_target_are_never_honoured() -> None:
    """T22: a link like sip:bob@host?Replaces=... must not put header fields into our request."""
    target = out_of_dialog(None, SipUri.parse("sip:bob@192.0.2.9;method=BYE?Replaces=1%3Bto-tag%3D2"))
    assert str(target.uri) == "sip:bob@192.0.2.9"


def test_only_own_hops_are_trusted_whatever_transport_size_asks_for() -> None:
    work = account()
    assert work.owns(Hop("sbc.example.com"))
    assert work.owns(Hop("sbc.example.com", None, "tcp"))
    assert not work.owns(Hop("sbc.example.com", 5090))
    assert not work.owns(Hop("elsewhere.example"))
    work.use_service_route(("<sip:core.example.com;lr>",))
    assert work.owns(Hop("core.example.com"))
    work.use_service_route(())
    assert not work.owns(Hop("core.example.com"))


def test_an_account_over_tls_is_not_at_home_on_a_plain_flow() -> None:
    work = account("sips:example.com")
    tls = Flow(1, "tls", ("192.0.2.99", 1), ("192.0.2.1", 5061), "example.com")
    plain = Flow(2, "udp", ("192.0.2.99", 1), ("192.0.2.1", 5061))
    assert not work.origin(tls).bound
    work.learn(tls)
    assert work.origin(tls).bound
    assert not work.origin(plain).bound


def test_origins_are_judged_again_when_the_book_overflows() -> None:
    work = account()
    home = Flow(0, "udp", ("192.0.2.99", 1), ("192.0.2.1", 5060))
    work.learn(home)
    for number in range(1, 200):
        assert not work.origin(Flow(number, "udp", home.local, ("203.0.113.6", number))).bound
    assert work.origin(home).bound
    assert not work.origin(Flow(0, "udp", home.local, ("203.0.113.6", 1))).bound, "an id is no proof"


def test_what_we_call_ourselves() -> None:
    v6 = Flow(1, "udp", ("2001:db8::1", 5060), ("2001:db8::2", 5060))
    tcp = Flow(2, "tcp", ("192.0.2.99", 4711), ("192.0.2.1", 5060))
    tls = Flow(3, "tls", ("192.0.2.99", 4711), ("192.0.2.1", 5061), "example.com")
    assert sent_by(v6) == "[2001:db8::1]:5060"
    assert str(via_of(v6, "z9hG4bKx")) == "SIP/2.0/UDP [2001:db8::1]:5060;rport;branch=z9hG4bKx"
    assert str(via_of(tls, "z9hG4bKx")) == "SIP/2.0/TLS 192.0.2.99:4711;branch=z9hG4bKx"
    assert contact_uri("u", v6, secure=False) == "sip:u@[2001:db8::1]:5060"
    assert contact_uri("u", tcp, secure=False) == "sip:u@192.0.2.99:4711;transport=tcp"
    assert contact_uri("u", tls, secure=False) == "sip:u@192.0.2.99:4711;transport=tls"
    assert contact_uri("u", tls, secure=True) == "sips:u@192.0.2.99:4711"
    assert loose(SipUri.parse("sip:edge.example.com")) == "<sip:edge.example.com;lr>"


@pytest.mark.parametrize(("host", "literal"), [("192.0.2.1", True), ("2001:db8::1", True), ("example.com", False)])
def test_literals_have_no_other_records(host: str, literal: bool) -> None:
    assert is_literal(host) is literal
