"""The oauth provider against servers that lie: look-alikes, inside addresses, redirects, phishing (T09, T11, T30)."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.credentials import (
    Cancelled,
    CredentialRequest,
    Denied,
    NotFound,
    ProviderError,
    Unavailable,
    UserAction,
)
from sipcli.testing import FakeTerminal, ask, make_context, make_request
from sipcli_providers import _http, _oauth_signin
from sipcli_providers._loopback import Loopback, parse_redirect
from sipcli_providers._oauth_server import metadata_places
from sipcli_providers._patience import Wait
from sipcli_providers.oauth import OAuthProvider
from tests.support.real import require
from tests.support.servers.faults import Answer, FaultServer, Seen, redirect_to


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_oauth_signin, "_INTERVAL", 0.05)


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text("hunter2-canary")
    path.chmod(0o600)
    return str(path)


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


@pytest.fixture
def login(certs: Path) -> Any:
    server = Login(certs)
    with server.server:
        yield server


def error_of(provider: OAuthProvider, request: CredentialRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(provider, request)
    return caught.value


class TestWhichServer:
    """The challenge names an authorization server; only the configured one is ever spoken to (RFC 8898 2.1.1)."""

    @pytest.mark.parametrize(
        "named",
        [
            None,
            "",
            "https://login.example.com/",
            "https://login.example.com.evil.test",
            "https://evil-login.example.com",
            "https://login.example.co",
            "https://login.example.com@evil.test",
            "https://user@login.example.com",
            "https://login.example.com:444",
            "https://login.example.com:443",
            "http://login.example.com",
            "https://LOGIN.example.com",
            "https://l\u043egin.example.com",
            "https://login.example.com#x",
            "https://login.example.com\r\nX: y",
            "https://169.254.169.254",
            "file:///etc/passwd",
        ],
    )
    def test_T09_T11_look_alikes_are_not_found_and_nobody_is_asked(
        self, named: str | None, secret_file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fails without the comparison in ``_check_asked``."""
        asked: list[object] = []
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **_: asked.append(a) or [])
        options = {"issuer": "https://login.example.com", "client_id": "c", "flow": "client_credentials"}
        provider = OAuthProvider(make_context(options | {"client_secret_file": secret_file}))
        error = error_of(provider, make_request(scheme="bearer", authz_server=named))
        assert isinstance(error, NotFound)
        assert str(error).isprintable()
        assert not asked

    @pytest.mark.parametrize("said", ["https://evil.test", "https://127.0.0.1", None, 7])
    def test_T11_metadata_of_another_issuer_is_refused(self, login: Login, secret_file: str, said: object) -> None:
        """Fails without the comparison in ``_completed`` (RFC 8414 section 3.3)."""
        login.metadata["issuer"] = said
        error = error_of(login.provider(client_secret_file=secret_file), login.request())
        assert isinstance(error, Denied)
        assert login.paths() == ["/.well-known/oauth-authorization-server"]

    @pytest.mark.parametrize(
        "endpoint",
        [
            "http://127.0.0.1/token",
            "https://user:pw@login.test/token",
            "https:///token",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://b\u00fccher.test/token",
            "https://login.test/token\u202e",
            "not a url",
            7,
        ],
    )
    def test_T11_endpoints_must_be_fit_for_a_secret(self, login: Login, secret_file: str, endpoint: object) -> None:
        """Fails without ``check_url`` in ``_endpoint``."""
        login.metadata["token_endpoint"] = endpoint
        assert isinstance(error_of(login.provider(client_secret_file=secret_file), login.request()), Denied)

    @pytest.mark.parametrize(
        "host", ["127.0.0.1:1", "2130706433", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "0x7f.1"]
    )
    def test_T11_a_named_address_inside_is_not_connected_to(self, login: Login, secret_file: str, host: str) -> None:
        """Server-side request forgery: the login server's metadata must not reach what only this machine can.

        Fails without the look at the addresses before connecting.
        """
        login.metadata["token_endpoint"] = f"https://{host}/token"
        error = error_of(login.provider(client_secret_file=secret_file), login.request())
        assert isinstance(error, Unavailable)
        assert "inside this network" in str(error)

    def test_T11_a_rebound_name_is_noticed_after_connecting(
        self, login: Login, secret_file: str, certs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """First public, then 127.0.0.1: the second answer is the one that is connected to.

        Fails without the look at the peer in ``_new_conn``: TLS would begin with what only this machine can reach.
        """
        real, calls = socket.getaddrinfo, []

        def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host != "rebound.test":
                return real(host, port, *args, **kwargs)
            calls.append(host)
            address = "93.184.215.14" if len(calls) == 1 else "127.0.0.1"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        with FaultServer(lambda _: answer_json({"access_token": "x"}), certs=certs) as inside:
            monkeypatch.setattr(socket, "getaddrinfo", rebinding)
            login.metadata["token_endpoint"] = f"https://rebound.test:{inside.port}/token"
            error = error_of(login.provider(client_secret_file=secret_file), login.request())
            assert isinstance(error, Unavailable)
            assert "inside this network" in str(error), "the certificate must not be what stops us"
            assert len(calls) == 2
            assert not inside.seen

    def test_configured_urls_may_lie_inside(self, login: Login, certs: Path, secret_file: str) -> None:
        with FaultServer(lambda _: answer_json({"access_token": "t", "token_type": "Bearer"}), certs=certs) as other:
            provider = login.provider(client_secret_file=secret_file, token_url=f"{other.url}/token")
            assert ask(provider, login.request()).secret.reveal() == b"t"


class TestBadAnswers:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("where", ["/.well-known/oauth-authorization-server", "/token", "/sip-password"])
    def test_T31_a_redirect_carries_nothing_away(
        self, login: Login, secret_file: str, status: int, where: str, certs: Path
    ) -> None:
        """Fails without ``get_redirect_target``: a 307 posts the client secret again."""
        with FaultServer(lambda _: Answer(), certs=certs) as thief:
            login.answers["/token"] = answer_json({"access_token": "hunter2-token", "token_type": "Bearer"})
            login.answers[where] = redirect_to(f"{thief.url}{where}", status)
            provider = login.provider(
                client_secret_file=secret_file, use="fetch", password_url=f"{login.url}/sip-password"
            )
            error = error_of(provider, make_request())
            assert isinstance(error, Unavailable)
            assert "redirect" in str(error)
            assert not thief.seen

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"null",
            b"<html>",
            b'"text"',
            b'{"access_token": 7}',
            b'{"access_token": ""}',
            b'{"token_type": "Bearer"}',
            b'{"access_token": "x", "expires_in": "soon"}',
            b"\xff\xfe",
            b'{"error": 7}',
            b'{"error": {"a": 1}}',
        ],
    )
    @pytest.mark.parametrize("status", [200, 400, 404])
    def test_nonsense_is_one_of_our_errors(self, login: Login, secret_file: str, body: bytes, status: int) -> None:
        login.answers["/token"] = Answer(status, body)
        error = error_of(login.provider(client_secret_file=secret_file), login.request())
        assert isinstance(error, Unavailable | Denied)
        assert str(error).isprintable()
        assert "canary" not in str(error)

    @pytest.mark.parametrize("kind", ["DPoP", "mac", 7, None, ""])
    def test_a_token_of_a_type_that_we_cannot_use_is_refused(self, login: Login, secret_file: str, kind: Any) -> None:
        """RFC 6749 section 7.1."""
        login.answers["/token"] = answer_json({"access_token": "canary-token", "token_type": kind})
        error = error_of(login.provider(client_secret_file=secret_file), login.request())
        assert isinstance(error, Denied)
        assert "than Bearer" in str(error) and "canary" not in str(error)

    @pytest.mark.parametrize("kind", [{"token_type": "bearer"}, {"token_type": "BEARER"}, {}])
    def test_a_bearer_token_is_one_however_it_is_spelt(self, login: Login, secret_file: str, kind: Any) -> None:
        login.answers["/token"] = answer_json({"access_token": "t", **kind})
        assert login.provider(client_secret_file=secret_file).get(login.request()).secret.reveal() == b"t"

    def test_a_token_with_a_line_break_is_refused(self, login: Login, secret_file: str) -> None:
        login.answers["/token"] = answer_json({"access_token": "a\r\nVia: b", "token_type": "Bearer"})
        error = error_of(login.provider(client_secret_file=secret_file), login.request())
        assert isinstance(error, Denied)
        assert "Via" not in str(error)

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            (Answer(200, b" " * 200_000), "64 KiB"),
            (Answer(200, b"x" * 100, drip=0.2), "slowly"),
            (Answer(hang=True), "in time"),
            (Answer(503, b"", {"Retry-After": "9"}), "503"),
            (Answer(429, b"{}"), "429"),
            (Answer(500, b"{}"), "500"),
        ],
    )
    def test_T11_too_much_too_slow_too_busy(self, login: Login, secret_file: str, answer: Answer, says: str) -> None:
        """Fails without ``BODY_LIMIT``, and without ``until``."""
        login.answers["/token"] = answer
        started = time.monotonic()
        error = error_of(login.provider(client_secret_file=secret_file), login.request())
        assert isinstance(error, Unavailable)
        assert says in str(error)
        assert time.monotonic() - started < 5

    def test_no_metadata_at_all(self, login: Login, secret_file: str) -> None:
        login.answers["/.well-known/oauth-authorization-server"] = Answer(404)
        error = error_of(login.provider(client_secret_file=secret_file), login.request())
        assert isinstance(error, Unavailable)
        assert "token_url" in str(error)
        assert login.paths() == ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]

    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (200, b'{"password": "p\\r\\nq"}', Denied),
            (200, b'{"secret": "p"}', NotFound),
            (200, b'{"password": 7}', NotFound),
            (200, b"[]", NotFound),
            (200, b"not json", NotFound),
            (403, b"{}", Denied),
            (418, b"{}", Denied),
            (404, b"{}", NotFound),
        ],
    )
    def test_the_passwords_place(
        self, login: Login, secret_file: str, status: int, body: bytes, kind: type[ProviderError]
    ) -> None:
        login.answers["/token"] = answer_json({"access_token": "t", "token_type": "Bearer"})
        login.answers["/p"] = Answer(status, body)
        provider = login.provider(client_secret_file=secret_file, use="fetch", password_url=f"{login.url}/p")
        assert type(error_of(provider, make_request())) is kind

    def test_a_name_in_the_url_is_escaped(self, login: Login, secret_file: str) -> None:
        login.answers["/token"] = answer_json({"access_token": "t", "token_type": "Bearer"})
        login.answers["/p"] = answer_json({"password": "p"})
        provider = login.provider(
            client_secret_file=secret_file, use="fetch", password_url=f"{login.url}/p?user={{username}}&x=1"
        )
        ask(provider, make_request(username="a&user=root#?"))
        assert login.paths()[-1] == "/p?user=a%26user%3Droot%23%3F&x=1"


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
        assert time.monotonic() - started < 3
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


