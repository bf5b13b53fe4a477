"""SIGHUP on a box without a terminal: the configuration is read again, and what changed is bound anew."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support.cli import Cli, Running
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("reload")]


def second(server: str, secret: str) -> str:
    return (
        f'[accounts.second]\naor = "sip:bob@sip.test"\nregistrar = "sip:sip.test"\ncredentials = ["bobs"]\n'
        f'proxy = "sip:{server};lr"\n[providers.bobs]\ntype = "file"\npath = "{secret}"\n'
    )


@pytest.fixture
def text(cli: Cli, kamailio: Kamailio) -> str:
    """The configuration that all begin with; alice's password is in ``secret``."""
    return account(kamailio.address(), more="expires = 600\n") + FILE_PROVIDER.format(
        path=cli.secret("secret", "secret123")
    )


@pytest.fixture
def running(cli: Cli, text: str) -> Iterator[Running]:
    cli.configure(text)
    process = cli.start("register", "--all", "--json")
    process.wait_for("registration", account="work", state="registered")
    yield process
    process.leave()


def leave(running: Running) -> None:
    running.signal(signal.SIGTERM)
    assert running.finish().code == 143


def test_an_account_that_changed_is_bound_as_it_is_now(
    cli: Cli, kamailio: Kamailio, text: str, running: Running
) -> None:
    cli.configure(text.replace("expires = 600", "expires = 300"))
    running.signal(signal.SIGHUP)
    running.wait_for("registration", account="work", state="unregistered")
    assert running.wait_for("registration", account="work", state="registered")["expires_s"] == 300
    assert len(kamailio.contacts("alice")) == 1
    leave(running)
    assert kamailio.contacts("alice") == []


def test_accounts_come_and_go(cli: Cli, kamailio: Kamailio, text: str, running: Running) -> None:
    more = second(kamailio.address(), str(cli.secret("bobs", "bobpass")))
    cli.configure(text + more)
    running.signal(signal.SIGHUP)
    running.wait_for("registration", account="second", state="registered")
    assert len(kamailio.contacts("bob")) == 1
    cli.configure(text)
    running.signal(signal.SIGHUP)
    running.wait_for("registration", account="second", state="unregistered")
    assert kamailio.contacts("bob") == []
    assert len(kamailio.contacts("alice")) == 1
    leave(running)


def test_what_did_not_change_is_refreshed_and_its_provider_asked_afresh(
    cli: Cli, kamailio: Kamailio, running: Running
) -> None:
    before = len(kamailio.saved("alice"))
    running.signal(signal.SIGHUP)
    running.wait_for("registration", account="work", state="registered")
    assert len(kamailio.saved("alice")) == before + 1
    assert not any(event.get("state") == "unregistered" for event in running.events)
    leave(running)


@pytest.mark.parametrize("nonsense", ["[accounts.work", '[accounts.other]\naor = "nobody"\n'])
def test_a_configuration_with_a_mistake_changes_nothing(
    cli: Cli, kamailio: Kamailio, running: Running, nonsense: str
) -> None:
    cli.configure(nonsense)
    running.signal(signal.SIGHUP)
    running.wait_for("registration", account="work", state="registered")
    assert len(kamailio.contacts("alice")) == 1
    leave(running)
    assert "Traceback" not in running.stderr


def test_a_listener_reloads_and_goes_on_taking_calls(cli: Cli, kamailio: Kamailio, text: str) -> None:
    cli.configure(text)
    listening = cli.start("listen", "--json", "--answer", "busy", "--max-calls", "1")
    try:
        listening.wait_for("ready")
        cli.configure(text.replace("expires = 600", "expires = 120"))
        listening.signal(signal.SIGHUP)
        assert listening.wait_for("registration", state="registered")["expires_s"] == 120
        caller = Cli(cli.home / "carol")
        secret = caller.secret("secret", "carolpass")
        caller.configure(account(kamailio.address(), user="carol") + FILE_PROVIDER.format(path=secret))
        assert caller.run("call", "sip:alice@sip.test", "--no-register").code == 6
        assert listening.finish().code == 0
    finally:
        listening.leave()
