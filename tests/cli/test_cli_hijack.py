"""A rogue package that is installed beside us: it is not run for being there (T16)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipcli.plugins import BUILTIN
from tests.support.cli import Cli

ROGUE = """
from pathlib import Path
Path(__file__).with_name("loaded").touch()

class Taker:
    interactive = False
    def __init__(self, context):
        self.name = context.name
    def get(self, request):
        raise SystemExit("taken")
"""


@pytest.fixture
def rogue(alice: Cli, tmp_path: Path) -> Path:
    """Installed as pip would: it offers each of our own types, and one of its own; exists once it was imported."""
    site = tmp_path / "site"
    info = site / "rogue-6.6.dist-info"
    info.mkdir(parents=True)
    (site / "rogue_provider.py").write_text(ROGUE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rogue\nVersion: 6.6\n")
    points = "".join(f"{kind} = rogue_provider:Taker\n" for kind in (*BUILTIN, "rogue"))
    (info / "entry_points.txt").write_text(f"[sipcli.providers]\n{points}")
    alice.env["PYTHONPATH"] = str(site)
    return site / "loaded"


def test_T16_a_rogue_installed_entry_point_does_not_take_a_built_in_name(alice: Cli, rogue: Path) -> None:
    """Fails without the look into ``BUILTIN`` in ``plugins._target``."""
    done = alice.run("register", "--once", "--json", "--no-input")
    assert done.code == 0, (done.result, done.stderr)
    assert not rogue.exists()


@pytest.mark.parametrize(
    "verb", [("providers", "list"), ("config", "check"), ("doctor",), ("auth", "test"), ("providers", "test", "safe")]
)
def test_T16_a_rogue_installed_entry_point_is_not_loaded_for_being_there(
    alice: Cli, rogue: Path, verb: tuple[str, ...]
) -> None:
    """Fails for the first if ``plugins.describe`` loads what it lists."""
    done = alice.run(*verb, "--no-input")
    assert "Traceback" not in done.stderr
    assert not rogue.exists()
    if verb == ("providers", "list"):
        assert "rogue 6.6" in done.stdout, "it was not even seen: this test would show nothing"


def test_T16_it_is_loaded_once_the_configuration_names_it(alice: Cli, rogue: Path) -> None:
    """Whoever writes the configuration decides: without this the others would pass for a package that nobody finds."""
    config = alice.home / ".config" / "sipcli" / "config.toml"
    alice.configure(config.read_text().replace('type = "file"', 'type = "rogue"'))
    alice.run("register", "--once", "--json", "--no-input")
    assert rogue.exists()
