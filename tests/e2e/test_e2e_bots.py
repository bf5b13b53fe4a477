"""The two bots of examples/, registered at Kamailio, called by the command line; the test listens to what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support import wavs
from tests.support.cli import Cli
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]

ROOT = Path(__file__).parents[2]


@contextmanager
def bot(name: str, home: Path, kamailio: Kamailio) -> Iterator[None]:
    """The example *name*, registered as carol; it must leave by itself, and quietly, when it is interrupted."""
    there = Cli(home)
    path = there.secret("secret", "carolpass")
    there.configure(account(kamailio.address(), user="carol") + FILE_PROVIDER.format(path=path))
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / name)],
        env=there.env | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "is there" in said, process.stderr and process.stderr.read()
        yield
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 0 and "Traceback" not in errors, errors
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def alice(cli: Cli, kamailio: Kamailio) -> Cli:
    path = cli.secret("secret", "secret123")
    cli.configure(account(kamailio.address()) + FILE_PROVIDER.format(path=path))
    return cli


def test_the_echo_bot_says_back_what_it_hears(alice: Cli, kamailio: Kamailio, tmp_path: Path) -> None:
    record = tmp_path / "rx.wav"
    with bot("echo_bot.py", tmp_path / "bot", kamailio):
        done = alice.run(
            "call", "sip:carol@sip.test", "--json", "--audio", "tone:620", "--record", str(record), "--duration", "3"
        )
    assert done.code == 0, done.stderr
    wavs.assert_tone(record, 620, seconds=2.0)


def test_the_menu_plays_what_the_key_says_and_hangs_up_at_0(alice: Cli, kamailio: Kamailio, tmp_path: Path) -> None:
    record = tmp_path / "rx.wav"
    with bot("dtmf_menu.py", tmp_path / "bot", kamailio):
        done = alice.run(
            "call", "sip:carol@sip.test", "--json", "--record", str(record), "--duration", "20", "--dtmf", "2,,,,0"
        )
    assert done.code == 0, done.stderr
    assert done.named("call")[-1]["by"] == "remote", "the bot hung up"
    wavs.assert_tone(record, 1200, seconds=1.0)
