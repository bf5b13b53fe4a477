"""baresip, linphonec, twinkle and pjsua through Kamailio, each asked for the same things: the rows of docs/interop.md.

Both sides say a tone of their own, and both are listened to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.e2e.conftest import StartKamailio
from tests.support import wavs
from tests.support.pty import terminal
from tests.support.real import require
from tests.support.servers.baresip import Baresip
from tests.support.table import Table, Telephone, until

pytestmark = pytest.mark.real("kamailio")

LINE = "sip:{}@sip.test"


def each(name: str, *values: str) -> list[ParameterSet]:
    """*name* with each of the values; one group for each name, so that two of them are tried at once."""
    marks = [pytest.mark.real(name), pytest.mark.xdist_group(f"telephones-{name}")]
    return [pytest.param(name, value, marks=marks) for value in values]


def kinds(*names: str) -> pytest.MarkDecorator:
    """One group for each, so that two of them are tried at once."""
    marked = [
        pytest.param(name, marks=[pytest.mark.real(name), pytest.mark.xdist_group(f"telephones-{name}")])
        for name in names
    ]
    return pytest.mark.parametrize("kind", marked)


everyone = kinds("baresip", "linphone", "twinkle", "pjsua")


@pytest.fixture
def tables(tmp_path: Path, start_kamailio: StartKamailio) -> Iterator[Callable[..., Table]]:
    made: list[Table] = []

    def lay(*switches: str, tls: bool = False, host: str = "127.0.0.1") -> Table:
        made.append(Table(tmp_path, start_kamailio(*switches, tls=tls), host=host))
        return made[-1]

    yield lay
    for table in made:
        table.clear()


@pytest.fixture
def table(tables: Callable[..., Table]) -> Table:
    return tables()


def call_out(
    table: Table, tmp_path: Path, kind: str, *words: str, transport: str = "udp", more: str = "", **options: Any
) -> dict[str, Any]:
    """alice calls bob's telephone for three seconds; both are listened to.  What was agreed on is returned."""
    require(kind)
    bob = table.phone("bob", 880, kind, transport=transport, **options)
    record = tmp_path / "rx.wav"
    wishes = ("--audio", "tone:440", "--record", str(record), "--duration", "3", *words)
    calling = table.start(table.person("alice", transport=transport, more=more), "call", LINE.format("bob"), *wishes)
    done = calling.finish()
    assert done.code == 0, (done.stderr, done.result, bob.text()[-2000:])
    wavs.assert_tone(record, 880, seconds=2.0)
    assert done.result["call"]["audio"]["longest_gap_ms"] <= 400
    bob.stop()  # twinkle's sound card writes what it has at the end
    wavs.assert_tone(bob.heard, 440, seconds=2.0)
    flowing: dict[str, Any] = [event for event in done.named("media") if event["state"] == "flowing"][-1]
    return flowing


def call_in(
    table: Table, tmp_path: Path, kind: str, *words: str, transport: str = "udp", more: str = "", **options: Any
) -> dict[str, Any]:
    """bob's telephone calls alice, who hangs up after three seconds."""
    require(kind)
    bob = table.phone("bob", 880, kind, transport=transport, **options)
    record = tmp_path / "in.wav"
    alice = table.person("alice", transport=transport, more=more)
    listening = table.listens(alice, 500, record, "--max-calls", "1", "--duration", "3", *words)
    bob.dial(LINE.format("alice"))
    done = listening.finish()
    assert done.code == 0, (done.stderr, done.result, bob.text()[-2000:])
    wavs.assert_tone(record, 880, seconds=2.0)
    bob.stop()
    wavs.assert_tone(bob.heard, 500, seconds=2.0)
    flowing: dict[str, Any] = [event for event in done.named("media") if event["state"] == "flowing"][-1]
    return flowing


@everyone
def test_call_out(table: Table, tmp_path: Path, kind: str) -> None:
    assert call_out(table, tmp_path, kind)["codec"] == "PCMU"


@everyone
def test_call_in(table: Table, tmp_path: Path, kind: str) -> None:
    assert call_in(table, tmp_path, kind)["codec"] == "PCMU"


