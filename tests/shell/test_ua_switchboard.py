"""Several calls as one person has them: who may disturb, who waits, which one is talked to."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sipcli.config import AccountConfig
from sipcli.errors import LocalProtocolError, MediaFailed
from sipcli.ua.calls.switchboard import Switchboard
from sipcli.ua.notices import Notice


class FakeCall:
    """A call that writes down who held and resumed it."""

    def __init__(self, name: str, account: Any = None, *, up: bool = True) -> None:
        self.id, self.account, self.is_up, self.is_over = name, account, up, False
        self.state = "answered" if up else "ringing"
        self.remote = SimpleNamespace(uri=f"sip:{name}@example.net")
        self.session = SimpleNamespace(held=False)
        self.conference: Any = None
        self.refuses = False

    async def hold(self) -> None:
        if self.refuses:
            raise MediaFailed("no")
        self.session.held = True

    async def resume(self) -> None:
        self.session.held = False


class FakeAgent:
    def __init__(self, **config: Any) -> None:
        self.notices: list[Notice] = []
        self.tell = self.notices.append
        self.accounts = (SimpleNamespace(config=AccountConfig.for_aor("sip:alice@example.com", **config)),)
        self.calls: list[FakeCall] = []


def desk(*calls: FakeCall, **config: Any) -> tuple[Any, FakeAgent]:
    agent = FakeAgent(**config)
    agent.calls = list(calls)
    return Switchboard(agent), agent  # type: ignore[arg-type]


class TestWhoMayDisturb:
    def test_a_first_call_rings_and_is_announced_to_nobody(self) -> None:
        call = FakeCall("a", up=False)
        board, agent = desk(call)
        board.announce(call)
        assert board.refusal(call) is None
        assert agent.notices == []

    def test_a_second_call_waits_and_that_is_told(self) -> None:
        first, second = FakeCall("a"), FakeCall("b", up=False)
        board, agent = desk(first, second)
        assert board.refusal(second) is None
        board.announce(second)
        [told] = agent.notices
        assert told.to_json() == {"call": "b", "remote": "sip:b@example.net", "others": ["a"]}
        assert told.event == "call.waiting"

    def test_without_call_waiting_a_second_call_is_busy(self) -> None:
        first, second = FakeCall("a"), FakeCall("b", up=False)
        board, _ = desk(first, second, call_waiting=False)
        assert board.refusal(second) == (486, "Busy Here")
        first.is_over = True
        assert board.refusal(second) is None

    @pytest.mark.parametrize("code", [480, 486, 603])
    def test_do_not_disturb_is_refused_as_the_account_says(self, code: int) -> None:
        call = FakeCall("a", up=False)
        board, _ = desk(call, dnd=True, dnd_code=code)
        assert board.dnd
        assert board.refusal(call) == (code, "Do Not Disturb")

    def test_do_not_disturb_is_switched_and_told_once(self) -> None:
        call = FakeCall("a", up=False)
        board, agent = desk(call)
        board.dnd = True
        board.dnd = True
        assert board.refusal(call) == (480, "Do Not Disturb")
        board.dnd = False
        assert board.refusal(call) is None
        assert [notice.to_json() for notice in agent.notices] == [{"on": True}, {"on": False}]

    def test_off_outranks_the_account(self) -> None:
        call = FakeCall("a", up=False)
        board, _ = desk(call, dnd=True)
        board.dnd = False
        assert board.refusal(call) is None

    def test_each_account_has_its_own_manners(self) -> None:
        quiet = SimpleNamespace(config=AccountConfig.for_aor("sip:night@example.com", dnd=True))
        board, agent = desk()
        agent.accounts = (*agent.accounts, quiet)
        assert board.refusal(FakeCall("a", quiet)) == (480, "Do Not Disturb")
        assert board.refusal(FakeCall("b", agent.accounts[0])) is None
        assert board.refusal(FakeCall("c")) is None, "a caller who names no account of two"


class TestWhoDecides:
    async def test_what_is_decided_comes_once(self) -> None:
        call = FakeCall("a", up=False)
        board, _ = desk(call)
        asked = board.ask(call)
        board.decide(call, "answer")
        assert await asked == "answer"
        with pytest.raises(LocalProtocolError, match="nothing is to be decided about a: it is ringing"):
            board.decide(call, "reject")

    async def test_of_a_call_about_which_nobody_is_asked_nothing_is_decided(self) -> None:
        call = FakeCall("a", up=False)
        board, _ = desk(call)
        with pytest.raises(LocalProtocolError):
            board.decide(call, "answer")
        board.ask(call)
        board.forget(call)
        board.forget(call)
        with pytest.raises(LocalProtocolError):
            board.decide(call, "answer")


class TestWhichIsTalkedTo:
    async def test_the_others_are_held_and_this_one_is_resumed(self) -> None:
        first, second, ringing = FakeCall("a"), FakeCall("b"), FakeCall("c", up=False)
        second.session.held = True
        board, _ = desk(first, second, ringing)
        await board.switch(second)  # type: ignore[arg-type]
        assert (first.session.held, second.session.held, ringing.session.held) == (True, False, False)
        await board.switch(first)
        assert (first.session.held, second.session.held) == (False, True)

    async def test_who_is_in_a_conference_stays_there(self) -> None:
        first, second = FakeCall("a"), FakeCall("b")
        first.conference = object()
        board, _ = desk(first, second)
        await board.switch(second)
        assert not first.session.held

    async def test_one_that_cannot_be_held_is_told_about_and_hinders_nobody(self) -> None:
        first, second = FakeCall("a"), FakeCall("b")
        first.refuses = True
        second.session.held = True
        board, agent = desk(first, second)
        await board.switch(second)
        assert not second.session.held
        assert [getattr(notice, "code", "") for notice in agent.notices] == ["not_held"]

    async def test_only_a_call_that_is_up(self) -> None:
        board, _ = desk(FakeCall("a", up=False))
        with pytest.raises(LocalProtocolError, match="only a call that is up"):
            await asyncio.wait_for(board.switch(FakeCall("a", up=False)), 1)
