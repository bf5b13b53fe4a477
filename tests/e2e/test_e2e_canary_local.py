"""Every failure of each provider that needs no server, with a canary where the secret lies: it is nowhere else (T14).

The program runs as a person would run it to find out what is wrong: ``register --once`` with ``-vv``, ``--ladder``,
``--trace``, once with ``--json`` and once without, cores allowed; and where the secret is accepted it is killed by
SIGABRT while it holds it.  What is looked through, and for what, says ``tests/support/canary.py``.
"""

from __future__ import annotations

import base64
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import aka
from tests.support.canary import canary, disguises
from tests.support.canaryrows import Here, Row, check
from tests.support.helpers import SIGNER, processes, wait_until, write_helper
from tests.support.hostile import Hostile
from tests.support.peer import Heard, response
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("canary_local")]

LOCAL = ("file", "env", "exec", "askpass", "systemd", "prompt")


@pytest.fixture(scope="module")
def registrar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kamailio]:
    """It knows a canary for each provider; whose name begins with ``not-`` has another password than his provider."""
    users = {name: canary(name) for name in LOCAL} | {f"not-{name}": "another" for name in LOCAL}
    server = Kamailio(tmp_path_factory.mktemp("kamailio"), users=users)
    yield server
    server.stop()


@pytest.fixture
def here(tmp_path: Path, registrar: Kamailio) -> Iterator[Here]:
    made = Here(tmp_path, registrar)
    with made.stack:
        yield made


# -- a file, standard input -----------------------------------------------------------------------------------------


def file(content: Callable[[str], str | bytes] = str, mode: int = 0o600, user: str = "file") -> Callable[[Here], None]:
    def plant(here: Here) -> None:
        path = here.plant("secret", content(here.password("file", user)), mode)
        here.use("file", f'path = "{path}"', user=user)

    return plant


def no_file(here: Here) -> None:
    here.hatch("file", "file")
    here.use("file", f'path = "{here.cli.home / "gone"}"')


def loop(here: Here) -> None:
    no_file(here)
    (here.cli.home / "gone").symlink_to("gone")


def standard_input(never_ends: bool) -> Callable[[Here], None]:
    """A pipe that holds the secret and is never closed, or one that never stops."""

    def pipe(here: Here, secret: bytes) -> int:
        read_end, write_end = os.pipe()
        writes = here.stack.enter_context(os.fdopen(write_end, "wb", buffering=0))

        def write() -> None:
            with suppress(OSError):
                for _ in range(40 if never_ends else 1):
                    writes.write(secret * (100 if never_ends else 1))

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        here.stack.callback(thread.join, 5)
        return read_end

    def plant(here: Here) -> None:
        secret = here.password("file", "file").encode()
        here.stdin = lambda: pipe(here, secret)
        here.use("file", 'path = "-"')

    return plant


FILE = {
    "found, and accepted": Row(0, "", file()),
    "found, and refused": Row(3, "is that the right secret", file(user="not-file")),
    "absent": Row(4, "there is no file", no_file),
    "denied": Row(8, "chmod 600", file(mode=0o644)),
    "garbage": Row(8, "it must hold the password only", file(lambda text: f"{text}\n{text}\n")),
    "huge": Row(8, "is larger than 64 KiB", file(lambda text: text * 3000)),
    "redirecting": Row(8, "a link that leads to itself", loop),
    "hanging": Row(8, "allow more: --max-wait", standard_input(never_ends=False), patience=1),
    "babbling": Row(8, "standard input is larger than 64 KiB", standard_input(never_ends=True)),
}


# -- an environment variable, a service's credential ----------------------------------------------------------------


def env(content: Callable[[str], str] = str, user: str = "env") -> Callable[[Here], None]:
    """The environment is where the person put it, and ``/proc/PID/environ`` shows it; nothing else may."""

    def plant(here: Here) -> None:
        here.cli.env["SIP_SECRET"] = content(here.password("env", user))
        here.aside.add("environ")
        here.use("env", 'variable = "SIP_SECRET"', user=user)

    return plant


ENV = {
    "found, and accepted": Row(0, "", env()),
    "found, and refused": Row(3, "is that the right secret", env(user="not-env")),
    "absent": Row(4, "SIP_SECRET is not set", env(lambda _: "")),
    "garbage": Row(8, "SIP_SECRET contains a line break", env(lambda text: f"{text}\n{text}")),
    "huge": Row(3, "is that the right secret", env(lambda text: text * 2000)),
}


def systemd(
    content: Callable[[str], str] = str, user: str = "systemd", *, folder: int = 0o700, credential: str = "sip"
) -> Callable[[Here], None]:
    def plant(here: Here) -> None:
        place = here.cli.home / "credentials"
        place.mkdir(mode=0o700)
        here.plant("credentials/sip", content(here.password("systemd", user)), 0o400)
        place.chmod(folder)
        here.cli.env["CREDENTIALS_DIRECTORY"] = str(place)
        here.use("systemd", f'credential = "{credential}"', user=user)

    return plant


