"""What a provider meets in a test: a person made of prepared answers, requests, and somebody who asks it."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from sipcli.credentials import (
    Cancelled,
    CancelSignal,
    CredentialProvider,
    CredentialRequest,
    Credentials,
    DigestInput,
    NotFound,
    ProviderContext,
    Secret,
    Signature,
    SigningCredentials,
    Signs,
    UserAction,
)

__all__ = ["FakeTerminal", "ask", "ask_to_sign", "make_context", "make_request"]

_LOOK = 0.02
"""Seconds between two looks at a cancel signal."""


class FakeTerminal:
    """A person made of prepared answers.

    An answer is a text, an exception to raise, or a callable that gets the
    prompt; when none is left, NotFound is raised as on a machine without a
    terminal.  :attr:`asked`, :attr:`shown` and :attr:`actions` keep what the
    provider said.
    """

    def __init__(self, answers: Iterable[str | BaseException | Callable[[str], str]] = ()) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.shown: list[str] = []
        self.actions: list[UserAction] = []
        self.acted = threading.Event()
        self._lock = threading.Lock()

    def ask(self, prompt: str, *, secret: bool = True, cancel: CancelSignal, timeout: float | None = None) -> Secret:
        cancel.raise_if_set()
        with self._lock:
            self.asked.append(prompt)
            if not self.answers:
                raise NotFound("there is no terminal to ask on")
            answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return Secret(answer(prompt) if callable(answer) else answer)

    def show(self, text: str) -> None:
        self.shown.append(text)

    def user_action(self, action: UserAction) -> None:
        self.actions.append(action)
        self.acted.set()


def make_request(**changes: Any) -> CredentialRequest:
    """A request for alice's password, 10 s from its deadline; *changes* are fields of CredentialRequest."""
    fields: dict[str, Any] = {
        "account": "work",
        "aor": "sip:alice@example.com",
        "username": None,
        "realm": "example.com",
        "algorithms": ("SHA-256", "MD5"),
        "deadline": time.monotonic() + 10.0,
    }
    return CredentialRequest(**fields | changes)


def make_context(options: Mapping[str, Any] | None = None, **changes: Any) -> ProviderContext:
    """What a factory is called with; *options* is the ``[providers.NAME]`` table less its ``type``."""
    fields: dict[str, Any] = {"name": "tested", "options": options or {}, "terminal": FakeTerminal()}
    return ProviderContext(**fields | changes)


def ask(provider: CredentialProvider, request: CredentialRequest) -> Credentials:
    """``provider.get(request)``, whether it is a plain or an async function; as a lane does, it cancels the latter."""
    found: Credentials = _outcome(provider.get(request), request.cancel)
    return found


def ask_to_sign(
    provider: Signs, request: CredentialRequest, credentials: SigningCredentials, digest: DigestInput
) -> Signature:
    """``provider.sign(request, credentials, digest)``, likewise."""
    signature: Signature = _outcome(provider.sign(request, credentials, digest), request.cancel)
    return signature


def _outcome(answer: Any, cancel: CancelSignal) -> Any:
    return asyncio.run(_until(answer, cancel)) if inspect.isawaitable(answer) else answer


async def _until(answer: Awaitable[Any], cancel: CancelSignal) -> Any:
    """What *answer* gives; once *cancel* is set it is cancelled, which nobody but itself can put off."""
    task = asyncio.ensure_future(answer)
    while not (cancel.is_set() or task.done()):
        await asyncio.wait({task}, timeout=_LOOK)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if task.cancelled():
        raise Cancelled("cancelled")
    return task.result()
