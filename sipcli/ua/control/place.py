"""Where control sockets are, and whether the place - and who is at the other end - can be trusted (threat T34).

A socket lies in a directory that belongs to us and that nobody else can enter;
no link is followed to it; and the system is asked, at both ends, who the other
is: the mode of a socket file means nothing on some systems, and whoever could
plant one would be handed the password.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import struct
from collections.abc import Mapping
from pathlib import Path

from sipcli.errors import ConfigError

__all__ = ["check_directory", "check_socket", "peer_of", "runtime_directory", "sockets_in"]

_NAME = re.compile(r"([1-9][0-9]{0,9})\.sock")
LONGEST_PATH = 100
"""Octets: sockaddr_un holds 108 on Linux and 104 on macOS, with the final NUL."""


def runtime_directory(environ: Mapping[str, str]) -> Path | None:
    """``$XDG_RUNTIME_DIR/sipcli``, which need not exist; None where there is no such place.

    A relative path counts as none (XDG Base Directory Specification).
    """
    place = environ.get("XDG_RUNTIME_DIR", "")
    return Path(place) / "sipcli" if place.startswith("/") else None


def check_directory(path: Path, *, private: bool) -> None:
    """Raise ConfigError unless *path* is a directory of ours that nobody else writes; *private*: nor enters."""
    try:
        # Opened rather than looked at: O_NOFOLLOW refuses a link, and what fstat says is of what was opened.
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint="make it, with mode 0700") from None
    except OSError as error:
        raise ConfigError(f"{path} is not a directory of our own ({error.strerror})", hint="remove it") from None
    try:
        seen = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if seen.st_uid != os.geteuid():
        hint = "run this as that user, or name another place: --control PATH"
        raise ConfigError(f"{path} belongs to user {seen.st_uid}, not to us ({os.geteuid()})", hint=hint)
    forbidden = 0o077 if private else 0o022
    if seen.st_mode & forbidden:
        mode = stat.S_IMODE(seen.st_mode)
        # Never tell anybody to lock the world out of /tmp.
        shared = mode & stat.S_ISVTX
        hint = "name a socket in a folder of your own, of mode 0700" if shared else f"chmod 0700 {path}"
        raise ConfigError(f"others can get into {path} (mode {mode:04o})", hint=hint)


def check_socket(path: Path) -> None:
    """Raise ConfigError unless *path* is a socket of ours itself, not a link, in a directory that is ours."""
    check_directory(path.parent, private=False)
    try:
        seen = path.lstat()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="is that sipcli still running?") from None
    if not stat.S_ISSOCK(seen.st_mode):
        raise ConfigError(f"{path} is not a socket", hint="name the control socket of a running sipcli")
    if seen.st_uid != os.geteuid():
        raise ConfigError(f"{path} belongs to user {seen.st_uid}, not to us ({os.geteuid()})")


def sockets_in(directory: Path) -> list[tuple[int, Path]]:
    """The control sockets in *directory*, each with the process it is named after.  Raises ConfigError as above."""
    try:
        check_directory(directory, private=True)
        places = list(directory.iterdir())
    except FileNotFoundError:
        return []
    except ConfigError:
        if not os.path.lexists(directory):
            return []
        raise
    found = ((_NAME.fullmatch(path.name), path) for path in places)
    return sorted((int(match[1]), path) for match, path in found if match is not None)


def peer_of(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket, as the system knows it.  Raises OSError where it does not."""
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize("3i")
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        return int(uid)
    return _getpeereid(connection)


def _getpeereid(connection: socket.socket) -> int:
    """BSD and macOS: getpeereid(3), which the socket module does not have."""
    import ctypes

    uid, gid = ctypes.c_uint(), ctypes.c_uint()
    if ctypes.CDLL(None, use_errno=True).getpeereid(connection.fileno(), ctypes.byref(uid), ctypes.byref(gid)) != 0:
        raise OSError(ctypes.get_errno(), "the system does not say who is at the other end")
    return uid.value
