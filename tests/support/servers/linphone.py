"""linphonec (linphone-cli 5.1) as the other phone: a file instead of a microphone, another instead of a loudspeaker."""

from __future__ import annotations

from pathlib import Path

from tests.support import wavs
from tests.support.servers.console import TypedPhone, Wishes

CODECS = {"pcmu": ("PCMU", 8000), "pcma": ("PCMA", 8000), "g722": ("G722", 8000), "opus": ("opus", 48000)}


class Linphone(TypedPhone):
    """A registered linphonec that answers by itself.  ``heard`` is what reached it in its last call, as a WAV."""

    SAYS = {
        "bye": "terminate",
        "hold": "pause",
        "join": "transfer 1 --to-call 2",
        "dtmf": "%s",
        "message": "chat %s %s",
    }
    PRESSED = r"Receiving tone (.) from"

    def begin(self, directory: Path, proxy: str, wishes: Wishes) -> None:
        for place in (".local/share/linphone", ".config/linphone"):  # it makes neither, and wants both
            (directory / place).mkdir(parents=True, exist_ok=True)
        self._tone, self.heard = directory / "said.wav", directory / "heard.wav"
        wavs.write_tone(self._tone, wishes.tone, seconds=60)
        if wishes.transport == "tls":  # it finds no address in a certificate, only names
            proxy = proxy.replace("127.0.0.1", "localhost")
        server = f"<sip:{proxy};transport={wishes.transport}"
        codecs = "".join(
            f"[audio_codec_{n}]\nmime={mime}\nrate={rate}\nenabled={int(name == wishes.codec)}\n"
            for n, (name, (mime, rate)) in enumerate(CODECS.items())
        )
        config = directory / "linphonerc"
        config.write_text(
            f"[sip]\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\nbind_address={wishes.host}\n"
            f"use_ipv6={int(':' in wishes.host)}\n"
            f"default_proxy=0\nregister_only_when_network_is_up=0\nmedia_encryption={wishes.encryption}\n"
            f"media_encryption_mandatory={int(wishes.encryption != 'none')}\n"
            + (f"root_ca={wishes.ca}\n" if wishes.ca else "")
            + f"[rtp]\nbind_address={wishes.host}\naudio_rtp_port=-1--1\n"
            + "[net]\n"
            + ("nat_policy_ref=policy\n[nat_policy_0]\nref=policy\n" if wishes.stun else "firewall_policy=0\n")
            + (f"stun_server={wishes.stun}\nprotocols=stun,ice\n" if wishes.stun else "")
            + f"[auth_info_0]\nusername={wishes.user}\npasswd={wishes.password}\nrealm=sip.test\n"
            f"[proxy_0]\nreg_proxy={server}>\nreg_route={server};lr>\nreg_identity=sip:{wishes.user}@sip.test\n"
            f"reg_expires=60\nreg_sendregister=1\npublish=0\n"
            + ("nat_policy_ref=policy\n" if wishes.stun else "")
            + codecs
            + "[sound]\nechocancellation=0\n"
        )
        argv = ["linphonec", "-c", str(config), "-a"]
        self.open(argv if wishes.inside is None else wishes.inside.command(argv), directory)
        self.console.wait_for("linphonec> ")
        for line in ("soundcard use files", f"play {self._tone}", f"record {self.heard}"):
            self.console.type(line)
        self.console.wait_for(r"linphonec> \s*linphonec> \s*linphonec> ")  # it says nothing of its registration

    def dial_second(self, uri: str) -> None:
        """With a call up, which waits meanwhile; it does not hold one by itself to make another."""
        self.hold()
        self.console.wait_for("is now paused")
        self.dial(uri)