def hear(record: Path, seconds: float) -> None:
    """So many seconds more, sound or silence; half a second of what was before may not be written yet."""
    wavs.wait_for_growth(lambda: record, record.stat().st_size / 16000 + 0.5 + seconds)


def still_hears(bob: Telephone, hertz: float) -> None:
    """baresip records nothing after a hold, of another baresip neither; but it takes digits, which are RTP as well."""
    if isinstance(bob, Baresip):
        assert bob.pressed() == "7", bob.text()[-2000:]
        return
    bob.stop()
    wavs.assert_last(bob.heard, hertz, seconds=1.5)


@everyone
def test_held_by_us_and_resumed(table: Table, tmp_path: Path, kind: str) -> None:
    require(kind)
    bob = table.phone("bob", 880, kind)
    alice, record = table.person("alice"), tmp_path / "rx.wav"
    calling = table.start(alice, "call", LINE.format("bob"), "--audio", "tone:440", "--record", str(record))
    calling.wait_for("media", state="flowing")
    for word, state, seconds in (("hold", "held", 1.0), ("resume", "answered", 2.5)):
        told = alice.run("ctl", word)
        assert told.code == 0, told.stderr
        calling.wait_for("call", state=state)
        hear(record, seconds)
    told = alice.run("ctl", "dtmf", "7")
    assert told.code == 0, told.stderr
    calling.wait_for("dtmf", digit="7")
    bob.hang_up()
    done = calling.finish()
    assert done.code == 0, done.stderr
    wavs.assert_last(record, 880, seconds=1.5)
    still_hears(bob, 440)


@everyone
def test_held_by_them_and_resumed(table: Table, tmp_path: Path, kind: str) -> None:
    require(kind)
    bob = table.phone("bob", 880, kind)
    record = tmp_path / "in.wav"
    alice = table.person("alice")
    listening = table.listens(alice, 500, record, "--max-calls", "1")
    bob.dial(LINE.format("alice"))
    listening.wait_for("media", state="flowing")
    hear(record, 1.0)
    for command, state, seconds in ((bob.hold, "held", 1.0), (bob.resume, "answered", 2.5)):
        command()
        listening.wait_for("call", state=state)
        hear(record, seconds)
    assert alice.run("ctl", "dtmf", "7").code == 0
    listening.wait_for("dtmf", digit="7")
    bob.hang_up()
    done = listening.finish()
    assert done.code == 0, done.stderr
    wavs.assert_last(record, 880, seconds=1.5)
    still_hears(bob, 500)


@kinds("linphone", "twinkle", "pjsua")
def test_D04_transferred_by_us(table: Table, tmp_path: Path, kind: str) -> None:
    """alice sends bob's telephone to carol (sipcli): he hears carol, and carol hears him."""
    require(kind)
    bob = table.phone("bob", 880, kind)
    table.listens(table.person("carol"), 600, tmp_path / "carol.wav")
    alice = table.person("alice")
    calling = table.start(alice, "call", LINE.format("bob"), "--audio", "tone:440")
    calling.wait_for("media", state="flowing")
    done = alice.run("ctl", "transfer", LINE.format("carol"), "--json")
    assert (done.code, done.result["call"]["state"]) == (0, "ended"), (done.stdout, bob.text()[-2000:])
    assert [event["state"] for event in calling.finish().named("transfer")][-1] == "done"
    wavs.wait_for_growth(lambda: tmp_path / "carol.wav", 3.0)
    bob.hang_up()
    bob.stop()
    wavs.assert_last(bob.heard, 600, seconds=1.5)
    table.clear()
    wavs.assert_tone(tmp_path / "carol.wav", 880, seconds=2.0)


@kinds("linphone", "twinkle", "pjsua")
def test_D04_transfers_us(table: Table, tmp_path: Path, kind: str) -> None:
    """bob's telephone sends alice to carol (sipcli); alice goes, for her policy lets her."""
    require(kind)
    bob = table.phone("bob", 880, kind)
    table.listens(table.person("carol"), 660, tmp_path / "carol.wav")
    wishes = ("--transfer", "same-domain", "--max-calls", "1", "--duration", "5")
    listening = table.listens(table.person("alice"), 500, tmp_path / "in.wav", *wishes)
    bob.dial(LINE.format("alice"))
    listening.wait_for("media", state="flowing")
    bob.transfer(LINE.format("carol"))
    assert listening.wait_for("transfer", state="done")["kind"] == "blind"
    finished = listening.finish()
    assert finished.code == 0, finished.stderr
    wavs.assert_tone(tmp_path / "in-2.wav", 660, seconds=2.0)
    table.clear()
    wavs.assert_tone(tmp_path / "carol.wav", 500, seconds=2.0)


