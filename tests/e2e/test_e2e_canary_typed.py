"""A password that a person typed - in whole, in half, at the wrong moment - is nowhere afterwards (T14).

Not on the screen, not in what the shell or Python remember of the lines they read, and not in the next command line.
Only a process that is killed outright - SIGKILL, SIGSEGV - cannot take what was typed with it: see docs/security.md.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pexpect
import pytest

from tests.e2e.conftest import account
from tests.support.canary import Nest, canary, offspring
from tests.support.pty import until_echo, until_typed
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.keyring import Keyring

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("canary_typed")]

Screen: TypeAlias = "pexpect.spawn[str]"
PROMPT = "assword for .*: "


@pytest.fixture(scope="module")
def registrar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kamailio]:
    """It knows the canary; ``not-prompt`` has another password than the person thinks."""
    server = Kamailio(tmp_path_factory.mktemp("kamailio"), users={"prompt": canary("prompt"), "not-prompt": "another"})
    yield server
    server.stop()


class Seat(Nest):
    """A machine where a person is asked."""

    def __init__(self, folder: Path, registrar: Kamailio) -> None:
        super().__init__(folder)
        self.registrar = registrar
        run = self.cli.home / "run"
        run.mkdir(mode=0o700)
        self.cli.env |= {"XDG_RUNTIME_DIR": str(run), "PS1": "shell# ", "INPUTRC": "/dev/null"}

    def asked(self, user: str = "prompt") -> str:
        """Configures *user*'s account; the password."""
        self.cli.configure(account(self.registrar.address(), user=user, credentials='"prompt"'))
        return self.hatch("prompt", user)


@pytest.fixture
def seat(tmp_path: Path, registrar: Kamailio) -> Seat:
    return Seat(tmp_path, registrar)


def types(child: Screen, *keys: str) -> None:
    """Each of *keys* at a prompt of its own."""
    for key in keys:
        child.expect(PROMPT)
        until_echo(child, False)
        child.send(key)
    until_typed(child)


# -- at the prompt --------------------------------------------------------------------------------------------------

PEOPLE: dict[str, tuple[int, str, str, Callable[[str], tuple[str, ...]]]] = {
    "right": (0, "", "prompt", lambda secret: (f"{secret}\r",)),
    "refused, then left": (4, "run it again and answer", "not-prompt", lambda secret: (f"{secret}\r", "\x03")),
    "refused thrice": (3, "is that the right", "not-prompt", lambda secret: tuple(f"{secret}{n}\r" for n in range(3))),
    "left with ^C": (4, "run it again and answer", "prompt", lambda secret: (f"{secret}\x03",)),
    "left with ^D": (4, "run it again and answer", "prompt", lambda secret: (f"{secret}\x15\x04",)),
    "never finished": (4, "allow more time with --max-wait", "prompt", lambda secret: (secret,)),
    "with a NUL": (8, "contains a control character: try again", "prompt", lambda secret: (f"{secret}\x16\0\r",)),
    "far too long": (4, "run it again and answer", "prompt", lambda secret: (secret * 200 + "\x03",)),
    "cut off by SIGTERM": (143, "", "prompt", lambda secret: (secret,)),
    "cut off by SIGHUP": (129, "", "prompt", lambda secret: (secret,)),
    "cut off by SIGQUIT": (-signal.SIGQUIT, "", "prompt", lambda secret: (secret,)),
    "cut off by SIGSEGV": (-signal.SIGSEGV, "", "prompt", lambda secret: (secret,)),
}  # fmt: skip


@pytest.mark.parametrize("trouble", PEOPLE)
@pytest.mark.parametrize("json", [True, False], ids=["json", "words"])
def test_T14_no_canary_that_was_typed_is_left_anywhere(seat: Seat, trouble: str, json: bool) -> None:
    status, says, user, keys = PEOPLE[trouble]
    secret = seat.asked(user)
    words = ["register", "--once", "-vv", "--ladder", *(["--json"] if json else [])]
    words += ["--max-wait", "2"] if trouble == "never finished" else []
    with seat.terminal(*words) as (child, run):
        types(child, *keys(secret))
        if trouble.startswith("cut off by "):
            child.kill(getattr(signal, trouble.removeprefix("cut off by ")))
        child.expect(pexpect.EOF)
        child.wait()
        code = child.exitstatus if child.exitstatus is not None else -(child.signalstatus or 0)
    assert seat.found(run.watch) == []
    assert code == status
    assert says in (run.said() if json else run.err.read_text())


