"""Takes the password from a file or, once, from a pipe: Docker, Kubernetes, systemd, scripts."""

from __future__ import annotations

import os
import re
import select
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sipcli.credentials import (
    CredentialRequest,
    Denied,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    Secret,
    Unavailable,
)
from sipcli_providers._lookup import Template, user_of
from sipcli_providers._options import Options
from sipcli_providers._secretfile import read_secret, to_secret

_GLANCE = 0.1
_DESCRIPTOR = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/([0-9]{1,6})")


class FileProvider:
    """``type = "file"``, ``path = "/run/secrets/sip"``; the whole content is the password."""

    interactive = False

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        options = Options(context.options, where=f"[providers.{context.name}]")
        self._path = Template(options.required("path", "/run/secrets/sip"), key=f"{options.where} path")
        self._allow_readable = options.flag("allow_readable")
        options.done()
        self._pipe = _pipe_of(self._path.text)

    def get(self, request: CredentialRequest) -> PasswordCredentials:
        """Raises NotFound without the file, Denied when its owner or mode cannot be trusted."""
        request.cancel.raise_if_set()
        if request.scheme != "digest":
            raise NotFound(f"{self.name} holds a password, and the server asks for a token")
        if self._pipe is not None:
            where, secret = self._pipe.name, self._pipe.read(request)
        else:
            where = self._path.expand(request)
            secret = read_secret(_expand_user(where), allow_readable=self._allow_readable)
        try:
            return PasswordCredentials(user_of(request), secret, ref=f"{self.name}:{where}")
        except ValueError:
            file = None if self._pipe is not None else _expand_user(where)
            raise Denied(f"{where} holds more than one line: it must hold the password only", file=file) from None

    def describe(self) -> str:
        return f"file {self._path.text}" if self._pipe is None else self._pipe.name


def _pipe_of(path: str) -> _Pipe | None:
    """What can be read only once: standard input, or the pipe that a shell puts behind ``<(command)``.

    Its name leads nowhere: the link says ``pipe:[4711]``, and a process that is not dumpable may not even look.
    """
    if path == "-":
        return _Pipe("standard input", _stdin_descriptor)
    if (named := _DESCRIPTOR.fullmatch(path)) is None:
        return None
    descriptor = int(named[1] or 0)
    try:
        once = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return None
    return _Pipe(path, lambda: descriptor) if once else None


def _expand_user(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise NotFound(f"{text} starts with ~ but there is no home directory: write the whole path") from error


class _Pipe:
    """A pipe can be read once, and several accounts may want it."""

    def __init__(self, name: str, descriptor: Callable[[], int]) -> None:
        self.name = name
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._value: bytes | None = None

    def read(self, request: CredentialRequest) -> Secret:
        """A fresh Secret each time, for its taker may wipe it."""
        while not self._lock.acquire(timeout=_GLANCE):
            request.cancel.raise_if_set()
        try:
            if self._value is None:
                self._value = _read_descriptor(self._descriptor(), self.name, request)
            return to_secret(self._value, self.name)
        finally:
            self._lock.release()


def _stdin_descriptor() -> int:
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError) as error:  # closed: sys.stdin is None
        raise NotFound("standard input is closed") from error
    if os.isatty(descriptor):
        raise Denied("standard input is a terminal, which would show the password: use the prompt provider")
    return descriptor


def _read_descriptor(descriptor: int, name: str, request: CredentialRequest) -> bytes:
    """To the end of the pipe, leaving when cancelled: a writer may never close it."""
    octets = b""
    while True:
        request.cancel.raise_if_set()
        if time.monotonic() >= request.deadline:
            raise Unavailable(f"nothing arrived on {name}: its writer must close it")
        if select.select([descriptor], [], [], _GLANCE)[0]:
            chunk = os.read(descriptor, 65536)
            if not chunk or len(octets) > 65536:
                return octets + chunk
            octets += chunk
