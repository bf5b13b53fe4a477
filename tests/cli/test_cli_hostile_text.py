"""A terminal under attack: the real sipcli on a pty, their text in every place, and an emulated screen (T12)."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pyte
import pytest

from sipcli.cli.console import Console
from sipcli.cli.environment import Environment
from sipcli.cli.silent import SilentTerminal
from sipcli.credentials import UserAction
from tests.support.cli import Cli
from tests.support.hostile import Answer, Hostile
from tests.support.peer import Caller, Heard, response
from tests.support.pty import ended, terminal, until_echo

UNFIT = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
HEADER_SAFE = {
    "bidi": "\u202egpj.exe\u2066x\u2069\u200f",
    "invisible": "pass\u200bwo\u200drd\ufeff\u00ad\U000e0041",
    "c1": "\x9b2J\x9d0;owned\x9c\x85\u2028\u2029next",
    "invalid": "\udcff\udc9b2J\udc80",
    "naughty": 'Z\u0351\u0323A\u0336 \ufdfd \U0001f3f3\u200d\U0001f308 $(id) `id` %s%n {0.__class__} <b>" realm="x',
    "long": "A" * 7000,
}
"""What a header may hold, so that the message is not refused before anything of it is shown."""
CONTROLS = {
    "osc52": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "osc0": "\x1b]0;owned\x07",
    "csi": "\x1b[2J\x1b[1;1H\x1b[31mowned\x1b[8m",
    "dcs": "\x1bP+q544e\x1b\\\x1bc",
    "back": "\b" * 60 + "\x7f\x07",
    "tabs": "\t\t\tx\v\f\x0e",
}
EVERYTHING = HEADER_SAFE | CONTROLS
each_text = pytest.mark.parametrize("text", EVERYTHING.values(), ids=EVERYTHING.keys())


class Shown:
    """What reached the terminal, octet for octet, and what a terminal makes of it."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.title = ""
        screen = pyte.Screen(300, 200)
        screen.set_mode(pyte.modes.LNM)
        pyte.Stream(screen).feed(said)
        self.title = screen.title + screen.icon_name
        self.lines = [line.rstrip() for line in screen.display]

    def check(self) -> None:
        """No octet that does anything but print, begin a line, or end one; every line of ours still there."""
        bad = {c for c in self.said if c not in "\r\n" and unicodedata.category(c) in UNFIT}
        assert not bad, f"{bad} reached the terminal"
        assert "\r" not in self.said.replace("\r\n", ""), "a lone CR goes back over what stands there"
        assert self.title == ""
        for line in filter(None, self.said.splitlines()):
            assert len(line) < 2200, "nobody said how long it may be"
            assert any(ascii_of(line[:100]) in ascii_of(shown) for shown in self.lines), (
                f"{line!r} is not on the screen"
            )


def ascii_of(line: str) -> str:
    """Without what an emulator composes, or gives two columns."""
    return "".join(c for c in unicodedata.normalize("NFD", line) if c.isascii()).rstrip()


@contextmanager
def hostile(answer: Answer) -> Iterator[Hostile]:
    server = Hostile(answer)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def watched(cli: Cli, *arguments: str) -> Iterator[tuple[pexpect.spawn[str], io.StringIO]]:
    with terminal(cli, *arguments) as child:
        child.logfile_read = io.StringIO()
        yield child, child.logfile_read


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def asks(realm: str, *more: str) -> Answer:
    challenge = f'WWW-Authenticate: Digest realm={quoted(realm)}, nonce="n", qop="auth", algorithm=SHA-256'
    return lambda request: [response(request, 401, "Unauthorized", challenge, *more)]


@pytest.mark.parametrize("text", HEADER_SAFE.values(), ids=HEADER_SAFE.keys())
def test_T12_a_realm_in_the_prompt(cli: Cli, text: str) -> None:
    """Ours stands first - whose password, at which host - and theirs between quotes that they cannot close."""
    with (
        hostile(asks(text)) as server,
        watched(cli, "register", f"sip:alice@127.0.0.1:{server.port}", "--once") as (
            child,
            said,
        ),
    ):
        child.expect("Password for .*: ")
        until_echo(child, False)
        child.sendcontrol("d")
        assert ended(child)[0] == 4
        shown = Shown(said.getvalue())
        shown.check()
        [prompt] = [line for line in shown.said.splitlines() if "Password for" in line]
        ours, _, theirs = prompt.partition('realm "')
        assert ours == f"Password for alice@127.0.0.1:{server.port}, "
        assert len(theirs) < 300
        assert theirs.replace('\\"', "").count('"') == 1


