"""Two address families, one connection: the second is tried while the first is still silent (RFC 8305 section 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeVar

from sipcli.errors import NetworkError
from sipcli.ua.net.resolve import Candidate

__all__ = ["STAGGER", "connect_first", "interleaved", "races"]

STAGGER: Final = 0.25
"""Seconds after which the next address is tried beside those that have not answered yet (RFC 8305 section 8)."""

_T = TypeVar("_T")


def races(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """*candidates* cut where the order is somebody's will: between servers, between transports.

    What is left together are one server's addresses; those may race.  UDP has
    nothing to race for: a datagram that is lost is noticed by nobody but Timer F.
    """
    race: list[Candidate] = []
    for candidate in candidates:
        same = race and (candidate.transport, candidate.port) == (race[0].transport, race[0].port)
        if race and (not same or candidate.transport == "udp"):
            yield interleaved(race)
            race = []
        race.append(candidate)
    if race:
        yield interleaved(race)


def interleaved(race: Sequence[Candidate]) -> list[Candidate]:
    """The families by turns, beginning with the first's (RFC 8305 section 4); alone, a family keeps its order."""
    first = [c for c in race if c.family == race[0].family]
    other = [c for c in race if c.family != race[0].family]
    mixed: list[Candidate] = []
    while first or other:
        mixed += first[:1] + other[:1]
        del first[:1], other[:1]
    return mixed


async def connect_first(
    race: Sequence[Candidate], connect: Callable[[Candidate], Awaitable[_T]], *, stagger: float = STAGGER
) -> _T:
    """The first that *connect* succeeds with; the others are cancelled.  NetworkError: of the first, if none does.

    Of one family alone each is tried when the one before has failed: there is no reason to think the next better.
    """
    both = len({candidate.family for candidate in race}) > 1
    waiting, running = list(race), set[asyncio.Task[_T]]()
    failure: NetworkError | None = None

    async def attempt(candidate: Candidate) -> _T:
        return await connect(candidate)

    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(attempt(waiting.pop(0))))
            patience = stagger if waiting and both else None
            done, running = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    return task.result()
                if not isinstance(error, NetworkError):
                    raise error
                failure = failure or error
        raise failure or NetworkError("connect: no address to try")
    finally:
        for task in running:
            task.cancel()