SYSTEMD = {
    "found, and accepted": Row(0, "", systemd()),
    "found, and refused": Row(3, "is that the right secret", systemd(user="not-systemd")),
    "absent": Row(4, "there is no file", systemd(credential="other")),
    "denied": Row(8, "chmod o-w", systemd(folder=0o777)),
    "garbage": Row(8, "it must hold the password alone", systemd(lambda text: f"{text}\n{text}")),
    "huge": Row(8, "is larger than 64 KiB", systemd(lambda text: text * 3000)),
}


# -- programs that are asked ----------------------------------------------------------------------------------------

LOOK = 'cat /proc/$$/cmdline /proc/$$/environ >> "{seen}"\n'
"""A helper writes down what others could read of it while it runs; what it wrote is looked through."""


def helper(script: str, provider: str = "exec", user: str | None = None, mode: int = 0o700) -> Callable[[Here], None]:
    """*script* finds the canary in the file ``$S``."""

    def plant(here: Here) -> None:
        secret = here.plant("kept", here.password(provider, user or provider))
        text = LOOK.format(seen=here.folder / "seen") + f'S="{secret}"\n{script}'
        program = write_helper(here.cli.home / "helper", text, mode)
        more = 'require = "force"' if provider == "askpass" else ""
        here.use(provider, f'command = "{program}"\n{more}', user=user or provider)

    return plant


def signer(here: Here) -> None:
    """The key is in the helper, and stays there."""
    key = here.password("exec", "exec")
    text = SIGNER.format(python=sys.executable, key=key, log=str(here.folder / "seen"))
    here.places.add(write_helper(here.cli.home / "helper", text, 0o700))
    here.use("exec", f'command = "{here.cli.home / "helper"}"')


TELL = 'echo "password=$(cat "$S")"'
EXEC = {
    "found, and accepted": Row(0, "", helper(TELL)),
    "signed, and accepted": Row(0, "", signer),
    "found, and refused": Row(3, "is that the right secret", helper(TELL, user="not-exec")),
    "absent": Row(4, "helper has nothing for this account", helper('cat "$S"; exit 1')),
    "denied": Row(4, "helper was cancelled", helper(f"{TELL}; exit 3")),
    "locked": Row(8, "may not give it: is its store locked?", helper(f"{TELL}; exit 4")),
    "failing": Row(8, "ended with status 2: run it by hand", helper(f"{TELL}; exit 2")),
    "killed": Row(8, "ended by signal 9: run it by hand", helper(f"{TELL}; kill -9 $$")),
    "hanging": Row(8, "did not answer the challenge in time", helper(f"{TELL}; exec sleep 600"), patience=1),
    "babbling": Row(8, "more than 64 KiB", helper('P=$(cat "$S"); while :; do echo "password=$P"; done')),
    "garbage": Row(8, "is not key=value", helper('echo "Welcome! $(tr -d = < "$S")"')),
    "of keys nobody knows": Row(4, "has nothing for this account", helper('echo "Welcome! $(cat "$S")"')),
    "a value with CR": Row(8, "line 1 of its answer contains CR or NUL", helper('echo "password=$(cat "$S")\r"')),
    "two passwords": Row(8, "it gives password twice", helper(f"{TELL}; {TELL}")),
    "another protocol": Row(8, "another version of the protocol", helper(f"echo version=2; {TELL}")),
    "huge": Row(8, "more than 64 KiB", helper('printf "password=%s%0200000d" "$(cat "$S")" 0')),
    "expired": Row(4, "what helper gives has expired", helper(f"{TELL}; echo expires_utc=1000")),
    "not to be trusted": Row(8, "chmod go-w", helper(TELL, mode=0o777)),
}  # fmt: skip


def no_window(here: Here) -> None:
    here.password("askpass", "askpass")
    here.use("askpass", 'command = "/no/such/window"\nrequire = "force"')


WINDOW = {
    "found, and accepted": Row(0, "", helper('cat "$S"', "askpass")),
    "found, and refused": Row(3, "is that the right secret", helper('cat "$S"', "askpass", "not-askpass")),
    "absent": Row(8, "there is no program /no/such/window", no_window),
    "denied": Row(4, "the window that asked was closed", helper('cat "$S"; exit 1', "askpass")),
    "hanging": Row(4, "allow more time with --max-wait", helper('cat "$S"; exec sleep 600', "askpass"), patience=1),
    "babbling": Row(8, "more than 64 KiB", helper('P=$(cat "$S"); while :; do echo "$P"; done', "askpass")),
    "garbage": Row(8, "contains a control character", helper('printf "%s\\000\\n" "$(cat "$S")"', "askpass")),
}  # fmt: skip


# -- a SIM ----------------------------------------------------------------------------------------------------------


