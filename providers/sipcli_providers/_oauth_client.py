"""Speaks to a token endpoint through ``requests-oauthlib``: one method per grant, our errors, no switch of the process.

Traps of the libraries, each met by running them:

* a granted scope that differs from the asked one arrives as a ``Warning`` that
  is *raised*; the token is inside it.  ``OAUTHLIB_RELAX_TOKEN_SCOPE`` would
  change that for the whole process, so the exception is caught;
* requests-oauthlib logs requests, responses and tokens at DEBUG;
* a client id and secret for HTTP Basic must be form-encoded first (RFC 6749
  section 2.3.1); requests does not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote_plus

import requests
from oauthlib.oauth2 import BackendApplicationClient, Client, DeviceClient, OAuth2Error, WebApplicationClient
from oauthlib.oauth2.rfc6749 import errors
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from sipcli.credentials import Denied, ProviderError, Secret, Unavailable
from sipcli_providers import _http
from sipcli_providers._answers import seconds_of
from sipcli_providers._oauth_jwt import check_claims, claims_of, life_of
from sipcli_providers._oauth_server import Endpoints, discover
from sipcli_providers._patience import Patience, Wait
from sipcli_providers._secretfile import read_secret

# Their DEBUG lines hold tokens and client secrets; the level of the root logger must not bring them to light.
for _name in ("requests_oauthlib", "oauthlib"):
    logging.getLogger(_name).setLevel(logging.WARNING)

T = TypeVar("T")

_SHORTEST_MARGIN = 30.0


class Pending(Exception):
    """The person has not decided yet (RFC 8628 section 3.5).  *slower*: the server wants longer pauses."""

    def __init__(self, *, slower: bool) -> None:
        super().__init__("slow_down" if slower else "authorization_pending")
        self.slower = slower


class CodeExpired(Unavailable):
    """``expired_token``: nobody used the device code in time (RFC 8628 section 3.5)."""


class GrantGone(Denied):
    """``invalid_grant``: the code or refresh token was used, revoked or is too old."""


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """An access token, and how to get the next one.  *expires_at* is on time.monotonic's clock."""

    access: Secret
    refresh: Secret | None = None
    expires_at: float | None = None
    born: float = field(default_factory=time.monotonic)

    def left(self) -> float | None:
        """Seconds of life, None if the server did not say."""
        return None if self.expires_at is None else max(0.0, self.expires_at - time.monotonic())

    def usable(self) -> float | None:
        """Seconds until it should be replaced: what is left when it is sent must suffice to be checked, too.

        Half a minute before its end, or after two thirds of a short life; None if it does not end.
        """
        left = self.left()
        if left is None or self.expires_at is None:
            return None
        return max(0.0, left - min(_SHORTEST_MARGIN, (self.expires_at - self.born) / 3))

    def is_fresh(self) -> bool:
        usable = self.usable()
        return usable is None or usable > 0


class _OAuthSession(_http.Session, OAuth2Session):  # type: ignore[misc]
    """requests-oauthlib's session on our way out."""


_Answer: TypeAlias = tuple[Mapping[str, Any], float | None]
"""What a token endpoint said, and what its clock showed."""


def _dated(session: _OAuthSession, exchange: Callable[[], Mapping[str, Any]]) -> _Answer:
    try:
        answer = exchange()
    except Warning as warning:  # the scope was changed; what was granted is what we have
        answer = getattr(warning, "token", {})
    return answer, session.server_time


