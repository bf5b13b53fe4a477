"""Which threads may touch an agent's challenges (docs/architecture.md).

``call_soon_threadsafe`` works from any thread, so why register at all?  Because
registration buys what it cannot give: shutdown knows whom to wait for and can
name who is stuck, each thread is bound to *its* agent, and an answer from an
unknown thread is reported as the bug it usually is.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from sipcli.errors import UnregisteredThread

__all__ = ["ThreadRegistry", "running_loop"]


class ThreadRegistry:
    """The registered threads of one agent.

    ``with agent.threads.register("name"):`` nests, as the thread's own code may
    call into a library that registers again; the innermost name is shown.
    """

    def __init__(self) -> None:
        # Not get_ident(): the system gives the idents of dead threads to new ones.
        self._local = threading.local()
        self._lock = threading.Lock()
        self._stacks: weakref.WeakKeyDictionary[threading.Thread, list[str]] = weakref.WeakKeyDictionary()

    @contextmanager
    def register(self, name: str) -> Iterator[None]:
        """Register the calling thread under *name* for the length of the block."""
        stack = self._push(name)
        try:
            yield
        finally:
            stack.pop()
            if not stack:
                self._forget()

    def initializer(self, name: str = "worker") -> None:
        """Register the calling thread for as long as it lives: ``ThreadPoolExecutor(initializer=…)``."""
        self._push(name)

    @property
    def registered(self) -> bool:
        """Is the calling thread registered here?"""
        return bool(getattr(self._local, "stack", None))

    @property
    def names(self) -> tuple[str, ...]:
        """The innermost name of every registered thread that lives."""
        with self._lock:
            return tuple(stack[-1] for thread, stack in self._stacks.items() if stack and thread.is_alive())

    def require(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raise :class:`UnregisteredThread` unless the caller is *loop*'s thread or a registered one."""
        if not self.registered and running_loop() is not loop:
            name = threading.current_thread().name
            raise UnregisteredThread(
                f"the agent does not know the thread {name!r}",
                hint='register it first: with agent.threads.register("name"):',
            )

    def _push(self, name: str) -> list[str]:
        stack: list[str] | None = getattr(self._local, "stack", None)
        if not stack:
            stack = self._local.stack = []
            with self._lock:
                self._stacks[threading.current_thread()] = stack
        stack.append(name)
        return stack

    def _forget(self) -> None:
        with self._lock:
            self._stacks.pop(threading.current_thread(), None)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs on the calling thread, if one does."""
    return asyncio._get_running_loop()  # noqa: SLF001 - in asyncio.__all__; no exception on the hot path
