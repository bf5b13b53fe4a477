"""Worker lanes: registered daemon threads on which providers are imported, built and asked (docs/architecture.md).

::

    loop                                   worker "sipcli-fetch-1"
    lane.submit(job) ── SimpleQueue ─────► job.work()            may block for minutes
    job.on_done(job) ◄──────── inbox ────────── result or error

Every decision - how many threads, who is an orphan, who retires - is taken on
the loop, so the accounting needs no lock.  Daemon threads, no executor: a stuck
provider must not hold the exit of the process.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import queue
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from sipcli.credentials import CancelSignal, Unavailable
from sipcli.ua.lanes.aioworker import AsyncThread
from sipcli.ua.lanes.inbox import Inbox
from sipcli.ua.lanes.threads import ThreadRegistry

__all__ = ["GRACE", "MAX_ORPHANS", "Job", "Lane", "Workers", "current_job"]

log = logging.getLogger(__name__)

GRACE = 0.5
"""Seconds that a job has to obey its cancel signal before it counts as an orphan."""
MAX_ORPHANS = 4

current_job: ContextVar[Job | None] = ContextVar("current_job", default=None)
"""The job that the calling worker (or asynchronous provider) is running."""


class Job:
    """One piece of work.  Made and settled on the loop, run on a worker.

    *label* names it in messages; *tag* is the submitter's own; exactly one of
    *result* and *error* is set when *on_done* is called, and both are forgotten
    afterwards, for they may hold a secret, or a traceback that holds the job.
    """

    __slots__ = (
        "cancel",
        "error",
        "finished",
        "holds_thread",
        "home",
        "label",
        "on_done",
        "orphaned",
        "result",
        "started",
        "tag",
        "task",
        "withdrawn",
        "work",
    )

    def __init__(
        self,
        label: str,
        work: Callable[[], Any],
        on_done: Callable[[Job], None],
        *,
        cancel: CancelSignal | None = None,
        tag: Any = None,
    ) -> None:
        self.label = label
        self.work = work
        self.on_done = on_done
        self.cancel = CancelSignal() if cancel is None else cancel
        self.tag = tag
        self.result: Any = None
        self.error: BaseException | None = None
        self.started = self.finished = self.withdrawn = self.orphaned = self.holds_thread = False
        self.home: AsyncThread | None = None
        self.task: asyncio.Task[None] | None = None

    def forget(self) -> None:
        """Let go of everything: its worker may hold the job for a moment longer."""
        self.result = self.error = self.task = self.tag = None
        self.work = self.on_done = _nothing


def _nothing(*_: object) -> None:
    """What a settled job is made of."""


class Lane:
    """A queue of jobs and at most *width* threads, grown on demand.

    The prompt lane has width 1: that *is* the serialisation of the terminal, and
    why its thread is never replaced - two prompts on one tty are worse than none.
    """

    def __init__(self, workers: Workers, name: str, width: int, *, replaceable: bool = True) -> None:
        self._workers = workers
        self._loop = workers.loop
        self._name = name
        self.width = width
        self._replaceable = replaceable
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads = 0
        self._made = 0
        self._outstanding = 0
        self._closed = False

    @property
    def threads(self) -> int:
        """Threads that take jobs; those stuck in an orphan do not count."""
        return self._threads

    @property
    def outstanding(self) -> int:
        """Jobs submitted and not settled yet."""
        return self._outstanding

    def submit(self, job: Job) -> None:
        """Run *job* on a worker and settle it on the loop.  Raises Unavailable instead of waiting in vain."""
        if self._closed:
            raise Unavailable("the user agent is closing")
        self._workers.refuse_if_stuck()
        self._outstanding += 1
        if self._threads < min(self._outstanding, self.width):
            self._spawn()
        self._queue.put(job)

    def withdraw(self, job: Job) -> None:
        """Nobody wants *job* any more: signal it; one that does not obey within :data:`GRACE` is an orphan."""
        if job.finished or job.withdrawn:
            return
        job.withdrawn = True
        job.cancel.set()
        if job.home is not None:
            job.home.cancel(job)
        self._loop.call_later(GRACE, self._check_orphan, job)

    def close(self) -> None:
        """Let every thread go when it has nothing left to do."""
        self._closed = True
        self._retire(self._threads)

    # --- on the loop ----------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        self._made += 1
        thread = threading.Thread(target=self._main, name=f"sipcli-{self._name}-{self._made}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads for us
            if self._threads == 0:
                self._outstanding -= 1
                raise Unavailable(f"no thread for the provider: {error}") from error
            return
        self._threads += 1

    def _retire(self, count: int) -> None:
        for _ in range(count):
            self._threads -= 1
            self._queue.put(None)

    def _check_orphan(self, job: Job) -> None:
        if job.finished or not job.started:
            return  # it obeyed, or it waits in the queue, where it will be skipped
        job.orphaned = True
        self._workers.add_orphan(job)
        if job.home is not None:
            job.home.tainted = True
        if not self._replaceable:
            return
        self._outstanding -= 1
        if job.home is None:
            job.holds_thread = True
            self._threads -= 1
            if self._threads < min(self._outstanding, self.width) and not self._closed:
                self._spawn()

    def _finished(self, job: Job) -> None:
        job.finished = True
        if job.orphaned:
            self._workers.drop_orphan(job)
        if not (job.orphaned and self._replaceable):
            self._outstanding -= 1
        if job.holds_thread:
            self._threads += 1  # it is back: one too many, if it was replaced meanwhile
            if self._closed or self._threads > max(1, min(self._outstanding, self.width)):
                self._retire(1)
        try:
            if not job.withdrawn:
                job.on_done(job)
        finally:
            job.forget()

    # --- on a worker ----------------------------------------------------------------------------------------

    def _main(self) -> None:
        with self._workers.registry.register(threading.current_thread().name):
            while True:
                job = self._queue.get()
                if job is None or not self._run(job):
                    return
                del job  # an idle thread must not keep the last secret alive

    def _run(self, job: Job) -> bool:
        """False: the loop is closed, and so is the reason for this thread."""
        mark = current_job.set(job)
        try:
            if not job.cancel.is_set():
                job.started = True
                answer = job.work()
                if inspect.isawaitable(answer):
                    if self._replaceable:
                        return self._hand_over(job, answer)
                    answer = self._workers.async_thread().wait(job, answer)
                job.result = answer
        except BaseException as error:
            job.error = error
        finally:
            current_job.reset(mark)
            if os.getpid() != self._workers.pid:
                os._exit(os.EX_SOFTWARE)  # a provider forked: its copy has our sockets and no loop, and is nobody
        return self._report(job)

    def _hand_over(self, job: Job, answer: Awaitable[Any]) -> bool:
        """Asynchronous providers share one thread; this one is free for the next job."""
        self._workers.async_thread().start(job, answer, self._report)
        return True

    def _report(self, job: Job) -> bool:
        job.cancel.close()  # when the job ends, not when it is cancelled: an orphan may still look at it
        try:
            self._workers.inbox.put(partial(self._finished, job))
        except RuntimeError:
            return False
        return True


class Workers:
    """The two lanes of an agent, the thread for asynchronous providers, and the orphans of all."""

    def __init__(self, loop: asyncio.AbstractEventLoop, registry: ThreadRegistry, *, width: int = 64) -> None:
        self.loop = loop
        self.registry = registry
        self.inbox = Inbox(loop)
        self.pid = os.getpid()
        self.orphans: list[str] = []
        self.fetch = Lane(self, "fetch", width)
        self.prompt = Lane(self, "prompt", 1, replaceable=False)
        self._async: AsyncThread | None = None
        self._async_lock = threading.Lock()

    def refuse_if_stuck(self) -> None:
        """Raise Unavailable while :data:`MAX_ORPHANS` providers ignore that nobody waits for them."""
        if len(self.orphans) >= MAX_ORPHANS:
            raise Unavailable(f"too many stuck providers: {', '.join(sorted(self.orphans))}")

    def add_orphan(self, job: Job) -> None:
        self.orphans.append(job.label)
        log.warning("provider %s ignores its cancel signal; going on without it", job.label)

    def drop_orphan(self, job: Job) -> None:
        self.orphans.remove(job.label)

    def async_thread(self) -> AsyncThread:
        """The thread of the asynchronous providers; a new one when a provider blocks the old (any thread)."""
        with self._async_lock:
            if self._async is None or self._async.tainted:
                # A tainted one ends by itself, with the last of its jobs.
                self._async = AsyncThread(self.registry)
            return self._async

    def close(self) -> None:
        self.fetch.close()
        self.prompt.close()
        with self._async_lock:
            if self._async is not None:
                self._async.close()
