"""One server, two families: who is tried when, on a stepped clock (RFC 8305, RFC 6157)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sipcli.errors import NetworkError, TlsError
from sipcli.ua.net.eyeballs import connect_first, interleaved, races
from sipcli.ua.net.resolve import Candidate
from tests.support.clock import SteppedLoop, live, settle

V6, V4 = Candidate("tcp", "2001:db8::1", 5060), Candidate("tcp", "192.0.2.1", 5060)
V6B, V4B = Candidate("tcp", "2001:db8::2", 5060), Candidate("tcp", "192.0.2.2", 5060)
ELSEWHERE = Candidate("tcp", "192.0.2.9", 5070)


class Network:
    """*answers*: seconds until an address answers (a number), refuses (an error, at once), or None: never."""

    def __init__(self, answers: dict[Candidate, float | NetworkError | None]) -> None:
        self.answers = answers
        self.tried: list[tuple[float, Candidate]] = []
        self.cancelled: list[Candidate] = []

    async def connect(self, candidate: Candidate) -> Candidate:
        loop = asyncio.get_running_loop()
        self.tried.append((round(loop.time() - 1000, 3), candidate))
        answer = self.answers[candidate]
        if isinstance(answer, NetworkError):
            raise answer
        try:
            await (asyncio.get_running_loop().create_future() if answer is None else asyncio.sleep(answer))
        except asyncio.CancelledError:
            self.cancelled.append(candidate)
            raise
        return candidate


def run(work: Callable[[], Awaitable[Candidate]]) -> Candidate:
    async def main() -> Candidate:
        result = await live(work())
        await settle()  # who was cancelled hears of it
        return result

    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        return runner.run(main())


def test_C07_a_silent_family_costs_a_quarter_of_a_second() -> None:
    net = Network({V6: None, V4: 0.03})
    assert run(lambda: connect_first([V6, V4], net.connect)) == V4
    assert net.tried == [(0.0, V6), (0.25, V4)]
    assert net.cancelled == [V6]


def test_C07_a_fast_one_has_no_rival() -> None:
    net = Network({V6: 0.2, V4: 0.0})
    assert run(lambda: connect_first([V6, V4], net.connect)) == V6
    assert net.tried == [(0.0, V6)]


def test_C07_a_late_one_may_still_win() -> None:
    net = Network({V6: 0.3, V4: 1.0})
    assert run(lambda: connect_first([V6, V4], net.connect)) == V6
    assert net.cancelled == [V4]


def test_C07_a_refusal_is_followed_at_once() -> None:
    net = Network({V6: NetworkError("connect: no route"), V4: 0.1})
    assert run(lambda: connect_first([V6, V4], net.connect)) == V4
    assert net.tried == [(0.0, V6), (0.0, V4)]


def test_C07_the_first_failure_is_the_one_that_is_told() -> None:
    net = Network({V6: TlsError("tls: not for us"), V4: NetworkError("connect: refused")})
    with pytest.raises(TlsError, match="not for us"):
        run(lambda: connect_first([V6, V4], net.connect))


def test_C01_one_family_is_tried_one_after_the_other() -> None:
    net = Network({V4: 3.0, V4B: 0.0})
    assert run(lambda: connect_first([V4, V4B], net.connect)) == V4
    assert net.tried == [(0.0, V4)]


def test_a_bug_is_not_swallowed() -> None:
    async def broken(candidate: Candidate) -> Candidate:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(lambda: connect_first([V6, V4], broken))


def test_C07_the_families_take_turns() -> None:
    assert interleaved([V6, V6B, V4, V4B]) == [V6, V4, V6B, V4B]
    assert interleaved([V4, V6, V6B]) == [V4, V6, V6B]
    assert interleaved([V4, V4B]) == [V4, V4B]


def test_C01_servers_do_not_race_against_each_other() -> None:
    """SRV's order is the domain's will (RFC 2782); so is NAPTR's of transports."""
    udp = [candidate._replace(transport="udp") for candidate in (V6, V4)]
    assert list(races([V6, V4, ELSEWHERE])) == [[V6, V4], [ELSEWHERE]]
    assert list(races([*udp, V6, V4])) == [[udp[0]], [udp[1]], [V6, V4]]
    assert list(races([])) == []
