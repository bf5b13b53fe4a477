"""Asks the person, when the server has asked us: at the terminal, else - as ssh does - in a window."""

from __future__ import annotations

import time

from sipcli.credentials import (
    Cancelled,
    CredentialRequest,
    Denied,
    NotFound,
    PasswordCredentials,
    ProviderContext,
)
from sipcli_providers._askpass import Askpass, has_terminal
from sipcli_providers._lookup import bare_aor, printable, server_of, user_of
from sipcli_providers._options import Options


class PromptProvider:
    """``type = "prompt"``; no options.  How a line is read from /dev/tty is the terminal's business."""

    interactive = True

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        Options(context.options, where=f"[providers.{context.name}]").done()
        self._terminal = context.terminal

    @property
    def at_terminal(self) -> bool:
        """False where a window will be opened: then nobody at another terminal is waited for."""
        return not self.opens_window

    @property
    def opens_window(self) -> bool:
        return Askpass.of_environment().asks(terminal=has_terminal())

    def get(self, request: CredentialRequest) -> PasswordCredentials:
        """Raises NotFound without terminal and window, Cancelled on ^C, ^D, an empty line or a closed window."""
        request.cancel.raise_if_set()
        if request.scheme != "digest":
            raise NotFound("nobody can type a token: the server asks for Bearer, which needs an oauth provider")
        if not request.interactive:
            raise NotFound("nobody may be asked now")
        window = Askpass.of_environment()
        if window.comes_first():
            return window.ask(request, self.name, self._terminal)
        left = max(0.0, request.deadline - time.monotonic())
        try:
            secret = self._terminal.ask(question(request), secret=True, cancel=request.cancel, timeout=left)
        except NotFound:
            if has_terminal() or not window.usable():
                raise
            return window.ask(request, self.name, self._terminal)
        if not secret:
            raise Cancelled("nothing was typed")
        try:
            return PasswordCredentials(user_of(request), secret, ref=self.name)
        except ValueError:
            raise Denied("what was typed contains a control character: try again") from None

    def describe(self) -> str:
        return "asks on the terminal"


def question(request: CredentialRequest) -> str:
    """Account (if its name says more than the address), verified server, and realm, which is its own text: escaped."""
    refused = f"The server refused that password ({request.rejected.status}). " if request.rejected else ""
    who = printable(user_of(request))
    whose = printable(bare_aor(request))
    what = whose if whose.startswith(f"{who}@") else f"{who} ({whose})"
    account = printable(request.account)
    named = "" if f"{whose}:".startswith(f"{account}:") else f", account {account}"
    realm = printable(request.realm).replace('"', '\\"')  # a quote of the server's must not end ours
    return f'{refused}Password for {what}{named}{server_of(request)}, realm "{realm}": '
