"""A sandbox that runs beside the tests, and a machine of one's own to talk to it from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cli import Cli, Running

Starts = Callable[..., Running]


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of a sandbox with alice (wonderland) and bob (builder), challenging by SHA-256."""
    with _sandbox(tmp_path_factory.mktemp("sandbox")) as address:
        yield address


@contextmanager
def _sandbox(home: Path) -> Iterator[str]:
    running = Cli(home).start("sandbox", "--json", "--algorithm", "SHA-256")
    try:
        yield address_of(running)
    finally:
        running.kill()


def address_of(running: Running) -> str:
    [at] = [at for at in running.wait_for("ready")["listen"] if at["transport"] == "udp"]
    return f"{at['host']}:{at['port']}"


@pytest.fixture
def starts() -> Iterator[Starts]:
    """Starts a sipcli on a machine, and ends it with the test."""
    started: list[Running] = []

    def start(machine: Cli, *arguments: str) -> Running:
        started.append(machine.start(*arguments))
        return started[-1]

    yield start
    for running in started:
        running.leave()


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


@pytest.fixture
def alice(cli: Cli, sandbox: str) -> Cli:
    """A machine whose default account is alice at the sandbox, with her password in a file."""
    _configure(cli, f"alice@{sandbox}", "wonderland")
    return cli


@pytest.fixture
def alone(cli: Cli, tmp_path: Path) -> Iterator[Cli]:
    """Alice's machine, and a sandbox of her own, at which nobody else has ever registered."""
    with _sandbox(tmp_path / "sandbox") as address:
        _configure(cli, f"alice@{address}", "wonderland")
        yield cli


@pytest.fixture
def bob(tmp_path: Path, sandbox: str) -> Cli:
    """Bob's machine, with a run-time directory for his control socket."""
    cli = Cli(tmp_path / "bob")
    cli.log_in(tmp_path / "run")
    _configure(cli, f"bob@{sandbox}", "builder")
    return cli


@pytest.fixture
def desk(cli: Cli, tmp_path: Path) -> Cli:
    """A machine with a run-time directory, as a login gives it."""
    cli.log_in(tmp_path / "run")
    return cli


def _configure(cli: Cli, aor: str, password: str) -> None:
    secret = cli.secret("secret", f"{password}\n")
    cli.configure(
        f'[accounts.{aor.partition("@")[0]}]\naor = "sip:{aor}"\ncredentials = ["safe"]\n'
        f'[providers.safe]\ntype = "file"\npath = "{secret}"\n'
    )
