"""Calls over a cable that loses, delays and reorders: they come about, are heard, and end as they should.

Needs root, for network namespaces and TUN devices.  The figures of a run are the table in docs/networks.md.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.test_e2e_networks import phone
from tests.support import wavs
from tests.support.cable import PROXY, Hurts, Joined, at_once, joined
from tests.support.cli import Cli, Result, Running
from tests.support.figures import Figures
from tests.support.natlab import PUBLIC, two_homes
from tests.support.netns import Namespace
from tests.support.real import require
from tests.support.servers.baresip import Baresip
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.slow]

TALK_S = 8


class Lab:
    """Kamailio in the middle, phones to the left, behind the bad cable, and to the right."""

    def __init__(self, directory: Path, hosts: Joined, kamailio: Kamailio, made: ExitStack) -> None:
        self.directory, self.hosts, self.kamailio, self._made = directory, hosts, kamailio, made

    def phone(self, user: str, host: Namespace, *, transport: str = "udp", more: str = "") -> Cli:
        server = f"{PROXY}:{self.kamailio.port}"
        return phone(self.directory / user, user, server, transport, netns=host, more=more)

    def start(self, cli: Cli, *arguments: str) -> Running:
        running = cli.start(*arguments)
        self._made.callback(running.leave)
        at_once(running.process.pid)
        return running

    def baresip(self) -> Baresip:
        server = f"{PROXY}:{self.kamailio.port}"
        bob = Baresip(self.directory / "baresip", server, host="10.78.2.2", inside=self.hosts.right)
        self._made.callback(bob.stop)
        return bob


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """What is to happen to packets is the test's parameter *hurts*."""
    require("root", "kamailio")
    with ExitStack() as made:
        hosts = made.enter_context(joined(request.getfixturevalue("hurts")))
        kamailio = Kamailio(tmp_path / "kamailio", "OPEN", host=PROXY, inside=hosts.proxy)
        made.callback(kamailio.stop)
        yield Lab(tmp_path, hosts, kamailio, made)


class Talk(NamedTuple):
    calling: Result
    listening: Result
    hearings: list[wavs.Hearing]


def talk(lab: Lab, *, behind: str = "caller", transport: str = "udp", wishes: tuple[str, ...] = ()) -> Talk:
    """A call through Kamailio: 440 Hz one way, 880 Hz the other, and the caller hangs up."""
    left, right = lab.hosts.left, lab.hosts.right
    caller = lab.phone("alice", left if behind == "caller" else right, transport=transport)
    callee = lab.phone("bob", right if behind == "caller" else left, transport=transport)
    heard = [lab.directory / "alice.wav", lab.directory / "bob.wav"]
    listening = lab.start(
        callee, "listen", "--json", "--answer", "auto", "--audio", "tone:880", "--record", str(heard[1]),
        "--max-calls", "1",
    )  # fmt: skip
    listening.wait_for("registration", state="registered")
    calling = lab.start(
        caller, "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(heard[0]),
        "--duration", str(TALK_S), *wishes,
    )  # fmt: skip
    done, other = calling.finish(90), listening.finish(40)
    assert done.code == 0, (done.events, done.stderr)
    return Talk(done, other, [wavs.hear(heard[0], 880), wavs.hear(heard[1], 440)])


