"""One INVITE, several telephones: what a proxy that forks makes of our call, and what we owe to each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartKamailio
from tests.support import wavs
from tests.support.cli import Running
from tests.support.real import require
from tests.support.servers.baresip import Baresip
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.sipp import SippCallee
from tests.support.table import Table

pytestmark = [
    pytest.mark.real("kamailio"),
    pytest.mark.real("baresip"),
    pytest.mark.real("sipp"),
    pytest.mark.xdist_group("kamailio"),
]


@pytest.fixture
def table(tmp_path: Path, kamailio: Kamailio) -> Iterator[Table]:
    require("baresip", "sipp")
    made = Table(tmp_path, kamailio)
    yield made
    made.clear()


def two_phones(table: Table, kamailio: Kamailio, place: Path, scenario: str) -> tuple[Baresip, SippCallee]:
    """bob has a baresip that rings until he takes it, and a SIPp that does what *scenario* says."""
    phone = table.phone("bob", 880, answer="manual")
    assert isinstance(phone, Baresip)
    other = SippCallee(place / "sipp", scenario)
    kamailio.bind("bob", f"sip:bob@127.0.0.1:{other.port}")
    return phone, other


def until_both_ring(calling: Running) -> None:
    tags: set[str] = set()
    while len(tags) < 2:
        said = calling.wait_for("trace", direction="in")
        if said["start_line"].startswith("SIP/2.0 180 "):
            tags |= {line for line in said["sip"].splitlines() if line.lower().startswith("to:")}


def sent(calling: Running, method: str) -> list[str]:
    """Whom we sent *method* to: the Request-URIs, oldest first."""
    lines = [e["start_line"] for e in calling.events if e["event"] == "trace" and e["direction"] == "out"]
    return [line.split()[1] for line in lines if line.startswith(f"{method} ")]


def test_B07_the_first_to_answer_has_the_call_and_the_other_is_called_off(
    table: Table, kamailio: Kamailio, tmp_path: Path
) -> None:
    bob, other = two_phones(table, kamailio, tmp_path, "uas_fork_lost")
    try:
        record = tmp_path / "rx.wav"
        words = ("--audio", "tone:440", "--record", str(record), "-vv")
        calling = table.start(table.person("alice"), "call", "sip:bob@sip.test", *words, "--duration", "3")
        until_both_ring(calling)
        bob.say("accept")
        calling.wait_for("call", state="answered")
        assert other.result() == 0, other.why()
        finished = calling.finish()
        assert finished.code == 0, finished.stderr
        assert [event["state"] for event in finished.named("call") if event["state"] == "ringing"] == ["ringing"]
        wavs.assert_tone(record, 880, seconds=1.5)
        wavs.assert_tone(bob.heard, 440, seconds=1.5)
    finally:
        other.stop()


def test_B07_who_answers_too_late_is_acknowledged_and_hung_up(table: Table, kamailio: Kamailio, tmp_path: Path) -> None:
    """His 200 crosses the CANCEL of the proxy: one call is left, and it is the first one."""
    bob, other = two_phones(table, kamailio, tmp_path, "uas_fork_late")
    try:
        record = tmp_path / "rx.wav"
        words = ("--audio", "tone:440", "--record", str(record), "-vv")
        calling = table.start(table.person("alice"), "call", "sip:bob@sip.test", *words, "--duration", "4")
        until_both_ring(calling)
        bob.say("accept")
        calling.wait_for("call", state="answered")
        assert other.result() == 0, other.why()
        finished = calling.finish()
        assert finished.code == 0, finished.stderr
        late = f"sip:late@127.0.0.1:{other.port}"
        assert (sent(calling, "ACK").count(late), sent(calling, "BYE").count(late)) == (1, 1)
        assert [event["state"] for event in finished.named("call")].count("answered") == 1
        wavs.assert_last(record, 880, seconds=1.5)
        wavs.assert_tone(bob.heard, 440, seconds=1.5)
    finally:
        other.stop()


def test_A07_branches_that_ask_at_both_doors_are_answered_in_one_retry(
    tmp_path: Path, start_kamailio: StartKamailio
) -> None:
    """One wants a 407 of sip.test answered, the other one a 401 of its own realm, which it verifies."""
    require("sipp")
    server = start_kamailio("OPEN")
    table = Table(tmp_path, server)
    alice = table.person("alice")
    there = alice.secret("there", "branchpass")
    config = alice.home / ".config" / "sipcli" / "config.toml"
    config.write_text(
        config.read_text()
        + f'[providers.there]\ntype = "file"\npath = "{there}"\n'
        + '[accounts.work.realms."branch.test"]\nusername = "alice-there"\ncredentials = ["there"]\n'
    )
    phones = {name: SippCallee(tmp_path / name, name) for name in ("uas_407", "uas_fork_401")}
    try:
        for phone in phones.values():
            server.bind("carol", f"sip:carol@127.0.0.1:{phone.port}")
        record = tmp_path / "rx.wav"
        words = ("--audio", "tone:600", "--record", str(record), "-vv", "--no-register")
        calling = table.start(alice, "call", "sip:carol@sip.test", *words, "--duration", "2")
        assert {name: phone.result() for name, phone in phones.items()} == dict.fromkeys(phones, 0), [
            phone.why() for phone in phones.values()
        ]
        finished = calling.finish()
        assert finished.code == 0, finished.stderr
        assert len(sent(calling, "INVITE")) == 2
        wavs.assert_tone(record, 600, seconds=1.0)
    finally:
        table.clear()
        for phone in phones.values():
            phone.stop()