# -- what shells remember -------------------------------------------------------------------------------------------


def begin(child: Screen, prompt: str) -> Callable[[str], None]:
    """Waits for the shell; then what types a line at its prompt."""

    def line(text: str) -> None:
        child.expect_exact(prompt)
        child.sendline(text)

    return line


def remembered(seat: Seat, path: Path) -> str:
    """What the shell wrote down, which is not the canary."""
    lines = path.read_text()
    seat.histories = []
    assert seat.found() == []
    return lines


BASH = ("bash", "--norc", "--noprofile", "-i")
SIPCLI = f'"{sys.executable}" -m sipcli'


@pytest.fixture
def shell(seat: Seat) -> Iterator[Screen]:
    with seat.shell(*BASH) as child:
        yield child


def leave(child: Screen, line: Callable[[str], None]) -> None:
    line("exit")
    child.expect(pexpect.EOF)


@pytest.mark.real("keyring")
def test_T14_bash_remembers_the_command_and_not_what_was_typed_for_it(
    seat: Seat, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """``register`` and ``auth save``, the latter into a real keychain."""
    require("keyring")
    session = Keyring(tmp_path_factory.mktemp("session"), "unlocked")
    seat.cli.env |= {"DBUS_SESSION_BUS_ADDRESS": session.env["DBUS_SESSION_BUS_ADDRESS"]}
    try:
        with seat.shell(*BASH) as child:
            _register_and_save(seat, child)
    finally:
        session.stop()


def _register_and_save(seat: Seat, shell: Screen) -> None:
    line, secret = begin(shell, "shell# "), seat.asked()
    line(f"{SIPCLI} register --once")
    types(shell, f"{secret}\r")
    shell.expect("registered sip:")
    line(f"{SIPCLI} auth save work")
    types(shell, f"{secret}\r")
    shell.expect("is in the keychain")
    leave(shell, line)
    lines = remembered(seat, seat.histories[0])
    assert f"{SIPCLI} register --once\n{SIPCLI} auth save work\nexit\n" in lines


def test_T14_bash_does_not_remember_what_auth_answer_was_told(seat: Seat, shell: Screen) -> None:
    line, secret = begin(shell, "shell# "), seat.asked()
    waiting = seat.start("register", "--json")
    try:
        waiting.wait_for("registration", state="waiting", reason="a person is awaited")
        line(f"{SIPCLI} auth answer work")
        types(shell, f"{secret}\r")
        waiting.wait_for("registration", state="registered")
        waiting.signal(signal.SIGTERM)
        assert waiting.finish() == 143
    finally:
        waiting.kill()
    leave(shell, line)
    assert "auth answer work\nexit\n" in remembered(seat, seat.histories[0])
    assert seat.found(waiting.watch) == []


@pytest.mark.parametrize("by", ["time-out", "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP"])
def test_T14_half_a_password_is_not_the_beginning_of_the_next_command(seat: Seat, shell: Screen, by: str) -> None:
    """Whoever ends the prompt.  Fails without the ``tcflush`` in ``TtyModes.restore``: bash reads on where we ended."""
    line, secret = begin(shell, "shell# "), seat.asked()
    line(f"{SIPCLI} register --once {'--max-wait 2' if by == 'time-out' else ''}")
    types(shell, secret)
    [sipcli] = offspring(shell.pid)
    if by != "time-out":
        os.kill(sipcli, getattr(signal, by))
    line("")  # the person goes on typing: return
    line("kill -KILL %1; disown %1" if by == "SIGTSTP" else "true")
    leave(shell, line)
    assert remembered(seat, seat.histories[0]).endswith("\nexit\n")


def test_T14_python_remembers_the_call_and_not_what_was_typed_for_it(seat: Seat) -> None:
    """The REPL's own history, with our prompt in the same process."""
    secret = seat.asked()
    with seat.shell(sys.executable, "-i", "-q") as child:
        line = begin(child, ">>> ")
        line("import readline; from sipcli.cli.main import _run")
        line("_run(['register', '--once'])")
        types(child, f"{secret}\r")
        child.expect("registered sip:")
        line("exit()")
        child.expect(pexpect.EOF)
    lines = remembered(seat, seat.histories[1])
    assert "_run(['register', '--once'])\nexit()\n" in lines
