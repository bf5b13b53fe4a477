"""`sipcli` over IPv6, through Kamailio on [::1]: registration, and a call that is heard."""

from __future__ import annotations

import socket
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
registrar = "sip:sip.test"
proxy = "sip:[::1]:{port};transport={transport};lr"
transport = "{transport}"
credentials = ["secret"]
"""


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on loopback")


def phone(home: Path, user: str, secret: str, port: int, transport: str) -> Cli:
    cli = Cli(home)
    path = cli.secret("secret", secret)
    cli.configure(CONFIG.format(user=user, port=port, transport=transport) + FILE_PROVIDER.format(path=path))
    return cli


@needs_ipv6
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_register_and_call(tmp_path: Path, start_kamailio: StartKamailio, transport: str) -> None:
    server = start_kamailio("V6")
    bob = phone(tmp_path / "bob", "bob", "bobpass", server.port, transport)
    alice = phone(tmp_path / "alice", "alice", "secret123", server.port, transport)
    listening = bob.start("listen", "--json", "--answer", "auto", "--audio", "echo", "--max-calls", "1")
    try:
        listening.wait_for("ready")
        (contact,) = server.contacts("bob")
        assert "@[::1]:" in contact
        record = tmp_path / "rx.wav"
        done = alice.run(
            "call", "sip:bob@sip.test", "--json", "--audio", "tone:440", "--record", str(record), "--duration", "2"
        )
        assert done.code == 0, done.stderr
        assert listening.finish().code == 0
    finally:
        listening.kill()
    assert done.named("registration")[-1]["state"] == "unregistered"
    assert any(event.get("local", "").startswith("[::1]:") for event in done.named("media"))
    wavs.assert_tone(record, 440, seconds=1.0)
    assert server.contacts("bob") == []
