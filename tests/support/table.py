"""Several people at one server, each on a machine of his own: sipclis, and telephones that nobody here wrote."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tests.support.cli import Cli, Running
from tests.support.servers.baresip import Baresip
from tests.support.servers.kamailio import USERS, Kamailio
from tests.support.servers.linphone import Linphone
from tests.support.servers.pjsua import Pjsua
from tests.support.servers.twinkle import Twinkle

CODECS = {"opus": "opus/48000/2", "g722": "G722/16000/1", "pcma": "PCMA/8000/1", "pcmu": "PCMU/8000/1"}


class Telephone(Protocol):
    """What each of them can be told, whatever the words that it wants."""

    @property
    def heard(self) -> Path: ...
    def dial(self, uri: str) -> None: ...
    def hang_up(self) -> None: ...
    def hold(self) -> None: ...
    def resume(self) -> None: ...
    def transfer(self, uri: str) -> None: ...
    def dial_second(self, uri: str) -> None: ...
    def join(self) -> None: ...
    def press(self, digits: str) -> None: ...
    def pressed(self) -> str: ...
    def write(self, uri: str, text: str) -> None: ...
    def text(self) -> str: ...
    def stop(self) -> None: ...


def _baresip(directory: Path, proxy: str, *, codec: str = "pcmu", **options: Any) -> Baresip:
    return Baresip(directory, proxy, codecs=CODECS[codec], **options)


TELEPHONES: dict[str, Callable[..., Telephone]] = {
    "baresip": _baresip,
    "linphone": Linphone,
    "twinkle": Twinkle,
    "pjsua": Pjsua,
}


def until(ready: Callable[[], bool], why: Callable[[], str], timeout: float = 30) -> None:
    """Wait for what a telephone does by itself; *why* is said at the deadline."""
    deadline = time.monotonic() + timeout
    while not ready():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


class Table:
    """Who sits there is ended by :meth:`clear`."""

    def __init__(self, place: Path, server: Kamailio, *, host: str = "127.0.0.1") -> None:
        self._place = place
        self._server = server
        self._host = host
        self._running: list[Running] = []
        self._phones: list[Telephone] = []
        self._folders: list[str] = []

    def _proxy(self, transport: str) -> str:
        return f"[{self._host}]:{self._server.port}" if ":" in self._host else self._server.address(transport)

    def person(self, user: str, *, transport: str = "udp", more: str = "") -> Cli:
        """*more*: lines for the account."""
        cli = Cli(self._place / user)
        # Not below the test's own folder: the name of a socket has 107 octets at most (unix(7)).
        run = tempfile.mkdtemp(prefix="sipcli-")
        self._folders.append(run)
        cli.env["XDG_RUNTIME_DIR"] = run
        path = cli.secret("secret", USERS[user])
        proxy = f"sip:{self._proxy(transport)};transport={transport};lr"
        cli.configure(
            f'[defaults]\naccount = "work"\n[accounts.work]\naor = "sip:{user}@sip.test"\nregistrar = "sip:sip.test"\n'
            f'proxy = "{proxy}"\ntransport = "{transport}"\ncredentials = ["secret"]\n{more}\n'
            f'[providers.secret]\ntype = "file"\npath = "{path}"\n'
        )
        return cli

    def start(self, cli: Cli, *words: str) -> Running:
        running = cli.start(*words, "--json", *(() if "--codec" in words else ("--codec", "pcmu")))
        self._running.append(running)
        return running

    def listens(self, cli: Cli, tone: int, record: Path, *words: str) -> Running:
        running = self.start(
            cli, "listen", "--answer", "auto", "--audio", f"tone:{tone}", "--record", str(record), *words
        )
        running.wait_for("ready")
        return running

    def phone(self, user: str, tone: int, kind: str = "baresip", **options: Any) -> Telephone:
        """*kind*: a key of :data:`TELEPHONES`, whose constructor gets the options."""
        if ":" in self._host:
            options["host"] = self._host
        transport = options.get("transport", "udp")
        phone = TELEPHONES[kind](
            self._place / f"{kind}-{user}",
            self._proxy(transport),
            user=user,
            password=USERS[user],
            tone=tone,
            **options,
        )
        self._phones.append(phone)
        self.registered(user, phone.text)
        return phone

    def registered(self, user: str, why: Callable[[], str]) -> None:
        """Wait until the server knows where *user* is."""
        until(lambda: bool(self._server.contacts(user)), why)

    def clear(self) -> None:
        for running in self._running:
            running.kill()
        for phone in self._phones:
            phone.stop()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
