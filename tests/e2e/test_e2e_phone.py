"""The rest of what a telephone does, through Kamailio: messages, pings, digits, the sound card, who may call."""

from __future__ import annotations

import re
import socket
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, StartKamailio, account
from tests.support import wavs
from tests.support.cli import Cli, Running
from tests.support.real import ALSA_CONF, require
from tests.support.servers import sipp
from tests.support.servers.baresip import Baresip
from tests.support.servers.kamailio import USERS, Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("phone")]


def machine(home: Path, server: str, user: str = "alice", transport: str = "udp") -> Cli:
    """A machine with one account, its password in a file."""
    cli = Cli(home)
    secret = cli.secret("secret", USERS[user])
    cli.configure(account(server, user=user, transport=transport) + FILE_PROVIDER.format(path=secret))
    return cli


@pytest.fixture
def alice(tmp_path: Path, kamailio: Kamailio) -> Cli:
    return machine(tmp_path / "alice", kamailio.address())


@pytest.fixture
def carol(tmp_path: Path, kamailio: Kamailio) -> Cli:
    return machine(tmp_path / "carol", kamailio.address(), "carol")


@pytest.fixture
def running() -> Iterator[list[Running]]:
    """What is put in here is ended with the test."""
    started: list[Running] = []
    yield started
    for process in started:
        process.leave()


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_message_from_one_sipcli_to_another(
    tmp_path: Path, start_kamailio: StartKamailio, certs: Path, running: list[Running], transport: str
) -> None:
    """RFC 3428, challenged by a 407 on its way."""
    server = start_kamailio(tls=True)
    ca = ("--ca", str(certs / "ca.pem"))
    reader = machine(tmp_path / "carol", server.address(), "carol").start("listen", "--json", "--max-calls", "1")
    running.append(reader)
    reader.wait_for("ready")
    writer = machine(tmp_path / "alice", server.address(transport), transport=transport)
    done = writer.run("message", "sip:carol@sip.test", "Grüße, \x1b[31mrot", "--json", *ca)
    assert done.code == 0, done.stderr
    assert [event["code"] for event in done.named("auth.challenged")] == [407]
    [sent] = done.named("message")
    assert (sent["direction"], sent["remote"], sent["code"]) == ("out", "sip:carol@sip.test", 200)
    got = reader.wait_for("message")
    assert got["direction"] == "in"
    assert got["remote"].startswith("sip:alice@sip.test")
    assert got["content_type"].startswith("text/plain")
    assert got["body"] == "Grüße, \x1b[31mrot"
    assert "\x1b" not in reader.stderr


def test_a_message_to_nobody_is_eleven(alice: Cli) -> None:
    done = alice.run("message", "sip:nobody@sip.test", "hello", "--json")
    assert done.code == 11, done.stderr
    assert done.result["code"] == 404


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_ping(tmp_path: Path, start_kamailio: StartKamailio, certs: Path, transport: str) -> None:
    server = start_kamailio(tls=True)
    cli = Cli(tmp_path / "home")
    target = f"sip:{server.address(transport)};transport={transport}"
    done = cli.run("options", target, "--json", "--ca", str(certs / "ca.pem"))
    assert done.code == 0, done.stderr
    assert done.result["code"] == 200
    assert done.result["took_ms"] > 0
    words = cli.run("options", target, "--ca", str(certs / "ca.pem"))
    assert words.code == 0
    assert "200" in words.stdout
    assert ("TLS" in words.stdout + words.stderr) is (transport == "tls")


def test_any_answer_to_a_ping_is_success_but_to_a_strict_one(tmp_path: Path, kamailio: Kamailio) -> None:
    """A 407 without an account to answer it is an answer, too."""
    cli = Cli(tmp_path / "home")
    target = f"sip:nobody@{kamailio.address()}"
    done = cli.run("options", target, "--json", "--no-input")
    assert (done.code, done.result["code"]) == (0, 407), done.stderr
    assert cli.run("options", target, "--expect", "200", "--no-input").code == 10


@pytest.mark.real("baresip")
def test_digits_reach_the_other_phone(alice: Cli, bob: Baresip) -> None:
    done = alice.run("call", "sip:bob@sip.test", "--json", "--dtmf", "159#", "--duration", "3")
    assert done.code == 0, done.stderr
    heard = re.findall(r"received (?:DTMF|event): '(.)' \(end=(\d)\)", bob.server.text(), re.IGNORECASE)
    assert [digit for digit, end in heard if end == "1"] == list("159#"), bob.server.text()[-2000:]
    assert [event["digit"] for event in done.named("dtmf")] == list("159#")


def test_digits_of_the_other_phone_are_told(alice: Cli, carol: Cli, running: list[Running]) -> None:
    listening = carol.start("listen", "--json", "--answer", "auto", "--max-calls", "1")
    running.append(listening)
    listening.wait_for("ready")
    done = alice.run("call", "sip:carol@sip.test", "--json", "--dtmf", "0*D", "--duration", "2.5")
    assert done.code == 0, done.stderr
    heard = listening.finish()
    told = [event for event in heard.named("dtmf") if event["direction"] == "in"]
    assert [event["digit"] for event in told] == list("0*D")
    assert all(event["via"] and event["duration_ms"] > 0 for event in told)


