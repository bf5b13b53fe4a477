"""Refresh tokens in a file of the user's choice, for machines without a keychain: ``store = "file"``.

A rotated token is on disk before the access token that came with it is used.
Two processes that share the file take turns, for a refresh token that is used
twice is an alarm at the login server (RFC 9700 section 4.14).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from sipcli.credentials import Denied, Secret
from sipcli_providers._keptfile import KeptFile
from sipcli_providers._patience import Wait


class TokenFile:
    """A JSON object, aor → refresh token, in one 0600 file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = KeptFile(path, make_folder=True)

    def held(self, wait: Wait) -> AbstractContextManager[None]:
        """Nobody else reads, refreshes or writes meanwhile, in this process or another."""
        return self._file.held(wait)

    def find(self, user: str) -> Secret | None:
        """The refresh token of *user*; Denied for a file that others may read or write, or that is not ours."""
        value = self._read().get(user)
        return Secret(value) if value else None

    def save(self, user: str, refresh: Secret) -> None:
        kept = self._read()
        kept[user] = refresh.reveal().decode()
        self._file.write(kept)

    def erase(self, user: str, refresh: Secret) -> None:
        """Erase *refresh* and nothing newer."""
        kept = self._read()
        if user in kept and Secret(kept[user]) == refresh:
            del kept[user]
            self._file.write(kept)

    def _read(self) -> dict[str, str]:
        try:
            kept = self._file.read()
        except ValueError:
            kept = ()
        if kept is None:
            return {}
        if not isinstance(kept, dict) or not all(isinstance(value, str) for value in kept.values()):
            raise Denied(
                f"{self.path} holds something else than the sign-ins that sipcli keeps: name another store_file",
                file=self.path,
            )
        return kept
