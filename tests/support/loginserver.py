"""A login server whose every answer a test decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import (
    CredentialRequest,
    ProviderError,
)
from sipcli.testing import FakeTerminal, ask, make_context, make_request
from sipcli_providers.oauth import OAuthProvider
from tests.support.servers.faults import Answer, FaultServer, Seen


def answer_json(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


class Login:
    """A login server whose every answer a test decides; https, at loopback."""

    def __init__(self, certs: Path) -> None:
        self.certs = certs
        self.answers: dict[str, Answer | Callable[[Seen], Answer]] = {}
        self.server = FaultServer(self._answer, certs=certs)
        self.url = self.server.url
        self.metadata: dict[str, Any] = {
            "issuer": self.url,
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
            "authorization_endpoint": f"{self.url}/auth",
        }

    def _answer(self, seen: Seen) -> Answer:
        path = seen.path.partition("?")[0]
        if path == "/.well-known/oauth-authorization-server" and path not in self.answers:
            return answer_json(self.metadata)
        found = self.answers.get(path, Answer(404, b"{}"))
        return found if isinstance(found, Answer) else found(seen)

    def provider(
        self, flow: str = "client_credentials", terminal: FakeTerminal | None = None, **options: Any
    ) -> OAuthProvider:
        defaults = {
            "issuer": self.url,
            "ca_file": str(self.certs / "ca.pem"),
            "client_id": "c",
            "flow": flow,
            "browser": False,
        }
        return OAuthProvider(
            make_context(defaults | options, name="sso", terminal=terminal or FakeTerminal(), http_timeout=2.0)
        )

    def request(self, **changes: Any) -> CredentialRequest:
        return make_request(**{"scheme": "bearer", "authz_server": self.url} | changes)

    def paths(self) -> list[str]:
        return self.server.paths()


def error_of(provider: OAuthProvider, request: CredentialRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(provider, request)
    return caught.value
