"""baresip as the other phone: registers, answers, plays a tone, records what it hears."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from pathlib import Path

from tests.support.netns import Namespace
from tests.support.servers.process import Server, free_port


def modules_path() -> Path | None:
    """Where Debian put baresip's modules."""
    return next((found.parent for found in Path("/usr/lib").glob("**/baresip/modules/ausine.so")), None)


class Baresip:
    """A registered baresip 1.0.  ``heard`` is what reached it, as a WAV.

    *identity*: certificate and key, PEM, for requests that come to it over a TLS connection of their own.
    """

    def __init__(
        self,
        directory: Path,
        proxy: str,
        *,
        user: str = "bob",
        password: str = "bobpass",
        tone: int = 880,
        transport: str = "udp",
        answer: str = "auto",
        ca: Path | None = None,
        identity: str | None = None,
        codecs: str = "PCMU/8000/1,PCMA/8000/1",
        encryption: str | None = None,
        nat: str | None = None,
        stun: str = "",
        host: str = "127.0.0.1",
        inside: Namespace | None = None,
        contacts: tuple[str, ...] = (),
    ) -> None:
        """*inside*: it runs in that network namespace, at *host*."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.control = free_port()
        sip, rtp = free_port(block=2), free_port(block=20)
        account = (
            f"<sip:{user}@sip.test;transport={transport}>;auth_user={user};auth_pass={password}"
            f';outbound="sip:{proxy};transport={transport}";regint=60;answermode={answer}'
            f";audio_codecs={codecs}"
            + (f";mediaenc={encryption}" if encryption else "")
            + (f';medianat={nat};stunserver="{stun}"' if nat else "")
            + "\n"
        )
        modules = modules_path()
        assert modules is not None, "baresip is installed without its modules"
        config = [
            f"module_path {modules}",
            *(
                f"module {name}.so"
                for name in ("g711", "g722", "opus", "srtp", "dtls_srtp", "ice", "ausine", "sndfile")
            ),
            *(f"module_app {name}.so" for name in ("account", "contact", "ctrl_tcp", "menu")),
            f"sip_listen {f'[{host}]' if ':' in host else host}:{sip}",
            *([f"sip_cafile {ca}"] if ca else []),
            *([f"sip_certificate {directory / 'identity.pem'}"] if identity else []),
            f"rtp_ports {rtp}-{rtp + 18}",
            f"ctrl_tcp_listen 127.0.0.1:{self.control}",
            f"audio_source ausine,{tone}",
            # 1.0's sine source knows one format; anything else ends the call right after the 200.
            "ausrc_srate 48000",
            "ausrc_channels 2",
            f"snd_path {directory}",
            f"net_interface {host}",
            "audio_buffer 20-160",
        ]
        (directory / "accounts").write_text(account)
        if identity:
            (directory / "identity.pem").write_text(identity)
        (directory / "contacts").write_text("".join(f'"{name}" <sip:{name}@sip.test>\n' for name in contacts))
        (directory / "config").write_text("\n".join(config) + "\n")
        self._inside = inside
        argv = ["baresip", "-f", str(directory)]
        self.server = Server(argv if inside is None else inside.command(argv), directory / "baresip.log")
        self.server.wait_until(lambda: "200 OK" in self.server.text())

    @staticmethod
    def available() -> bool:
        return shutil.which("baresip") is not None and modules_path() is not None

    def say(self, command: str, params: str = "") -> str:
        """One command over the control port (netstring JSON); its answer's text."""
        return (
            self._say(command, params) if self._inside is None else self._inside.run(lambda: self._say(command, params))
        )

    def _say(self, command: str, params: str) -> str:
        body = json.dumps({"command": command, "params": params, "token": "t"}).encode()
        deadline = time.monotonic() + 30
        with socket.create_connection(("127.0.0.1", self.control), 3) as control:
            control.settimeout(3)
            control.sendall(b"%d:%s," % (len(body), body))
            buffer = b""
            while time.monotonic() < deadline:
                buffer += control.recv(65536)
                while b":" in buffer:
                    size, _, rest = buffer.partition(b":")
                    if len(rest) <= int(size):
                        break
                    answer, buffer = json.loads(rest[: int(size)]), rest[int(size) + 1 :]
                    if answer.get("response"):
                        return str(answer.get("data", ""))
        raise TimeoutError(f"baresip did not answer {command}")

    def dial(self, uri: str) -> None:
        self.say("dial", uri)

    def hang_up(self) -> None:
        self.say("hangup")

    def hold(self) -> None:
        self.say("hold")

    def resume(self) -> None:
        self.say("resume")

    def transfer(self, uri: str) -> None:
        self.say("transfer", uri)

    def press(self, digits: str) -> None:
        for digit in digits:
            self.say("sndcode", digit)

    def write(self, uri: str, text: str) -> None:
        """To its one contact, for it knows no other way to say whom."""
        self.say("contact_next")
        self.say("message", text)

    def pressed(self) -> str:
        heard = re.findall(r"received (?:DTMF|event): '(.)' \(end=(\d)\)", self.text(), re.IGNORECASE)
        return "".join(digit for digit, end in heard if end == "1")

    def text(self) -> str:
        return self.server.text()

    @property
    def heard(self) -> Path:
        """The newest recording of what it received."""
        return max(self.directory.glob("dump-*-dec.wav"), key=lambda path: path.stat().st_mtime)

    def stop(self) -> None:
        self.server.stop()
