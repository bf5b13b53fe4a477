"""Whatever happens to calls, in whatever order: when they are over nothing of them is left (threat T23).

Acts are begun at random and beside each other, and nobody waits for their end; a seed that fails is a test case.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sipcli.config import PolicyConfig
from sipcli.credentials import PasswordCredentials, Secret
from sipcli.errors import SipcliError
from sipcli.sandbox import Sandbox
from sipcli.sip.calls.refer import LIFETIME
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.agent import UserAgent
from sipcli.ua.brokered import BrokeredAccount
from sipcli.ua.calls.call import Call
from sipcli.ua.calls.conference import Conference
from sipcli.ua.media.media_io import MediaSession
from sipcli.ua.net import roaming
from tests.support.agentkit import Site
from tests.support.brokerkit import FakeProvider
from tests.support.clock import advance, live, stepped

PASSWORDS = {"alice": "wonderland", "bob": "builder", "carol": "singer"}
ACTS = 20
Act = Callable[["Life"], Coroutine[Any, Any, object] | None]


class Life:
    """Three agents at one server, and a die."""

    def __init__(self, box: Sandbox, seed: int, folder: Path) -> None:
        self.box = box
        self.die = random.Random(seed)
        self.folder = folder
        self.agents: list[UserAgent] = []
        self.made: list[weakref.ref[Any]] = []
        self.away = False
        self.tasks: set[asyncio.Task[None]] = set()
        self._files = 0

    async def join(self, user: str) -> None:
        provider = FakeProvider(lambda _: PasswordCredentials(user, Secret(PASSWORDS[user])))
        policy = PolicyConfig(transfer="same-domain", redirect="same-domain")
        agent = UserAgent(providers={"p": provider}.__getitem__, on_incoming=self._take)
        await agent.start()
        self.agents.append(agent)
        uri = SipUri.parse(f"sip:{user}@{self.box.address('udp')[0]}")
        config = replace(Site(self.box, agent).config(user), aor=uri, username=user, policy=policy, register=True)
        await live(agent.add_account(config, BrokeredAccount).register())

    def _take(self, call: Call) -> None:
        self.note(call)
        roll = self.die.random()
        if roll < 0.1:
            call.reject(486)
        elif roll < 0.2:
            pass  # it rings until somebody hangs up
        elif roll < 0.4:
            self.begin(self._early(call))
        else:
            self.begin(call.accept(audio="tone:600"))

    @staticmethod
    async def _early(call: Call) -> None:
        await call.early(audio="tone:500")
        await call.accept()

    def note(self, call: Call) -> None:
        self.made.append(weakref.ref(call))
        self.made.append(weakref.ref(call.core))

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        async def run() -> None:
            with contextlib.suppress(SipcliError):  # all of them have the right to fail
                await work

        task = asyncio.ensure_future(run())
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.result()

    # --- what may happen ------------------------------------------------------------------------------------

    @property
    def someone(self) -> UserAgent:
        return self.die.choice(self.agents)

    def call_of(self, agent: UserAgent) -> Call | None:
        return self.die.choice(agent.calls) if agent.calls else None

    async def dial(self) -> None:
        agent = self.someone
        target = self.die.choice([*PASSWORDS, "echo", "nobody"])
        call = await agent.accounts[0].call(target, audio="tone:440")
        self.note(call)

    async def on_a_call(self, act: str) -> None:
        call = self.call_of(self.someone)
        if call is None:
            return
        match act:
            case "hold":
                await call.hold()
            case "resume":
                await call.resume()
            case "hangup":
                await call.hangup()
            case "transfer":
                await call.transfer(self.die.choice(list(PASSWORDS)))
            case "join":
                other = self.call_of(call.agent)
                if other is not None:
                    await call.transfer_to(other)
            case "conference":
                await Conference.start(call.agent.calls)
            case "leave" if call.conference is not None:
                call.conference.leave(call)
            case "record":
                self._files += 1
                call.session.record(self.folder / f"{self._files}.wav")
            case "dtmf":
                await call.dtmf("12#")
            case "info":
                await call.send_request("INFO")

    def hang_up(self) -> None:
        for agent in self.agents:
            for call in agent.calls:
                self.begin(call.hangup())

    def another_network(self) -> None:
        self.away = not self.away
        self.someone.roaming.changed()

    def act(self) -> None:
        acts = ("hold", "resume", "hangup", "transfer", "join", "conference", "leave", "record", "dtmf", "info")
        roll = self.die.random()
        if roll < 0.3:
            self.begin(self.dial())
        elif roll < 0.4:
            self.another_network()
        else:
            self.begin(self.on_a_call(self.die.choice(acts)))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def sessions() -> list[MediaSession]:
    return [found for found in gc.get_objects() if isinstance(found, MediaSession)]


def nothing_is_left(agent: UserAgent) -> None:
    core = agent.engine._core
    assert (agent.calls, core.calls, core.dialogs, agent.roaming._tasks) == ((), {}, {}, {})
    assert not core.notified._takers
    assert not agent.transfers._tasks and not agent.switchboard._asked


@pytest.mark.slow
@pytest.mark.parametrize("end", ["calls end", "agents close"])
@pytest.mark.parametrize("seed", range(4))
def test_T23_nothing_of_a_call_outlives_it(
    seed: int, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fails for a table, task, timer or socket that is left: without ``drop_call`` in ``Call._end``, for example."""
    gc.collect()
    older = len(sessions())

    @stepped
    async def run() -> None:
        loop: Any = asyncio.get_running_loop()
        faults: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: faults.append(context))
        async with Sandbox(users=PASSWORDS) as box:
            life = Life(box, seed, tmp_path)
            monkeypatch.setattr(roaming, "still_ours", lambda host: not life.away)
            before_agents = open_files()
            for user in PASSWORDS:
                await life.join(user)
            before = open_files()
            for _ in range(ACTS):
                life.act()
                await advance(life.die.choice([0.0, 0.02, 0.3, 2.0, 6.0]))
            life.away = False
            if end == "calls end":
                life.hang_up()
                await advance(LIFETIME + 80)
                for number in range(len(life.agents)):
                    nothing_is_left(life.agents[number])
                assert not life.tasks
                # What is too large for UDP goes over a connection, which an account keeps; its other end is here, too.
                assert open_files() <= before + 2 * len(life.agents)
                gc.collect()
                assert [ref for ref in life.made if ref() is not None] == []
                assert len(sessions()) == older
            while life.agents:
                await live(life.agents.pop().close())
            await advance(40)  # what TURN, roaming and the sandbox's own phone wait for at most
            assert not life.tasks
            assert open_files() <= before_agents
        await advance(1)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        assert not tasks
        timers = [handle for handle in loop._scheduled if not handle.cancelled()]
        assert not timers
        gc.collect()
        assert [ref for ref in life.made if ref() is not None] == []
        assert not faults

    run()
    gc.collect()
    assert len(sessions()) == older
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
