"""Keeps passwords in the keychain of the operating system, through ``keyring``.

The entry of an account is service ``sipcli``, user name = the aor without its
scheme, so ``keyring get sipcli alice@example.com`` finds it.

Which keychain?  ``keyring.get_keyring()`` would let an environment variable
choose, load every installed backend plug-in and, where ``keyrings.alt`` is
installed, settle for a *plain text file* without a word.  So we choose
ourselves: what the user's own ``keyringrc.cfg`` or our ``backend`` option
names, else the native keychains; and each one is judged.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import keyring.core
from keyring.backend import KeyringBackend, by_priority, get_all_keyring
from keyring.backends import fail, null
from keyring.backends.chainer import ChainerBackend
from keyring.errors import InitError, KeyringError, KeyringLocked, NoKeyringError, PasswordDeleteError

from sipcli.credentials import (
    CancelSignal,
    CredentialRequest,
    Credentials,
    Denied,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    ProviderError,
    Secret,
    Unavailable,
)
from sipcli_providers._lookup import Template, printable, user_of
from sipcli_providers._options import Options
from sipcli_providers._patience import Patience, Wait

T = TypeVar("T")

_NATIVE = (
    "keyring.backends.macOS.Keyring",
    "keyring.backends.Windows.WinVaultKeyring",
    "keyring.backends.SecretService.Keyring",
    "keyring.backends.kwallet.DBusKeyring",
    "keyring.backends.libsecret.Keyring",
)
_NAMES = {
    "keyring.backends.macOS": "macOS Keychain",
    "keyring.backends.Windows": "Windows Credential Manager",
    "keyring.backends.SecretService": "Secret Service",
    "keyring.backends.kwallet": "KWallet",
    "keyring.backends.libsecret": "libsecret",
}
_MOST = {"keyring.backends.Windows": 2560}
"""Octets of UTF-16 in one entry (CRED_MAX_CREDENTIAL_BLOB_SIZE); Windows itself would say "bad data" (threat T35)."""
# "Not before": nothing changes by asking again within one challenge, so the chain goes on at once.
_NOT_SOON = 3600.0
_UNLOCK = "is its unlock dialog still open?"


class KeychainProvider:
    """``type = "keychain"``; remembers and forgets."""

    interactive = False

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        options = Options(context.options, where=f"[providers.{context.name}]")
        self._service = options.text("service", "sipcli")
        self._username = Template(options.text("username", "{aor}"), key=f"{options.where} username")
        self._keychain = Keychain(backend=options.optional("backend"), plaintext=options.flag("allow_plaintext"))
        self._optional = options.flag("optional")
        options.done()

    def get(self, request: CredentialRequest) -> PasswordCredentials:
        """Raises NotFound without an entry, Denied when locked or untrusted, Unavailable without a keychain."""
        if request.scheme != "digest":
            raise NotFound(f"{self.name} holds passwords, and the server asks for a token")
        user = self._username.expand_name(request)
        try:
            found = self._keychain.find(self._service, user, Wait.of(request))
        except Unavailable as error:
            if not self._optional:
                raise
            raise NotFound(str(error)) from error  # nobody named this keychain: one that is not there holds nothing
        if found is None:
            raise NotFound(
                f"the keychain has no entry {self._service}/{printable(user)}: "
                f"keep one with: sipcli auth save {printable(request.account)}",
                room=True,
            )
        try:
            return PasswordCredentials(user_of(request), found, ref=f"{self.name}:{self._service}/{user}")
        except ValueError:
            raise Denied(f"the keychain entry {self._service}/{printable(user)} contains a line break") from None

    def remember(self, request: CredentialRequest, credentials: Credentials) -> None:
        """Keep a password that the server has accepted; other kinds of credentials are not ours to keep."""
        if isinstance(credentials, PasswordCredentials):
            user = self._username.expand_name(request)
            self._keychain.save(self._service, user, credentials.password, Wait.of(request))

    def forget(self, request: CredentialRequest, credentials: Credentials) -> None:
        """Erase the entry if it holds the very value that was refused, and no other."""
        user = self._username.expand_name(request)
        self._keychain.erase(self._service, user, Wait.of(request), only=credentials.secret)

    def describe(self) -> str:
        try:
            return self._keychain.describe()
        except ProviderError as error:
            return str(error)


class Keychain:
    """The keychain itself: three verbs on (service, user), each cancellable, each raising our four errors."""

    def __init__(self, *, backend: str | None = None, plaintext: bool = False) -> None:
        self._named = backend
        self._plaintext = plaintext
        self._patience = Patience("the keychain")
        self._lock = threading.Lock()
        self._chosen: Sequence[KeyringBackend] = ()

    def find(self, service: str, user: str, wait: Wait) -> Secret | None:
        def look() -> Secret | None:
            for backend in self._backends():
                found = backend.get_password(service, user)
                if found is not None:
                    return Secret(found)
            return None

        return self._run(look, wait)

    def save(self, service: str, user: str, value: Secret, wait: Wait) -> None:
        try:
            text = value.reveal().decode()
        except UnicodeDecodeError:
            raise Denied("the keychain keeps text, and this secret is not UTF-8") from None

        def save() -> None:
            backend = self._backends()[0]
            _check_size(backend, text)
            backend.set_password(service, user, text)

        self._run(save, wait)

    def erase(self, service: str, user: str, wait: Wait, *, only: Secret | None = None) -> bool:
        """Whether there was such an entry; *only* spares an entry that holds something else."""

        def erase() -> bool:
            for backend in self._backends():
                found = backend.get_password(service, user)
                if found is not None and (only is None or Secret(found) == only):
                    backend.delete_password(service, user)
                    return True
            return False

        return self._run(erase, wait)

    def describe(self) -> str:
        """``"Secret Service (keyring.backends.SecretService.Keyring)"``; raises the reason when there is none."""
        backends = self._run(self._backends, Wait(CancelSignal(), time.monotonic() + 3.0))
        return ", then ".join(_name(backend) for backend in backends)

    def _run(self, function: Callable[[], T], wait: Wait) -> T:
        try:
            return self._patience.run(function, wait, hint=_UNLOCK)
        except ProviderError:
            raise
        except Exception as error:
            raise _explain(error) from error

    def _backends(self) -> Sequence[KeyringBackend]:
        """The judged keychains, the one to write to first.  A failure is not kept: D-Bus may come up later."""
        with self._lock:
            if not self._chosen:
                self._chosen = [_judged(backend, self._plaintext) for backend in self._candidates()]
            return self._chosen

    def _candidates(self) -> list[KeyringBackend]:
        named = keyring.core.load_keyring(self._named) if self._named else keyring.core.load_config()
        if named is not None:
            return [named]
        native = [found for name in _NATIVE if (found := _viable(name)) is not None]
        native.sort(key=lambda backend: backend.priority, reverse=True)
        if not native and self._plaintext:  # whatever is installed was asked for
            native = [max(get_all_keyring(), key=by_priority, default=_nothing())]
        return native or [_nothing()]


def _nothing() -> KeyringBackend:
    return fail.Keyring()  # type: ignore[no-untyped-call]


def _viable(name: str) -> KeyringBackend | None:
    """A native backend, if this machine has what it needs: keyring raises RuntimeError and worse if not."""
    try:
        return keyring.core.load_keyring(name)
    except Exception:
        return None


def _judged(backend: KeyringBackend, plaintext: bool) -> KeyringBackend:
    """*backend* as it is, or Denied/Unavailable: a chain is as safe as its weakest member."""
    if isinstance(backend, ChainerBackend):
        members = list(backend.backends)
        for member in members or [_nothing()]:
            _judged(member, plaintext)
        return backend
    _undo_environment(backend)
    if isinstance(backend, fail.Keyring):
        raise Unavailable(_no_keychain(), retry_after=_NOT_SOON)
    if isinstance(backend, null.Keyring):  # `keyring --disable` chose it: nothing is found, nothing kept
        return backend
    kind = type(backend)
    weak = "plaintext" in kind.__name__.lower() or backend.priority < 1  # keyring's own mark for "not recommended"
    if weak and not plaintext:
        raise Denied(
            f"the keychain would be {kind.__module__}.{kind.__name__}, which does not protect what it keeps: "
            "install gnome-keyring, KeePassXC or KWallet, or set allow_plaintext = true"
        )
    return backend


def _undo_environment(backend: KeyringBackend) -> None:
    """keyring sets any attribute that KEYRING_PROPERTY_* names; an environment must not redirect our secrets."""
    for variable in os.environ:
        if variable.startswith("KEYRING_PROPERTY_"):
            vars(backend).pop(variable.removeprefix("KEYRING_PROPERTY_").lower(), None)


def _name(backend: KeyringBackend) -> str:
    module = type(backend).__module__
    return f"{_NAMES.get(module, type(backend).__name__)} ({module}.{type(backend).__name__})"


def _check_size(backend: KeyringBackend, text: str) -> None:
    most, size = _MOST.get(type(backend).__module__), len(text.encode("utf-16-le"))
    if most is not None and size > most:
        raise Denied(
            f"{_name(backend)} keeps {most} octets in an entry, and this secret takes {size}: keep it in a file "
            'instead (type = "file"; for oauth: store = "file")'
        )


def _no_keychain() -> str:
    bus = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    path = bus.removeprefix("unix:path=").partition(",")[0]
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere", "bus")
    reachable = Path(path).exists() if bus.startswith("unix:path=") else bool(bus) or runtime.exists()
    if reachable:
        return (
            "there is no keychain: D-Bus runs without a Secret Service; install and start gnome-keyring, KeePassXC "
            "or KWallet, or use the vault, file or prompt provider"
        )
    return (
        "there is no keychain: this machine has no D-Bus session; start one with `dbus-run-session -- bash` and "
        "`gnome-keyring-daemon --unlock` in it, or use the vault, file or prompt provider"
    )


def _explain(error: Exception) -> ProviderError:
    """keyring's errors, and its backends', as ours.  None of them holds a secret; only types are quoted."""
    match error:
        case KeyringLocked():
            return Denied("the keychain is locked: unlock it on the desktop, or with `gnome-keyring-daemon --unlock`")
        case NoKeyringError():
            return Unavailable(_no_keychain(), retry_after=_NOT_SOON)
        case InitError():
            return Unavailable(
                "the keychain has no collection yet: create one with `gnome-keyring-daemon --unlock` or Seahorse",
                retry_after=_NOT_SOON,
            )
        case PasswordDeleteError():
            return NotFound("the keychain has no such entry")
        case ImportError() | AttributeError() | RuntimeError() | TypeError():
            return Unavailable(
                f"the chosen keychain backend cannot be used ({type(error).__name__}): look at `keyring diagnose`",
                retry_after=_NOT_SOON,
            )
        case KeyringError():
            return Denied("the keychain refused: open it with its own program and look at the entry `sipcli`")
        case _:
            return Unavailable(f"the keychain failed ({type(error).__name__}): is it still running?")
