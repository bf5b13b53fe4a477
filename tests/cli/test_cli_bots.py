"""The bots of examples/, started by somebody who has not read how: one sentence and the next step, not a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli

ROOT = Path(__file__).parents[2]
NOBODY = '[accounts.work]\naor = "sip:alice@127.0.0.1:1"\ncredentials = []\n'


@pytest.mark.parametrize("name", ["echo_bot.py", "dtmf_menu.py"])
@pytest.mark.parametrize(
    ("configuration", "sentence"),
    [(None, "there is no account"), ("[accounts.work", "TOML"), (NOBODY, "connection refused")],
)
def test_a_bot_that_cannot_begin_says_why(cli: Cli, name: str, configuration: str | None, sentence: str) -> None:
    if configuration is not None:
        cli.configure(configuration)
    # In development mode asyncio has a line of its own for a step that took 100 ms, as on a busy machine each may.
    environment = {key: value for key, value in cli.env.items() if key != "PYTHONDEVMODE"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)],
        env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, "one sentence"
