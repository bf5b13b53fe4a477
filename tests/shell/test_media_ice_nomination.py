"""Which of the pairs that work is nominated: a relay only when nothing better comes (RFC 8445 section 8.1.1)."""

from __future__ import annotations

import asyncio
from typing import Any

import aioice
from aioice.ice import CandidatePair

from sipcli.media.candidates import LocalIce
from sipcli.ua.media.icewire import GRACE, Checks
from tests.support.clock import advance, settle, stepped

State = CandidatePair.State


class Base:
    """A wire whose checks are answered at once; it notes who was nominated."""

    def __init__(self, kind: str, component: int, said: list[str]) -> None:
        self.local_candidate = aioice.Candidate("1", component, "udp", 100, "192.0.2.1", 4000, kind)
        self._said = said

    async def request(self, message: Any, address: Any, *, integrity_key: bytes) -> None:
        assert "USE-CANDIDATE" in message.attributes
        self._said.append(f"{self.local_candidate.type} {self.local_candidate.component}")


class House:
    """The controlling side of a session with one direct and one relayed pair for each component."""

    def __init__(self, components: int = 2) -> None:
        self.said: list[str] = []
        self.checks = Checks(LocalIce.new([], bytes), [], components=components)
        self.checks.remote_username, self.checks.remote_password = "them", "secret"
        self.checks._began = asyncio.get_running_loop().time()
        self.pairs: dict[tuple[str, int], CandidatePair] = {}
        for component in range(1, components + 1):
            for kind in ("srflx", "relay"):
                there = aioice.Candidate("2", component, "udp", 100, "198.51.100.1", 5000, "host")
                base: Any = Base(kind, component, self.said)
                pair = self.pairs[kind, component] = CandidatePair(base, there)
                pair.state = State.IN_PROGRESS
                self.checks._check_list.append(pair)

    def ends(self, kind: str, component: int = 1, *, well: bool = True) -> None:
        pair = self.pairs[kind, component]
        pair.state = State.SUCCEEDED if well else State.FAILED
        self.checks.check_complete(pair)

    def chosen(self) -> dict[int, str]:
        return {component: pair.local_candidate.type for component, pair in self.checks._nominated.items()}


@stepped
async def test_E04_a_relay_that_works_first_waits_for_the_direct_path() -> None:
    house = House()
    for component in (1, 2):
        house.ends("relay", component)
    await advance(0.6)
    assert house.said == []
    for component in (1, 2):
        house.ends("srflx", component)
    await settle()
    assert house.chosen() == {1: "srflx", 2: "srflx"}
    await advance(2 * GRACE)
    assert house.said == ["srflx 1", "srflx 2"]


@stepped
async def test_E04_a_relay_waits_for_a_second_only() -> None:
    house = House()
    for component in (1, 2):
        house.ends("relay", component)
    await advance(GRACE - 0.05)
    assert house.said == []
    await advance(0.1)
    assert house.chosen() == {1: "relay", 2: "relay"}
    house.ends("srflx", 1)
    await advance(1)
    assert house.said == ["relay 1", "relay 2"], "nobody changes his mind"


@stepped
async def test_E04_a_relay_waits_for_nobody_where_all_else_has_failed() -> None:
    house = House(components=1)
    house.ends("srflx", well=False)
    house.ends("relay")
    await settle()
    assert house.chosen() == {1: "relay"}


@stepped
async def test_E04_who_loses_the_conflict_of_roles_leaves_the_choice() -> None:
    house = House(components=1)
    house.ends("relay")
    await advance(0.1)
    house.checks.switch_role(ice_controlling=False)
    await advance(GRACE)
    assert house.said == [] and house.chosen() == {}
