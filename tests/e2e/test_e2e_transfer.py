"""Transfers with phones that nobody here wrote, through Kamailio: who hears whom afterwards, and who is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartKamailio
from tests.support import wavs
from tests.support.cli import Cli
from tests.support.real import require
from tests.support.servers import sipp
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.process import free_port
from tests.support.table import Table

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]


@pytest.fixture
def table(tmp_path: Path, kamailio: Kamailio) -> Iterator[Table]:
    made = Table(tmp_path, kamailio)
    yield made
    made.clear()


@pytest.mark.real("baresip")
def test_D04_baresip_is_transferred_by_us(table: Table, tmp_path: Path) -> None:
    """alice (sipcli) sends bob (baresip) to carol (sipcli): he hears carol, and carol hears him."""
    require("baresip")
    bob = table.phone("bob", 880)
    table.listens(table.person("carol"), 600, tmp_path / "carol.wav")
    alice = table.person("alice")
    calling = table.start(alice, "call", "sip:bob@sip.test", "--audio", "tone:440")
    calling.wait_for("call", state="answered")
    done = alice.run("ctl", "transfer", "sip:carol@sip.test", "--json")
    assert (done.code, done.result["call"]["state"]) == (0, "ended"), done.stderr
    ended = calling.finish()
    assert ended.code == 0, ended.stderr
    assert [event["state"] for event in ended.named("transfer")][-1] == "done"
    wavs.wait_for_growth(lambda: tmp_path / "carol.wav", 3.0)
    wavs.wait_for_growth(lambda: bob.heard, 3.0)
    bob.hang_up()
    wavs.assert_tone(bob.heard, 600, seconds=2.0)
    table.clear()
    wavs.assert_tone(tmp_path / "carol.wav", 880, seconds=2.0)


@pytest.mark.real("baresip")
def test_D04_baresip_transfers_us(table: Table, tmp_path: Path) -> None:
    """bob (baresip) sends alice (sipcli) to carol (baresip too): alice goes, for her policy lets her."""
    require("baresip")
    bob, carol = table.phone("bob", 880), table.phone("carol", 660)
    wishes = ("--transfer", "same-domain", "--max-calls", "1", "--duration", "8")
    listening = table.listens(table.person("alice"), 500, tmp_path / "in.wav", *wishes)
    bob.dial("sip:alice@sip.test")
    listening.wait_for("call", state="answered")
    wavs.wait_for_growth(lambda: bob.heard, 1.0)
    bob.transfer("sip:carol@sip.test")
    done = listening.wait_for("transfer", state="done")
    assert (done["kind"], done["direction"], done["code"]) == ("blind", "in", 200)
    finished = listening.finish()
    assert finished.code == 0, finished.stderr
    wavs.assert_tone(tmp_path / "in.wav", 880, seconds=0.5)
    wavs.assert_tone(tmp_path / "in-2.wav", 660, seconds=2.0)
    wavs.assert_tone(carol.heard, 500, seconds=2.0)


@pytest.mark.real("baresip")
def test_T22_baresip_transfers_us_and_nobody_is_there_to_ask(table: Table, tmp_path: Path) -> None:
    require("baresip")
    bob, carol = table.phone("bob", 880), table.phone("carol", 660)
    listening = table.listens(table.person("alice"), 500, tmp_path / "in.wav", "--max-calls", "1", "--duration", "4")
    bob.dial("sip:alice@sip.test")
    listening.wait_for("call", state="answered")
    wavs.wait_for_growth(lambda: bob.heard, 1.5)
    bob.transfer("sip:carol@sip.test")
    refused = listening.wait_for("transfer", state="refused")
    assert (refused["code"], refused["target"]) == (603, "sip:carol@sip.test")
    assert listening.finish().code == 0
    assert "Incoming call" not in carol.text(), "carol was never called"
    wavs.assert_tone(tmp_path / "in.wav", 880, seconds=0.5)  # then baresip holds the call, as one does


def test_D04_two_callers_are_joined(table: Table, tmp_path: Path) -> None:
    """bob and carol call alice, who joins them: REFER with Replaces, through a server that is not ours."""
    alice = table.person("alice")
    listening = table.listens(alice, 500, tmp_path / "alice.wav")
    callers = {}
    for user, tone, call in (("bob", 440, "call1"), ("carol", 800, "call2")):
        wishes = ("--audio", f"tone:{tone}", "--record", str(tmp_path / f"{user}.wav"), "--transfer", "same-domain")
        callers[user] = table.start(table.person(user), "call", "sip:alice@sip.test", "--duration", "8", *wishes)
        listening.wait_for("call", call=call, state="answered")
    done = alice.run("ctl", "transfer", "call1", "--to", "call2", "--json")
    assert done.code == 0, done.stdout + done.stderr
    assert listening.wait_for("transfer", state="done")["kind"] == "attended"
    assert callers["carol"].wait_for("transfer", state="done")["kind"] == "replaced"
    for running in callers.values():
        finished = running.finish()
        assert finished.code == 0, finished.stderr
    wavs.assert_tone(tmp_path / "bob-2.wav", 800, seconds=2.0)
    wavs.assert_tone(tmp_path / "carol-2.wav", 440, seconds=2.0)


@pytest.mark.real("sipp")
def test_D04_sipp_sends_us_on_and_hears_how_it_went(table: Table, kamailio: Kamailio, tmp_path: Path) -> None:
    require("sipp")
    listening = table.listens(
        table.person("bob", transport="tcp"), 500, tmp_path / "in.wav", "--transfer", "same-domain", "--max-calls", "1"
    )
    keys = {"target": "sip:code-486@sip.test"}
    caller = sipp.call(tmp_path / "sipp", "uac_refer", kamailio.address("tcp"), "bob", transport="t1", keys=keys)
    assert caller.returncode == 0, caller.stdout[-800:] + (tmp_path / "sipp" / "errors.log").read_text()
    assert listening.wait_for("transfer", state="failed")["code"] == 486
    assert listening.finish().code == 0


@pytest.mark.real("sipp")
@pytest.mark.parametrize(
    ("policy", "target", "status"),
    [
        ("ask", "sip:carol@sip.test", "603"),
        ("refuse", "sip:carol@sip.test", "603"),
        ("same-domain", "sip:carol@elsewhere.example", "603"),
        ("same-domain", "sip:+4990012345678@sip.test", "603"),
        ("same-domain", "tel:+4990012345678", "416"),
        ("same-domain", "sip:bob@sip.test", "482"),
    ],
)
def test_T22_sipp_sends_us_on_in_vain(
    table: Table, kamailio: Kamailio, tmp_path: Path, policy: str, target: str, status: str
) -> None:
    require("sipp")
    listening = table.listens(table.person("bob"), 500, tmp_path / "in.wav", "--transfer", policy, "--max-calls", "1")
    keys = {"target": target, "status": status}
    caller = sipp.call(tmp_path / "sipp", "uac_refer_refused", kamailio.address(), "bob", keys=keys)
    assert caller.returncode == 0, caller.stdout[-800:] + (tmp_path / "sipp" / "errors.log").read_text()
    finished = listening.finish()
    assert finished.code == 0, finished.stderr
    assert len({event["call"] for event in finished.named("call")}) == 1, "nobody was called"


@pytest.mark.real("sipp")
def test_D04_we_send_sipp_on(table: Table, tmp_path: Path) -> None:
    require("sipp")
    callee = sipp.SippCallee(tmp_path / "sipp", "uas_refer")
    alice = table.person("alice")
    try:
        where = f"sip:callee@127.0.0.1:{callee.port}"
        control = tmp_path / f"control-{free_port()}"
        direct = ("--from", "sip:alice@nowhere.test", "--no-register", "--control", str(control))
        calling = table.start(alice, "call", where, "--audio", "tone:440", *direct)
        calling.wait_for("call", state="answered")
        done = alice.run("ctl", "transfer", "sip:carol@sip.test", "--control", str(control))
        assert done.code == 0, done.stderr + callee.why()
        assert callee.result() == 0, callee.why()
        finished = calling.finish()
        assert (finished.code, finished.named("transfer")[-1]["state"]) == (0, "done")
    finally:
        callee.stop()


def test_A24_a_server_that_challenges_the_refer_is_answered(tmp_path: Path, start_kamailio: StartKamailio) -> None:
    server = start_kamailio("WITHIN")
    table = Table(tmp_path, server)
    try:
        table.listens(table.person("bob"), 600, tmp_path / "bob.wav", "--transfer", "refuse")
        alice = table.person("alice")
        calling = table.start(alice, "call", "sip:bob@sip.test")
        calling.wait_for("call", state="answered")
        done = alice.run("ctl", "transfer", "sip:carol@sip.test", "--json")
        assert done.code == 1 and "603" in done.result["message"], done.stdout
        assert any("REFER user=alice" in line and line.endswith("verdict=1") for line in server.verdicts())
        assert alice.run("ctl", "hangup").code == 0
        assert calling.finish().code == 0
    finally:
        table.clear()


def redirected(cli: Cli, place: Path, contact: str, *words: str) -> tuple[sipp.SippCallee, list[str]]:
    """A SIPp that says 302 with *contact*, and the words of a call to it; our domain is 127.0.0.1."""
    server = sipp.SippCallee(place / "moved", "uas_302", keys={"contact": contact})
    who = ("--from", "sip:alice@127.0.0.1", "--no-register", "--json", "--codec", "pcmu")
    return server, ["call", f"sip:callee@127.0.0.1:{server.port}", *who, *words]


@pytest.mark.real("sipp")
@pytest.mark.parametrize(
    ("policy", "contact"),
    [
        ("refuse", "sip:callee@127.0.0.1"),
        ("ask", "sip:callee@127.0.0.1"),
        ("same-domain", "sip:other@192.0.2.7"),
        ("same-domain", "sip:+4990012345678@127.0.0.1"),
        ("same-domain", "tel:+4990012345678"),
        ("same-domain", "sip:alice@127.0.0.1"),
    ],
)
def test_T22_sipp_redirects_us_in_vain(cli: Cli, tmp_path: Path, policy: str, contact: str) -> None:
    require("sipp")
    server, words = redirected(cli, tmp_path, contact, "--redirect", policy)
    try:
        done = cli.run(*words)
        assert server.result() == 0, server.why()
        assert done.code != 0 and done.result["code"] == 302, done.stdout
        assert "--redirect" in done.result["hint"]
        assert not [event for event in done.named("transfer") if event["state"] != "refused"]
    finally:
        server.stop()


@pytest.mark.real("sipp")
def test_sipp_redirects_us_to_somebody_of_our_domain(cli: Cli, tmp_path: Path) -> None:
    """He answers at our registrar's address, and echoes."""
    require("sipp")
    callee = sipp.SippCallee(tmp_path / "callee", "uas_answer")
    record = tmp_path / "rx.wav"
    more = ("--redirect", "same-domain", "--registrar", f"127.0.0.1:{callee.port}", "--audio", "tone:600")
    server, words = redirected(cli, tmp_path, "sip:other@127.0.0.1", *more, "--record", str(record), "--duration", "2")
    try:
        done = cli.run(*words)
        assert done.code == 0, done.stdout
        assert (server.result(), callee.result()) == (0, 0), server.why() + callee.why()
        assert done.named("transfer")[0]["target"] == "sip:other@127.0.0.1"
        wavs.assert_tone(record, 600, seconds=1.0)
    finally:
        server.stop()
        callee.stop()
