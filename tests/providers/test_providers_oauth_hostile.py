"""The oauth provider against servers that lie: look-alikes, inside addresses, redirects, floods (T09, T11, T31)."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from sipcli.credentials import (
    Denied,
    NotFound,
    ProviderError,
    Unavailable,
)
from sipcli.testing import ask, make_context, make_request
from sipcli_providers import _http
from sipcli_providers._oauth_server import metadata_places
from sipcli_providers.oauth import OAuthProvider
from tests.support.loginserver import Login, answer_json, error_of
from tests.support.servers.faults import Answer, FaultServer, redirect_to


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
    def test_A28_T09_T11_look_alikes_are_not_found_and_nobody_is_asked(
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
        assert time.monotonic() - started < 15, "all of it takes twenty seconds"

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


class TestTheWayOut:
    """What each request of each provider is like, whoever it goes to."""

    def test_T31_no_cookie_comes_back_and_nothing_packed_is_asked_for(self) -> None:
        """Fails without ``DefaultCookiePolicy(allowed_domains=[])``, and without ``Accept-Encoding: identity``."""
        with FaultServer(lambda _: Answer(headers={"Set-Cookie": "track=me; Path=/"})) as server:
            session = _http.Session(http=_http.Http())
            for _ in range(2):
                session.get(server.url)
        assert [seen.headers.get("cookie") for seen in server.seen] == [None, None]
        assert [seen.headers["accept-encoding"] for seen in server.seen] == ["identity"] * 2

    def test_T19_certificates_are_verified_by_name_and_nothing_below_tls_1_2_is_spoken(self) -> None:
        context = _http._tls_context(None)
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


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
