"""Reads passwords from HashiCorp Vault or OpenBao (KV version 1 and 2), through ``hvac``.

We come when a server has challenged us, so nothing runs in between: a token is
renewed when it is used and two thirds of its life are over, and obtained anew
when Vault no longer takes it - once, for an expired token and a missing
permission look alike (403).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import hvac
import hvac.exceptions
import requests

from sipcli.credentials import (
    CredentialRequest,
    Denied,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    ProviderError,
    Secret,
    Unavailable,
)
from sipcli_providers import _http
from sipcli_providers._lookup import Template, printable, user_of
from sipcli_providers._options import Options
from sipcli_providers._patience import Patience, Wait
from sipcli_providers._vault_login import Lease, Login, lease_of, make_login, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A secret's fields and what Vault says about it; *expires_in* in seconds."""

    data: Mapping[str, Any]
    version: int | None = None
    expires_in: float | None = None


class VaultProvider:
    """``type = "vault"``; see docs/providers/vault.md for the options."""

    interactive = False

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        options = Options(context.options, where=f"[providers.{context.name}]")
        self._url = _http.check_url(
            options.required("url", "https://vault.example.com:8200"), f"{options.where} url", plain_loopback=True
        )
        self._mount = options.text("mount", "secret").strip("/")
        self._path = Template(options.required("path", "voip/{username}").strip("/"), key=f"{options.where} path")
        self._field = options.text("field", "password")
        self._username_field = options.optional("username_field")
        self._version = options.number("version", 0) or None
        self._namespace = options.optional("namespace")
        self._kv_version = options.number("kv_version", 0) or None
        if self._kv_version not in (None, 1, 2):
            raise ValueError(f"{options.where} kv_version must be 1 or 2, or absent to be detected")
        http = _http.Http(
            ca_file=options.file("ca_file"), proxy=options.optional("proxy"), timeout=context.http_timeout
        )
        self._method, login = make_login(options.table("auth"))
        options.done()
        self._timeout = context.http_timeout
        self._session = _http.Session(http=http)
        self._tokens = _Tokens(login)
        self._patience = Patience(f"Vault at {_http.host_of(self._url)}", width=64)

    def get(self, request: CredentialRequest) -> PasswordCredentials:
        """Raises NotFound without the secret or its field, Denied for 403, Unavailable when sealed or unreachable."""
        request.cancel.raise_if_set()
        if request.scheme != "digest":
            raise NotFound(f"{self.name} holds passwords, and the server asks for a token")
        path = self._path.expand(request)
        found = self._patience.run(lambda: self._read(path), Wait.of(request))
        where = f"{self._mount}/{path}"
        username = _text(found.data, self._username_field, where) if self._username_field else user_of(request)
        version = f"#{found.version}" if found.version else ""
        try:
            return PasswordCredentials(
                username,
                Secret(_text(found.data, self._field, where)),
                expires_in=found.expires_in,
                ref=f"{self.name}:{path}{version}",
            )
        except ValueError:
            raise Denied(f'the field "{self._field}" of {where} in Vault contains a line break') from None

    def describe(self) -> str:
        return f"Vault at {_http.host_of(self._url)}, {self._mount}/{self._path.text}, login by {self._method}"

    def _read(self, path: str) -> _Found:
        """On a patience thread.  One new login if the token is refused; a second refusal is a refusal."""
        try:
            client = self._client()
            lease = self._tokens.current(client)
            client.token = text_of(lease.token)
            try:
                return self._read_once(client, path)
            except hvac.exceptions.Forbidden:
                newer = self._tokens.after(lease, client)
                if newer.token == lease.token:
                    raise
                client.token = text_of(newer.token)
                return self._read_once(client, path)
        except ProviderError:
            raise
        except Exception as error:
            self._raise_explained(error, path)

    def _read_once(self, client: hvac.Client, path: str) -> _Found:
        if self._kv_version is None:
            self._kv_version = self._detect(client)
        if self._kv_version == 1:
            answer = client.secrets.kv.v1.read_secret(path=path, mount_point=self._mount)
            # Version 1 has no lease; its lease_duration says how often to look again.
            return _Found(data=_fields(answer["data"]), expires_in=float(answer.get("lease_duration") or 0) or None)
        answer = client.secrets.kv.v2.read_secret_version(
            path=path, mount_point=self._mount, version=self._version, raise_on_deleted_version=True
        )
        metadata = answer["data"]["metadata"]
        return _Found(
            data=_fields(answer["data"]["data"]),
            version=metadata["version"],
            expires_in=_seconds_until(metadata.get("deletion_time", "")),
        )

    def _detect(self, client: hvac.Client) -> int:
        """What the web interface asks, too: allowed to every token that may read anything below the mount."""
        mount = client.adapter.get(f"/v1/sys/internal/ui/mounts/{self._mount}")["data"]
        if mount["type"] not in ("kv", "generic"):
            kind = printable(mount["type"], 40)
            raise Denied(f'mount "{self._mount}" in Vault is of type {kind}: passwords are read from kv')
        return int((mount.get("options") or {}).get("version", 1))

    def _client(self) -> hvac.Client:
        # Every argument is given, even where it looks like the default: hvac fills a None from VAULT_ADDR,
        # VAULT_TOKEN, ~/.vault-token, VAULT_CACERT and VAULT_CLIENT_CERT.
        settings: dict[str, Any] = {
            "url": self._url,
            "token": "",
            "namespace": self._namespace,
            "session": self._session,
            "timeout": self._timeout,
            "allow_redirects": False,
            "verify": True,
            "cert": False,
            "proxies": {},
        }
        return hvac.Client(**settings)

    def _raise_explained(self, error: Exception, path: str) -> NoReturn:
        where = f"{self._mount}/{path}"
        match error:
            case requests.RequestException():
                raise _http.explain(error, "Vault", self._url) from error
            case hvac.exceptions.InvalidPath():
                raise NotFound(f"Vault has no secret at {where}") from error
            case hvac.exceptions.Forbidden() | hvac.exceptions.Unauthorized():
                inner = f"{self._mount}/data/{path}" if self._kv_version == 2 else where
                raise Denied(
                    f"Vault refuses {where} (403): the {self._method} token needs a policy with read on {inner}"
                ) from error
            case hvac.exceptions.InvalidRequest():
                raise Denied(
                    f"Vault refuses the {self._method} login (400): look at the role and at the secret's age"
                ) from error
            case hvac.exceptions.VaultError():
                raise Unavailable(
                    f"Vault failed ({type(error).__name__}): try `bao status` or `vault status`"
                ) from error
            case KeyError() | TypeError() | ValueError() | AttributeError():
                raise Unavailable(
                    f"what answers at {_http.host_of(self._url)} does not speak like Vault: look at url and namespace",
                    retry_after=_http.NOT_SOON,
                ) from error
            case _:
                raise error


