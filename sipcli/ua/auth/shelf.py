"""The providers of an agent, each imported and built on a worker when it is first asked.

On the loop an import of hvac stalled a 20 ms grid by 145 ms, on a lane by 2.5.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from sipcli.credentials import (
    CancelSignal,
    CredentialProvider,
    CredentialRequest,
    Credentials,
    Denied,
    DigestInput,
    Forgets,
    NotFound,
    Remembers,
    Secret,
    Signature,
    SigningCredentials,
    Signs,
    Terminal,
    UserAction,
)
from sipcli.sip.authn.challenge import AKA
from sipcli.ua.lanes.workers import current_job

__all__ = ["ELSEWHERE", "NoTerminal", "ProviderFactory", "RelayTerminal", "Shelf"]

ProviderFactory = Callable[[str], CredentialProvider]

ELSEWHERE: Any = object()
"""What :meth:`Shelf.ask` returns for a provider that turned out to be interactive: ask it on the prompt lane."""


class Shelf:
    """Name → provider.  Methods marked *worker* may block, and are called on lanes only."""

    def __init__(self, factory: ProviderFactory) -> None:
        self._factory = factory
        self._built: dict[str, CredentialProvider] = {}
        self._interactive: dict[str, bool] = {}
        self._at_terminal: dict[str, bool] = {}
        self._signs: dict[str, bool] = {}
        # One lock per name: a keychain that hangs while it is built must not keep Vault from being built.
        self._locks: dict[str, threading.Lock] = {}

    def interactive(self, name: str) -> bool | None:
        """Does it ask a person?  None until it was built."""
        return self._interactive.get(name)

    def at_terminal(self, name: str) -> bool:
        """Does it ask a person at our own terminal, so that without one somebody at another may answer instead?"""
        return self._at_terminal.get(name, False)

    def signs(self, name: str) -> bool:
        """Can it sign?  False as long as it was not built."""
        return name in self._built and self._signs[name]

    def origin(self, name: str) -> str:
        """The module that *name* comes from, for the line that reports its failure."""
        provider = self._built.get(name)
        return "" if provider is None else type(provider).__module__

    def drop(self, names: Iterable[str]) -> None:
        """Build *names* anew when they are next asked: the configuration says something else about them now."""
        for name in names:
            self._built.pop(name, None)

    def take(self, name: str) -> CredentialProvider:
        """*Worker.*  The provider; whatever its construction raises is raised, and tried again the next time."""
        provider = self._built.get(name)
        if provider is None:
            with self._locks.setdefault(name, threading.Lock()):
                provider = self._built.get(name)
                if provider is None:
                    provider = self._factory(name)
                    self._at_terminal[name] = bool(getattr(provider, "at_terminal", False))
                    self._interactive[name] = bool(provider.interactive)
                    # Looked at here, once: a provider may be a proxy that fetches its attributes, or fails to.
                    self._signs[name] = isinstance(provider, Signs)
                    self._built[name] = provider
        return provider

    def ask(self, name: str, request: CredentialRequest) -> Credentials | Awaitable[Credentials]:
        """*Worker of the fetch lane.*  The answer, or :data:`ELSEWHERE`.

        What keeps passwords is not asked for a SIM's key: it might unlock a keychain, or ask a person, in vain.
        """
        provider = self.take(name)
        if not self._signs[name] and not set(AKA).isdisjoint(request.algorithms):
            raise NotFound("it signs nothing, and the server wants a SIM to answer")
        if self._interactive[name]:
            answer: Credentials = ELSEWHERE
            return answer
        return provider.get(request)

    def ask_again(self, name: str, request: CredentialRequest, denied: Denied) -> Credentials | Awaitable[Credentials]:
        """*Worker of the fetch lane.*  :meth:`ask`, but only if what *denied* complains of is another file by now."""
        if denied.stands():
            raise denied.again()
        return self.ask(name, request)

    def ask_person(self, name: str, request: CredentialRequest) -> Credentials | Awaitable[Credentials]:
        """*Worker of the prompt lane.*"""
        return self.take(name).get(request)

    def sign(
        self, name: str, request: CredentialRequest, key: SigningCredentials, digest: DigestInput
    ) -> Signature | Awaitable[Signature]:
        """*Worker.*  What the provider that gave *key* makes of *digest*."""
        provider = self.take(name)
        if not isinstance(provider, Signs):
            raise NotFound("it signs nothing any more")  # the configuration was changed meanwhile
        return provider.sign(request, key, digest)

    def forget(self, name: str, request: CredentialRequest, credentials: Credentials) -> object:
        """*Worker.*  Offer the refused *credentials* to the provider they came from."""
        provider = self.take(name)
        # Any: an asynchronous provider returns an awaitable, which the lane waits for.
        forget: Any = provider.forget if isinstance(provider, Forgets) else None
        return None if forget is None else forget(request, credentials)

    def remember(self, names: tuple[str, ...], request: CredentialRequest, credentials: Credentials) -> object:
        """*Worker.*  Give the accepted *credentials* to the first of *names* that keeps such things."""
        for name in names:
            provider = self.take(name)
            if isinstance(provider, Remembers):
                remember: Any = provider.remember
                return remember(request, credentials)
        raise NotFound("no provider of the chain keeps secrets; add keychain to it")


class NoTerminal:
    """The person who is not there."""

    def ask(self, prompt: str, *, secret: bool = True, cancel: CancelSignal, timeout: float | None = None) -> Secret:
        raise NotFound("there is no terminal to ask on")

    def show(self, text: str) -> None:
        """Nobody reads it."""

    def user_action(self, action: UserAction) -> None:
        """Nobody acts; the event ``auth.user_action`` reports it all the same."""


class _Awaited(Protocol):
    def user_action(self, action: UserAction) -> None: ...


class RelayTerminal:
    """The terminal that providers get: the given one, and the broker hears of what a person must do elsewhere."""

    def __init__(self, inner: Terminal, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop

    def ask(self, prompt: str, *, secret: bool = True, cancel: CancelSignal, timeout: float | None = None) -> Secret:
        return self._inner.ask(prompt, secret=secret, cancel=cancel, timeout=timeout)

    def show(self, text: str) -> None:
        self._inner.show(text)

    def user_action(self, action: UserAction) -> None:
        job = current_job.get()
        flight: _Awaited | None = None if job is None else job.tag
        if flight is not None:
            try:
                self._loop.call_soon_threadsafe(flight.user_action, action)
            except RuntimeError:
                pass  # the loop is closed: nobody waits
        self._inner.user_action(action)
