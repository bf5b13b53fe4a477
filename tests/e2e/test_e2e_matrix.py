"""What remains of the acceptance list: every provider on every wire, SIPp behind the proxy, strange challenges, TLS."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import FILE_PROVIDER, StartKamailio, account
from tests.support import plugin, wavs
from tests.support.cli import Cli
from tests.support.pty import ended, terminal
from tests.support.real import require
from tests.support.servers import sipp
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.openbao import OpenBao

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("matrix")]

WIRES = [(transport, algorithm) for transport in ("udp", "tcp", "tls") for algorithm in ("MD5", "SHA-256")]


@pytest.mark.parametrize(("transport", "algorithm"), WIRES)
class TestEveryWire:
    """Vault, OAuth, the keychain and files: test_e2e_stores.py, test_e2e_register.py."""

    @pytest.fixture
    def machine(
        self, cli: Cli, start_kamailio: StartKamailio, transport: str, algorithm: str
    ) -> Callable[..., tuple[Kamailio, int]]:
        server = start_kamailio(*(("SHA256",) if algorithm == "SHA-256" else ()), tls=True)

        def configure(credentials: str, more: str = "") -> tuple[Kamailio, int]:
            cli.configure(account(server.address(transport), transport=transport, credentials=credentials) + more)
            return server, len(server.saved("alice"))

        return configure

    def check(self, server: Kamailio, before: int, transport: str) -> None:
        bound, unbound = server.saved("alice")[before:]
        assert bound.startswith(transport)
        assert [line.rsplit("=", 1)[1] for line in (bound, unbound)] == ["600", "0"]
        assert server.contacts("alice") == []

    def test_prompt(
        self, cli: Cli, machine: Callable[..., tuple[Kamailio, int]], certs: Path, transport: str, algorithm: str
    ) -> None:
        server, before = machine('"prompt"')
        with terminal(cli, "register", "--once", "--ca", str(certs / "ca.pem")) as child:
            child.expect("assword")
            child.expect(": ")
            child.send("secret123\n")
            status, said = ended(child)
        assert status == 0, said
        assert "secret123" not in said
        self.check(server, before, transport)

    def test_env(
        self, cli: Cli, machine: Callable[..., tuple[Kamailio, int]], certs: Path, transport: str, algorithm: str
    ) -> None:
        server, before = machine('"box"', '[providers.box]\ntype = "env"\nvariable = "SIP_SECRET"\n')
        cli.env["SIP_SECRET"] = "secret123"
        done = cli.run("register", "--once", "--json", "--no-input", "--ca", str(certs / "ca.pem"))
        assert done.code == 0, done.stderr
        assert done.named("auth.challenged")[0]["chosen"] == algorithm
        self.check(server, before, transport)

    def test_file_from_standard_input(
        self, cli: Cli, machine: Callable[..., tuple[Kamailio, int]], certs: Path, transport: str, algorithm: str
    ) -> None:
        server, before = machine('"box"', '[providers.box]\ntype = "file"\npath = "-"\n')
        done = cli.run("register", "--once", "--json", "--ca", str(certs / "ca.pem"), stdin="secret123\n")
        assert done.code == 0, done.stderr
        self.check(server, before, transport)


@pytest.mark.real("openbao")
@pytest.mark.real("sipp")
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize(("scenario", "by"), [("uas_answer", "local"), ("uas_bye", "remote")])
def test_a_call_through_the_proxy_to_sipp_whose_407_vault_answers(
    cli: Cli, start_kamailio: StartKamailio, certs: Path, openbao: OpenBao, tmp_path: Path, transport: str,
    scenario: str, by: str,
) -> None:  # fmt: skip
    """Record-Route, ACK and BYE take the way through Kamailio; either side hangs up."""
    require("sipp")
    server = start_kamailio(tls=True)
    token = cli.secret("token", openbao.token())
    cli.configure(
        account(server.address(transport), transport=transport, credentials='"vault"')
        + f'[providers.vault]\ntype = "vault"\nurl = "{openbao.url}"\nmount = "secret"\npath = "sip/{{username}}"\n'
        f'auth = {{ method = "token", token_file = "{token}" }}\n'
    )
    callee = sipp.SippCallee(tmp_path / "sipp", scenario)
    name = f"sipp-{scenario}-{transport}"
    try:
        contact = f"sip:callee@127.0.0.1:{callee.port}"
        server.rpc("ul.add", "location", name, contact, 60, 1.0, "", 0, 0, 8191)
        record = tmp_path / "rx.wav"
        done = cli.run(
            "call", f"sip:{name}@sip.test", "--no-register", "--json", "--audio", "tone:600", "--record", str(record),
            "--duration", "2", "--ca", str(certs / "ca.pem"),
        )  # fmt: skip
        assert done.code == 0, done.stderr
        assert callee.result() == 0, callee.why()
    finally:
        callee.stop()
    assert [event["code"] for event in done.named("auth.challenged")] == [407]
    assert done.result["auth"]["provider"] == "vault"
    assert done.named("call")[-1]["by"] == by
    if by == "local":
        wavs.assert_tone(record, 600, seconds=1.0)


def test_messages_reach_the_second_account_while_the_first_waits_for_its_store(
    tmp_path: Path, kamailio: Kamailio
) -> None:
    cli = Cli(tmp_path / "home", env={"PYTHONPATH": plugin.install(tmp_path / "site")})
    bobs = cli.secret("secret", "bobpass")
    cli.configure(
        account(kamailio.address(), credentials='"slow"')
        + f'[providers.slow]\ntype = "slow"\ndelay = 60\nsecrets = ["secret123"]\nlog = "{cli.home / "asked"}"\n'
        + f'[accounts.second]\naor = "sip:bob@sip.test"\nregistrar = "sip:sip.test"\ncredentials = ["secret"]\n'
        f'proxy = "sip:{kamailio.address()};lr"\n' + FILE_PROVIDER.format(path=bobs)
    )
    writer = Cli(tmp_path / "carol")
    carols = writer.secret("secret", "carolpass")
    writer.configure(account(kamailio.address(), user="carol") + FILE_PROVIDER.format(path=carols))
    running = cli.start("register", "--all", "--json")
    try:
        running.wait_for("registration", account="work", state="waiting")
        if not any((e.get("account"), e.get("state")) == ("second", "registered") for e in running.events):
            running.wait_for("registration", account="second", state="registered")
        assert writer.run("message", "sip:bob@sip.test", "are you there?").code == 0
        assert running.wait_for("message", direction="in")["body"] == "are you there?"
    finally:
        running.leave()


class Registrar:
    """Answers a REGISTER without Authorization with the given challenge lines, any other with 200."""

    def __init__(self, challenges: list[str]) -> None:
        self.challenges = challenges
        self.answers: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, client = self._socket.recvfrom(65536)
            if not data:
                return
            lines = data.decode("utf-8", "replace").split("\r\n")
            answer = next((line for line in lines if line.startswith("Authorization:")), None)
            kept = [line for line in lines if line.partition(":")[0] in ("Via", "From", "Call-ID", "CSeq", "Contact")]
            kept += [line + ";tag=r" for line in lines if line.startswith("To:")]
            if answer is not None:
                self.answers.append(answer)
                head = ["SIP/2.0 200 OK", *kept]
            else:
                head = ["SIP/2.0 401 Unauthorized", *(k for k in kept if not k.startswith("Contact")), *self.challenges]
            self._socket.sendto("\r\n".join([*head, "Content-Length: 0", "", ""]).encode(), client)

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()


def digest(algorithm: str, realm: str = "r", nonce: str = "n1") -> str:
    named = f", algorithm={algorithm}" if algorithm else ""
    return f'WWW-Authenticate: Digest realm="{realm}", nonce="{nonce}", qop="auth"{named}'


BEARER = 'WWW-Authenticate: Bearer realm="r", authz_server="https://idp.invalid", scope="sip"'
UNKNOWN = 'WWW-Authenticate: Quantum realm="r", entangled=yes'
CHALLENGES = {
    "strongest first": ([digest("SHA-512-256"), digest("SHA-256"), digest("MD5")], 0, "SHA-512-256"),
    "weakest first": ([digest("MD5"), digest("SHA-256"), digest("SHA-512-256")], 0, "MD5"),
    "unknown algorithm first": ([digest("SHA3-512"), digest("SHA-256")], 0, "SHA-256"),
    "no algorithm": ([digest("")], 0, None),
    "bearer first": ([BEARER, digest("SHA-256")], 0, "SHA-256"),
    "bearer last": ([digest("SHA-256"), BEARER], 0, "SHA-256"),
    "unknown scheme first": ([UNKNOWN, digest("SHA-256")], 0, "SHA-256"),
    "one header line": ([f"{digest('SHA-256')}, Quantum a=b, {digest('MD5').partition(': ')[2]}"], 0, "SHA-256"),
    "twenty": ([*([UNKNOWN] * 19), digest("SHA-256")], 0, "SHA-256"),
    "empty realm": ([digest("SHA-256", realm="")], 0, "SHA-256"),
    "basic only": (['WWW-Authenticate: Basic realm="r"'], 9, None),
    "unknown only": ([UNKNOWN, digest("SHA3-512")], 9, None),
    "bearer only": ([BEARER], 9, None),
    "none": ([], 9, None),
    "unreadable": (['WWW-Authenticate: Digest realm="r', "WWW-Authenticate: ,,,=,"], 9, None),
    "empty": (["WWW-Authenticate: "], 9, None),
}  # fmt: skip


@pytest.fixture
def registrar() -> Iterator[Callable[[list[str]], Registrar]]:
    started: list[Registrar] = []

    def start(challenges: list[str]) -> Registrar:
        started.append(Registrar(challenges))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.mark.parametrize("name", CHALLENGES)
def test_the_best_usable_challenge_is_answered_or_none(
    cli: Cli, registrar: Callable[[list[str]], Registrar], name: str
) -> None:
    """The topmost that is supported (RFC 8760 section 2.4); otherwise 3 or 9, and never a traceback."""
    lines, status, algorithm = CHALLENGES[name]
    server = registrar(lines)
    secret = cli.secret("secret", "secret123")
    done = cli.run(
        "register", f"sip:alice@127.0.0.1:{server.port}", "--once", "--json", "--password-file", str(secret), "-v"
    )
    assert "Traceback" not in done.stderr
    if status == 0:
        assert done.code == 0, done.stderr
        first = server.answers[0]
        assert first.startswith("Authorization: Digest ")
        assert (f"algorithm={algorithm}" in first) if algorithm else ("algorithm=" not in first)
    else:
        assert done.code in (3, 9), done.stderr
        assert server.answers == []
        assert done.result["hint"]
    skipped = [entry for event in done.named("auth.challenged") for entry in event["skipped"]]
    if "unknown" in name and status == 0:
        assert skipped, done.events


@pytest.mark.parametrize("certificate", ["wrong", "expired"])
def test_a_call_over_tls_to_somebody_else_is_seven(
    cli: Cli, start_kamailio: StartKamailio, certs: Path, certificate: str
) -> None:
    require("root")
    server = start_kamailio(tls=True)
    secret = cli.secret("secret", "secret123")
    cli.configure(
        account(f"sip.test:{server.tls_port(certificate)}", transport="tls") + FILE_PROVIDER.format(path=secret)
    )
    cli.hosts = {"sip.test": "127.0.0.1"}
    done = cli.run("call", "sip:bob@sip.test", "--no-register", "--json", "--ca", str(certs / "ca.pem"))
    assert done.code == 7, done.stderr
    assert done.named("auth.challenged") == []
