"""One registered thread with a loop of its own, shared by all providers whose ``get`` is ``async def``.

They never run on the agent's loop: a blocking mistake in one of them must not
stop the SIP timers.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from sipcli.credentials import Unavailable
from sipcli.ua.lanes.threads import ThreadRegistry

if TYPE_CHECKING:
    from sipcli.ua.lanes.workers import Job

__all__ = ["AsyncThread"]


class AsyncThread:
    """Runs awaitables.  Once :attr:`tainted` (one of them ignores its cancellation) it gets no new ones."""

    def __init__(self, registry: ThreadRegistry) -> None:
        self.tainted = False
        self._registry = registry
        self._running = 0
        self._loop = asyncio.new_event_loop()
        self._over = self._loop.create_future()
        self._thread = threading.Thread(target=self._main, name="sipcli-async", daemon=True)
        self._thread.start()

    def start(self, job: Job, answer: Awaitable[Any], report: Callable[[Job], object]) -> None:
        """Run *answer* and *report* the job when it ended.  Any thread."""
        job.home = self
        if not self._post(self._start, job, answer, report):
            _close(answer)
            job.error = Unavailable("the user agent is closing")
            report(job)

    def wait(self, job: Job, answer: Awaitable[Any]) -> Any:
        """Run *answer* and block the calling worker until it ended: for the prompt lane, which serialises."""
        ended = threading.Event()
        self.start(job, answer, lambda _: ended.set())
        ended.wait()
        error, job.error = job.error, None
        if error is not None:
            raise error
        return job.result

    def cancel(self, job: Job) -> None:
        """Cancel the job's task, if it has one.  Any thread."""
        self._post(self._cancel, job)

    def close(self) -> None:
        """Cancel what still runs, and end.  Any thread."""
        self._post(self._end)

    def _post(self, act: Callable[..., object], *args: Any) -> bool:
        try:
            self._loop.call_soon_threadsafe(act, *args)
        except RuntimeError:
            return False
        return True

    # --- on this thread -------------------------------------------------------------------------------------

    def _start(self, job: Job, answer: Awaitable[Any], report: Callable[[Job], object]) -> None:
        self._running += 1
        job.task = self._loop.create_task(self._run(job, answer))

        def ended(task: asyncio.Task[None]) -> None:
            # As a callback, so that a task that was cancelled before its first step is reported, too.
            _close(answer)
            self._ended(job, task, report)

        job.task.add_done_callback(ended)
        if job.cancel.is_set():
            job.task.cancel()

    def _cancel(self, job: Job) -> None:
        if (task := job.task) is not None:
            task.cancel()

    async def _run(self, job: Job, answer: Awaitable[Any]) -> None:
        job.result = await answer

    def _ended(self, job: Job, task: asyncio.Task[None], report: Callable[[Job], object]) -> None:
        self._running -= 1
        if task.cancelled():
            # Not ours: a withdrawn job is not settled.  And not a person's no: the chain goes on.
            job.error = Unavailable("the provider was cancelled")
        else:
            job.error = task.exception()
        report(job)
        if self.tainted and not self._running:
            self._end()

    def _end(self) -> None:
        """Not ``loop.stop``: the last job and :meth:`close` may both say so, and winding up must not be stopped."""
        if not self._over.done():
            self._over.set_result(None)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        with self._registry.register(self._thread.name):
            life = self._loop.create_task(self._live())
            try:
                while not life.done():
                    self._run_on(life)
            finally:
                asyncio.set_event_loop(None)
                self._loop.close()

    def _run_on(self, life: asyncio.Task[None]) -> None:
        """Until *life* is over, or a provider ends the loop under all the others' feet.

        A task that lets SystemExit or KeyboardInterrupt out does (asyncio raises it through its loop, and keeps it as
        the task's error as well, where :meth:`_ended` finds it); so does ``loop.stop()``.
        """
        try:
            self._loop.run_until_complete(life)
        except (SystemExit, KeyboardInterrupt, RuntimeError):
            if life.done():
                raise

    async def _live(self) -> None:
        """Until the end; then cancel and outwait every task, those included that were posted just before it."""
        await self._over
        await asyncio.sleep(0)
        while leftover := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in leftover:
                task.cancel()
            await asyncio.wait(leftover)


def _close(answer: Awaitable[Any]) -> None:
    """A coroutine that was never begun would complain when it is collected."""
    if inspect.iscoroutine(answer):
        answer.close()
