"""Talking to a running sipcli over its control socket: found, checked, asked.

Nothing is sent before the system has said that who listens is us (threat T34).
Everything here blocks, and belongs on a worker thread.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sipcli.credentials import Secret
from sipcli.errors import ConfigError, NetworkError, SipcliError
from sipcli.ua.control.place import check_socket, peer_of, runtime_directory, sockets_in

__all__ = ["CommandFailed", "RunningSipcli", "find_running"]

_QUICK_S = 3.0
_LONGEST_ANSWER = 2**22


class CommandFailed(SipcliError):
    """The running sipcli says no; *kind* is its word for why."""

    def __init__(self, message: str, kind: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class RunningSipcli:
    """One that has a control socket at *path*."""

    path: Path

    def ask(
        self, command: str, fields: Mapping[str, Any] | None = None, *, secret: Secret | None = None, wait: float = 0.0
    ) -> dict[str, Any]:
        """The answer to *command*.  *wait* is what it may take beside the usual.

        Raises ConfigError for a socket that cannot be trusted, ConnectionRefusedError
        where nobody listens, NetworkError when no answer comes, CommandFailed.
        """
        check_socket(self.path)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_QUICK_S)
            try:
                connection.connect(os.fspath(self.path))
                self._check_peer(connection)
                _send(connection, _line(command, fields or {}, secret))
                connection.settimeout(_QUICK_S + wait)
                line = _read_line(connection)
            except ConnectionRefusedError:
                raise
            except OSError as error:
                why = "it does not answer" if isinstance(error, TimeoutError) else error.strerror
                raise NetworkError(f"{self.path}: {why}", hint="is that sipcli still running?") from None
        return self._understood(line)

    def _check_peer(self, connection: socket.socket) -> None:
        user = peer_of(connection)
        if user != os.geteuid():
            raise ConfigError(f"who listens at {self.path} is user {user}, not us ({os.geteuid()}): nothing was sent")

    def _understood(self, line: bytes) -> dict[str, Any]:
        try:
            answer: Any = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise NetworkError(f"{self.path}: it left without an answer", hint="is that sipcli still running?")
        if not answer.get("ok"):
            kind, hint = str(answer.get("error")), answer.get("hint")
            raise CommandFailed(str(answer.get("message")), kind, hint=None if hint is None else str(hint))
        return answer


def find_running(control: Path | None, environ: Mapping[str, str]) -> list[RunningSipcli]:
    """Those who may be there: the one that was named, or all of the run-time directory.  Raises ConfigError."""
    if sys.platform == "win32":
        raise ConfigError("there are no control sockets on Windows")
    if control is not None:
        return [RunningSipcli(control.expanduser().absolute())]
    directory = runtime_directory(environ)
    if directory is None:
        raise ConfigError("$XDG_RUNTIME_DIR is not set", hint="name the control socket: --control PATH")
    return [RunningSipcli(path) for _, path in sockets_in(directory)]


def _send(connection: socket.socket, line: bytearray) -> None:
    """Our copy is zeroed, for it may hold a secret."""
    try:
        connection.sendall(line)
    finally:
        line[:] = bytes(len(line))


def _line(command: str, fields: Mapping[str, Any], secret: Secret | None) -> bytearray:
    line: dict[str, Any] = {"id": "1", "command": command, **fields}
    if secret is not None:
        line["secret"] = secret.reveal().decode("utf-8", "surrogateescape")
    return bytearray(json.dumps(line).encode() + b"\n")


def _read_line(connection: socket.socket) -> bytes:
    buffer = bytearray()
    while not buffer.endswith(b"\n") and len(buffer) < _LONGEST_ANSWER:
        got = connection.recv(65536)
        if not got:
            break
        buffer += got
    return bytes(buffer)
