"""What a configuration is, once it has been read: frozen values with their defaults (RFC 3261 sections 6 and 10)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from sipcli.config.iceserver import IceServer
from sipcli.errors import ConfigError, ParseError
from sipcli.sip.authn.policy import Md5OverUdp, MinQop, RealmChange
from sipcli.sip.flow import Transport
from sipcli.sip.profile import Reliability
from sipcli.sip.syntax.uri import SipUri

if TYPE_CHECKING:  # a registration loads nothing of media
    from sipcli.media.candidates import IcePolicy
    from sipcli.media.dtmf import DtmfMode
    from sipcli.media.echo import EchoPolicy
    from sipcli.media.sdes import KeyPolicy, SrtpPolicy

__all__ = [
    "DEFAULT_CREDENTIALS",
    "AccountConfig",
    "AudioConfig",
    "Config",
    "FollowPolicy",
    "Md5OverUdp",
    "MinQop",
    "PolicyConfig",
    "ProviderConfig",
    "RealmChange",
    "RealmConfig",
    "parse_aor",
    "parse_server",
]

FollowPolicy: TypeAlias = Literal["refuse", "ask", "same-domain"]
"""``same-domain``: by itself, once, to plain addresses of our own domain that are no telephone numbers."""

DEFAULT_CREDENTIALS = ("keychain", "prompt")
"""Asked in this order where nothing is configured: what was saved once, else the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmConfig:
    """Another identity of an account in one named realm.  None: the account's own user name."""

    username: str | None = None
    credentials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """How far we go when a server challenges.  All times are in seconds."""

    max_wait: float | None = None
    """How long a challenge may be pending, whoever is asked; None: 30 s for a store, 120 s for a person."""
    max_prompts: int = 3
    """Prompts per account and action (T03)."""
    max_attempts: int = 3
    """Distinct secrets per realm and request."""
    max_stale: int = 3
    """``stale=true`` in a row before we stop believing the server (T04)."""
    late_answer: float = 20.0
    """An answer later than this may be repeated once if the nonce changed without ``stale`` (RFC 3261 section 22.1)."""
    realms: tuple[str, ...] | None = None
    """Only these realms are answered; None: any realm of the account's own servers."""
    realm_change: RealmChange = "refuse"
    """Where no realms are listed: a server that asks, over verified TLS, for another realm than before (T02)."""
    min_qop: MinQop = "none"
    """A digest challenge that offers less is not answered (T06)."""
    schemes: tuple[str, ...] | None = None
    """``digest`` and ``bearer`` in our order, where a server offers both (RFC 8898); None: both, in the server's."""
    min_algorithm: str | None = None
    """The weakest digest algorithm that is answered: MD5, SHA-256 or SHA-512-256."""
    md5_over_udp: Md5OverUdp = "warn"
    cache_ttl: float = 900.0
    """How long a fetched secret is kept in memory, unless its lease is shorter."""
    fetch_width: int = 64
    """How many providers may be busy at the same time."""
    transfer: FollowPolicy = "ask"
    """The other side of a call sends us elsewhere (REFER); ``ask`` is a no where there is nobody to ask (T22)."""
    redirect: FollowPolicy = "refuse"
    """A call of ours is answered 3xx."""
    background_prompts: bool = False
    """May a refresh, hours later, prompt again?"""


