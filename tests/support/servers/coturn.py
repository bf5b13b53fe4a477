"""coturn as STUN and TURN server, on loopback, with long-term credentials (RFC 8489 section 9.2, RFC 8656)."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from tests.support.netns import Namespace
from tests.support.servers.process import Server, accepts, free_port

USER, PASSWORD, REALM = "turner", "turnsecret", "turn.test"


class Coturn:
    """Relays between loopback addresses, which no other TURN server should."""

    def __init__(
        self, directory: Path, *, certs: Path | None = None, host: str = "127.0.0.1", inside: Namespace | None = None
    ) -> None:
        """*inside*: it runs in that network namespace, at *host*."""
        directory.mkdir(parents=True, exist_ok=True)
        self.host = host
        self.port = free_port(block=2)
        low = free_port(block=100)
        program = shutil.which("turnserver") or "turnserver"
        argv = [
            program, "-n", f"--listening-ip={host}", f"--relay-ip={host}", "--allow-loopback-peers",
            f"--listening-port={self.port}", f"--min-port={low}", f"--max-port={low + 99}", "--lt-cred-mech",
            f"--realm={REALM}", f"--user={USER}:{PASSWORD}", "--no-cli", "--no-rfc5780", "--log-file=stdout",
            "--simple-log", "--verbose", f"--pidfile={directory / 'turnserver.pid'}",
        ]  # fmt: skip
        if certs is None:
            argv += ["--no-tls", "--no-dtls"]
        else:
            argv += [
                f"--cert={certs / 'good.pem'}", f"--pkey={certs / 'good.key'}", f"--tls-listening-port={self.port + 1}"
            ]  # fmt: skip
        self.server = Server(
            argv if inside is None else inside.command(argv), directory / "turnserver.log", cwd=directory
        )
        ready = partial(accepts, self.port, host)
        self.server.wait_until(ready if inside is None else partial(inside.run, ready))

    @property
    def stun(self) -> str:
        return f"stun:{self.host}:{self.port}"

    @property
    def turn(self) -> str:
        return f"turn:{self.host}:{self.port}"

    @property
    def turns(self) -> str:
        return f"turns:{self.host}:{self.port + 1}"

    def channels(self) -> int:
        """How many ways to a peer it has opened (RFC 8656 section 12)."""
        return self.server.text().count("CHANNEL_BIND processed, success")

    def stop(self) -> None:
        self.server.stop()
