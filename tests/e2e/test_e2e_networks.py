"""What a call and a registration survive: another address in the middle, a proxy that was rebooted (RFC 5626 4.5)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support import wavs
from tests.support.cli import Cli, Running
from tests.support.figures import Figures
from tests.support.netns import Namespace, two_hosts
from tests.support.real import require
from tests.support.servers.kamailio import USERS, Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("networks")]


@pytest.fixture
def hosts() -> Iterator[tuple[Namespace, Namespace]]:
    require("root")
    with two_hosts() as pair:
        yield pair


@pytest.fixture
def running() -> Iterator[list[Running]]:
    started: list[Running] = []
    yield started
    for process in started:
        process.leave()


def phone(home: Path, user: str, server: str, transport: str, *, netns: Namespace | None = None, more: str = "") -> Cli:
    cli = Cli(home)
    cli.netns = netns
    secret = cli.secret("secret", USERS[user])
    cli.configure(account(server, user=user, transport=transport, more=more) + FILE_PROVIDER.format(path=secret))
    return cli


def another_address(host: Namespace) -> float:
    """The old one goes, and a moment later there is a new one; when that was."""
    host.ip("addr", "del", "10.77.0.1/24", "dev", "net0")
    time.sleep(0.5)  # a laptop between two networks has none
    host.ip("addr", "add", "10.77.0.9/24", "dev", "net0")
    return time.monotonic()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("moves", ["caller", "callee"])
def test_C05_another_address_in_the_middle_of_a_call(
    tmp_path: Path,
    hosts: tuple[Namespace, Namespace],
    running: list[Running],
    figures: Figures,
    transport: str,
    moves: str,
) -> None:
    """The registration comes back with the new address, the call is told, and both hear each other within 5 s."""
    left, right = hosts
    server = Kamailio(tmp_path / "kamailio", "OPEN", host="10.77.0.2", inside=right)
    try:
        at = f"10.77.0.2:{server.port}"
        caller_at, callee_at = (left, right) if moves == "caller" else (right, left)
        callee = phone(tmp_path / "bob", "bob", at, transport, netns=callee_at)
        caller = phone(tmp_path / "alice", "alice", at, transport, netns=caller_at)
        heard = tmp_path / "heard.wav"
        listening = callee.start("listen", "--json", "--answer", "auto", "--audio", "echo", "--max-calls", "1")
        running.append(listening)
        listening.wait_for("registration", state="registered")
        calling = caller.start(
            "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(heard), "--duration", "12"
        )
        running.append(calling)
        calling.wait_for("media", state="flowing")
        time.sleep(2)  # to be heard before
        mover = calling if moves == "caller" else listening
        another_address(left)
        assert mover.wait_for("network", state="lost")["address"] == "10.77.0.1"
        assert mover.wait_for("network", state="up", timeout=5)["address"] == "10.77.0.9"
        done = calling.finish(30)
        assert done.code == 0, (done.events, done.stderr)
        if mover is listening:
            listening.finish(15)
        bindings = [e["contact"] for e in mover.events if e["event"] == "registration" and e["state"] == "registered"]
        assert "@10.77.0.9:" in bindings[-1]
        wavs.assert_tone(heard, 440, seconds=6)
        gaps = wavs.tone_gaps(heard, 440)
        assert max(gaps) < 5, gaps
        hearing = wavs.hear(heard, 440)
        figures(
            "another address", f"sipcli, sipcli ({moves} moves; {transport})", done, [hearing], "both are heard again"
        )
    finally:
        server.stop()


Start = Callable[..., Kamailio]


@pytest.fixture
def start(tmp_path: Path, certs: Path) -> Iterator[Start]:
    """A Kamailio of this test's own, that may be stopped."""
    started: list[Kamailio] = []

    def make(*switches: str, tls: bool = False) -> Kamailio:
        started.append(Kamailio(tmp_path / f"kamailio{len(started)}", *switches, certs=certs if tls else None))
        return started[-1]

    yield make
    for server in started:
        server.stop()


def registered(process: Running) -> list[dict[str, object]]:
    return [e for e in process.events if e["event"] == "registration" and e["state"] == "registered"]


