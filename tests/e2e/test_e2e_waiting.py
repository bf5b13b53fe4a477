"""A box without a terminal, against a real registrar: it waits, and a person answers from another terminal."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support.cli import LEAVES_WITHIN, Cli, Running
from tests.support.pty import ended, terminal, until_echo
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.oidc import OidcProvider

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]


@pytest.fixture
def box(cli: Cli, kamailio: Kamailio, tmp_path: Path) -> Cli:
    """Accounts work (alice), whom a person must answer for, and second (carol), whose password is in a file."""
    cli.log_in(tmp_path / "run")
    secret = cli.secret("carol", "carolpass\n")
    both = account(kamailio.address()) + account(kamailio.address(), user="carol").partition("[accounts.work]")[2]
    text = both.replace('aor = "sip:carol', '[accounts.second]\naor = "sip:carol')
    text = text.replace('credentials = ["secret"]', 'credentials = ["prompt"]', 1)
    cli.configure(text + FILE_PROVIDER.format(path=secret))
    return cli


@pytest.fixture
def waiting(box: Cli) -> Iterator[Running]:
    running = box.start("register", "--json", "--max-wait", "1")
    try:
        running.wait_for("registration", state="waiting", reason="a person is awaited")
        yield running
    finally:
        running.leave()


def answer(box: Cli, secret: str) -> int | None:
    with terminal(box, "auth", "answer", "work") as child:
        child.expect_exact('realm "sip.test": ')
        until_echo(child, False)
        child.sendline(secret)
        status, said = ended(child)
        assert secret not in said
        return status


def test_a_wrong_answer_is_refused_and_the_right_one_registers(box: Cli, waiting: Running, kamailio: Kamailio) -> None:
    before = len(kamailio.verdicts())
    assert answer(box, "queen-of-hearts") == 3
    needed = waiting.wait_for("auth.needed")
    assert (needed["account"], needed["refused"]) == ("work", 401)
    waiting.wait_for("registration", state="waiting", reason="a person is awaited")
    assert answer(box, "secret123") == 0
    waiting.wait_for("registration", state="registered")
    assert len(kamailio.verdicts()) - before >= 2
    assert kamailio.contacts("alice")
    waiting.signal(signal.SIGTERM)
    done = waiting.finish()
    assert "queen-of-hearts" not in str(done.events) + done.stderr
    assert "secret123" not in str(done.events) + done.stderr
    assert not kamailio.contacts("alice")


def test_an_answer_after_every_deadline_is_a_fresh_register(box: Cli, waiting: Running) -> None:
    first = next(event for event in waiting.events if event["event"] == "auth.challenged")
    began = time.monotonic()
    while time.monotonic() - began < 1.5:  # longer than --max-wait: nothing may happen, so nothing can be waited for
        assert box.run("status").code == 0
    assert answer(box, "secret123") == 0
    trying = waiting.wait_for("registration", state="trying")
    second = waiting.wait_for("auth.challenged")
    assert trying["account"] == "work"
    assert (second["challenge"] != first["challenge"], second["attempt"]) == (True, 1)
    waiting.wait_for("registration", state="registered")


def test_the_second_account_registers_meanwhile_and_leaving_takes_two_seconds(
    box: Cli, kamailio: Kamailio, tmp_path: Path
) -> None:
    running = box.start("register", "--all", "--json")
    try:
        running.wait_for("registration", account="second", state="registered")
        if not any(e["event"] == "registration" and e.get("reason") == "a person is awaited" for e in running.events):
            running.wait_for("registration", account="work", state="waiting", reason="a person is awaited")
        assert kamailio.contacts("carol")
        (status,) = box.run("status", "--json").named("status")
        assert {a["account"]: a["state"] for a in status["accounts"]} == {"work": "waiting", "second": "registered"}
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        assert running.finish().code == 143
        assert time.monotonic() - began < LEAVES_WITHIN
        assert list((tmp_path / "run" / "sipcli").iterdir()) == []
        assert not kamailio.contacts("carol")
    finally:
        running.kill()


def test_a_killed_one_leaves_a_socket_that_misleads_nobody(box: Cli, waiting: Running, tmp_path: Path) -> None:
    waiting.process.kill()
    waiting.process.wait()
    assert [path.name for path in (tmp_path / "run" / "sipcli").iterdir()] == [f"{waiting.process.pid}.sock"]
    assert box.run("auth", "answer", "--password-file", "-", stdin="secret123\n").code == 1
    other = box.start("register", "--json")
    try:
        other.wait_for("registration", state="waiting", reason="a person is awaited")
        assert [path.name for path in (tmp_path / "run" / "sipcli").iterdir()] == [f"{other.process.pid}.sock"]
    finally:
        other.leave()


def test_sighup_asks_the_providers_again(box: Cli, waiting: Running) -> None:
    waiting.signal(signal.SIGHUP)
    waiting.wait_for("auth.challenged")
    waiting.wait_for("registration", state="waiting", reason="a person is awaited")
    waiting.signal(signal.SIGHUP)  # the first is over, though nobody has come
    waiting.wait_for("auth.challenged")
    waiting.wait_for("registration", state="waiting", reason="a person is awaited")
    assert answer(box, "secret123") == 0


def test_listen_waits_as_well(box: Cli) -> None:
    running = box.start("listen", "--from", "work", "--json", "--timeout", "30")
    try:
        running.wait_for("registration", state="waiting", reason="a person is awaited")
        assert answer(box, "secret123") == 0
        assert running.wait_for("ready")["control"].endswith(f"{running.process.pid}.sock")
    finally:
        running.leave()


def test_sighup_while_listen_waits_asks_again_and_it_goes_on_waiting(box: Cli, kamailio: Kamailio) -> None:
    running = box.start("listen", "--from", "work", "--json", "--timeout", "30")
    try:
        running.wait_for("registration", state="waiting", reason="a person is awaited")
        for _ in range(2):
            running.signal(signal.SIGHUP)
            running.wait_for("auth.challenged")
            running.wait_for("registration", state="waiting", reason="a person is awaited")
        assert not any(event["event"] == "ready" for event in running.events)
        assert answer(box, "secret123") == 0
        running.wait_for("ready")
        assert kamailio.contacts("alice")
        running.signal(signal.SIGHUP)  # it is bound now: a refresh
        running.wait_for("registration", state="registered")
    finally:
        running.leave()
    assert not kamailio.contacts("alice")


@pytest.mark.real("oidc")
def test_a_device_code_that_nobody_used_is_followed_by_another(
    cli: Cli, kamailio: Kamailio, certs: Path, oidc: OidcProvider
) -> None:
    """Without a control socket, too: who signs in elsewhere needs none."""
    text = (
        f'type = "oauth"\nissuer = "{oidc.issuer}"\nclient_id = "cli"\nflow = "device"\n'
        f'ca_file = "{certs / "ca.pem"}"\nscope = ["openid", "offline_access", "sip.register"]\nuse = "fetch"\n'
        f'password_url = "{oidc.issuer}/sip-password"\npassword_field = "password"'
    )
    cli.configure(account(kamailio.address(), credentials='"sso"') + f"[providers.sso]\n{text}\n")
    oidc.control(deviceTtl=1)
    running = cli.start("register", "--json")
    try:
        first = running.wait_for("auth.user_action")
        assert first["account"] == "work"
        told = running.wait_for("registration", state="waiting", reason="nobody signed in in time")
        assert told["retry_in_s"] >= 5
        oidc.control(deviceTtl=600)
        running.signal(signal.SIGHUP)  # sooner than by itself
        second = running.wait_for("auth.user_action")
        assert second["user_code"] != first["user_code"]
        assert first["user_code"] in running.stderr
        oidc.person("alice").visit(second["url"], second["user_code"])
        running.wait_for("registration", state="registered")
    finally:
        running.leave()