class Network:
    """A registrar that asks for Digest AKA with numbers that grow; *refusing* even what is right."""

    def __init__(self, *, false: bool = False, refusing: bool = False) -> None:
        self.false, self.refusing, self.asked = false, refusing, 0
        self.server = Hostile(self._answer)

    def _answer(self, request: Heard) -> list[bytes]:
        # Both runs share the card: who signs second may have been asked first, and asks for a later number (``auts``).
        if not request.has("authorization") or "auts=" in request.header("authorization"):
            self.asked += 1
            nonce = aka.nonce(aka.SQN + 32 * self.asked, "00" * 8 if self.false else None)
            asks = f'Digest realm="{aka.REALM}", nonce="{nonce}", algorithm=AKAv1-MD5, qop="auth"'
            return [response(request, 401, "Unauthorized", f"WWW-Authenticate: {asks}")]
        if self.refusing or not aka.proves(request.header("authorization")):
            return [response(request, 403, "Forbidden")]
        return [response(request, 200, "OK", f"Contact: {request.header('contact')};expires=600")]


def sim(
    spoil: Callable[[Here], None] | None = None, *, false: bool = False, refusing: bool = False
) -> Callable[[Here], None]:
    def plant(here: Here) -> None:
        network = Network(false=false, refusing=refusing)
        here.stack.callback(network.server.close)
        options = aka.card(here.cli.home / "sim")
        here.places |= {here.cli.home / "sim" / name for name in ("k", "opc")}
        here.realm = aka.REALM
        for name, text in {"K": aka.K, "OPc": aka.OPC, "RES": aka.RES.hex(), "CK": aka.CK, "IK": aka.IK}.items():
            here.look_for(f"{name} in hex", text.encode())
            here.look_for(name, bytes.fromhex(text), aka.USER if name == "RES" else None)
        if spoil is not None:
            spoil(here)
        table = "\n".join(f'{key} = "{value}"' for key, value in options.items())
        here.cli.configure(
            f'[defaults]\naccount = "work"\n[accounts.work]\naor = "sip:imsi@{aka.REALM}"\n'
            f'registrar = "sip:{aka.REALM}"\nproxy = "sip:127.0.0.1:{network.server.port};lr"\n'
            f'credentials = ["p"]\n[providers.p]\ntype = "sim"\n{table}\n'
        )

    return plant


def rewrite(name: str, change: Callable[[str], str]) -> Callable[[Here], None]:
    def spoil(here: Here) -> None:
        path = here.cli.home / "sim" / name
        path.write_text(change(path.read_text()))

    return spoil


SIM = {
    "found, and accepted": Row(0, "", sim()),
    "found, and refused": Row(3, "refused: 403", sim(refusing=True)),
    "absent": Row(4, "there is no file", sim(lambda here: (here.cli.home / "sim" / "k").unlink())),
    "denied": Row(8, "chmod 600", sim(lambda here: (here.cli.home / "sim" / "k").chmod(0o644))),
    "garbage": Row(8, "must hold 32 hex digits", sim(rewrite("k", lambda text: text[:-1]))),
    "huge": Row(8, "is larger than 64 KiB", sim(rewrite("opc", lambda text: text * 3000))),
    "not its network": Row(8, "or K/OPc is wrong", sim(false=True)),
}

TABLE = {"file": FILE, "env": ENV, "systemd": SYSTEMD, "exec": EXEC, "askpass": WINDOW, "sim": SIM}
ROWS = [(provider, trouble) for provider, rows in TABLE.items() for trouble in rows]


@pytest.mark.parametrize(("provider", "trouble"), ROWS, ids=[f"{p}: {t}" for p, t in ROWS])
def test_T14_no_canary_of_a_local_provider_is_left_anywhere(here: Here, provider: str, trouble: str) -> None:
    check(here, TABLE[provider][trouble])
    wait_until(lambda: not processes(str(here.folder)))


def test_T14_the_environment_is_the_one_place_that_anybody_can_look_at(here: Here) -> None:
    """Where the person put the secret himself; else what the others show would not show anything."""
    ENV["absent"].plant(here)
    here.cli.env["SIP_SECRET"] = here.password("env", "env")
    run = here.start("register", "--once", "--json")
    assert run.finish() == 0
    assert here.found(run.watch) == []
    here.aside.clear()
    assert here.found(run.watch) == ["env (plain) in /proc: environ"]


def test_T14_the_search_finds_a_secret_in_each_disguise(here: Here) -> None:
    secret = here.hatch("file", "alice").encode()
    known = disguises(secret, ["alice"])
    for number, octets in enumerate(known):
        place = here.folder / f"left{number}"
        place.write_bytes(b"x: " + octets + b"\n")
        assert len(here.found()) == 1, known[octets]
        place.unlink()
    for before in (b"", b"svc:", b"sipcli:", b"id:"):  # as HTTP Basic has it
        place.write_bytes(base64.b64encode(before + secret))
        assert len(here.found()) == 1
    place.write_bytes(b'Authorization: Digest response="0123456789abcdef0123456789abcdef"')
    assert here.found() == [f"an answer in {place}"]
