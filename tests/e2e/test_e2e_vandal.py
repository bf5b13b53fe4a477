"""`sipcli listen` among vandals: damaged messages, junk at its media ports, a host that connects without end."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli, Running
from tests.support.vandal import Guest, Vandal

pytestmark = pytest.mark.slow


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[tuple[Running, int]]:
    """It answers three at once, with an echo; and the port that it listens on."""
    fixed = ("--json", "--no-register", "--port", "0", "--answer", "auto", "--audio", "echo", "--max-calls", "1000")
    running = Cli(tmp_path / "home").start("listen", *fixed)
    [at] = [at for at in running.wait_for("ready")["listen"] if at["transport"] == "udp"]
    yield running, at["port"]
    running.leave()


@pytest.fixture
def vandal() -> Iterator[Vandal]:
    made = Vandal("127.0.0.3", seed=23)
    yield made
    made.close()


def median_ms(port: int) -> float:
    """Of what somebody else waits for the answer to OPTIONS."""
    times = []
    with Guest("127.0.0.9", port) as other:
        for _ in range(9):
            began = time.perf_counter()
            assert other.ask("OPTIONS").status == 200
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def kilobytes(running: Running) -> int:
    return int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]) * 4


def test_T23_T24_damaged_messages_harm_nobody(phone: tuple[Running, int], vandal: Vandal) -> None:
    running, port = phone
    with Guest("127.0.0.2", port) as guest:
        media = guest.call()
        before = kilobytes(running)
        offer = guest.offer.replace(b"127.0.0.2", b"127.0.0.3")  # who is answered gets audio, and not the guest's
        vandal.send(vandal.messages(3000, port, offer), ("127.0.0.1", port))
        assert median_ms(port) < 500
        assert guest.echoed(media) > 25
        assert guest.ask("BYE").status == 200
    print(f"RSS {before} kB, then {kilobytes(running)} kB")
    assert kilobytes(running) - before < 64 << 10
    assert running.process.poll() is None and running.stderr == ""
    running.leave()
    done = running.finish()
    told = [event["message"] for event in done.named("warning") if event["code"] == "malformed"]
    assert 20 <= len(told) <= 200, "1500 a second came"
    assert not [event for event in done.named("warning") if event["code"] == "fault"]


def test_T21_T23_junk_at_the_media_ports_stops_no_audio(phone: tuple[Running, int], vandal: Vandal) -> None:
    """From a stranger, who is never heard, and from the other side itself, who is heard again when he talks sense."""
    running, port = phone
    with Guest("127.0.0.2", port) as guest:
        host, number = media = guest.call()
        assert guest.echoed(media) > 25
        vandal.send(vandal.packets(3000), media, (host, number + 1))
        assert guest.echoed(media) > 25
        for each in vandal.packets(500):
            guest.media.sendto(each, media)
        guest.sequence += 20_000
        assert guest.echoed(media, 100) > 25
        assert guest.ask("BYE").status == 200
    assert median_ms(port) < 500
    assert running.process.poll() is None and running.stderr == ""


def test_T23_one_host_with_many_connections_leaves_room_for_others(phone: tuple[Running, int]) -> None:
    running, port = phone
    held = []
    try:
        for _ in range(150):
            connection = socket.create_connection(("127.0.0.1", port), 5, source_address=("127.0.0.3", 0))
            held.append(connection)
            connection.sendall(b"OPTIONS sip:x")
        with socket.create_connection(("127.0.0.1", port), 5, source_address=("127.0.0.4", 0)) as other:
            other.settimeout(10)
            place = "{}:{}".format(*other.getsockname())
            lines = ("Max-Forwards: 70", "From: <sip:a@x>;tag=1", "To: <sip:b@x>", "Call-ID: c", "CSeq: 1 OPTIONS")
            via = f"Via: SIP/2.0/TCP {place};branch=z9hG4bKroom"
            other.sendall("\r\n".join(("OPTIONS sip:b@x SIP/2.0", via, *lines, "Content-Length: 0", "", "")).encode())
            assert other.recv(4096).startswith(b"SIP/2.0 200 ")
        assert median_ms(port) < 500
    finally:
        for connection in held:
            connection.close()
    assert running.process.poll() is None and running.stderr == ""