class TestComingBack:
    """The redirect to our port on loopback (RFC 8252, RFC 9207)."""

    def coming_back(self, login: Login, **parameters: str) -> ProviderError | bytes:
        """The outcome when the browser comes back with *parameters* beside the right state."""
        terminal = FakeTerminal()
        login.answers["/token"] = answer_json({"access_token": "t", "token_type": "Bearer"})
        provider = login.provider("code", terminal)

        def browser() -> None:
            terminal.acted.wait(10)
            sent = dict(pair.split("=", 1) for pair in terminal.actions[0].url.partition("?")[2].split("&"))
            host = sent["redirect_uri"].removeprefix("http%3A%2F%2F").partition("%2F")[0].replace("%3A", ":")
            query = "&".join(f"{k}={v}" for k, v in ({"state": sent["state"]} | parameters).items())
            get(host, f"/callback?{query}")

        threading.Thread(target=browser, daemon=True).start()
        try:
            return ask(provider, login.request(deadline=time.monotonic() + 5)).secret.reveal()
        except ProviderError as error:
            return error

    def test_with_a_code(self, login: Login) -> None:
        assert self.coming_back(login, code="c") == b"t"
        form = login.server.seen[-1].body
        assert b"code_verifier=" in form
        assert b"redirect_uri=http%3A%2F%2F127.0.0.1%3A" in form
        assert b"client_id=c" in form

    def test_with_its_issuer(self, login: Login) -> None:
        login.metadata["authorization_response_iss_parameter_supported"] = True
        assert self.coming_back(login, code="c", iss=login.url) == b"t"

    def test_T09_with_another_issuer(self, login: Login) -> None:
        error = self.coming_back(login, code="c", iss="https://evil.test")
        assert isinstance(error, Denied)
        assert "another server" in str(error)
        assert "/token" not in login.paths()

    def test_without_the_issuer_that_was_promised(self, login: Login) -> None:
        login.metadata["authorization_response_iss_parameter_supported"] = True
        assert isinstance(self.coming_back(login, code="c"), Denied)

    def test_without_anything(self, login: Login) -> None:
        assert isinstance(self.coming_back(login), Unavailable)

    @pytest.mark.parametrize("error", ["access_denied", "invalid_scope", "%1b%5b2J"])
    def test_with_an_error(self, login: Login, error: str) -> None:
        outcome = self.coming_back(login, error=error)
        assert isinstance(outcome, Denied)
        assert str(outcome).isprintable()

    def test_strangers_do_not_end_the_wait(self) -> None:
        with Loopback() as loopback:
            wait = Wait.of(make_request(deadline=time.monotonic() + 10))
            idle = socket.create_connection(("127.0.0.1", int(loopback.host.partition(":")[2])))
            replies: list[bytes] = []

            def visitors() -> None:
                for target, host in (
                    ("/favicon.ico", loopback.host),
                    ("/callback?state=wrong&code=x", loopback.host),
                    ("/callback?state=right&code=x", "evil.test"),
                    ("/callback?state=right&state=right", loopback.host),
                    ("/callback?state=right&code=good", loopback.host),
                ):
                    replies.append(get(loopback.host, target, host=host))

            thread = threading.Thread(target=visitors, daemon=True)
            thread.start()
            found = loopback.receive("right", wait)
            thread.join(5)
            idle.close()
        assert found == {"state": "right", "code": "good"}
        assert [reply.split(b" ")[1] for reply in replies] == [b"404"] * 4 + [b"200"]

    def test_a_talker_without_end_is_dropped(self) -> None:
        with Loopback() as loopback:
            wait = Wait.of(make_request(deadline=time.monotonic() + 0.5))
            with socket.create_connection(("127.0.0.1", int(loopback.host.partition(":")[2]))) as talker:
                talker.sendall(b"GET /callback HTTP/1.1\r\nX: " + b"x" * 30_000)
                with pytest.raises(Unavailable, match="nobody came back"):
                    loopback.receive("s", wait)

    def test_a_taken_port_is_said(self) -> None:
        with Loopback() as first, pytest.raises(Unavailable, match="redirect_port"):
            Loopback(int(first.host.partition(":")[2]))

    @given(st.text(max_size=300), st.text(max_size=30))
    def test_any_request_is_survived(self, head: str, state: str) -> None:
        assert parse_redirect(head, "127.0.0.1:1", state + "x") is None

    def test_many_parameters_are_refused(self) -> None:
        query = "&".join(f"p{i}=1" for i in range(50))
        assert parse_redirect(f"GET /callback?state=s&{query} HTTP/1.1\r\nHost: h\r\n\r\n", "h", "s") is None


