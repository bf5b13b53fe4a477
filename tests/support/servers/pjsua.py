"""PJSUA2 2.15 as the other phone, in a process of its own: pjsip's user agent, the reference of many telephones."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support import wavs
from tests.support.servers.console import TypedPhone, Wishes
from tests.support.servers.process import free_port

PHONE = Path(__file__).with_name("pjsua_phone.py")


class Pjsua(TypedPhone):
    """A registered pjsua that answers by itself.  ``heard`` is what reached it, as a WAV."""

    PRESSED = r"(?m)^digit (.)"

    def begin(self, directory: Path, proxy: str, wishes: Wishes) -> None:
        assert wishes.encryption in ("none", "srtp"), "this build knows no DTLS"
        self.heard = directory / "heard.wav"
        wavs.write_tone(directory / "said.wav", wishes.tone, seconds=60)
        options = {
            "user": wishes.user, "proxy": proxy, "transport": wishes.transport, "ca": wishes.ca, "host": wishes.host,
            "rtp": free_port(block=20), "said": directory / "said.wav", "heard": self.heard, "codec": wishes.codec,
            "encryption": wishes.encryption, "stun": wishes.stun,
        }  # fmt: skip
        argv = [sys.executable, str(PHONE)]
        for name, value in options.items():
            argv += [f"--{name}", str(value)] if value else []
        self.open(argv if wishes.inside is None else wishes.inside.command(argv), directory, SECRET=wishes.password)
        self.console.wait_for("(?m)^registered")

    dial_second = TypedPhone.dial
