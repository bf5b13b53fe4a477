"""What baresip and we agree on, heard on both sides: codecs, and audio encrypted by keys in the SDP or by DTLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, StartKamailio, account
from tests.support import wavs
from tests.support.cli import Cli
from tests.support.real import require
from tests.support.servers.baresip import Baresip
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]

CODECS = {"opus": "opus/48000/2", "g722": "G722/16000/1", "pcma": "PCMA/8000/1"}


def _ready(cli: Cli, server: str, **options: str) -> None:
    path = cli.secret("secret", "secret123")
    cli.configure(account(server, **options) + FILE_PROVIDER.format(path=path))


@pytest.mark.parametrize("codec", CODECS)
def test_call_out_with(cli: Cli, kamailio: Kamailio, tmp_path: Path, codec: str) -> None:
    require("baresip", "opus")
    phone = Baresip(tmp_path / "bob", kamailio.address(), codecs=CODECS[codec])
    try:
        _ready(cli, kamailio.address())
        record = tmp_path / "rx.wav"
        wishes = ("--audio", "tone:440", "--record", str(record), "--duration", "3")
        done = cli.run("call", "sip:bob@sip.test", "--json", *wishes)
        assert done.code == 0, done.stderr
        assert done.result["call"]["codec"] == codec.upper()
        wavs.assert_tone(record, 880, seconds=2.0)
        wavs.assert_tone(phone.heard, 440, seconds=2.0)
        assert done.result["call"]["audio"]["longest_gap_ms"] <= 300
    finally:
        phone.stop()


@pytest.mark.parametrize("codec", CODECS)
def test_call_in_with(cli: Cli, kamailio: Kamailio, tmp_path: Path, codec: str) -> None:
    require("baresip", "opus")
    phone = Baresip(tmp_path / "bob", kamailio.address(), codecs=CODECS[codec])
    try:
        _ready(cli, kamailio.address())
        record = tmp_path / "in.wav"
        wishes = ("--audio", "tone:500", "--record", str(record), "--max-calls", "1", "--duration", "3")
        listening = cli.start("listen", "--json", "--answer", "auto", *wishes)
        try:
            listening.wait_for("ready")
            phone.dial("sip:alice@sip.test")
            done = listening.finish()
        finally:
            listening.kill()
        assert done.code == 0, done.stderr
        flowing = next(event for event in done.named("media") if event["state"] == "flowing")
        assert flowing["codec"] == codec.upper()
        wavs.assert_tone(record, 880, seconds=2.0)
        wavs.assert_tone(phone.heard, 500, seconds=2.0)
    finally:
        phone.stop()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("optional", "srtp"), ("required", "srtp-mand"), ("optional", None)],
)
def test_E02_call_out_over_tls_with_srtp(
    cli: Cli, start_kamailio: StartKamailio, certs: Path, tmp_path: Path, ours: str, theirs: str | None
) -> None:
    require("baresip", "srtp")
    server = start_kamailio(tls=True)
    phone = Baresip(tmp_path / "bob", server.address("tls"), transport="tls", ca=certs / "ca.pem", encryption=theirs)
    try:
        more = f'srtp = "{ours}"\nca_file = "{certs / "ca.pem"}"'
        _ready(cli, server.address("tls"), transport="tls", more=more)
        record = tmp_path / "rx.wav"
        wishes = ("--audio", "tone:440", "--codec", "pcma", "--record", str(record), "--duration", "3")
        done = cli.run("call", "sip:bob@sip.test", "--json", *wishes)
        assert done.code == 0, done.stderr
        negotiated = next(event for event in done.named("media") if event["state"] == "negotiated")
        assert bool(negotiated["srtp"]) == (theirs is not None)
        wavs.assert_tone(record, 880, seconds=2.0)
        wavs.assert_tone(phone.heard, 440, seconds=2.0)
        assert "inline:" not in done.stdout + done.stderr
    finally:
        phone.stop()


def test_E02_required_and_a_phone_that_cannot_is_exit_12(
    cli: Cli, start_kamailio: StartKamailio, certs: Path, tmp_path: Path
) -> None:
    require("baresip", "srtp")
    server = start_kamailio(tls=True)
    phone = Baresip(tmp_path / "bob", server.address("tls"), transport="tls", ca=certs / "ca.pem")
    try:
        more = f'srtp = "required"\nca_file = "{certs / "ca.pem"}"'
        _ready(cli, server.address("tls"), transport="tls", more=more)
        done = cli.run("call", "sip:bob@sip.test", "--json", "--duration", "3")
        assert done.code == 12, (done.code, done.stderr)
    finally:
        phone.stop()


def test_E02_required_without_tls_is_said_before_anything_is_sent(cli: Cli, kamailio: Kamailio) -> None:
    require("srtp")
    _ready(cli, kamailio.address(), more='srtp = "required"')
    done = cli.run("call", "sip:bob@sip.test", "--json", "--no-register")
    assert done.code == 2, done.stderr
    assert "over TLS only" in done.result["message"]


@pytest.mark.parametrize("tls", [True, False], ids=["over TLS", "over UDP"])
def test_E03_call_out_by_dtls(cli: Cli, start_kamailio: StartKamailio, certs: Path, tmp_path: Path, tls: bool) -> None:
    require("baresip", "dtls")
    server = start_kamailio(tls=tls)
    transport = "tls" if tls else "udp"
    phone = Baresip(
        tmp_path / "bob", server.address(transport), transport=transport, ca=certs / "ca.pem", encryption="dtls_srtp"
    )
    try:
        more = f'srtp = "required"\nsrtp_keys = "dtls"\nca_file = "{certs / "ca.pem"}"'
        _ready(cli, server.address(transport), transport=transport, more=more)
        record = tmp_path / "rx.wav"
        wishes = ("--audio", "tone:440", "--codec", "pcma", "--record", str(record), "--duration", "4")
        done = cli.run("call", "sip:bob@sip.test", "--json", *wishes)
        assert done.code == 0, done.stderr
        negotiated = next(event for event in done.named("media") if event["state"] == "negotiated")
        assert negotiated["srtp_keys"] == "dtls" and negotiated["srtp"], negotiated
        assert negotiated["srtp_verified"] is tls
        assert ("srtp-unverified" in [event["code"] for event in done.named("warning")]) is not tls
        wavs.assert_tone(record, 880, seconds=2.0)
        wavs.assert_tone(phone.heard, 440, seconds=2.0)
    finally:
        phone.stop()


@pytest.mark.parametrize("tls", [True, False], ids=["over TLS", "over UDP"])
def test_E03_call_in_by_dtls(cli: Cli, start_kamailio: StartKamailio, certs: Path, tmp_path: Path, tls: bool) -> None:
    """With no word of ours in the configuration: who calls by DTLS is answered by it."""
    require("baresip", "dtls")
    server = start_kamailio(tls=tls)
    transport = "tls" if tls else "udp"
    phone = Baresip(
        tmp_path / "bob",
        server.address(transport),
        transport=transport,
        ca=certs / "ca.pem",
        # Our BYE goes to its Contact, over a connection that the proxy opens.
        identity=(certs / "good.pem").read_text() + (certs / "good.key").read_text() if tls else None,
        encryption="dtls_srtp",
    )
    try:
        more = f'ca_file = "{certs / "ca.pem"}"'
        _ready(cli, server.address(transport), transport=transport, more=more)
        record = tmp_path / "in.wav"
        wishes = ("--audio", "tone:500", "--record", str(record), "--max-calls", "1", "--duration", "4")
        listening = cli.start("listen", "--json", "--answer", "auto", *wishes)
        try:
            listening.wait_for("ready")
            phone.dial("sip:alice@sip.test")
            done = listening.finish()
        finally:
            listening.kill()
        assert done.code == 0, done.stderr
        flowing = next(event for event in done.named("media") if event["state"] == "flowing")
        assert flowing["srtp_keys"] == "dtls" and flowing["srtp"]
        wavs.assert_tone(record, 880, seconds=2.0)
        wavs.assert_tone(phone.heard, 500, seconds=2.0)
    finally:
        phone.stop()


def test_E03_held_and_resumed_by_the_other_side_the_keys_stay(cli: Cli, kamailio: Kamailio, tmp_path: Path) -> None:
    """baresip 1.0 knows no a=tls-id: what it does not change is what keeps the association (RFC 8842 section 4)."""
    require("baresip", "dtls")
    phone = Baresip(tmp_path / "bob", kamailio.address(), encryption="dtls_srtp")
    try:
        _ready(cli, kamailio.address())
        record = tmp_path / "in.wav"
        wishes = ("--audio", "tone:500", "--record", str(record), "--max-calls", "1", "--duration", "8")
        listening = cli.start("listen", "--json", "--answer", "auto", *wishes)
        try:
            listening.wait_for("ready")
            phone.dial("sip:alice@sip.test")
            listening.wait_for("media", state="flowing")
            phone.say("hold")
            listening.wait_for("call", state="held")
            phone.say("resume")
            listening.wait_for("call", state="answered")
            done = listening.finish()
        finally:
            listening.kill()
        assert done.code == 0, done.stderr
        assert len([event for event in done.named("warning") if event["code"] == "srtp-unverified"]) == 1
        assert all(event["srtp"] for event in done.named("media")), "it was never without keys"
        wavs.assert_tone(record, 880, seconds=2.0)
        assert phone.server.text().count("DTLS-SRTP complete (audio/RTP)") == 1, "one handshake in all"
    finally:
        phone.stop()


def test_E03_another_fingerprint_than_the_certificates_is_no_media_and_exit_12(
    cli: Cli, start_kamailio: StartKamailio, tmp_path: Path
) -> None:
    """A proxy that puts a fingerprint of its own into baresip's answer."""
    require("baresip", "dtls")
    server = start_kamailio("ANOTHER_FINGERPRINT")
    phone = Baresip(tmp_path / "bob", server.address(), encryption="dtls_srtp")
    try:
        _ready(cli, server.address(), more='srtp = "required"\nsrtp_keys = "dtls"')
        record = tmp_path / "rx.wav"
        wishes = ("--audio", "tone:440", "--record", str(record), "--duration", "5")
        done = cli.run("call", "sip:bob@sip.test", "--json", *wishes)
        assert done.code == 12, (done.code, done.stderr)
        assert "has not the fingerprint that the session description gave" in done.result["message"]
        assert all(event["srtp"] is None for event in done.named("media"))
        samples, _ = wavs.read_wav(record)
        assert not any(samples), "nothing was heard"
        assert not list(phone.directory.glob("dump-*-dec.wav")), "and nothing was said"
    finally:
        phone.stop()


@pytest.mark.parametrize(("ours", "code"), [("required", 12), ("optional", 0)])
def test_E03_a_phone_that_cannot_is_exit_12_or_plain_and_said(
    cli: Cli, start_kamailio: StartKamailio, certs: Path, tmp_path: Path, ours: str, code: int
) -> None:
    require("baresip", "dtls")
    server = start_kamailio(tls=True)
    phone = Baresip(tmp_path / "bob", server.address("tls"), transport="tls", ca=certs / "ca.pem")
    try:
        more = f'srtp = "{ours}"\nsrtp_keys = "dtls"\nca_file = "{certs / "ca.pem"}"'
        _ready(cli, server.address("tls"), transport="tls", more=more)
        done = cli.run("call", "sip:bob@sip.test", "--json", "--duration", "3")
        assert done.code == code, (done.code, done.stderr)
        assert all(event["srtp"] is None for event in done.named("media"))
    finally:
        phone.stop()
