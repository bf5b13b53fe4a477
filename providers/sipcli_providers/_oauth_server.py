"""What an authorization server says about itself (RFC 8414), and which of it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import requests

from sipcli.credentials import Denied, Unavailable
from sipcli_providers import _http
from sipcli_providers._lookup import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The URLs of one server; None where it has none.  All https.

    *names_itself*: its redirects carry ``iss`` (RFC 9207), so that another
    server's answer cannot be passed off as its own.
    """

    issuer: str | None = None
    token: str | None = None
    device: str | None = None
    authorize: str | None = None
    auth_methods: frozenset[str] = field(default_factory=frozenset)
    names_itself: bool = False

    def hosts(self) -> set[str]:
        """Where a person may be sent to log in: the hosts that belong to this server."""
        urls = (self.issuer, self.token, self.device, self.authorize)
        return {host for url in urls if url and (host := urlsplit(url).hostname)}


def discover(session: requests.Session, known: Endpoints) -> Endpoints:
    """*known* (what the configuration says), completed by the metadata of its issuer.

    RFC 8414's place is asked first, then OpenID Connect's.  Raises Unavailable
    without metadata, Denied when it belongs to another issuer.
    """
    assert known.issuer is not None  # the caller's condition for coming here
    for place in metadata_places(known.issuer):
        answer = session.get(place)
        if answer.status_code != 200:
            continue
        try:
            metadata = answer.json()
        except ValueError:
            continue
        if isinstance(metadata, dict):
            return _completed(known, metadata)
    raise Unavailable(
        f"{_http.host_of(known.issuer)} publishes no metadata: look at issuer, or configure token_url and device_url",
        retry_after=_http.NOT_SOON,
    )


def metadata_places(issuer: str) -> tuple[str, str]:
    """RFC 8414 section 3.1 puts the well-known part before the issuer's path, OpenID Connect after it."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    base = f"{parts.scheme}://{parts.netloc}"
    return (
        f"{base}/.well-known/oauth-authorization-server{path}",
        f"{base}{path}/.well-known/openid-configuration",
    )


def check_verification_url(url: object, endpoints: Endpoints, more_hosts: tuple[str, ...]) -> str:
    """The page a person is sent to, if it is one of this server's: a look-alike host is how codes are phished."""
    if not isinstance(url, str):
        raise Unavailable("the login server named no page to log in at")
    try:
        _http.check_url(url, "the login page")
    except ValueError as error:
        raise Denied(f"{printable(str(error))}; the login server is not to be trusted") from error
    host = urlsplit(url).hostname or ""
    if host not in endpoints.hosts() and host not in more_hosts:
        raise Denied(
            f"the login server sends people to {printable(host, 80)}, which is not its own host: "
            f'if that is right, add verification_hosts = ["{printable(host, 80)}"]'
        )
    return url


def _completed(known: Endpoints, metadata: Mapping[str, Any]) -> Endpoints:
    # RFC 8414 section 3.3: the issuer must be identical to the one asked for, or the metadata must not be used.
    if metadata.get("issuer") != known.issuer:
        asked, said = _http.host_of(str(known.issuer)), printable(str(metadata.get("issuer")), 100)
        if not isinstance(metadata.get("issuer"), str):
            raise Denied(f"{asked} does not say who it is: look at issuer, or do not trust it")
        raise Denied(f"{asked} says that it is {said}: write exactly that as issuer, or do not trust it")
    methods = metadata.get("token_endpoint_auth_methods_supported")
    return replace(
        known,
        token=known.token or _endpoint(metadata, "token_endpoint"),
        device=known.device or _endpoint(metadata, "device_authorization_endpoint"),
        authorize=known.authorize or _endpoint(metadata, "authorization_endpoint"),
        auth_methods=frozenset(m for m in methods if isinstance(m, str)) if isinstance(methods, list) else frozenset(),
        names_itself=metadata.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(metadata: Mapping[str, Any], name: str) -> str | None:
    value = metadata.get(name)
    if value is None:
        return None
    try:
        return _http.check_url(str(value), f"the login server's {name}")
    except ValueError as error:
        raise Denied(f"{error}; it is not to be trusted") from error
