"""Lanes: registered daemon threads, growth, orphans, cancel signals (T17)."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import pytest

from sipcli.credentials import CancelSignal, Secret, Unavailable
from sipcli.ua.lanes.threads import ThreadRegistry
from sipcli.ua.lanes.workers import GRACE, MAX_ORPHANS, Job, Workers, current_job
from tests.support.clock import advance, stepped, until
from tests.support.workbench import bench


@stepped
async def test_work_runs_on_a_registered_daemon_thread_and_comes_back_to_the_loop() -> None:
    with bench() as b:
        here = threading.get_ident()
        settled_on: list[int] = []

        def work() -> tuple[str, bool, bool]:
            thread = threading.current_thread()
            return thread.name, thread.daemon, b.registry.registered

        job = Job("p", work, lambda job: settled_on.append(threading.get_ident()) or b.done.append(job.result))
        b.workers.fetch.submit(job)
        await until(lambda: b.done)
        assert b.done == [("sipcli-fetch-1", True, True)]
        assert settled_on == [here]


@stepped
async def test_an_error_is_carried_whatever_it_is() -> None:
    with bench() as b:

        def exit_() -> None:
            raise SystemExit(3)

        b.submit(exit_)
        await until(lambda: b.done)
        assert isinstance(b.done[0][2], SystemExit)
        b.submit(lambda: "alive")
        await until(lambda: len(b.done) == 2)


@stepped
async def test_the_fetch_lane_grows_to_its_width_and_no_further() -> None:
    with bench(width=3) as b:
        gate = threading.Event()
        for _ in range(10):
            b.submit(gate.wait)
        await until(lambda: len(b.registry.names) == 3)
        assert b.workers.fetch.threads == 3 and b.workers.fetch.outstanding == 10
        gate.set()
        await until(lambda: len(b.done) == 10)
        assert b.workers.fetch.outstanding == 0
        b.submit(gate.wait)
        await until(lambda: len(b.done) == 11)
        assert b.workers.fetch.threads == 3, "no new thread while one is idle"


@stepped
async def test_one_thread_serves_one_after_the_other() -> None:
    with bench() as b:
        for index in range(5):
            b.submit(lambda: threading.current_thread().name)
            await until(lambda index=index: len(b.done) == index + 1)
        assert {name for _, name, _ in b.done} == {"sipcli-fetch-1"}


@stepped
async def test_prompts_are_shown_one_at_a_time_in_order() -> None:
    with bench() as b:
        order: list[str] = []
        lock = threading.Lock()

        def prompt(name: str) -> None:
            assert lock.acquire(blocking=False), "two prompts on one terminal"
            order.append(name)
            time.sleep(0.001)
            lock.release()

        for name in "abcde":
            b.submit(lambda name=name: prompt(name), lane=b.workers.prompt)
        await until(lambda: len(b.done) == 5)
        assert order == list("abcde") and b.workers.prompt.threads == 1


@stepped
async def test_a_withdrawn_job_is_signalled_and_its_late_answer_discarded() -> None:
    with bench() as b:
        job = b.submit(lambda: job.cancel.wait(10) and "late")
        await until(lambda: job.started)
        b.workers.fetch.withdraw(job)
        b.workers.fetch.withdraw(job)
        await until(lambda: job.finished)
        await advance(GRACE)
        assert b.done == [] and b.workers.orphans == []
        b.workers.fetch.withdraw(job)


@stepped
async def test_a_job_withdrawn_in_the_queue_never_runs() -> None:
    with bench(width=1) as b:
        gate = threading.Event()
        first, ran = b.submit(gate.wait), []
        await until(lambda: first.started)
        second = b.submit(lambda: ran.append(1))
        b.workers.fetch.withdraw(second)
        await advance(GRACE)
        assert b.workers.orphans == []
        gate.set()
        await until(lambda: second.finished)
        assert ran == [] and len(b.done) == 1


@stepped
async def test_T17_who_ignores_the_signal_is_an_orphan_and_is_replaced() -> None:
    with bench(width=1) as b:
        gate = threading.Event()
        stuck = b.submit(gate.wait, "vault")
        await until(lambda: stuck.started)
        b.submit(lambda: "next")
        b.workers.fetch.withdraw(stuck)
        await advance(GRACE - 0.1)
        assert b.workers.orphans == []
        await advance(0.1)
        assert b.workers.orphans == ["vault"]
        await until(lambda: b.done)
        assert b.done[0][1] == "next"
        gate.set()
        await until(lambda: stuck.finished)
        assert b.workers.orphans == [] and b.workers.fetch.threads == 1, "the returning thread is one too many"
        await until(lambda: len(b.registry.names) == 1)


@stepped
async def test_a_returning_orphan_keeps_its_thread_when_there_is_no_other() -> None:
    with bench(width=1) as b:
        gate = threading.Event()
        stuck = b.submit(gate.wait)
        await until(lambda: stuck.started)
        b.workers.fetch.withdraw(stuck)
        await advance(GRACE)
        assert b.workers.fetch.threads == 0
        gate.set()
        await until(lambda: stuck.finished)
        assert b.workers.fetch.threads == 1
        b.submit(lambda: threading.current_thread().name)
        await until(lambda: b.done)
        assert b.done[0][1] == "sipcli-fetch-1"


@stepped
async def test_T17_four_orphans_and_the_lanes_refuse_by_name(caplog: pytest.LogCaptureFixture) -> None:
    with bench() as b:
        gate = threading.Event()
        stuck = [b.submit(gate.wait, name) for name in ("vault", "vault", "sso", "env")]
        await until(lambda: all(job.started for job in stuck))
        for job in stuck:
            b.workers.fetch.withdraw(job)
        await advance(GRACE)
        assert len(b.workers.orphans) == MAX_ORPHANS
        for lane in (b.workers.fetch, b.workers.prompt):
            with pytest.raises(Unavailable, match="too many stuck providers: env, sso, vault, vault"):
                b.submit(lambda: 1, lane=lane)
        gate.set()
        await until(lambda: not b.workers.orphans)
        b.submit(lambda: 1)
        await until(lambda: b.done)
        assert "provider sso ignores its cancel signal" in caplog.text


@stepped
async def test_the_prompt_lane_is_never_replaced() -> None:
    with bench() as b:
        gate = threading.Event()
        stuck = b.submit(gate.wait, "prompt", lane=b.workers.prompt)
        await until(lambda: stuck.started)
        waiting = b.submit(lambda: "next", "prompt", lane=b.workers.prompt)
        b.workers.prompt.withdraw(stuck)
        await advance(GRACE * 10)
        assert b.workers.orphans == ["prompt"] and not waiting.started
        gate.set()
        await until(lambda: b.done)
        assert b.done[0][1] == "next" and b.workers.prompt.outstanding == 0


@stepped
async def test_the_signals_descriptors_are_closed_when_the_job_ends_and_not_before() -> None:
    """A known fault of the sketch: cancel pipes stayed open."""
    with bench() as b:
        seen: list[int] = []
        gate = threading.Event()

        def look(job_box: list[Job]) -> None:
            seen.append(job_box[0].cancel.fileno())
            gate.wait()
            job_box[0].cancel.fileno()  # an orphan may still look

        box: list[Job] = []
        box.append(Job("p", lambda: look(box), lambda job: None))
        b.workers.fetch.submit(box[0])
        await until(lambda: seen)
        b.workers.fetch.withdraw(box[0])
        await advance(GRACE)
        import os

        os.fstat(seen[0])
        gate.set()
        await until(lambda: box[0].finished)
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(seen[0])


@stepped
async def test_T17_a_provider_that_closes_the_signals_descriptor_harms_nobody_else() -> None:
    """It is lent, and ``open(cancel.fileno())`` closes it: a thread that died of that would never be replaced."""
    with bench() as b:
        for lane in (b.workers.prompt, b.workers.fetch):
            closed, withdrawn = threading.Event(), threading.Event()

            def work(closed: threading.Event = closed, withdrawn: threading.Event = withdrawn) -> str:
                job = current_job.get()
                assert job is not None
                os.close(job.cancel.fileno())
                closed.set()
                withdrawn.wait(10)
                return "done"

            job = b.submit(work, lane=lane)
            await until(closed.is_set)
            job.cancel.set()
            withdrawn.set()
            await until(lambda: b.done)
            assert b.done.pop()[1:] == ("done", None)
            b.submit(lambda: "next", lane=lane)
            await until(lambda: b.done)
            assert b.done.pop()[1:] == ("next", None) and lane.threads == 1 and lane.outstanding == 0


def test_T17_the_copy_that_a_forking_provider_leaves_behind_ends_where_the_provider_does() -> None:
    """It has our sockets and our standard output, and no loop: whoever reads our output would wait for it for ever.

    Fails without the look at the process in ``Lane._run``.  In a process of its own: pytest is not to be forked.
    """
    script = """
        import asyncio, os
        from sipcli.ua.lanes.threads import ThreadRegistry
        from sipcli.ua.lanes.workers import Job, Workers

        async def main():
            workers = Workers(asyncio.get_running_loop(), ThreadRegistry())
            ended = asyncio.Event()
            jobs = []
            for leave in (None, SystemExit("in the copy")):
                def work(leave=leave):
                    child = os.fork()
                    if not child and leave is not None:
                        raise leave
                    return child
                ended.clear()
                workers.fetch.submit(Job("forks", work, lambda job: (jobs.append(job.result), ended.set())))
                await ended.wait()
            print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in jobs], flush=True)

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (f"{[os.EX_SOFTWARE] * 2}\n", "")