class _Tokens:
    """The token in use.  Logins are made one at a time: forty waiting accounts need one, not forty."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._lock = threading.Lock()
        self._lease: Lease | None = None

    def current(self, client: hvac.Client) -> Lease:
        """The token to use now: kept, renewed, or obtained."""
        with self._lock:
            if self._lease is None or self._lease.borrowed:
                self._lease = self._login.login(client)
            elif self._lease.is_due():
                self._lease = self._renewed(self._lease, client) or self._login.login(client)
            return self._lease

    def after(self, refused: Lease, client: hvac.Client) -> Lease:
        """The token to use after *refused* was: another thread's newer one, or a new login."""
        with self._lock:
            if self._lease is refused:
                client.token = ""
                self._lease = self._login.login(client)
            assert self._lease is not None  # current() gave us *refused*
            return self._lease

    def _renewed(self, lease: Lease, client: hvac.Client) -> Lease | None:
        """None when it cannot be renewed: then a login is due, and nothing is lost by trying."""
        if not lease.renewable:
            return None
        client.token = text_of(lease.token)
        try:
            renewed = lease_of(client.auth.token.renew_self())
        except (hvac.exceptions.VaultError, KeyError, TypeError):
            return None
        finally:
            client.token = ""
        # At its max TTL a token is "renewed" for the seconds that are left of it; that is an end, not a renewal.
        return renewed if lease.ttl and renewed.ttl and renewed.ttl > lease.ttl / 3 else None


def _fields(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("a secret without fields")
    return value


def _text(data: Mapping[str, Any], name: str, where: str) -> str:
    value = data.get(name)
    if isinstance(value, int) and not isinstance(value, bool):  # a PIN that JSON took for a number
        value = str(value)
    if not isinstance(value, str) or not value:
        raise NotFound(f'{where} in Vault has no text in its field "{name}": name the right one with field = "..."')
    return value


def _seconds_until(moment: str) -> float | None:
    """RFC 3339 with nanoseconds, as Vault writes it, or empty: seconds from now."""
    if not moment:
        return None
    try:
        then = datetime.fromisoformat(moment[:19] + "+00:00")
    except ValueError:
        return None
    return max(0.0, then.timestamp() - time.time())
