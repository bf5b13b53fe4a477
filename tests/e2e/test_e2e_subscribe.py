"""Waiting messages, presence and others' calls through Kamailio's presence modules, challenged by 401."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sipcli.config import AccountConfig
from sipcli.credentials import PasswordCredentials, Secret
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.account import Account
from sipcli.ua.agent import UserAgent
from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support.cli import Cli, Running
from tests.support.real import require
from tests.support.servers.kamailio import USERS
from tests.support.servers.presence import PresenceServer

pytestmark = [pytest.mark.real("kamailio", "presence"), pytest.mark.xdist_group("presence")]

PIDF = (
    '<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@sip.test">'
    '<tuple id="t1"><status><basic>{}</basic></status><note>{}</note></tuple></presence>'
)
DIALOG = (
    '<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" '
    'entity="sip:bob@sip.test"><dialog id="d1" direction="initiator"><state>{}</state>'
    "<remote><identity>sip:carol@sip.test</identity></remote></dialog></dialog-info>"
)
SUMMARY = "Messages-Waiting: {}\r\nVoice-Message: {}/3 (0/0)\r\n"
STATES = {
    "presence": ("application/pidf+xml", PIDF.format("open", "in"), PIDF.format("closed", "out")),
    "mwi": ("application/simple-message-summary", SUMMARY.format("yes", 2), SUMMARY.format("no", 0)),
    "dialog": ("application/dialog-info+xml", DIALOG.format("confirmed"), DIALOG.format("terminated")),
}
WORDS = {
    "presence": ("available \N{EN DASH} “in”", "not available \N{EN DASH} “out”"),
    "mwi": ("messages wait: 2 new and 3 old voice messages", "no new messages: 0 new and 3 old voice messages"),
    "dialog": ("in call with sip:carol@sip.test", "no calls"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PresenceServer]:
    require("kamailio", "presence")
    running = PresenceServer(tmp_path_factory.mktemp("presence"))
    yield running
    running.stop()


@pytest.fixture
def alice(tmp_path: Path, server: PresenceServer) -> Cli:
    cli = Cli(tmp_path / "alice")
    secret = cli.secret("secret", USERS["alice"])
    cli.configure(account(server.address) + FILE_PROVIDER.format(path=secret))
    return cli


@pytest.fixture
def running() -> Iterator[list[Running]]:
    started: list[Running] = []
    yield started
    for process in started:
        process.leave()


@asynccontextmanager
async def somebody(server: PresenceServer, user: str = "bob") -> AsyncIterator[Account]:
    """*user* at the server, as a program."""
    config = AccountConfig(
        name=user,
        aor=SipUri.parse(f"sip:{user}@sip.test"),
        registrar=SipUri.parse("sip:sip.test"),
        proxy=SipUri.parse(f"sip:{server.address};lr"),
        username=user,
        credentials=(),
    )
    async with UserAgent() as agent:
        yield agent.add_account(config, credentials=[PasswordCredentials(user, Secret(USERS[user]))])


@pytest.mark.parametrize("event", STATES)
def test_D04_D05_each_change_is_told_until_we_leave(
    alice: Cli, server: PresenceServer, running: list[Running], event: str
) -> None:
    """SUBSCRIBE and PUBLISH, each challenged; PUBLISH again with its entity-tag; ^C unsubscribes."""
    kind, first, second = STATES[event]
    watcher = alice.start("subscribe", "bob", "--event", event, "--json")
    running.append(watcher)
    watcher.wait_for("subscription", state="active")

    async def publish() -> None:
        async with somebody(server) as bob, await bob.publish(event, first, kind, expires=60) as publication:
            await asyncio.to_thread(watcher.wait_for, "notification", content_type=kind)
            await publication.modify(second)
            await asyncio.to_thread(watcher.wait_for, "notification", content_type=kind)

    asyncio.run(publish())
    watcher.signal(signal.SIGINT)
    done = watcher.finish()
    assert done.code == 130
    told = [entry for entry in done.named("notification") if entry.get("content_type") == kind]
    if event == "presence":
        assert [(entry["presence"]["open"], entry["presence"].get("note")) for entry in told[:2]] == [
            (True, "in"),
            (False, "out"),
        ]
    elif event == "mwi":
        assert [(e["mwi"]["waiting"], e["mwi"]["messages"][0]["new"]) for e in told[:2]] == [(True, 2), (False, 0)]
    else:
        assert [[row["state"] for row in entry["dialogs"]] for entry in told[:2]] == [["confirmed"], ["terminated"]]
        assert told[0]["dialogs"][0]["remote"] == "sip:carol@sip.test"
    last = server.saw("SUBSCRIBE")[-1]
    assert "expires=0" in last and "tag=<null>" not in last


@pytest.mark.parametrize("event", STATES)
def test_D04_D05_once_prints_the_state_and_leaves(alice: Cli, server: PresenceServer, event: str) -> None:
    kind, first, second = STATES[event]

    async def publish() -> None:
        async with somebody(server) as bob:
            for body, words in zip((first, second), WORDS[event], strict=True):
                publication = await bob.publish(event, body, kind, expires=60)
                done = await asyncio.to_thread(alice.run, "subscribe", "bob", "--event", event, "--once")
                assert (done.code, done.stdout) == (0, f"sip:bob@sip.test: {words}\n"), done.stderr
                await publication.close()

    asyncio.run(publish())


def test_D04_it_is_renewed_before_it_runs_out(alice: Cli, server: PresenceServer, running: list[Running]) -> None:
    before = len(server.saw("SUBSCRIBE"))
    watcher = alice.start("subscribe", "bob", "--event", "presence", "--expires", "4", "--json")
    running.append(watcher)
    watcher.wait_for("subscription", state="active")
    for _ in range(3):  # at the beginning, and after each refresh
        watcher.wait_for("notification")
    renewals = [line for line in server.saw("SUBSCRIBE")[before:] if "tag=<null>" not in line]
    assert len(renewals) >= 2 and all("expires=4" in line for line in renewals)


def test_D04_a_minimum_of_the_server_is_respected(alice: Cli) -> None:
    """423 with Min-Expires: 2."""
    done = alice.run("subscribe", "bob", "--event", "presence", "--expires", "1", "--once", "--json", "-v")
    assert done.code == 0, done.stderr
    assert [entry["expires_s"] for entry in done.named("subscription") if entry["state"] == "active"] == [2]


def test_A04_D04_a_wrong_password_is_refused_with_3(alice: Cli, server: PresenceServer) -> None:
    alice.secret("secret", "wrong")
    done = alice.run("subscribe", "--once", "--json", "--no-input")
    assert (done.code, done.result["outcome"]) == (3, "refused")


def test_D04_an_event_that_the_server_does_not_know_is_489(server: PresenceServer) -> None:
    async def subscribe() -> None:
        async with somebody(server) as bob:
            subscription = await bob.subscribe("alice", "no-such-package")
            with pytest.raises(Exception, match="489"):
                await asyncio.wait_for(subscription.accepted(), 10)

    asyncio.run(subscribe())


def test_D05_a_publication_that_the_server_forgot_is_published_anew(server: PresenceServer) -> None:
    """412 to an entity-tag that the server does not hold."""

    async def publish() -> None:
        async with somebody(server) as bob:
            publication = await bob.publish("presence", PIDF.format("open", "x"), "application/pidf+xml", expires=60)
            before = len(server.saw("PUBLISH"))
            publication.core.etag = "a.0.0.0"
            await publication.modify(PIDF.format("closed", "y"))
            assert len(server.saw("PUBLISH")) == before + 2
            assert publication.state == "published"
            await publication.close()

    asyncio.run(publish())
