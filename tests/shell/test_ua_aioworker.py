"""Asynchronous providers: one thread with a loop of its own, cancelled tasks, what blocks it (T17)."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from sipcli.credentials import Cancelled, Unavailable
from sipcli.ua.lanes.aioworker import AsyncThread
from sipcli.ua.lanes.threads import ThreadRegistry
from sipcli.ua.lanes.workers import GRACE
from tests.support.clock import advance, settle, stepped, until
from tests.support.workbench import bench


@stepped
async def test_async_work_runs_on_one_registered_thread_with_a_loop_of_its_own() -> None:
    with bench() as b:

        async def work() -> tuple[str, bool, bool]:
            await asyncio.sleep(0)
            here = asyncio.get_running_loop()
            return threading.current_thread().name, b.registry.registered, here is b.workers.loop

        b.submit(work)
        b.submit(work)
        await until(lambda: len(b.done) == 2)
        assert [result for _, result, _ in b.done] == [("sipcli-async", True, False)] * 2


@stepped
async def test_async_work_overlaps_on_its_thread() -> None:
    with bench(width=1) as b:
        both = asyncio.Barrier(2)

        async def work() -> bool:
            await both.wait()
            return True

        b.submit(work)
        b.submit(work)
        await until(lambda: len(b.done) == 2)


@stepped
async def test_async_errors_are_carried() -> None:
    with bench() as b:

        async def work() -> None:
            raise KeyError("x")

        b.submit(work)
        await until(lambda: b.done)
        assert isinstance(b.done[0][2], KeyError)


@stepped
async def test_T17_whoever_ends_the_loop_of_all_async_providers_ends_nobody_but_himself() -> None:
    """asyncio raises SystemExit and KeyboardInterrupt through its loop; ``loop.stop()`` and stray callbacks do as much.

    Fails without ``_run_on``: the thread was gone, the job never settled, and from then on every asynchronous
    provider of the agent was refused as if it were closing.
    """
    failures: list[object] = []
    threading.excepthook, hook = failures.append, threading.excepthook
    try:
        with bench() as b:
            beside, released = threading.Event(), threading.Event()

            async def bystander() -> str:
                beside.set()
                while not released.is_set():
                    await asyncio.sleep(0.001)
                return "unharmed"

            def leave(error: BaseException) -> None:
                raise error

            async def exits(error: BaseException) -> None:
                leave(error)

            async def stops() -> str:
                asyncio.get_running_loop().stop()
                return "stopped"

            async def strays() -> str:
                asyncio.get_running_loop().call_soon(leave, SystemExit("a callback of it"))
                await asyncio.sleep(0)
                return "strayed"

            b.submit(bystander, "bystander")
            await until(beside.is_set)
            for error in (SystemExit("hunter2"), KeyboardInterrupt("hunter2"), GeneratorExit("hunter2")):
                for lane in (b.workers.fetch, b.workers.prompt):
                    b.submit(lambda error=error: exits(error), lane=lane)
                    await until(lambda: b.done)
                    assert b.done.pop()[2] is error
            for work, said in ((stops, "stopped"), (strays, "strayed")):
                b.submit(work)
                await until(lambda: b.done)
                assert b.done.pop()[1] == said
            assert b.registry.names.count("sipcli-async") == 1
            released.set()
            await until(lambda: b.done)
            assert b.done[0][1] == "unharmed"
        await until(lambda: b.registry.names == ())
    finally:
        threading.excepthook = hook
    assert failures == []


@stepped
async def test_withdrawing_async_work_cancels_its_task() -> None:
    with bench() as b:
        ended = threading.Event()
        begun = threading.Event()

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        job = b.submit(work)
        await until(begun.is_set)
        b.workers.fetch.withdraw(job)
        await until(ended.is_set)
        await until(lambda: job.finished)
        await advance(GRACE)
        assert b.done == [] and b.workers.orphans == []


@stepped
async def test_async_work_withdrawn_before_it_began_is_cancelled_too() -> None:
    with bench() as b:
        gate, ran = threading.Event(), []

        async def coroutine() -> None:
            ran.append(1)

        def work() -> Any:
            gate.wait()
            return coroutine()

        job = b.submit(work)
        await until(lambda: job.started)
        job.cancel.set()
        gate.set()
        await until(lambda: b.done)
        assert ran == [] and isinstance(b.done[0][2], Unavailable)


@stepped
async def test_a_blocking_mistake_in_one_async_provider_costs_the_others_one_new_thread() -> None:
    with bench() as b:
        gate, begun = threading.Event(), threading.Event()

        async def blocks() -> None:
            begun.set()
            gate.wait()

        async def works() -> str:
            return threading.current_thread().name

        stuck = b.submit(blocks, "bad")
        await until(begun.is_set)
        b.workers.fetch.withdraw(stuck)
        await advance(GRACE)
        assert b.workers.orphans == ["bad"]
        b.submit(works)
        await until(lambda: b.done)
        gate.set()
        await until(lambda: not b.workers.orphans)
        await until(lambda: b.registry.names.count("sipcli-async") == 1)
        assert b.workers.fetch.outstanding == 0


@stepped
async def test_an_interactive_async_provider_holds_the_prompt_lane_until_it_is_done() -> None:
    with bench() as b:
        gate = threading.Event()
        order: list[str] = []

        async def ask(name: str) -> str:
            order.append(f"{name} begins")
            while not gate.is_set():
                await asyncio.sleep(0.001)
            order.append(f"{name} ends")
            return name

        b.submit(lambda: ask("a"), lane=b.workers.prompt)
        b.submit(lambda: ask("b"), lane=b.workers.prompt)
        await until(lambda: order)
        gate.set()
        await until(lambda: len(b.done) == 2)
        assert order == ["a begins", "a ends", "b begins", "b ends"]


@stepped
async def test_an_interactive_async_provider_may_fail_or_ignore_its_cancellation() -> None:
    with bench() as b:
        gate, begun = threading.Event(), threading.Event()

        async def fails() -> None:
            raise Cancelled("^C")

        async def blocks() -> None:
            begun.set()
            gate.wait()

        b.submit(fails, lane=b.workers.prompt)
        await until(lambda: b.done)
        assert isinstance(b.done[0][2], Cancelled)
        stuck = b.submit(blocks, lane=b.workers.prompt)
        await until(begun.is_set)
        b.workers.prompt.withdraw(stuck)
        await advance(GRACE)
        assert b.workers.orphans and b.workers.prompt.outstanding == 1
        gate.set()
        await until(lambda: not b.workers.orphans)
        assert b.workers.prompt.outstanding == 0


async def test_an_async_thread_may_be_told_twice_that_it_is_over() -> None:
    """The last job of a tainted thread ends it, and so does closing - perhaps while it winds up."""
    registry = ThreadRegistry()
    thread = AsyncThread(registry)
    begun, winding = threading.Event(), threading.Event()
    failures: list[object] = []

    async def lingers() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            winding.set()
            await asyncio.sleep(0.05)  # the thread is between its loop's end and its own
            raise

    threading.excepthook, hook = failures.append, threading.excepthook
    try:
        asyncio.run_coroutine_threadsafe(lingers(), thread._loop)
        assert begun.wait(5)
        thread.close()
        assert winding.wait(5)
        thread.close()
        thread._thread.join(5)
    finally:
        threading.excepthook = hook
    assert not thread._thread.is_alive()
    assert failures == []


@stepped
async def test_closing_cancels_async_work_and_ends_its_thread() -> None:
    with bench() as b:
        begun, cancelled = threading.Event(), threading.Event()

        async def stubborn() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        b.submit(stubborn)
        await until(begun.is_set)
    await until(cancelled.is_set)
    await until(lambda: b.registry.names == ())
    await settle()
    assert isinstance(b.done[0][2], Unavailable)


@stepped
async def test_async_work_that_comes_after_its_thread_has_ended_is_refused() -> None:
    with bench() as b:

        async def work() -> None: ...

        b.submit(work)
        await until(lambda: b.done)
        b.workers.async_thread().close()
        await until(lambda: "sipcli-async" not in b.registry.names)
        await until(lambda: b.workers.async_thread()._loop.is_closed())
        b.submit(work)
        future = asyncio.get_running_loop().create_future()
        b.submit(lambda: _Awaitable(future))
        await until(lambda: len(b.done) == 3)
        assert all(isinstance(error, Unavailable) for _, _, error in b.done[1:])


class _Awaitable:
    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    def __await__(self) -> Any:
        return self._future.__await__()
