"""Another network below a running agent, step by step: which addresses are gone, who is told, and when it is over."""

from __future__ import annotations

import asyncio
import gc
import struct
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from sipcli.errors import MediaFailed
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.net import network, roaming
from sipcli.ua.net.network import NetworkWatch, is_change, still_ours
from sipcli.ua.net.roaming import Roaming

OLD, NEW = "10.77.0.1", "10.77.0.9"


class Engine:
    def __init__(self) -> None:
        self.now = 0.0
        self.local_hosts = {OLD}
        self.said: list[str] = []

    def address_lost(self, host: str, now: float) -> None:
        self.said.append(f"lost {host}")
        self.local_hosts.discard(host)

    def network_changed(self, now: float) -> None:
        self.said.append("changed")


class Session:
    held = False

    def __init__(self) -> None:
        self.local = (OLD, 4000)

    async def move(self, host: str) -> None:
        self.local = (host, 4002)


class Call:
    """One whose re-INVITEs are as *answers* say: None is a success."""

    is_over = False

    def __init__(self, account: Any = None, answers: tuple[Exception | None, ...] = (None,)) -> None:
        self.id = "call1"
        self.account = account
        self.session = self.media = Session()
        self.changes = self
        self.core = SimpleNamespace(
            adrift=True,
            dialog=SimpleNamespace(target=lambda: SimpleNamespace(hop=SipUri.parse("sip:10.77.0.2:5060").hop)),
            on_silence=lambda why: self.ends.append(why),
        )
        self.offers: list[str] = []
        self.ends: list[str] = []
        self._answers = list(answers)

    async def reoffer(self) -> None:
        self.offers.append(self.session.local[0])
        if (error := self._answers.pop(0)) is not None:
            raise error
        self.core.adrift = False


