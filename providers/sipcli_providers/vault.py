"""Reads passwords from HashiCorp Vault or OpenBao (KV version 1 and 2), through ``hvac``.

We come when a server has challenged us; what keeps the token good meanwhile is
told in :mod:`sipcli_providers._vault_tokens`, what a failure means in
:mod:`sipcli_providers._vault_errors`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import hvac
import hvac.exceptions

from sipcli.credentials import (
    CredentialRequest,
    Credentials,
    Denied,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    Secret,
    Unavailable,
)
from sipcli_providers import _http
from sipcli_providers._answers import seconds_of
from sipcli_providers._lookup import Template, printable, user_of
from sipcli_providers._options import Options
from sipcli_providers._patience import Patience, Wait
from sipcli_providers._vault_errors import Explainer
from sipcli_providers._vault_login import make_login, text_of
from sipcli_providers._vault_tokens import Tokens

_STALE_LIFE = 60.0
"""Seconds for which a kept secret is good at a time: then Vault is asked again."""


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
        self._last_good = _LastGood(options.number("use_stale", 0))
        self._method, login = make_login(options.table("auth"))
        options.done()
        self._timeout = context.http_timeout
        self._session = _http.Session(http=http)
        self._explain = Explainer(self._url, self._session, self._method, login.file)
        self._tokens = Tokens(login, self._client, self._explain.login)
        self._patience = Patience(f"Vault at {_http.host_of(self._url)}", width=64)

    def get(self, request: CredentialRequest) -> PasswordCredentials:
        """Raises NotFound without the secret or its field, Denied for 403, Unavailable when sealed or unreachable."""
        request.cancel.raise_if_set()
        if request.scheme != "digest":
            raise NotFound(f"{self.name} holds passwords, and the server asks for a token")
        path = self._path.expand(request)
        try:
            credentials = self._credentials(path, request)
        except Unavailable:
            if request.rejected is not None or (kept := self._last_good.find(path)) is None:
                raise
            return kept
        except (Denied, NotFound):
            self._last_good.drop(path)
            raise
        self._last_good.keep(path, credentials)
        return credentials

    def forget(self, request: CredentialRequest, credentials: Credentials) -> None:
        """The server refused it: it is no longer the last good one."""
        self._last_good.drop(self._path.expand(request), credentials.secret)

    def _credentials(self, path: str, request: CredentialRequest) -> PasswordCredentials:
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
            raise Denied(
                f'the field "{self._field}" of {where} in Vault contains a line break, or half a character'
            ) from None

    def describe(self) -> str:
        return f"Vault at {_http.host_of(self._url)}, {self._mount}/{self._path.text}, login by {self._method}"

    def _read(self, path: str) -> _Found:
        """On a patience thread.  One new login if the token is refused; a second refusal is a refusal."""
        client = self._client()
        where = f"{self._mount}/{path}"
        try:
            lease = self._tokens.current()
            client.token = text_of(lease.token)
            try:
                return self._read_once(client, path)
            except hvac.exceptions.Forbidden:
                newer = self._tokens.after(lease)
                if newer.token == lease.token:
                    raise
                client.token = text_of(newer.token)
                return self._read_once(client, path)
        except Exception as error:
            rule = f"{self._mount}/data/{path}" if self._kv_version == 2 else where
            explained = self._explain.read(error, where, rule)
            if explained is error:
                raise
            raise explained from error

    def _read_once(self, client: hvac.Client, path: str) -> _Found:
        if self._kv_version is None:
            self._kv_version = self._detect(client)
        if self._kv_version == 1:
            answer = client.secrets.kv.v1.read_secret(path=path, mount_point=self._mount)
            # Version 1 has no lease; its lease_duration says how often to look again.
            life = seconds_of(answer.get("lease_duration"))
            return _Found(data=_fields(answer["data"]), expires_in=life if life is not None and life > 0 else None)
        answer = client.secrets.kv.v2.read_secret_version(
            path=path, mount_point=self._mount, version=self._version, raise_on_deleted_version=True
        )
        metadata = answer["data"]["metadata"]
        return _Found(
            data=_fields(answer["data"]["data"]),
            version=_version(metadata["version"]),
            expires_in=_seconds_until(metadata.get("deletion_time", ""), self._session.server_time),
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


class _LastGood:
    """``use_stale``: what was read last, for when Vault cannot be asked.  Never after a refusal by anybody."""

    def __init__(self, seconds: int) -> None:
        self.clock = time.monotonic
        self._seconds = seconds
        self._kept: dict[str, tuple[float, PasswordCredentials]] = {}
        self._lock = threading.Lock()

    def keep(self, path: str, credentials: PasswordCredentials) -> None:
        if self._seconds:
            own = replace(
                credentials, password=Secret(credentials.password.reveal())
            )  # ours: whoever gets it may wipe it
            with self._lock:
                self._kept[path] = (self.clock(), own)

    def drop(self, path: str, secret: Secret | None = None) -> None:
        """Forget what *path* gave; with *secret*, only if it was this one."""
        with self._lock:
            if path in self._kept and secret in (None, self._kept[path][1].password):
                del self._kept[path]

    def find(self, path: str) -> PasswordCredentials | None:
        with self._lock:
            read_at, credentials = self._kept.get(path, (0.0, None))
            age = self.clock() - read_at
            if credentials is None or age >= self._seconds:
                return None
            life = min(_STALE_LIFE, self._seconds - age)
            ref = f"{credentials.ref} (kept)"
            return replace(credentials, password=Secret(credentials.password.reveal()), expires_in=life, ref=ref)


def _fields(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("a secret without fields")
    return value


def _version(value: object) -> int:
    """It is shown to people, so that it may be nothing but a number."""
    if type(value) is not int:
        raise TypeError("a version that is no number")
    return value


def _text(data: Mapping[str, Any], name: str, where: str) -> str:
    value = data.get(name)
    if isinstance(value, int) and not isinstance(value, bool):  # a PIN that JSON took for a number
        value = str(value)
    if not isinstance(value, str) or not value:
        raise NotFound(f'{where} in Vault has no text in its field "{name}": name the right one with field = "..."')
    return value


def _seconds_until(moment: str, now: float | None) -> float | None:
    """RFC 3339 with nanoseconds, as Vault writes it, or empty: seconds from *now*, which is the server's clock, too.

    Our own clock is asked only where the server's answer had no date.
    """
    if not moment:
        return None
    try:
        then = datetime.fromisoformat(moment[:19] + "+00:00")
    except ValueError:
        return None
    return max(0.0, then.timestamp() - (time.time() if now is None else now))