@each_text
@pytest.mark.parametrize("flags", [(), ("-vv",), ("-v", "--ladder"), ("--json",)], ids=" ".join)
def test_T12_a_refusal_with_its_reason_and_warning(cli: Cli, text: str, flags: tuple[str, ...]) -> None:
    """In the sentence, the logs, the ladder, the messages of -vv, and JSON, which leaves C1 and bidi alone."""
    theirs = text if len(text) < 5000 else text[:5000]

    def answer(request: Heard) -> list[bytes]:
        return [response(request, 403, theirs, f"Warning: 399 evil {quoted(theirs)}", f"Server: {theirs}")]

    with (
        hostile(answer) as server,
        watched(cli, "register", f"sip:alice@127.0.0.1:{server.port}", "--once", "--timeout", "3", *flags) as (
            child,
            said,
        ),
    ):
        status, _ = ended(child)
        assert server.heard
        assert status in (3, 5, 12)
        shown = Shown(said.getvalue())
        if "--json" in flags:
            lines = shown.said.splitlines()
            assert all(isinstance(json.loads(line), dict) for line in lines)
            assert all(unicodedata.category(c) not in UNFIT for line in lines for c in line)
        else:
            shown.check()


def test_T12_the_servers_words_are_called_its_own(cli: Cli) -> None:
    with hostile(lambda request: [response(request, 403, "ask root for it")]) as server:
        done = cli.run("register", f"sip:alice@127.0.0.1:{server.port}", "--once")
    assert "server says “ask root for it”" in done.stderr


@each_text
def test_T12_a_call_and_a_message(cli: Cli, text: str) -> None:
    """The caller's display name and number, the Subject, and the text of a MESSAGE: the one body that is shown."""
    cli.configure("")
    name = text if len(text) < 3000 else text[:3000]
    with (
        hostile(lambda request: []) as mallory,
        watched(cli, "listen", "--no-register", "--port", "0", "--allow-anonymous", "-v") as (
            child,
            said,
        ),
    ):
        child.expect(r"udp:0\.0\.0\.0:(\d+)")
        port = int(child.match[1])
        caller = Caller(address=f"127.0.0.1:{mallory.port}", uri=f"sip:x@127.0.0.1:{port}", call_id="hostile")
        mallory.send(caller.request("MESSAGE", body=text.encode(errors="surrogateescape"), kind="text/plain"), port)
        child.expect("message from")
        shown = Shown(said.getvalue())
        shown.check()
        invite = caller.request("INVITE", f"Subject: {name}", body=b"")
        invite = invite.replace(b"From: ", f"From: {quoted(name)} ".encode(errors="surrogateescape"), 1)
        mallory.send(invite, port)
        child.expect(r"bob@|[Cc]all")
        child.sendintr()
        ended(child)
        Shown(said.getvalue()).check()


def test_T12_a_trace_may_be_shown_with_cat(cli: Cli, tmp_path: Path) -> None:
    """Fails without ``_in_json``: JSON leaves C1 controls and bidi overrides as they are."""
    trace = tmp_path / "t.jsonl"
    for text in EVERYTHING.values():
        with hostile(asks("r", f"Server: {text[:5000]}")) as server:
            cli.run("register", f"sip:alice@127.0.0.1:{server.port}", "--once", "--no-input", "--trace", str(trace))
        lines = trace.read_text().splitlines()
        assert lines
        assert all(isinstance(json.loads(line), dict) for line in lines)
        assert all(unicodedata.category(c) not in UNFIT for line in lines for c in line)


@each_text
def test_T12_T30_a_page_to_open_and_a_code_to_enter(text: str) -> None:
    """The words of a device flow, as a provider hands them over: the host first, and nothing of it does anything."""
    out = io.StringIO()
    console = Console(environment=Environment(io.StringIO(), out, {}))
    page = UserAction(provider="sso", url=f"https://login.example/{text}", user_code=text)
    SilentTerminal(say=console.insist, why="nobody").user_action(page)
    shown = Shown(out.getvalue().replace("\n", "\r\n"))
    shown.check()
    assert shown.said.startswith("to let sso in, open login.example: ")
