"""A ``sips`` call through Kamailio: all of it over TLS, although the proxy is written as ``sip`` (RFC 5630; C04)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, StartKamailio
from tests.support import wavs
from tests.support.cli import Cli

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]

CONFIG = """
[defaults]
account = "work"

[accounts.work]
aor = "sip:{user}@sip.test"
registrar = "sips:sip.test"
proxy = "sip:127.0.0.1:{port};lr"
ca_file = "{ca}"
credentials = ["secret"]
"""


def test_C04_a_sips_call_is_over_tls_from_end_to_end(
    tmp_path: Path, start_kamailio: StartKamailio, certs: Path
) -> None:
    server = start_kamailio(tls=True)

    def phone(user: str, secret: str) -> Cli:
        cli = Cli(tmp_path / user)
        path = cli.secret("secret", secret)
        config = CONFIG.format(user=user, port=server.tls_port(), ca=certs / "ca.pem")
        cli.configure(config + FILE_PROVIDER.format(path=path))
        return cli

    bob, alice = phone("bob", "bobpass"), phone("alice", "secret123")
    listening = bob.start("listen", "--json", "--answer", "auto", "--audio", "echo", "--max-calls", "1")
    try:
        listening.wait_for("ready")
        (contact,) = server.contacts("bob")
        assert contact.startswith("sips:"), contact
        record, trace = tmp_path / "rx.wav", tmp_path / "trace.txt"
        done = alice.run(
            *("call", "sips:bob@sip.test", "--json", "--audio", "tone:440", "--duration", "2"),
            *("--record", str(record), "--trace", str(trace)),
        )
        assert done.code == 0, (done.stderr, done.result)
        assert listening.finish().code == 0
    finally:
        listening.kill()
    wavs.assert_tone(record, 440, seconds=1.0)
    text = trace.read_text()
    for method in ("REGISTER", "INVITE", "ACK", "BYE"):
        assert f"{method} sips:" in text, text
    assert "SIP/2.0/UDP" not in text and "SIP/2.0/TCP" not in text
