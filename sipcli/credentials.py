"""The contract between sipcli and those who keep secrets.

A leaf: it imports the standard library and nothing of ours, so that a
third-party provider depends on this one file.  ``import sipcli.credentials``
loads neither asyncio nor ssl.

A provider is asked on a *registered worker thread* and may block there for
minutes; it answers with :data:`Credentials` or raises one of four errors.
"""

from __future__ import annotations

import hmac
import math
import os
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn, Protocol, TypeAlias, runtime_checkable

__all__ = [
    "BearerCredentials",
    "CancelSignal",
    "Cancelled",
    "CredentialProvider",
    "CredentialRequest",
    "Credentials",
    "Denied",
    "Describes",
    "DigestInput",
    "Forgets",
    "Ha1Credentials",
    "NotFound",
    "PasswordCredentials",
    "ProviderContext",
    "ProviderError",
    "ProviderFactory",
    "Rejection",
    "Remembers",
    "Secret",
    "Signature",
    "SignedCredentials",
    "SigningCredentials",
    "Signs",
    "Terminal",
    "Unavailable",
    "UserAction",
]


class ProviderError(Exception):
    """Base of everything a provider may raise; anything else is its bug.

    The message is one sentence for a person and never holds a secret.
    """


class NotFound(ProviderError):
    """Nothing here for this account: the next provider is asked, silently.

    *room*: the store is there, and ``sipcli auth save`` would put a password into it.
    """

    def __init__(self, message: str = "", *, room: bool = False) -> None:
        super().__init__(message)
        self.room = room


class Denied(ProviderError):
    """It is there, but not for us: locked keychain, 403, ``access_denied``.

    The provider is not asked for this account again in this run - but if *file*
    is what a person would replace to put it right, it is, once that has changed.
    """

    file: str | os.PathLike[str] | None = None
    _found: tuple[int, ...] | None = None

    def __init__(self, message: str = "", *, file: str | os.PathLike[str] | None = None) -> None:
        super().__init__(message)
        self.file = file
        self._found = None if file is None else _looks(file)

    def stands(self) -> bool:
        """Is *file* as it was?  True without one.  Looks at the disk, so for a worker thread."""
        return self.file is None or _looks(self.file) == self._found

    def again(self) -> Denied:
        """The same, to be raised once more: the traceback of an exception grows with every raise."""
        again = Denied(str(self))
        again.file, again._found = self.file, self._found
        return again


def _looks(file: str | os.PathLike[str]) -> tuple[int, ...] | None:
    """What differs if *file* was written, replaced, or given to another owner or mode."""
    try:
        seen = Path(file).stat()
    except OSError:
        return None
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


class Unavailable(ProviderError):
    """It cannot answer now.  *retry_after* is in seconds, None if unknown."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        # NaN, which no comparison orders, would put the timers of a loop out of order: it says nothing.
        self.retry_after = None if retry_after is None or math.isnan(retry_after) else float(retry_after)


class Cancelled(ProviderError):
    """A person said no, or we are closing: the whole chain stops."""


class Secret:
    """Bytes that never show themselves; :meth:`reveal` is the only way out.

    Python cannot promise zeroisation: getpass, JSON and keyring hand us
    immutable ``str`` copies, ``reveal()`` makes another, and the allocator and
    swap keep what they like.  What this class does promise is that no repr,
    format, log, pickle or copy shows the value, that comparing takes constant
    time, and that :meth:`wipe` zeroes the one buffer it owns.
    """

    __slots__ = ("__weakref__", "_buffer")

    def __init__(self, value: str | bytes | bytearray) -> None:
        """Text is UTF-8; octets that were none come out as they came in.  ValueError for what no octets stand for.

        TypeError for anything else: a PIN that JSON took for a number would make as many zeros (``bytearray(12345)``).
        """
        if not isinstance(value, str | bytes | bytearray):
            raise TypeError(f"a secret is text or octets, not {type(value).__name__}")
        octets = _octets_of(value) if isinstance(value, str) else value
        if octets is None:
            raise ValueError("the secret is no text: it has half a character in it")
        self._buffer = bytearray(octets)

    def reveal(self) -> bytes:
        """The secret's octets (UTF-8 if it was made from text); empty once wiped."""
        return bytes(self._buffer)

    def wipe(self) -> None:
        """Zero our copy.  Idempotent."""
        self._buffer[:] = bytes(len(self._buffer))
        self._buffer.clear()

    def __bool__(self) -> bool:
        return bool(self._buffer)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._buffer, other._buffer)

    __hash__ = None  # type: ignore[assignment]  # a hash would be an oracle

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")


