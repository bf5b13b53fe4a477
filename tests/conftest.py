"""Rules for the whole run."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

# How quick an example is tells how busy the machine was; what must be quick has a test that measures it.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    """Behind ``nohup`` or ``&`` a shell has us ignore signals, and whatever a test starts would inherit that."""
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


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
