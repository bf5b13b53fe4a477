"""The ways to a Vault token: one that is there already, AppRole, userpass, JWT.

Each reads its secret from a file when it logs in, not when it is configured:
agents, Kubernetes and systemd replace these files while we run.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import hvac
import hvac.exceptions

from sipcli.credentials import Denied, NotFound, ProviderError, Secret, Unavailable
from sipcli_providers import _http
from sipcli_providers._answers import seconds_of
from sipcli_providers._options import Options
from sipcli_providers._secretfile import read_secret

METHODS = ("token", "approle", "userpass", "jwt")


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """A token and how long it lives.

    *ttl* is in seconds from *since* (monotonic), None if it does not end: the
    server's duration on our clock, so that no two clocks are compared.
    *borrowed*: somebody else obtained it, keeps it alive and may replace it.
    """

    token: Secret
    ttl: float | None = None
    renewable: bool = False
    borrowed: bool = False
    since: float = field(default_factory=time.monotonic)

    @property
    def due_at(self) -> float:
        """When two thirds of its life are over: time to renew, with time left to try again."""
        return math.inf if self.ttl is None else self.since + self.ttl * 2 / 3

    def is_due(self, now: float) -> bool:
        return now > self.due_at

    def left(self, now: float) -> float:
        """Seconds of life."""
        return math.inf if self.ttl is None else self.since + self.ttl - now

    def is_over(self, now: float) -> bool:
        return self.left(now) <= 0


class Login(Protocol):
    """One auth method.  *client* has no token; what goes wrong is raised as hvac or our own errors raise it.

    *once*: what it logs in with may work a single time, so its token must not end.
    """

    once: bool

    @property
    def file(self) -> Path | None:
        """What it logs in with; None if that cannot be replaced while we run."""
        ...

    def login(self, client: hvac.Client) -> Lease: ...

    def ended(self) -> ProviderError:
        """What to say when Vault no longer knows the token that :meth:`login` gives."""
        ...


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


class Wrapped:
    """A file with a wrapping token: it opens once, so that whoever carries it cannot read unnoticed what is in it.

    *made_by* is the pattern of the endpoint it must have been made by: a forged
    wrapping token would hand us somebody else's secret.
    """

    def __init__(self, file: Path, what: str, made_by: str) -> None:
        self.file = file
        self._what = what
        self._made_by = re.compile(made_by)
        self._opened: Secret | None = None

    def open(self, client: hvac.Client) -> Mapping[str, Any] | None:
        """The answer that was wrapped; None if the file holds what was opened before, or is gone since."""
        try:
            sealed = read_secret(self.file)
        except NotFound:
            if self._opened is None:
                raise
            return None
        if self._opened is not None and sealed == self._opened:
            return None
        try:
            return self._open(client, sealed)
        except (hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden) as error:
            raise Denied(
                f"the wrapped {self._what} was unwrapped already, or is too old: if that was not you, somebody else "
                f"has read it: revoke it, and put a new one into {self.file}",
                file=self.file,
            ) from error
        finally:
            client.token = ""

    def _open(self, client: hvac.Client, sealed: Secret) -> Mapping[str, Any]:
        token = text_of(sealed)
        made_at = client.adapter.post("/v1/sys/wrapping/lookup", json={"token": token})["data"]["creation_path"]
        if self._made_by.fullmatch(made_at) is None:
            raise Denied(
                f"the wrapped {self._what} was made elsewhere in Vault: somebody may have replaced it", file=self.file
            )
        client.token = token
        answer: Mapping[str, Any] = client.sys.unwrap()
        self._opened = sealed
        return answer


class TokenLogin:
    """A token somebody else obtained: a file, the sink of a Vault agent, or a variable that is named explicitly.

    Wrapped, it is ours from the moment it is opened: nobody else keeps it alive.
    """

    def __init__(self, options: Options) -> None:
        self.file = options.file("token_file")
        self._variable = options.optional("token_env")
        if (self.file is None) == (self._variable is None):
            raise ValueError(f'{options.where} needs token_file = "..." or token_env = "VAULT_TOKEN", one of them')
        self.once = options.flag("token_wrapped")
        if self.once and self.file is None:
            raise ValueError(f"{options.where} token_wrapped goes with token_file")
        self._wrapped: Wrapped | None = None
        if self.once and self.file is not None:
            self._wrapped = Wrapped(self.file, "token", r"auth/token/create(-orphan|/.+)?|auth/.+/login(/.+)?")

    def login(self, client: hvac.Client) -> Lease:
        if self._wrapped is not None:
            answer = self._wrapped.open(client)
            if answer is None:
                raise self.ended()
            return lease_of(answer)
        if self.file is not None:
            return Lease(read_secret(self.file), borrowed=True)
        value = os.environ.get(self._variable or "", "").strip()
        if not value:
            raise NotFound(f"the environment variable {self._variable} holds no Vault token")
        return Lease(Secret(value), borrowed=True)

    def ended(self) -> ProviderError:
        """A file may be replaced while we run, so it is only out of order; a variable stays as it is."""
        if self._wrapped is not None:
            return Denied(f"the Vault token has ended: put a new wrapped one into {self.file}", file=self.file)
        if self.file is None:
            return Denied(f"the Vault token in {self._variable} has expired or was revoked: start again with a new one")
        return Unavailable(
            f"the Vault token in {self.file} has expired or was revoked: does the agent that writes it still run?",
            retry_after=_http.NOT_SOON,
        )


class AppRoleLogin:
    """A role id and a secret id; the latter may come wrapped, so that whoever carries it cannot read it."""

    def __init__(self, options: Options) -> None:
        self._role_id = options.optional("role_id")
        self._role_id_file = options.file("role_id_file")
        self.file = options.file("secret_id_file")  # none: a role with bind_secret_id = false
        self.once = options.flag("secret_id_wrapped")
        self._mount = options.text("mount", "approle")
        self._wrapped: Wrapped | None = None
        if self.once and self.file is not None:
            made_by = rf"auth/{re.escape(self._mount)}/role/.+"
            self._wrapped = Wrapped(self.file, "secret id", made_by)
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
        if self.file is None:
            return None
        if self._wrapped is None:
            return read_secret(self.file)
        answer = self._wrapped.open(client)
        if answer is not None:  # what was in it serves every later login, until a new one lies there
            self._unwrapped = Secret(answer["data"]["secret_id"])
        return self._unwrapped

    def ended(self) -> ProviderError:
        return _refused_at_once("approle")


class UserpassLogin:
    """A user name and a password."""

    once = False

    def __init__(self, options: Options) -> None:
        self._username = options.required("username", "alice")
        self.file = options.required_file("password_file")
        self._mount = options.text("mount", "userpass")

    def login(self, client: hvac.Client) -> Lease:
        password = text_of(read_secret(self.file))
        return lease_of(client.auth.userpass.login(self._username, password, use_token=False, mount_point=self._mount))

    def ended(self) -> ProviderError:
        return _refused_at_once("userpass")


class JwtLogin:
    """A signed token of the platform we run on: Kubernetes, a CI system, SPIFFE."""

    once = False

    def __init__(self, options: Options) -> None:
        self._role = options.required("role", "sipcli")
        self.file = options.required_file("jwt_file")
        self._mount = options.text("mount", "jwt")
        # Kubernetes mounts its service account tokens 0644.
        self._allow_readable = options.flag("allow_readable")

    def login(self, client: hvac.Client) -> Lease:
        jwt = text_of(read_secret(self.file, allow_readable=self._allow_readable))
        return lease_of(client.auth.jwt.jwt_login(self._role, jwt, use_token=False, path=self._mount))

    def ended(self) -> ProviderError:
        return _refused_at_once("jwt")


def lease_of(answer: Mapping[str, Any]) -> Lease:
    """The token of a login's or a renewal's answer.  ValueError or TypeError if there is none in it."""
    auth = answer["auth"]
    token, ttl = Secret(auth["client_token"]), seconds_of(auth["lease_duration"])
    if not token or ttl is None or ttl < 0:
        raise ValueError("a login without a token, or one that lives no time that there is")
    return Lease(token, ttl or None, bool(auth["renewable"]))


def _refused_at_once(method: str) -> ProviderError:
    return Denied(f"Vault refuses the very token that its {method} login gave")


def text_of(secret: Secret) -> str:
    """For a header or a JSON body: what is not ASCII cannot be a token, and is not shown."""
    try:
        return secret.reveal().decode()
    except UnicodeDecodeError:
        raise Denied("a file with a Vault secret is not text") from None