class OAuthClient:
    """One client of one authorization server.  Safe from several threads; every call blocks and is cancellable."""

    def __init__(
        self,
        *,
        client_id: str,
        secret_file: Path | None,
        scope: tuple[str, ...],
        audience: str | None,
        endpoints: Endpoints,
        http: _http.Http,
        token_issuer: str | None = None,
        bearer: bool = True,
    ) -> None:
        """*token_issuer*: what a token may name as its issuer, the server's own by default.

        *bearer*: the token is sent as one, and so must be of that type (RFC 6749 section 7.1).
        """
        self._bearer = bearer
        self.client_id = client_id
        self._token_issuer = token_issuer or endpoints.issuer
        self.scope = scope
        self._secret_file = secret_file
        self._audience = audience
        self._configured = endpoints
        self._discovered: Endpoints | None = None
        self._http = http
        self._plain = _http.Session(http=http)
        self.what = f"the login server {_http.host_of(endpoints.issuer or endpoints.token or '')}"
        self._patience = Patience(self.what, width=16)

    def endpoints(self, wait: Wait) -> Endpoints:
        """What the configuration and the server's metadata say; asked for once."""
        found, known = self._discovered, self._configured
        if found is None:
            found = self.call(lambda: discover(self._plain, known), wait) if known.issuer else known
            self._discovered = found
        return found

    def call(self, function: Callable[[], T], wait: Wait) -> T:
        """Run one HTTP exchange; its errors come out as ours."""
        try:
            return self._patience.run(function, wait)
        except requests.exceptions.InvalidJSONError:
            raise  # a ValueError as well: it is what was answered that is wrong, and not the way there
        except requests.RequestException as error:
            url = error.request.url if error.request is not None and error.request.url else ""
            raise _http.explain(error, "the login server", url) from error

    # -- grants -----------------------------------------------------------------------------------------------------

    def by_client_credentials(self, wait: Wait) -> Token:
        """RFC 6749 section 4.4."""
        return self._fetch(BackendApplicationClient(self.client_id, scope=list(self.scope) or None), wait)

    def by_code(self, code: str, verifier: str, redirect_uri: str, wait: Wait) -> Token:
        """RFC 6749 section 4.1.3 with RFC 7636's proof that it is we who began."""
        client = WebApplicationClient(self.client_id)
        return self._fetch(client, wait, redirect_uri=redirect_uri, code=code, code_verifier=verifier)

    def by_device_code(self, device_code: str, wait: Wait) -> Token:
        """RFC 8628 section 3.4.  Raises :class:`Pending` until the person has decided."""
        return self._fetch(DeviceClient(self.client_id), wait, device_code=device_code)

    def by_refresh(self, refresh: Secret, wait: Wait) -> Token:
        """RFC 6749 section 6.  The token that comes back has the refresh token to use next, new or old."""
        url = self._token_url(wait)
        auth, form = self._authentication(wait)

        def refresh_once() -> Any:
            session = _OAuthSession(http=self._http, client=WebApplicationClient(self.client_id))
            return _dated(
                session, lambda: session.refresh_token(url, refresh_token=refresh.reveal().decode(), auth=auth, **form)
            )

        return self._token(refresh_once, wait)

    def start_device(self, wait: Wait) -> Mapping[str, Any]:
        """RFC 8628 section 3.1: the server's answer as it is."""
        url = self.endpoints(wait).device
        if url is None:
            raise Denied(f"{self.what} has no device flow: set flow to code or client_credentials")
        auth, form = self._authentication(wait)
        data = {"client_id": self.client_id, **form, **self._extra()}
        if self.scope:
            data["scope"] = " ".join(self.scope)

        def start() -> Any:
            answer = self._plain.post(url, data=data, auth=auth)
            body = answer.json()
            if answer.status_code != 200:
                raise errors.CustomOAuth2Error(str(body.get("error", answer.status_code)))
            return body

        body = self._explained(start, wait)
        if not isinstance(body, dict) or not isinstance(body.get("device_code"), str):
            raise Unavailable(f"{self.what} gave no device code")
        return body

    def authorization_url(self, redirect_uri: str, wait: Wait) -> tuple[str, str, str]:
        """RFC 6749 section 4.1.1: the login page's URL, the state and the PKCE verifier (S256)."""
        url = self.endpoints(wait).authorize
        if url is None:
            raise Denied(f"{self.what} has no login page: set flow to device or client_credentials")
        client = WebApplicationClient(self.client_id)
        verifier = client.create_code_verifier(64)
        more = self._extra()
        if "offline_access" in self.scope:
            more["prompt"] = "consent"  # OpenID Connect Core section 11: without it no refresh token
        session = _OAuthSession(http=self._http, client=client, redirect_uri=redirect_uri, scope=self.scope or None)
        challenge = client.create_code_challenge(verifier, "S256")
        page, state = session.authorization_url(url, code_challenge=challenge, code_challenge_method="S256", **more)
        return str(page), str(state), str(verifier)

    # -- one exchange -----------------------------------------------------------------------------------------------

    def _fetch(self, client: Client, wait: Wait, *, redirect_uri: str | None = None, **fields: str) -> Token:
        url = self._token_url(wait)
        auth, form = self._authentication(wait)

        def fetch_once() -> Any:
            session = _OAuthSession(http=self._http, client=client, redirect_uri=redirect_uri)
            # RFC 6749 section 3.2.1: a public client names itself in the body, a confidential one authenticates.
            more: dict[str, Any] = {**fields, **self._extra(), "client_secret": form.get("client_secret")}
            return _dated(session, lambda: session.fetch_token(url, auth=auth, include_client_id=auth is None, **more))

        return self._token(fetch_once, wait)

    def _token_url(self, wait: Wait) -> str:
        url = self.endpoints(wait).token
        if url is None:
            raise Denied(f"{self.what} names no token endpoint: configure token_url")
        return url

    def _extra(self) -> dict[str, str]:
        return {"audience": self._audience} if self._audience else {}

    def _authentication(self, wait: Wait) -> tuple[HTTPBasicAuth | None, dict[str, Any]]:
        """For the header, or for the body where a server cannot Basic; neither for a public client."""
        if self._secret_file is None:
            return None, {"client_id": self.client_id}
        try:
            secret = read_secret(self._secret_file).reveal().decode()
        except UnicodeDecodeError:
            raise Denied(f"{self._secret_file} is not text", file=self._secret_file) from None
        methods = self.endpoints(wait).auth_methods
        if "client_secret_post" in methods and "client_secret_basic" not in methods:
            return None, {"client_id": self.client_id, "client_secret": secret}
        return HTTPBasicAuth(quote_plus(self.client_id), quote_plus(secret)), {}

    def _token(self, exchange: Callable[[], _Answer], wait: Wait) -> Token:
        began = time.monotonic()  # before the exchange: a token must not seem younger than it is
        answer, server_time = self._explained(exchange, wait)
        access, refresh, seconds = answer.get("access_token"), answer.get("refresh_token"), answer.get("expires_in")
        if not isinstance(access, str) or not access:
            raise Unavailable(f"{self.what} answered without a token")
        kind = answer.get("token_type", "Bearer")  # servers that leave it out mean this one
        if self._bearer and (not isinstance(kind, str) or kind.lower() != "bearer"):
            raise Denied(f"{self.what} gave a token of another type than Bearer: let this client have Bearer tokens")
        claims = claims_of(access)
        check_claims(claims, self.what, self._token_issuer, self._audience)
        lives = [life_of(claims, server_time), seconds_of(seconds)]
        life = min((each for each in lives if each is not None), default=None)
        if life is not None and life <= 0:
            raise Unavailable(f"{self.what} gave a token that has expired already: look at its clock")
        try:
            kept = Secret(refresh) if isinstance(refresh, str) and refresh else None
            return Token(Secret(access), kept, None if life is None else began + life, began)
        except ValueError:
            raise Denied(f"{self.what} gave a token with half a character in it") from None

    def _explained(self, exchange: Callable[[], Any], wait: Wait) -> Any:
        try:
            return self.call(exchange, wait)
        except (Pending, ProviderError):
            raise
        except OAuth2Error as error:
            raise self._explain(error) from error
        except (ValueError, TypeError, AttributeError, KeyError, ArithmeticError) as error:  # int(Infinity) is the last
            raise Unavailable(
                f"{self.what} answered with something that is not OAuth", retry_after=_http.NOT_SOON
            ) from error

    def _explain(self, error: OAuth2Error) -> Exception:
        """RFC 6749 section 5.2 and RFC 8628 section 3.5; no other word of the server is shown."""
        said = _http.code_of(error.error) or "an error of its own"
        match error:
            case errors.InvalidGrantError():
                return GrantGone(
                    f"{self.what} refuses the grant ({said}): it was used, revoked or is too old; sign in again"
                )
            case errors.AccessDeniedError():
                return Denied(f"the person at {self.what} said no")
            case errors.InvalidClientError() | errors.UnauthorizedClientError():
                return Denied(
                    f"{self.what} refuses this client ({said}): look at client_id, its secret and its flows",
                    file=self._secret_file,
                )
            case errors.InvalidScopeError():
                return Denied(f"{self.what} refuses the scope ({said}): look at scope")
            case errors.ServerError() | errors.TemporarilyUnavailableError() | errors.MissingTokenError():
                return Unavailable(f"{self.what} cannot answer now ({said})")
        match error.error:
            case "authorization_pending" | "slow_down":
                return Pending(slower=error.error == "slow_down")
            case "expired_token":
                return CodeExpired("nobody used the code in time: try again")
            case _:
                return Denied(f"{self.what} refuses ({said})")
