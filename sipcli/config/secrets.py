"""What must not be in a configuration, and who may write it (threats T14, T15)."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sipcli.errors import ConfigError

__all__ = ["RIGHT_PLACES", "find_secrets", "read_guarded"]

RIGHT_PLACES = (
    "secrets belong in the keychain (sipcli auth save ACCOUNT), in Vault (type = “vault”), behind OAuth "
    "(type = “oauth”), or in a file of their own (type = “file”, path = …)"
)

_SECRET_KEY = re.compile(
    r"(?:.*[_-])?(?:pass?w(?:or)?[dt]|passphrase|pass|pw|pwd|pin|secret|secret_id|client_secret|token|jwt|ha1|api_?key|private_key)",
    re.IGNORECASE,
)
_LARGEST = 1 << 20
_ANOTHER = "name another with --config"


def find_secrets(table: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every place below *table* that looks like a secret, with what is wrong; never the value itself."""
    if isinstance(table, dict):
        for key, value in table.items():
            here = (*path, key)
            # The name of a provider, account or realm may well be "token": only leaves are judged.
            if not isinstance(value, (dict, bool)) and _SECRET_KEY.fullmatch(key):
                yield here, "a secret does not belong in the configuration"
            else:
                yield from find_secrets(value, here)
    elif isinstance(table, list):
        for item in table:
            yield from find_secrets(item, path)
    elif isinstance(table, str) and _has_url_password(table):
        yield path, "a password does not belong in a URL"


def _has_url_password(text: str) -> bool:
    if re.match(r"sips?:[^@;?]*:[^@]*@", text, re.IGNORECASE):
        return True
    if "://" not in text:
        return False
    try:
        return urlsplit(text).password is not None
    except ValueError:
        return False


def read_guarded(path: Path) -> str:
    """The text of *path*, if nobody else could have written it.

    The descriptor that is judged is the one that is read, so that nothing can
    be put in its place in between; a link is followed, and its target judged.
    Raises ConfigError; FileNotFoundError stays itself.
    """
    try:
        # O_NONBLOCK: opening a named pipe must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        hint = f"chmod u+r {path}, or name another with --config" if error.errno == errno.EACCES else _ANOTHER
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    try:
        _judge(path, os.fstat(descriptor))
        for folder in {path.parent, path.resolve().parent}:
            _judge_folder(path, folder)
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            octets = stream.read(_LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(octets) > _LARGEST:
        raise ConfigError(f"{path} is larger than 1 MiB: that is no configuration", hint=_ANOTHER)
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: octet {error.start} cannot be read", hint="TOML is UTF-8") from None


def _judge(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} is not a regular file", hint=_ANOTHER)
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"{path} belongs to somebody else (uid {status.st_uid})", hint=f"chown $USER {path}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"{path} can be written by others (mode {mode:04o})", hint=f"chmod go-w {path}")


def _judge_folder(path: Path, folder: Path) -> None:
    """Who may write the folder may put another file there; the sticky bit of /tmp forbids just that."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise ConfigError(f"{path} lies in a folder that everybody can write", hint=f"chmod o-w {folder}")
