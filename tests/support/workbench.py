"""Workers on the running loop, and what their jobs came to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sipcli.ua.lanes.threads import ThreadRegistry
from sipcli.ua.lanes.workers import Job, Lane, Workers


class Bench:
    """Workers on the running loop, and what their jobs came to."""

    def __init__(self, width: int = 64) -> None:
        self.registry = ThreadRegistry()
        self.workers = Workers(asyncio.get_running_loop(), self.registry, width=width)
        self.done: list[tuple[str, Any, BaseException | None]] = []

    def submit(self, work: Callable[[], Any], label: str = "p", *, lane: Lane | None = None) -> Job:
        job = Job(label, work, self._on_done)
        (lane or self.workers.fetch).submit(job)
        return job

    def _on_done(self, job: Job) -> None:
        self.done.append((job.label, job.result, job.error))


@contextmanager
def bench(width: int = 64) -> Iterator[Bench]:
    made = Bench(width)
    try:
        yield made
    finally:
        made.workers.close()
