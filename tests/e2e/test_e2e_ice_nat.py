"""Two phones at home, each behind a NAT of its own: ICE digs a hole where one can be dug, and goes by coturn else.

Needs root, for network namespaces and nftables.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support import wavs
from tests.support.cli import Cli, Result
from tests.support.natlab import PUBLIC, Homes, Nat, two_homes
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


def _call(tmp_path: Path, homes: Homes, ice: str) -> tuple[Result, Result, dict[str, Path]]:
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
                "--duration", "4",
            )  # fmt: skip
            other = listening.finish(timeout=15)
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
    [("cone", "cone", {"srflx", "prflx"}), ("symmetric", "symmetric", {"relay"}), ("cone", "symmetric", {"relay"})],
)
def test_E04_between_two_homes(tmp_path: Path, left: Nat, right: Nat, ways: set[str]) -> None:
    require("root", "kamailio", "coturn", "ice", "nft")
    with two_homes(left, right) as homes:
        done, other, heard = _call(tmp_path, homes, "required")
    assert done.code == 0, (done.stderr, other.stderr)
    assert other.code == 0, other.stderr
    wavs.assert_tone(heard["alice"], 880, seconds=2.0)
    wavs.assert_tone(heard["bob"], 440, seconds=2.0)
    assert _ways(done) <= ways and _ways(other) <= ways, (_ways(done), _ways(other))


def test_E04_between_two_homes_without_ice_nobody_is_heard(tmp_path: Path) -> None:
    """That these NATs are some: what ICE is for."""
    require("root", "kamailio", "coturn", "ice", "nft")
    with two_homes() as homes:
        done, other, _ = _call(tmp_path, homes, "off")
    assert "flowing" not in {event["state"] for side in (done, other) for event in side.named("media")}
