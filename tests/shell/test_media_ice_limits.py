"""What a peer, and a call that ends too soon, may make our half of ICE hold (threat T23)."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from sipcli.media.candidates import Candidate, LocalIce, PeerIce
from sipcli.ua.media.icesettings import IceSettings
from tests.support.real import require

PASSWORD = "p" * 22


async def test_T23_checks_before_the_answer_are_kept_for_so_many() -> None:
    """Fails without ``Checks.request_received``: who has our offer may check for as long as it rings."""
    require("ice")
    from aioice import stun

    from sipcli.ua.media.icewire import Checks, Desk, OwnSocket, Wire

    sent: list[bytes] = []
    desk = Desk()
    wire = Wire(desk, 1, lambda *_: None)
    wire.become(Candidate("1", 1, 1, "127.0.0.1", 4000, "host"))
    wire.connection_made(OwnSocket(lambda data, _: sent.append(data), ("127.0.0.1", 4000)))
    checks = desk.sessions["ours"] = Checks(LocalIce("ours", PASSWORD, ()), [wire])
    for port in range(5000, 5300):
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        request.attributes["USERNAME"] = "ours:theirs"
        request.attributes["PRIORITY"] = 1
        request.add_message_integrity(PASSWORD.encode())
        wire.datagram_received(bytes(request), ("127.0.0.1", port))
    assert (len(checks._early_checks), len(sent)) == (100, 100)


async def test_what_is_gathered_when_the_call_is_over_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails without the ``finally`` in ``IcePath.gather``: a relay would be lent to nobody."""
    require("ice")
    from sipcli.ua.media import ice

    began, go, given_back = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Relay:
        async def close(self) -> None:
            given_back.set()

    class Slow:
        def __init__(self, *_: Any) -> None:
            pass

        async def gather(self, main: Any, host: str, found: Any) -> None:
            began.set()
            await go.wait()
            found.wires.append(Relay())

    monkeypatch.setattr(ice, "Gatherer", Slow)
    before = len(os.listdir("/proc/self/fd"))
    path = ice.IcePath(
        "127.0.0.1",
        None,
        lambda *_: None,
        lambda *_: None,
        settings=IceSettings(),
        on_state=lambda _: None,
        warn=lambda *_: None,
    )
    gathering = asyncio.create_task(path.gather(os.urandom))
    await began.wait()
    path.close()
    await path.finish()
    go.set()
    await gathering
    assert given_back.is_set()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_what_was_gathered_where_we_are_no_more_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address lost in mid-call: the relay of before, its checks and the search for a path are nobody's any more."""
    require("ice")
    from sipcli.ua.media import ice
    from sipcli.ua.media.icewire import Wire

    given_back = asyncio.Event()

    class Relay(Wire):
        async def close(self) -> None:
            given_back.set()

    class Quick:
        def __init__(self, _settings: Any, desk: Any, arrived: Any, _warn: Any) -> None:
            self._made = desk, arrived

        async def gather(self, main: dict[int, Wire], host: str, found: Any) -> None:
            relay = Relay(self._made[0], 1, self._made[1])
            for wire, port in ((main[1], 4000), (relay, 4001)):
                wire.become(Candidate("1", 1, 1, host, port, "host"))
            found.wires += [main[1], relay]

    monkeypatch.setattr(ice, "Gatherer", Quick)
    states: list[str] = []
    path = ice.IcePath(
        "127.0.0.1",
        None,
        lambda *_: None,
        lambda *_: None,
        settings=IceSettings(),
        on_state=states.append,
        warn=lambda *_: None,
    )
    local = await path.gather(os.urandom)
    nobody = Candidate("9", 1, 1, "127.0.0.1", 9, "host")
    path.agree(local, PeerIce("them", PASSWORD, (nobody,)), controlling=True)
    seeking = path._seeking
    assert seeking is not None and states == ["checking"]
    moved = await path.move("127.0.0.2", os.urandom)
    try:
        async with asyncio.timeout(30):
            await given_back.wait()
            await asyncio.wait([seeking])
        assert seeking.cancelled()
        assert local.ufrag not in path._desk.sessions
        assert moved.ufrag != local.ufrag
        assert states == ["checking"], "and nobody is told that there is no path"
    finally:
        path.close()
        await path.finish()
