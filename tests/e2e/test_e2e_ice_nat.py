"""Two phones at home, each behind a NAT of its own: ICE digs a hole where one can be dug, and goes by coturn else.

Needs root, for network namespaces and nftables.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.e2e.test_e2e_networks import another_address, phone
from tests.support import wavs
from tests.support.cable import Hurts
from tests.support.cli import Cli, Result, Running
from tests.support.figures import Figures
from tests.support.natlab import PUBLIC, Homes, Nat, two_homes
from tests.support.netns import two_hosts
from tests.support.real import require
from tests.support.servers.coturn import PASSWORD, USER, Coturn
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("netns")]


def _phone(home: Path, homes: Homes, kamailio: Kamailio, coturn: Coturn, user: str, ice: str) -> Cli:
    cli = Cli(home / user)
    cli.netns = homes.left if user == "alice" else homes.right
    sip = cli.secret("secret", {"alice": "secret123", "bob": "bobpass"}[user])
    turn = cli.secret("turn", PASSWORD)
    more = (
        f'ice = "{ice}"\nstun = "{coturn.stun}"\n'
        f'turn = "{coturn.turn}"\nturn_username = "{USER}"\nturn_credentials = ["vault-turn"]\n'
    )
    text = account(f"{PUBLIC}:{kamailio.port}", user=user, more=more) + FILE_PROVIDER.format(path=sip)
    cli.configure(text + f'[providers.vault-turn]\ntype = "file"\npath = "{turn}"\n')
    return cli


def _call(tmp_path: Path, homes: Homes, ice: str, duration_s: int = 5) -> tuple[Result, Result, dict[str, Path]]:
    coturn = Coturn(tmp_path / "coturn", host=PUBLIC, inside=homes.public)
    kamailio = Kamailio(tmp_path / "kamailio", "NAT", host=PUBLIC, inside=homes.public)
    heard = {user: tmp_path / f"{user}.wav" for user in ("alice", "bob")}
    try:
        alice = _phone(tmp_path, homes, kamailio, coturn, "alice", ice)
        bob = _phone(tmp_path, homes, kamailio, coturn, "bob", ice)
        listening = bob.start(
            "listen", "--json", "--answer", "auto", "--audio", "tone:880", "--record", str(heard["bob"]),
            "--max-calls", "1",
        )  # fmt: skip
        try:
            listening.wait_for("ready")
            done = alice.run(
                "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(heard["alice"]),
                "--duration", str(duration_s), timeout=60,
            )  # fmt: skip
            other = listening.finish()
        finally:
            listening.kill()
    finally:
        kamailio.stop()
        coturn.stop()
    return done, other, heard


def _ways(done: Result) -> set[str | None]:
    return {event["ice"] for event in done.named("media") if event["state"] == "flowing"}


@pytest.mark.parametrize(
    ("left", "right", "ways"),
    [
        ("cone", "cone", {"srflx", "prflx"}),
        ("symmetric", "symmetric", {"relay"}),
        ("cone", "symmetric", {"relay"}),
    ],
)
def test_E04_between_two_homes(tmp_path: Path, figures: Figures, left: Nat, right: Nat, ways: set[str]) -> None:
    require("root", "kamailio", "coturn", "ice", "nft")
    with two_homes(left, right) as homes:
        done, other, heard = _call(tmp_path, homes, "required")
    assert done.code == 0, (done.stderr, other.stderr)
    assert other.code == 0, other.stderr
    wavs.assert_tone(heard["alice"], 880, seconds=2.0)
    wavs.assert_tone(heard["bob"], 440, seconds=2.0)
    assert _ways(done) <= ways and _ways(other) <= ways, (_ways(done), _ways(other))
    hearings = [wavs.hear(heard["alice"], 880), wavs.hear(heard["bob"], 440)]
    how = f"up to the end, by {' and '.join(sorted(filter(None, _ways(done) | _ways(other))))}"
    figures(f"NAT: {left} and {right}", "sipcli, sipcli (ICE, coturn)", done, hearings, how)


BAD = Hurts(loss_pct=5, delay_ms=20, jitter_ms=40)


@pytest.mark.slow
@pytest.mark.parametrize(("left", "ways"), [("cone", {"srflx", "prflx", "relay"}), ("symmetric", {"relay"})])
def test_E04_between_two_homes_over_a_bad_cable(tmp_path: Path, figures: Figures, left: Nat, ways: set[str]) -> None:
    """The checks, the allocations at the relay and the signalling suffer as the audio does; where a check of the direct
    path gets lost twice, the relay serves."""
    require("root", "kamailio", "coturn", "ice", "nft")
    with two_homes(left, "cone", BAD) as homes:
        done, other, heard = _call(tmp_path, homes, "required", duration_s=8)
    assert (done.code, other.code) == (0, 0), (done.events, done.stderr, other.stderr)
    assert _ways(done) <= ways and _ways(other) <= ways, (_ways(done), _ways(other))
    hearings = [wavs.hear(heard["alice"], 880), wavs.hear(heard["bob"], 440)]
    how = f"up to the end, by {' and '.join(sorted(filter(None, _ways(done) | _ways(other))))}"
    what = f"NAT: {left} and cone; 5 % lost, jitter 0 to 40 ms at one of them"
    figures(what, "sipcli, sipcli (ICE, coturn)", done, hearings, how)
    for one in hearings:
        assert one.seconds > 5 and one.heard_pct > 70 and one.longest_gap_ms < 5000, one


def test_E04_between_two_homes_without_ice_nobody_is_heard(tmp_path: Path) -> None:
    """That these NATs are some: what ICE is for."""
    require("root", "kamailio", "coturn", "ice", "nft")
    with two_homes() as homes:
        done, other, _ = _call(tmp_path, homes, "off")
    assert "flowing" not in {event["state"] for side in (done, other) for event in side.named("media")}


@pytest.mark.parametrize("moves", ["caller", "callee"])
def test_E04_another_address_in_the_middle_of_a_call_begins_ice_anew(tmp_path: Path, moves: str) -> None:
    """RFC 8445 section 9: new candidates, new credentials, in the re-INVITE that says where we are (RFC 5626 4.5)."""
    require("root", "kamailio", "ice")
    with two_hosts() as (left, right):
        server = Kamailio(tmp_path / "kamailio", "OPEN", host="10.77.0.2", inside=right)
        started: list[Running] = []
        try:
            at = f"10.77.0.2:{server.port}"
            caller_at, callee_at = (left, right) if moves == "caller" else (right, left)
            more = 'ice = "required"'
            callee = phone(tmp_path / "bob", "bob", at, "udp", netns=callee_at, more=more)
            caller = phone(tmp_path / "alice", "alice", at, "udp", netns=caller_at, more=more)
            heard = tmp_path / "heard.wav"
            listening = callee.start("listen", "--json", "--answer", "auto", "--audio", "echo", "--max-calls", "1")
            started.append(listening)
            listening.wait_for("registration", state="registered")
            calling = caller.start(
                "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(heard), "--duration", "10"
            )
            started.append(calling)
            assert calling.wait_for("media", state="flowing")["ice"] == "host"
            wavs.wait_for_growth(lambda: heard, 1.0)
            another_address(left)
            done = calling.finish(30)
            assert done.code == 0, (done.events, done.stderr)
        finally:
            for process in started:
                process.leave()
            server.stop()
    restarted = [event for event in done.named("media") if event["ice"] == "checking"]
    assert len(restarted) >= 2  # at the first answer, and after the move
    wavs.assert_tone(heard, 440, seconds=5)
    assert max(wavs.tone_gaps(heard, 440)) < 5
