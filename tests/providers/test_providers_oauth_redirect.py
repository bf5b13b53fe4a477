"""The oauth provider's sign-in by the browser: what comes back to our port, and from whom (RFC 8252, RFC 9207; T09)."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.credentials import (
    Denied,
    ProviderError,
    Unavailable,
)
from sipcli.testing import FakeTerminal, ask, make_request
from sipcli_providers import _oauth_signin
from sipcli_providers._loopback import Loopback, parse_redirect
from sipcli_providers._patience import Wait
from tests.support.loginserver import Login, answer_json


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

    def test_T14_it_is_given_its_desktop_and_no_secret(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Fails without ``env=`` in ``open_browser``."""
        program = tmp_path / "xdg-open"
        program.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\n")
        program.chmod(0o755)
        desktop = {"DISPLAY": ":99", "XDG_CURRENT_DESKTOP": "GNOME", "PATH": f"{tmp_path}:/usr/bin:/bin"}
        for name, value in (desktop | {"SIP_SECRET": "never-seen", "VAULT_TOKEN": "never-seen"}).items():
            monkeypatch.setenv(name, value)
        assert _oauth_signin.open_browser("https://login.test/") is True
        seen = (tmp_path / "seen").read_text()
        assert "never-seen" not in seen
        assert all(f"{name}={value}\n" in seen for name, value in desktop.items())

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
