"""Takes the password from a credential that systemd gave our service (systemd.exec(5), LoadCredential=)."""

from __future__ import annotations

import os
from pathlib import Path

from sipcli.credentials import CredentialRequest, Denied, NotFound, PasswordCredentials, ProviderContext
from sipcli_providers._lookup import Template, user_of
from sipcli_providers._options import Options
from sipcli_providers._secretfile import read_secret

_FOLDER = "CREDENTIALS_DIRECTORY"


class SystemdProvider:
    """``type = "systemd"``, ``credential = "sip"``: the file of that name below ``$CREDENTIALS_DIRECTORY``."""

    interactive = False

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        options = Options(context.options, where=f"[providers.{context.name}]")
        text = options.required("credential", "sip")
        options.done()
        if "/" in text or text in (".", ".."):
            raise ValueError(f"{options.where} credential is a name as LoadCredential= has it, not a path")
        self._credential = Template(text, key=f"{options.where} credential")

    def get(self, request: CredentialRequest) -> PasswordCredentials:
        """Raises NotFound outside a service or without the credential, Denied when the file cannot be trusted."""
        request.cancel.raise_if_set()
        if request.scheme != "digest":
            raise NotFound(f"{self.name} holds a password, and the server asks for a token")
        name = self._credential.expand(request)
        folder = os.environ.get(_FOLDER)
        if not folder:
            raise NotFound(f"no credential {name}: {_FOLDER} is not set, so systemd gave us none (LoadCredential=)")
        if not Path(folder).is_absolute():
            raise Denied(f"{_FOLDER} is no absolute path: systemd did not set it")
        secret = read_secret(Path(folder, name))
        try:
            return PasswordCredentials(user_of(request), secret, ref=f"{self.name}:{name}")
        except ValueError:
            raise Denied(f"the credential {name} holds more than one line: it must hold the password alone") from None

    def describe(self) -> str:
        folder = os.environ.get(_FOLDER)
        state = f"below {folder}" if folder else f"{_FOLDER} is not set: not a service with credentials"
        return f"systemd credential {self._credential.text} ({state})"
