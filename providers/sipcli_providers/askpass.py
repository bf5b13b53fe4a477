"""Asks the person in a window, by the program that ssh would use for that."""

from __future__ import annotations

import os

from sipcli.credentials import CredentialRequest, NotFound, PasswordCredentials, ProviderContext, ProviderError
from sipcli_providers._askpass import (
    PROGRAMS,
    REQUIRE,
    REQUIRED_BY,
    Askpass,
    has_terminal,
    required_by_environment,
    requirement,
)
from sipcli_providers._lookup import printable
from sipcli_providers._options import Options
from sipcli_providers._program import variable_names
from sipcli_providers._trusted import absolute, trusted_program


class AskpassProvider:
    """``type = "askpass"``; ``command``, else ``SIPCLI_ASKPASS``, else ``SSH_ASKPASS``."""

    interactive = True

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        options = Options(context.options, where=f"[providers.{context.name}]")
        command = options.optional("command")
        require = requirement(options.choice("require", REQUIRE, required_by_environment()))
        assert require is not None
        names = variable_names(options)
        options.done()
        self._terminal = context.terminal
        program = absolute(command, f"{options.where} command") if command else Askpass.of_environment().program
        self._askpass = Askpass(program, require, names)

    @property
    def problem(self) -> str | None:
        """Why the program may not be run; None if it may, or if there is none."""
        try:
            if self._askpass.program is not None:
                trusted_program(self._askpass.program)
        except ProviderError as error:
            return str(error)
        return None

    @property
    def opens_window(self) -> bool:
        """Would it ask now?"""
        return self._unusable() is None

    def get(self, request: CredentialRequest) -> PasswordCredentials:
        """Raises NotFound where nobody can be asked in a window, Cancelled when he closes it."""
        request.cancel.raise_if_set()
        if request.scheme != "digest":
            raise NotFound("nobody can type a token: the server asks for Bearer, which needs an oauth provider")
        if not request.interactive:
            raise NotFound("nobody may be asked now")
        if why := self._unusable():
            raise NotFound(why)
        return self._askpass.ask(request, self.name, self._terminal)

    def describe(self) -> str:
        if self.problem:
            return self.problem
        why = self._unusable()
        return f"asks in a window ({why or printable(str(self._askpass.program))})"

    def _unusable(self) -> str | None:
        askpass = self._askpass
        if askpass.program is None:
            named = next((name for name in PROGRAMS if os.environ.get(name)), None)
            return f"{named} must be a whole path" if named else f"neither {' nor '.join(PROGRAMS)} names a program"
        if askpass.require == "never":
            return f"{REQUIRED_BY} or require says never"
        if not askpass.usable():
            return "there is no display for a window: neither DISPLAY nor WAYLAND_DISPLAY is set"
        if not askpass.comes_first() and has_terminal():
            return f'there is a terminal to ask on: {REQUIRED_BY}=prefer, or require = "prefer", prefers the window'
        return None
