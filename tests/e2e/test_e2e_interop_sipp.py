"""SIPp as the other telephone, where it is no matter of calls as such: codecs that it echoes, and messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import wavs
from tests.support.cli import Cli
from tests.support.real import require
from tests.support.servers import sipp

pytestmark = [pytest.mark.real("sipp"), pytest.mark.xdist_group("offers")]

ANSWER = (
    "v=0\no=x 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=audio [media_port] RTP/AVP {0}\na=rtpmap:{0} {1}\n"
)
CODECS = {"g722": (9, "G722/8000"), "opus": (96, "opus/48000/2")}


def to(callee: sipp.SippCallee) -> tuple[str, ...]:
    return f"sip:callee@127.0.0.1:{callee.port}", "--from", "sip:alice@sip.test", "--no-register", "--json"


@pytest.mark.parametrize("codec", CODECS)
def test_it_echoes(cli: Cli, tmp_path: Path, codec: str) -> None:
    """What comes back was encoded by us: that we understand another's encoder is for the other telephones to show."""
    require("sipp", "opus")
    callee = sipp.SippCallee(tmp_path / "sipp", "uas_sdp", keys={"body": ANSWER.format(*CODECS[codec])})
    record = tmp_path / "rx.wav"
    try:
        wishes = ("--codec", codec, "--audio", "tone:600", "--record", str(record), "--duration", "2")
        done = cli.run("call", *to(callee), *wishes)
        assert done.code == 0, (done.stdout, callee.why())
        assert callee.result() == 0, callee.why()
    finally:
        callee.stop()
    assert done.result["call"]["codec"] == codec.upper()
    wavs.assert_tone(record, 600, seconds=1.0)


def test_a_message_to_it(cli: Cli, tmp_path: Path) -> None:
    require("sipp")
    callee = sipp.SippCallee(tmp_path / "sipp", "uas_message")
    try:
        target, *rest = to(callee)
        done = cli.run("message", target, "good morning", *[word for word in rest if word != "--no-register"])
        assert done.code == 0, (done.stdout, callee.why())
        assert callee.result() == 0, callee.why()
    finally:
        callee.stop()


def test_a_message_of_its(cli: Cli, tmp_path: Path) -> None:
    require("sipp")
    listening = cli.start("listen", "--json", "--no-register", "--port", "0", "--answer", "auto", "--max-calls", "1")
    try:
        [at] = [at for at in listening.wait_for("ready")["listen"] if at["transport"] == "udp"]
        sent = sipp.call(tmp_path / "sipp", "uac_message", f"127.0.0.1:{at['port']}", "alice")
        assert sent.returncode == 0, sent.stdout[-1500:]
        assert listening.wait_for("message")["body"].strip() == "good evening"
    finally:
        listening.leave()
