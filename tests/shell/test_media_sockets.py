"""Who gets a datagram that comes at a media port."""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import pytest

from sipcli.errors import NetworkError
from sipcli.ua.media.rtp_sockets import RtpSockets


async def test_E03_what_is_diverted_never_reaches_the_audio_at_either_port() -> None:
    heard: list[tuple[str, bytes]] = []
    diverted: list[tuple[bytes, int, bool]] = []
    everything = asyncio.Event()

    def count() -> None:
        if len(heard) + len(diverted) == 6:
            everything.set()

    def hear(name: str, data: bytes) -> None:
        heard.append((name, data))
        count()

    def divert(data: bytes, source: tuple[str, int], rtcp: bool) -> None:
        diverted.append((data, source[1], rtcp))
        count()

    sockets = RtpSockets("127.0.0.1", None, lambda data, *_: hear("rtp", data), lambda data, *_: hear("rtcp", data))
    sockets.divert("dtls", divert)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        port = sender.getsockname()[1]
        for data in (b"\x16dtls", b"\x80rtp", b"\x00stun"):
            sender.sendto(data, sockets.local)
            sender.sendto(data, ("127.0.0.1", sockets.rtcp_port))
        async with asyncio.timeout(30):
            await everything.wait()
    sockets.close()
    assert sorted(diverted) == [(b"\x16dtls", port, False), (b"\x16dtls", port, True)]
    assert sorted(heard) == [("rtcp", b"\x00stun"), ("rtcp", b"\x80rtp"), ("rtp", b"\x00stun"), ("rtp", b"\x80rtp")]


class Heard:
    """What came at the RTP port, and for how long it had waited."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self.waited: list[float] = []
        self._changed = asyncio.Event()

    def __call__(self, data: bytes, _source: tuple[str, int], waited_s: float) -> None:
        self.datagrams.append(data)
        self.waited.append(waited_s)
        self._changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.datagrams) < count:
                self._changed.clear()
                await self._changed.wait()


async def turns(count: int) -> None:
    """The loop has looked at its sockets so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells when a datagram came")
async def test_between_beats_nobody_is_woken_and_the_kernel_tells_when_a_packet_came() -> None:
    heard = Heard()
    sockets = RtpSockets("127.0.0.1", None, heard, heard)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"\x80before", sockets.local)
        await heard.until(1)
        sockets.beat(hurry=False)
        sent = time.time()
        sender.sendto(b"\x80first", sockets.local)
        sender.sendto(b"\x80second", sockets.local)
        await turns(5)
        assert heard.datagrams == [b"\x80before"]
        while time.time() < sent + 0.005:
            pass
        sockets.beat(hurry=False)
        assert heard.datagrams == [b"\x80before", b"\x80first", b"\x80second"]
        assert all(0.004 < waited <= time.time() - sent for waited in heard.waited[1:])
    sockets.close()


async def test_rtcp_and_a_hurry_do_not_wait_for_a_beat() -> None:
    heard = Heard()
    sockets = RtpSockets("127.0.0.1", None, heard, heard)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sockets.beat(hurry=False)
        sender.sendto(b"\x80\xc8report", ("127.0.0.1", sockets.rtcp_port))
        await heard.until(1)
        sockets.beat(hurry=True)
        sender.sendto(b"\x16handshake", sockets.local)
        await heard.until(2)
        sockets.beat(hurry=False)
        sockets.move("127.0.0.1", None)
        sender.sendto(b"\x80moved", sockets.local)
        await heard.until(3)
    sockets.close()


async def test_a_burst_is_read_to_its_end_without_another_beat() -> None:
    heard = Heard()
    sockets = RtpSockets("127.0.0.1", None, heard, heard)
    sockets.beat(hurry=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for n in range(80):
            sender.sendto(b"\x80" + bytes([n]), sockets.local)
    sockets.beat(hurry=False)
    assert 0 < len(heard.datagrams) < 80, "others have their turn in between"
    await heard.until(80)
    assert heard.datagrams == [b"\x80" + bytes([n]) for n in range(80)]
    sockets.close()
    sockets.close()


async def test_a_range_of_ports_that_is_used_up_is_a_sentence_and_what_is_given_back_can_be_had_again() -> None:
    def nothing(data: bytes, source: tuple[str, int], waited_s: float) -> None: ...

    first = RtpSockets("127.0.0.1", None, nothing, nothing)
    port = first.local[1]
    with pytest.raises(NetworkError, match=r"no UDP ports for audio at 127\.0\.0\.1: address already in use") as caught:
        RtpSockets("127.0.0.1", range(port, port + 2), nothing, nothing)
    assert caught.value.hint is not None and "hang up" in caught.value.hint
    first.close()
    again = RtpSockets("127.0.0.1", range(port, port + 2), nothing, nothing)
    assert again.local[1] == port
    again.close()


async def test_an_address_of_another_machine_has_no_ports_here() -> None:
    with pytest.raises(NetworkError, match="cannot assign requested address") as caught:
        RtpSockets("192.0.2.1", None, lambda *_: None, lambda *_: None)
    assert caught.value.hint is not None and "one of this machine's" in caught.value.hint