def bound_again(process: Running, back: float) -> float:
    """Seconds from *back* until it is registered anew."""
    process.wait_for("registration", state="registered", timeout=20)
    return time.monotonic() - back


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_C05_a_rebooted_proxy(
    tmp_path: Path,
    hosts: tuple[Namespace, Namespace],
    certs: Path,
    running: list[Running],
    figures: Figures,
    transport: str,
) -> None:
    """It comes back and knows nobody: the broken connection says so, both bind anew in 5 s, and the call is told."""
    left, right = hosts
    server = Kamailio(tmp_path / "kamailio", "OUTBOUND", "OPEN", certs=certs, host="10.77.0.2", inside=right)
    try:
        at = f"10.77.0.2:{server.tls_port() if transport == 'tls' else server.port}"
        # Both lost their connections, and neither's Contact leads anywhere: the GRUU does, once they are bound again.
        more = f'gruu = true\nca_file = "{certs / "ca.pem"}"'
        callee = phone(tmp_path / "bob", "bob", at, transport, netns=right, more=more)
        caller = phone(tmp_path / "alice", "alice", at, transport, netns=left, more=more)
        listening = callee.start("listen", "--json", "--answer", "auto", "--audio", "echo", "--max-calls", "1")
        running.append(listening)
        listening.wait_for("registration", state="registered")
        heard = tmp_path / "heard.wav"
        calling = caller.start(
            "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(heard), "--duration", "25"
        )
        running.append(calling)
        calling.wait_for("media", state="flowing")
        server.stop()
        listening.wait_for("registration", state="retrying", timeout=10)
        calling.wait_for("registration", state="retrying", timeout=10)
        began = time.monotonic()
        server.begin()
        starting = time.monotonic() - began  # it may serve SIP before it answers the question whether it does
        took = max(bound_again(process, began) for process in (listening, calling))
        assert took < starting + 5
        assert server.contacts("bob")
        # The caller hangs up through the new proxy, and the callee hears of it: each knows where the other is now.
        done = calling.finish(50)
        assert done.code == 0, (done.events, done.stderr)
        assert listening.wait_for("call", state="ended")["by"] == "remote"
    finally:
        server.stop()
    gaps = wavs.tone_gaps(heard, 440)
    assert max(gaps, default=0) < 5, gaps
    how = f"registered {took:.1f} s after it was started again, ended by BYE"
    figures("a rebooted proxy", f"sipcli, sipcli ({transport}, GRUU)", done, [wavs.hear(heard, 440)], how)
    wavs.assert_tone(heard, 440, seconds=15)


@pytest.mark.slow
def test_C05_a_rebooted_proxy_over_udp(
    tmp_path: Path, hosts: tuple[Namespace, Namespace], running: list[Running]
) -> None:
    """Nothing breaks there: the next STUN question finds that nobody is there (Flow-Timer, here 12 s)."""
    left, right = hosts
    server = Kamailio(tmp_path / "kamailio", "OUTBOUND", "OPEN", host="10.77.0.2", inside=right)
    try:
        process = phone(tmp_path / "alice", "alice", f"10.77.0.2:{server.port}", "udp", netns=left).start(
            "register", "--json"
        )
        running.append(process)
        process.wait_for("registration", state="registered")
        time.sleep(13)  # one question, and its answer
        server.stop()
        process.wait_for("registration", state="retrying", timeout=60)
        server.begin()
        assert bound_again(process, time.monotonic()) < 5
        assert server.contacts("alice")
    finally:
        server.stop()


def test_C05_kamailio_keeps_our_flow(tmp_path: Path, start: Start, running: list[Running]) -> None:
    """Kamailio's own outbound: Require in its 200, reg-id and instance in its memory, its pongs at the pace it asks."""
    server = start("OUTBOUND")
    cli = phone(tmp_path / "alice", "alice", server.address(), "tcp")
    process = cli.start("register", "--json", "-vv")
    running.append(process)
    process.wait_for("registration", state="registered")
    [binding] = server.rpc("ul.lookup", "location", "alice")["Contacts"]
    assert binding["Contact"]["Reg-Id"] == 1
    assert binding["Contact"]["Instance"].startswith("<urn:uuid:")
    answer = [e["sip"] for e in process.events if e["event"] == "trace" and e["start_line"] == "SIP/2.0 200 OK"][-1]
    assert "\r\nRequire: outbound" in answer
    assert "\r\nFlow-Timer: 12" in answer
    # Two pings, each with its pong: a flow that were not answered would be given up 10 s after the first.
    time.sleep(24.5)
    process.signal(signal.SIGTERM)
    done = process.finish()
    assert len(registered(process)) == 1, done.events
    assert not [e for e in done.events if e["event"] == "registration" and e["state"] == "retrying"]


