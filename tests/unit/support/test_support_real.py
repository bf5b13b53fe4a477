"""A real server that is not here: one skip with its reason on a laptop, a failure in continuous integration."""

from __future__ import annotations

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
