"""What is known to be impossible is said before a server hears of us."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.cli import Cli, Result


@dataclass
class Registrar:
    """Somebody whom the account would register with, and who must not hear of it."""

    place: socket.socket

    @property
    def address(self) -> str:
        host, port = self.place.getsockname()
        return f"{host}:{port}"

    def heard(self) -> bytes:
        try:
            return self.place.recv(65535)
        except BlockingIOError:
            return b""


@pytest.fixture
def registrar() -> Iterator[Registrar]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as place:
        place.bind(("127.0.0.1", 0))
        place.setblocking(False)
        yield Registrar(place)


def judge(done: Result, registrar: Registrar, *words: str, status: int = 2) -> None:
    """One sentence, the next step, and nothing on the wire."""
    assert done.code == status, done.stderr
    sentence, step = done.stderr.splitlines()
    assert sentence.startswith("sipcli: "), done.stderr
    assert step.startswith("  "), done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert registrar.heard() == b""


VERBS = {"call": ("call", "bob"), "listen": ("listen", "--answer", "auto")}
each_verb = pytest.mark.parametrize("verb", VERBS)


@each_verb
@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (("--srtp", "required"), 'srtp = "required"', ("its keys may travel over TLS only", "--transport tls")),
        (("--ice", "relay"), None, ("--ice relay needs a TURN server", 'turn = "turn:')),
    ],
)
def test_E02_E04_audio_that_can_never_be_is_refused_before_the_account_registers(
    verb: str, words: tuple[str, ...], key: str | None, said: tuple[str, ...], cli: Cli, registrar: Registrar
) -> None:
    account = f'[accounts.me]\naor = "sip:alice@{registrar.address}"\n'
    cli.configure(account)
    judge(cli.run(*VERBS[verb], *words, "--timeout", "5"), registrar, *said)
    if key is not None:
        cli.configure(account + key)
        judge(cli.run(*VERBS[verb], "--timeout", "5"), registrar, *said)


def test_E02_calls_that_come_straight_to_a_port_cannot_be_encrypted_by_keys_in_the_sdp(
    cli: Cli, registrar: Registrar
) -> None:
    done = cli.run("listen", "--no-register", "--port", "0", "--srtp", "required", "--timeout", "5")
    judge(done, registrar, "its keys may travel over TLS only")