@pytest.mark.parametrize(
    ("hurts", "least", "most"),
    [
        pytest.param(Hurts(delay_ms=50), 50, 75, id="delay"),
        pytest.param(Hurts(delay_ms=20, jitter_ms=80), 60, 110, id="jitter"),
        pytest.param(Hurts(loss_pct=20), 0, 20, id="loss"),
        pytest.param(Hurts(reorder_pct=10), 0, 20, id="reordering"),
    ],
)
def test_the_cable_does_what_it_is_told(hurts: Hurts, least: float, most: float) -> None:
    """Else the table would tell of networks that never were."""
    require("root")
    arrived: list[tuple[int, float]] = []
    with joined(hurts) as hosts, ExitStack() as made:
        one, other = (
            h.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for h in (hosts.left, hosts.right)
        )
        made.enter_context(one), made.enter_context(other)
        other.bind(("10.78.2.2", 7007))
        began = time.monotonic()
        for beat in range(220):  # the last 20 are only waited for
            if beat < 200:
                one.sendto(b"%d %f" % (beat, time.monotonic()), ("10.78.2.2", 7007))
            while (left := began + 0.02 * (beat + 1) - time.monotonic()) > 0:
                other.settimeout(left)
                try:
                    number, sent = other.recv(99).split()
                except TimeoutError:
                    break
                arrived.append((int(number), 1000 * (time.monotonic() - float(sent))))
    median = sorted(ms for _, ms in arrived)[len(arrived) // 2]
    assert least <= median <= most
    numbers = [number for number, _ in arrived]
    late = sum(one > other for one, other in pairwise(numbers))
    assert (late > 8) if hurts.reorder_pct else late == 0, late
    lost = 100 - len(arrived) / 2
    assert (10 <= lost <= 30) if hurts.loss_pct else lost == 0, lost


def judge(hearings: list[wavs.Hearing], lost_pct: float = 0) -> None:
    """Most of the time is there, concealment and all, and never 5 s at once are missing.

    How much is clear beyond what was lost tells of who else runs on this machine: no test fails by it.
    """
    for heard in hearings:
        assert heard.seconds > TALK_S - 2, heard
        assert heard.longest_gap_ms < 5000, heard
        assert heard.heard_pct > 75 - lost_pct, heard
        assert heard.tone_pct > 85, heard


LOSSES = [
    pytest.param(Hurts(loss_pct=loss, delay_ms=20), behind, id=f"{loss}-{behind}")
    for loss, behind in [(0, "caller"), (2, "caller"), (5, "caller"), (10, "caller"), (20, "caller"), (20, "callee")]
]


@pytest.mark.parametrize(("hurts", "behind"), LOSSES)
def test_a_call_with_losses(lab: Lab, figures: Figures, hurts: Hurts, behind: str) -> None:
    """Both ways, signalling and audio alike."""
    done, other, hearings = talk(lab, behind=behind)
    assert other.code == 0, (other.events, other.stderr)
    figures(f"{hurts.loss_pct:.0f} % lost", f"sipcli, sipcli ({behind} behind it)", done, hearings, "up to the end")
    judge(hearings, hurts.loss_pct)


JITTERS = [pytest.param(Hurts(delay_ms=20, jitter_ms=jitter), id=f"{jitter}ms") for jitter in (20, 40, 80)]


@pytest.mark.parametrize("hurts", JITTERS)
def test_a_call_with_jitter(lab: Lab, figures: Figures, hurts: Hurts) -> None:
    done, _, hearings = talk(lab)
    figures(f"jitter 0 to {hurts.jitter_ms:.0f} ms", "sipcli, sipcli", done, hearings, "up to the end")
    judge(hearings)


@pytest.mark.parametrize("hurts", [Hurts(delay_ms=20, reorder_pct=20)], ids=["20"])
def test_a_call_whose_packets_overtake_each_other(lab: Lab, figures: Figures, hurts: Hurts) -> None:
    done, _, hearings = talk(lab)
    figures(f"{hurts.reorder_pct:.0f} % overtaken", "sipcli, sipcli", done, hearings, "up to the end")
    judge(hearings)


BAD = Hurts(loss_pct=10, delay_ms=40, jitter_ms=40, reorder_pct=5)


@pytest.mark.parametrize("hurts", [BAD], ids=["all"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_with_all_of_it(lab: Lab, figures: Figures, hurts: Hurts, transport: str) -> None:
    """Over TCP the kernel repeats what was lost, and nobody else does (RFC 3261 section 17.1.1.2)."""
    done, _, hearings = talk(lab, transport=transport)
    what = f"10 % lost, jitter 0 to 40 ms, 5 % overtaken; SIP over {transport.upper()}"
    figures(what, "sipcli, sipcli", done, hearings, "up to the end")
    judge(hearings, hurts.loss_pct)


@pytest.mark.parametrize(
    "hurts",
    [Hurts(loss_pct=5, delay_ms=20), Hurts(loss_pct=20, delay_ms=20), Hurts(delay_ms=20, jitter_ms=80)],
    ids=["lost5", "lost20", "jitter80"],
)
def test_a_call_with_baresip(lab: Lab, figures: Figures, hurts: Hurts) -> None:
    """In G.711, whose losses only concealment mends."""
    require("baresip")
    bob = lab.baresip()
    heard = lab.directory / "alice.wav"
    alice = lab.phone("alice", lab.hosts.left)
    calling = lab.start(
        alice, "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(heard),
        "--duration", str(TALK_S),
    )  # fmt: skip
    done = calling.finish(90)
    assert done.code == 0, (done.events, done.stderr)
    mine = wavs.hear(heard, 880)
    what = f"{hurts.loss_pct:.0f} % lost" if hurts.loss_pct else f"jitter 0 to {hurts.jitter_ms:.0f} ms"
    figures(what, "sipcli, baresip (what sipcli heard)", done, [mine], "up to the end")
    judge([mine], hurts.loss_pct)
    wavs.assert_tone(bob.heard, 440, seconds=TALK_S / 2)


@pytest.mark.parametrize("hurts", [Hurts(delay_ms=20)], ids=["cut"])
def test_a_cable_that_is_cut_for_three_seconds(lab: Lab, figures: Figures, hurts: Hurts) -> None:
    """Nobody gives up, and they hear each other as soon as it is whole again."""
    heard = [lab.directory / "alice.wav", lab.directory / "bob.wav"]
    listening = lab.start(
        lab.phone("bob", lab.hosts.right), "listen", "--json", "--answer", "auto", "--audio", "tone:880",
        "--record", str(heard[1]), "--max-calls", "1",
    )  # fmt: skip
    listening.wait_for("registration", state="registered")
    calling = lab.start(
        lab.phone("alice", lab.hosts.left), "call", "sip:bob@sip.test", "--json", "--audio", "tone:440",
        "--record", str(heard[0]), "--duration", "9",
    )  # fmt: skip
    calling.wait_for("media", state="flowing")
    wavs.wait_for_growth(lambda: heard[0], 1.0, rate=48000)
    lab.hosts.cable.change(Hurts(loss_pct=100))
    calling.wait_for("media", state="silent")
    time.sleep(1)  # what it had been silent for by then is 2 s
    lab.hosts.cable.change(hurts)
    back = time.monotonic()
    calling.wait_for("media", state="flowing", timeout=5)
    recovered = time.monotonic() - back
    done, other = calling.finish(30), listening.finish(30)
    assert done.code == other.code == 0, (done.events, other.events)
    hearings = [wavs.hear(heard[0], 880), wavs.hear(heard[1], 440)]
    figures(
        "cut for 3 s", "sipcli, sipcli", done, hearings, f"heard again {1000 * recovered:.0f} ms after it was whole"
    )
    assert all(2000 < hearing.longest_gap_ms < 5000 for hearing in hearings), hearings


@pytest.mark.parametrize("flows", [False, True], ids=["line-ends", "stun"])
def test_C05_a_call_reaches_a_phone_whose_nat_forgets_after_30_s(tmp_path: Path, figures: Figures, flows: bool) -> None:
    """40 s after REGISTER, kept open by line ends every 25 s, or by STUN as often as the registrar wants (12 s)."""
    done, hearings = _called_at_home(tmp_path, *(("OUTBOUND",) if flows else ()), memory_s=30, wait_s=40)
    assert done.code == 0, (done.events, done.stderr)
    how = f"reaches him 40 s after REGISTER, kept by {'STUN' if flows else 'line ends'}"
    figures("NAT: forgets after 30 s", "sipcli, sipcli (callee behind it)", done, hearings, how)
    assert all(heard.seconds > 1.5 and heard.longest_gap_ms < 1000 for heard in hearings), hearings


def _called_at_home(tmp_path: Path, *switches: str, memory_s: int, wait_s: float) -> tuple[Result, list[wavs.Hearing]]:
    require("root", "kamailio", "nft")
    heard = [tmp_path / "alice.wav", tmp_path / "bob.wav"]
    with ExitStack() as made:
        homes = made.enter_context(two_homes())
        for name in ("udp_timeout", "udp_timeout_stream"):
            setting = f"net.netfilter.nf_conntrack_{name}={memory_s}"
            subprocess.run(homes.router.command(["sysctl", "-qw", setting]), check=True)
        kamailio = Kamailio(tmp_path / "kamailio", "NAT", "OPEN", *switches, host=PUBLIC, inside=homes.public)
        made.callback(kamailio.stop)
        server = f"{PUBLIC}:{kamailio.port}"
        bob = phone(tmp_path / "bob", "bob", server, "udp", netns=homes.right)
        alice = phone(tmp_path / "alice", "alice", server, "udp", netns=homes.public)
        listening = bob.start(
            "listen", "--json", "--answer", "auto", "--audio", "tone:880", "--record", str(heard[1]), "--max-calls", "1"
        )  # fmt: skip
        made.callback(listening.leave)
        listening.wait_for("registration", state="registered")
        time.sleep(wait_s)  # what is measured is the clock of the kernel's memory
        done = alice.run(
            "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(heard[0]),
            "--duration", "4", timeout=60,
        )  # fmt: skip
        if done.code:
            return done, []
        assert listening.finish(30).code == 0
    return done, [wavs.hear(heard[0], 880), wavs.hear(heard[1], 440)]


@pytest.mark.parametrize("hurts", [Hurts(delay_ms=20)], ids=["cut"])
def test_a_cable_that_is_cut_for_good(lab: Lab, hurts: Hurts) -> None:
    """Whoever hangs up then is not answered, and does not wait for ever."""
    listening = lab.start(lab.phone("bob", lab.hosts.right), "listen", "--json", "--answer", "auto", "--max-calls", "1")
    listening.wait_for("registration", state="registered")
    calling = lab.start(
        lab.phone("alice", lab.hosts.left), "call", "sip:bob@sip.test", "--json", "--duration", "4"
    )  # fmt: skip
    calling.wait_for("media", state="flowing")
    lab.hosts.cable.change(Hurts(loss_pct=100))
    calling.wait_for("media", state="silent")
    listening.wait_for("media", state="silent")
    done = calling.finish(60)  # the BYE's transaction (Timer F), and the REGISTER that takes the binding back
    assert done.code == 0, (done.events, done.stderr)
    ended = done.named("call")[-1]
    assert (ended["state"], ended["by"], ended["why"]) == ("ended", "local", "our BYE was not answered")
    assert done.result["call"]["bye_answered"] is False
    assert "our BYE was not answered" in done.result["message"]
    assert 4000 <= done.result["call"]["talk_ms"] < 6000, "the wait is no talk"


@pytest.mark.parametrize("hurts", [Hurts(delay_ms=20)], ids=["cut"])
def test_nobody_need_wait_for_the_answer_to_his_bye(lab: Lab, hurts: Hurts) -> None:
    """An interrupt ends it, in the time that all of BYE and un-REGISTER have."""
    listening = lab.start(lab.phone("bob", lab.hosts.right), "listen", "--json", "--answer", "auto", "--max-calls", "1")
    listening.wait_for("registration", state="registered")
    calling = lab.start(
        lab.phone("alice", lab.hosts.left), "call", "sip:bob@sip.test", "--json", "-vv", "--duration", "3"
    )  # fmt: skip
    calling.wait_for("media", state="flowing")
    lab.hosts.cable.change(Hurts(loss_pct=100))
    while not calling.wait_for("trace", direction="out")["start_line"].startswith("BYE "):
        pass
    calling.signal(signal.SIGINT)
    asked = time.monotonic()
    done = calling.finish(20)
    assert time.monotonic() - asked < 10
    assert done.code == 130, (done.events, done.stderr)


@pytest.mark.parametrize("hurts", [Hurts(delay_ms=20)], ids=["vanishes"])
@pytest.mark.parametrize("how", ["the cable is cut", "his machine stops"])
def test_a_peer_that_vanishes(lab: Lab, hurts: Hurts, how: str) -> None:
    """Nobody hangs up: the silence is noticed, nobody answers the OPTIONS, and the call says so at its end."""
    callee = lab.phone("bob", lab.hosts.right)
    caller = lab.phone("alice", lab.hosts.left, more="silence = 6")
    listening = lab.start(callee, "listen", "--json", "--answer", "auto", "--audio", "tone:880", "--max-calls", "1")
    listening.wait_for("registration", state="registered")
    calling = lab.start(caller, "call", "sip:bob@sip.test", "--json")
    calling.wait_for("media", state="flowing")
    if how == "the cable is cut":
        lab.hosts.cable.change(Hurts(loss_pct=100))
    else:
        listening.kill()
    assert 6 <= calling.wait_for("silence", state="asking", timeout=20)["quiet_s"] < 9
    calling.wait_for("silence", state="gone", timeout=40)
    ended = calling.wait_for("call", state="ended", timeout=5)
    assert ended["by"] == "network"
    assert ended["why"].startswith("nothing was heard for ")
    done = calling.finish(40)
    assert (done.code, done.result["outcome"]) == (7, "lost"), (done.events, done.stderr)
    assert done.result["call"]["lost"] == ended["why"]


@pytest.mark.parametrize("hurts", [Hurts(delay_ms=20)], ids=["stays"])
def test_a_peer_that_is_only_silent_stays(lab: Lab, hurts: Hurts) -> None:
    """His audio gets lost, his signalling does not: he is asked, answers, and the call goes on to its end."""
    require("nft")
    callee = lab.phone("bob", lab.hosts.right)
    caller = lab.phone("alice", lab.hosts.left, more="silence = 3")
    listening = lab.start(callee, "listen", "--json", "--answer", "auto", "--max-calls", "1")
    listening.wait_for("registration", state="registered")
    calling = lab.start(caller, "call", "sip:bob@sip.test", "--json", "--duration", "12")
    calling.wait_for("media", state="flowing")
    rules = "table ip deaf { chain through { type filter hook forward priority 0; meta l4proto udp drop; }; }"
    subprocess.run(lab.hosts.proxy.command(["nft", "-f", "-"]), input=rules, text=True, check=True)
    calling.wait_for("silence", state="asking", timeout=10)
    calling.wait_for("silence", state="alive", timeout=10)
    done = calling.finish(40)
    assert done.code == 0, (done.events, done.stderr)
    assert done.result["call"]["bye_answered"] is True
