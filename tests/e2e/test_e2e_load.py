"""Many calls at once, by SIPp, into one `sipcli listen`; and how evenly its audio leaves.

What is measured here is time, on a machine that may have neighbours: SIPp's own counters are the verdict where they can
be, and the bounds on lateness are those that users were promised.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import bench_echo, bench_rtp
from tests.support.cli import Cli, Running
from tests.support.servers.process import free_port
from tests.support.speed import machine_speed

pytestmark = [pytest.mark.real("sipp"), pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]

TICKS = os.sysconf("SC_CLK_TCK")


def rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def listening(cli: Cli, port: int, calls: int, *options: str, core: int | None = None) -> Iterator[Running]:
    """`sipcli listen` for everybody, which leaves after *calls*; on one *core*, if that is said."""
    argv = cli.argv("listen", "--no-register", "--port", str(port), "--answer", "auto", "--json",
                    "--max-calls", str(calls), "--codec", "pcmu", *options)  # fmt: skip
    if core is not None and shutil.which("taskset"):
        argv = ["taskset", "-c", str(core), *argv]
    running = Running(argv, {name: value for name, value in cli.env.items() if name != "PYTHONDEVMODE"}, cli.home)
    try:
        running.wait_for("ready")
        yield running
    finally:
        running.kill()


def sipp(directory: Path, port: int, *, rate: int, calls: int, hold_ms: int, at_once: int) -> subprocess.Popen[str]:
    """SIPp, calling; what it hears it sends back."""
    text = Path(__file__).parents[1].joinpath("support/servers/sipp/uac_load.xml").read_text()
    directory.mkdir()
    scenario = directory / "load.xml"
    scenario.write_text(text.replace("[hold]", str(hold_ms)))
    argv = ["sipp", "-sf", str(scenario), "-s", "any", f"127.0.0.1:{port}", "-i", "127.0.0.1"]
    argv += ["-p", str(free_port(block=2)), "-mi", "127.0.0.1", "-mp", str(free_port(block=4)), "-rtp_echo"]
    argv += ["-r", str(rate), "-m", str(calls), "-l", str(at_once), "-nostdin", "-timeout", "200s"]
    argv += ["-trace_stat", "-stf", str(directory / "stat.csv"), "-fd", "5"]
    return subprocess.Popen(
        argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )


def counted(directory: Path) -> dict[str, str]:
    """SIPp's last line of statistics."""
    with (directory / "stat.csv").open() as file:
        *_, last = csv.DictReader(file, delimiter=";")
    return last


def test_two_minutes_of_fifty_calls_a_second(cli: Cli, tmp_path: Path) -> None:
    """6,000 calls of a second each, fifty of them up at any time, each with its echo.

    Retransmissions say that we took longer than T1 = 500 ms over an answer.  One call in a thousand may, for what is
    beside us on the machine.  Memory is compared
    after 75 s and at the end: transactions stay for 32 s, and before that the heap is still finding its size.
    """
    port, calls = free_port(block=2), 6000
    with listening(cli, port, calls, "--audio", "echo") as running:
        caller = sipp(tmp_path / "sipp", port, rate=50, calls=calls, hold_ms=1000, at_once=400)
        pid = running.process.pid
        time.sleep(75)
        early = rss_kb(pid)
        while caller.poll() is None:
            late = rss_kb(pid)
            time.sleep(1)
        assert caller.wait() == 0, counted(tmp_path / "sipp")
        done = running.finish(timeout=20)
    said = counted(tmp_path / "sipp")
    assert (int(said["SuccessfulCall(C)"]), int(said["FailedCall(C)"])) == (calls, 0)
    assert int(said["Retransmissions(C)"]) <= calls // 1000, said["Retransmissions(C)"]
    assert (done.code, done.result["answered"]) == (0, calls)
    assert late - early < 4096, f"{early} kB after 75 s, {late} kB at the end"


def test_a_hundred_calls_with_their_audio_on_one_core(
    cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10,000 packets a second: each call sends a tone, SIPp sends it back, and each call hears it whole.

    They take half of a core of the machine of docs/performance.md.  One that is slower by more than a third is asked
    for as many fewer, or this would say more about the machine than about us.
    """
    speed = machine_speed()
    port, calls = free_port(block=2), min(100, int(100 * speed / 0.75))
    with listening(cli, port, calls, "--audio", "tone:440", core=0) as running:
        caller = sipp(tmp_path / "sipp", port, rate=25, calls=calls, hold_ms=16_000, at_once=calls)
        time.sleep(calls / 25 + 3)
        pid, before, began = running.process.pid, 0.0, time.monotonic()
        before = cpu_s(pid)
        time.sleep(8)
        share = (cpu_s(pid) - before) / (time.monotonic() - began)
        assert caller.wait(60) == 0, counted(tmp_path / "sipp")
        done = running.finish(timeout=20)
    last: dict[str, dict[str, Any]] = {event["call"]: event for event in done.named("stats")}
    assert len(last) == calls
    with capsys.disabled():
        print(f"\n{calls} calls: {share:.2f} of a core that has {speed:.2f} of the reference's speed")
    heard = sorted(event["rx"]["packets"] for event in last.values())
    lost = sorted(event["rx"]["lost_pct"] for event in last.values())
    levels = [event["rx"]["rms_dbfs"] for event in last.values()]
    assert heard[0] > 0.97 * 50 * 15.9, f"the fewest packets a call heard: {heard[:5]}"
    assert lost[-1] < 1.0, f"the most that a call lost: {lost[-5:]} %"
    assert min(levels) > -20, "each call heard the tone"
    assert share < 0.95, f"{share:.2f} of a core"


@pytest.mark.real("baresip")
def test_packets_leave_on_their_20_ms_grid_while_20_calls_run(capsys: pytest.CaptureFixture[str]) -> None:
    """99 % within 2 ms, or no later than Debian's baresip is with a single call in the same minute; no beat left out.

    The best of three: a machine that stands still for two beats leaves them out in every call, once; we would each
    time.
    """
    for _ in range(3):
        peer = bench_rtp.measure_baresip()
        assert peer is not None
        ours = bench_rtp.measure(20, "asyncio")
        with capsys.disabled():
            print("\nRTP pacing, ms late:", json.dumps({"sipcli, 20 calls": ours, "baresip, 1 call": peer}))
        if ours["p99"] <= max(2.0, peer["p99"]) and ours["skipped"] == 0:
            return
    pytest.fail("late, or beats left out, three times in a row")


def test_mouth_to_ear_of_the_echo_loop() -> None:
    """At most 80 ms beyond the network: 40 ms of jitter buffer, and up to two beats."""
    delays = bench_echo.measure()
    assert len(delays) >= 15
    assert delays[int(0.9 * len(delays))] <= 80, delays
