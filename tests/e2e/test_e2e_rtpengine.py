"""sipcli and a baresip of another kind with rtpengine between them: keys, ICE and addresses end at the media relay.

baresip has plain RTP at 127.0.0.1 and nothing else; what sipcli is offered and answered is what the relay makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import wavs
from tests.support.cli import Cli
from tests.support.real import require
from tests.support.servers.coturn import PASSWORD, USER, Coturn
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.rtpengine import Rtpengine
from tests.support.table import Table, Telephone

pytestmark = [pytest.mark.real("rtpengine"), pytest.mark.xdist_group("rtpengine")]

PLAIN = "RTP/AVP ICE=remove address-family=IP4"


class Kind(NamedTuple):
    """What the relay offers to sipcli, how sipcli is set up for it, and what its ``media`` events say then."""

    wants: str
    more: str = ""
    transport: str = "udp"
    host: str = "127.0.0.1"
    shown: tuple[str, object] = ("srtp", None)


KINDS = {
    "rtp": Kind("RTP/AVP ICE=remove"),
    "sdes": Kind("RTP/SAVP ICE=remove DTLS=off", 'srtp = "required"', "tls", shown=("srtp_keys", "sdes")),
    "dtls": Kind(
        "transport-protocol=UDP/TLS/RTP/SAVP ICE=remove SDES-off",
        'srtp = "required"\nsrtp_keys = "dtls"',
        shown=("srtp_keys", "dtls"),
    ),
    "ice": Kind("RTP/AVP ICE=force", 'ice = "required"', shown=("ice", "host")),
    "ipv6": Kind("RTP/AVP ICE=remove address-family=IP6", host="::1"),
    "all": Kind(
        "transport-protocol=UDP/TLS/RTP/SAVP ICE=force SDES-off address-family=IP6",
        'srtp = "required"\nsrtp_keys = "dtls"\nice = "required"',
        host="::1",
        shown=("ice", "host"),
    ),
}


class Rig:
    """alice is a sipcli of some :class:`Kind`, bob a baresip; the relay is between them."""

    def __init__(self, place: Path, relay: Rtpengine, certs: Path) -> None:
        require("baresip", "srtp", "dtls", "ice", "opus")
        self._place, self._certs, self.relay = place, certs, relay
        self._tables: list[Table] = []
        self._server: Kamailio | None = None

    def seat(self, kind: Kind, more: str = "", **options: Any) -> tuple[Table, Cli, Telephone]:
        """Where alice sits, she, and bob, whose telephone gets the options."""
        tls = kind.transport == "tls"
        self._server = Kamailio(
            self._place / "kamailio", "V6", certs=self._certs if tls else None,
            relay=self.relay.control, wants={"alice": kind.wants, "carol": kind.wants, "bob": PLAIN},
        )  # fmt: skip
        self._tables = [Table(self._place, self._server, host=kind.host), Table(self._place, self._server)]
        hers, his = self._tables
        return hers, self.person("alice", kind, more), his.phone("bob", 880, **options)

    def person(self, user: str, kind: Kind, more: str = "") -> Cli:
        """A sipcli of that kind."""
        ca = f'\nca_file = "{self._certs / "ca.pem"}"' if kind.transport == "tls" else ""
        return self._tables[0].person(user, transport=kind.transport, more=kind.more + ca + more)

    def clear(self) -> None:
        for table in self._tables:
            table.clear()
        if self._server is not None:
            self._server.stop()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rtpengine]:
    require("rtpengine")
    server = Rtpengine(tmp_path_factory.mktemp("rtpengine"))
    yield server
    server.stop()


@pytest.fixture
def rig(tmp_path: Path, relay: Rtpengine, certs: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, relay, certs)
    yield made
    made.clear()


def call_out(rig: Rig, tmp_path: Path, kind: Kind, *words: str, **options: Any) -> dict[str, Any]:
    """alice calls bob for three seconds; both are listened to.  Her last ``media`` event of a flow is returned."""
    hers, alice, bob = rig.seat(kind, **options)
    record = tmp_path / "rx.wav"
    wishes = ("--audio", "tone:440", "--record", str(record), "--duration", "3", *words)
    done = hers.start(alice, "call", "sip:bob@sip.test", *wishes).finish()
    assert done.code == 0, (done.stderr, done.result, bob.text()[-2000:])
    wavs.assert_tone(record, 880, seconds=2.0)
    wavs.assert_tone(bob.heard, 440, seconds=2.0)
    assert done.result["call"]["audio"]["longest_gap_ms"] <= 400
    flowing: dict[str, Any] = [event for event in done.named("media") if event["state"] == "flowing"][-1]
    return flowing


def call_in(rig: Rig, tmp_path: Path, kind: Kind, *words: str, **options: Any) -> dict[str, Any]:
    """bob calls alice, who hangs up after three seconds."""
    hers, alice, bob = rig.seat(kind, **options)
    record = tmp_path / "in.wav"
    listening = hers.listens(alice, 500, record, "--max-calls", "1", "--duration", "3", *words)
    bob.dial("sip:alice@sip.test")
    done = listening.finish()
    assert done.code == 0, (done.stderr, done.result, bob.text()[-2000:])
    wavs.assert_tone(record, 880, seconds=2.0)
    wavs.assert_tone(bob.heard, 500, seconds=2.0)
    flowing: dict[str, Any] = [event for event in done.named("media") if event["state"] == "flowing"][-1]
    return flowing


Calls = Callable[..., dict[str, Any]]
both_ways = pytest.mark.parametrize("calls", [call_out, call_in])


@both_ways
@pytest.mark.parametrize("kind", KINDS)
def test_between_plain_rtp_and(rig: Rig, tmp_path: Path, kind: str, calls: Calls) -> None:
    flowing = calls(rig, tmp_path, KINDS[kind])
    name, value = KINDS[kind].shown
    assert flowing.get(name) == value, flowing
    assert rig.relay.has(flowing["remote"]), flowing
    assert flowing["remote"].startswith("[::1]:") == (KINDS[kind].host == "::1"), flowing


@both_ways
def test_E04_ice_through_coturn_to_the_relay(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, calls: Calls
) -> None:
    """Two relays: ours by TURN, and theirs, which checks our candidate by ICE."""
    require("coturn")
    coturn = Coturn(tmp_path_factory.mktemp("coturn"))
    try:
        secret = tmp_path / "turn"
        secret.write_text(PASSWORD)
        secret.chmod(0o600)
        more = (
            f'ice = "relay"\nturn = "{coturn.turn}"\nturn_username = "{USER}"\nturn_credentials = ["vault-turn"]\n'
            f'[providers.vault-turn]\ntype = "file"\npath = "{secret}"\n'
        )
        flowing = calls(rig, tmp_path, Kind(KINDS["ice"].wants, more))
        assert flowing["ice"] == "relay"
        assert coturn.channels() >= 1
    finally:
        coturn.stop()


@both_ways
@pytest.mark.parametrize("codec", ["opus", "g722"])
def test_codec(rig: Rig, tmp_path: Path, codec: str, calls: Calls) -> None:
    assert calls(rig, tmp_path, KINDS["sdes"], "--codec", codec, codec=codec)["codec"] == codec.upper()


def test_D04_bob_sends_us_on(rig: Rig, tmp_path: Path) -> None:
    """To carol, whose keys are not ours either: both are the relay's."""
    kind = KINDS["sdes"]
    hers, alice, bob = rig.seat(kind)
    hers.listens(rig.person("carol", kind), 660, tmp_path / "carol.wav")
    wishes = ("--transfer", "same-domain", "--max-calls", "1", "--duration", "5")
    listening = hers.listens(alice, 500, tmp_path / "in.wav", *wishes)
    bob.dial("sip:alice@sip.test")
    listening.wait_for("media", state="flowing")
    wavs.wait_for_growth(lambda: tmp_path / "in.wav", 1.0)
    bob.transfer("sip:carol@sip.test")
    assert listening.wait_for("transfer", state="done")["kind"] == "blind"
    finished = listening.finish()
    assert finished.code == 0, finished.stderr
    assert all(event["srtp_keys"] == "sdes" for event in finished.named("media") if event["state"] == "flowing")
    wavs.assert_tone(tmp_path / "in-2.wav", 660, seconds=2.0)
    hers.clear()
    wavs.assert_tone(tmp_path / "carol.wav", 500, seconds=2.0)


