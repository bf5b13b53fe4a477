"""linphonec and pjsua on a machine of their own, and sipcli on another, with coturn between: what ICE finds.

linphonec offers no candidate at a loopback address, so each side is in a network namespace, which needs root.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import wavs
from tests.support.cli import Cli
from tests.support.netns import Namespace, two_hosts
from tests.support.real import require
from tests.support.servers.coturn import PASSWORD, USER, Coturn
from tests.support.servers.kamailio import Kamailio
from tests.support.table import Table, Telephone

HERE, THERE = "10.77.0.1", "10.77.0.2"

pytestmark = pytest.mark.real("kamailio", "coturn")


class Street(Table):
    """alice's house, and the one where everybody else is: bob, the servers of SIP and of ICE."""

    def __init__(self, place: Path, left: Namespace, right: Namespace) -> None:
        self._left, self._right = left, right
        self.coturn = Coturn(place / "coturn", host=THERE, inside=right)
        self.server = Kamailio(place / "kamailio", host=THERE, inside=right)
        super().__init__(place, self.server)
        self._secret = place / "turn"
        self._secret.write_text(PASSWORD)
        self._secret.chmod(0o600)

    def _proxy(self, transport: str) -> str:
        return f"{THERE}:{self.server.port}"

    def alice(self, ice: str) -> Cli:
        """*ice*: required, or relay, which is to go by coturn."""
        turn = (
            f'turn = "{self.coturn.turn}"\nturn_username = "{USER}"\nturn_credentials = ["vault-turn"]\n'
            f'[providers.vault-turn]\ntype = "file"\npath = "{self._secret}"\n'
        )
        stun = f'stun = "{self.coturn.stun}"\n'
        alice = self.person("alice", more=f'ice = "{ice}"\n' + (turn if ice == "relay" else stun))
        alice.netns = self._left
        return alice

    def bob(self, kind: str, **options: Any) -> Telephone:
        require(kind)
        stun = self.coturn.stun.removeprefix("stun:")
        return self.phone("bob", 880, kind, host=THERE, inside=self._right, stun=stun, **options)

    def clear(self) -> None:
        super().clear()
        self.server.stop()
        self.coturn.stop()


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    require("root", "kamailio", "coturn", "ice")
    with two_hosts(f"{HERE}/24", f"{THERE}/24") as (left, right):
        laid = Street(tmp_path, left, right)
        yield laid
        laid.clear()


everyone = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.real(kind), pytest.mark.xdist_group(f"telephones-{kind}")])
        for kind in ("linphone", "pjsua")
    ],
)
ways = pytest.mark.parametrize(("ice", "found"), [("required", {"host", "prflx"}), ("relay", {"relay"})])


@everyone
@ways
def test_E04_call_out(street: Street, tmp_path: Path, kind: str, ice: str, found: set[str]) -> None:
    bob, record = street.bob(kind), tmp_path / "rx.wav"
    wishes = ("--audio", "tone:440", "--record", str(record), "--duration", "4")
    done = street.start(street.alice(ice), "call", "sip:bob@sip.test", *wishes).finish()
    assert done.code == 0, (done.stderr, done.result, bob.text()[-3000:])
    assert {event["ice"] for event in done.named("media") if event["state"] == "flowing"} <= found
    wavs.assert_tone(record, 880, seconds=2.0)
    bob.stop()
    wavs.assert_tone(bob.heard, 440, seconds=2.0)


@everyone
@ways
def test_E04_call_in(street: Street, tmp_path: Path, kind: str, ice: str, found: set[str]) -> None:
    bob, record = street.bob(kind), tmp_path / "in.wav"
    listening = street.listens(street.alice(ice), 500, record, "--max-calls", "1", "--duration", "4")
    bob.dial("sip:alice@sip.test")
    done = listening.finish()
    assert done.code == 0, (done.stderr, done.result, bob.text()[-3000:])
    assert {event["ice"] for event in done.named("media") if event["state"] == "flowing"} <= found
    wavs.assert_tone(record, 880, seconds=2.0)
    bob.stop()
    wavs.assert_tone(bob.heard, 500, seconds=2.0)
