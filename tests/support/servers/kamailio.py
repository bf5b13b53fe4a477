"""Kamailio as registrar and proxy: the judge of our registrations and calls."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.netns import Namespace
from tests.support.servers.process import Server, free_port

USERS = {"alice": "secret123", "bob": "bobpass", "carol": "carolpass"}
CERTIFICATES = (
    "good",
    "strict",
    "expired",
    "wrong",
    "wildcard",
    "cnonly",
    "urionly",
    "dnsuri",
    "foreign",
    "selfsigned",
)
ASKING = "asking"
"""The port whose server, with the good certificate, wants one of ours."""

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _ask(request: urllib.request.Request) -> Any:
    try:
        with _direct.open(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


class Kamailio:
    """One Kamailio: UDP and TCP on :attr:`port`, TLS on :meth:`tls_port`; realm and domain ``sip.test``."""

    def __init__(
        self,
        directory: Path,
        *switches: str,
        nonce_expire: int = 300,
        certs: Path | None = None,
        users: dict[str, str] | None = None,
        idp: str = "127.0.0.1:1",
        extra_users: int = 0,
        host: str | None = None,
        inside: Namespace | None = None,
        relay: int | None = None,
        wants: dict[str, str] | None = None,
    ) -> None:
        """*host*: listen there, too; *inside*: run in that network namespace, whose loopback is another.

        *relay*: the control port of an rtpengine; *wants*: which media each user is to be offered, in its flags.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port(block=3 + len(CERTIFICATES))
        self.host = host
        self.users = {**(users or USERS), **{f"u{i}": "secret123" for i in range(extra_users)}}
        self.certs = certs
        if certs is not None:
            switches = (*switches, "TLS")
            self._write_tls(certs)
        if relay is not None:
            switches = (*switches, "RELAY")
        self._wants = "".join(f'    $sht(wants=>{user}) = "{flags}";\n' for user, flags in (wants or {}).items())
        self._write_config(nonce_expire, idp, relay)
        argv = ["kamailio", "-DD", "-E", "-a", "no", "-m", "64", "-M", "8", "-Y", str(directory)]
        argv += ["-P", str(directory / "kamailio.pid"), "-f", str(directory / "kamailio.cfg")]
        for switch in switches:
            argv += ["-A", switch]
        self._inside = inside
        self._argv = argv if inside is None else inside.command(argv)
        self.server = Server(self._argv, directory / "kamailio.log")
        self.server.wait_until(self._answers)

    def restart(self) -> None:
        """Stop, and begin anew with an empty memory: as a machine that was rebooted."""
        self.server.stop()
        self.begin()

    def begin(self) -> None:
        """After :meth:`stop`, anew."""
        self.server = Server(self._argv, self.directory / "kamailio.log")
        self.server.wait_until(self._answers)

    @staticmethod
    def available() -> bool:
        return shutil.which("kamailio") is not None

    def tls_port(self, certificate: str = "good") -> int:
        return self.port + 1 + (*CERTIFICATES, ASKING).index(certificate)

    def address(self, transport: str = "udp") -> str:
        """``host:port`` for *transport*."""
        return f"127.0.0.1:{self.tls_port() if transport == 'tls' else self.port}"

    def rpc(self, method: str, *params: object) -> Any:
        """The result of one JSON-RPC call; an error raises RuntimeError."""
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/RPC", data=body)
        reply = _ask(request) if self._inside is None else self._inside.run(lambda: _ask(request))
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["result"]

    def contacts(self, user: str) -> list[str]:
        """The Contact addresses bound to *user* now."""
        try:
            found = self.rpc("ul.lookup", "location", user)
        except RuntimeError:
            return []
        return [entry["Contact"]["Address"] for entry in found["Contacts"] if entry["Contact"]["Expires"] != "deleted"]

    def bind(self, user: str, contact: str, *, q: float = 1.0) -> None:
        """*user* is at *contact*, too, as if a REGISTER had said so."""
        self.rpc("ul.add", "location", user, contact, 3600, q, "0", 0, 0, 0)

    def verdicts(self) -> list[str]:
        """One line per judged answer, oldest first: ``DIGEST REGISTER user=alice algorithm=... verdict=1``."""
        return [
            line[line.index(word) :].strip()
            for line in self.server.text().splitlines()
            for word in ("DIGEST ", "BEARER ")
            if word in line and "user=<null>" not in line
        ]

    def forget(self) -> None:
        """Every binding, as if nobody had registered: a program that was killed leaves its own behind."""
        for user in self.users:
            if self.contacts(user):
                self.rpc("ul.rm", "location", user)

    def saved(self, user: str) -> list[str]:
        """One line per REGISTER of *user* that was accepted, oldest first: transport, contact, expiry."""
        wanted = f"SAVED {user} over "
        return [line.split(wanted, 1)[1].strip() for line in self.server.text().splitlines() if wanted in line]

    def stop(self) -> None:
        self.server.stop()

    def _answers(self) -> bool:
        try:
            return bool(self.rpc("core.version"))
        except (OSError, ValueError, RuntimeError):
            return False

    def _write_tls(self, certs: Path) -> None:
        default = f"method=TLSv1.2+\nprivate_key={certs}/good.key\ncertificate={certs}/good.pem\n"
        lines = [f"[server:default]\n{default}", "[client:default]\nmethod=TLSv1.2+\n"]
        for name in CERTIFICATES:
            pair = f"private_key={certs}/{name}.key\ncertificate={certs}/{name}.pem\n"
            lines.append(f"[server:127.0.0.1:{self.tls_port(name)}]\nmethod=TLSv1.2+\n{pair}")
        lines.append(
            f"[server:127.0.0.1:{self.tls_port(ASKING)}]\nmethod=TLSv1.2+\nverify_certificate=yes\n"
            f"require_certificate=yes\nca_list={certs}/ca.pem\n"
            f"private_key={certs}/good.key\ncertificate={certs}/good.pem\n"
        )
        (self.directory / "tls.cfg").write_text("\n".join(lines))

    def _write_config(self, nonce_expire: int, idp: str, relay: int | None) -> None:
        listen = "".join(f"listen=tls:127.0.0.1:{self.tls_port(name)}\n" for name in (*CERTIFICATES, ASKING))
        ways = [("udp", self.port), ("tcp", self.port), *([("tls", self.tls_port())] if self.certs else [])]
        secrets = "".join(f'    $sht(secrets=>{user}) = "{secret}";\n' for user, secret in self.users.items())
        text = Path(__file__).with_name("kamailio.cfg").read_text()
        for name, value in {
            "TLS_LISTEN": listen,
            "LISTEN": "".join(f"listen={way}:{self.host}:{port}\n" for way, port in ways) if self.host else "",
            "SECRETS": secrets,
            "RELAY": str(relay or ""),
            "WANTS": self._wants,
            "PORT": str(self.port),
            "DIR": str(self.directory),
            "CA": str(self.certs / "ca.pem") if self.certs else "",
            "NONCE_EXPIRE": str(nonce_expire),
            # The connection string needs an at-sign of its own before the host.
            "IDP": idp,
        }.items():
            text = text.replace(f"@{name}@", value)
        (self.directory / "kamailio.cfg").write_text(text)
