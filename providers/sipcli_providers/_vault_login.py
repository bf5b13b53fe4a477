"""The ways to a Vault token: one that is there already, AppRole, userpass, JWT.

Each reads its secret from a file when it logs in, not when it is configured:
agents, Kubernetes and systemd replace these files while we run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import hvac
import hvac.exceptions

from sipcli.credentials import Denied, NotFound, Secret
from sipcli_providers._options import Options
from sipcli_providers._secretfile import read_secret

METHODS = ("token", "approle", "userpass", "jwt")


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """A token and how long it lives.

    *ttl* is in seconds from *since* (monotonic), None if it does not end.
    *borrowed*: somebody else obtained it, keeps it alive and may replace it.
    """

    token: Secret
    ttl: float | None = None
    renewable: bool = False
    borrowed: bool = False
    since: float = field(default_factory=time.monotonic)

    def is_due(self) -> bool:
        """Two thirds of its life are over: time to renew, with time left to try again."""
        return self.ttl is not None and time.monotonic() > self.since + self.ttl * 2 / 3


class Login(Protocol):
    """One auth method.  *client* has no token; what goes wrong is raised as hvac or our own errors raise it."""

    def login(self, client: hvac.Client) -> Lease: ...


def make_login(options: Options | None) -> tuple[str, Login]:
    """The method's name and its login, from ``auth = { method = "...", ... }``.  ValueError with one sentence."""
    if options is None:
        raise ValueError('a vault provider needs auth, for example auth = { method = "token", token_file = "..." }')
    method = options.choice("method", METHODS)
    login: Login
    match method:
        case "token":
            login = TokenLogin(options)
        case "approle":
            login = AppRoleLogin(options)
        case "userpass":
            login = UserpassLogin(options)
        case _:
            login = JwtLogin(options)
    options.done()
    return method, login


class TokenLogin:
    """A token somebody else obtained: a file, the sink of a Vault agent, or a variable that is named explicitly."""

    def __init__(self, options: Options) -> None:
        self._file = options.file("token_file")
        self._variable = options.optional("token_env")
        if (self._file is None) == (self._variable is None):
            raise ValueError(f'{options.where} needs token_file = "..." or token_env = "VAULT_TOKEN", one of them')

    def login(self, client: hvac.Client) -> Lease:
        if self._file is not None:
            return Lease(read_secret(self._file), borrowed=True)
        value = os.environ.get(self._variable or "", "").strip()
        if not value:
            raise NotFound(f"the environment variable {self._variable} holds no Vault token")
        return Lease(Secret(value), borrowed=True)


class AppRoleLogin:
    """A role id and a secret id; the latter may come wrapped, so that whoever carries it cannot read it."""

    def __init__(self, options: Options) -> None:
        self._role_id = options.optional("role_id")
        self._role_id_file = options.file("role_id_file")
        self._secret_id_file = options.file("secret_id_file")  # none: a role with bind_secret_id = false
        self._wrapped = options.flag("secret_id_wrapped")
        self._mount = options.text("mount", "approle")
        self._unwrapped: Secret | None = None
        if (self._role_id is None) == (self._role_id_file is None):
            raise ValueError(f'{options.where} needs role_id = "..." or role_id_file = "...", one of them')

    def login(self, client: hvac.Client) -> Lease:
        role_id = self._role_id if self._role_id_file is None else text_of(read_secret(self._role_id_file))
        secret_id = self._secret_id(client)
        return lease_of(
            client.auth.approle.login(
                role_id, text_of(secret_id) if secret_id else None, use_token=False, mount_point=self._mount
            )
        )

    def _secret_id(self, client: hvac.Client) -> Secret | None:
        if self._secret_id_file is None:
            return None
        if not self._wrapped:
            return read_secret(self._secret_id_file)
        if self._unwrapped is None:  # a wrapping token works once: what was in it serves every later login
            self._unwrapped = self._unwrap(client, self._secret_id_file)
        return self._unwrapped

    def _unwrap(self, client: hvac.Client, file: Path) -> Secret:
        token = text_of(read_secret(file))
        try:
            made_at = client.adapter.post("/v1/sys/wrapping/lookup", json={"token": token})["data"]["creation_path"]
            # A forged wrapping token would hand us somebody else's secret id: it must come from our role's endpoint.
            if not made_at.startswith(f"auth/{self._mount}/role/"):
                raise Denied("the wrapped secret id was not made by this AppRole mount: somebody may have replaced it")
            client.token = token
            return Secret(client.sys.unwrap()["data"]["secret_id"])
        except (hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden) as error:
            raise Denied(
                "the wrapped secret id was unwrapped already, or is too old: if that was not you, somebody else "
                f"has read it; put a new one into {file}"
            ) from error
        finally:
            client.token = ""


class UserpassLogin:
    """A user name and a password."""

    def __init__(self, options: Options) -> None:
        self._username = options.required("username", "alice")
        self._password_file = options.required_file("password_file")
        self._mount = options.text("mount", "userpass")

    def login(self, client: hvac.Client) -> Lease:
        password = text_of(read_secret(self._password_file))
        return lease_of(client.auth.userpass.login(self._username, password, use_token=False, mount_point=self._mount))


class JwtLogin:
    """A signed token of the platform we run on: Kubernetes, a CI system, SPIFFE."""

    def __init__(self, options: Options) -> None:
        self._role = options.required("role", "sipcli")
        self._jwt_file = options.required_file("jwt_file")
        self._mount = options.text("mount", "jwt")
        # Kubernetes mounts its service account tokens 0644.
        self._allow_readable = options.flag("allow_readable")

    def login(self, client: hvac.Client) -> Lease:
        jwt = text_of(read_secret(self._jwt_file, allow_readable=self._allow_readable))
        return lease_of(client.auth.jwt.jwt_login(self._role, jwt, use_token=False, path=self._mount))


def lease_of(answer: Mapping[str, Any]) -> Lease:
    """The token of a login's or a renewal's answer."""
    auth = answer["auth"]
    return Lease(Secret(auth["client_token"]), float(auth["lease_duration"]) or None, bool(auth["renewable"]))


def text_of(secret: Secret) -> str:
    """For a header or a JSON body: what is not ASCII cannot be a token, and is not shown."""
    try:
        return secret.reveal().decode()
    except UnicodeDecodeError:
        raise Denied("a file with a Vault secret is not text") from None
