"""SIPp behind Kamailio as a telephone is: registered and calling by digest, at IPv4 and IPv6 addresses; its digits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartKamailio
from tests.support import wavs
from tests.support.real import require
from tests.support.servers import sipp
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.process import free_port
from tests.support.table import Table

pytestmark = [pytest.mark.real("kamailio", "sipp"), pytest.mark.xdist_group("sipp-proxy")]

ANSWER = (
    "v=0\no=x 1 1 IN IP[media_ip_type] [media_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\n"
    "m=audio [media_port] RTP/AVP 0 96\na=rtpmap:0 PCMU/8000\na=rtpmap:96 telephone-event/8000\na=fmtp:96 0-15\n"
)
hosts = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


class Rig:
    """sipcli at a table, and SIPps, all at one address of one Kamailio."""

    def __init__(self, place: Path, server: Kamailio, host: str) -> None:
        self._place, self._server, self.host = place, server, host
        self.table = Table(place, server, host=host)
        self._callees: list[sipp.SippCallee] = []
        self.proxy = f"[{host}]:{server.port}" if ":" in host else server.address()

    def bob(self, scenario: str, keys: dict[str, str] | None = None) -> sipp.SippCallee:
        """A SIPp that plays *scenario* where bob is bound, by an answer to a challenge."""
        port = free_port(block=2)  # Kamailio sends to where the REGISTER came from
        at = f"[{self.host}]" if ":" in self.host else self.host
        self.calls("uac_register", "bob", {"contact": f"sip:bob@{at}:{port}"}, port=port)
        callee = sipp.SippCallee(self._place / "bob", scenario, keys=keys, host=self.host, port=port)
        self._callees.append(callee)
        return callee

    def calls(self, scenario: str, whom: str, keys: dict[str, str] | None = None, *, port: int | None = None) -> None:
        """A SIPp that plays *scenario* to its end, and answers challenges as it says."""
        place = self._place / scenario
        done = sipp.call(place, scenario, self.proxy, whom, keys=keys, host=self.host, port=port)
        errors = place / "errors.log"
        assert done.returncode == 0, (done.stdout[-800:], errors.read_text() if errors.exists() else "")

    def clear(self) -> None:
        self.table.clear()
        for callee in self._callees:
            callee.stop()


@pytest.fixture
def rig(tmp_path: Path, start_kamailio: StartKamailio, request: pytest.FixtureRequest) -> Iterator[Rig]:
    require("sipp")
    host = request.node.callspec.params.get("host", "127.0.0.1") if hasattr(request.node, "callspec") else "127.0.0.1"
    made = Rig(tmp_path, start_kamailio("V6"), host)
    yield made
    made.clear()


@hosts
def test_call_out(rig: Rig, tmp_path: Path, host: str) -> None:
    """It hears our tone and says it back, and our digits, too, which is all that it does with them."""
    callee = rig.bob("uas_sdp", {"body": ANSWER})
    record = tmp_path / "rx.wav"
    wishes = ("--audio", "tone:600", "--record", str(record), "--duration", "4", "--dtmf", ",159#")
    done = rig.table.start(rig.table.person("alice"), "call", "sip:bob@sip.test", *wishes).finish()
    assert done.code == 0, (done.stderr, callee.why())
    assert callee.result() == 0, callee.why()
    assert [event["code"] for event in done.named("auth.challenged") if event["method"] == "INVITE"] == [407]
    wavs.assert_tone(record, 600, seconds=1.5)
    back = [event["digit"] for event in done.named("dtmf") if event["direction"] == "in"]
    assert "".join(back) == "159#"


@hosts
def test_call_in(rig: Rig, tmp_path: Path, host: str) -> None:
    """Its INVITE is challenged, and its ACK and BYE go by the Record-Route."""
    record = tmp_path / "in.wav"
    listening = rig.table.listens(rig.table.person("bob"), 500, record, "--max-calls", "1")
    rig.calls("uac_call", "bob")
    done = listening.finish()
    assert done.code == 0, done.stderr
    wavs.assert_tone(record, 440, seconds=1.5)


def test_digits_of_its(rig: Rig, tmp_path: Path) -> None:
    """RFC 4733, from a capture that SIPp makes itself and sends by a raw socket."""
    require("root")
    listening = rig.table.listens(rig.table.person("bob"), 500, tmp_path / "in.wav", "--max-calls", "1")
    rig.calls("uac_dtmf", "bob")
    done = listening.finish()
    assert done.code == 0, done.stderr
    assert "".join(event["digit"] for event in done.named("dtmf") if event["direction"] == "in") == "1590"


@hosts
def test_a_message_to_it(rig: Rig, host: str) -> None:
    callee = rig.bob("uas_message")
    done = rig.table.person("alice").run("message", "sip:bob@sip.test", "good morning", "--json")
    assert done.code == 0, (done.stderr, callee.why())
    assert callee.result() == 0, callee.why()
    assert [event["code"] for event in done.named("auth.challenged")] == [407]


@hosts
def test_a_message_of_its(rig: Rig, tmp_path: Path, host: str) -> None:
    listening = rig.table.listens(rig.table.person("bob"), 500, tmp_path / "in.wav", "--max-calls", "1")
    rig.calls("uac_message_407", "bob")
    got = listening.wait_for("message")
    assert (got["body"].strip(), got["direction"]) == ("good evening", "in")
