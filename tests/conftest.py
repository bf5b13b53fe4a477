"""Rules for the whole run."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Under ``CI=true`` what was skipped was not tested, so the run has failed, whatever the reason of the skip."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    at_a_worker = hasattr(session.config, "workerinput")
    if os.environ.get("CI") != "true" or at_a_worker or reporter is None or exitstatus != pytest.ExitCode.OK:
        return
    if skipped := len(reporter.stats.get("skipped", ())):
        reporter.write_line(f"{skipped} skipped, and CI=true: that fails the run", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
