"""`register --all`: an account that fails at first is tried again later, beside those that are up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

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


@stepped
@pytest.mark.parametrize("bound", [True, False])
async def test_whoever_left_before_the_first_answer_is_not_said_to_be_registered_no_longer(bound: bool) -> None:
    said: list[str] = []
    console = SimpleNamespace(say=lambda words, style: said.append(words))
    run = SimpleNamespace(options=SimpleNamespace(verbose=0), console=console, ready=lambda: None)
    alice = AccountConfig.for_aor("sip:alice@example.com")
    states = register._States(cast("Any", run), [alice], stays=True)
    for state in ("trying", *(["registered"] if bound else []), "unregistered"):
        states.look("registration", {"account": alice.name, "state": state})
    assert said == (["sip:alice@example.com is no longer registered"] if bound else [])
