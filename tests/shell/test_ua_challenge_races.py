"""Many who want to decide about one challenge: one wins, and all the others are told so (T08, A27)."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import weakref
from typing import Any

from sipcli.errors import ChallengeGone
from tests.support.authkit import password
from tests.support.challengekit import ChallengeRig
from tests.support.clock import settle, stepped, until

RIGHT = password("right")


@stepped
async def test_T08_eight_threads_race_and_one_wins() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    barrier, results = threading.Barrier(8), []

    def work(index: int) -> None:
        with rig.threads.register(f"t{index}"):
            barrier.wait()
            try:
                deferred.respond(RIGHT) if index % 2 else deferred.abandon()
                results.append("won")
            except ChallengeGone as gone:
                results.append(gone.state)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    await until(lambda: len(results) == 8)
    assert results.count("won") == 1 and len(set(results) - {"won"}) == 1
    await settle()
    assert (len(exchange.sent) == 2) != (exchange.why is not None)


RACERS = 32


def test_T08_A27_ten_thousand_races_of_respond_abandon_hangup_and_timeout() -> None:
    """Issue 2, row 6: from 32 threads and the loop; no double send, no leak, no warning (warnings are errors)."""
    batches, size = 20, 500

    async def main() -> tuple[int, weakref.WeakSet[Any]]:
        rig = ChallengeRig(token_ceiling=10)
        alive: weakref.WeakSet[Any] = weakref.WeakSet()
        decided = 0
        for batch in range(batches):
            decided += await _one_batch(rig, alive, size, seed=batch)
            rig.outcomes.clear()
        assert rig.rig.session.pending == () and rig.verdicts == {}
        return decided, alive

    decided, alive = asyncio.run(main())
    assert decided == batches * size
    gc.collect()
    assert len(alive) == 0


async def _one_batch(rig: ChallengeRig, alive: weakref.WeakSet[Any], size: int, *, seed: int) -> int:
    pairs = [rig.deferred() for _ in range(size)]
    for _, deferred in pairs:
        alive.add(deferred)
        alive.add(deferred._verdict.token)
    wins = [0] * size
    lock, barrier = threading.Lock(), threading.Barrier(RACERS + 1)

    def work(number: int) -> None:
        dice = random.Random(seed * RACERS + number)
        order = dice.sample(range(size), size)
        with rig.threads.register(f"racer-{number}"):
            barrier.wait()
            for index in order:
                deferred = pairs[index][1]
                try:
                    if dice.random() < 0.5:
                        deferred.respond(RIGHT)
                    else:
                        deferred.abandon()
                except ChallengeGone:
                    continue
                with lock:
                    wins[index] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(RACERS)]
    for thread in threads:
        thread.start()
    dice = random.Random(-seed - 1)
    barrier.wait()
    for index in dice.sample(range(size), size):
        exchange = pairs[index][0]
        if dice.random() < 0.5:
            rig.hangup(exchange)
        elif dice.random() < 0.1:
            with rig.gate.turn():  # time-out of whatever is still open
                for token in rig.rig.session.pending[:3]:
                    token.expires_at = 0.0
                rig.rig.session.expire(rig.rig.now)
        if dice.random() < 0.2:
            await asyncio.sleep(0)
    while any(thread.is_alive() for thread in threads):
        await asyncio.sleep(0)
    await settle()
    for index, (exchange, deferred) in enumerate(pairs):
        assert wins[index] <= 1
        assert len(exchange.sent) <= 2, "sent twice"
        assert not (len(exchange.sent) == 2 and exchange.why is not None), "answered and abandoned"
        assert not deferred.is_valid
    assert len(rig.outcomes) == size, "every challenge is settled once"
    return size
