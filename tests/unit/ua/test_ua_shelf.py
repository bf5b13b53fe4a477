"""Providers are built on a worker, once, and what they ask of a person reaches the broker."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from sipcli.config import Config, ProviderConfig
from sipcli.credentials import CancelSignal, NotFound, UserAction
from sipcli.testing import FakeTerminal, make_request
from sipcli.ua.agent import UserAgent
from sipcli.ua.auth.shelf import ELSEWHERE, NoTerminal, RelayTerminal, Shelf
from sipcli.ua.lanes.workers import Job, current_job
from tests.support.authkit import password
from tests.support.brokerkit import FakeProvider, Keeper


def test_a_provider_is_built_once_even_when_two_ask_at_once() -> None:
    built: list[FakeProvider] = []
    gate = threading.Event()

    def factory(name: str) -> FakeProvider:
        gate.wait()
        built.append(FakeProvider(name=name))
        return built[-1]

    shelf = Shelf(factory)
    assert shelf.interactive("p") is None and shelf.origin("p") == ""
    taken: list[Any] = []
    threads = [threading.Thread(target=lambda: taken.append(shelf.take("p"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert len(built) == 1 and taken == built * 2
    assert shelf.interactive("p") is False and shelf.origin("p") == "tests.support.brokerkit"


def test_what_fails_to_be_built_is_tried_again() -> None:
    tries: list[str] = []

    def factory(name: str) -> FakeProvider:
        tries.append(name)
        if len(tries) == 1:
            raise ImportError("no hvac")
        return FakeProvider(name=name)

    shelf = Shelf(factory)
    with pytest.raises(ImportError):
        shelf.take("p")
    assert shelf.take("p").name == "p"


def test_T17_whether_a_provider_signs_is_looked_at_where_it_is_built_and_never_on_the_loop() -> None:
    """It may be a proxy, whose attributes are fetched, or fail to be; before Python 3.12 a look runs them."""
    looks: list[str] = []

    class Proxy(FakeProvider):
        @property
        def sign(self) -> Any:
            looks.append("sign")
            return lambda *_: None

    shelf = Shelf(lambda name: Proxy(name=name))
    assert shelf.signs("p") is False
    shelf.take("p")
    looks.clear()
    assert shelf.signs("p") is True and looks == []
    shelf.drop(["p"])
    assert shelf.signs("p") is False


def test_an_interactive_provider_is_asked_elsewhere() -> None:
    secret = password("x")
    shelf = Shelf(lambda name: FakeProvider(secret, interactive=True))
    assert shelf.ask("p", make_request()) is ELSEWHERE
    assert shelf.ask_person("p", make_request()) is secret


def test_feedback_reaches_those_who_want_it() -> None:
    keeper, plain = Keeper(name="k"), FakeProvider(name="p")
    shelf = Shelf({"k": keeper, "p": plain}.__getitem__)
    secret = password("x")
    shelf.forget("p", make_request(), secret)
    shelf.forget("k", make_request(), secret)
    shelf.remember(("p", "k"), make_request(), secret)
    assert keeper.forgotten == keeper.remembered == [secret]
    with pytest.raises(NotFound, match="no provider of the chain keeps secrets"):
        shelf.remember(("p",), make_request(), secret)


def test_nobody_is_at_the_terminal() -> None:
    terminal = NoTerminal()
    with pytest.raises(NotFound, match="no terminal"):
        terminal.ask("Password: ", cancel=CancelSignal())
    terminal.show("x")
    terminal.user_action(UserAction(provider="sso", url="https://x.example"))


async def test_what_a_person_must_do_elsewhere_reaches_the_flight() -> None:
    told: list[UserAction] = []

    class Flight:
        user_action = told.append

    inner = FakeTerminal(["typed"])
    relay = RelayTerminal(inner, asyncio.get_running_loop())
    assert relay.ask("Password: ", cancel=CancelSignal()).reveal() == b"typed"
    relay.show("shown")
    action = UserAction(provider="sso", url="https://x.example")
    relay.user_action(action)  # nobody's job
    mark = current_job.set(Job("sso", lambda: None, lambda job: None, tag=Flight))
    relay.user_action(action)
    current_job.reset(mark)
    await asyncio.sleep(0)
    assert told == [action] and inner.actions == [action, action] and inner.shown == ["shown"]


def test_a_user_action_after_the_loop_closed_is_shown_all_the_same() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    inner = FakeTerminal()
    mark = current_job.set(Job("sso", lambda: None, lambda job: None, tag=FakeTerminal()))
    RelayTerminal(inner, loop).user_action(UserAction(provider="sso", url="https://x.example"))
    current_job.reset(mark)
    assert len(inner.actions) == 1


def test_the_agents_own_factory_finds_plug_ins_by_name(tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from a file")
    secret.chmod(0o600)
    config = Config().with_provider(ProviderConfig(name="box", type="file", options={"path": str(secret)}))
    make = UserAgent(config)._plugin_factory(NoTerminal())
    credentials: Any = make("box").get(make_request(username="alice"))
    assert credentials.secret.reveal() == b"from a file"
    assert make("prompt").interactive
