"""Whatever ends a call, and whatever its audio is made of: no descriptor, port, task, thread or timer of it is left.

Time is stepped and nothing leaves the process; each case is the second call of its kind, for the first one imports
what opens files.  Real sockets, real DTLS, real ICE; the sound card is a double.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sipcli.errors import SipcliError
from sipcli.sip import flowsearch
from sipcli.sip.engine import EngineConfig
from sipcli.ua.agent import UserAgent
from sipcli.ua.calls.call import Call
from sipcli.ua.media import recorder, sound
from sipcli.ua.media.icesettings import IceSettings
from sipcli.ua.media.media_io import MediaSession
from sipcli.ua.net.endpoint import EndpointConfig
from tests.shell.test_media_device import FakeCard
from tests.support.clock import advance, live, live_until, settle, stepped, until
from tests.support.farend import FarEnd, far_end
from tests.support.peer import Caller, Heard
from tests.support.real import require

PLAIN: dict[str, Any] = {"codecs": ("PCMU",), "audio": "tone:440"}
KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]] = {
    "plain": ((), {}, {}),
    "sdes": (("srtp",), {"srtp": "required", "srtp_keys": "sdes"}, {"srtp": "required", "srtp_keys": "sdes"}),
    "dtls": (("dtls",), {"srtp": "required", "srtp_keys": "dtls"}, {"srtp": "required", "srtp_keys": "dtls"}),
    "ice": (("ice",), {"ice": "optional"}, {"ice": IceSettings()}),
    "recording": ((), {"record": "heard.wav", "record_mode": "both"}, {}),
    "a sound card": ((), {"audio": "device"}, {}),
}
"""What must be installed; what is said of our audio, and of theirs."""


class Left(NamedTuple):
    """What a call could leave behind."""

    descriptors: int
    tasks: int
    threads: frozenset[str]
    timers: int


def left() -> Left:
    loop: Any = asyncio.get_running_loop()
    return Left(
        descriptors=len(os.listdir("/proc/self/fd")),
        tasks=len(asyncio.all_tasks()),
        threads=frozenset(thread.name for thread in threading.enumerate() if thread.name.startswith("sipcli-card")),
        timers=sum(not handle.cancelled() for handle in loop._scheduled),
    )


class Scene:
    """Our agent, the other end with audio of its own, and one call between them."""

    def __init__(self, agent: UserAgent, far: FarEnd, kind: str, folder: Path, card: FakeCard) -> None:
        self.agent, self.far, self.folder, self.card = agent, far, folder, card
        self.ours, self.theirs = KINDS[kind][1:]
        self.taking: Callable[[Call], Coroutine[Any, Any, None]] = self.stay
        self.call: Call
        self.invite: Heard
        self.media: MediaSession
        self.calls = 0

    async def audio(self) -> dict[str, Any]:
        """Of our call: keywords, or, where the signalling is no TLS and keys are to go in it, a session."""
        said = PLAIN | self.ours
        if "record" in said:
            self.calls += 1
            said["record"] = self.folder / f"{self.calls}-{said['record']}"
        if said.get("srtp_keys") != "sdes":
            return said
        media = MediaSession(**said, on_dtmf=self.pressed)
        await media.open()
        return {"media": media}

    def pressed(self, digit: str, duration_ms: int) -> None:
        """A program with a session of its own."""
        if self.call.on_dtmf is not None:
            self.call.on_dtmf(digit, duration_ms)

    async def rings(self) -> None:
        """With early media, both ways."""
        await self.begins(183)
        await self.flows()

    async def talks(self) -> None:
        await self.begins(200)
        await self.far.comes("ACK")
        await self.flows()

    async def begins(self, status: int) -> None:
        self.media = MediaSession(**PLAIN | self.theirs)
        await self.media.open()
        self.call = await Call.dial(self.agent, None, self.far.uri, **await self.audio())
        self.invite = await self.far.comes("INVITE")
        self.far.respond(self.invite, status, body=self.media.answer(self.invite.body))
        self.far.called(self.invite)
        self.media.start()

    async def is_called(self) -> None:
        """They call, we answer."""
        self.media = MediaSession(**PLAIN | self.theirs)
        await self.media.open()
        [(_, host, port)] = [at for at in self.agent.endpoint.listening if at[0] == "udp"][:1]
        self.far.place = (host, port)
        here = f"127.0.0.1:{self.far.port}"
        caller = Caller(address=here, contact=f"<sip:bob@{here}>", call_id=f"call-{id(self.media)}")
        caller.uri = f"sip:alice@{host}:{port}"
        self.far.caller = caller
        self.far.say(caller.request("INVITE", body=self.media.offer()))
        answer = await self.far.comes("200")
        caller.joins(answer)
        self.far.say(caller.request("ACK", cseq=caller.cseq))
        self.media.accept_answer(answer.body)
        self.media.start()

    async def flows(self) -> None:
        await live_until(lambda: self.media.report(verdict=False).rx.packets > 5)
        assert self.call.media is not None
        session = self.call.media
        await live_until(lambda: session.report(verdict=False).rx.packets > 5)

    async def stay(self, call: Call) -> None:
        self.call = call
        await call.accept(**await self.audio())

    async def over(self) -> None:
        """Ours says so; theirs is put away."""
        try:
            await live(self.call.finished())
        except SipcliError:
            pass  # not every one was answered
        await self.media.close()


# --- the ways to end -------------------------------------------------------------------------------------------


async def _our_bye(s: Scene) -> None:
    await s.talks()
    leaving = asyncio.ensure_future(s.call.hangup())
    s.far.respond(await s.far.comes("BYE"), 200)
    await live(leaving)


async def _our_bye_unheard(s: Scene) -> None:
    await s.talks()
    await live(s.call.hangup(timeout=0.1))
    await s.far.comes("BYE")
    await advance(33)


async def _their_bye(s: Scene) -> None:
    await s.talks()
    s.far.say(s.far.caller.request("BYE"))
    await s.far.comes("200")


async def _their_bye_as_callers(s: Scene) -> None:
    await s.is_called()
    await s.flows()
    s.far.say(s.far.caller.request("BYE"))
    await s.far.comes("200")


async def _cancelled(s: Scene) -> None:
    await s.rings()
    leaving = asyncio.ensure_future(s.call.hangup())
    s.far.respond(await s.far.comes("CANCEL"), 200)
    s.far.respond(s.invite, 487)
    await s.far.comes("ACK")
    await live(leaving)


async def _refused(s: Scene) -> None:
    await s.rings()
    s.far.respond(s.invite, 486)
    await s.far.comes("ACK")


async def _unknown(s: Scene) -> None:
    await s.talks()
    asking = asyncio.ensure_future(s.call.send_request("INFO"))
    s.far.respond(await s.far.comes("INFO"), 481)
    await live(asking)


async def _silence(s: Scene) -> None:
    await s.talks()
    asking = asyncio.ensure_future(s.call.send_request("INFO"))
    await s.far.comes("INFO")
    await advance(33)
    with pytest.raises(SipcliError):
        await live(asking)


async def _connection_lost(s: Scene) -> None:
    """While it rings: nobody could tell us that he answers."""
    await s.rings()
    s.far.break_off()


async def _connection_lost_in_a_call(s: Scene) -> None:
    """The audio went on, and our BYE goes by another connection."""
    await s.talks()
    s.far.break_off()
    await settle()
    leaving = asyncio.ensure_future(s.call.hangup())
    s.far.respond(await s.far.comes("BYE"), 200)
    await live(leaving)


async def _handler_fails(s: Scene) -> None:
    talked = asyncio.Event()

    async def fail(call: Call) -> None:
        await s.stay(call)
        await talked.wait()
        raise RuntimeError("a program of somebody's")

    s.taking = fail
    await s.is_called()
    await s.flows()
    talked.set()
    s.far.respond(await s.far.comes("BYE"), 200)


async def _digits_fail(s: Scene) -> None:
    """The program's function for digits raises, and the call goes on until it is hung up."""

    def fail(digit: str, duration_ms: int) -> None:
        raise RuntimeError("a program of somebody's")

    await s.talks()
    s.call.on_dtmf = fail
    sending = asyncio.ensure_future(s.media.dtmf("1"))
    await advance(2)
    await live(sending)
    await _hung_up(s)