_NO_REALMS: Mapping[str, RealmConfig] = MappingProxyType({})  # one for all accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountConfig:
    """One account: who we are (*aor*), whom we register with, and who knows the secret."""

    name: str
    aor: SipUri
    registrar: SipUri
    proxy: SipUri | None = None
    username: str
    display_name: str = ""
    transport: Transport | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    credentials: tuple[str, ...] = DEFAULT_CREDENTIALS
    keepers: tuple[str, ...] = ()
    """Providers that are not asked, but may keep what another gave (``--password-file --save``)."""
    expires: int = 600
    register: bool = True
    register_headers: tuple[tuple[str, str], ...] = ()
    """Names and values that each REGISTER has beside its own headers; said at the command line, not in the file."""
    outbound: bool | Literal["auto"] = "auto"
    """Register with the flow that the REGISTER takes (RFC 5626); ``auto``: where the registrar can."""
    gruu: bool = False
    """Ask the registrar for an address that leads to this very phone, and use it in calls (RFC 5627)."""
    shared_auth: bool = True
    """Calls and requests share what servers accepted; otherwise each authenticates by itself."""
    call_waiting: bool = True
    """A second call rings while one is up; otherwise it is busy."""
    dnd: bool = False
    """Do not disturb: every call is refused with *dnd_code*."""
    dnd_code: int = 480
    reliable: Reliability = "supported"
    """``100rel`` in the file: whether what rings is acknowledged (RFC 3262)."""
    silence: float = 20.0
    """Seconds without RTP and RTCP after which the other side is asked whether it is still there; 0: never."""
    codecs: tuple[str, ...] | None = None
    """Offered and taken, in this order; None: all that this installation can do."""
    silence_suppression: bool = False
    """Who hears comfort noise is sent that in place of our silence (RFC 3389)."""
    dtmf_mode: DtmfMode = "auto"
    """How digits are sent."""
    srtp: SrtpPolicy = "optional"
    """Encrypted audio."""
    srtp_keys: KeyPolicy = "any"
    """How its keys are agreed on: in the SDP (over TLS signalling only), by DTLS, or as the other side asks."""
    ice: IcePolicy = "off"
    """Whether the audio looks for a path of its own (RFC 8445)."""
    stun: IceServer | None = None
    """Who tells us how we are seen from outside."""
    turn: IceServer | None = None
    """Who relays the audio where there is no direct path."""
    turn_username: str | None = None
    """None: the account's user name."""
    turn_credentials: tuple[str, ...] = ()
    """Who knows the password of the TURN server; nobody unless said: it is not the SIP server's affair."""
    realms: Mapping[str, RealmConfig] = field(default_factory=lambda: _NO_REALMS)
    policy: PolicyConfig = PolicyConfig()

    @classmethod
    def for_aor(cls, text: str, **overrides: Any) -> AccountConfig:
        """The account of somebody without a configuration: ``sipcli register sip:alice@example.com``.

        *text* may leave the scheme out, and may name port and transport of the
        server (``sip:alice@192.0.2.7:5080;transport=tcp``).  Raises ConfigError.
        """
        given = parse_aor(text)
        settings: dict[str, Any] = {
            # With its port, as the keychain has it: `sipcli auth save NAME` must mean the same person.
            "name": str(given.aor).partition(":")[2],
            "aor": given.aor,
            "registrar": server_of(given),
            "username": given.user_text or "",
        }
        settings.update(overrides)
        return cls(**settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioConfig:
    """The sound cards of a person, a part of the name or the number of each, and what the telephone itself sounds."""

    input: str | None = None
    """The microphone of ``--audio device``; None: the system's default."""
    output: str | None = None
    """Its loudspeaker; None: that of *input*."""
    echo_cancellation: EchoPolicy = "auto"
    """Whether what it plays is taken out of what the microphone hears."""
    tones: Literal["eu", "uk", "us", "off"] = "eu"
    """Whose ringing, busy, congestion and waiting tones are heard, and in whose cadence the bell rings."""
    ring_device: str | None = None
    """Whose loudspeaker rings; None: that of calls."""
    ring_file: Path | None = None
    """What it plays; None: the bell of *tones*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """One ``[providers.NAME]`` table: *options* is the table less its ``type``."""

    name: str
    type: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything the file said.  ``Config()`` is what a new user has."""

    path: Path | None = None
    default_account: str | None = None
    accounts: Mapping[str, AccountConfig] = field(default_factory=lambda: MappingProxyType({}))
    providers: Mapping[str, ProviderConfig] = field(default_factory=lambda: MappingProxyType({}))
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)

    def with_account(self, account: AccountConfig) -> Config:
        """The same configuration with *account* added, or put in the place of its namesake.

        Where nobody named the keychain it is only tried: a machine without one
        goes on to the prompt, in silence.
        """
        config = replace(self, accounts=MappingProxyType({**self.accounts, account.name: account}))
        if account.credentials is DEFAULT_CREDENTIALS and "keychain" not in self.providers:
            config = config.with_provider(
                ProviderConfig(name="keychain", type="keychain", options=MappingProxyType({"optional": True}))
            )
        return config

    def with_provider(self, provider: ProviderConfig) -> Config:
        """The same configuration with *provider* added, or put in the place of its namesake."""
        return replace(self, providers=MappingProxyType({**self.providers, provider.name: provider}))


def parse_aor(text: str) -> SipUri:
    """An address-of-record as people write it, scheme optional, user part required (RFC 3261 section 10.1).

    Raises ConfigError.
    """
    uri = _parse(text, "an address-of-record", "sip:alice@example.com")
    if not uri.user:
        raise ConfigError(f"“{text}” names no user", hint="write it as sip:alice@example.com")
    return uri


def parse_server(text: str) -> SipUri:
    """A server as people write it: ``sip:host;transport=tls``, or just ``host:port``.  Raises ConfigError."""
    return _parse(text, "a server", "sip:sbc.example.com;transport=tls")


def server_of(uri: SipUri) -> SipUri:
    """The server that *uri* leads to: its host and port, and the transport if it names one."""
    transport = uri.param("transport")
    params = (("transport", transport),) if transport else ()
    return uri.replace(user=None, password=None, params=params, headers=())


def _parse(text: str, what: str, example: str) -> SipUri:
    text = text.strip()
    if not text.lower().startswith(("sip:", "sips:")):
        text = f"sip:{text}"
    try:
        uri = SipUri.parse(text)
    except ParseError as error:
        # A text that holds a password is not repeated, and neither is what the parser said of it.
        shown, why = ("this", "it cannot be read") if re.search(r":[^@/]*:[^@]*@", text) else (f"“{text}”", str(error))
        raise ConfigError(f"{shown} is not {what}: {why}", hint=f"write it as {example}") from None
    if uri.password is not None:
        # RFC 3261 section 19.1.1 calls a password in a URI "NOT RECOMMENDED"; it would go out in clear.
        raise ConfigError(
            f"a password does not belong in {what}", hint="leave it out: sipcli asks for it when the server does"
        )
    return uri
