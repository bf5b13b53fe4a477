"""Gets a token from an OAuth 2 server and turns it into what the SIP server wants, through ``requests-oauthlib``.

``use = "bearer"``: the token answers an RFC 8898 challenge.  ``use =
"password"``: the token is the digest password.  ``use = "fetch"``: the SIP
password is fetched from ``password_url`` with the token.

What the SIP server says about its authorization server is compared with the
configuration and otherwise ignored: RFC 8898 section 2.1.1 demands a list of
trusted servers, and ours has one entry.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from sipcli.credentials import (
    BearerCredentials,
    CredentialRequest,
    Credentials,
    Denied,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    Secret,
    Terminal,
    Unavailable,
)
from sipcli_providers import _http
from sipcli_providers._answers import seconds_of
from sipcli_providers._lookup import Template, bare_aor, printable, user_of
from sipcli_providers._oauth_client import GrantGone, OAuthClient, Token
from sipcli_providers._oauth_server import Endpoints
from sipcli_providers._oauth_signin import SignIn
from sipcli_providers._oauth_store import InFile, InKeychain, Place, TokenStore
from sipcli_providers._options import Options
from sipcli_providers._patience import Wait

FLOWS = ("client_credentials", "device", "code")
USES = ("bearer", "password", "fetch")

_SHORTEST_USE = 2.0
"""Seconds a token must live to be worth sending."""
_LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class _Account:
    """What we hold for one account.  *lock* is held while its token is obtained: rotation allows one at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: Token | None = None
    handed_out: bool = False
    renewed_at: int | None = None
    """The attempt at which the server's refusal made us renew: a refusal after that is final."""
    failures: int = 0
    not_before: float = 0.0
    """While the old token lives, no new one is asked for before this (monotonic)."""


