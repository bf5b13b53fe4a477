"""A real server that is not here: one skip with its reason on a laptop, a failure in continuous integration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import real


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real.shutil, "which", lambda name: None)
    for name in ("CI", "SIPCLI_REQUIRE_REAL"):
        monkeypatch.delenv(name, raising=False)


def test_elsewhere_it_is_a_skip_with_the_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match="needs the real kamailio: the program kamailio is not installed"):
        real.require("kamailio")


@pytest.mark.parametrize("variable", [("CI", "true"), ("SIPCLI_REQUIRE_REAL", "1")])
def test_in_continuous_integration_it_fails(monkeypatch: pytest.MonkeyPatch, variable: tuple[str, str]) -> None:
    monkeypatch.setenv(*variable)
    with pytest.raises(pytest.fail.Exception, match="the program sipp is not installed"):
        real.require("sipp")


def test_what_is_here_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real.shutil, "which", lambda name: f"/usr/bin/{name}")
    real.require("kamailio", "sipp", "baresip")


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize(("continuous", "status"), [("true", 1), ("", 0)])
def test_any_skip_fails_the_run_in_continuous_integration(
    tmp_path: Path, workers: tuple[str, ...], continuous: str, status: int
) -> None:
    (tmp_path / "conftest.py").write_text((Path(__file__).parents[2] / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(
        "import pytest\ndef test_good(): pass\n@pytest.mark.skip(reason='away')\ndef test_away(): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers, str(tmp_path)],
        env={"PATH": os.environ["PATH"], "CI": continuous}, cwd=tmp_path, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert ("that fails the run" in done.stdout) is (status == 1)
