"""A conference at the command line: baresip and a second sipcli call in, `sipcli ctl conference` joins them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support import wavs
from tests.support.cli import Cli
from tests.support.servers.baresip import Baresip
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.real("baresip"), pytest.mark.xdist_group("kamailio")]


def person(home: Path, kamailio: Kamailio, user: str, secret: str) -> Cli:
    cli = Cli(home)
    path = cli.secret("secret", secret)
    cli.configure(account(kamailio.address(), user=user) + FILE_PROVIDER.format(path=path))
    return cli


def test_three_hear_each_other(kamailio: Kamailio, bob: Baresip, tmp_path: Path) -> None:
    """Bob's baresip whistles at 880 Hz, carol at 1300 Hz; alice, between them, at 500 Hz."""
    alice = person(tmp_path / "alice", kamailio, "alice", "secret123")
    carol = person(tmp_path / "carol", kamailio, "carol", "carolpass")
    alice.log_in(tmp_path / "run")
    heard = tmp_path / "carol.wav"
    listening = alice.start("listen", "--json", "--answer", "auto", "--audio", "tone:500", "--max-calls", "2")
    try:
        listening.wait_for("ready")
        bob.dial("sip:alice@sip.test")
        listening.wait_for("call", state="answered")
        calling = carol.start("call", "sip:alice@sip.test", "--json", "--audio", "tone:1300", "--record", str(heard))
        try:
            calling.wait_for("call", state="answered")
            joined = alice.run("ctl", "conference", "--json")
            assert joined.code == 0, joined.stderr
            assert len(joined.result["conference"]) == 2
            before = bob.heard.stat().st_size
            wavs.wait_for_growth(lambda: heard, 3.5, rate=48000)
            wavs.wait_for_growth(lambda: bob.heard, before / 16000 + 2.0)
            assert alice.run("ctl", "hangup", "--call", joined.result["conference"][0]).code == 0
            listening.wait_for("call", state="ended")
            wavs.wait_for_growth(lambda: heard, 5.0, rate=48000)
        finally:
            calling.process.terminate()
            assert calling.finish().code in (0, 143)
    finally:
        listening.kill()
    assert part(heard, 880, 500) and part(bob.heard, 1300, 500)


def part(path: Path, *hertz: float) -> bool:
    """Is there half a second of *path* in which each of *hertz* is a good part of what one hears?"""
    samples, rate = wavs.read_wav(path)
    window = rate // 2
    shares = [
        [wavs.share_of(samples[at : at + window], rate, each) for each in hertz]
        for at in range(0, len(samples) - window, window // 2)
    ]
    return any(all(share > 0.15 for share in each) for each in shares)
