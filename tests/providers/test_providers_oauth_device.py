"""The oauth provider's device flow: how often it asks, when it stops, and which page it shows (RFC 8628; T30)."""

from __future__ import annotations

import threading
import time

import pytest

from sipcli.credentials import (
    Cancelled,
    Denied,
    ProviderError,
    Unavailable,
    UserAction,
)
from sipcli.testing import FakeTerminal, ask
from sipcli_providers import _oauth_signin
from sipcli_providers._patience import Wait
from tests.support.loginserver import Login, answer_json, error_of
from tests.support.servers.faults import Answer, Seen


class TestDevicePolling:
    """RFC 8628 section 3.5, on a clock that records instead of sleeping."""

    @pytest.fixture
    def slept(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        pauses: list[float] = []

        def sleep(self: Wait, seconds: float) -> None:
            pauses.append(round(seconds, 2))
            self.cancel.raise_if_set()

        monkeypatch.setattr(Wait, "sleep", sleep)
        return pauses

    def starting(self, login: Login, **more: object) -> None:
        started = {
            "device_code": "d",
            "user_code": "ABCD",
            "verification_uri": f"{login.url}/activate",
            "expires_in": 600,
        }
        login.answers["/device"] = answer_json(started | more)

    def telling(self, login: Login, *errors: str | Answer) -> None:
        script = list(errors)

        def token(_: Seen) -> Answer:
            if not script:
                return answer_json({"access_token": "t", "token_type": "Bearer"})
            step = script.pop(0)
            return step if isinstance(step, Answer) else answer_json({"error": step}, 400)

        login.answers["/token"] = token

    def test_the_servers_interval_and_slow_down(
        self, login: Login, slept: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_oauth_signin, "_INTERVAL", 5.0)
        self.starting(login, interval=3)
        self.telling(login, "authorization_pending", "slow_down", "slow_down", "authorization_pending")
        ask(login.provider("device"), login.request())
        assert slept == [3, 3, 8, 13, 13]

    def test_five_seconds_when_the_server_does_not_say(
        self, login: Login, slept: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_oauth_signin, "_INTERVAL", 5.0)
        self.starting(login)
        self.telling(login, "authorization_pending")
        ask(login.provider("device"), login.request())
        assert slept == [5, 5]

    def test_a_server_that_fails_is_asked_half_as_often(self, login: Login, slept: list[float]) -> None:
        self.starting(login, interval=4)
        self.telling(login, Answer(503, b"{}"), Answer(503, b"{}"))
        ask(login.provider("device"), login.request())
        assert slept == [4, 8, 16]

    @pytest.mark.parametrize(
        ("error", "kind"),
        [("access_denied", Denied), ("expired_token", Unavailable), ("invalid_grant", Denied), ("odd", Denied)],
    )
    def test_an_end_is_an_end(self, login: Login, slept: list[float], error: str, kind: type[ProviderError]) -> None:
        self.starting(login)
        self.telling(login, "authorization_pending", error)
        assert isinstance(error_of(login.provider("device"), login.request()), kind)
        assert len(slept) == 2

    def test_cancelled_between_two_polls(self, login: Login) -> None:
        self.starting(login, interval=30)
        terminal = FakeTerminal()
        request = login.request()
        threading.Thread(target=lambda: terminal.acted.wait(10) and request.cancel.set(), daemon=True).start()
        started = time.monotonic()
        assert isinstance(error_of(login.provider("device", terminal), request), Cancelled)
        assert time.monotonic() - started < 15, "the next poll is due after thirty"
        assert "/token" not in login.paths()

    @pytest.mark.parametrize(
        "page",
        [
            "https://login.example.com.evil.test/activate",
            "https://127.0.0.1.evil.test/activate",
            "http://127.0.0.1/activate",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://user@127.0.0.1/activate",
            "https://127.0.0.1/\u202eetavitca",
            "https://127.0.0.1\\@evil.test/",
            None,
            7,
        ],
    )
    def test_T30_nobody_is_sent_to_a_strange_page(self, login: Login, page: object) -> None:
        """Fails without the list of hosts in ``check_verification_url``."""
        self.starting(login, verification_uri=page)
        terminal = FakeTerminal()
        error = error_of(login.provider("device", terminal), login.request())
        assert isinstance(error, Denied | Unavailable)
        assert str(error).isprintable()
        assert not terminal.actions

    def test_T30_a_strange_page_can_be_listed(self, login: Login, slept: list[float]) -> None:
        self.starting(
            login, verification_uri="https://microsoft.test/devicelogin", verification_uri_complete="https://x"
        )
        self.telling(login)
        terminal = FakeTerminal()
        ask(login.provider("device", terminal, verification_hosts=["microsoft.test"]), login.request())
        assert terminal.actions == [
            UserAction(provider="sso", url="https://microsoft.test/devicelogin", user_code="ABCD", expires_in=600)
        ]

    @pytest.mark.parametrize("code", [None, "", 7, "A\x1b[2J", "x" * 33])
    def test_T30_T12_an_odd_code_is_not_shown(self, login: Login, code: object) -> None:
        self.starting(login, user_code=code)
        terminal = FakeTerminal()
        assert isinstance(error_of(login.provider("device", terminal), login.request()), Unavailable)
        assert not terminal.actions

    def test_a_server_without_a_device_flow(self, login: Login) -> None:
        del login.metadata["device_authorization_endpoint"]
        error = error_of(login.provider("device"), login.request())
        assert isinstance(error, Denied)
        assert "flow" in str(error)
