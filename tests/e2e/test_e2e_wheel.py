"""What is installed: a wheel that is built here holds the two packages, says what it offers, and runs by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from hatchling import build; print(build.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-c", BUILD, place], cwd=ROOT, capture_output=True, text=True, check=True)
    return place / done.stdout.split()[-1]


def run(wheel: Path, place: Path, *arguments: str) -> str:
    """What ``sipcli`` says from the wheel; its dependencies are our own, its code is not."""
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(place)
    command = [sys.executable, "-m", "sipcli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(place), "HOME": str(place), "XDG_CONFIG_HOME": str(place)}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=True).stdout


def test_it_holds_the_two_packages_whole_and_nothing_else(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    sources = [(ROOT / "sipcli", ROOT), (ROOT / "providers/sipcli_providers", ROOT / "providers")]
    files = [(path, root) for top, root in sources for path in top.rglob("*") if path.is_file()]
    ours = {path.relative_to(root).as_posix() for path, root in files if "__pycache__" not in path.parts}
    assert {name for name in held if ".dist-info/" not in name} == ours
    assert {"sipcli/py.typed", "sipcli_providers/py.typed"} <= held
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in held)


def test_it_runs_and_knows_its_providers(wheel: Path, tmp_path: Path) -> None:
    (result,) = (json.loads(line) for line in run(wheel, tmp_path, "--json", "providers").splitlines())
    registered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["sipcli.providers"]
    found = {kind["type"]: kind for kind in result["types"] if kind["builtin"]}
    assert found.keys() == registered.keys()
    assert not [kind for kind in found.values() if kind["problem"]]
