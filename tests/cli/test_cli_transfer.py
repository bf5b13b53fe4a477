"""Transfers at the command line: what `ctl` takes, what a person at the terminal is asked, and what his key does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sipcli.cli.console import Style
from sipcli.cli.words import Talker
from tests.support.cli import Cli, Running
from tests.support.pty import ended, terminal, until_echo


@pytest.fixture
def listening(bob: Cli) -> Iterator[Running]:
    running = bob.start("listen", "--json", "--answer", "auto", "--audio", "tone:440", "--max-calls", "1")
    try:
        running.wait_for("ready")
        yield running
    finally:
        running.kill()


def test_T22_a_person_is_asked_and_goes(alice: Cli, bob: Cli, listening: Running, sandbox: str) -> None:
    """Bob sends alice to the echo: she is asked, presses y, and h hangs up there."""
    with terminal(alice, "call", "bob", "--no-register") as child:
        child.expect("in call with sip:bob@")
        until_echo(child, False)
        sending = bob.start("ctl", "transfer", "echo", "--json")
        try:
            child.expect(f"they send us to sip:echo@{sandbox.partition(':')[0]}")
            child.expect_exact("[y]es  [n]o")
            child.send("y")
            child.expect("in call with sip:echo@")
            sent = sending.finish()
        finally:
            sending.kill()
        assert (sent.code, sent.result["call"]["state"]) == (0, "ended"), sent.stderr
        child.expect("call with sip:bob@.* ended")
        child.send("h")
        status, said = ended(child)
        assert status == 0, said
        assert child.getecho()
    assert listening.finish().code == 0


def test_T22_a_person_is_asked_and_stays(alice: Cli, bob: Cli, listening: Running) -> None:
    with terminal(alice, "call", "bob", "--no-register") as child:
        child.expect("in call with sip:bob@")
        until_echo(child, False)
        sending = bob.start("ctl", "transfer", "echo", "--json")
        try:
            child.expect_exact("[y]es  [n]o")
            child.send("n")
            sent = sending.finish()
        finally:
            sending.kill()
        assert sent.code == 1
        assert "603" in sent.result["message"]
        child.expect("we do not go")
        child.send("h")
        assert ended(child)[0] == 0
    assert listening.finish().code == 0


def test_T22_without_a_terminal_nobody_is_asked(alice: Cli, bob: Cli, listening: Running) -> None:
    calling = alice.start("call", "bob", "--json", "--no-register")
    try:
        calling.wait_for("call", state="answered")
        listening.wait_for("call", state="answered")
        sent = bob.run("ctl", "transfer", "echo", "--json")
        assert (sent.code, calling.wait_for("transfer")["state"]) == (1, "refused")
        assert bob.run("ctl", "hangup").code == 0
        done = calling.finish()
    finally:
        calling.kill()
    assert done.code == 0
    assert len({event["call"] for event in done.named("call")}) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("transfer",), "wants [CALL] TARGET"),
        (("transfer", "call1", "sip:a@b", "more"), "wants [CALL] TARGET"),
        (("transfer", "call1", "sip:a@b", "--to", "call2"), "wants nothing more"),
        (("hold", "--to", "call2"), "--to is for transfers"),
    ],
)
def test_words_that_make_no_transfer(bob: Cli, words: tuple[str, ...], said: str) -> None:
    done = bob.run("ctl", *words)
    assert done.code == 2, done.stderr
    assert said in done.stderr


def test_a_call_that_is_not_there_is_no_target(bob: Cli, alice: Cli, listening: Running) -> None:
    calling = alice.start("call", "bob", "--json", "--no-register")
    try:
        listening.wait_for("call", state="answered")
        done = bob.run("ctl", "transfer", "call1", "--to", "call7")
        assert done.code == 1 and "no call call7" in done.stderr
        done = bob.run("ctl", "transfer", "call1", "http://example.com/")
        assert done.code == 1, done.stderr
        bob.run("ctl", "hangup")
        assert calling.finish().code == 0
    finally:
        calling.kill()


@pytest.mark.parametrize(
    ("fields", "words", "style"),
    [
        ({"direction": "in", "state": "asked"}, "they send us to sip:c@d", Style.BOLD),
        (
            {"direction": "in", "state": "refused", "code": 603, "reason": "it is a telephone number"},
            "they sent us to sip:c@d, and we do not go (it is a telephone number)",
            Style.WARN,
        ),
        ({"direction": "in", "state": "trying"}, "following to sip:c@d", None),
        ({"direction": "out", "state": "done", "code": 200, "reason": "OK"}, "transferred to sip:c@d", None),
        (
            {"direction": "out", "state": "failed", "code": 486, "reason": "Busy Here"},
            "the transfer to sip:c@d failed (486 Busy Here)",
            Style.WARN,
        ),
        ({"direction": "in", "kind": "replaced", "state": "done"}, "the call goes on with sip:c@d", None),
        ({"direction": "out", "state": "progress", "code": 180}, None, None),
    ],
)
def test_a_transfer_in_words(fields: dict[str, object], words: str | None, style: str | None) -> None:
    said = Talker().sentence("transfer", {"call": "call1", "kind": "blind", "target": "sip:c@d", **fields})
    assert (None if said is None else said.text) == words
    assert said is None or said.style == style
