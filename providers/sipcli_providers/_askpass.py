"""A window that asks for a password: the contract of ssh-askpass (ssh(1), SSH_ASKPASS).

The program gets the prompt as its one argument and answers on standard output;
any status but 0 means that the person said no.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from sipcli.credentials import Cancelled, CredentialRequest, Denied, PasswordCredentials, Secret, Terminal
from sipcli_providers._lookup import bare_aor, printable, server_of, user_of
from sipcli_providers._patience import Wait
from sipcli_providers._program import environment, run_program

Require: TypeAlias = Literal["never", "auto", "prefer", "force"]
REQUIRE: tuple[Require, ...] = ("never", "auto", "prefer", "force")

PROGRAMS = ("SIPCLI_ASKPASS", "SSH_ASKPASS")
REQUIRED_BY = "SIPCLI_ASKPASS_REQUIRE"

# What toolkits need beyond a display to look and to be placed like the rest of the desktop.
_DESKTOP = ("XDG_SESSION_TYPE", "XDG_CURRENT_DESKTOP", "XDG_DATA_DIRS", "XDG_CONFIG_DIRS", "XDG_ACTIVATION_TOKEN")


class Askpass:
    """One askpass program.  *program* None: there is none."""

    def __init__(self, program: Path | None, require: Require, names: Sequence[str] = ()) -> None:
        self.program = program
        self.require = require
        self._names = (*_DESKTOP, *names)

    @classmethod
    def of_environment(cls) -> Askpass:
        """As the environment says; a name that is no whole path counts as none, for PATH is not searched."""
        named = next((value for name in PROGRAMS if (value := os.environ.get(name))), None)
        program = Path(named) if named is not None and Path(named).is_absolute() else None
        return cls(program, required_by_environment())

    def usable(self) -> bool:
        """Is there a program, and a display for its window (with "force" it needs none)?"""
        if self.program is None or self.require == "never":
            return False
        return self.require == "force" or has_display()

    def comes_first(self) -> bool:
        """Shall it be asked although there is a terminal?"""
        return self.require in ("prefer", "force") and self.usable()

    def asks(self, *, terminal: bool) -> bool:
        """Will a window be opened, *terminal* telling whether there is one to ask on?"""
        return self.comes_first() or (self.usable() and not terminal)

    def ask(self, request: CredentialRequest, name: str, terminal: Terminal) -> PasswordCredentials:
        """What the person typed.  Raises Cancelled when he said no, Denied or Unavailable when it cannot be run."""
        assert self.program is not None
        finished = run_program(self.program, [question(request)], Wait.of(request), variables=environment(self._names))
        try:
            if finished.status != 0:
                for line in finished.complaint:
                    terminal.show(f"{name}: {line}")
                raise Cancelled("the window that asked was closed")
            # As ssh does: the first line, and nothing behind it.
            secret = Secret(finished.answer.split(b"\n", 1)[0].removesuffix(b"\r"))
        finally:
            finished.wipe()
        if not secret:
            raise Cancelled("nothing was typed")
        try:
            return PasswordCredentials(user_of(request), secret, ref=name)
        except ValueError:
            raise Denied("what was typed contains a control character: try again") from None


def required_by_environment() -> Require:
    """``SIPCLI_ASKPASS_REQUIRE``; like ssh, anything unknown counts as not set."""
    return requirement(os.environ.get(REQUIRED_BY, "")) or "auto"


def requirement(said: str) -> Require | None:
    """*said* as one of the four words; None for anything else."""
    for word in REQUIRE:
        if word == said:
            return word
    return None


def has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def has_terminal(path: str = "/dev/tty") -> bool:
    """Is there a controlling terminal?  Opened as ssh does, for no environment variable tells."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def question(request: CredentialRequest) -> str:
    """Ours first: account, address, verified server; then its word for itself, labelled so and escaped (T12)."""
    refused = f"The server refused that password ({request.rejected.status}). " if request.rejected else ""
    whose = f"account {printable(request.account)}, {printable(bare_aor(request))}"
    user = printable(user_of(request))
    named = "" if bare_aor(request).startswith(f"{user_of(request)}@") else f", user {user}"
    realm = printable(request.realm).replace("”", "\\u201d")
    return f"{refused}sipcli: password for {whose}{named}{server_of(request)} (the server says it is “{realm}”):"