@pytest.mark.parametrize("kind", ["sdes", "dtls"])
def test_held_by_both_and_digits_of_both(rig: Rig, tmp_path: Path, kind: str) -> None:
    """Each re-INVITE goes through the relay, which keeps the keys of our side or makes new ones."""
    hers, alice, bob = rig.seat(KINDS[kind])
    record = tmp_path / "in.wav"
    listening = hers.listens(alice, 500, record, "--max-calls", "1")
    bob.dial("sip:alice@sip.test")
    listening.wait_for("media", state="flowing")
    wavs.wait_for_growth(lambda: record, 1.0)
    for command, state in (
        (bob.hold, "held"),
        (bob.resume, "answered"),
        (lambda: alice.run("ctl", "hold"), "held"),
        (lambda: alice.run("ctl", "resume"), "answered"),
    ):
        command()
        listening.wait_for("call", state=state)
        wavs.wait_for_growth(lambda: record, record.stat().st_size / 16000 + 1.0)
    bob.press("159")
    listening.wait_for("dtmf", digit="9")
    assert alice.run("ctl", "dtmf", "7").code == 0
    listening.wait_for("dtmf", digit="7")
    wavs.wait_for_growth(lambda: record, record.stat().st_size / 16000 + 3.0)  # half a second may not be written yet
    bob.hang_up()
    done = listening.finish()
    assert done.code == 0, done.stderr
    wavs.assert_last(record, 880, seconds=1.5)
    assert "".join(event["digit"] for event in done.named("dtmf") if event["direction"] == "in") == "159"
    assert bob.pressed() == "7", bob.text()[-2000:]
    assert all(event["srtp"] for event in done.named("media") if event["state"] == "flowing")
