"""Calls that find their path by ICE: to ourselves and to baresip, directly and by coturn; each test listens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support import wavs
from tests.support.cli import Cli, Result
from tests.support.real import require
from tests.support.servers.baresip import Baresip
from tests.support.servers.coturn import PASSWORD, USER, Coturn
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.process import free_port

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]

TURN_PROVIDER = """
[providers.vault-turn]
type = "file"
path = "{path}"
"""


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory, certs: Path) -> Iterator[Coturn]:
    require("coturn", "ice")
    server = Coturn(tmp_path_factory.mktemp("coturn"), certs=certs)
    yield server
    server.stop()


def _turn(server: str) -> str:
    return f'turn = "{server}"\nturn_username = "{USER}"\nturn_credentials = ["vault-turn"]\n'


def _ready(cli: Cli, server: str, more: str, *, user: str = "alice", secret: str = PASSWORD) -> None:
    sip = cli.secret("secret", {"alice": "secret123", "bob": "bobpass"}[user])
    turn = cli.secret("turn", secret)
    cli.configure(
        account(server, user=user, more=more) + FILE_PROVIDER.format(path=sip) + TURN_PROVIDER.format(path=turn)
    )


def _ways(done: Result) -> set[str | None]:
    return {event["ice"] for event in done.named("media") if event["state"] == "flowing"}


def _call_each_other(
    tmp_path: Path, server: str, ours: str, theirs: str, *, secret: str = PASSWORD
) -> tuple[Result, Result]:
    """alice, with *ours*, calls bob, with *theirs*; both are sipcli, and both are listened to."""
    alice, bob = Cli(tmp_path / "alice"), Cli(tmp_path / "bob")
    _ready(alice, server, ours, secret=secret)
    _ready(bob, server, theirs, user="bob")
    heard = {name: tmp_path / f"{name}.wav" for name in ("alice", "bob")}
    listening = bob.start(
        "listen", "--json", "--answer", "auto", "--audio", "tone:880", "--record", str(heard["bob"]), "--max-calls", "1"
    )
    try:
        listening.wait_for("ready")
        done = alice.run(
            "call",
            "sip:bob@sip.test",
            "--json",
            "--audio",
            "tone:440",
            "--record",
            str(heard["alice"]),
            "--duration",
            "3",
        )
        other = listening.finish()
    finally:
        listening.kill()
    assert done.code == 0, done.stderr
    assert other.code == 0, other.stderr
    wavs.assert_tone(heard["alice"], 880, seconds=2.0)
    wavs.assert_tone(heard["bob"], 440, seconds=2.0)
    return done, other


def test_E04_two_sipclis_find_each_other_directly(kamailio: Kamailio, coturn: Coturn, tmp_path: Path) -> None:
    more = f'ice = "required"\nstun = "{coturn.stun}"\n'
    done, other = _call_each_other(tmp_path, kamailio.address(), more, more)
    assert _ways(done) == _ways(other) == {"host"}


@pytest.mark.parametrize("scheme", ["turn", "turn-tcp", "turns"])
def test_E04_through_a_relay_and_nothing_else(
    kamailio: Kamailio, coturn: Coturn, certs: Path, tmp_path: Path, scheme: str
) -> None:
    """UDP, TCP and TLS to the TURN server; neither SDP names an address of a phone."""
    server = {"turn": coturn.turn, "turn-tcp": f"{coturn.turn}?transport=tcp", "turns": coturn.turns}[scheme]
    more = f'ice = "relay"\nca_file = "{certs / "ca.pem"}"\n' + _turn(server)
    channels = coturn.channels()
    done, other = _call_each_other(tmp_path, kamailio.address(), more, more)
    assert _ways(done) == _ways(other) == {"relay"}
    assert coturn.channels() >= channels + 2  # one from either side
    for side in (done, other):
        assert PASSWORD not in side.stdout + side.stderr


def test_E04_one_side_behind_a_relay(kamailio: Kamailio, coturn: Coturn, tmp_path: Path) -> None:
    done, _ = _call_each_other(
        tmp_path, kamailio.address(), 'ice = "relay"\n' + _turn(coturn.turn), 'ice = "optional"\n'
    )
    assert _ways(done) == {"relay"}


def test_E04_a_wrong_turn_password_is_a_sentence_and_the_call_goes_on(
    kamailio: Kamailio, coturn: Coturn, tmp_path: Path
) -> None:
    more = 'ice = "optional"\n'
    done, _ = _call_each_other(tmp_path, kamailio.address(), more + _turn(coturn.turn), more, secret="wrong")
    warnings = [event["message"] for event in done.named("warning")]
    assert [text for text in warnings if f"the TURN server {coturn.turn} refused the password of {USER}" in text], (
        warnings
    )
    assert _ways(done) == {"host"}


def test_E04_a_turn_server_that_is_away_costs_a_sentence(kamailio: Kamailio, tmp_path: Path) -> None:
    require("ice")
    away = f"turn:127.0.0.1:{free_port()}"
    done, _ = _call_each_other(tmp_path, kamailio.address(), 'ice = "optional"\n' + _turn(away), 'ice = "optional"\n')
    warnings = [event["message"] for event in done.named("warning")]
    assert any(f"the TURN server {away} does not answer" in text for text in warnings), warnings


def test_E04_relay_with_a_wrong_password_is_exit_12(cli: Cli, kamailio: Kamailio, coturn: Coturn) -> None:
    _ready(cli, kamailio.address(), 'ice = "relay"\n' + _turn(coturn.turn), secret="wrong")
    done = cli.run("call", "sip:bob@sip.test", "--json", "--duration", "2")
    assert done.code == 12, (done.code, done.stderr)
    assert "no relay" in done.stderr + done.stdout


def _baresip(tmp_path: Path, kamailio: Kamailio, coturn: Coturn) -> Baresip:
    require("baresip")
    return Baresip(tmp_path / "bob", kamailio.address(), nat="ice", stun=coturn.stun)


def test_E04_to_baresip_with_ice(cli: Cli, kamailio: Kamailio, coturn: Coturn, tmp_path: Path) -> None:
    phone = _baresip(tmp_path, kamailio, coturn)
    try:
        _ready(cli, kamailio.address(), f'ice = "required"\nstun = "{coturn.stun}"\n')
        record = tmp_path / "rx.wav"
        done = cli.run(
            "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(record), "--duration", "4"
        )
        assert done.code == 0, (done.stderr, phone.server.text()[-3000:])
        assert _ways(done) <= {"host", "prflx", "srflx"}
        wavs.assert_tone(record, 880, seconds=2.0)
        wavs.assert_tone(phone.heard, 440, seconds=2.0)
    finally:
        phone.stop()


def test_E04_to_baresip_with_ice_through_our_relay(
    cli: Cli, kamailio: Kamailio, coturn: Coturn, tmp_path: Path
) -> None:
    phone = _baresip(tmp_path, kamailio, coturn)
    try:
        _ready(cli, kamailio.address(), 'ice = "relay"\n' + _turn(coturn.turn))
        record = tmp_path / "rx.wav"
        done = cli.run(
            "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(record), "--duration", "4"
        )
        assert done.code == 0, (done.stderr, phone.server.text()[-3000:])
        assert _ways(done) == {"relay"}
        wavs.assert_tone(record, 880, seconds=2.0)
        wavs.assert_tone(phone.heard, 440, seconds=2.0)
    finally:
        phone.stop()


def test_E04_from_baresip_with_ice(cli: Cli, kamailio: Kamailio, coturn: Coturn, tmp_path: Path) -> None:
    phone = _baresip(tmp_path, kamailio, coturn)
    try:
        _ready(cli, kamailio.address(), 'ice = "required"\n')
        record = tmp_path / "in.wav"
        wishes = ("--audio", "tone:500", "--record", str(record), "--max-calls", "1", "--duration", "4")
        listening = cli.start("listen", "--json", "--answer", "auto", *wishes)
        try:
            listening.wait_for("ready")
            phone.dial("sip:alice@sip.test")
            done = listening.finish()
        finally:
            listening.kill()
        assert done.code == 0, (done.stderr, phone.server.text()[-3000:])
        wavs.assert_tone(record, 880, seconds=2.0)
        wavs.assert_tone(phone.heard, 500, seconds=2.0)
    finally:
        phone.stop()


@pytest.mark.parametrize(("policy", "code"), [("optional", 0), ("required", 12)])
def test_E04_a_phone_without_ice(cli: Cli, kamailio: Kamailio, bob: Baresip, policy: str, code: int) -> None:
    require("ice")
    _ready(cli, kamailio.address(), f'ice = "{policy}"\n')
    done = cli.run("call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--duration", "3")
    assert done.code == code, (done.code, done.stderr)
    if policy == "optional":
        assert _ways(done) == {None}
        wavs.assert_tone(bob.heard, 440, seconds=2.0)


def test_T14_the_ice_password_is_in_no_trace(cli: Cli, kamailio: Kamailio, bob: Baresip) -> None:
    """Fails without the ``a=ice-pwd`` of ``sipcli/ua/net/wirelog.py``."""
    require("ice")
    _ready(cli, kamailio.address(), 'ice = "optional"\n')
    trace = cli.home / "trace.jsonl"
    done = cli.run("call", "sip:bob@sip.test", "--json", "-vv", "--trace", str(trace), "--duration", "1")
    assert done.code == 0, done.stderr
    said = done.stdout + done.stderr + trace.read_text()
    assert "a=ice-ufrag:" in said
    assert "a=ice-pwd:" in said
    assert set(re.findall(r"a=ice-pwd:([^\\\r\n]*)", said)) == {"***"}