@stepped
async def test_T17_ten_thousand_waiting_jobs_open_no_descriptor() -> None:
    with bench(width=2) as b:
        import os

        gate = threading.Event()
        first = [b.submit(gate.wait) for _ in range(2)]
        await until(lambda: all(job.started for job in first))
        before = len(os.listdir("/proc/self/fd"))
        jobs = [b.submit(lambda: None) for _ in range(10_000)]
        for job in jobs:
            job.cancel.set()
        # Not the very same number: what an earlier test left to the collector may be closed meanwhile.
        assert len(os.listdir("/proc/self/fd")) < before + 100
        gate.set()
        await until(lambda: b.workers.fetch.outstanding == 0)


@stepped
async def test_T27_an_idle_thread_keeps_no_secret_alive() -> None:
    with bench() as b:
        secret = Secret("hunter2")
        gone = weakref.ref(secret)
        box = [secret]
        b.submit(lambda: box.pop())
        del secret
        await until(lambda: b.done)
        b.done.clear()
        gc.collect()
        assert gone() is None


@stepped
async def test_T27_a_job_whose_settling_fails_is_forgotten_all_the_same() -> None:
    with bench() as b:
        secret = Secret("hunter2")
        gone, box, heard = weakref.ref(secret), [secret], []
        del secret

        def breaks(job: Job) -> None:
            heard.append(job.label)
            raise RuntimeError("whoever submitted it")

        job = Job("p", lambda: box.pop(), breaks)
        b.workers.fetch.submit(job)
        await until(lambda: heard)
        gc.collect()
        assert gone() is None and job.result is None


