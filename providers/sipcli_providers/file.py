"""Takes the password from a file or, for ``-``, once from standard input: Docker, Kubernetes, systemd, scripts."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
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


class FileProvider:
    """``type = "file"``, ``path = "/run/secrets/sip"``; the whole content is the password."""

    interactive = False

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        options = Options(context.options, where=f"[providers.{context.name}]")
        self._path = Template(options.required("path", "/run/secrets/sip"), key=f"{options.where} path")
        self._allow_readable = options.flag("allow_readable")
        options.done()
        self._stdin = _StdinOnce()

    def get(self, request: CredentialRequest) -> PasswordCredentials:
        """Raises NotFound without the file, Denied when its owner or mode cannot be trusted."""
        request.cancel.raise_if_set()
        if request.scheme != "digest":
            raise NotFound(f"{self.name} holds a password, and the server asks for a token")
        if self._path.text == "-":
            where, secret = "standard input", self._stdin.read(request)
        else:
            where = self._path.expand(request)
            secret = read_secret(_expand_user(where), allow_readable=self._allow_readable)
        try:
            return PasswordCredentials(user_of(request), secret, ref=f"{self.name}:{where}")
        except ValueError:
            file = None if where == "standard input" else _expand_user(where)
            raise Denied(f"{where} holds more than one line: it must hold the password only", file=file) from None

    def describe(self) -> str:
        return "standard input" if self._path.text == "-" else f"file {self._path.text}"


def _expand_user(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise NotFound(f"{text} starts with ~ but there is no home directory: write the whole path") from error


class _StdinOnce:
    """Standard input can be read once, and several accounts may want it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: bytes | None = None

    def read(self, request: CredentialRequest) -> Secret:
        """A fresh Secret each time, for its taker may wipe it."""
        while not self._lock.acquire(timeout=_GLANCE):
            request.cancel.raise_if_set()
        try:
            if self._value is None:
                self._value = _read_descriptor(_stdin_descriptor(), request)
            return to_secret(self._value, "standard input")
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


def _read_descriptor(descriptor: int, request: CredentialRequest) -> bytes:
    """To the end of the pipe, leaving when cancelled: a writer may never close it."""
    octets = b""
    while True:
        request.cancel.raise_if_set()
        if time.monotonic() >= request.deadline:
            raise Unavailable("nothing arrived on standard input: its writer must close it")
        if select.select([descriptor], [], [], _GLANCE)[0]:
            chunk = os.read(descriptor, 65536)
            if not chunk or len(octets) > 65536:
                return octets + chunk
            octets += chunk
