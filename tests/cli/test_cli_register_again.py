"""`register --all`: an account that fails at first is tried again later, beside those that are up."""

from __future__ import annotations

from typing import Any, cast

from sipcli.cli import register
from sipcli.config import AccountConfig
from sipcli.errors import NoAnswer
from tests.support.clock import advance, settle, stepped


class Account:
    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def register(self, **how: Any) -> None:
        self.asked.append(how)
        raise NoAnswer("still nobody there")


class Agent:
    def __init__(self) -> None:
        self.only = Account()

    def account(self, name: str) -> Account:
        assert name == "late@example.com"
        return self.only


@stepped
async def test_after_a_pause_and_with_its_own_back_off() -> None:
    agent = Agent()
    register._try_again(cast("Any", agent), AccountConfig.for_aor("sip:late@example.com"))
    await settle()
    await advance(register.FIRST_PAUSE - 1)
    assert agent.only.asked == []
    await advance(2)
    assert agent.only.asked == [{"retry": True}]
    await settle()
    assert not register._patient
