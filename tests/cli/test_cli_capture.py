"""``--trace FILE.pcap``: what a run said and heard, for sngrep and Wireshark."""

from __future__ import annotations

import io
import stat
import time
from pathlib import Path

import pytest

from sipcli.cli.environment import Environment
from sipcli.cli.tracefile import TraceFile
from sipcli.errors import ConfigError
from tests.support.captures import packets
from tests.support.cli import Cli
from tests.support.strangeplaces import strange_place

CANARY = "canary-7f3a-in-the-cage"

FIELDS = {
    "direction": "in",
    "transport": "tls",
    "local": "192.0.2.5:41822",
    "remote": "203.0.113.9:5061",
    "start_line": "SIP/2.0 200 OK",
    "size": 18,
    "sip": "SIP/2.0 200 Gr\u00fc\u00dfe\r\n\r\n",
}


AT = 1_794_000_000_000_007


class _Then(Environment):
    """Whose clock stands still."""

    def microseconds(self) -> int:
        return AT


@pytest.fixture
def surroundings() -> Environment:
    return _Then(io.StringIO(), io.StringIO(), {})


def test_T32_it_is_ours_alone_whatever_the_umask(tmp_path: Path, surroundings: Environment) -> None:
    """Fails without ``fchmod`` in ``open_private``."""
    path = tmp_path / "t.pcap"
    path.write_text("old")
    path.chmod(0o666)
    trace = TraceFile(path, surroundings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    trace.close()
    assert packets(path.read_bytes()) == []


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "pipe", "folder"])
def test_T32_never_through_a_link_nor_into_anything_strange(
    tmp_path: Path, surroundings: Environment, kind: str
) -> None:
    """Fails without ``O_NOFOLLOW`` in ``open_private``."""
    path, other = strange_place(tmp_path, "t.pcap", kind)
    with pytest.raises(ConfigError):
        TraceFile(path, surroundings)
    assert other.read_text() == "keep me"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["t.pcapng", "t.PcapNG", "t.cap"])
def test_other_forms_are_refused_and_nothing_is_made(tmp_path: Path, surroundings: Environment, name: str) -> None:
    with pytest.raises(ConfigError, match="no capture of that form") as caught:
        TraceFile(tmp_path / name, surroundings)
    assert "FILE.pcap" in str(caught.value.hint)
    assert not (tmp_path / name).exists()


def test_a_full_disk_ends_it_and_is_told_once(tmp_path: Path, surroundings: Environment) -> None:
    trace = TraceFile(tmp_path / "t.pcap", surroundings)
    assert trace.write("trace", FIELDS) is None
    trace.close()
    trace._stream = open("/dev/full", "wb")  # noqa: SIM115  # it closes it
    assert trace.write("trace", FIELDS) == "No space left on device"
    assert trace.write("trace", FIELDS) is None


def test_only_messages_are_packets_and_each_is_on_the_disk_at_once(tmp_path: Path, surroundings: Environment) -> None:
    path = tmp_path / "T.PCAP"
    trace = TraceFile(path, surroundings)
    assert trace.write("registration", {"state": "registered"}) is None
    trace.write("trace", FIELDS)
    [packet] = packets(path.read_bytes())
    assert (packet.source, packet.destination) == (("203.0.113.9", 5061), ("192.0.2.5", 41822))
    assert packet.payload == "SIP/2.0 200 Gr\u00fc\u00dfe\r\n\r\n".encode()
    assert packet.at == AT
    trace.write("trace", {**FIELDS, "direction": "out", "local": "[2001:db8::5]:1", "remote": "[2001:db8::9]:5060"})
    last = packets(path.read_bytes())[-1]
    assert (last.source, last.destination) == (("2001:db8::5", 1), ("2001:db8::9", 5060))
    trace.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_registration_in_order_with_addresses_and_times(
    alice: Cli, sandbox: str, tmp_path: Path, transport: str
) -> None:
    path = tmp_path / "x.pcap"
    done = alice.run("register", "--once", "--trace", str(path), "--transport", transport)
    assert done.code == 0, done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = packets(path.read_bytes())
    first, challenge, second, fine = found[:4]
    for request, response in ((first, challenge), (second, fine)):
        assert request.start_line.startswith("REGISTER sip:127.0.0.1")
        assert f"Via: SIP/2.0/{transport.upper()} ".encode() in request.payload
        assert (request.source, request.destination) == (response.destination, response.source)
        host, _, port = sandbox.rpartition(":")
        assert request.destination == (host, int(port))
    assert challenge.start_line == "SIP/2.0 401 Unauthorized"
    assert fine.start_line == "SIP/2.0 200 OK"
    times = [packet.at for packet in found]
    assert times == sorted(times)
    assert abs(times[0] - time.time_ns() // 1000) < 600_000_000


def test_T14_no_canary_in_a_capture_and_nothing_to_guess_it_from(cli: Cli, sandbox: str, tmp_path: Path) -> None:
    """Masked by the function that masks the JSON lines: fails without ``mask`` in ``EventDesk.on_wire``."""
    secret, path = cli.secret("secret", CANARY), tmp_path / "x.pcap"
    done = cli.run("register", f"sip:alice@{sandbox}", "--once", "--password-file", str(secret), "--trace", str(path))
    assert done.code == 3, done.stderr
    assert CANARY.encode() not in path.read_bytes()
    answers = [packet.payload for packet in packets(path.read_bytes()) if b"\r\nAuthorization:" in packet.payload]
    assert answers
    for payload in answers:
        assert b'response="***"' in payload
        assert b'nonce="***"' in payload


def test_a_form_that_is_not_written_is_one_sentence_before_anything_is_sent(alice: Cli, tmp_path: Path) -> None:
    done = alice.run("register", "--once", "--trace", str(tmp_path / "x.pcapng"))
    assert done.code == 2
    assert "no capture of that form is written" in done.stderr
    assert "FILE.pcap" in done.stderr
