"""PJSUA2 2.15 as the other phone, in a process of its own: pjsip's user agent, the reference of many telephones."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support import wavs
from tests.support.netns import Namespace
from tests.support.servers.console import TypedPhone
from tests.support.servers.process import free_port

PHONE = Path(__file__).with_name("pjsua_phone.py")


class Pjsua(TypedPhone):
    """A registered pjsua that answers by itself.  ``heard`` is what reached it, as a WAV."""

    PRESSED = r"(?m)^digit (.)"

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
        host: str = "127.0.0.1",
        inside: Namespace | None = None,
    ) -> None:
        """*encryption*: ``srtp`` (SDES) or ``none``; *stun*: ``host:port``, and with it ICE.

        *inside*: it runs in that network namespace, at *host*.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.heard = directory / "heard.wav"
        wavs.write_tone(directory / "said.wav", tone, seconds=60)
        wishes = {
            "user": user, "proxy": proxy, "transport": transport, "ca": ca, "host": host, "rtp": free_port(block=20),
            "said": directory / "said.wav", "heard": self.heard, "codec": codec, "encryption": encryption,
            "stun": stun,
        }  # fmt: skip
        argv = [sys.executable, str(PHONE)]
        for name, value in wishes.items():
            argv += [f"--{name}", str(value)] if value else []
        self.open(argv if inside is None else inside.command(argv), directory, SECRET=password)
        self.console.wait_for("(?m)^registered")

    dial_second = TypedPhone.dial