@kinds("linphone", "twinkle", "pjsua")
def test_D04_joined_by_us(table: Table, tmp_path: Path, kind: str) -> None:
    """bob's telephone and carol (sipcli) call alice, who joins them: he is sent on, by Replaces, into carol's call."""
    require(kind)
    bob = table.phone("bob", 880, kind)
    alice, record = table.person("alice"), tmp_path / "carol.wav"
    listening = table.listens(alice, 500, tmp_path / "alice.wav")
    bob.dial(LINE.format("alice"))
    listening.wait_for("call", call="call1", state="answered")
    wishes = ("--audio", "tone:700", "--record", str(record), "--transfer", "same-domain", "--duration", "8")
    calling = table.start(table.person("carol"), "call", LINE.format("alice"), *wishes)
    listening.wait_for("call", call="call2", state="answered")
    done = alice.run("ctl", "transfer", "call1", "--to", "call2", "--json")
    assert done.code == 0, (done.stdout, bob.text()[-2000:])
    assert listening.wait_for("transfer", state="done")["kind"] == "attended"
    finished = calling.finish()
    assert finished.code == 0, finished.stderr
    wavs.assert_tone(record.with_name("carol-2.wav"), 880, seconds=2.0)
    bob.stop()
    wavs.assert_last(bob.heard, 700, seconds=1.5)


@kinds("linphone", "pjsua")
def test_D04_joins_us(table: Table, tmp_path: Path, kind: str) -> None:
    """bob's telephone has called alice and carol (both sipcli): it sends alice, by Replaces, into carol's call."""
    require(kind)
    bob = table.phone("bob", 880, kind)
    wishes = ("--transfer", "same-domain", "--max-calls", "1")
    carol = table.listens(table.person("carol"), 660, tmp_path / "carol.wav", *wishes)
    alice = table.listens(table.person("alice"), 500, tmp_path / "alice.wav", *wishes, "--duration", "5")
    bob.dial(LINE.format("alice"))
    alice.wait_for("media", state="flowing")
    bob.dial_second(LINE.format("carol"))
    carol.wait_for("media", state="flowing")
    bob.join()
    assert alice.wait_for("transfer", state="done")["kind"] == "attended"
    assert carol.wait_for("transfer", state="done")["kind"] == "replaced"
    for listening in (alice, carol):
        finished = listening.finish()
        assert finished.code == 0, finished.stderr
    wavs.assert_tone(tmp_path / "alice-2.wav", 660, seconds=2.0)
    wavs.assert_tone(tmp_path / "carol-2.wav", 500, seconds=2.0)


@kinds("twinkle")
def test_D04_joins_us_when_a_person_agrees(table: Table, tmp_path: Path, kind: str) -> None:
    """twinkle names the place where alice is, and not alice: no address of our domain, so carol has to be asked."""
    require(kind)
    bob = table.phone("bob", 880, kind)
    alice = table.listens(table.person("alice"), 500, tmp_path / "alice.wav", "--max-calls", "1", "--duration", "5")
    wishes = ("--answer", "auto", "--audio", "tone:660", "--record", str(tmp_path / "carol.wav"), "--codec", "pcmu")
    with terminal(table.person("carol"), "listen", "--transfer", "ask", *wishes) as carol:
        table.registered("carol", bob.text)
        bob.dial(LINE.format("alice"))
        alice.wait_for("media", state="flowing")
        bob.dial_second(LINE.format("carol"))
        carol.expect("in call with sip:bob@")
        wavs.wait_for_growth(lambda: tmp_path / "carol.wav", 1.0)
        bob.join()
        carol.expect("go there")
        carol.send("y")
        assert alice.wait_for("transfer", state="done")["kind"] == "replaced"
        finished = alice.finish()
    assert finished.code == 0, finished.stderr
    wavs.assert_tone(tmp_path / "alice-2.wav", 660, seconds=2.0)
    wavs.assert_tone(tmp_path / "carol-2.wav", 500, seconds=2.0)


