"""What is known to be impossible is said before a server hears of us."""

from __future__ import annotations

import os
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
        """The first SIP message: late audio for whoever had this port before us, in another test, is none."""
        try:
            while not (said := self.place.recv(65535))[:1].isalpha():
                pass
        except BlockingIOError:
            return b""
        return said


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


@each_verb
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("link.wav", "it is a link"),
        ("fifo.wav", "it is not a file of its own"),
        ("twin.wav", "it is not a file of its own"),
    ],
)
def test_a_recording_that_would_be_refused_is_refused_before_the_account_registers(
    verb: str, name: str, words: str, cli: Cli, registrar: Registrar
) -> None:
    (cli.home / "link.wav").symlink_to("elsewhere")
    os.mkfifo(cli.home / "fifo.wav")
    (cli.home / "twin.wav").write_bytes(b"precious")
    os.link(cli.home / "twin.wav", cli.home / "another name")
    cli.configure(f'[accounts.me]\naor = "sip:alice@{registrar.address}"\n')
    judge(cli.run(*VERBS[verb], "--record", name, "--timeout", "5"), registrar, f"cannot write {name}: {words}")
    assert (cli.home / "twin.wav").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is nothing to send"),
        (" \n", "there is nothing to send"),
        ("caf\udce9", "a message is text in UTF-8, and this is not"),  # as Latin-1 arrives
        ("x" * 60_001, "a message may have 60000 octets, and this is longer"),
    ],
)
def test_a_text_that_is_none_is_not_sent(text: str, words: str, cli: Cli, registrar: Registrar) -> None:
    """As an argument; what stdin holds is judged by the same."""
    cli.configure(f'[accounts.me]\naor = "sip:alice@{registrar.address}"\n')
    judge(cli.run("message", "bob", text, "--timeout", "5"), registrar, words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--username", "alice\nbob"), "--username is empty, or holds a control character"),
        (("--username", ""), "--username is empty, or holds a control character"),
        (("--expires", "4294967296"), "'--expires': 4294967296 is not in the range"),  # RFC 3261 section 20.19
    ],
)
def test_what_no_register_can_carry_is_not_sent(
    words: tuple[str, ...], said: str, cli: Cli, registrar: Registrar
) -> None:
    cli.configure(f'[accounts.me]\naor = "sip:alice@{registrar.address}"\n')
    judge(cli.run("register", "--once", *words, "--timeout", "5"), registrar, said)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("ca_file", ("the authorities in", "name a file of certificates, in PEM")),
        ("cert_file", ("cannot be used", "correct cert_file and key_file")),
    ],
)
def test_files_of_tls_that_hold_nothing_are_named_with_the_next_step(
    key: str, said: tuple[str, ...], cli: Cli, registrar: Registrar
) -> None:
    empty = cli.secret("empty.pem", "nothing\n")
    more = f'key_file = "{empty}"\n' if key == "cert_file" else ""
    cli.configure(f'[accounts.me]\naor = "sip:alice@{registrar.address}"\ntransport = "tls"\n{key} = "{empty}"\n{more}')
    judge(cli.run("register", "--once", "--timeout", "5"), registrar, *said, status=7)
