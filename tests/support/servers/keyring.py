"""gnome-keyring on a D-Bus session of its own, in the states a user's machine may be in.

============ ========================================================================
unlocked     a collection that is open, with alice's entry
locked       the same, closed; nobody is there to type its password
empty        gnome-keyring runs and has no collection yet
absent       D-Bus without any secret service
nobus        no D-Bus at all: a server, a container, cron
============ ========================================================================
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tests.support.servers.process import Server

State = Literal["unlocked", "locked", "empty", "absent", "nobus"]

_BUS = """<busconfig>
  <type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
  </policy>
</busconfig>
"""

_SEED = """
import sys, secretstorage
service, user, secret = sys.argv[1:]
collection = secretstorage.get_default_collection(secretstorage.dbus_init())
attributes = {"service": service, "username": user, "application": "Python keyring library"}
collection.create_item("seed", attributes, secret.encode(), replace=True)
"""


class Keyring:
    """One session; :attr:`env` is what a program of this session has to be started with."""

    def __init__(self, directory: Path, state: State, *, entry: tuple[str, str, str] | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        self.directory = directory
        self.state = state
        self.env: dict[str, str] = {
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(directory),
            "XDG_DATA_HOME": str(directory / "share"),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={directory / 'bus'}",
            "PATH": os.environ["PATH"],
        }
        self._running: list[Server] = []
        try:
            self._start(entry or ("sipcli", "alice@example.com", "secret123"))
        except BaseException:
            self.stop()
            raise

    def run(self, code: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """What a Python program prints that runs inside this session."""
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def stop(self) -> None:
        while self._running:
            self._running.pop().stop()

    def _start(self, entry: tuple[str, str, str]) -> None:
        if self.state == "nobus":
            return
        self._start_bus()
        if self.state == "absent":
            return
        if self.state in ("unlocked", "locked"):
            self._unlock("\n" if self.state == "unlocked" else "a password\n")
            self.run(_SEED, *entry)
        if self.state == "locked":  # a fresh session on the same HOME: the collection is there, and closed
            self.stop()
            self._start_bus()
        if self.state in ("locked", "empty"):
            self._daemon([], "")

    def _start_bus(self) -> None:
        socket = self.directory / "bus"
        socket.unlink(missing_ok=True)
        # Without a service directory nothing is started on demand: what runs is what we start.
        config = self.directory / "bus.conf"
        config.write_text(_BUS.format(socket=socket))
        bus = Server(
            ["dbus-daemon", "--nofork", f"--config-file={config}"], self.directory / "bus.log", env=dict(self.env)
        )
        self._running.append(bus)
        bus.wait_until(socket.exists)

    def _unlock(self, password: str) -> None:
        """gnome-keyring reads the password from stdin; one newline is the empty one, truly empty stdin fails."""
        self._daemon(["--unlock"], password)

    def _daemon(self, arguments: list[str], stdin: str) -> None:
        """In the foreground, so that it is a child that can be ended by its process id."""
        typed = self.directory / "typed"
        typed.write_text(stdin)
        script = f'exec gnome-keyring-daemon --foreground {" ".join(arguments)} --components=secrets < "{typed}"'
        daemon = Server(["sh", "-c", script], self.directory / "keyring.log", env=dict(self.env))
        self._running.append(daemon)
        daemon.wait_until(self._serves)
        typed.unlink()

    def _serves(self) -> bool:
        return _has_owner(self.directory / "bus", "org.freedesktop.secrets")


def _has_owner(bus: Path, name: str) -> bool:
    """Ask the bus itself, without starting a service on demand."""
    from jeepney import DBusAddress, new_method_call
    from jeepney.io.blocking import open_dbus_connection

    address = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
    try:
        with open_dbus_connection(bus=f"unix:path={bus}") as connection:
            call = new_method_call(address, "NameHasOwner", "s", (name,))
            reply = connection.send_and_get_reply(call, timeout=2)
            return bool(reply.body[0])
    except (OSError, TimeoutError):
        return False
