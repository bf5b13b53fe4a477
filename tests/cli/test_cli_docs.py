"""docs/cli.md is written from the commands, and is current."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from sipcli.cli.exits import ExitStatus
from sipcli.cli.main import VERBS

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_cli_docs", REPOSITORY / "scripts" / "make_cli_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_program_says(generator: ModuleType) -> None:
    assert (REPOSITORY / "docs" / "cli.md").read_text() == generator.document(), "run python scripts/make_cli_docs.py"


def test_it_names_every_verb_and_every_status(generator: ModuleType) -> None:
    text = generator.document()
    for verb in VERBS:
        assert f"## sipcli {verb}\n" in text
    for status in ExitStatus:
        assert f"| {int(status)} |" in text
    assert "sipcli auth save" in text