@stepped
async def test_the_current_job_is_known_to_the_worker_only() -> None:
    with bench() as b:
        job = b.submit(current_job.get)
        await until(lambda: b.done)
        assert b.done[0][1] is job and current_job.get() is None


@stepped
async def test_after_close_nothing_is_taken_and_threads_go() -> None:
    with bench() as b:
        b.submit(lambda: 1)
        b.submit(lambda: 1, lane=b.workers.prompt)
        await until(lambda: len(b.done) == 2)
    with pytest.raises(Unavailable, match="closing"):
        b.submit(lambda: 1)
    await until(lambda: b.registry.names == ())


@stepped
async def test_an_orphan_that_returns_after_close_lets_its_thread_go() -> None:
    with bench() as b:
        gate = threading.Event()
        stuck = b.submit(gate.wait)
        await until(lambda: stuck.started)
        b.workers.fetch.withdraw(stuck)
        await advance(GRACE)
    gate.set()
    await until(lambda: b.registry.names == ())


def test_a_thread_whose_loop_is_gone_ends_quietly() -> None:
    gate = threading.Event()
    registry = ThreadRegistry()

    async def main() -> None:
        workers = Workers(asyncio.get_running_loop(), registry)
        job = Job("p", gate.wait, lambda job: None)
        workers.fetch.submit(job)
        await until(lambda: job.started)

    asyncio.run(main())
    gate.set()
    end = time.monotonic() + 30
    while registry.names and time.monotonic() < end:
        time.sleep(0)
    assert registry.names == ()


@stepped
async def test_no_more_threads_is_unavailable_and_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    with bench() as b:

        def refuse(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Unavailable, match="can't start new thread"):
            b.submit(lambda: 1)
        assert b.workers.fetch.outstanding == 0
        monkeypatch.undo()
        gate = threading.Event()
        b.submit(gate.wait)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        b.submit(lambda: 2)  # the thread there is will do
        monkeypatch.undo()
        gate.set()
        await until(lambda: len(b.done) == 2)


# --- the process ----------------------------------------------------------------------------------------------


def test_T17_a_stuck_provider_does_not_hold_the_exit_of_the_process() -> None:
    code = """
        import asyncio, threading
        from sipcli.ua.lanes.threads import ThreadRegistry
        from sipcli.ua.lanes.workers import Job, Workers

        async def main():
            begun = threading.Event()
            workers = Workers(asyncio.get_running_loop(), ThreadRegistry())
            workers.fetch.submit(Job("stuck", lambda: begun.set() or threading.Event().wait(), print))
            while not begun.is_set():
                await asyncio.sleep(0)
            workers.close()
            print("left")

        asyncio.run(main())
    """
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")
    assert time.monotonic() - began < 10


def test_a_worker_hop_is_a_matter_of_microseconds() -> None:
    """There and back: the budget is 20 us on an idle machine; here only the order of magnitude is held."""

    async def main() -> float:
        workers = Workers(asyncio.get_running_loop(), ThreadRegistry())
        loop = asyncio.get_running_loop()
        best = 1.0
        for _ in range(300):
            future = loop.create_future()
            job = Job("p", int, lambda job, future=future: future.set_result(None))
            began = time.perf_counter()
            workers.fetch.submit(job)
            await future
            best = min(best, time.perf_counter() - began)
        workers.close()
        return best

    assert asyncio.run(main()) < 0.002


def test_T14_labels_are_logged_not_arguments(caplog: pytest.LogCaptureFixture) -> None:
    @stepped
    async def run() -> None:
        with bench() as b, caplog.at_level(logging.DEBUG):
            b.submit(lambda: Secret("hunter2"), "vault")
            await until(lambda: b.done)

    run()
    assert "hunter2" not in caplog.text
    assert CancelSignal().is_set() is False
