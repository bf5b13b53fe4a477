"""What a sandbox is told to be: whom it knows, what it asks for, and how badly it behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sipcli.errors import ConfigError
from sipcli.sip.authn.challenge import SUPPORTED
from sipcli.sip.flow import Transport
from sipcli.sip.transactions.timers import TimerValues

__all__ = ["SandboxConfig"]

_DEFAULT_USERS: Mapping[str, str] = {"alice": "wonderland", "bob": "builder"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """Frozen; :meth:`~sipcli.sandbox.Sandbox.change` swaps it while the sandbox runs.  Durations are in seconds.

    Every domain is its own: an address is known by its user part.  *users* maps
    user names to passwords; *realm_users* does so for one realm only, and there
    it takes precedence.

    Where: *port* 0 takes a free one (the same for UDP and TCP); ``tls`` is
    served as well when *cert_file* is given, on *tls_port*.

    What is asked of the methods in *challenged*: one credential for each of
    *realms*, by 401 for REGISTER and by *call_status* for anything else; and
    one for each of *proxy_realms*, always in Proxy-Authenticate, as if a proxy
    on the way had added its own (RFC 8760 section 2.5).  All at once, or realm
    after realm when *one_by_one*.  A realm is offered every one of
    *algorithms*, in this order; *qop* is what is written there, None for the
    form of RFC 2069.  With *tokens* (token to user) a Bearer challenge comes
    first (RFC 8898), naming *authz_server* and *scope*; with no *algorithms* it
    is the only one.

    How it behaves: a nonce lives *nonce_lifetime* and may be used *nonce_uses*
    times; one that is spent is called stale, or not when *say_stale* is False
    (Kamailio's default).  *stale_rounds* good answers per Call-ID are called
    stale first.  *wrong_status* answers a wrong password finally, None
    challenges again; after *wrong_limit* wrong ones a user is refused with 403.
    *auth_info* proves the server, too (RFC 7616 section 3.5), and *next_nonce*
    announces a new nonce there.  Every final answer waits *delay*.  The first
    *lose* requests are lost.

    Registrar: *min_expires* is enforced by 423, *max_expires* by shortening.
    """

    host: str = "127.0.0.1"
    port: int = 0
    transports: tuple[Transport, ...] = ("udp", "tcp")
    tls_port: int = 0
    cert_file: Path | None = None
    key_file: Path | None = None

    users: Mapping[str, str] = field(default_factory=lambda: dict(_DEFAULT_USERS), repr=False)
    realm_users: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    realms: tuple[str, ...] = ("sandbox",)
    proxy_realms: tuple[str, ...] = ()
    one_by_one: bool = False
    algorithms: tuple[str, ...] = ("SHA-256", "MD5")
    qop: str | None = "auth"
    opaque: str | None = None
    userhash: bool = False
    charset: str | None = None
    challenged: frozenset[str] = frozenset({"REGISTER", "INVITE", "MESSAGE"})
    call_status: int = 407
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    authz_server: str | None = None
    scope: str = ""

    nonce_lifetime: float = 300.0
    nonce_uses: int | None = None
    say_stale: bool = True
    stale_rounds: int = 0
    wrong_status: int | None = None
    wrong_limit: int | None = None
    auth_info: bool = False
    next_nonce: bool = False
    delay: float = 0.0
    lose: int = 0

    min_expires: int = 1
    max_expires: int = 3600

    timers: TimerValues = field(default_factory=TimerValues)

    def __post_init__(self) -> None:
        unknown = [name for name in self.algorithms if name not in SUPPORTED]
        if unknown:
            raise ConfigError(f"no such algorithm: {', '.join(unknown)}", hint=f"there are {', '.join(SUPPORTED)}")
        if self.call_status not in (401, 407):
            raise ConfigError(f"call_status is 401 or 407, not {self.call_status}")
        if not self.algorithms and not self.tokens:
            raise ConfigError("without algorithms and without tokens nobody could answer")
        if "tls" in self.transports and self.cert_file is None:
            raise ConfigError("TLS needs a certificate", hint="give cert_file and key_file")

    def password(self, user: str, realm: str) -> str | None:
        """The password of *user* in *realm*, None when there is no such user."""
        own = self.realm_users.get(realm)
        return own[user] if own is not None and user in own else self.users.get(user)

    def users_of(self, realm: str) -> tuple[str, ...]:
        return (*self.realm_users.get(realm, ()), *self.users)
