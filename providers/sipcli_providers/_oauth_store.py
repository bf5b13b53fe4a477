"""Keeps refresh tokens, if the configuration says so: in the keychain, or in a file where there is none.

Only the refresh token: access tokens are short-lived, and often too large for
the Windows Credential Manager (2560 octets).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from sipcli.credentials import Cancelled, ProviderError, Secret, Terminal
from sipcli_providers._oauth_file import TokenFile
from sipcli_providers._patience import Wait

T = TypeVar("T")


class Place(Protocol):
    """Where they lie.  All raise our errors."""

    name: str

    def find(self, user: str, wait: Wait) -> Secret | None: ...
    def save(self, user: str, refresh: Secret, wait: Wait) -> None: ...
    def erase(self, user: str, refresh: Secret, wait: Wait) -> None: ...
    def held(self, wait: Wait) -> contextlib.AbstractContextManager[None]: ...


class InKeychain:
    """Service ``sipcli oauth ISSUER``, user name = the aor."""

    name = "the keychain"

    def __init__(self, issuer: str) -> None:
        from sipcli_providers.keychain import Keychain  # keyring takes 80 ms: only who stores pays

        self._keychain = Keychain()
        self._service = f"sipcli oauth {issuer}"

    def find(self, user: str, wait: Wait) -> Secret | None:
        return self._keychain.find(self._service, user, wait)

    def save(self, user: str, refresh: Secret, wait: Wait) -> None:
        self._keychain.save(self._service, user, refresh, wait)

    def erase(self, user: str, refresh: Secret, wait: Wait) -> None:
        self._keychain.erase(self._service, user, wait, only=refresh)

    def held(self, wait: Wait) -> contextlib.AbstractContextManager[None]:
        """Keychains have no lock of their own; who loses the race finds the newer token there."""
        return contextlib.nullcontext()


class InFile:
    """:class:`TokenFile`, which is local and answers at once."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._file = TokenFile(path)

    def find(self, user: str, wait: Wait) -> Secret | None:
        return self._file.find(user)

    def save(self, user: str, refresh: Secret, wait: Wait) -> None:
        self._file.save(user, refresh)

    def erase(self, user: str, refresh: Secret, wait: Wait) -> None:
        self._file.erase(user, refresh)

    def held(self, wait: Wait) -> contextlib.AbstractContextManager[None]:
        return self._file.held(wait)


class TokenStore:
    """A place whose failure costs a sign-in, not the call: it is said once, and the flow goes on without it."""

    def __init__(self, place: Place, terminal: Terminal, name: str) -> None:
        self._place = place
        self._terminal = terminal
        self._name = name
        self._complained = False

    @contextlib.contextmanager
    def held(self, wait: Wait) -> Iterator[None]:
        """For as long as a token is taken out, used and replaced."""
        with contextlib.ExitStack() as stack:
            self._try("read from", lambda: stack.enter_context(self._place.held(wait)))
            yield

    def find(self, user: str, wait: Wait) -> Secret | None:
        return self._try("read from", lambda: self._place.find(user, wait))

    def save(self, user: str, refresh: Secret, wait: Wait) -> None:
        self._try("kept in", lambda: self._place.save(user, refresh, wait))

    def erase(self, user: str, refresh: Secret, wait: Wait) -> None:
        """Erase *refresh* and nothing newer."""
        self._try("erased from", lambda: self._place.erase(user, refresh, wait))

    def _try(self, what: str, act: Callable[[], T]) -> T | None:
        try:
            return act()
        except Cancelled:
            raise
        except ProviderError as error:
            if not self._complained:  # once: the person will have to sign in again next time, and should know why
                self._complained = True
                self._terminal.show(f"{self._name}: the sign-in could not be {what} {self._place.name}: {error}")
            return None
