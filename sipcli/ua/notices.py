"""What the agent tells: one frozen class per JSON event, field names exactly the JSON keys (docs/events.md).

A notice carries no clock: whoever renders it adds ``v``, ``t`` and ``ms``.  No
notice ever holds a secret; :attr:`AuthProviderNotice.secret_ref` names where
one came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

from sipcli.ua.noticeshape import Notice, Shape, maybe

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
    "Side",
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
Side: TypeAlias = Literal["local", "remote", "network"]
"""Whose doing it is that a call is held, or over."""
CallState: TypeAlias = Literal["calling", "trying", "ringing", "early", "answered", "held", "transferring", "ended"]
ProviderOutcome: TypeAlias = Literal["found", "not_found", "denied", "unavailable", "cancelled"]
AuthOutcome: TypeAlias = Literal["answered", "abandoned", "declined", "expired", "revoked"]
AuthCause: TypeAlias = Literal["fresh", "stale", "refused"]
Direction: TypeAlias = Literal["in", "out"]


# --- parts of notices ---------------------------------------------------------------------------------------


class Listening(Shape):
    """One address we receive SIP at."""

    transport: str
    host: str
    port: int


class Via(Shape):
    """The flow a registration went over; *tls* is the verified SIP identity (RFC 5922), if there is one."""

    transport: str
    remote: str
    tls: str | None = maybe()


class SchemeOffer(Shape):
    """One challenge header as the server sent it."""

    scheme: str
    algorithm: str | None
    qop: tuple[str, ...]
    stale: bool


class SkippedScheme(Shape):
    """One challenge header that was not chosen, and why (RFC 8760 section 2.4)."""

    scheme: str
    algorithm: str | None
    why: str


class RxFigures(Shape):
    """What we received.  *rms_dbfs* and *speech_pct* are None until audio was decoded."""

    packets: int
    lost: int
    lost_pct: float
    jitter_ms: float
    late: int
    rms_dbfs: float | None
    speech_pct: float | None


class TxFigures(Shape):
    """What we sent.  *rms_dbfs* and *speech_pct* are None where nobody measures it.

    *skipped*: how many packets never were, because the process was held up when their 20 ms came.
    """

    packets: int
    rms_dbfs: float | None = None
    speech_pct: float | None = None
    skipped: int = 0


class RemoteFigures(Shape):
    """What the far end reports of our stream (RFC 3550 section 6.4)."""

    lost_pct: float
    jitter_ms: float
    discard_pct: float | None = maybe()
    mos_lq: float | None = maybe()
    mos_cq: float | None = maybe()


class AudioFigures(Shape):
    """The verdict on the received audio, without ears."""

    rms_dbfs: float | None
    speech_pct: float | None
    tone_hz: float | None
    longest_gap_ms: float | None


class AuthTotals(Shape):
    """What authentication cost a verb: *waited_ms* on secrets, *attempts* answered, the last *provider* that helped."""

    waited_ms: float
    attempts: int
    provider: str | None


class Expectation(Shape):
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
    code: int | None = maybe()
    reason: str | None = maybe()
    expires_s: int | None = maybe()
    contact: str | None = maybe()
    service_route: str | None = maybe()
    via: Via | None = maybe()
    retry_in_s: float | None = maybe()


class AuthChallengedNotice(Notice):
    """A server challenged us: one notice per realm.  *chosen* is None where nothing may be answered."""

    event: ClassVar[str] = "auth.challenged"
    account: str
    call: str | None = maybe()
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
    secret_ref: str | None = maybe()
    message: str | None = maybe()


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
    url: str | None = maybe()
    user_code: str | None = maybe()
    account: str | None = maybe()
    realm: str | None = maybe()
    refused: int | None = maybe()


class AuthUserAction(Notice):
    """A person must do something elsewhere: open *url*, enter *user_code* (RFC 8628 section 3.3)."""

    event: ClassVar[str] = "auth.user_action"
    challenge: str
    provider: str
    expires_in_s: float | None
    url: str | None = maybe()
    user_code: str | None = maybe()
    account: str | None = maybe()


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
    """A call changed.  *by* says who ended it, and is null until then; *why* is our sentence about an unusual end.

    *transport* and *asserted* say how one that rings here came: whether a P-Asserted-Identity is there, and trusted.
    """

    event: ClassVar[str] = "call"
    call: str
    direction: Direction
    state: CallState
    local: str
    remote: str
    remote_name: str | None = maybe()
    code: int | None = maybe()
    reason: str | None = maybe()
    by: Side | None = None
    why: str | None = maybe()
    transport: str | None = maybe()
    asserted: str | None = maybe()
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
    srtp_keys: Literal["sdes", "dtls"] | None = maybe()
    srtp_verified: bool | None = maybe()
    ice: str | None = None
    local: str | None = None
    remote: str | None = None
    latched: str | None = maybe()


class StatsNotice(Notice):
    """How a call sounds so far; *mos* is null until it was measured."""

    event: ClassVar[str] = "stats"
    call: str
    rx: RxFigures
    tx: TxFigures
    remote: RemoteFigures | None = maybe()
    rtt_ms: float | None = maybe()
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
    code: int | None = maybe()


class WarningNotice(Notice):
    """Something a person should know; *hint* is the next step."""

    event: ClassVar[str] = "warning"
    code: str
    message: str
    hint: str | None = maybe()


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
    code: int | None = maybe()
    reason: str | None = maybe()
    message: str
    hint: str | None = maybe()
    took_ms: float
    registration: Mapping[str, Any] | None = maybe()
    call: Mapping[str, Any] | None = maybe()
    auth: AuthTotals | None = None
    expectations: tuple[Expectation, ...] = ()


def address_text(address: tuple[str, int]) -> str:
    """``192.0.2.7:5060``, ``[2001:db8::7]:5060``."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
