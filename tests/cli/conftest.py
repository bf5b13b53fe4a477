"""A sandbox that runs beside the tests, and a machine of one's own to talk to it from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli, Running


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of a sandbox with alice (wonderland) and bob (builder), challenging by SHA-256."""
    running = Cli(tmp_path_factory.mktemp("sandbox")).start("sandbox", "--json", "--algorithm", "SHA-256")
    try:
        yield address_of(running)
    finally:
        running.kill()


def address_of(running: Running) -> str:
    [at] = [at for at in running.wait_for("ready")["listen"] if at["transport"] == "udp"]
    return f"{at['host']}:{at['port']}"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


@pytest.fixture
def alice(cli: Cli, sandbox: str) -> Cli:
    """A machine whose default account is alice at the sandbox, with her password in a file."""
    secret = cli.secret("secret", "wonderland\n")
    cli.configure(
        f'[accounts.alice]\naor = "sip:alice@{sandbox}"\ncredentials = ["safe"]\n'
        f'[providers.safe]\ntype = "file"\npath = "{secret}"\n'
    )
    return cli
