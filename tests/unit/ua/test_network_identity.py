"""Which domain a certificate proves (RFC 5922 sections 7.1 and 7.2), as ``getpeercert`` tells it (C02)."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.ua.net.identity import certificate_identities, proves


def certificate(*names: tuple[str, str], cn: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"subject": ((("countryName", "DE"),), (("commonName", cn),)) if cn else ()}
    if names:
        made["subjectAltName"] = names
    return made


@pytest.mark.parametrize(
    ("names", "domains"),
    [
        ([("URI", "sip:example.com"), ("DNS", "other.example")], ("example.com",)),
        ([("URI", "SIP:example.com:5061;x=y"), ("URI", "sip:b.example?h=1")], ("example.com", "b.example")),
        ([("URI", "sips:example.com"), ("DNS", "dns.example")], ("dns.example",)),
        ([("URI", "sip:alice@example.com"), ("DNS", "dns.example")], ("dns.example",)),
        ([("URI", "https://example.com"), ("DNS", "a.example"), ("DNS", "b.example")], ("a.example", "b.example")),
        ([("email", "a@example.com")], ()),
        ([("URI", "sip:[2001:db8::1]")], ()),
    ],
)
def test_C02_what_a_certificate_says(names: list[tuple[str, str]], domains: tuple[str, ...]) -> None:
    assert certificate_identities(certificate(*names, cn="cn.example")).domains == domains


def test_C02_T19_the_common_name_counts_only_without_a_subject_alternative_name() -> None:
    assert proves(certificate(cn="example.com"), "example.com")
    assert not proves(certificate(("email", "a@b"), cn="example.com"), "example.com")
    assert not proves(certificate(cn="Example Inc"), "Example Inc")


@pytest.mark.parametrize("domain", ["example.com", "EXAMPLE.com", "example.com."])
def test_C02_the_whole_name_without_case(domain: str) -> None:
    assert proves(certificate(("DNS", "Example.COM")), domain)


@pytest.mark.parametrize("domain", ["com", "sub.example.com", "xample.com", "example.com.evil.example", "", "."])
def test_C02_T19_nothing_less_and_nothing_more(domain: str) -> None:
    assert not proves(certificate(("DNS", "example.com")), domain)


def test_C02_T19_a_wildcard_matches_nothing_by_default() -> None:
    made = certificate(("DNS", "*.example.com"))
    assert not proves(made, "a.example.com")
    assert proves(made, "a.example.com", allow_wildcard=True)
    for domain in ("a.b.example.com", "example.com", ".example.com", "a.example.org"):
        assert not proves(made, domain, allow_wildcard=True)
    assert not proves(certificate(("DNS", "*.com")), "example.com", allow_wildcard=True)
    assert not proves(certificate(("DNS", ".example.com")), "a.example.com", allow_wildcard=True)


def test_names_beyond_ascii() -> None:
    assert proves(certificate(("DNS", "xn--bcher-kva.example")), "bücher.example")
    assert not proves(certificate(("DNS", "bucher.example")), "bücher.example")


def test_addresses_are_proved_by_addresses_only() -> None:
    made = certificate(("DNS", "192.0.2.1"), ("IP Address", "192.0.2.2"), ("IP Address", "2001:DB8:0:0:0:0:0:1"))
    assert not proves(made, "192.0.2.1")
    assert proves(made, "192.0.2.2")
    assert proves(made, "2001:db8::1")
    assert not proves(made, "2001:db8::2")
    assert not proves(certificate(cn="192.0.2.1"), "192.0.2.1")


def test_a_url_that_names_us_later_does_not_help() -> None:
    assert not proves(certificate(("URI", "sip:evil.example;sip:example.com")), "example.com")
    assert not proves(certificate(("URI", "sip:evil.example?x=example.com")), "example.com")