class Agent:
    closed = False

    def __init__(self, *calls: Call) -> None:
        self.calls = calls
        self.engine = Engine()
        self.endpoint = SimpleNamespace(network_changed=lambda: None)
        self.told: list[tuple[str, str]] = []

    def turn(self) -> Any:
        return nullcontext(self.engine)

    def tell(self, notice: Any) -> None:
        self.told.append((notice.event, getattr(notice, "address", getattr(notice, "code", ""))))


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What this machine has; packets leave from one of them, if there is any."""
    have = {OLD}
    monkeypatch.setattr(roaming, "still_ours", lambda host: host in have)
    monkeypatch.setattr(roaming, "source_towards", lambda host, port: next(iter(have), None))
    monkeypatch.setattr(roaming, "AGAIN", 0.0)
    return have


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_C05_an_address_goes_and_later_another_comes(addresses: set[str]) -> None:
    call = Call()
    agent: Any = Agent(call)
    here = Roaming(agent)
    addresses.clear()
    here.changed()
    await settle()
    assert agent.engine.said == [f"lost {OLD}", "changed"]
    assert (agent.told, call.offers) == ([("network", OLD)], [])
    here.changed()  # still nothing
    await settle()
    assert (agent.told, call.offers) == ([("network", OLD)], [])
    addresses.add(NEW)
    here.changed()
    await settle()
    assert call.offers == [NEW]
    assert agent.told == [("network", OLD), ("network", NEW)]
    assert call.ends == []
    here.close()


async def test_C05_a_registered_call_waits_for_its_registrar(addresses: set[str]) -> None:
    """The way to the other side leads by the proxy, and that does not know us again before the REGISTER."""
    flow = SimpleNamespace(local=(OLD, 5060))
    account = SimpleNamespace(name="work", binding=object(), local_address=OLD, registered_over=flow)
    call = Call(account)
    agent: Any = Agent(call)
    here = Roaming(agent)
    addresses.clear()
    addresses.add(NEW)
    here.changed()
    await settle()
    assert call.offers == []
    account.registered_over = SimpleNamespace(local=(NEW, 5060))
    account.local_address = NEW
    here.on_registration(SimpleNamespace(state="registered", account="work", flow=account.registered_over))  # type: ignore[arg-type]
    await settle()
    assert call.offers == [NEW]
    assert agent.told == [("network", OLD), ("network", NEW)]
    here.close()


async def test_C05_the_other_side_is_told_again_while_it_cannot_be(addresses: set[str]) -> None:
    call = Call(answers=(MediaFailed("477"), MediaFailed("477"), None))
    agent: Any = Agent(call)
    here = Roaming(agent)
    addresses.clear()
    addresses.add(NEW)
    here.changed()
    await settle()
    assert call.offers == [NEW] * 3
    assert "call_adrift" not in [what for _, what in agent.told]
    here.close()


async def test_C05_after_six_tries_it_is_said(addresses: set[str]) -> None:
    call = Call(answers=(MediaFailed("477"),) * 6)
    agent: Any = Agent(call)
    here = Roaming(agent)
    addresses.clear()
    addresses.add(NEW)
    here.changed()
    await settle()
    assert len(call.offers) == 6
    assert agent.told[-1] == ("warning", "call_adrift")
    here.close()


async def test_C05_without_any_network_the_call_ends_with_a_reason(
    addresses: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roaming, "PATIENCE", 0.0)
    call = Call()
    agent: Any = Agent(call)
    here = Roaming(agent)
    addresses.clear()
    here.changed()
    await asyncio.sleep(0.01)
    assert call.ends == ["lost: our address is gone, and no other was found in time"]
    here.close()


async def test_an_address_that_stays_is_nothing(addresses: set[str]) -> None:
    call = Call()
    call.core.adrift = False
    agent: Any = Agent(call)
    here = Roaming(agent)
    addresses.add(NEW)
    here.changed()
    await settle()
    assert (agent.engine.said, agent.told, call.offers) == (["changed"], [], [])
    here.close()


# -- what the kernel says ------------------------------------------------------------------------------------------


def netlink(kind: int, *body: int) -> bytes:
    return struct.pack("=LHHLL", 24, kind, 0, 0, 0) + bytes(body)


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        (netlink(20, 2, 24, 0, 0, 1, 0, 0, 0), True),
        (netlink(21, 2, 24, 0, 0, 1, 0, 0, 0), True),
        (netlink(20, 10, 64, 0, 253, 1, 0, 0, 0), False),
        (netlink(24, 2, 0, 0, 0, 254, 3, 0, 1), True),
        (netlink(24, 2, 24, 0, 0, 254, 3, 0, 1), False),
        (netlink(28, 2, 0, 0, 0, 0, 0, 0, 0), False),
        (netlink(28, 2, 0, 0, 0, 0, 0, 0, 0) + netlink(21, 2, 24, 0, 0, 1, 0, 0, 0), True),
        (b"", False),
        (bytes(40), False),
    ],
    ids=["came", "went", "link scope", "default route", "another route", "neighbour", "second", "nothing", "zeros"],
)
def test_C05_which_changes_count(data: bytes, *, counts: bool) -> None:
    assert is_change(data) is counts


def test_whose_an_address_is() -> None:
    assert still_ours("127.0.0.1")
    assert not still_ours("192.0.2.1")


async def test_C05_without_netlink_a_look_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "POLL", 0.0)
    sources = ["10.0.0.1"]
    monkeypatch.setattr(network, "_sources", lambda: tuple(sources))
    loop, changes = asyncio.get_running_loop(), asyncio.Event()
    heard: Callable[[], None] = changes.set
    watch = NetworkWatch(loop, heard, netlink=False)
    await settle()
    assert not changes.is_set()
    sources[0] = "10.0.0.2"
    async with asyncio.timeout(30):
        await changes.wait()
    watch.close()


async def test_T23_a_socket_of_the_kernel_that_only_fails_does_not_hold_the_loop() -> None:
    """Fails (by never returning) when an error is no reason to stop reading."""
    changes = asyncio.Event()
    watch = NetworkWatch(asyncio.get_running_loop(), changes.set)

    class Broken:
        def recv(self, size: int) -> bytes:
            raise OSError(105, "No buffer space available")

    real, watch._socket = watch._socket, Broken()  # type: ignore[assignment]
    watch._on_readable()
    async with asyncio.timeout(30):
        await changes.wait()
    watch._socket = real
    watch.close()


async def test_a_call_that_ended_adrift_is_held_by_nothing_here(addresses: set[str]) -> None:
    """Neither by its deadline, 32 s later, nor by the next try."""
    call = Call(answers=(MediaFailed("unreachable"),) * roaming.TRIES)
    agent: Any = Agent(call)
    here = Roaming(agent)
    addresses.clear()
    here.changed()
    addresses.add(NEW)
    here.changed()
    kept = weakref.ref(call)
    here.forget(call)
    agent.calls = ()
    await settle()
    del call
    gc.collect()
    assert kept() is None
    here.close()
