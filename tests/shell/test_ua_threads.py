"""Which threads may touch an agent's challenges."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sipcli.errors import UnregisteredThread
from sipcli.ua.lanes.threads import ThreadRegistry, running_loop


def test_registration_nests_and_the_innermost_name_is_shown() -> None:
    """A known fault of the sketch: the second registration of a thread raised at its end."""
    registry = ThreadRegistry()
    assert not registry.registered and registry.names == ()
    with registry.register("outer"):
        with registry.register("inner"):
            assert registry.names == ("inner",)
        assert registry.registered and registry.names == ("outer",)
    assert not registry.registered and registry.names == ()


def test_an_error_inside_the_block_unregisters_too() -> None:
    registry = ThreadRegistry()
    with pytest.raises(ZeroDivisionError), registry.register("one"):
        _ = 1 / 0
    assert not registry.registered


def test_each_thread_is_registered_with_its_own_agent() -> None:
    ours, theirs = ThreadRegistry(), ThreadRegistry()
    loop = asyncio.new_event_loop()
    with ours.register("mine"):
        ours.require(loop)
        with pytest.raises(UnregisteredThread, match="MainThread"):
            theirs.require(loop)
    loop.close()


def test_the_loops_own_thread_needs_no_registration() -> None:
    registry = ThreadRegistry()

    async def main() -> None:
        assert running_loop() is asyncio.get_running_loop()
        registry.require(asyncio.get_running_loop())

    asyncio.run(main())
    assert running_loop() is None


def test_another_loop_on_another_thread_is_not_ours() -> None:
    registry = ThreadRegistry()
    mine = asyncio.new_event_loop()

    async def main() -> None:
        with pytest.raises(UnregisteredThread) as raised:
            registry.require(mine)
        assert raised.value.hint == 'register it first: with agent.threads.register("name"):'

    asyncio.run(main())
    mine.close()


def test_a_pool_registers_by_initializer_and_dead_threads_are_forgotten() -> None:
    registry = ThreadRegistry()
    with ThreadPoolExecutor(2, initializer=registry.initializer, initargs=("pool",)) as pool:
        assert pool.submit(lambda: registry.registered).result()
        assert registry.names == ("pool",)
    gc.collect()
    assert registry.names == ()


def test_a_reused_ident_is_not_a_registered_thread() -> None:
    registry = ThreadRegistry()
    seen: list[bool] = []

    def one() -> None:
        registry._push("leaks")  # ends without a word, as a killed worker does

    def two() -> None:
        seen.append(registry.registered)

    for target in (one, two) * 20:
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    assert seen == [False] * 20