async def _device_vanishes(s: Scene) -> None:
    await s.talks()
    s.card.plugged = s.card.seen = False
    s.card.opened[-1].unplug()
    await advance(0.2)
    await _hung_up(s)
    s.card.plugged = s.card.seen = True


async def _disk_full(s: Scene) -> None:
    await s.talks()
    with pytest.MonkeyPatch.context() as patch:

        def full(self: object, pcm: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(recorder.WavSink, "write", full)
        await advance(0.2)
        await _hung_up(s)


async def _hung_up(s: Scene) -> None:
    leaving = asyncio.ensure_future(s.call.hangup())
    s.far.respond(await s.far.comes("BYE"), 200)
    await live(leaving)


WAYS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "our BYE": _our_bye,
    "our BYE that nobody answers": _our_bye_unheard,
    "their BYE": _their_bye,
    "their BYE, who called": _their_bye_as_callers,
    "CANCEL": _cancelled,
    "486": _refused,
    "481": _unknown,
    "silence": _silence,
    "the connection is lost while it rings": _connection_lost,
    "the connection is lost in the call": _connection_lost_in_a_call,
    "an exception in its coroutine": _handler_fails,
    "an exception in its function for digits": _digits_fail,
    "its device vanishes": _device_vanishes,
    "the disk is full": _disk_full,
}
ONLY = {"its device vanishes": "a sound card", "the disk is full": "recording"}
CASES = [(way, kind) for way in WAYS for kind in KINDS if ONLY.get(way, kind) == kind]


