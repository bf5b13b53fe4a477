"""Each trouble of a real store, as a shell sees it: exit status, one sentence, no traceback, and SIP goes on (T18).

The classes behind the statuses, provider by provider, are in ``tests/providers/test_providers_fault_matrix.py``.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import account
from tests.support.cli import LEAVES_WITHIN, Cli
from tests.support.probe import ping, udp_port_of
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.keyring import Keyring, State
from tests.support.servers.oidc import OidcProvider
from tests.support.servers.openbao import OpenBao
from tests.support.servers.process import Server, free_port

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("fault_matrix")]

CANARY = "hunter2-canary"


class Machine:
    """Kamailio, the stores, and a person's machine that is configured for one of them."""

    def __init__(self, cli: Cli, kamailio: Kamailio, certs: Path, bao: Callable[[], OpenBao]) -> None:
        self.cli, self.kamailio, self.certs, self._bao = cli, kamailio, certs, bao

    @property
    def bao(self) -> OpenBao:
        return self._bao()

    def use(self, name: str, table: str) -> None:
        self.cli.configure(account(self.kamailio.address(), credentials=f'"{name}"') + f"[providers.{name}]\n{table}\n")

    def vault(self, *, path: str = "sip/{username}", token: str | None = None, url: str | None = None) -> None:
        held = self.cli.secret("token", token or self.bao.token())
        self.use(
            "vault",
            f'type = "vault"\nurl = "{url or self.bao.url}"\npath = "{path}"\n'
            f'auth = {{ method = "token", token_file = "{held}" }}',
        )

    def oauth(self, oidc: OidcProvider, secret: str = "svc-secret") -> None:
        file = self.cli.secret("client-secret", secret)
        self.use(
            "sso",
            f'type = "oauth"\nissuer = "{oidc.issuer}"\nclient_id = "svc"\nclient_secret_file = "{file}"\n'
            f'flow = "client_credentials"\nscope = ["sip.register"]\nca_file = "{self.certs / "ca.pem"}"\n'
            f'use = "fetch"\npassword_url = "{oidc.issuer}/sip-password?user={{username}}"',
        )


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """SIGSTOP: it has the connection, and says nothing."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@contextmanager
def sealed(bao: OpenBao) -> Iterator[None]:
    bao.seal()
    try:
        yield
    finally:
        bao.unseal()


@pytest.fixture
def machine(cli: Cli, kamailio: Kamailio, certs: Path, request: pytest.FixtureRequest) -> Machine:
    return Machine(cli, kamailio, certs, lambda: request.getfixturevalue("openbao"))


@dataclass(frozen=True)
class Trouble:
    """*status* is the exit status, *says* what the sentence must hold; *make* configures, and may break something."""

    status: int
    says: str
    make: Callable[[Machine], AbstractContextManager[None] | None]


def dead_token(machine: Machine) -> None:
    token = machine.bao.token()
    machine.bao.revoke(token)
    machine.vault(token=token)


def vault_then(
    breaks: Callable[[OpenBao], AbstractContextManager[None]],
) -> Callable[[Machine], AbstractContextManager[None]]:
    def make(machine: Machine) -> AbstractContextManager[None]:
        machine.vault()
        return breaks(machine.bao)

    return make


VAULT = {
    "sealed": Trouble(8, "is sealed: somebody has to unseal it", vault_then(sealed)),
    "denied": Trouble(8, "a policy with read on secret/data/other/alice", lambda m: m.vault(path="other/{username}")),
    "absent": Trouble(4, "Vault has no secret at secret/sip/nobody", lambda m: m.vault(path="sip/nobody")),
    "expired": Trouble(8, "has expired or was revoked", dead_token),
    "gone": Trouble(8, "cannot be reached", lambda m: m.vault(url=f"http://127.0.0.1:{free_port()}")),
    "hanging": Trouble(8, "in time", vault_then(lambda bao: stopped(bao.server))),
}  # fmt: skip


def check(machine: Machine, trouble: Trouble, *more: str) -> None:
    """Run into it: status, sentence, nothing on stderr that is no sentence, and no second challenge answered."""
    judged = len(machine.kamailio.verdicts())
    with trouble.make(machine) or nullcontext():
        done = machine.cli.run("register", "--once", "--json", "--no-input", *more)
    assert done.code == trouble.status, (done.stderr, done.result)
    said = f"{done.result['message']} {[e.get('message') for e in done.named('auth.provider')]}"
    assert trouble.says in said
    assert "\n" not in done.result["message"]
    assert "Traceback" not in done.stderr + done.stdout
    assert CANARY not in done.stderr + done.stdout
    assert "secret123" not in done.stderr + done.stdout
    assert len(machine.kamailio.verdicts()) == judged, "nothing was sent that could be judged"


@pytest.mark.real("openbao")
@pytest.mark.parametrize("name", VAULT)
def test_T18_vault(machine: Machine, name: str) -> None:
    """Fails, sealed and expired, without the looks at the health of Vault and at the life of the token."""
    require("openbao")
    check(machine, VAULT[name], "--max-wait", "4")


SIMPLE = {
    "file absent": Trouble(4, "there is no file", lambda m: m.use("f", f'type = "file"\npath = "{m.cli.home}/gone"')),
    "file denied": Trouble(
        8, "can be read by others", lambda m: m.use("f", f'type = "file"\npath = "{open_file(m)}"')
    ),
    "env absent": Trouble(4, "is not set", lambda m: m.use("e", 'type = "env"\nvariable = "NO_SUCH_SECRET"')),
    "prompt absent": Trouble(4, "", lambda m: m.use("p", 'type = "prompt"')),
}  # fmt: skip


def open_file(machine: Machine) -> Path:
    path = machine.cli.secret("open", CANARY)
    path.chmod(0o644)
    return path


@pytest.mark.parametrize("name", SIMPLE)
def test_file_env_and_prompt(machine: Machine, name: str) -> None:
    check(machine, SIMPLE[name])


@pytest.mark.real("oidc")
@pytest.mark.parametrize("name", ["denied", "busy", "hanging"])
def test_oauth(machine: Machine, oidc: OidcProvider, name: str) -> None:
    oidc.control(failure=0)
    machine.oauth(oidc, secret=CANARY if name == "denied" else "svc-secret")
    says = {"denied": "refuses this client (invalid_client)", "busy": "503", "hanging": "in time"}[name]

    @contextmanager
    def broken() -> Iterator[None]:
        oidc.control(failure=503 if name == "busy" else 0)
        try:
            with stopped(oidc.server) if name == "hanging" else nullcontext():
                yield
        finally:
            oidc.control(failure=0)

    check(machine, Trouble(8, says, lambda _: broken()), "--max-wait", "4")


@pytest.mark.real("keyring")
@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("locked", "unlock"),
        ("absent", "without a Secret Service"),
        ("nobus", "no D-Bus session"),
        ("hanging", "in time"),
    ],
)
def test_keychain(machine: Machine, tmp_path: Path, state: str, says: str) -> None:
    """gnome-keyring, locked, not there, or stopped in the middle of everything."""
    require("keyring")
    real: State = "unlocked" if state == "hanging" else state  # type: ignore[assignment]
    session = Keyring(tmp_path / "session", real, entry=("sipcli", "alice@sip.test", "secret123"))
    try:
        machine.cli.env |= {k: v for k, v in session.env.items() if k.startswith(("DBUS", "XDG_RUNTIME"))}
        machine.cli.configure(account(machine.kamailio.address(), credentials='"keychain"'))
        daemon = session._running[-1] if session._running else None
        broken = stopped(daemon) if state == "hanging" and daemon is not None else nullcontext()
        check(machine, Trouble(8, says, lambda _: broken), "--max-wait", "4")
    finally:
        session.stop()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.real("openbao")
def test_T18_sip_goes_on_while_a_store_hangs_and_a_second_account_registers(machine: Machine) -> None:
    """An OPTIONS is answered at once, and bob, whose password lies in a file, is bound meanwhile."""
    require("openbao")
    machine.vault()
    bobs = machine.cli.secret("bob", "bobpass")
    config = machine.cli.home / ".config" / "sipcli" / "config.toml"
    config.write_text(
        config.read_text() + f'[accounts.second]\naor = "sip:bob@sip.test"\nregistrar = "sip:sip.test"\n'
        f'credentials = ["f"]\nproxy = "sip:{machine.kamailio.address()};lr"\n'
        f'[providers.f]\ntype = "file"\npath = "{bobs}"\n'
    )
    with stopped(machine.bao.server):
        running = machine.cli.start("register", "--all", "--json", "--no-input", "--max-wait", "20")
        try:
            running.wait_for("registration", account="second", state="registered")
            times = sorted(ping(udp_port_of(running), n) for n in range(25))
            assert times[12] < 0.020, times
            began = time.monotonic()
            running.signal(signal.SIGINT)
            done = running.finish()
            assert time.monotonic() - began < LEAVES_WITHIN
        finally:
            running.kill()
    assert done.code == 130
    assert "Traceback" not in done.stderr
