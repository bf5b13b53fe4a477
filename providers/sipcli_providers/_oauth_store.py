"""Keeps refresh tokens in the keychain, if the configuration says ``store = "keychain"``.

Only the refresh token: access tokens are short-lived, and often too large for
the Windows Credential Manager (2560 octets).
"""

from __future__ import annotations

from sipcli.credentials import Cancelled, ProviderError, Secret, Terminal
from sipcli_providers._patience import Wait


class TokenStore:
    """Service ``sipcli oauth ISSUER``, user name = the aor.  A keychain that fails costs a sign-in, not the call."""

    def __init__(self, issuer: str, terminal: Terminal, name: str) -> None:
        from sipcli_providers.keychain import Keychain  # keyring takes 80 ms: only who stores pays

        self._keychain = Keychain()
        self._service = f"sipcli oauth {issuer}"
        self._terminal = terminal
        self._name = name
        self._complained = False

    def find(self, user: str, wait: Wait) -> Secret | None:
        try:
            return self._keychain.find(self._service, user, wait)
        except Cancelled:
            raise
        except ProviderError as error:
            self._complain("read from", error)
            return None

    def save(self, user: str, refresh: Secret, wait: Wait) -> None:
        try:
            self._keychain.save(self._service, user, refresh, wait)
        except Cancelled:
            raise
        except ProviderError as error:
            self._complain("kept in", error)

    def erase(self, user: str, refresh: Secret, wait: Wait) -> None:
        """Erase *refresh* and nothing newer."""
        try:
            self._keychain.erase(self._service, user, wait, only=refresh)
        except Cancelled:
            raise
        except ProviderError as error:
            self._complain("erased from", error)

    def _complain(self, what: str, error: ProviderError) -> None:
        """Once: the person will have to sign in again next time, and should know why."""
        if not self._complained:
            self._complained = True
            self._terminal.show(f"{self._name}: the sign-in could not be {what} the keychain: {error}")
