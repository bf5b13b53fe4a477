"""PJSUA2 2.15 as the other phone, in a process of its own: pjsip's user agent, the reference of many telephones."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tests.support import wavs
from tests.support.servers.console import Console
from tests.support.servers.process import free_port

PHONE = Path(__file__).with_name("pjsua_phone.py")


class Pjsua:
    """A registered pjsua that answers by itself.  ``heard`` is what reached it, as a WAV."""

    def __init__(
        self,
        directory: Path,
        proxy: str,
        *,
        user: str = "bob",
        password: str = "bobpass",
        tone: int = 880,
        transport: str = "udp",
        ca: Path | None = None,
        codec: str = "pcmu",
        encryption: str = "none",
        stun: str | None = None,
        turn: str | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """*encryption*: ``srtp`` (SDES) or ``none``; *stun*: ``host:port``, *turn*: that and ``,user,password``."""
        directory.mkdir(parents=True, exist_ok=True)
        self.heard = directory / "heard.wav"
        wavs.write_tone(directory / "said.wav", tone, seconds=60)
        wishes = {
            "user": user, "proxy": proxy, "transport": transport, "ca": ca, "host": host, "rtp": free_port(block=20),
            "said": directory / "said.wav", "heard": self.heard, "codec": codec, "encryption": encryption,
            "stun": stun, "turn": turn,
        }  # fmt: skip
        argv = [sys.executable, str(PHONE)]
        for name, value in wishes.items():
            argv += [f"--{name}", str(value)] if value else []
        env = {"PATH": os.environ["PATH"], "HOME": str(directory), "TERM": "dumb", "SECRET": password}
        self.console = Console(argv, env=env, cwd=directory)
        self.console.wait_for("(?m)^registered")

    def dial(self, uri: str) -> None:
        self.console.type(f"call {uri}")

    dial_second = dial

    def hang_up(self) -> None:
        self.console.type("bye")

    def hold(self) -> None:
        self.console.type("hold")

    def resume(self) -> None:
        self.console.type("resume")

    def transfer(self, uri: str) -> None:
        self.console.type(f"transfer {uri}")

    def join(self) -> None:
        """Connect the far ends of its first and second call with each other."""
        self.console.type("join")

    def press(self, digits: str) -> None:
        self.console.type(f"dtmf {digits}")

    def pressed(self) -> str:
        return "".join(re.findall(r"(?m)^digit (.)", self.text()))

    def write(self, uri: str, text: str) -> None:
        self.console.type(f"message {uri} {text}")

    def text(self) -> str:
        return self.console.text()

    def stop(self) -> None:
        self.console.stop("quit")
