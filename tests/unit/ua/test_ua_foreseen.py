"""What a call's audio cannot be, and the configuration tells: refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.config import AccountConfig
from sipcli.errors import ConfigError
from sipcli.sip.flow import Hop
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.calls.foreseen import check_calls
from sipcli.ua.net.resolve import settled

BOB, SECURE_BOB = SipUri.parse("sip:bob@example.com"), SipUri.parse("sips:bob@example.com")


def account(registrar: str, **more: Any) -> AccountConfig:
    if "proxy" in more:
        more = {**more, "proxy": SipUri.parse(more["proxy"])}
    return AccountConfig.for_aor("sip:alice@example.com", registrar=SipUri.parse(registrar), **more)


IN_CLEAR: list[tuple[str, dict[str, Any]]] = [
    ("sip:192.0.2.1", {}),
    ("sip:example.com:5060", {}),
    ("sip:pbx", {}),  # a name without a dot has no service records
    ("sip:example.com;transport=udp", {}),
    ("sip:example.com", {"transport": "tcp"}),
    ("sip:example.com", {"transport": "ws"}),
]


@pytest.mark.parametrize(("registrar", "more"), IN_CLEAR)
@pytest.mark.parametrize("target", [BOB, None])
def test_E02_keys_in_the_sdp_are_required_where_no_tls_can_be(
    registrar: str, more: dict[str, Any], target: SipUri | None
) -> None:
    me = account(registrar, **more)
    with pytest.raises(ConfigError, match="over TLS only") as caught:
        check_calls(me, {"srtp": "required"}, target)
    assert caught.value.hint is not None
    with pytest.raises(ConfigError, match="over TLS only"):
        check_calls(account(registrar, srtp="required", **more), {}, target)
    check_calls(me, {"srtp": "required", "srtp_keys": "dtls"}, target)
    check_calls(me, {"srtp": "optional"}, target)
    check_calls(account(registrar, srtp="required", **more), {"srtp": "off"}, target)


@pytest.mark.parametrize(
    ("registrar", "more"),
    [
        ("sip:example.com", {}),  # its NAPTR records may say TLS
        ("sip:192.0.2.1;transport=tls", {}),
        ("sip:192.0.2.1", {"transport": "wss"}),
        ("sips:example.com", {}),
        ("sips:example.com", {"proxy": "sip:192.0.2.1"}),
        ("sip:192.0.2.1", {"proxy": "sip:edge.example.com"}),
    ],
)
@pytest.mark.parametrize("target", [BOB, None])
def test_where_tls_may_be_the_call_itself_says_it(registrar: str, more: dict[str, Any], target: SipUri | None) -> None:
    me = account(registrar, srtp="required", **more)
    check_calls(me, {}, target)
    with pytest.raises(ConfigError, match="over TLS only"):
        check_calls(me, {}, None, direct=True)  # calls that come straight to our ports


def test_a_call_to_sips_is_encrypted_by_whomever_we_register_with() -> None:
    check_calls(account("sip:192.0.2.1"), {"srtp": "required"}, SECURE_BOB)


@pytest.mark.parametrize("policy", ["required", "relay"])
def test_E04_ice_that_must_be_and_is_not_installed(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipcli.ua.media.icesettings.missing", lambda: "the package aioice (pip install 'sipcli[ice]')")
    with pytest.raises(ConfigError, match=r"ICE needs the package aioice \(pip install 'sipcli\[ice\]'\)"):
        check_calls(account("sip:192.0.2.1"), {"ice": policy}, BOB)
    with pytest.raises(ConfigError, match="ICE needs"):
        check_calls(account("sip:192.0.2.1", ice=policy), {}, None)
    check_calls(account("sip:192.0.2.1", ice=policy), {"ice": "optional"}, BOB)


def test_E04_a_relay_without_a_turn_server() -> None:
    with pytest.raises(ConfigError, match="needs a TURN server"):
        check_calls(account("sip:192.0.2.1"), {"ice": "relay"}, BOB)


def test_a_codec_of_the_account_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipcli.media.codecs._MISSING", {"G722": lambda: "the package G722"})
    me = account("sip:192.0.2.1", codecs=("g722", "pcmu"))
    with pytest.raises(ConfigError, match="G722 needs the package G722"):
        check_calls(me, {}, BOB)
    check_calls(me, {"codecs": ["PCMU"]}, BOB)
    check_calls(account("sip:192.0.2.1"), {}, BOB)


def test_dtls_by_name_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipcli.media.dtls.missing", lambda: "the package pyOpenSSL")
    with pytest.raises(ConfigError, match="DTLS-SRTP needs the package pyOpenSSL"):
        check_calls(account("sip:192.0.2.1", srtp_keys="dtls"), {}, BOB)


@pytest.mark.parametrize(
    ("hop", "transport"),
    [
        (Hop("192.0.2.1"), "udp"),
        (Hop("2001:db8::1"), "udp"),
        (Hop("localhost"), "udp"),
        (Hop("pbx.local"), "udp"),
        (Hop("example.com", 5060), "udp"),
        (Hop("example.com", None, "tcp"), "tcp"),
        (Hop("example.com", None, None, secure=True), "tls"),
        (Hop("example.com", None, "wss", secure=True), "wss"),
        (Hop("example.com"), None),
    ],
)
def test_what_dns_has_no_word_in(hop: Hop, transport: str | None) -> None:
    assert settled(hop) == transport