@everyone
def test_digits_to_them(table: Table, tmp_path: Path, kind: str) -> None:
    require(kind)
    bob = table.phone("bob", 880, kind)
    wishes = ("--dtmf", ",159#", "--duration", "3")
    done = table.start(table.person("alice"), "call", LINE.format("bob"), *wishes).finish()
    assert done.code == 0, done.stderr
    assert bob.pressed() == "159#", bob.text()[-2000:]


@everyone
def test_digits_of_theirs(table: Table, tmp_path: Path, kind: str) -> None:
    require(kind)
    bob = table.phone("bob", 880, kind)
    listening = table.listens(table.person("alice"), 500, tmp_path / "in.wav", "--max-calls", "1")
    bob.dial(LINE.format("alice"))
    listening.wait_for("media", state="flowing")
    bob.press("1590")
    listening.wait_for("dtmf", digit="0")
    bob.hang_up()
    done = listening.finish()
    assert done.code == 0, done.stderr
    assert "".join(event["digit"] for event in done.named("dtmf") if event["direction"] == "in") == "1590"


@kinds("linphone", "twinkle", "pjsua")
def test_a_message_to_them(table: Table, kind: str) -> None:
    require(kind)
    bob = table.phone("bob", 880, kind)
    done = table.person("alice").run("message", LINE.format("bob"), "good morning", "--json")
    assert done.code == 0, done.stderr
    until(lambda: "good morning" in bob.text(), bob.text)


@everyone
def test_a_message_of_theirs(table: Table, tmp_path: Path, kind: str) -> None:
    require(kind)
    bob = table.phone("bob", 880, kind, **({"contacts": ("alice",)} if kind == "baresip" else {}))
    listening = table.listens(table.person("alice"), 500, tmp_path / "in.wav", "--max-calls", "1")
    bob.write(LINE.format("alice"), "good evening")
    got = listening.wait_for("message")
    assert (got["direction"], got["body"]) == ("in", "good evening")
    assert got["remote"].startswith("sip:bob@sip.test")


@pytest.mark.parametrize(("kind", "codec"), [*each("linphone", "opus", "g722"), *each("pjsua", "g722")])
@pytest.mark.parametrize("calls", [call_out, call_in])
def test_codec(table: Table, tmp_path: Path, kind: str, codec: str, calls: Callable[..., dict[str, Any]]) -> None:
    require("opus")
    agreed = calls(table, tmp_path, kind, "--codec", codec, codec=codec)
    assert agreed["codec"] == codec.upper()


@pytest.mark.parametrize(("kind", "keys"), [*each("linphone", "none", "srtp", "dtls"), *each("pjsua", "none", "srtp")])
@pytest.mark.parametrize("calls", [call_out, call_in])
def test_tls_and_srtp(
    tables: Callable[..., Table],
    certs: Path,
    tmp_path: Path,
    kind: str,
    keys: str,
    calls: Callable[..., dict[str, Any]],
) -> None:
    require("srtp", "dtls")
    policy = {"none": 'srtp = "optional"', "srtp": 'srtp = "required"', "dtls": 'srtp = "required"\nsrtp_keys = "dtls"'}
    more = f'{policy[keys]}\nca_file = "{certs / "ca.pem"}"'
    agreed = calls(
        tables(tls=True), tmp_path, kind, transport="tls", more=more, ca=certs / "ca.pem", encryption=keys
    )  # fmt: skip
    assert bool(agreed["srtp"]) is (keys != "none")
    assert agreed.get("srtp_keys") == {"none": None, "srtp": "sdes", "dtls": "dtls"}[keys]


@kinds("baresip", "linphone")
@pytest.mark.parametrize("calls", [call_out, call_in])
def test_ipv6(tables: Callable[..., Table], tmp_path: Path, kind: str, calls: Callable[..., dict[str, Any]]) -> None:
    agreed = calls(tables("V6", host="::1"), tmp_path, kind)
    assert agreed["remote"].startswith("[::1]:"), agreed
