"""What libraries log reaches people as sentences: redacted, escaped, tracebacks only for those who ask."""

from __future__ import annotations

import io
import json
import logging
import warnings

import pytest

from sipcli.cli.console import Console
from sipcli.cli.environment import Environment
from sipcli.cli.logs import logs_on, redact


def logged(verbose: int = 0, *, json_lines: bool = False) -> tuple[io.StringIO, io.StringIO, Console]:
    out, err = io.StringIO(), io.StringIO()
    return out, err, Console(json=json_lines, verbose=verbose, environment=Environment(out, err, {}))


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2",
        "headers {'Authorization': 'Bearer hunter2'}",
        'Proxy-Authorization: Digest username="a", response="hunter2"',
        "grant_type=password&password=hunter2&x=1",
        '{"access_token": "hunter2"}',
        "X-Vault-Token: hunter2",
        "client_secret=hunter2",
        "refresh_token='hunter2'",
    ],
)
def test_T14_nothing_secret_gets_through(text: str) -> None:
    assert "hunter2" not in redact(text)
    assert "***" in redact(text)


def test_ours_are_told_and_others_only_to_those_who_look() -> None:
    for verbose, expected in ((0, "ours\n"), (1, "ours\nurllib3: theirs\n")):
        _, err, console = logged(verbose)
        with logs_on(console):
            logging.getLogger("sipcli.ua").warning("ours")
            logging.getLogger("urllib3").warning("theirs")
            logging.getLogger("urllib3").debug("never")
            logging.getLogger("sipcli.ua").debug("only with -vv")
        assert err.getvalue() == expected


def test_a_traceback_is_for_two_vs() -> None:
    for verbose, shown in ((0, False), (1, False), (2, True)):
        _, err, console = logged(verbose)
        with logs_on(console):
            try:
                raise ValueError("password=hunter2")
            except ValueError:
                logging.getLogger("sipcli.ua").exception("it failed")
        assert ("Traceback" in err.getvalue()) is shown
        assert "hunter2" not in err.getvalue()


def test_T12_escapes_and_broken_formats_are_no_trouble() -> None:
    _, err, console = logged()
    with logs_on(console):
        logging.getLogger("sipcli").warning("evil \x1b[2J%s")
        [handler] = [
            handler for handler in logging.getLogger().handlers if type(handler).__module__ == "sipcli.cli.logs"
        ]
        handler.emit(logging.LogRecord("sipcli", logging.WARNING, "x", 1, "%d", ("not a number",), None))
    assert err.getvalue() == "evil \\x1b[2J%s\n%d\n"


def test_for_programs_it_is_a_warning_event() -> None:
    out, err, console = logged(json_lines=True)
    with logs_on(console):
        logging.getLogger("sipcli").warning("mind this")
    assert json.loads(out.getvalue())["message"] == "mind this"
    assert err.getvalue() == ""


def test_pythons_warnings_come_here_too() -> None:
    _, err, console = logged(1)
    with logs_on(console), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    assert "py.warnings: " in err.getvalue()


def test_afterwards_all_is_as_before() -> None:
    root, ours = logging.getLogger(), logging.getLogger("sipcli")
    before = (root.level, ours.level, list(root.handlers))
    with logs_on(logged()[2]):
        pass
    assert (root.level, ours.level, list(root.handlers)) == before