def _octets_of(text: str) -> bytes | None:
    """None, and no UnicodeEncodeError: that one carries the whole text along."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None


_FORBIDDEN = "\r\n\0"


def _refuse_controls(what: str, value: str | bytes) -> None:
    """CR, LF and NUL would let a store write header lines (git CVE-2020-5260)."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if any(c in text for c in _FORBIDDEN):
        raise ValueError(f"{what} contains CR, LF or NUL")


def _refuse_username(name: str) -> None:
    """What no header can carry would fail in the middle of an answer, when its challenge is spent."""
    _refuse_controls("the user name", name)
    if _octets_of(name) is None:
        raise ValueError("the user name is no text: it has half a character in it")


_LONGEST_LIFE = 10**15
"""Seconds: JSON knows whole numbers that no float holds, and deadlines are floats."""


def _check_kinds(username: str, realm: str, expires_in: float | None, ref: str | None) -> None:
    """TypeError here, where whoever made the mistake sees it, and not where an answer is put together."""
    _refuse_username(username)
    if not isinstance(realm, str):
        raise TypeError(f"the realm is a text, not {type(realm).__name__}")
    if expires_in is not None and not isinstance(expires_in, int | float):
        raise TypeError(f"expires_in is a number of seconds, not {type(expires_in).__name__}")
    if isinstance(expires_in, int) and abs(expires_in) > _LONGEST_LIFE:
        raise ValueError("expires_in is further away than any clock goes")
    if ref is not None and not isinstance(ref, str):
        raise TypeError(f"ref is a text, not {type(ref).__name__}")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class PasswordCredentials:
    """A user name and password.  ``realm="*"`` serves any realm of the account.

    *expires_in* is in seconds from now (a lease), None when unknown; *ref* names
    where it came from without telling it (``"vault:voip/alice#7"``).
    """

    username: str
    password: Secret
    realm: str = "*"
    expires_in: float | None = None
    ref: str | None = None
    scheme: ClassVar[Literal["digest"]] = "digest"

    def __post_init__(self) -> None:
        _check_kinds(self.username, self.realm, self.expires_in, self.ref)
        _refuse_controls("the password", self.password.reveal())

    @property
    def secret(self) -> Secret:
        return self.password


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Ha1Credentials:
    """H(username:realm:password) in hex for one realm and one algorithm (RFC 7616 section 3.4.2)."""

    username: str
    realm: str
    algorithm: str
    ha1: Secret
    expires_in: float | None = None
    ref: str | None = None
    scheme: ClassVar[Literal["digest"]] = "digest"

    def __post_init__(self) -> None:
        _check_kinds(self.username, self.realm, self.expires_in, self.ref)
        _refuse_controls("the HA1", self.ha1.reveal())

    @property
    def secret(self) -> Secret:
        return self.ha1


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class BearerCredentials:
    """An OAuth access token for RFC 8898; sent over verified TLS only."""

    token: Secret
    realm: str = "*"
    expires_in: float | None = None
    ref: str | None = None
    scheme: ClassVar[Literal["bearer"]] = "bearer"
    username: ClassVar[str] = ""

    def __post_init__(self) -> None:
        _check_kinds(self.username, self.realm, self.expires_in, self.ref)
        _refuse_controls("the token", self.token.reveal())

    @property
    def secret(self) -> Secret:
        return self.token


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class SigningCredentials:
    """The *name* of a key that never leaves its store: whoever gave it signs each answer (:class:`Signs`).

    *algorithms* are those the key signs, without ``-sess``; AKA is understood
    only where a key names it.  *ref* tells the keys of one user apart: the
    server that refuses one will not be sent another of the same user and *ref*.
    """

    username: str
    realm: str = "*"
    algorithms: tuple[str, ...] = ("SHA-512-256", "SHA-256", "MD5")
    expires_in: float | None = None
    ref: str | None = None
    scheme: ClassVar[Literal["digest"]] = "digest"

    def __post_init__(self) -> None:
        _check_kinds(self.username, self.realm, self.expires_in, self.ref)

    @property
    def secret(self) -> Secret:
        """What stands for the key where a refused one must be known again; it tells nobody anything."""
        return Secret(f"key {self.ref}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestInput:
    """What one response is computed over, but for the secret (RFC 7616 section 3.4.1).

    *username* is as it is hashed, whatever the header will say (``userhash``);
    *nc* is eight hex digits; *nc* and *cnonce* are empty without a *qop*, which a
    ``-sess`` algorithm never is.  *body_hash* is H(body) in lower-case hex for
    ``auth-int``, else empty.  It is good for one sending.
    """

    username: str
    realm: str
    nonce: str
    algorithm: str
    method: str
    uri: str
    qop: Literal["", "auth", "auth-int"] = "auth"
    nc: str = ""
    cnonce: str = ""
    body_hash: str = ""
    charset: str | None = None


_DIGEST = re.compile(r"[0-9a-f]{32}(?:[0-9a-f]{32})?")
_AUTS = re.compile(r"[A-Za-z0-9+/]{19}=")


@dataclass(frozen=True, slots=True)
class Signature:
    """The digest *response*, 32 or 64 lower-case hex digits; neither it nor the rest tells the secret.

    *rspauth* is what a server that knows the secret will prove itself with
    (section 3.5; not for ``auth-int``, which covers a body yet to come): without
    it the server's proof goes unchecked.  *auts*, 14 octets in base64, asks an
    AKA server to resynchronise; *response* is then that of an empty password
    (RFC 3310 section 3.4).  Raises ValueError for anything else.
    """

    response: str
    rspauth: str | None = None
    auts: str | None = None

    def __post_init__(self) -> None:
        # These go into a header as they are; and what is wrong may be a secret, so it is not quoted.
        for name, value in (("response", self.response), ("rspauth", self.rspauth)):
            if value is not None and not _DIGEST.fullmatch(value):
                raise ValueError(f"the signature's {name} is not 32 or 64 lower-case hex digits")
        if self.auts is not None and not _AUTS.fullmatch(self.auts):
            raise ValueError("the signature's auts is not 14 octets in base64")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class SignedCredentials:
    """An answer that *key* has signed: for this one challenge and this one sending."""

    key: SigningCredentials
    inputs: DigestInput
    signature: Signature
    expires_in: ClassVar[None] = None
    scheme: ClassVar[Literal["digest"]] = "digest"

    @property
    def username(self) -> str:
        return self.key.username

    @property
    def realm(self) -> str:
        return self.inputs.realm

    @property
    def ref(self) -> str | None:
        return self.key.ref

    @property
    def secret(self) -> Secret:
        return self.key.secret


Credentials: TypeAlias = (
    PasswordCredentials | Ha1Credentials | BearerCredentials | SigningCredentials | SignedCredentials
)


class CancelSignal:
    """A one-way switch that a blocked provider can poll, wait on, or select on.

    The descriptors behind :meth:`fileno` are made on its first call: ten
    thousand pending challenges must not need twenty thousand descriptors.  They
    are closed by :meth:`close` when the *job* ends, not when it is cancelled,
    for an orphan may still be looking at them.
    """

    __slots__ = ("_event", "_lock", "_pipe")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._pipe: tuple[int, int] | None = None

    def set(self) -> None:
        """Ask the provider to stop.  Idempotent, any thread."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            if self._pipe is not None:
                try:
                    os.write(self._pipe[1], b"\0")
                except OSError:
                    pass  # the provider closed the descriptor it was lent: it does not look, and that is its own loss

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout: float) -> bool:
        """Sleep up to *timeout* seconds; True means: stop now."""
        return self._event.wait(timeout)

    def raise_if_set(self) -> None:
        if self._event.is_set():
            raise Cancelled("cancelled")

    def fileno(self) -> int:
        """A descriptor that becomes readable when the signal is set.  It is lent: look at it, and do not close it."""
        with self._lock:
            if self._pipe is None:
                self._pipe = os.pipe()
                if self._event.is_set():
                    os.write(self._pipe[1], b"\0")
            return self._pipe[0]

    def close(self) -> None:
        """Release the descriptors, if any were made.  Idempotent."""
        with self._lock:
            pipe, self._pipe = self._pipe, None
        for fd in pipe or ():
            try:
                os.close(fd)
            except OSError:
                pass  # as above; the thread that closes it has other jobs to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """What became of the previous answer in this realm."""

    provider: str
    username: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRequest:
    """One question to a provider.  Everything remote is marked so.

    *realm*, *authz_server*, *scope* and *challenges* are text from the network:
    show them (escaped), never build a look-up path from them unless the
    configuration says so.  *challenges* are header values, topmost first, of what
    the server would take for this realm.  *origin* is who asks: the SIP domain
    that TLS *verified*, else address and port, empty where no server has spoken.
    *deadline* is on :func:`time.monotonic`'s clock.
    """

    account: str
    aor: str
    username: str | None
    realm: str
    scheme: Literal["digest", "bearer"] = "digest"
    algorithms: tuple[str, ...] = ()
    method: str = "REGISTER"
    attempt: int = 1
    rejected: Rejection | None = None
    interactive: bool = True
    deadline: float
    cancel: CancelSignal = field(default_factory=CancelSignal)
    authz_server: str | None = None
    scope: tuple[str, ...] = ()
    origin: str = ""
    verified: bool = False
    challenges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAction:
    """Something a person must do elsewhere (RFC 8628 section 3.3).

    *expires_in* is in seconds, None if unknown; ValueError for what no clock reaches.
    """

    provider: str
    url: str
    user_code: str | None = None
    expires_in: float | None = None

    def __post_init__(self) -> None:
        if self.expires_in is not None and not math.isfinite(self.expires_in):
            raise ValueError("expires_in is a finite number of seconds, or None")


class Terminal(Protocol):
    """The person, as providers may reach them.  Called on a worker thread."""

    def ask(self, prompt: str, *, secret: bool = True, cancel: CancelSignal, timeout: float | None = None) -> Secret:
        """Ask on the controlling terminal.  Raises NotFound without one, Cancelled on ^C/^D, Unavailable in time."""
        ...

    def show(self, text: str) -> None:
        """Show one line (escaped) to the person."""

    def user_action(self, action: UserAction) -> None:
        """Show, and report as an event, what the person must do elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderContext:
    """What a provider is built from: its ``[providers.NAME]`` table and the means it may use."""

    name: str
    options: Mapping[str, Any]
    terminal: Terminal
    http_timeout: float = 10.0


class CredentialProvider(Protocol):
    """Finds the secret of one account.  Must be safe to call from two threads."""

    @property
    def name(self) -> str:
        """As configured: ``"vault"``."""
        ...

    @property
    def interactive(self) -> bool:
        """True: it asks a person, so it runs on the prompt lane and is skipped without one."""
        ...

    def get(self, request: CredentialRequest) -> Credentials | Awaitable[Credentials]:
        """The credentials, or NotFound, Denied, Unavailable, Cancelled."""
        ...


@runtime_checkable
class Signs(Protocol):
    """Optional: answers with a :class:`SigningCredentials` from ``get``, and then signs what it is given."""

    def sign(
        self, request: CredentialRequest, credentials: SigningCredentials, digest: DigestInput
    ) -> Signature | Awaitable[Signature]:
        """The response to one challenge.  Asked like ``get``: same lane, deadline, cancel signal and errors."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """Optional: keeps what the server has accepted, if the user asked for that."""

    def remember(self, request: CredentialRequest, credentials: Credentials) -> None: ...


@runtime_checkable
class Forgets(Protocol):
    """Optional: drops what the server has refused - that very value and no other."""

    def forget(self, request: CredentialRequest, credentials: Credentials) -> None: ...


@runtime_checkable
class Describes(Protocol):
    """Optional: says in one line where it would look, for ``providers list`` and ``doctor``."""

    def describe(self) -> str:
        """``"Secret Service (…)"``; may block for some seconds, asks for no secret and unlocks nothing."""
        ...


ProviderFactory: TypeAlias = Callable[[ProviderContext], CredentialProvider]