@asynccontextmanager
async def scene(kind: str, way: str, folder: Path, card: FakeCard) -> AsyncIterator[Scene]:
    transport: Any = "tcp" if "connection" in way else "udp"
    async with far_end(transport) as far:
        agent = UserAgent(
            engine_config=EngineConfig(accept_calls="any"),
            endpoint_config=EndpointConfig(keepalive_udp=0, keepalive_stream=0),
            on_incoming=lambda call: made.taking(call),
        )
        await agent.start()
        made = Scene(agent, far, kind, folder, card)
        await agent.endpoint.listen("udp", "127.0.0.1", 0)
        try:
            yield made
        finally:
            await live(agent.close(timeout=0.5))


@pytest.mark.parametrize(("way", "kind"), CASES)
def test_T23_nothing_of_a_calls_audio_outlives_it(
    way: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fails without ``end.close`` or ``sockets.close`` in ``MediaSession.close``, or ``cancel`` in ``Call._end``."""
    for extra in KINDS[kind][0]:
        require(extra)
    card = FakeCard(48000)
    monkeypatch.setattr(sound, "_load", lambda: card)
    monkeypatch.setattr(flowsearch, "KEYS", b"no SDP has this")  # the wire here is no TLS, and nobody else's (T10)

    @stepped
    async def run() -> None:
        loop = asyncio.get_running_loop()
        faults: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: faults.append(context))
        async with scene(kind, way, tmp_path, card) as s:
            seen: list[Left] = []
            for _ in range(2):
                await WAYS[way](s)
                await s.over()
                await advance(70)  # the last transaction is over, and so is what waits for repetitions
                await until(lambda: not [t for t in threading.enumerate() if t.name == "sipcli-card"])
                seen.append(left())
                core = s.agent.engine._core
                assert (s.agent.calls, core.calls, core.dialogs, core.exchanges) == ((), {}, {}, set())
                assert s.agent.engine.next_timer() is None
                assert s.call.media is not None and s.call.media.state == "stopped"
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
                    again.bind(s.call.media.local)
            assert seen[1].descriptors <= seen[0].descriptors
            assert seen[1][1:] == seen[0][1:]
            assert not any(stream.running for stream in card.opened)
        assert bool(faults) is (way == "an exception in its function for digits")
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run()
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert bool(errors) is (way == "an exception in its coroutine")
