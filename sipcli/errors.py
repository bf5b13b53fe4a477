"""Everything sipcli raises on purpose.  Knows no exit codes: those are ``sipcli.cli.exits``.

::

    SipcliError                       message, hint (the next step), code (SIP status, if any)
    ├── ConfigError                   the configuration file, or an option, makes no sense
    ├── LocalProtocolError            our caller asked for nonsense
    │   └── ParseError                these octets are not what they should be
    ├── RemoteProtocolError           the peer sent nonsense; status_hint says how to answer
    ├── ChallengeGone                 this challenge was decided already (state says how)
    │   └── TokenSpent                the same, at level 1
    ├── UnregisteredThread            a challenge was touched from a thread the agent does not know
    ├── AgentClosed                   the agent (or its loop) is closed
    ├── NetworkError                  no way there: DNS, connect, lost
    │   ├── ResolveError
    │   └── TlsError                  handshake, certificate, RFC 5922 identity
    └── RequestFailed                 a request ended without success
        ├── AuthError                 realm, provider
        │   ├── AuthRefused           the server refused our answer
        │   ├── NoCredentials         nobody had any
        │   ├── AuthAbandoned         a person (or the program) said no
        │   ├── AuthExpired           nobody answered in time; awaited_person
        │   └── ProviderFailed        a store failed or was too slow
        ├── NoAnswer                  time-out, 408, 480
        ├── Busy                      486, 600
        ├── Declined                  603
        ├── NotReachable              404, 484, 604: no such number
        ├── MediaFailed               488, 606, no common codec
        ├── ServerFailed              5xx
        └── Refused                   any other final response
"""

from __future__ import annotations

from typing import Any, Literal

__all__ = [
    "AgentClosed",
    "AuthAbandoned",
    "AuthError",
    "AuthExpired",
    "AuthRefused",
    "Busy",
    "ChallengeGone",
    "ConfigError",
    "Declined",
    "LocalProtocolError",
    "MediaFailed",
    "NetworkError",
    "NoAnswer",
    "NoCredentials",
    "NotReachable",
    "ParseError",
    "ProviderFailed",
    "Refused",
    "RemoteProtocolError",
    "RequestFailed",
    "ResolveError",
    "ServerFailed",
    "SipcliError",
    "TlsError",
    "TokenSpent",
    "UnregisteredThread",
]


class SipcliError(Exception):
    """Base of all.  ``str()`` is one sentence; *hint* is the next step, if one is known."""

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(SipcliError):
    """A configuration that cannot be used: names file, table and key."""


class LocalProtocolError(SipcliError):
    """Our caller asked for something the protocol does not allow now."""


class ParseError(LocalProtocolError):
    """Octets that are not what they should be.  *status* is the answer a request earns (RFC 3261 section 8.2).

    *partial* is the :class:`~sipcli.sip.syntax.message.Request` as far as it could be
    read, when it can be answered at all; None otherwise.
    """

    partial: Any = None

    def __init__(self, message: str, *, status: int = 400, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class RemoteProtocolError(SipcliError):
    """The peer broke the protocol."""

    def __init__(self, message: str, *, status_hint: int = 400) -> None:
        super().__init__(message)
        self.status_hint = status_hint


class ChallengeGone(SipcliError):
    """The challenge was decided already.  *state* is ``answered|abandoned|declined|revoked|expired|lost``."""

    def __init__(self, state: str) -> None:
        super().__init__(f"this challenge is gone: it was {state} already")
        self.state = state


class TokenSpent(ChallengeGone):
    """A :class:`~sipcli.sip.auth.ChallengeToken` can be used once."""


class UnregisteredThread(SipcliError):
    """Register the thread first: ``with agent.threads.register("name"):``."""


class AgentClosed(SipcliError):
    """The user agent, or the loop it lived on, is closed."""


class NetworkError(SipcliError):
    """There is no way there, or no more."""


class ResolveError(NetworkError):
    """DNS knows no such host or service."""


class TlsError(NetworkError):
    """The TLS handshake failed, or the certificate is not the domain's (RFC 5922)."""


class RequestFailed(SipcliError):
    """A request ended without success.  *code* and *reason* are the final response's, if there was one.

    *refused*: what the server said no to - the credentials that were sent, or the request, as
    it took these credentials before; None: it said no such thing, or nothing was sent.
    """

    refused: Literal["credentials", "request", "either"] | None = None

    def __init__(
        self, message: str = "", *, code: int | None = None, reason: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message or f"{code} {reason}".strip(), hint=hint)
        self.code = code
        self.reason = reason


class AuthError(RequestFailed):
    """Authentication did not succeed."""

    def __init__(
        self,
        message: str = "",
        *,
        code: int | None = None,
        reason: str = "",
        realm: str | None = None,
        provider: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, code=code, reason=reason, hint=hint)
        self.realm = realm
        self.provider = provider


class AuthRefused(AuthError):
    """The server refused what we answered."""


class NoCredentials(AuthError):
    """No provider has credentials for this account."""


class AuthAbandoned(AuthError):
    """The challenge was abandoned: ^C at the prompt, or the program said no."""


class AuthExpired(AuthError):
    """Nobody answered the challenge in time."""

    awaited_person: bool = False


class ProviderFailed(AuthError):
    """A provider failed or was too slow."""


class NoAnswer(RequestFailed):
    """Time-out, 408 or 480."""


class Busy(RequestFailed):
    """486 or 600."""


class Declined(RequestFailed):
    """603."""


class NotReachable(RequestFailed):
    """404, 484, 604 and the like: the address leads nowhere."""


class MediaFailed(RequestFailed):
    """488, 606, or no codec in common."""


class ServerFailed(RequestFailed):
    """A final 5xx."""


class Refused(RequestFailed):
    """Any other final response."""
