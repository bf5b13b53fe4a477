"""Kamailio as a presence server: the judge of our SUBSCRIBEs and PUBLISHes."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.servers.kamailio import USERS
from tests.support.servers.process import Server, accepts, free_port

TABLES = Path("/usr/share/kamailio/dbtext/kamailio")
NEEDED = ("version", "presentity", "active_watchers", "watchers", "xcap")


class PresenceServer:
    """One Kamailio with the modules for presence, message-summary and dialog, on :attr:`port`."""

    def __init__(self, directory: Path) -> None:
        tables = directory / "tables"
        tables.mkdir(parents=True)
        for name in NEEDED:
            shutil.copy(TABLES / name, tables / name)
        self.port = free_port(block=2)
        secrets = "".join(f'    $sht(secrets=>{user}) = "{secret}";\n' for user, secret in USERS.items())
        text = Path(__file__).with_name("presence.cfg").read_text()
        for name, value in {"PORT": str(self.port), "DIR": str(directory), "SECRETS": secrets}.items():
            text = text.replace(f"@{name}@", value)
        (directory / "kamailio.cfg").write_text(text)
        argv = ["kamailio", "-DD", "-E", "-a", "no", "-m", "64", "-M", "8", "-Y", str(directory)]
        argv += ["-P", str(directory / "kamailio.pid"), "-f", str(directory / "kamailio.cfg")]
        self.server = Server(argv, directory / "kamailio.log")
        self.server.wait_until(lambda: accepts(self.port))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def saw(self, method: str) -> list[str]:
        """One line per request of *method*, oldest first, answered and unanswered ones."""
        mark = f"SAW {method} "
        return [line.split(mark, 1)[1].strip() for line in self.server.text().splitlines() if mark in line]

    def stop(self) -> None:
        self.server.stop()
