"""Which SIP domains a certificate proves, and whether it proves the one we went to (RFC 5922 sections 7.1-7.3)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Identities", "certificate_identities", "proves"]


class Identities(NamedTuple):
    """What a certificate says it is: SIP domains in the order found, and IP addresses as text."""

    domains: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join(self.domains + self.addresses) or "nobody"


def certificate_identities(certificate: Mapping[str, Any]) -> Identities:
    """The identities in *certificate*, as ``SSLSocket.getpeercert()`` gives it.

    ``sip:`` URIs without a user first; DNS names only if there is none; the
    common name only if there is no subjectAltName at all (RFC 5922 section 7.1).
    """
    names = certificate.get("subjectAltName", ())
    uris = [host for kind, value in names if kind == "URI" and (host := _sip_domain(value)) is not None]
    dns = [value for kind, value in names if kind == "DNS"]
    addresses = tuple(str(value) for kind, value in names if kind == "IP Address")
    if names:
        return Identities(tuple(uris or dns), addresses)
    common = [
        value for rdn in certificate.get("subject", ()) for kind, value in rdn if kind == "commonName" and "." in value
    ]
    return Identities(tuple(common[-1:]), ())


def proves(certificate: Mapping[str, Any], domain: str, *, allow_wildcard: bool = False) -> bool:
    """Does *certificate* speak for *domain*, the host of the URI we set out for (never an SRV target)?

    Names are compared whole and without case; a wildcard matches nothing unless
    *allow_wildcard* says so, and then one left-most label (section 7.2).  An
    address matches only an address.
    """
    found = certificate_identities(certificate)
    if (address := _address(domain)) is not None:
        return any(_address(candidate) == address for candidate in found.addresses)
    wanted = _dns_form(domain)
    if wanted is None:
        return False
    for candidate in map(_dns_form, found.domains):
        if candidate == wanted:
            return True
        if allow_wildcard and candidate is not None and candidate.startswith("*."):
            label, _, parent = wanted.partition(".")
            if label and "." in parent and parent == candidate[2:]:
                return True
    return False


def _sip_domain(uri: str) -> str | None:
    # A sips URI is no domain identity, and one with a user is a person (RFC 5922 section 7.1).
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "sip" or "@" in rest:
        return None
    host = rest.partition(";")[0].partition("?")[0]
    if host.startswith("["):
        return None
    return host.partition(":")[0] or None


def _dns_form(name: str) -> str | None:
    """Lower case, A-labels, no final dot (RFC 5280 section 7.2); None for what is no DNS name."""
    name = name.rstrip(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    return name.lower() or None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
