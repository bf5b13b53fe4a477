"""SIPp as the attacker who wants our digest: he challenges the BYE of `sipcli`, for our realm or for any (T01)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, StartKamailio, account
from tests.support.cli import Cli, Result, Running
from tests.support.real import require
from tests.support.servers import sipp
from tests.support.servers.process import free_port

pytestmark = [pytest.mark.real("sipp"), pytest.mark.xdist_group("kamailio")]

TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp"])
CHALLENGES = pytest.mark.parametrize(
    ("code", "realm"), [(407, "sip.test"), (407, "*"), (401, "sip.test"), (401, "*")], ids=lambda value: str(value)
)
MODES = {"udp": "u1", "tcp": "t1"}


def challenge(code: int, realm: str) -> dict[str, str]:
    """The keys of a scenario: what the attacker asks."""
    header, reason = ("Proxy-Authenticate", "Proxy") if code == 407 else ("WWW-Authenticate", "Unauthorized")
    ask = f'{header}: Digest realm="{realm}", nonce="chosen-by-mallory", algorithm=MD5, qop="auth"'
    return {"status": f"{code} {reason}", "ask": ask}


def nobody_was_asked(done: Result) -> None:
    """Neither a store nor a person, for any challenge inside the call."""
    foreign = [event for event in done.named("auth.challenged") if event["method"] == "BYE"]
    assert foreign, "the challenge did not arrive"
    assert not any(event["from_flow"] for event in foreign)
    asked = {event["challenge"] for name in ("auth.provider", "auth.needed") for event in done.named(name)}
    assert not asked & {event["challenge"] for event in foreign}


@pytest.fixture
def victims(cli: Cli) -> Iterator[list[Running]]:
    started: list[Running] = []
    yield started
    for victim in started:
        victim.kill()


def configure(cli: Cli, server: str, transport: str = "udp") -> None:
    path = cli.secret("secret", "secret123")
    cli.configure(account(server, transport=transport) + FILE_PROVIDER.format(path=path))


def listen(cli: Cli, victims: list[Running], *more: str) -> Running:
    """It waits for a second call, for SIPp takes it as a failure when its connection closes."""
    victim = cli.start("listen", "--json", "--answer", "auto", "--duration", "0.5", "--max-calls", "2", *more)
    victims.append(victim)
    victim.wait_for("ready")
    return victim


def ended(victim: Running) -> Result:
    """His call is over without us; nothing waits for an answer."""
    victim.wait_for("call", state="ended", by="local")
    victim.signal(signal.SIGTERM)
    return victim.finish()


@CHALLENGES
@TRANSPORTS
def test_T01_a_direct_caller(
    cli: Cli, victims: list[Running], tmp_path: Path, transport: str, code: int, realm: str
) -> None:
    require("sipp")
    configure(cli, "127.0.0.1:9")
    port = free_port()
    victim = listen(cli, victims, "--no-register", "--port", str(port))
    keys = {"domain": "sip.test", "extra": "Subject: hello", **challenge(code, realm)}
    attack = sipp.call(
        tmp_path / "sipp", "uac_leak", f"127.0.0.1:{port}", "alice", transport=MODES[transport], keys=keys
    )
    assert attack.returncode == 0, attack.stdout[-1500:]
    nobody_was_asked(ended(victim))


@pytest.mark.real("kamailio")
@CHALLENGES
@TRANSPORTS
def test_T01_a_caller_whose_challenge_kamailio_carries(
    cli: Cli,
    victims: list[Running],
    start_kamailio: StartKamailio,
    tmp_path: Path,
    transport: str,
    code: int,
    realm: str,
) -> None:
    """He calls through the very server that we are registered at, and whose realm is ``sip.test``."""
    require("sipp")
    server = start_kamailio("OPEN")
    configure(cli, server.address(), transport)
    victim = listen(cli, victims)
    assert server.contacts("alice")
    keys = {"domain": "sip.test", "extra": "Subject: hello", **challenge(code, realm)}
    attack = sipp.call(tmp_path / "sipp", "uac_leak", server.address(), "alice", transport=MODES[transport], keys=keys)
    assert attack.returncode == 0, attack.stdout[-1500:]
    nobody_was_asked(ended(victim))


@pytest.mark.real("kamailio")
@pytest.mark.parametrize(
    ("switches", "code", "realm"),
    [(("OPEN",), 407, "sip.test"), (("OPEN",), 401, "sip.test"), ((), 401, "sip.test"), ((), 407, "*")],
    ids=["open-407", "open-401", "challenged-401", "challenged-any"],
)
def test_T01_a_callee_behind_kamailio(
    cli: Cli, start_kamailio: StartKamailio, tmp_path: Path, switches: tuple[str, ...], code: int, realm: str
) -> None:
    """Where it challenged our INVITE itself, a challenge of another kind or realm than its own is not its own."""
    require("sipp")
    server = start_kamailio(*switches)
    configure(cli, server.address())
    mallory = sipp.SippCallee(tmp_path / "sipp", "uas_leak", keys=challenge(code, realm))
    try:
        contact = f"sip:mallory@127.0.0.1:{mallory.port}"
        server.rpc("ul.add", "location", "mallory", contact, 60, 1.0, ".", 0, 0, 7999)
        done = cli.run("call", "sip:mallory@sip.test", "--json", "--duration", "0.5")
        assert done.code == 0, done.stderr
        assert mallory.result() == 0, mallory.why()
        nobody_was_asked(done)
    finally:
        mallory.stop()


def test_T01_the_attack_is_noticed_where_it_succeeds(tmp_path: Path) -> None:
    """A victim who answers: SIPp itself.  The scenario must end with a failure, or it proves nothing above."""
    require("sipp")
    victim = sipp.SippCallee(tmp_path / "victim", "uas_leak_victim")
    try:
        keys = {"domain": "sip.test", "extra": "Subject: hello", **challenge(407, "sip.test")}
        attack = sipp.call(tmp_path / "sipp", "uac_leak", f"127.0.0.1:{victim.port}", "alice", keys=keys)
        assert attack.returncode != 0, attack.stdout[-1500:]
        assert "Proxy-Authorization" in (tmp_path / "sipp" / "errors.log").read_text()
    finally:
        victim.stop()
