"""HTTP as a keeper of secrets wants it: no redirects, nothing from the environment, nothing without end.

What the libraries do by themselves, and what is switched off here (each was
seen happening):

* hvac follows a redirect to another host and takes ``X-Vault-Token`` along;
  requests-oauthlib posts the client secret again on a 307;
* requests reads ``~/.netrc``, ``HTTPS_PROXY`` and ``REQUESTS_CA_BUNDLE``;
  urllib3 writes the TLS keys to ``SSLKEYLOGFILE``;
* a body may be endless, or come a byte a minute: the time-out of requests is
  one of each read, not of the answer.
"""

from __future__ import annotations

import io
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Collection, Mapping
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from sipcli.credentials import ProviderError, Unavailable
from sipcli_providers._answers import is_bomb

BODY_LIMIT = 64 * 1024
NOT_SOON = 3600.0
"""``retry_after`` of what will not mend itself: the chain goes on at once instead of asking again."""

_CHUNK = 16 * 1024
_CODES = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"),
        *("invalid_scope", "access_denied", "unsupported_response_type", "server_error", "temporarily_unavailable"),
        *("invalid_token", "insufficient_scope", "invalid_target", "authorization_pending", "slow_down"),
        *("expired_token", "interaction_required", "login_required", "consent_required", "missing_token"),
    }
)
"""RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3.1, RFC 8628 section 3.5, RFC 8707 section 2, OpenID Connect
Core section 3.1.2.6; the last is oauthlib's own."""


class ForbiddenAddress(NewConnectionError):
    """A URL that a server named leads to an address inside our own network (SSRF)."""


class BadStatus(Unavailable):
    """A redirect, 429 or 5xx; *answer* is the JSON object that came with it, empty without one."""

    def __init__(self, message: str, status: int, answer: Mapping[str, Any], *, retry_after: float | None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.status = status
        self.answer = answer


class Http:
    """The way to one server: its trust, its proxy, its limits.  Shared by all sessions of a provider.

    *listed* are the ``host:port`` that the configuration names and that may
    therefore lie at a private address; None lists everything (no URL of this
    provider comes from the network).
    """

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        proxy: str | None = None,
        timeout: float = 10.0,
        listed: Collection[str] | None = None,
    ) -> None:
        self.timeout = timeout
        self.proxies = {"http": proxy, "https": proxy} if proxy else {}
        self.adapter = _Adapter(_tls_context(ca_file), None if proxy else listed)


