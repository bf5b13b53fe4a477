"""Reads a ``[providers.NAME]`` table; every complaint names table, key and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", bool, int, float, str)

# A configuration file is copied, committed and pasted: no secret belongs in it.
_SECRETS = {
    "password": "password_file",
    "secret": "the keychain",
    "token": "token_file",
    "secret_id": "secret_id_file",
    "client_secret": "client_secret_file",
    "jwt": "jwt_file",
    "access_token": "the keychain",
    "refresh_token": "the keychain",
}


class Options:
    """Takes each key once; :meth:`done` then refuses what nobody took.  All raise ValueError."""

    def __init__(self, table: Mapping[str, Any], *, where: str) -> None:
        self._left = dict(table)
        self._known: set[str] = set()
        self.where = where

    def text(self, key: str, default: str) -> str:
        return self._take(key, str, default, "a text")

    def optional(self, key: str) -> str | None:
        """A text, or None when the key is absent."""
        return self.text(key, "") or None

    def required(self, key: str, example: str) -> str:
        value = self.text(key, "")
        if not value:
            raise ValueError(f'{self.where} needs {key}, for example {key} = "{example}"')
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        return self._take(key, bool, default, "true or false")

    def number(self, key: str, default: int) -> int:
        return self._take(key, int, default, "a whole number")

    def choice(self, key: str, allowed: Sequence[str], default: str | None = None) -> str:
        """One of *allowed*; without *default* the key is required."""
        value = self.text(key, default or "")
        if value not in allowed:
            shown = " | ".join(f'"{name}"' for name in allowed)
            raise ValueError(f"{self.where} {key} must be one of {shown}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; one text counts as a list of one."""
        self._known.add(key)
        value = self._left.pop(key, ())
        items = (value,) if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
            raise ValueError(f'{self.where} {key} must be a list of texts, for example {key} = ["a", "b"]')
        return tuple(items)

    def file(self, key: str) -> Path | None:
        """A path, ``~`` expanded; None when the key is absent."""
        value = self.text(key, "")
        return _expand_user(value, f"{self.where} {key}") if value else None

    def required_file(self, key: str) -> Path:
        return _expand_user(self.required(key, f"~/.config/sipcli/{key.removesuffix('_file')}"), f"{self.where} {key}")

    def table(self, key: str) -> Options | None:
        """A table inside this one; None when the key is absent."""
        self._known.add(key)
        value = self._left.pop(key, None)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise ValueError(f'{self.where} {key} must be a table, for example {key} = {{ method = "..." }}')
        return Options(value, where=f"{self.where} {key}")

    def done(self) -> None:
        """Refuse keys that nobody took: a secret with its right place, a typo with the nearest key."""
        for key in sorted(self._left):
            if key in _SECRETS:
                raise ValueError(
                    f"{self.where} {key}: a secret does not belong in the configuration; use {_SECRETS[key]} instead"
                )
            near = difflib.get_close_matches(key, sorted(self._known), n=1)
            meant = f"did you mean {near[0]}?" if near else f"it knows {', '.join(sorted(self._known))}"
            raise ValueError(f"{self.where} has no key {key}: {meant}")

    def _take(self, key: str, kind: type[T], default: T, wanted: str) -> T:
        self._known.add(key)
        value = self._left.pop(key, default)
        if type(value) is not kind:  # not isinstance: true is an int to Python, not to a reader of TOML
            raise ValueError(f"{self.where} {key} must be {wanted}")
        return value


def _expand_user(text: str, where: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no HOME, no such user
        raise ValueError(f"{where} starts with ~ but there is no home directory: write the whole path") from error
