"""JSON lines for programs, sentences for people: who gets what, on which stream, and escaped."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from sipcli.cli.console import Console, Style
from sipcli.cli.environment import Environment
from sipcli.cli.exits import ExitStatus


class Desk:
    """A console with its streams in memory."""

    def __init__(self, **settings: Any) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        variables = settings.pop("variables", {})
        self.console = Console(environment=Environment(self.out, self.err, variables), **settings)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


def test_an_event_is_one_line_with_its_envelope() -> None:
    desk = Desk(json=True)
    desk.console.event("dtmf", {"digit": "5", "text": "two\nlines ü"})
    [line] = desk.lines
    assert list(line)[:4] == ["v", "t", "ms", "event"]
    assert line["v"] == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["t"])
    assert line["text"] == "two\nlines ü"


def test_without_json_there_are_no_events_and_with_it_no_sentences() -> None:
    plain, machine = Desk(), Desk(json=True)
    for desk in (plain, machine):
        desk.console.event("dtmf", {})
        desk.console.say("a sentence")
        desk.console.data("data")
    assert plain.out.getvalue() == "data\n"
    assert plain.err.getvalue() == "a sentence\n"
    assert [line["event"] for line in machine.lines] == ["dtmf"]
    assert machine.err.getvalue() == ""


def test_every_event_is_flushed() -> None:
    class Counting(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    out = Counting()
    console = Console(json=True, environment=Environment(out, io.StringIO(), {}))
    console.event("a", {})
    console.event("b", {})
    assert out.flushed == 2


def test_verbosity_chooses_what_is_said() -> None:
    desk = Desk(verbose=1)
    for level in range(3):
        desk.console.say(f"level {level}", level=level)
    assert desk.err.getvalue() == "level 0\nlevel 1\n"


def test_T12_escape_sequences_of_others_never_arrive() -> None:
    desk = Desk(color="always")
    desk.console.say("evil \x1b]52;c;aGk=\x07\r\n\u202etxet", style=Style.BAD)
    desk.console.data("data \x1b[2J\nsecond line")
    desk.console.picture("picture \x9b1m")
    desk.console.result("x", ExitStatus.OTHER, "failed", "a \x1b[1m b", hint="\x07", cause="\x1b")
    said = desk.err.getvalue()
    assert set(re.findall(r"\x1b\[[0-9;]*m", said)) == {"\x1b[31m", "\x1b[2m", "\x1b[0m"}
    rest = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", rest)
    assert desk.out.getvalue() == "data \\x1b[2J\nsecond line\n"


@pytest.mark.parametrize(
    ("color", "variables", "colored"),
    [
        ("auto", {"TERM": "xterm"}, False),  # a StringIO is no terminal
        ("always", {"NO_COLOR": "1", "TERM": "dumb"}, True),
        ("never", {"TERM": "xterm"}, False),
    ],
)
def test_colours(color: str, variables: dict[str, str], colored: bool) -> None:
    desk = Desk(color=color, variables=variables)
    desk.console.say("x", style=Style.GOOD)
    assert ("\x1b[32m" in desk.err.getvalue()) is colored


@pytest.mark.parametrize(
    ("variables", "colored"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
)
def test_colours_on_a_terminal(variables: dict[str, str], colored: bool) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    err = Tty()
    Console(environment=Environment(io.StringIO(), err, variables)).say("x", style=Style.GOOD)
    assert ("\x1b[32m" in err.getvalue()) is colored


class TestResult:
    def test_success_is_data_and_failure_is_for_people(self) -> None:
        good, bad = Desk(), Desk()
        good.console.result("register", ExitStatus.OK, "registered", "registered x")
        bad.console.result("register", ExitStatus.REFUSED, "refused", "it was refused", hint="try y", cause="403")
        assert (good.out.getvalue(), good.err.getvalue()) == ("registered x\n", "")
        assert bad.out.getvalue() == ""
        assert bad.err.getvalue() == "sipcli: it was refused\n  try y\n  (403)\n"

    def test_it_comes_once(self) -> None:
        desk = Desk(json=True)
        for _ in range(2):
            desk.console.result("x", ExitStatus.OK, "fine", "")
        assert len(desk.lines) == 1

    def test_its_fields(self) -> None:
        desk = Desk(json=True)
        desk.console.result("call", ExitStatus.BUSY, "busy", "words", hint="h", code=486, reason=None, extra={"a": 1})
        [line] = desk.lines
        assert {
            "verb": "call",
            "ok": False,
            "exit": 6,
            "outcome": "busy",
            "code": 486,
            "hint": "h",
        }.items() <= line.items()
        assert "reason" not in line
        assert line["expectations"] == []
        assert line["took_ms"] > 0

    def test_an_interrupted_person_is_told_nothing(self) -> None:
        desk = Desk()
        desk.console.result("x", ExitStatus.INTERRUPTED, "interrupted", "")
        assert (desk.out.getvalue(), desk.err.getvalue()) == ("", "")


class TestAReaderWhoLeaves:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    def test_is_noticed_once_and_ends_the_output(self) -> None:
        console = Console(json=True, environment=Environment(self.Broken(), io.StringIO(), {}))
        gone: list[bool] = []
        console.on_reader_gone = lambda: gone.append(True)
        for _ in range(3):
            console.event("x", {})
        assert gone == [True]
        assert console.reader_gone

    def test_a_closed_stderr_loses_the_sentence_and_nothing_else(self) -> None:
        err = io.StringIO()
        err.close()
        out = io.StringIO()
        console = Console(environment=Environment(out, err, {}))
        console.say("lost")
        console.data("kept")
        assert out.getvalue() == "kept\n"