class Session(requests.Session):
    """A session that goes where it was sent, once, and reads a bounded answer in bounded time.

    Raises BadStatus for a redirect, 429 and 5xx, Unavailable for an answer that is
    too large, too deep or too slow; the exceptions of requests pass, see :func:`explain`.
    """

    def __init__(self, *args: Any, http: Http, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._http = http
        self.trust_env = False
        self.proxies = dict(http.proxies)
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers["User-Agent"] = "sipcli"
        self.headers["Accept-Encoding"] = "identity"  # no bombs to unpack
        self.adapters.clear()
        self.mount("https://", http.adapter)
        self.mount("http://", http.adapter)
        self._last = threading.local()

    @property
    def server_time(self) -> float | None:
        """The server's own clock (seconds since 1970) in the last answer to this thread, None if it said nothing."""
        moment: float | None = getattr(self._last, "time", None)
        return moment

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: a redirect is reported, not obeyed."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = kwargs.get("timeout") or self._http.timeout
        until = time.monotonic() + self._http.timeout
        response = super().send(request, **{**kwargs, "stream": True})
        where = host_of(response.url)
        try:
            body = _read(response, where, until)
        finally:
            response.close()
        if is_bomb(body):
            raise Unavailable(f"{where} answered with JSON that is nested without end", retry_after=NOT_SOON)
        response.raw = io.BytesIO(body)  # .text and .json() read from here
        self._last.time = _date(response.headers.get("Date"))
        _judge_status(response, where, body)
        return response


class _Adapter(HTTPAdapter):
    """Trust is decided once, in the context; per-request ``verify`` and ``cert`` (and VAULT_CACERT) are not asked."""

    def __init__(self, context: ssl.SSLContext, listed: Collection[str] | None) -> None:
        self._context = context
        self._listed = listed
        super().__init__(pool_maxsize=64)  # as many as the widest lane has workers

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **kwargs)
        if self._listed is not None:
            self.poolmanager.pool_classes_by_scheme = {"https": _guarded_pool(self._listed), "http": HTTPConnectionPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing to add to the context."""

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        place, _ = super().build_connection_pool_key_attributes(request, True, None)
        return place, {}


def _guarded_pool(listed: Collection[str]) -> type[HTTPSConnectionPool]:
    class GuardedConnection(HTTPSConnection):
        """Looks at the address before it connects, and again after: the name may have been rebound in between."""

        def _new_conn(self) -> socket.socket:
            if f"{self.host}:{self.port}".lower() in listed:
                return super()._new_conn()
            for *_, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
                self._refuse_inside(str(address[0]))
            connected = super()._new_conn()
            try:
                self._refuse_inside(str(connected.getpeername()[0]))
            except BaseException:
                connected.close()
                raise
            return connected

        def _refuse_inside(self, address: str) -> None:
            if not is_public(address):
                raise ForbiddenAddress(self, f"{self.host} leads to {address}")

    class GuardedPool(HTTPSConnectionPool):
        ConnectionCls: Any = GuardedConnection

    return GuardedPool


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public Internet; IPv4 inside IPv6 is unpacked and judged as such."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):  # NAT64, RFC 6052
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


def host_of(url: str) -> str:
    """``host:port`` of a URL, for a sentence or a comparison; the scheme's port is added."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_url(url: str, where: str, *, plain_loopback: bool = False) -> str:
    """*url* as it is if it may carry a secret, else ValueError: https, a host, no user in it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{where} is no URL") from error
    loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not (plain_loopback and parts.scheme == "http" and loopback):
        raise ValueError(f"{where} must begin with https://: a secret would travel in the clear")
    if not parts.hostname or not parts.hostname.isascii():
        raise ValueError(f"{where} needs a host name in ASCII (an international name as xn--...)")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{where} must not hold a user or password")
    if parts.fragment or "\\" in url or not url.isprintable() or " " in url:
        raise ValueError(f"{where} holds characters that do not belong in a URL")
    return url


def explain(error: requests.RequestException, what: str, url: str) -> ProviderError:
    """An exception of requests as one sentence; its own text names addresses and is left out."""
    where = f"{what} at {host_of(url)}"
    reason: object = getattr(error.args[0], "reason", None) if error.args else None
    match error:
        case _ if isinstance(reason, ForbiddenAddress):
            return Unavailable(
                f"{where} leads to an address inside this network, and the configuration does not list it",
                retry_after=NOT_SOON,
            )
        case requests.exceptions.SSLError():
            return Unavailable(
                f"the certificate of {where} is not trusted: name the authority with ca_file", retry_after=NOT_SOON
            )
        case requests.exceptions.ProxyError():
            return Unavailable(f"{where} cannot be reached: the proxy refuses")
        case requests.exceptions.Timeout():
            return Unavailable(f"{where} did not answer in time")
        case requests.exceptions.ConnectionError():
            return Unavailable(f"{where} cannot be reached: is it running, and is the address right?")
        case _:
            return Unavailable(f"{where} cannot be asked ({type(error).__name__})")


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Made by hand: the helpers of ssl and urllib3 look at SSLKEYLOGFILE and SSL_CERT_FILE."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one, too
            raise ValueError(
                f"ca_file {ca_file} cannot be used: {error.strerror or 'it holds no certificate'}"
            ) from error
        return context
    paths = ssl.get_default_verify_paths()
    system_file, system_folder = Path(paths.openssl_cafile), Path(paths.openssl_capath)
    if system_file.is_file():
        context.load_verify_locations(cafile=system_file)
    elif system_folder.is_dir() and any(system_folder.iterdir()):
        context.load_verify_locations(capath=system_folder)
    else:  # macOS, Windows, a bare container: the list that requests brings along
        context.load_verify_locations(cafile=certifi.where())
    return context


def _read(response: requests.Response, where: str, until: float) -> bytes:
    """The body, read as it arrives so that a slow one is noticed, and never more than the limit."""
    body = bytearray()
    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > BODY_LIMIT:
                raise Unavailable(f"{where} answered with more than {BODY_LIMIT // 1024} KiB", retry_after=NOT_SOON)
            if time.monotonic() > until:
                raise Unavailable(f"{where} answered too slowly")
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError(error) from error
    return bytes(body)


def _judge_status(response: requests.Response, where: str, body: bytes) -> None:
    status = response.status_code
    answer = _object(body) if status >= 300 else {}
    if 300 <= status < 400:
        raise BadStatus(
            f"{where} answered with a redirect ({status}), which is not followed with a secret in hand: "
            "put the final address into the configuration",
            status,
            answer,
            retry_after=NOT_SOON,
        )
    if status == 429 or status >= 500:
        said = code_of(answer.get("error"))
        raise BadStatus(
            f"{where} answered {status}" + (f" ({said})" if said else ""),
            status,
            answer,
            retry_after=_retry_after(response.headers.get("Retry-After")),
        )


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def code_of(word: object) -> str:
    """*word* if it is an error code of OAuth that is known, else "".

    No other word of a server is repeated: it may be what the server was told, or what it keeps (T14).
    """
    return word if isinstance(word, str) and word in _CODES else ""


def _date(value: str | None) -> float | None:
    """RFC 9110 section 6.6.1."""
    try:
        return parsedate_to_datetime(value).timestamp() if value else None
    except (ValueError, OverflowError):
        return None


def _retry_after(value: str | None) -> float | None:
    """Seconds only; the date form of RFC 9110 section 10.2.3 is not worth a clock."""
    return float(value) if value and value.isascii() and value.isdigit() else None
