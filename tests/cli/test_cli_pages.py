"""What README and the pages tell to type is typed, against the sandbox: it does what stands beside it."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.pages import of, typed_in_blocks

NEW = ("config init", "config check")
"""Typed by somebody who has no configuration yet, in this order."""
ELSEWHERE = {
    "auth save": "tests/e2e/test_e2e_stores.py: it wants a keychain",
    "auth forget": "tests/e2e/test_e2e_stores.py",
    "auth answer": "tests/cli/test_cli_answer.py: somebody must wait",
    "subscribe": "tests/e2e/test_e2e_subscribe.py: the sandbox notifies of nothing",
    "ctl transfer": "tests/cli/test_cli_transfer.py: calls must be up",
}
"""By their first words: what cannot be typed here, and the tests that do."""
CARD, ENCRYPTED = "--audio device", "--srtp required"
"""``tests/shell/test_media_device.py`` and ``tests/e2e/test_e2e_networks.py`` have what these need."""


def typed() -> list[str]:
    """Each line once."""
    lines = dict.fromkeys(line.partition(" > ")[0] for _, line in typed_in_blocks())
    return [line.removeprefix("sipcli ") for line in lines]


def here(line: str) -> bool:
    return not line.startswith((*ELSEWHERE, *NEW)) and CARD not in line and ENCRYPTED not in line


@pytest.fixture
def reader(alice: Cli, bob: Cli, sandbox: str, tmp_path: Path) -> Iterator[Cli]:
    """Alice under the names that the pages give her, with a run-time directory; and Bob, who answers."""
    alice.log_in(tmp_path / "login")
    config = alice.home / ".config/sipcli/config.toml"
    text = config.read_text()
    table = text.partition("[providers")[0]
    others = "".join(table.replace("[accounts.alice]", f"[accounts.{name}]") for name in ("work", "ci", "ops"))
    config.write_text(f'[defaults]\naccount = "alice"\n{text}\n{others}')
    answering = bob.start("listen", "--answer", "auto", "--audio", "echo", "--json")
    answering.wait_for("ready")
    yield alice
    answering.leave()


def in_the_sandbox(line: str, sandbox: str, folder: Path) -> list[str]:
    """The same words, with the sandbox in the place of example.com, its numbers and the reader's own configuration."""
    for theirs, ours in (
        ("sip:+4930123@sbc.example.com", f"sip:echo@{sandbox}"),
        ("@example.com", f"@{sandbox}"),
        ("sip:example.com", f"sip:{sandbox}"),
        ("/run/sipcli/", f"{folder}/"),
        ("--config /etc/sipcli/config.toml ", ""),
    ):
        line = line.replace(theirs, ours)
    return shlex.split(line)


def stays(words: list[str]) -> tuple[str, str] | None:
    """The event and the state after which it would go on for ever."""
    if words[0] == "call" and "--duration" not in words:
        return "call", "answered"
    return ("registration", "registered") if words[0] in ("register", "listen") and "--once" not in words else None


@pytest.mark.parametrize("line", [line for line in typed() if here(line)], ids=of)
def test_what_the_pages_say_to_type_works(reader: Cli, sandbox: str, tmp_path: Path, line: str) -> None:
    words = in_the_sandbox(line, sandbox, tmp_path / "login")
    goes_on = stays(words)
    if goes_on is None:
        done = reader.run(*words)
        assert done.code == 0, done.stderr
        return
    running = reader.start(*words, *([] if "--json" in words else ["--json"]))
    running.wait_for(goes_on[0], state=goes_on[1])
    running.signal(signal.SIGINT)
    assert running.finish().code == 130


def test_whoever_has_no_configuration_writes_one_that_is_right(cli: Cli) -> None:
    assert [line for line in typed() if line.startswith(NEW)] == list(NEW)
    for line in NEW:
        done = cli.run(*shlex.split(line))
        assert done.code == 0, done.stderr


def test_everything_that_is_typed_elsewhere_is_still_on_a_page() -> None:
    for words in ELSEWHERE:
        assert any(line.startswith(words) for line in typed()), words
