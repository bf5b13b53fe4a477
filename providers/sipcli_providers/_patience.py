"""Runs a library call that cannot be interrupted, so that its caller can leave when told to.

keyring waits on an unlock dialog and requests inside ``getaddrinfo`` or a slow
body; neither looks at a :class:`~sipcli.credentials.CancelSignal`.  The call
therefore runs on a daemon thread of its own while we watch three things: its
end, the signal and the deadline.  A call that never returns keeps its slot, so
a dead store costs a bounded number of threads and then says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sipcli.credentials import CancelSignal, CredentialRequest, Unavailable

T = TypeVar("T")

_GLANCE = 0.1  # seconds between two looks at the cancel signal; well inside the promised 0.5


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a caller waits: until told to stop, or until *deadline* on :func:`time.monotonic`'s clock."""

    cancel: CancelSignal
    deadline: float

    @classmethod
    def of(cls, request: CredentialRequest) -> Wait:
        return cls(request.cancel, request.deadline)

    def until(self, deadline: float) -> Wait:
        """The same signal, another deadline: a person at a login page takes longer than a store."""
        return Wait(self.cancel, deadline)

    def sleep(self, seconds: float) -> None:
        """Raises Cancelled when told to stop meanwhile."""
        if self.cancel.wait(max(0.0, seconds)):
            self.cancel.raise_if_set()

    def left(self) -> float:
        return self.deadline - time.monotonic()


class _Call(Generic[T]):
    """One call on its thread.  The result is an object or an exception, never both."""

    def __init__(self, function: Callable[[], T], release: Callable[[], None]) -> None:
        self.ended = threading.Event()
        self.result: T
        self.error: BaseException | None = None
        self._function = function
        self._release = release

    def main(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:  # carried over to the caller, who raises it
            self.error = error
        finally:
            self._release()
            self.ended.set()


class Patience:
    """At most *width* unfinished calls into the store called *what* (``"the keychain"``)."""

    def __init__(self, what: str, *, width: int = 8) -> None:
        self._what = what
        self._width = width
        self._slots = threading.BoundedSemaphore(width)

    def run(self, function: Callable[[], T], wait: Wait, *, hint: str = "try again later") -> T:
        """What *function* returns or raises; Cancelled or Unavailable if it takes too long.

        *hint* is the next step for the person when the deadline passes.
        """
        self._watch(
            lambda seconds: self._slots.acquire(timeout=seconds),
            wait,
            f"{self._width} earlier calls have not come back",
        )
        call = _Call(function, self._slots.release)
        try:
            threading.Thread(target=call.main, name=f"sipcli {self._what}", daemon=True).start()
        except RuntimeError:  # no more threads: the slot must not be lost with it
            self._slots.release()
            raise
        self._watch(call.ended.wait, wait, hint)
        try:
            if call.error is not None:
                raise call.error
            return call.result
        finally:
            del call  # an exception that refers to the frame that holds it lives until the next collection

    def _watch(self, happens: Callable[[float], bool], wait: Wait, hint: str) -> None:
        while True:
            wait.cancel.raise_if_set()
            left = wait.left()
            if left <= 0:
                raise Unavailable(f"{self._what} did not answer in time: {hint}")
            if happens(min(_GLANCE, left)):
                return
