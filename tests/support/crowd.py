"""A process in which thousands of challenges wait at once: what each costs, and how late timers are meanwhile.

``python -m tests.support.crowd PORT COUNT SECONDS`` registers COUNT accounts at
the server on PORT, which challenges each, and lets all of them wait for
SECONDS.  It prints ``waiting`` when the last one waits, one JSON object when each
has had its end, and then takes thousands of bindings back until it is killed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sipcli.config import AccountConfig
from sipcli.ua.account import Account
from sipcli.ua.agent import UserAgent
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge
from sipcli.ua.net.endpoint import EndpointConfig
from tests.support.authkit import password

STEP = 0.01
"""Seconds between two timers whose lateness is taken."""
ALONE = 5.0
"""Seconds for which one challenge waits by itself, to compare with."""


class Parking(Account):
    """Keeps every challenge waiting."""

    parked: list[DeferredChallenge]

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        self.parked.append(challenge.defer())


def resident() -> int:
    """Octets of ours in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def ticks(seconds: float, act: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """A timer every :data:`STEP`, each of which lets *act* do something; times in seconds, sorted.

    *late*: by the clock.  *ours*: no more of it than this thread worked for since the timer before: what it did not,
    the machine gave to other processes.  *work*: what this thread worked for in all, for each timer.
    """
    loop = asyncio.get_running_loop()
    late: list[float] = []
    ours: list[float] = []
    over = loop.create_future()
    began = used = time.thread_time()
    end = loop.time() + seconds

    def mark(due: float) -> None:
        nonlocal used
        now, before, used = loop.time(), used, time.thread_time()
        late.append(now - due)
        ours.append(min(now - due, used - before))
        act()
        if now < end:
            loop.call_at(now + STEP, mark, now + STEP)
        else:
            over.set_result(None)

    loop.call_soon(mark, loop.time())
    await over
    work = (time.thread_time() - began) / len(late)
    return {"late": sorted(late), "ours": sorted(ours), "work": work}


def percentile(times: list[float], share: float) -> float:
    """Of sorted *times*, in milliseconds."""
    return times[min(int(len(times) * share), len(times) - 1)] * 1000


async def crowd(port: int, count: int, seconds: float) -> None:
    Parking.parked = parked = []
    async with UserAgent(endpoint_config=EndpointConfig(bind_host="127.0.0.1")) as agent:

        def register(name: str) -> asyncio.Task[Any]:
            config = AccountConfig.for_aor(f"sip:{name}@127.0.0.1:{port}", name=name, username=name)
            return asyncio.ensure_future(agent.add_account(config, Parking).register(keep=False))

        def turn() -> None:
            """As every datagram makes: the engine is asked when it next wants to be woken."""
            with agent.endpoint.turn():
                pass

        tasks = [register("first")]  # and with it comes everything that is made once
        while not parked:
            await asyncio.sleep(0.01)
        alone = await ticks(ALONE, turn)
        gc.collect()
        before = resident()
        for number in range(1, count):
            tasks.append(register(f"w{number}"))
            if number % 40 == 0:
                await asyncio.sleep(0.05)  # below what makes the whole host go unheard
        while len(parked) < count:
            await asyncio.sleep(0.05)
        gc.collect()
        grown = resident() - before
        print("waiting", flush=True)
        many = await ticks(seconds, turn)
        waiting = sum(deferred.is_valid for deferred in parked)
        for number, deferred in enumerate(parked):
            if number % 2:
                deferred.respond(password("wonderland", deferred.account.name))
            else:
                deferred.abandon()
            if number % 40 == 0:
                await asyncio.sleep(0.05)
        ends = Counter(type(end).__name__ for end in await asyncio.gather(*tasks, return_exceptions=True))
        told = {
            "bytes_each": grown / count,
            "alone": alone,
            "many": many,
            "waiting": waiting,
            "ends": ends,
            "on_the_desk": len(agent.auth_desk),
            "valid": sum(deferred.is_valid for deferred in parked),
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(crowd(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