class OAuthProvider:
    """``type = "oauth"``; see docs/providers/oauth.md for the options.

    Not *interactive* in the contract's sense: the person signs in elsewhere, so
    it neither needs the terminal nor blocks the prompts that do.
    """

    interactive = False

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        options = Options(context.options, where=f"[providers.{context.name}]")
        self._flow = options.choice("flow", FLOWS)
        self._use = options.choice("use", USES, "bearer")
        endpoints = _configured_endpoints(options, self._flow)
        self._issuer = endpoints.issuer
        self._authz_server = options.optional("authz_server") or self._issuer
        self._password = _PasswordPlace(options, self._use)
        if self._use == "bearer" and self._authz_server is None:
            raise ValueError(f'{options.where} needs issuer, for the SIP server names it when it asks for "bearer"')
        http = _http.Http(
            ca_file=options.file("ca_file"),
            proxy=options.optional("proxy"),
            timeout=context.http_timeout,
            listed=_listed(endpoints, self._password.url),
        )
        self._session = _http.Session(http=http)
        self._client = OAuthClient(
            client_id=options.required("client_id", "sipcli"),
            secret_file=_client_secret(options, self._flow),
            scope=options.texts("scope"),
            audience=options.optional("audience"),
            endpoints=endpoints,
            http=http,
            token_issuer=options.optional("token_issuer"),
            bearer=self._use != "password",
        )
        self._terminal = context.terminal
        self._signin = _sign_in(options, self.name, self._client, context.terminal)
        place = _place(options, self._issuer or str(endpoints.token))
        self._store = TokenStore(place, context.terminal, self.name) if place else None
        self._kept = f", refresh token in {place.name}" if place else ""
        options.done()
        self._accounts: dict[str, _Account] = {}
        self._guard = threading.Lock()

    def get(self, request: CredentialRequest) -> Credentials:
        """NotFound for another scheme, another server, or when nobody may be asked to sign in; Denied if refused."""
        wait = Wait.of(request)
        wait.cancel.raise_if_set()
        self._check_asked(request)
        account = self._account(request)
        with _held(account.lock, wait, self._client.what):
            token = self._token(account, request, wait)
            credentials = self._credentials(account, token, request, wait)
            account.handed_out = True
            return credentials

    def forget(self, request: CredentialRequest, credentials: Credentials) -> None:
        """Drop the access token that was refused; the refresh token is not to blame."""
        account = self._account(request)
        with _held(account.lock, Wait.of(request), self._client.what):
            if account.token is not None and account.token.access == credentials.secret:
                account.token = Token(account.token.access, account.token.refresh, expires_at=0.0, born=0.0)

    def describe(self) -> str:
        where = self._client.what.removeprefix("the login server ")
        return f"OAuth {self._flow} at {where}, used as {self._use}{self._kept}"

    # -- which token ------------------------------------------------------------------------------------------------

    def _check_asked(self, request: CredentialRequest) -> None:
        wanted = "bearer" if self._use == "bearer" else "digest"
        if request.scheme != wanted:
            asked = "a token" if request.scheme == "bearer" else "a password"
            raise NotFound(f'{self.name} is configured as use = "{self._use}", and the server asks for {asked}')
        # Compared octet by octet: every normalisation is a look-alike waiting to be found (threat T09).
        if wanted == "bearer" and request.authz_server != self._authz_server:
            named = printable(request.authz_server or "no server", 100)
            raise NotFound(
                f"the server wants a token of {named}, and {self.name} is configured for {self._authz_server}"
            )

    def _token(self, account: _Account, request: CredentialRequest, wait: Wait) -> Token:
        """A fresh one, under the account's lock: kept, refreshed, or obtained."""
        refused = request.rejected is not None and request.rejected.provider == self.name and account.handed_out
        if refused and account.renewed_at is not None and request.attempt > account.renewed_at:
            raise Denied(f"the SIP server refuses the tokens of {self._client.what}, also a new one: look at scope")
        old = None if refused else account.token
        if old is not None and (old.is_fresh() or (_serves(old) and time.monotonic() < account.not_before)):
            return old
        try:
            account.token = self._obtain(account, request, wait)
        except (Unavailable, NotFound) as error:
            if old is None or not _serves(old):
                raise
            account.failures += 1
            longest = min(_LONGEST_PAUSE, 2.0 ** min(account.failures, 10))
            asked = min(error.retry_after or 0.0, longest) if isinstance(error, Unavailable) else 0.0
            pause = random.uniform(longest / 2, longest)  # noqa: S311 - a pause, no secret
            account.not_before = time.monotonic() + max(pause, asked)
            return old
        account.handed_out = False
        account.failures = 0
        account.renewed_at = request.attempt if refused else None
        return account.token

    def _obtain(self, account: _Account, request: CredentialRequest, wait: Wait) -> Token:
        if self._flow == "client_credentials":
            return self._client.by_client_credentials(wait)
        held = account.token.refresh if account.token is not None else None
        with self._store.held(wait) if self._store else contextlib.nullcontext():
            token, refused = self._refreshed(held, request, wait)
        if token is None:
            if account.token is not None and refused:
                account.token = replace(account.token, refresh=None)  # none of those we had is tried again
            token = self._signed_in(request, wait, refused=refused)
            with self._store.held(wait) if self._store else contextlib.nullcontext():
                self._keep(request, token, None, wait)
        return token

    def _refreshed(self, held: Secret | None, request: CredentialRequest, wait: Wait) -> tuple[Token | None, bool]:
        """By the newest refresh token, or None, and whether one was refused.

        Another process may have rotated the stored one meanwhile.
        """
        stored = self._store.find(bare_aor(request), wait) if self._store else None
        candidates = [secret for secret in (stored, held) if secret is not None]
        if len(candidates) == 2 and candidates[0] == candidates[1]:
            candidates.pop()
        for refresh in candidates:
            try:
                token = self._client.by_refresh(refresh, wait)
            except GrantGone:
                if self._store:
                    self._store.erase(bare_aor(request), refresh, wait)
                continue
            self._keep(request, token, refresh, wait)
            return token, False
        return None, bool(candidates)

    def _signed_in(self, request: CredentialRequest, wait: Wait, *, refused: bool) -> Token:
        if refused:
            # A server that rotates takes a second use for theft, and ends the whole sign-in (RFC 9700 section 4.14).
            self._terminal.show(
                f"{self.name}: {self._client.what} no longer takes the sign-in that was kept (invalid_grant): it was "
                "revoked, is too old, or was used elsewhere; if no other sipcli has it, somebody may have copied it"
            )
        if not request.interactive:
            raise NotFound(
                f"somebody has to sign in at {self._client.what}, and nobody may be asked now: "
                f"run sipcli auth test {printable(request.account)}"
            )
        return self._signin.by_device(wait) if self._flow == "device" else self._signin.by_browser(wait)

    def _keep(self, request: CredentialRequest, token: Token, before: Secret | None, wait: Wait) -> None:
        """Store a new refresh token: after a rotation the old one is dead, or worse, an alarm (RFC 9700)."""
        if self._store and token.refresh is not None and (before is None or token.refresh != before):
            patient = wait.until(max(wait.deadline, token.born + 10.0))
            self._store.save(bare_aor(request), token.refresh, patient)

    # -- what is made of it -----------------------------------------------------------------------------------------

    def _credentials(self, account: _Account, token: Token, request: CredentialRequest, wait: Wait) -> Credentials:
        host = urlsplit(self._issuer or "").hostname or self._client.client_id
        ref = f"{self.name}:{host}"
        try:
            match self._use:
                case "bearer":
                    return BearerCredentials(_copy(token.access), expires_in=_life(account, token), ref=ref)
                case "password":
                    life = _life(account, token)
                    return PasswordCredentials(user_of(request), _copy(token.access), expires_in=life, ref=ref)
                case _:
                    wait = wait.until(max(wait.deadline, token.born + 10.0))
                    return self._fetched(account, token, request, wait)
        except ValueError:
            raise Denied(f"{self._client.what} gave a token with a line break in it") from None

    def _fetched(self, account: _Account, token: Token, request: CredentialRequest, wait: Wait) -> PasswordCredentials:
        """The password from its URL; a token that is refused there is renewed once."""
        answer = self._ask_password(token, request, wait)
        if answer.status_code == 401:
            account.token = self._obtain(account, request, wait)
            answer = self._ask_password(account.token, request, wait)
        return self._password.read(answer, request, self.name)

    def _ask_password(self, token: Token, request: CredentialRequest, wait: Wait) -> requests.Response:
        url = self._password.expand(request)
        bearer = {"Authorization": f"Bearer {token.access.reveal().decode()}", "Accept": "application/json"}
        try:
            answer: requests.Response = self._client.call(lambda: self._session.get(url, headers=bearer), wait)
        except requests.RequestException as error:
            raise _http.explain(error, "the password's place", url) from error
        return answer

    def _account(self, request: CredentialRequest) -> _Account:
        """By aor: a token must not serve another identity than the one it was obtained for."""
        with self._guard:
            return self._accounts.setdefault(bare_aor(request), _Account())


