"""Who gets a datagram that comes at a media port."""

from __future__ import annotations

import asyncio
import socket

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

    sockets = RtpSockets("127.0.0.1", None, lambda data, _: hear("rtp", data), lambda data, _: hear("rtcp", data))
    sockets.divert("dtls", divert)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        port = sender.getsockname()[1]
        for data in (b"\x16dtls", b"\x80rtp", b"\x00stun"):
            sender.sendto(data, sockets.local)
            sender.sendto(data, ("127.0.0.1", sockets.rtcp_port))
        async with asyncio.timeout(5):
            await everything.wait()
    sockets.close()
    assert sorted(diverted) == [(b"\x16dtls", port, False), (b"\x16dtls", port, True)]
    assert sorted(heard) == [("rtcp", b"\x00stun"), ("rtcp", b"\x80rtp"), ("rtp", b"\x00stun"), ("rtp", b"\x80rtp")]
