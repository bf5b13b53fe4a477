"""Turns an account into the name its secret is kept under; nothing here ever comes from the network.

A look-up key is built from the configuration alone (``{account}``,
``{username}``, ``{domain}``, ``{aor}``).  The realm is text from a server and
is not among them: whoever challenges us must not choose which secret we fetch.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from urllib.parse import quote, unquote

from sipcli.credentials import CredentialRequest, Denied

PLACEHOLDERS = ("account", "aor", "domain", "username")


def bare_aor(request: CredentialRequest) -> str:
    """``alice@example.com`` for ``sip:alice@example.com;transport=tls``."""
    scheme, _, rest = request.aor.partition(":")
    address = rest if scheme.lower() in ("sip", "sips") else request.aor
    return address.partition(";")[0].partition("?")[0]


def user_of(request: CredentialRequest) -> str:
    """The digest user name: as configured, else the user part of the aor, unescaped."""
    return request.username or unquote(bare_aor(request).rpartition("@")[0].partition(":")[0])


def domain_of(request: CredentialRequest) -> str:
    """The host of the aor, without port; an IPv6 address keeps its brackets."""
    host = bare_aor(request).rpartition("@")[2]
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def server_of(request: CredentialRequest) -> str:
    """What a prompt says of the server before what it says of itself; empty where no certificate tells who asks."""
    return f", server {printable(request.origin)} (TLS)" if request.verified else ""


def printable(text: str, limit: int = 200) -> str:
    """Remote text made fit for a terminal: control and bidirectional characters are escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: limit + 1])
    return shown if len(shown) <= limit else shown[:limit] + "…"


class Template:
    """A path or URL of the configuration with ``{username}`` and the like in it.

    Raises ValueError for a placeholder that does not exist, at construction,
    because a typo must not wait for the first challenge to be noticed.
    """

    def __init__(self, text: str, *, key: str) -> None:
        self.text = text
        self._key = key
        try:
            self._parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"{key} has a brace without its partner: write {{{{ for a brace that stays") from error
        for _, name, spec, conversion in self._parts:
            if name is not None and (name not in PLACEHOLDERS or spec or conversion):
                known = ", ".join(f"{{{place}}}" for place in PLACEHOLDERS)
                raise ValueError(f"{key} uses {{{name}}}, which does not exist: there are {known}")

    def expand(self, request: CredentialRequest) -> str:
        """For a file or a store: a value that would leave its place in the path is refused."""
        return self._fill(request, self._safe)

    def expand_url(self, request: CredentialRequest) -> str:
        """For a URL: the same, and percent-encoded (RFC 3986 section 2.1)."""
        return self._fill(request, lambda name, value: quote(self._safe(name, value), safe="@"))

    def expand_name(self, request: CredentialRequest) -> str:
        """For a store whose names are no paths, such as a keychain: nothing is refused, nothing encoded."""
        return self._fill(request, lambda _, value: value)

    def _fill(self, request: CredentialRequest, make_safe: Callable[[str, str], str]) -> str:
        values = {
            "account": request.account,
            "aor": bare_aor(request),
            "domain": domain_of(request),
            "username": user_of(request),
        }
        return "".join(text + (make_safe(name, values[name]) if name else "") for text, name, _, _ in self._parts)

    def _safe(self, name: str, value: str) -> str:
        if value in ("", ".", "..") or any(c in "/\\" or not c.isprintable() for c in value):
            raise Denied(f"the {name} {printable(value)!r} cannot be part of {self._key}: it would lead elsewhere")
        return value
