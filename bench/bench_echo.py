"""Mouth to ear of the echo loop: how long a sound takes through ``--audio echo``, network excluded.

A stopwatch sends G.711 packets on the 20 ms grid, silence but for one loud packet in fifty, and waits for each loud one
to come back.  All of the delay is ours: the jitter buffer and the wait for the next beat.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import struct
import sys
import threading
import time

SECONDS = 20
_SILENCE, _LOUD = b"\xff" * 160, b"\x00\x80" * 80
_HEADER = struct.Struct("!BBHII")


def offer(port: int) -> bytes:
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0", f"m=audio {port} RTP/AVP 0", ""]
    return "\r\n".join(lines).encode()


class Mouth:
    """Sends and listens from two threads, so that neither waits for the other."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(1)
        self.delays_ms: list[float] = []
        self._said: float | None = None

    def speak(self, to: tuple[str, int]) -> None:
        began = time.monotonic()
        for number in range(SECONDS * 50):
            time.sleep(max(0.0, began + number * 0.02 - time.monotonic()))
            loud = number % 50 == 25 and number > 100
            if loud:
                self._said = time.monotonic()
            self.sock.sendto(
                _HEADER.pack(0x80, 0, number & 0xFFFF, number * 160, 4711) + (_LOUD if loud else _SILENCE), to
            )

    def listen(self) -> None:
        while True:
            try:
                data = self.sock.recv(512)
            except TimeoutError:
                return
            if self._said is not None and data[1] & 0x7F == 0 and data[12:].count(b"\xff") < 100:
                self.delays_ms.append(1000 * (time.monotonic() - self._said))
                self._said = None


async def echo(mouth: Mouth) -> None:
    from sipcli.ua.media.media_io import MediaSession

    session = MediaSession(audio="echo", host="127.0.0.1", codecs=["PCMU"])
    await session.open()
    session.answer(offer(mouth.sock.getsockname()[1]))
    session.start()
    await asyncio.to_thread(mouth.speak, session.local)
    await session.close()


def measure() -> list[float]:
    """The delays in milliseconds, sorted."""
    mouth = Mouth()
    listener = threading.Thread(target=mouth.listen)
    listener.start()
    asyncio.run(echo(mouth))
    listener.join()
    mouth.sock.close()
    return sorted(mouth.delays_ms)


def main() -> None:
    delays = measure()
    print(
        json.dumps(
            {
                "name": "mouth to ear of the echo loop, beyond the network: median",
                "unit": "ms",
                "value": round(statistics.median(delays), 1),
                "detail": f"worst {delays[-1]:.1f} ms of {len(delays)}",
                "target": "<= 80 ms",
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