@pytest.mark.real("baresip")
@pytest.mark.real("portaudio")
def test_the_sound_card_is_played_to_the_other_phone_and_plays_what_it_says(
    tmp_path: Path, kamailio: Kamailio, bob: Baresip
) -> None:
    """PortAudio over ALSA's file plug-in: a real microphone that hears noise for ever, a real loudspeaker that writes.

    Two devices, for the plug-in writes what it captures into the file of what it plays.
    """
    require("portaudio")
    cli = machine(tmp_path / "alice", kamailio.address())
    heard, conf = tmp_path / "out.raw", tmp_path / "asound.conf"
    shown = 'format "raw" hint { show on description "test" } }'
    conf.write_text(
        "pcm.null0 { type null }\n"
        f'pcm.desk {{ type file slave.pcm "null0" file "/dev/null" infile "/dev/urandom" {shown}\n'
        f'pcm.headset {{ type file slave.pcm "null0" file "{heard}" {shown}\n'
    )
    cli.env["ALSA_CONFIG_PATH"] = f"{ALSA_CONF}:{conf}"
    # A card that is not paced gives a hundred times what a canceller can take.
    short = ("--duration", "3", "--no-register", "--echo-cancellation", "off")
    done = cli.run("call", "sip:bob@sip.test", "--json", "--audio", "device:desk,headset", *short)
    assert done.code == 0, done.stderr
    assert "ALSA" not in done.stderr
    # The plug-in is not paced, so it is not the tone that is judged but that sound went through.
    assert max(array("h", heard.read_bytes()), default=0) > 1000
    theirs, _ = wavs.read_wav(bob.heard)
    assert max(theirs, default=0) > 1000


@pytest.mark.parametrize("configured", [True, False])
def test_without_a_sound_card_a_device_is_one_sentence_before_anything_is_sent(
    alice: Cli, kamailio: Kamailio, tmp_path: Path, configured: bool
) -> None:
    """Where ALSA has no configuration at all, PortAudio would end the process."""
    require("portaudio")
    empty = tmp_path / "asound.conf"
    empty.write_text("")
    alice.env["ALSA_CONFIG_PATH"] = f"{ALSA_CONF}:{empty}" if configured else str(tmp_path / "nowhere")
    before = len(kamailio.verdicts())
    done = alice.run("call", "sip:bob@sip.test", "--json", "--audio", "device:no such card", "--no-register")
    assert done.code == 2, done.stderr
    assert "sound card" in done.result["message"]
    assert done.result["hint"]
    assert len(kamailio.verdicts()) == before
    assert "ALSA lib" not in done.stderr
    assert alice.run("doctor", "--json").code in (0, 1)


@pytest.mark.real("sipp")
class TestWhoMayCall:
    """T20: calls that did not come through our registrar are not even answered, unless that is wanted."""

    def knock(self, port: int, n: int) -> bytes:
        invite = (
            f"INVITE sip:carol@127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{{port}};branch=z9hG4bKk{n}\r\n"
            f"From: <sip:scanner@sip.test>;tag=s{n}\r\nTo: <sip:carol@sip.test>\r\nCall-ID: knock-{n}\r\n"
            "CSeq: 1 INVITE\r\nContact: <sip:scanner@127.0.0.1:{port}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as scanner:
            scanner.bind(("127.0.0.1", 0))
            scanner.settimeout(1.5)
            scanner.sendto(invite.replace("{port}", str(scanner.getsockname()[1])).encode(), ("127.0.0.1", port))
            try:
                return scanner.recv(65536)
            except TimeoutError:
                return b""

    @pytest.mark.parametrize("anonymous", [False, True])
    def test_T20_a_scanner(self, carol: Cli, running: list[Running], anonymous: bool) -> None:
        more = ("--allow-anonymous",) if anonymous else ()
        listening = carol.start("listen", "--json", "--answer", "busy", *more)
        running.append(listening)
        listen = listening.wait_for("ready")["listen"]
        port = next(entry["port"] for entry in listen if entry["transport"] == "udp")
        answer = self.knock(port, int(anonymous))
        assert answer.startswith(b"SIP/2.0 486" if anonymous else b"") and bool(answer) is anonymous

    def test_T20_a_call_straight_to_a_port_without_a_registrar(
        self, tmp_path: Path, carol: Cli, running: list[Running]
    ) -> None:
        require("sipp")
        record = tmp_path / "in.wav"
        listening = carol.start(
            "listen", "--json", "--no-register", "--port", "0", "--answer", "auto", "--audio", "echo", "--max-calls",
            "1", "--record", str(record),
        )  # fmt: skip
        running.append(listening)
        listen = listening.wait_for("ready")["listen"]
        port = next(entry["port"] for entry in listen if entry["transport"] == "udp")
        caller = sipp.call(tmp_path / "sipp", "uac_direct", f"127.0.0.1:{port}", "carol", tone=700)
        assert caller.returncode == 0, caller.stdout[-800:]
        assert listening.finish().code == 0
        wavs.assert_tone(record, 700, seconds=1.5)
