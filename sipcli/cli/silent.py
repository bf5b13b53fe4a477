"""The terminal of a run that may ask nobody: --no-input, Windows, a service."""

from __future__ import annotations

from collections.abc import Callable

from sipcli.credentials import CancelSignal, NotFound, Secret, UserAction
from sipcli.observe.text import safe_line

__all__ = ["NoTerminal", "SilentTerminal"]


class NoTerminal(NotFound):
    """There is nobody to ask: no controlling terminal, or we are in its background, or asking is forbidden."""


class SilentTerminal:
    """Shows, but never asks."""

    exists = False
    available = False

    def __init__(self, *, say: Callable[[str], None], why: str) -> None:
        self._say = say
        self._why = why

    def ask(self, prompt: str, *, secret: bool = True, cancel: CancelSignal, timeout: float | None = None) -> Secret:
        raise NoTerminal(self._why)

    def show(self, text: str) -> None:
        self._say(safe_line(text))

    def user_action(self, action: UserAction) -> None:
        self.show(action_words(action))

    def print_line(self, line: str) -> None:
        self._say(line)

    def interrupt(self) -> bool:
        return False

    def restore(self) -> None:
        """Nothing was changed."""

    def suspend(self) -> None:
        """Nothing was changed."""

    def resume(self) -> bool:
        """Nothing was changed, and nothing is missing."""
        return True

    def regain(self) -> bool:
        """As :meth:`resume`."""
        return True


def action_words(action: UserAction) -> str:
    """What the person must do, in one line; the host first, for that is what a phisher would change (T30)."""
    host = action.url.split("/")[2] if action.url.count("/") >= 2 else action.url
    code = f" and enter {action.user_code}" if action.user_code else ""
    return f"to let {action.provider} in, open {host}: {action.url}{code}"
