"""Ten thousand challenges that wait at once for a minute: what each costs, and who else must wait for them (T08)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sipcli.errors import AuthAbandoned
from tests.support.crowd import percentile, ticks
from tests.support.hostile import Hostile
from tests.support.peer import Gate, Heard, response

REPOSITORY = Path(__file__).parents[2]
CROWD = 10_000
WAIT = 60.0


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_T08_A27_ten_thousand_challenges_wait_for_a_minute_and_each_has_its_end() -> None:
    """In a process of its own, without Python's development mode, whose allocator is another.

    A hundred timers a second run through the agent's loop meanwhile, and at each the engine has a turn.  Lateness by
    the clock is also what other processes did on this machine, so it is judged in three ways that load does not touch:

    - no timer is late by 20 ms for which our own thread worked;
    - by the clock 99 of 100 are no later than 20 ms beyond what the same timers are in this process, which has nothing
      to do, in the same minute: a thread that blocks works little and is late all the same;
    - a turn costs no more than three times what it costs while one challenge waits: what looks at each of them at
      every turn would cost thousands of times as much, long before it costs 20 ms.

    Fails with a sweep over all accounts in ``Engine.next_timer`` (a turn costs seventeen times as much with 1,500 of
    them; ten thousand do not come to wait before the time-out), and with one that sleeps there (the second).
    """
    gate = Gate("crowd")

    def answer(request: Heard) -> list[bytes]:
        if not request.has("authorization"):
            return [gate.ask(request)]
        return [response(request, 200, "OK", f"Contact: {request.header('contact')};expires=600")]

    server = Hostile(answer)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.crowd", str(server.port), str(CROWD), str(WAIT)],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDEVMODE"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "waiting\n"
        idle = asyncio.run(ticks(WAIT))
        got = json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        server.close()
    alone, many = got["alone"], got["many"]
    kilobytes = got["bytes_each"] / 1000
    late, elsewhere = percentile(many["late"], 0.99), percentile(idle["late"], 0.99)
    print(
        f"{kilobytes:.1f} kB each; {len(many['late'])} timers, p99 late by {late:.2f} ms (idle: {elsewhere:.2f}); "
        f"by our own work p99 {percentile(many['ours'], 0.99):.2f} ms, at worst {percentile(many['ours'], 1):.2f} ms; "
        f"a turn works for {many['work'] * 1e6:.0f} us (one challenge: {alone['work'] * 1e6:.0f}); {got['ends']}"
    )
    assert got["waiting"] == CROWD
    assert kilobytes < 20
    assert percentile(many["ours"], 1) < 20
    assert late < elsewhere + 20
    assert many["work"] < 3 * alone["work"]
    assert got["ends"] == {"Binding": CROWD // 2, AuthAbandoned.__name__: CROWD // 2}
    assert (got["on_the_desk"], got["valid"]) == (0, 0)
