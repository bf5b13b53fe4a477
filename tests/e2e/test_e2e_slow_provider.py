"""A store that takes its time: the stack goes on, nonces expire, and people lose patience."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, StartKamailio, account
from tests.support import plugin, wavs
from tests.support.cli import LEAVES_WITHIN, Cli, Running
from tests.support.probe import ping, udp_port_of
from tests.support.real import require
from tests.support.servers.baresip import Baresip
from tests.support.servers.kamailio import Kamailio

pytestmark = pytest.mark.real("kamailio")


def slow_cli(
    tmp_path: Path, server: str, *, delay: float, secrets: str = '["secret123"]', transport: str = "udp"
) -> Cli:
    """A machine on which somebody installed a slow provider; ``cli.home/asked`` notes each call of it."""
    cli = Cli(tmp_path / "home", env={"PYTHONPATH": plugin.install(tmp_path / "site")})
    cli.configure(
        account(server, credentials='"slow"', transport=transport)
        + f'[providers.slow]\ntype = "slow"\ndelay = {delay}\nsecrets = {secrets}\nlog = "{cli.home / "asked"}"\n'
    )
    return cli


def asked(cli: Cli) -> list[str]:
    log = cli.home / "asked"
    return log.read_text().splitlines() if log.exists() else []


def wait_until(true: Callable[[], bool], timeout: float = 30) -> None:
    """Poll what another process does; its pace decides."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.alone
def test_the_stack_goes_on_while_a_store_takes_a_minute(tmp_path: Path, kamailio: Kamailio) -> None:
    cli = slow_cli(tmp_path, kamailio.address(), delay=60)
    config = cli.home / ".config" / "sipcli" / "config.toml"
    secret = cli.secret("secret", "bobpass")
    config.write_text(
        config.read_text()
        + f'[accounts.second]\naor = "sip:bob@sip.test"\nregistrar = "sip:sip.test"\ncredentials = ["secret"]\n'
        f'proxy = "sip:{kamailio.address()};lr"\n' + FILE_PROVIDER.format(path=secret)
    )
    running = cli.start("register", "--all", "--json", "--max-wait", "90")
    try:
        running.wait_for("registration", account="second", state="registered")
        wait_until(lambda: bool(asked(cli)))
        port = udp_port_of(running)
        # The median of many: this machine's own hiccups are not what is measured.
        times = sorted(ping(port, n) for n in range(25))
        assert times[12] < 0.020, times
        began = time.monotonic()
        running.signal(signal.SIGINT)
        done = running.finish()
        assert time.monotonic() - began < LEAVES_WITHIN
    finally:
        running.kill()
    assert done.code == 130
    assert len(asked(cli)) == 1
    assert kamailio.contacts("bob") == []


def test_a_nonce_that_expired_meanwhile_costs_no_second_look_up(tmp_path: Path, start_kamailio: StartKamailio) -> None:
    server = start_kamailio(nonce_expire=2)
    cli = slow_cli(tmp_path, server.address(), delay=4)
    done = cli.run("register", "--once", "--json")
    assert done.code == 0, done.stderr
    assert len(asked(cli)) == 1
    assert any(event["cause"] == "stale" for event in done.named("auth.done"))


@pytest.mark.slow
@pytest.mark.xdist_group("patience")
def test_a_server_that_never_says_stale_gets_the_late_answer_once_more(
    tmp_path: Path, start_kamailio: StartKamailio
) -> None:
    server = start_kamailio("BARE_STALE", nonce_expire=2)
    cli = slow_cli(tmp_path, server.address(), delay=22)
    done = cli.run("register", "--once", "--json", "--max-wait", "40", timeout=60)
    assert done.code == 0, done.stderr
    assert len(asked(cli)) == 1


def test_one_answer_for_each_distinct_secret(tmp_path: Path, kamailio: Kamailio) -> None:
    cli = slow_cli(tmp_path, kamailio.address(), delay=0, secrets='["wrong-one", "wrong-two", "secret123"]')
    before = len(kamailio.verdicts())
    done = cli.run("register", "--once", "--json")
    assert done.code == 0, done.stderr
    verdicts = [line for line in kamailio.verdicts()[before:] if "REGISTER user=alice" in line]
    assert [line.endswith("verdict=1") for line in verdicts][:3] == [False, False, True]


def test_a_provider_with_a_bug_is_eight_and_one_sentence(tmp_path: Path, kamailio: Kamailio) -> None:
    cli = slow_cli(tmp_path, kamailio.address(), delay=0)
    config = cli.home / ".config" / "sipcli" / "config.toml"
    config.write_text(config.read_text().replace('type = "slow"', 'type = "raising"'))
    done = cli.run("register", "--once", "--json")
    assert done.code == 8, done.stderr
    assert "Traceback" not in done.stderr
    assert "elsewhere" in done.stderr or "elsewhere" in str(done.events)


@pytest.mark.slow
@pytest.mark.real("baresip")
@pytest.mark.xdist_group("patience")
def test_an_invite_waits_forty_seconds_on_udp_tcp_and_tls_and_a_register_a_hundred(
    tmp_path: Path, start_kamailio: StartKamailio, certs: Path
) -> None:
    """Side by side, in real time: what PJSIP 2.17 cannot do over TCP at all, nor over UDP beyond 32 s."""
    require("baresip")
    server = start_kamailio(tls=True, extra_users=3)
    ca = ("--ca", str(certs / "ca.pem"))
    # One phone for each call: a second one would put the first on hold.
    callees = {"udp": "u0", "tcp": "u1", "tls": "u2"}
    phones = [Baresip(tmp_path / u, server.address(), user=u, password="secret123") for u in callees.values()]
    running: dict[str, Running] = {}
    try:
        for transport, callee in callees.items():
            cli = slow_cli(tmp_path / transport, server.address(transport), delay=40, transport=transport)
            running[transport] = cli.start(
                "call", f"sip:{callee}@sip.test", "--no-register", "--json", "--max-wait", "60", "--audio", "tone:440",
                "--duration", "2", "--record", str(tmp_path / f"{transport}.wav"), *ca,
            )  # fmt: skip
        cli = slow_cli(tmp_path / "register", server.address(), delay=100)
        running["register"] = cli.start("register", "--once", "--json", "--max-wait", "120")
        for name, process in running.items():
            done = process.finish(timeout=130)
            assert done.code == 0, (name, done.stderr)
            assert done.result["auth"]["waited_ms"] > (99_000 if name == "register" else 39_000)
        for transport in ("udp", "tcp", "tls"):
            wavs.assert_tone(tmp_path / f"{transport}.wav", 880, seconds=1.0)
    finally:
        for process in running.values():
            process.kill()
        for phone in phones:
            phone.stop()


def test_sigint_while_an_invites_challenge_is_pending_puts_nothing_on_the_wire(
    tmp_path: Path, kamailio: Kamailio
) -> None:
    cli = slow_cli(tmp_path, kamailio.address(), delay=30)
    before = kamailio.server.text().count("DIGEST INVITE")
    running = cli.start("call", "sip:bob@sip.test", "--no-register", "--json")
    try:
        running.wait_for("auth.challenged")
        running.signal(signal.SIGINT)
        done = running.finish()
    finally:
        running.kill()
    assert done.code == 130
    # One unanswered INVITE reached the server, and nothing after it.
    assert kamailio.server.text().count("DIGEST INVITE") - before <= 1
