"""What shapes a request from the command line: headers of one's own, digits at their time, a recording's name."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from sipcli.cli.shaping import TimedDigits
from sipcli.cli.talk import press_in_time
from sipcli.errors import LocalProtocolError
from tests.support.cli import Cli
from tests.support.clock import advance, settle, stepped


def sent(trace: Path, method: str) -> list[str]:
    """The requests of *method* that went out, as the trace has them."""
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    messages = [event["sip"] for event in events if event["event"] == "trace" and event["direction"] == "out"]
    return [text for text in messages if text.startswith(f"{method} ")]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("INVITE", ("call", "echo", "--no-register", "--duration", "0.3")),
        ("MESSAGE", ("message", "echo", "hello")),
        ("OPTIONS", ("options", "echo", "--from", "alice")),
    ],
)
def test_a_header_is_in_each_attempt_and_in_the_trace(
    method: str, words: tuple[str, ...], alice: Cli, tmp_path: Path
) -> None:
    trace = tmp_path / "t.jsonl"
    done = alice.run(*words, "--header", "X-A: b", "--header", "Subject:lunch, then", "--trace", str(trace))
    assert done.code == 0, done.stderr
    attempts = sent(trace, method)
    assert len(attempts) == (1 if method == "OPTIONS" else 2)  # the sandbox challenges no ping
    for text in attempts:
        assert "\r\nX-A: b\r\n" in text
        assert "\r\nSubject: lunch, then\r\n" in text
    assert all("X-A" not in text for other in ("ACK", "BYE", "REGISTER") for text in sent(trace, other))


def test_a_header_is_in_each_register_and_nowhere_else(alone: Cli, tmp_path: Path) -> None:
    """Challenged or not, and in the one that takes the binding back: a trunk may look for it in all of them."""
    trace = tmp_path / "t.jsonl"
    done = alone.run(
        "register", "--once", "--header", "X-A: b", "--header", "Subject:lunch, then", "--trace", str(trace)
    )
    assert done.code == 0, done.stderr
    attempts = sent(trace, "REGISTER")
    assert len(attempts) == 3, "the first, the one that answers the challenge, and the end"
    for text in attempts:
        assert "\r\nX-A: b\r\n" in text
        assert "\r\nSubject: lunch, then\r\n" in text
    assert "\r\nExpires: 0\r\n" in attempts[-1]


@pytest.mark.parametrize(
    "verb", [("call", "echo"), ("message", "echo", "x"), ("options", "echo"), ("register", "sip:a@b.example")]
)
@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("X-A b", "there is no colon in it; write it as 'X-A: b'"),
        ("X A: b", "'X A' is no header name; write it as 'X-A: b'"),
        ("X-A: b\r\nVia: x", "the value of X-A holds a line end"),
        ("cOnTaCt: <sip:x@y>", "cOnTaCt is written by sipcli itself"),
        ("m: <sip:x@y>", "m is written by sipcli itself"),
    ],
)
def test_a_header_that_cannot_be_added_is_one_sentence(
    verb: tuple[str, ...], header: str, words: str, cli: Cli
) -> None:
    done = cli.run(*verb, "--header", header)
    assert done.code == 2, done.stderr
    sentence, step = done.stderr.splitlines()
    assert words in sentence
    assert step.strip() == f"try: sipcli {verb[0]} --help"


@pytest.mark.parametrize(
    "said",
    ["1s", "12#", "1s:", "1s:12x", ":12#", "later:1", "0s:1", "-1s:1", "nan:1", "1s 12#", "1m:1", "inf:1", "1s:1:2"],
)
def test_a_time_or_digits_that_are_none_are_refused_with_an_example(said: str, cli: Cli) -> None:
    done = cli.run("call", "echo", f"--dtmf-after={said}")
    assert done.code == 2, done.stderr
    sentence, _ = done.stderr.splitlines()
    assert "--dtmf-after" in sentence
    assert sentence.endswith("write it as 1s:12#")


def test_digits_whose_time_never_comes_are_refused(alice: Cli) -> None:
    done = alice.run("call", "ivr", "--no-register", "--dtmf-after", "2s:1", "--duration", "2", "--json")
    assert done.code == 2
    assert done.result["message"] == "--dtmf-after 2s is never: the call lasts 2 s"


class Pressed:
    """A call of which only this is known: when it was given which digits, and how long they took."""

    def __init__(self, *, takes: float = 0.0, refuses: str = "") -> None:
        self.is_over = False
        self.successor: Pressed | None = None
        self.heard: list[tuple[float, str]] = []
        self.warnings: list[str] = []
        self.teller = self
        self._takes, self._refuses = takes, refuses
        self._began = asyncio.get_running_loop().time()

    async def dtmf(self, digits: str) -> None:
        if digits == self._refuses:
            raise LocalProtocolError("not now")
        self.heard.append((asyncio.get_running_loop().time() - self._began, digits))
        await asyncio.sleep(self._takes)

    def warning(self, code: str, message: str) -> None:
        self.warnings.append(f"{code}: {message}")


def pressing(call: Pressed, *plan: tuple[float, str]) -> asyncio.Task[None]:
    return asyncio.ensure_future(press_in_time(cast("Any", call), [TimedDigits(*timed) for timed in plan]))


@stepped
async def test_digits_go_out_at_their_time_after_the_answer() -> None:
    call = Pressed()
    task = pressing(call, (0, "1"), (1, "2#"), (2.5, "3"))
    await settle()
    assert call.heard == [(0, "1")]
    await advance(0.999)
    assert call.heard == [(0, "1")]
    await advance(0.001)
    assert call.heard == [(0, "1"), (1, "2#")]
    await advance(10)
    assert call.heard == [(0, "1"), (1, "2#"), (2.5, "3")]
    assert task.done()


@stepped
async def test_digits_that_take_long_put_off_the_next_but_not_those_after_it() -> None:
    call = Pressed(takes=1.5)
    pressing(call, (1, "1"), (2, "2"), (5, "3"))
    await advance(10)
    assert call.heard == [(1, "1"), (2.5, "2"), (5, "3")]


@stepped
async def test_digits_that_nobody_takes_are_said_and_the_next_go_out() -> None:
    call = Pressed(refuses="1")
    pressing(call, (1, "1"), (2, "2"))
    await advance(3)
    assert (call.warnings, call.heard) == (["dtmf-not-sent: not now"], [(2, "2")])


@stepped
async def test_digits_go_to_the_call_that_took_the_place_of_the_first() -> None:
    first, second = Pressed(), Pressed()
    pressing(first, (1, "1"), (2, "2"))
    first.successor = second  # he is still being rung
    await advance(1)
    first.is_over = True
    await advance(1)
    assert (first.heard, second.heard) == ([(1, "1")], [(2, "2")])


def test_a_menu_hears_digits_in_order_of_time(alice: Cli) -> None:
    """Said the other way round; the sandbox's IVR repeats what it hears."""
    done = alice.run(
        "call", "ivr", "--json", "--no-register", "--dtmf", "1", "--dtmf-after", "1.5s:3#", "--dtmf-after", "1:2",
        "--duration", "5",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    ours = [event for event in done.named("dtmf") if event["direction"] == "out"]
    assert "".join(event["digit"] for event in ours) == "123#"
    assert "".join(event["digit"] for event in done.named("dtmf") if event["direction"] == "in") == "123#"
    [answered] = [event for event in done.named("call") if event["state"] == "answered"]
    waited = [event["ms"] - answered["ms"] for event in ours]
    assert all(ms >= least for ms, least in zip(waited, (0, 1000, 1500, 1500), strict=True)), waited


def test_a_recording_is_named_by_its_call(alice: Cli) -> None:
    done = alice.run(
        "call",
        "music",
        "--json",
        "--no-register",
        "--record",
        "out-%c-%n.wav",
        "--record-mode",
        "both",
        "--duration",
        "1",
    )
    assert done.code == 0, done.stderr
    [call] = {event["call"] for event in done.named("call")}
    assert re.fullmatch(r"call\d+", call)
    [path] = alice.home.glob("*.wav")
    assert path.name == f"out-{call}-1.wav"
    assert path.read_bytes()[22:24] == b"\x02\x00"  # both sides: two channels
    assert path.stat().st_size > 16000
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_recording_that_cannot_be_named_so_is_no_call(alice: Cli) -> None:
    """Its file cannot be made once the INVITE is on its way: whoever was called is not kept ringing."""
    for number in range(1, 10):
        (alice.home / f"out-call{number}.wav").symlink_to("elsewhere")
    done = alice.run("call", "ring", "--json", "--no-register", "--record", "out-%c.wav")
    assert done.code == 2, done.stderr
    assert "it is a link" in done.result["message"]
    assert done.named("call")[-1]["state"] == "ended"
    assert not (alice.home / "elsewhere").exists()