class _PasswordPlace:
    """``password_url``, ``password_field`` and ``username_field`` of ``use = "fetch"``."""

    def __init__(self, options: Options, use: str) -> None:
        text = options.text("password_url", "")
        self._field = options.text("password_field", "password")
        self._username_field = options.optional("username_field")
        if (use == "fetch") != bool(text):
            missing = 'use = "fetch" needs password_url' if use == "fetch" else 'password_url goes with use = "fetch"'
            raise ValueError(f"{options.where} {missing}")
        self._template = Template(text, key=f"{options.where} password_url")
        self.url: str | None = None
        if text:
            if "{" in urlsplit(text).netloc:
                raise ValueError(f"{options.where} password_url must not have its host filled in")
            self.url = _http.check_url(text.replace("{", "").replace("}", ""), f"{options.where} password_url")

    def expand(self, request: CredentialRequest) -> str:
        return self._template.expand_url(request)

    def read(self, answer: requests.Response, request: CredentialRequest, name: str) -> PasswordCredentials:
        """The credentials in the JSON object that came back."""
        where = _http.host_of(str(self.url))
        if answer.status_code in (404, 410):
            raise NotFound(f"{where} has no password for {printable(user_of(request))}")
        if answer.status_code != 200:
            raise Denied(f"{where} refuses the token ({answer.status_code}): look at scope and password_url")
        try:
            found: Any = json.loads(answer.content)
        except ValueError:
            found = None
        password = found.get(self._field) if isinstance(found, dict) else None
        if not isinstance(password, str) or not password:
            raise NotFound(f'the answer of {where} has no text in its field "{self._field}": look at password_field')
        username = found.get(self._username_field) if self._username_field else user_of(request)
        if not isinstance(username, str) or not username:
            raise NotFound(f'the answer of {where} has no text in its field "{self._username_field}"')
        seconds = seconds_of(found.get("expires_in"))
        life = seconds if seconds is not None and seconds > 0 else None
        try:
            return PasswordCredentials(username, Secret(password), expires_in=life, ref=f"{name}:{where}")
        except ValueError:
            raise Denied(f"{where} gave a password with a line break, or half a character, in it") from None


