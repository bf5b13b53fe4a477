"""Reads a file that holds a secret, after judging who else could have written or read it.

Too strict a rule breaks Docker (its secrets are 0444) and Kubernetes (links
into a ``..data`` folder); too lax a rule leaks.  So links are followed and the
*target* is judged: it must belong to us or to root, nobody else may write it,
and others may read it only where the platform puts secrets, or where the
configuration says so.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from sipcli.credentials import Denied, NotFound, Secret, Unavailable

_LIMIT = 64 * 1024
_SECRETS_PLACE = Path("/run/secrets")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_READ = stat.S_IRGRP | stat.S_IROTH


def read_secret(path: Path, *, allow_readable: bool = False) -> Secret:
    """The file's octets without one trailing newline.

    Raises NotFound if there is none, Denied if its owner or mode cannot be
    trusted, Unavailable if reading fails.
    """
    try:
        target = Path(os.path.realpath(path, strict=True))  # Path.resolve raises RuntimeError for a loop
        # The judged file is the opened file: fstat on the descriptor, and no link may slip in after resolve().
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _explain(path, error) from error
    try:
        _judge_file(path, os.fstat(descriptor), allow_readable or _is_secrets_place(target))
        _judge_folder(path, target.parent)
        octets = _read(descriptor)
    except OSError as error:
        raise _explain(path, error) from error
    finally:
        os.close(descriptor)
    return to_secret(octets, str(path), path)


def to_secret(octets: bytes, where: str, file: Path | None = None) -> Secret:
    """What a file or a pipe gave, less one line end, as text editors add it."""
    if len(octets) > _LIMIT:
        raise Denied(f"{where} is larger than {_LIMIT // 1024} KiB: that is no secret", file=file)
    value = octets.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise NotFound(f"{where} is empty")
    return Secret(value)


def _read(descriptor: int) -> bytes:
    """All of it, or just enough to see that it is too large."""
    octets = b""
    while len(octets) <= _LIMIT and (chunk := os.read(descriptor, _LIMIT + 1)):
        octets += chunk
    return octets


def _judge_file(path: Path, facts: os.stat_result, readable: bool) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise Denied(f"{path} is not a regular file", file=path)
    if facts.st_uid not in (os.geteuid(), 0):
        raise Denied(f"{path} belongs to another user (uid {facts.st_uid}): chown it to yourself", file=path)
    if facts.st_mode & _OTHERS_WRITE:
        raise Denied(
            f"{path} can be written by others (mode {facts.st_mode & 0o777:04o}): chmod go-w {path}", file=path
        )
    if facts.st_mode & _OTHERS_READ and not readable:
        raise Denied(
            f"{path} can be read by others (mode {facts.st_mode & 0o777:04o}): chmod 600 {path}, "
            "or set allow_readable = true if that is meant",
            file=path,
        )


def _judge_folder(path: Path, folder: Path) -> None:
    """Who may write the folder may swap the file, unless the sticky bit forbids it."""
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise Denied(f"{path} lies in {folder}, where everybody can write: chmod o-w {folder}", file=folder)


def _is_secrets_place(target: Path) -> bool:
    """Docker and Podman mount at /run/secrets; systemd names its place (systemd.exec, LoadCredential=)."""
    places = [_SECRETS_PLACE]
    if named := os.environ.get("CREDENTIALS_DIRECTORY"):
        places.append(Path(named))
    return any(target.is_relative_to(place.resolve()) for place in places)


def _explain(path: Path, error: OSError) -> NotFound | Denied | Unavailable:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(f"there is no file {path}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Denied(f"{path} may not be read by this user: look at its owner and mode", file=path)
    if error.errno == errno.ELOOP:
        return Denied(f"{path} is a link that leads to itself, or was swapped while we looked", file=path)
    return Unavailable(f"{path} cannot be read: {error.strerror}")
