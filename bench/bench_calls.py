"""What a call costs: the CPU of one beat, 20 ms of G.711 sent and 20 ms heard, with many calls in one process.

The calls of a child process talk to each other in pairs, over the sockets and the loop that `sipcli listen` has.
CPU time is counted, not the clock, so that a busy machine says nearly the same as an idle one. One JSON object a line.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sipcli.ua.media.media_io import MediaSession

SECONDS = 8


async def talk(calls: int, srtp: Literal["off", "required"]) -> None:
    """*calls* sessions, an even number of them; says what a beat took and how many of those due there were."""
    from sipcli.ua.media.media_io import MediaSession

    sessions: list[MediaSession] = []
    for _ in range(calls // 2):
        one, other = (MediaSession(audio="tone", codecs=["PCMU"], srtp=srtp) for _ in range(2))
        await one.open()
        await other.open()
        one.accept_answer(other.answer(one.offer()))
        sessions += [one, other]
    for session in sessions:
        session.start()
        await asyncio.sleep(0.007)
    before, began = packets(sessions), (time.process_time(), time.monotonic())
    await asyncio.sleep(SECONDS)
    cpu, passed = time.process_time() - began[0], time.monotonic() - began[1]
    sent, heard = (now - then for now, then in zip(packets(sessions), before, strict=True))
    for session in sessions:
        await session.close()
    print(
        json.dumps(
            {
                "us": round(1e6 * cpu / sent, 1),
                "core": round(cpu / passed, 2),
                "sent_pct": round(100 * sent / (50 * passed * calls), 1),
                "heard_pct": round(100 * heard / sent, 1),
            }
        )
    )


def packets(sessions: list[MediaSession]) -> tuple[int, int]:
    """Sent and heard by all."""
    reports = [session.report(verdict=False) for session in sessions]
    return sum(report.tx.packets for report in reports), sum(report.rx.packets for report in reports)


def child(calls: int, srtp: Literal["off", "required"]) -> None:
    from sipcli.ua.net.punctual import new_loop

    gc.freeze()  # as the command line does
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(talk(calls, srtp))


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        child(int(sys.argv[2]), "required" if sys.argv[3] == "required" else "off")
        return
    for calls, srtp in ((2, "off"), (20, "off"), (100, "off"), (100, "required")):
        argv = [sys.executable, "-m", "bench.bench_calls", "child", str(calls), srtp]
        said = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout)
        kind = "G.711" if srtp == "off" else "G.711 by SRTP"
        print(
            json.dumps(
                {
                    "name": f"CPU of 20 ms of a call, {kind} both ways, {calls} calls in one process",
                    "unit": "us",
                    "value": said["us"],
                    "detail": f"{said['core']} of a core, {said['sent_pct']} % of what was due sent, "
                    f"{said['heard_pct']} % of that heard",
                    # Two thirds of a core for 100 calls: 5,000 beats a second.
                    "target": "<= 133 us" if calls == 100 and srtp == "off" else "",
                }
            )
        )


if __name__ == "__main__":
    main()