@contextlib.contextmanager
def _held(lock: threading.Lock, wait: Wait, what: str) -> Iterator[None]:
    """*lock*, waited for until told to stop: whoever holds it may be waiting for a person."""
    while not lock.acquire(timeout=0.1):
        wait.cancel.raise_if_set()
        if wait.left() <= 0:
            raise Unavailable(f"another look-up is still waiting for {what}")
    try:
        yield
    finally:
        lock.release()


def _serves(token: Token) -> bool:
    """It lives long enough to be sent and looked at, however soon it is to be replaced."""
    left = token.left()
    return left is None or left > _SHORTEST_USE


def _life(account: _Account, token: Token) -> float | None:
    """How long the token is to be used before we are asked again: renewed before its end, not after (A28)."""
    if token.is_fresh():
        return token.usable()
    return max(_SHORTEST_USE, min(token.left() or 0.0, account.not_before - time.monotonic()))


def _place(options: Options, issuer: str) -> Place | None:
    store = options.choice("store", ("none", "keychain", "file"), "none")
    file = options.file("store_file")
    if (store == "file") != (file is not None):
        raise ValueError(f'{options.where} store = "file" and store_file = "..." go together')
    if file is not None:
        return InFile(file)
    return InKeychain(issuer) if store == "keychain" else None


def _configured_endpoints(options: Options, flow: str) -> Endpoints:
    def url(key: str) -> str | None:
        value = options.optional(key)
        return _http.check_url(value, f"{options.where} {key}") if value else None

    known = Endpoints(
        issuer=url("issuer"), token=url("token_url"), device=url("device_url"), authorize=url("authorize_url")
    )
    needed = {"device": known.device, "code": known.authorize, "client_credentials": known.token}[flow]
    if known.issuer is None and (known.token is None or needed is None):
        more = {"device": " and device_url", "code": " and authorize_url", "client_credentials": ""}[flow]
        raise ValueError(f'{options.where} needs issuer = "https://...", or token_url{more}')
    return known


def _listed(endpoints: Endpoints, password_url: str | None) -> set[str]:
    urls = (endpoints.issuer, endpoints.token, endpoints.device, endpoints.authorize, password_url)
    return {_http.host_of(url).lower().replace("[", "").replace("]", "") for url in urls if url}


def _client_secret(options: Options, flow: str) -> Path | None:
    file = options.file("client_secret_file")
    if flow == "client_credentials" and file is None:
        raise ValueError(f'{options.where} flow = "client_credentials" needs client_secret_file')
    return file


def _sign_in(options: Options, name: str, client: OAuthClient, terminal: Terminal) -> SignIn:
    return SignIn(
        name,
        client,
        terminal,
        hosts=options.texts("verification_hosts"),
        redirect_port=options.number("redirect_port", 0),
        browser=options.flag("browser", True),
    )


def _copy(secret: Secret) -> Secret:
    """For whoever gets it may wipe it, and the next one wants it, too."""
    return Secret(secret.reveal())
