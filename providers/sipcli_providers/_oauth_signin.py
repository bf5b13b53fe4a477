"""The two ways a person signs in: a code typed elsewhere (RFC 8628), or the browser of this machine (RFC 8252)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from sipcli.credentials import Denied, Terminal, Unavailable, UserAction
from sipcli_providers._http import code_of
from sipcli_providers._loopback import Loopback
from sipcli_providers._oauth_client import CodeExpired, OAuthClient, Pending, Token
from sipcli_providers._oauth_server import check_verification_url
from sipcli_providers._patience import Wait
from sipcli_providers._program import environment

_INTERVAL = 5.0
"""Seconds between two polls when the server does not say (RFC 8628 section 3.2), and what slow_down adds."""
_LONGEST_INTERVAL = 60.0
_LONGEST_CODE = 1800.0
_LOGIN_TIME = 300.0
_DESKTOP = (
    "PATH", "BROWSER", "XDG_CURRENT_DESKTOP", "XDG_SESSION_TYPE", "XDG_SESSION_DESKTOP", "XDG_DATA_DIRS",
    "XDG_CONFIG_DIRS", "DESKTOP_SESSION", "KDE_FULL_SESSION", "KDE_SESSION_VERSION", "GNOME_DESKTOP_SESSION_ID",
)  # fmt: skip
"""By what xdg-open finds out which desktop it is on."""


class SignIn:
    """What both ways need: the client, the person, and where the person may be sent."""

    def __init__(
        self,
        name: str,
        client: OAuthClient,
        terminal: Terminal,
        *,
        hosts: tuple[str, ...] = (),
        redirect_port: int = 0,
        browser: bool = True,
    ) -> None:
        self._name = name
        self._client = client
        self._terminal = terminal
        self._hosts = hosts
        self._redirect_port = redirect_port
        self._browser = browser

    def by_device(self, wait: Wait) -> Token:
        """Shows page and code, then polls until the person has decided, or the code is too old, or *wait* is cancelled.

        The deadline of *wait* counts up to the moment the person is asked: from
        there on the code's own life does.
        """
        started = self._client.start_device(wait)
        page = check_verification_url(started.get("verification_uri"), self._client.endpoints(wait), self._hosts)
        code = started.get("user_code")
        if not isinstance(code, str) or not code.isprintable() or not 0 < len(code) <= 32:
            raise Unavailable(f"{self._client.what} gave no code to type")
        life = min(_seconds(started.get("expires_in"), _LOGIN_TIME), _LONGEST_CODE)
        interval = min(max(_seconds(started.get("interval"), _INTERVAL), 0.1), _LONGEST_INTERVAL)
        # verification_uri_complete is not offered: who does not compare the code can be phished (RFC 8628 section 5.4).
        self._terminal.user_action(UserAction(provider=self._name, url=page, user_code=code, expires_in=life))
        return self._poll(started["device_code"], interval, wait.until(time.monotonic() + life))

    def _poll(self, device_code: str, interval: float, wait: Wait) -> Token:
        """RFC 8628 section 3.5: at the server's pace, slower when told so or when it does not answer."""
        while True:
            wait.sleep(min(interval, wait.left()))
            if wait.left() <= 0:
                raise CodeExpired("nobody used the code in time: try again")
            try:
                return self._client.by_device_code(device_code, wait)
            except CodeExpired:
                raise
            except Pending as pending:
                interval += _INTERVAL if pending.slower else 0.0
            except Unavailable as error:
                if error.retry_after is not None and error.retry_after > wait.left():
                    raise
                interval = min(interval * 2, _LONGEST_INTERVAL)

    def by_browser(self, wait: Wait) -> Token:
        """Sends the person to the login page and waits for the browser to come back to a port of ours."""
        with Loopback(self._redirect_port) as loopback:
            page, state, verifier = self._client.authorization_url(loopback.redirect_uri, wait)
            self._terminal.user_action(UserAction(provider=self._name, url=page, expires_in=_LOGIN_TIME))
            if self._browser:
                open_browser(page)
            patient = wait.until(time.monotonic() + _LOGIN_TIME)
            answer = loopback.receive(state, patient)
        self._check_issuer(answer, wait)
        if error := answer.get("error"):
            if error == "access_denied":
                raise Denied(f"the person at {self._client.what} said no")
            raise Denied(f"{self._client.what} refuses the login ({code_of(error) or 'an error of its own'})")
        if not (code := answer.get("code")):
            raise Unavailable(f"{self._client.what} sent the browser back without a code")
        return self._client.by_code(code, verifier, loopback.redirect_uri, patient)

    def _check_issuer(self, answer: dict[str, str], wait: Wait) -> None:
        """RFC 9207: an answer that names another issuer was made for another server (mix-up attack)."""
        endpoints = self._client.endpoints(wait)
        named = answer.get("iss")
        if named is None and not endpoints.names_itself:
            return
        if endpoints.issuer is not None and named != endpoints.issuer:
            raise Denied("the login came back from another server than it was sent to: do not trust the page you saw")


def open_browser(url: str) -> bool:
    """Start the graphical browser on an https *url*; False where there is none.  Without a shell, and silently.

    Not ``webbrowser``: it would run w3m or lynx in the middle of our terminal.  Nor with our environment, in which
    another provider's secret may be: a browser hands it on to all that it starts, for as long as it runs (T14).
    """
    if sys.platform == "darwin":
        command = "open"
    elif os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        command = "xdg-open"
    else:
        return False
    program = shutil.which(command)
    if program is None or not url.startswith("https://"):
        return False
    quiet = subprocess.DEVNULL
    try:
        child = subprocess.Popen(  # noqa: S603 - an absolute path, an https URL, no shell
            [program, url], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True, env=environment(_DESKTOP)
        )
        child.wait(5.0)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return child.returncode == 0


def _seconds(value: object, default: float) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6
    return float(value) if good and isinstance(value, int | float) else default