def test_C05_kamailio_answers_stun_on_its_sip_port(tmp_path: Path, start: Start, running: list[Running]) -> None:
    server = start("OUTBOUND")
    cli = phone(tmp_path / "alice", "alice", server.address(), "udp")
    process = cli.start("register", "--json")
    running.append(process)
    process.wait_for("registration", state="registered")
    time.sleep(13)  # one question, by Flow-Timer
    server.stop()
    # Whoever answered once is missed: ICMP at the next question, or nobody in 39.5 s.
    lost = process.wait_for("registration", state="retrying", timeout=60)
    assert lost["retry_in_s"] <= 3


def test_C05_kamailio_that_says_439(tmp_path: Path, start: Start) -> None:
    server = start("NO_FLOWS")
    cli = phone(tmp_path / "alice", "alice", server.address(), "udp")
    done = cli.run("register", "--once", "--json")
    assert done.code == 0, done.stderr
    insisting = phone(tmp_path / "other", "alice", server.address(), "udp", more="outbound = true")
    done = insisting.run("register", "--once", "--json")
    assert done.code == 1, done.stderr
    assert "439" in done.result["message"]


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_C07_a_call_with_kamailios_gruu(tmp_path: Path, start: Start, running: list[Running], who: str) -> None:
    """The other side's BYE goes to the GRUU, and Kamailio knows who that is."""
    server = start("OUTBOUND", "OPEN")
    callee = phone(tmp_path / "bob", "bob", server.address(), "tcp", more="gruu = true")
    caller = phone(tmp_path / "alice", "alice", server.address(), "tcp", more="gruu = true")
    listening = callee.start(
        "listen",
        "--json",
        "-vv",
        "--answer",
        "auto",
        "--max-calls",
        "1",
        *(("--duration", "3") if who == "callee" else ()),
    )
    running.append(listening)
    listening.wait_for("registration", state="registered")
    done = caller.run("call", "sip:bob@sip.test", "--json", "-vv", "--duration", "3" if who == "caller" else "20")
    assert done.code == 0, done.stderr
    invite = next(e["sip"] for e in done.events if e["event"] == "trace" and e["start_line"].startswith("INVITE"))
    assert "\r\nContact: <sip:alice@sip.test;gr=urn:uuid:" in invite
    ended = listening.finish(15)
    assert [e["by"] for e in ended.events if e["event"] == "call" and e["state"] == "ended"] == [
        "remote" if who == "caller" else "local"
    ]


@pytest.mark.parametrize("transport", ["ws", "wss"])
def test_C05_a_call_over_websockets(
    tmp_path: Path, start: Start, certs: Path, running: list[Running], transport: str
) -> None:
    """Kamailio's websocket module (RFC 7118): register, be called, be heard, hang up."""
    server = start("WS", "OPEN", tls=True)
    at = server.address("tls" if transport == "wss" else "tcp")
    more = f'ca_file = "{certs / "ca.pem"}"'
    callee = phone(tmp_path / "bob", "bob", at, transport, more=more)
    caller = phone(tmp_path / "alice", "alice", at, transport, more=more)
    listening = callee.start("listen", "--json", "--answer", "auto", "--audio", "echo", "--max-calls", "1")
    running.append(listening)
    bound = listening.wait_for("registration", state="registered")
    assert bound["via"]["transport"] == transport
    assert bound["contact"].endswith(";transport=ws")
    heard = tmp_path / "heard.wav"
    done = caller.run(
        "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(heard), "--duration", "3"
    )
    assert done.code == 0, done.stderr
    wavs.assert_tone(heard, 440, seconds=1.5)
    assert listening.wait_for("call", state="ended")["by"] == "remote"
