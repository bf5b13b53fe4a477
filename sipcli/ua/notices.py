"""What the agent tells: one frozen class per JSON event, field names exactly the JSON keys (docs/events.md).

A notice carries no clock: whoever renders it adds ``v``, ``t`` and ``ms``.  No
notice ever holds a secret; :attr:`AuthProviderNotice.secret_ref` names where
one came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, NoReturn, TypeAlias, dataclass_transform

__all__ = [
    "AudioFigures",
    "AuthChallengedNotice",
    "AuthDone",
    "AuthNeeded",
    "AuthProviderNotice",
    "AuthTotals",
    "AuthUserAction",
    "CallNotice",
    "CallState",
    "DtmfNotice",
    "Expectation",
    "Listening",
    "MediaNotice",
    "MessageNotice",
    "Notice",
    "Ready",
    "RegistrationNotice",
    "RegistrationState",
    "RemoteFigures",
    "ResultNotice",
    "RxFigures",
    "SchemeOffer",
    "SkippedScheme",
    "StatsNotice",
    "TraceNotice",
    "TxFigures",
    "Via",
    "WarningNotice",
    "address_text",
    "maybe",
]

RegistrationState: TypeAlias = Literal[
    "trying", "waiting", "retrying", "registered", "refused", "failed", "unregistered"
]
CallState: TypeAlias = Literal["calling", "trying", "ringing", "early", "answered", "held", "transferring", "ended"]
ProviderOutcome: TypeAlias = Literal["found", "not_found", "denied", "unavailable", "cancelled"]
AuthOutcome: TypeAlias = Literal["answered", "abandoned", "declined", "expired", "revoked"]
AuthCause: TypeAlias = Literal["fresh", "stale", "refused"]
Direction: TypeAlias = Literal["in", "out"]


_MAYBE: Final = object()
_NEEDED: Final = object()


def _maybe() -> Any:
    """A field that the schema marks with '?': left out of the JSON while it is None."""
    return _MAYBE


maybe = _maybe
"""The same, for the notices of other modules."""


def _plain(value: Any) -> Any:
    """*value* as the json module takes it: our shapes and mappings become dicts, tuples lists."""
    if isinstance(value, _Shape):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _Shape:
    """Something with a JSON form: frozen, made of keywords, equal where all fields are.

    To readers and type checkers a ``@dataclass(frozen=True, kw_only=True)``.  But
    that compiles six functions for each class, and the classes here took 23 ms of
    every start of the program; this way they take 1.
    """

    _fields: ClassVar[dict[str, Any]] = {}
    """The names in the schema's order, and what each is by default."""
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        own = {
            name: cls.__dict__.get(name, _NEEDED)
            for name, kind in cls.__annotations__.items()
            if not kind.startswith("ClassVar")
        }
        cls._fields = {**cls._fields, **own}
        given = {name: value for name, value in cls._fields.items() if value is not _NEEDED}
        cls._defaults = {name: None if value is _MAYBE else value for name, value in given.items()}

    def __init__(self, **values: Any) -> None:
        values = {**self._defaults, **values}
        if values.keys() != self._fields.keys():
            odd = ", ".join(sorted(values.keys() ^ self._fields.keys()))
            raise TypeError(f"{type(self).__name__}: missing or unknown: {odd}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    def to_json(self) -> dict[str, Any]:
        """The JSON keys of this thing, in the schema's order; optional ones that are None are left out."""
        values = self.__dict__
        return {
            name: _plain(values[name])
            for name, default in self._fields.items()
            if default is not _MAYBE or values[name] is not None
        }


class Notice(_Shape):
    """Base of all events; :attr:`event` is the value of the JSON key ``event``."""

    event: ClassVar[str] = ""


# --- parts of notices ---------------------------------------------------------------------------------------


class Listening(_Shape):
    """One address we receive SIP at."""

    transport: str
    host: str
    port: int


class Via(_Shape):
    """The flow a registration went over; *tls* is the verified SIP identity (RFC 5922), if there is one."""

    transport: str
    remote: str
    tls: str | None = _maybe()


class SchemeOffer(_Shape):
    """One challenge header as the server sent it."""

    scheme: str
    algorithm: str | None
    qop: tuple[str, ...]
    stale: bool


class SkippedScheme(_Shape):
    """One challenge header that was not chosen, and why (RFC 8760 section 2.4)."""

    scheme: str
    algorithm: str | None
    why: str


class RxFigures(_Shape):
    """What we received.  *rms_dbfs* and *speech_pct* are None until audio was decoded."""

    packets: int
    lost: int
    lost_pct: float
    jitter_ms: float
    late: int
    rms_dbfs: float | None
    speech_pct: float | None


class TxFigures(_Shape):
    """What we sent."""

    packets: int
    rms_dbfs: float | None = None
    speech_pct: float | None = None


class RemoteFigures(_Shape):
    """What the far end reports of our stream (RFC 3550 section 6.4)."""

    lost_pct: float
    jitter_ms: float
    discard_pct: float | None = _maybe()
    mos_lq: float | None = _maybe()
    mos_cq: float | None = _maybe()


class AudioFigures(_Shape):
    """The verdict on the received audio, without ears."""

    rms_dbfs: float | None
    speech_pct: float | None
    tone_hz: float | None
    longest_gap_ms: float | None


class AuthTotals(_Shape):
    """What authentication cost a verb: *waited_ms* on secrets, *attempts* answered, the last *provider* that helped."""

    waited_ms: float
    attempts: int
    provider: str | None


class Expectation(_Shape):
    """One ``--expect…`` and whether it held."""

    name: str
    want: str
    got: str
    ok: bool


# --- the events ---------------------------------------------------------------------------------------------


class Ready(Notice):
    """The program is up and listens."""

    event: ClassVar[str] = "ready"
    pid: int
    version: str
    listen: tuple[Listening, ...]
    control: str | None = None


class RegistrationNotice(Notice):
    """A registration changed.  ``waiting``: a challenge waits for its secret."""

    event: ClassVar[str] = "registration"
    account: str
    state: RegistrationState
    code: int | None = _maybe()
    reason: str | None = _maybe()
    expires_s: int | None = _maybe()
    contact: str | None = _maybe()
    service_route: str | None = _maybe()
    via: Via | None = _maybe()
    retry_in_s: float | None = _maybe()


class AuthChallengedNotice(Notice):
    """A server challenged us: one notice per realm.  *chosen* is None where nothing may be answered."""

    event: ClassVar[str] = "auth.challenged"
    account: str
    call: str | None = _maybe()
    challenge: str
    method: str
    code: int
    realm: str
    schemes: tuple[SchemeOffer, ...]
    chosen: str | None
    skipped: tuple[SkippedScheme, ...]
    attempt: int
    from_flow: bool = True


class AuthProviderNotice(Notice):
    """A provider was asked, and this came of it.  *took_ms* counts from the question, queueing included."""

    event: ClassVar[str] = "auth.provider"
    challenge: str
    provider: str
    outcome: ProviderOutcome
    took_ms: float
    secret_ref: str | None = _maybe()
    message: str | None = _maybe()


class AuthNeeded(Notice):
    """A person is needed to go on.

    *expires_in_s* None: *account* can be answered for as long as the process
    lives.  *refused*: with that status the server refused what was given last.
    *at_terminal* False: *provider* has ways of its own to reach the person, such
    as a window.
    """

    event: ClassVar[str] = "auth.needed"
    challenge: str
    provider: str
    expires_in_s: float | None
    at_terminal: bool
    url: str | None = _maybe()
    user_code: str | None = _maybe()
    account: str | None = _maybe()
    realm: str | None = _maybe()
    refused: int | None = _maybe()


class AuthUserAction(Notice):
    """A person must do something elsewhere: open *url*, enter *user_code* (RFC 8628 section 3.3)."""

    event: ClassVar[str] = "auth.user_action"
    challenge: str
    provider: str
    expires_in_s: float | None
    url: str | None = _maybe()
    user_code: str | None = _maybe()
    account: str | None = _maybe()


class AuthDone(Notice):
    """A challenge was decided, *waited_ms* after it came."""

    event: ClassVar[str] = "auth.done"
    challenge: str
    outcome: AuthOutcome
    waited_ms: float
    scheme: str
    algorithm: str | None
    cause: AuthCause


class CallNotice(Notice):
    """A call changed.  *by* says who ended it, and is null until then."""

    event: ClassVar[str] = "call"
    call: str
    direction: Direction
    state: CallState
    local: str
    remote: str
    remote_name: str | None = _maybe()
    code: int | None = _maybe()
    reason: str | None = _maybe()
    by: Literal["local", "remote", "network"] | None = None
    sip_call_id: str


class MediaNotice(Notice):
    """The media of a call changed.  *latched* is where the packets really come from, if it differs (RFC 4961)."""

    event: ClassVar[str] = "media"
    call: str
    state: Literal["negotiated", "flowing", "silent", "stopped"]
    codec: str | None
    rate: int | None
    ptime_ms: int | None
    srtp: str | None = None
    srtp_keys: Literal["sdes", "dtls"] | None = _maybe()
    srtp_verified: bool | None = _maybe()
    ice: str | None = None
    local: str | None = None
    remote: str | None = None
    latched: str | None = _maybe()


class StatsNotice(Notice):
    """How a call sounds so far; *mos* is null until it was measured."""

    event: ClassVar[str] = "stats"
    call: str
    rx: RxFigures
    tx: TxFigures
    remote: RemoteFigures | None = _maybe()
    rtt_ms: float | None = _maybe()
    mos: float | None = None


class DtmfNotice(Notice):
    """A digit was sent or heard."""

    event: ClassVar[str] = "dtmf"
    call: str
    direction: Direction
    digit: str
    via: str = "rfc4733"
    duration_ms: float


class MessageNotice(Notice):
    """A SIP MESSAGE came in, or ours was answered with *code* (RFC 3428)."""

    event: ClassVar[str] = "message"
    direction: Direction
    remote: str
    content_type: str
    body: str
    code: int | None = _maybe()


class WarningNotice(Notice):
    """Something a person should know; *hint* is the next step."""

    event: ClassVar[str] = "warning"
    code: str
    message: str
    hint: str | None = _maybe()


class TraceNotice(Notice):
    """One SIP message on the wire, credentials masked."""

    event: ClassVar[str] = "trace"
    direction: Direction
    transport: str
    local: str
    remote: str
    start_line: str
    size: int
    sip: str


class ResultNotice(Notice):
    """The last line of every verb, also when it fails."""

    event: ClassVar[str] = "result"
    verb: str
    ok: bool
    exit: int
    outcome: str
    code: int | None = _maybe()
    reason: str | None = _maybe()
    message: str
    hint: str | None = _maybe()
    took_ms: float
    registration: Mapping[str, Any] | None = _maybe()
    call: Mapping[str, Any] | None = _maybe()
    auth: AuthTotals | None = None
    expectations: tuple[Expectation, ...] = ()


def address_text(address: tuple[str, int]) -> str:
    """``192.0.2.7:5060``, ``[2001:db8::7]:5060``."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