class TestBrowser:
    def test_none_without_a_desktop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        assert _oauth_signin.open_browser("https://login.test") is False

    def test_T11_the_url_is_one_argument_and_https(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Fails without the look at ``https://`` in ``open_browser``."""
        seen = tmp_path / "seen"
        program = tmp_path / "xdg-open"
        program.write_text(f'#!/bin/sh\necho noise; echo noise >&2; printf "%s" "$#:$1" > {seen}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.setenv("DISPLAY", ":99")
        for bad in ("file:///etc/passwd", "javascript:alert(1)", "-version", "http://x"):
            assert _oauth_signin.open_browser(bad) is False
        assert not seen.exists()
        url = "https://login.test/a?b=c&d=$(id);`id` 'x'"
        assert _oauth_signin.open_browser(url) is True
        assert seen.read_text() == f"1:{url}"


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "224.0.0.1",
            "100.64.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
            "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
        ],
    )  # fmt: skip
    def test_T11_inside(self, address: str) -> None:
        assert not _http.is_public(address)

    @pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "64:ff9b::5db8:d70e", "::ffff:8.8.8.8"])
    def test_outside(self, address: str) -> None:
        assert _http.is_public(address)

    def test_where_metadata_is_looked_for(self) -> None:
        assert metadata_places("https://h.test/a/b/") == (
            "https://h.test/.well-known/oauth-authorization-server/a/b",
            "https://h.test/a/b/.well-known/openid-configuration",
        )


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


def get(address: str, target: str, *, host: str | None = None) -> bytes:
    """One GET as a browser would send it; the answer's octets."""
    name, _, port = address.partition(":")
    with socket.create_connection((name, int(port)), 5) as browser:
        browser.sendall(f"GET {target} HTTP/1.1\r\nHost: {host or address}\r\nAccept: */*\r\n\r\n".encode())
        browser.settimeout(5)
        octets = b""
        while chunk := browser.recv(4096):
            octets += chunk
    return octets


@pytest.fixture(autouse=True)
def _openssl() -> None:
    require("openssl")
