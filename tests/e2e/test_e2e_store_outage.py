"""The store is away while a binding has to be refreshed: it holds as long as it is valid, and mends by itself (T18).

OpenBao is stopped, killed and restarted, or sealed; Kamailio says whether alice can be reached.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartKamailio, account
from tests.support.cli import Cli, Running
from tests.support.probe import ping, udp_port_of
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.openbao import OpenBao

pytestmark = [
    pytest.mark.real("kamailio"),
    pytest.mark.real("openbao"),
    pytest.mark.slow,
    pytest.mark.xdist_group("outage"),
]


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[OpenBao]:
    """One of its own, on disk; its alice in KV 1 has a lease of two seconds."""
    require("openbao")
    server = OpenBao(tmp_path / "bao", kept=True)
    server.call("POST", "kv1/sip/alice", {"password": "secret123", "ttl": "2s"})
    yield server
    server.stop()


@pytest.fixture
def server(start_kamailio: StartKamailio) -> Kamailio:
    """Its nonces live two seconds, so that each refresh is challenged."""
    return start_kamailio(nonce_expire=2)


def registering(
    cli: Cli, server: Kamailio, bao: OpenBao, expires: int, *, mount: str = "kv1", more: str = ""
) -> Running:
    secret_id = cli.secret("secret-id", bao.secret_id())
    cli.configure(
        account(server.address(), credentials='"vault"', more=f"expires = {expires}")
        + f'[providers.vault]\ntype = "vault"\nurl = "{bao.url}"\nmount = "{mount}"\npath = "sip/{{username}}"\n'
        f'{more}\nauth = {{ method = "approle", role_id = "{bao.role_id()}", secret_id_file = "{secret_id}" }}\n'
    )
    running = cli.start("register", "--json", "--no-input")
    running.wait_for("registration", state="registered")
    return running


def told(running: Running) -> list[str]:
    return [event["state"] for event in running.events if event["event"] == "registration"]


def ended(running: Running) -> str:
    running.signal(signal.SIGINT)
    done = running.finish()
    assert done.code == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "secret123" not in str(done.events) + done.stderr
    return done.stderr


def test_T18_a_store_that_hangs_while_the_binding_is_refreshed(cli: Cli, server: Kamailio, bao: OpenBao) -> None:
    """SIGSTOP: it takes the request and says nothing.  SIP goes on; SIGCONT, and the binding was never lost."""
    running = registering(cli, server, bao, expires=16)
    try:
        bao.server.process.send_signal(signal.SIGSTOP)
        running.wait_for("auth.challenged")
        port = udp_port_of(running)
        assert sorted(ping(port, n) for n in range(9))[4] < 0.5, "the store hangs for as long as it is stopped"
        assert len(server.contacts("alice")) == 1
        bao.server.process.send_signal(signal.SIGCONT)
        running.wait_for("registration", state="registered")
        assert len(server.contacts("alice")) == 1
        assert "trying" not in told(running)[1:]
        ended(running)
    finally:
        bao.server.process.send_signal(signal.SIGCONT)
        running.kill()
    assert server.contacts("alice") == []


def test_T18_a_store_that_is_killed_and_comes_back_sealed(cli: Cli, server: Kamailio, bao: OpenBao) -> None:
    """Dead at the refresh, sealed at the second try, whole at the third; each time one line, and always reachable.

    Fails without the bound on the pause in ``Registration._failed``: the next try comes after the binding's end.
    """
    running = registering(cli, server, bao, expires=60)
    try:
        bao.kill()
        failed = running.wait_for("registration", state="retrying", timeout=40)
        assert failed["retry_in_s"] < 20
        assert "cannot be reached" in failed_at(running)
        assert len(server.contacts("alice")) == 1
        ping(udp_port_of(running), 1)
        bao.restart()
        running.wait_for("registration", state="retrying")
        assert "is sealed: somebody has to unseal it" in failed_at(running)
        assert len(server.contacts("alice")) == 1
        bao.unseal()
        running.wait_for("registration", state="registered")
        assert len(server.contacts("alice")) == 1
        assert "trying" not in told(running)[1:], "it was bound all the time"
        ended(running)
    finally:
        running.kill()


def failed_at(running: Running) -> str:
    """What the provider said last, as the events have it."""
    return str([event for event in running.events if event["event"] == "auth.provider"][-1]["message"])


def test_T18_a_secret_without_an_end_needs_no_store(cli: Cli, server: Kamailio, bao: OpenBao) -> None:
    """KV 2 names no lease: what is cached answers the refresh, and the dead store is not even noticed."""
    running = registering(cli, server, bao, expires=8, mount="secret")
    try:
        bao.kill()
        running.wait_for("registration", state="registered")
        running.wait_for("registration", state="registered")
        assert len([event for event in running.events if event["event"] == "auth.provider"]) == 1
        ended(running)
    finally:
        running.kill()


def test_T18_the_last_good_secret_serves_if_the_policy_says_so(cli: Cli, server: Kamailio, bao: OpenBao) -> None:
    running = registering(cli, server, bao, expires=8, more="use_stale = 60")
    try:
        bao.kill()
        running.wait_for("registration", state="registered")
        last = [event for event in running.events if event["event"] == "auth.provider"][-1]
        assert (last["outcome"], last["secret_ref"]) == ("found", "vault:sip/alice (kept)")
        ended(running)
    finally:
        running.kill()
