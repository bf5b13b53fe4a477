"""RTP pacing: how late packets leave, against the 20 ms grid, seen from outside by the kernel's time stamps.

A child process runs N media sessions that send a tone and hear one; this process receives their packets.
The grid of a session is its RTP timestamps; its zero is its earliest packet. One JSON object a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

SECONDS = 10
_SO_TIMESTAMPNS = 35
_HEADER = struct.Struct("!BBHII")


# -- the child: N calls ---------------------------------------------------------


def offer(port: int) -> bytes:
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0", f"m=audio {port} RTP/AVP 0", ""]
    return "\r\n".join(lines).encode()


async def talk(calls: int, sink: int) -> None:
    """*calls* sessions that send to *sink*, started one after the other over one period, as calls are."""
    from sipcli.ua.media.media_io import MediaSession

    sessions = [MediaSession(audio="tone", host="127.0.0.1") for _ in range(calls)]
    for session in sessions:
        await session.open()
        session.answer(offer(sink))
    for session in sessions:
        session.start()
        await asyncio.sleep(0.02 / calls)
    began = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.sleep(SECONDS)
    ended = resource.getrusage(resource.RUSAGE_SELF)
    skipped = sum(session.report(verdict=False).tx.skipped for session in sessions)
    for session in sessions:
        await session.close()
    cpu = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    print(json.dumps({"cpu_pct_per_call": round(100 * cpu / SECONDS / calls, 3), "skipped": skipped}))


def child(calls: int, sink: int, loop: str) -> None:
    if loop == "uvloop":
        import uvloop

        uvloop.run(talk(calls, sink))
    else:
        from sipcli.ua.net.punctual import new_loop

        gc.freeze()  # as the command line does
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(talk(calls, sink))


# -- this side: the stopwatch -----------------------------------------------------


def collect(sock: socket.socket, process: subprocess.Popen[str]) -> dict[int, list[tuple[float, int]]]:
    """SSRC to (arrival in s, RTP timestamp)."""
    packets: dict[int, list[tuple[float, int]]] = defaultdict(list)
    sock.settimeout(0.2)
    while True:
        try:
            data, ancillary, _, _ = sock.recvmsg(512, 64)
        except TimeoutError:
            if process.poll() is not None:
                return packets
            continue
        if len(data) < _HEADER.size or 192 <= data[1] <= 223:
            continue
        at = time.time()
        for _, kind, value in ancillary:
            if kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("@ll", value[:16])
                at = seconds + nanoseconds * 1e-9
        _, _, _, timestamp, ssrc = _HEADER.unpack_from(data)
        packets[ssrc].append((at, timestamp))


def lateness_ms(packets: list[tuple[float, int]]) -> list[float]:
    """Of one session's packets."""
    at_0, timestamp_0 = packets[0]
    offsets = [at - at_0 - ((timestamp - timestamp_0) & 0xFFFFFFFF) / 8000 for at, timestamp in packets]
    earliest = min(offsets)
    return [1000 * (offset - earliest) for offset in offsets]


def stopwatch() -> socket.socket:
    """A UDP socket on loopback whose datagrams carry the kernel's time."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    # Not on every system: the time of our own reading is the fallback.
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


def judged(packets: dict[int, list[tuple[float, int]]]) -> dict[str, float]:
    late = sorted(value for session in packets.values() for value in lateness_ms(session))
    return {
        "median": round(statistics.median(late), 2),
        "p99": round(late[int(0.99 * len(late))], 2),
        "max": round(late[-1], 2),
        "packets": len(late),
    }


def measure(calls: int, loop: str) -> dict[str, float]:
    with stopwatch() as sock:
        argv = [sys.executable, "-m", "bench.bench_rtp", "child", str(calls), str(sock.getsockname()[1]), loop]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            packets = collect(sock, process)
            assert process.stdout is not None
            said = json.loads(process.stdout.read())
    assert len(packets) == calls, f"{len(packets)} of {calls} calls were heard"
    return judged(packets) | said


def measure_baresip() -> dict[str, float] | None:
    """One call of Debian's baresip, dialled to a callee of thirty lines; None where it is not installed."""
    from bench.callee import Callee

    modules = next((found.parent for found in Path("/usr/lib").glob("**/baresip/modules/ausine.so")), None)
    if modules is None or shutil.which("baresip") is None:
        return None
    with stopwatch() as sock, Callee(offer(sock.getsockname()[1])) as callee, tempfile.TemporaryDirectory() as place:
        config = [
            f"module_path {modules}",
            *(f"module {name}.so" for name in ("g711", "ausine")),
            *(f"module_app {name}.so" for name in ("account", "menu")),
            "sip_listen 127.0.0.1:0",
            "audio_source ausine,440",
            "ausrc_srate 48000",
            "ausrc_channels 2",
            "net_interface 127.0.0.1",
        ]
        Path(place, "config").write_text("\n".join(config) + "\n")
        Path(place, "accounts").write_text("<sip:bench@127.0.0.1>;regint=0;audio_codecs=PCMU/8000/1\n")
        Path(place, "contacts").write_text("")
        argv = ["baresip", "-f", place, "-e", f"/dial sip:sink@127.0.0.1:{callee.port}", "-t", str(SECONDS + 1)]
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        ) as process:
            packets = collect(sock, process)
    return judged(packets) if packets else None


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        child(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
        return
    os.environ.setdefault("PYTHONPATH", os.pathsep.join(sys.path[:1]))
    for calls in (1, 20, 50):
        rows = {"sipcli": measure(calls, "asyncio")}
        if calls == 1 and (peer := measure_baresip()) is not None:
            rows["baresip (Debian)"] = peer
        with contextlib.suppress(ImportError):
            import uvloop  # noqa: F401

            rows["sipcli on uvloop"] = measure(calls, "uvloop")
        ours, many = rows["sipcli"], "call" if calls == 1 else "calls"
        print(
            json.dumps(
                {
                    "name": f"RTP pacing, {calls} {many} in one process: median lateness on the 20 ms grid",
                    "unit": "ms",
                    "value": ours["median"],
                    "detail": f"p99 {ours['p99']}, max {ours['max']}, {ours['skipped']} beats skipped, "
                    f"{ours['cpu_pct_per_call']} % of a core per call",
                    "rows": rows,
                }
            )
        )


if __name__ == "__main__":
    main()
