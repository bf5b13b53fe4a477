"""Takes the password from one named environment variable, for containers.

Never a default: an environment is visible to the same user in /proc and is
inherited by every child, so the configuration has to ask for it by name.
"""

from __future__ import annotations

import os

from sipcli.credentials import (
    CredentialRequest,
    Denied,
    NotFound,
    PasswordCredentials,
    ProviderContext,
    Secret,
)
from sipcli_providers._lookup import user_of
from sipcli_providers._options import Options


class EnvProvider:
    """``type = "env"``, ``variable = "SIP_SECRET"``."""

    interactive = False

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        options = Options(context.options, where=f"[providers.{context.name}]")
        self._variable = options.required("variable", "SIP_SECRET")
        options.done()

    def get(self, request: CredentialRequest) -> PasswordCredentials:
        """Raises NotFound when the variable is unset or empty, or the challenge is not Digest."""
        request.cancel.raise_if_set()
        if request.scheme != "digest":
            raise NotFound(f"{self.name} holds a password, and the server asks for a token")
        value = os.environb.get(os.fsencode(self._variable), b"") if os.supports_bytes_environ else self._text()
        if not value:
            raise NotFound(f"the environment variable {self._variable} is not set")
        try:
            return PasswordCredentials(user_of(request), Secret(value), ref=f"{self.name}:{self._variable}")
        except ValueError:
            # "from None": the frame below holds the value in a local variable
            raise Denied(f"the environment variable {self._variable} contains a line break") from None

    def describe(self) -> str:
        state = "set" if os.environ.get(self._variable) else "not set"
        return f"environment variable {self._variable} ({state})"

    def _text(self) -> bytes:
        return os.environ.get(self._variable, "").encode()
