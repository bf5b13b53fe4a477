"""The oauth provider's options: where the client's secret goes, and mistakes."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.testing import ask, make_context
from sipcli_providers.oauth import OAuthProvider
from tests.support.loginserver import Login, answer_json


class TestSecretInTheBody:
    def test_a_server_without_basic_gets_the_secret_in_the_body(self, login: Login, secret_file: str) -> None:
        login.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
        login.answers["/token"] = answer_json({"access_token": "t", "token_type": "Bearer"})
        ask(login.provider(client_secret_file=secret_file), login.request())
        sent = login.server.seen[-1]
        assert "authorization" not in sent.headers
        assert b"client_secret=hunter2-canary" in sent.body

    def test_else_it_goes_into_the_header(self, login: Login, secret_file: str) -> None:
        login.answers["/token"] = answer_json({"access_token": "t", "token_type": "Bearer"})
        ask(login.provider(client_secret_file=secret_file, audience="sip:pbx"), login.request())
        sent = login.server.seen[-1]
        assert sent.headers["authorization"].startswith("Basic ")
        assert b"client_secret" not in sent.body
        assert b"audience=sip%3Apbx" in sent.body


class TestOptions:
    GOOD: dict[str, Any] = {"issuer": "https://login.example.com", "client_id": "c", "flow": "device"}

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"flow": "implicit"}, 'flow must be one of "client_credentials" | "device" | "code"'),
            ({"flow": "client_credentials"}, "needs client_secret_file"),
            ({"issuer": "http://login.example.com"}, "https://"),
            ({"issuer": "http://127.0.0.1:8080"}, "https://"),
            ({"issuer": ""}, "needs issuer"),
            ({"issuer": "", "token_url": "https://a.test/t"}, "device_url"),
            ({"issuer": "", "token_url": "https://a.test/t", "device_url": "https://a.test/d"}, "needs issuer"),
            ({"client_id": ""}, "needs client_id"),
            ({"use": "fetch"}, "needs password_url"),
            ({"password_url": "https://a.test/"}, "goes with"),
            ({"use": "fetch", "password_url": "http://a.test/"}, "https://"),
            ({"use": "fetch", "password_url": "https://{domain}/"}, "must not have its host filled in"),
            ({"use": "fetch", "password_url": "https://a.test/{realm}"}, "does not exist"),
            ({"client_secret": "x"}, "use client_secret_file"),
            ({"scope": [1]}, "must be a list of texts"),
            ({"store": "vault"}, 'must be one of "none" | "keychain" | "file"'),
            ({"store": "file"}, "go together"),
            ({"store_file": "/x"}, "go together"),
            ({"scopes": ["sip"]}, "did you mean scope?"),
            ({"redirect_port": "80"}, "must be a whole number"),
        ],
    )
    def test_a_mistake_is_one_sentence(self, change: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=r"^\[providers\.sso\]") as caught:
            OAuthProvider(make_context(self.GOOD | change, name="sso"))
        assert says in str(caught.value)

    def test_it_describes_itself(self) -> None:
        described = OAuthProvider(make_context(self.GOOD)).describe()
        assert described == "OAuth device at login.example.com:443, used as bearer"
