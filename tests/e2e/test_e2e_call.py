"""`sipcli call` and `listen` through Kamailio, to phones that nobody here wrote; each test listens to the audio."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support import wavs
from tests.support.cli import Cli
from tests.support.real import require
from tests.support.servers import sipp
from tests.support.servers.baresip import Baresip
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]


def ready(cli: Cli, server: str, **options: str) -> None:
    path = cli.secret("secret", "secret123")
    cli.configure(account(server, **options) + FILE_PROVIDER.format(path=path))


@pytest.mark.real("baresip")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_call_to_baresip_is_heard_on_both_sides(
    cli: Cli, kamailio: Kamailio, bob: Baresip, tmp_path: Path, transport: str
) -> None:
    ready(cli, kamailio.address(), transport=transport)
    record = tmp_path / "rx.wav"
    done = cli.run(
        "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(record), "--duration", "3"
    )
    assert done.code == 0, done.stderr
    assert any("INVITE user=alice" in line and line.endswith("verdict=1") for line in kamailio.verdicts())
    assert any(event["code"] == 407 for event in done.named("auth.challenged"))
    assert [event["state"] for event in done.named("call")][-1] == "ended"
    wavs.assert_tone(record, 880, seconds=2.0)
    wavs.assert_tone(bob.heard, 440, seconds=2.0)
    assert done.result["call"]["codec"] in ("PCMU", "PCMA")
    assert done.result["call"]["audio"]["tone_hz"] == pytest.approx(880, abs=8)


@pytest.mark.real("sipp")
def test_call_to_sipp_hears_its_own_echo(cli: Cli, tmp_path: Path) -> None:
    require("sipp")
    callee = sipp.SippCallee(tmp_path / "sipp", "uas_answer")
    try:
        record = tmp_path / "rx.wav"
        done = cli.run(
            "call", f"sip:callee@127.0.0.1:{callee.port}", "--from", "sip:alice@sip.test", "--no-register", "--json",
            "--audio", "tone:600", "--record", str(record), "--duration", "2",
        )  # fmt: skip
        assert done.code == 0, done.stderr
        assert callee.result() == 0, callee.why()
        wavs.assert_tone(record, 600, seconds=1.0)
    finally:
        callee.stop()


@pytest.mark.real("sipp")
def test_the_callee_hangs_up(cli: Cli, tmp_path: Path) -> None:
    require("sipp")
    callee = sipp.SippCallee(tmp_path / "sipp", "uas_bye")
    try:
        done = cli.run(
            "call", f"sip:callee@127.0.0.1:{callee.port}", "--from", "sip:alice@sip.test", "--no-register", "--json"
        )
        assert done.code == 0, done.stderr
        assert callee.result() == 0, callee.why()
        assert done.named("call")[-1]["by"] == "remote"
    finally:
        callee.stop()


@pytest.mark.real("baresip")
def test_listen_takes_a_call_from_baresip(cli: Cli, kamailio: Kamailio, bob: Baresip, tmp_path: Path) -> None:
    ready(cli, kamailio.address())
    record = tmp_path / "in.wav"
    listening = cli.start(
        "listen", "--json", "--answer", "auto", "--audio", "tone:500", "--record", str(record), "--max-calls", "1"
    )
    try:
        listening.wait_for("ready")
        bob.dial("sip:alice@sip.test")
        listening.wait_for("call", state="answered")
        listening.wait_for("media", state="flowing")
        wavs.wait_for_growth(lambda: bob.heard, 2.5)
        bob.hang_up()
        listening.wait_for("call", state="ended", by="remote")
        done = listening.finish()
    finally:
        listening.kill()
    assert done.code == 0, done.stderr
    wavs.assert_tone(bob.heard, 500, seconds=1.5)
    wavs.assert_tone(record, 880, seconds=1.5)


@pytest.mark.real("sipp")
def test_listen_takes_a_call_from_sipp(cli: Cli, kamailio: Kamailio, tmp_path: Path) -> None:
    require("sipp")
    path = cli.secret("secret", "bobpass")
    cli.configure(account(kamailio.address(), user="bob") + FILE_PROVIDER.format(path=path))
    record = tmp_path / "in.wav"
    listening = cli.start(
        "listen", "--json", "--answer", "auto", "--audio", "echo", "--record", str(record), "--max-calls", "1"
    )
    try:
        listening.wait_for("ready")
        caller = sipp.call(tmp_path / "sipp", "uac_call", kamailio.address(), "bob", tone=440)
        assert caller.returncode == 0, caller.stdout[-800:]
        done = listening.finish()
    finally:
        listening.kill()
    assert done.code == 0, done.stderr
    wavs.assert_tone(record, 440, seconds=1.5)


@pytest.mark.parametrize(
    ("code", "status"),
    [(486, 6), (603, 6), (600, 6), (404, 11), (604, 11), (484, 11), (488, 12), (480, 5), (503, 7)],
)
def test_each_refusal_has_its_exit_status(cli: Cli, kamailio: Kamailio, code: int, status: int) -> None:
    ready(cli, kamailio.address())
    done = cli.run("call", f"sip:code-{code}@sip.test", "--json", "--no-register", "--timeout", "5")
    assert done.code == status, done.stderr
    assert done.result["code"] == code
    assert "Traceback" not in done.stderr


def test_hanging_up_by_sigint_cancels_and_leaves(cli: Cli, kamailio: Kamailio, tmp_path: Path) -> None:
    require("baresip")
    phone = Baresip(tmp_path / "carol", kamailio.address(), user="carol", password="carolpass", answer="manual")
    try:
        ready(cli, kamailio.address())
        calling = cli.start("call", "sip:carol@sip.test", "--json")
        try:
            calling.wait_for("call", state="ringing")
            calling.signal(signal.SIGINT)
            done = calling.finish()
        finally:
            calling.kill()
        assert done.code == 130
        assert kamailio.contacts("alice") == []
    finally:
        phone.stop()
