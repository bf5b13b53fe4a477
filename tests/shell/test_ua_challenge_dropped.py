"""A handle that is dropped without a word abandons its challenge, on the loop, and keeps nothing alive (T08)."""

from __future__ import annotations

import asyncio
import gc
import warnings
import weakref
from typing import Any

import pytest

from sipcli.sip.auth import GiveUp
from sipcli.ua.auth.challenge import DeferredChallenge, VerdictState
from tests.support.authkit import password
from tests.support.challengekit import ACCOUNT, ChallengeRig, on_thread
from tests.support.clock import settle, stepped

RIGHT = password("right")


@pytest.mark.parametrize("where", ["loop", "thread", "cycle"])
def test_A27_T08_a_dropped_handle_abandons_itself_on_the_loop_with_a_warning(where: str) -> None:
    @stepped
    async def run() -> None:
        rig = ChallengeRig()
        exchange, deferred = rig.deferred()
        verdict = deferred._verdict
        said: list[Any] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            box = [deferred]
            if where == "cycle":
                box[0].account = box  # type: ignore[assignment]  # nobody but the collector finds it
            del deferred
            if where == "thread":
                on_thread(box.clear)
            elif where == "loop":
                box.clear()
            else:
                del box
                on_thread(gc.collect)
            assert exchange.why is None, "a finalizer does nothing but post"
            await settle()
            said = [str(w.message) for w in caught if w.category is ResourceWarning]
        assert exchange.why is GiveUp.LOST and verdict.state is VerdictState.LOST
        assert said == ["a deferred challenge of account 'work' (realm 'example.com') was dropped unanswered"]
        assert len(exchange.sent) == 1

    run()


@stepped
async def test_a_handle_dropped_after_its_verb_is_silent() -> None:
    rig = ChallengeRig()
    for verb in ("respond", "abandon"):
        _, deferred = rig.deferred()
        getattr(deferred, verb)()
        del deferred
    exchange, deferred = rig.deferred()
    rig.hangup(exchange)
    del deferred
    gc.collect()
    await settle()


@stepped
async def test_a_handle_dropped_in_the_moment_of_the_hangup_is_silent() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    del deferred  # posts
    rig.hangup(exchange)  # and is overtaken
    await settle()
    assert rig.outcomes == ["revoked"]


@stepped
async def test_a_handle_dropped_while_the_agent_closes_is_silent() -> None:
    rig = ChallengeRig()
    _, deferred = rig.deferred()
    del deferred
    rig.gate.closed = True
    await settle()


def test_a_handle_dropped_after_the_loop_closed_is_silent() -> None:
    async def main() -> Any:
        return ChallengeRig().deferred()[1]

    deferred = asyncio.run(main())
    del deferred
    gc.collect()


@stepped
async def test_a_handle_of_a_hook_that_failed_does_not_take_the_decision_from_the_next() -> None:
    rig = ChallengeRig()
    exchange, verdict = rig.verdict()
    dropped = DeferredChallenge(verdict, ACCOUNT, None)
    verdict.disown()
    kept = DeferredChallenge(verdict, ACCOUNT, None)
    del dropped
    await settle()
    assert exchange.why is None
    kept.respond(RIGHT)
    assert len(exchange.sent) == 2


@stepped
async def test_T08_nothing_keeps_a_settled_challenge_alive() -> None:
    rig = ChallengeRig()
    exchange, deferred = rig.deferred()
    gone = weakref.ref(deferred._verdict.token)
    deferred.respond(RIGHT)
    del deferred, exchange
    rig.rig.events.clear()
    gc.collect()
    assert gone() is None
