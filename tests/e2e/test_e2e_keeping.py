"""Remembered once accepted, forgotten once refused: Kamailio judges, gnome-keyring keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.e2e.conftest import account
from tests.support.cli import Cli
from tests.support.hostile import Hostile
from tests.support.peer import Gate, Heard, response
from tests.support.pty import ended, terminal
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.keyring import Keyring

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.real("keyring"), pytest.mark.xdist_group("keeping")]

ENTRY = "import keyring; print(keyring.get_password('sipcli', 'alice@sip.test'))"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Keyring]:
    require("keyring")
    ring = Keyring(tmp_path / "session", "unlocked")
    yield ring
    ring.stop()


@pytest.fixture
def desk(tmp_path: Path, session: Keyring, kamailio: Kamailio) -> Cli:
    """A machine with a keychain that knows nothing of alice yet, and a person."""
    cli = Cli(
        tmp_path / "home", env={name: session.env[name] for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR")}
    )
    cli.configure(account(kamailio.address(), credentials='"keychain", "prompt"'))
    return cli


def test_what_was_typed_is_kept_once_the_server_took_it(desk: Cli, session: Keyring) -> None:
    """Typed wrong, then right: only the right one is kept, and nobody is asked the next time."""
    with terminal(desk, "register", "--once", "--save") as child:
        for word in ("mistyped", "secret123"):
            child.expect("assword")
            child.expect(": ")
            child.send(f"{word}\n")
        status, said = ended(child)
    assert status == 0, said
    assert session.run(ENTRY) == "secret123"
    again = desk.run("register", "--once", "--json", "--no-input")
    assert again.code == 0, again.stderr
    assert again.result["auth"]["provider"] == "keychain"


def test_without_save_nothing_is_kept(desk: Cli, session: Keyring) -> None:
    with terminal(desk, "register", "--once") as child:
        child.expect("assword")
        child.expect(": ")
        child.send("secret123\n")
        status, said = ended(child)
    assert status == 0, said
    assert session.run(ENTRY) == "None"


def test_a_password_file_is_kept_only_if_it_was_right(desk: Cli, session: Keyring) -> None:
    wrong = desk.run("register", "--once", "--save", "--no-input", "--password-file", "-", stdin="not-it\n")
    assert wrong.code == 3, wrong.stderr
    assert session.run(ENTRY) == "None"
    right = desk.run("register", "--once", "--save", "--no-input", "--password-file", "-", stdin="secret123\n")
    assert right.code == 0, right.stderr
    assert session.run(ENTRY) == "secret123"


@pytest.mark.parametrize("genuine", [True, False])
def test_A14_what_a_server_took_that_cannot_prove_itself_is_not_kept(
    desk: Cli, session: Keyring, genuine: bool
) -> None:
    """``rspauth`` (RFC 7616 section 3.5), right or wrong; no real registrar can be made to say a wrong one."""
    gate = Gate("sip.test", algorithm="SHA-256", users={"alice": "secret123"})

    def answer(request: Heard) -> list[bytes]:
        if not gate.admits(request):
            return [gate.ask(request)]
        proof = gate.proof(request, "secret123" if genuine else "a guess")
        return [response(request, 200, "OK", f"Contact: {request.header('contact')};expires=600", proof)]

    server = Hostile(answer)
    try:
        desk.configure(account(f"127.0.0.1:{server.port}", credentials='"keychain", "prompt"'))
        done = desk.run("register", "--once", "--save", "--no-input", "--password-file", "-", stdin="secret123\n")
    finally:
        server.close()
    assert done.code == 0, done.stderr
    assert ("could not prove that it knows the secret of realm 'sip.test'" in done.stderr) is not genuine
    assert session.run(ENTRY) == ("secret123" if genuine else "None")


def test_a_refused_entry_is_erased_and_the_person_asked(desk: Cli, session: Keyring, kamailio: Kamailio) -> None:
    """The password was changed at the server.  The old one is sent once, and never again."""
    assert desk.run("auth", "save", "work", "--password-file", "-", stdin="old\n").code == 0
    judged = len(kamailio.verdicts())
    with terminal(desk, "register", "--once") as child:
        child.expect("refused")
        child.expect(": ")
        child.send("secret123\n")
        status, said = ended(child)
    assert status == 0, said
    assert session.run(ENTRY) == "None"
    answers = [line.rsplit("=", 1)[1] for line in kamailio.verdicts()[judged:] if "REGISTER user=alice" in line]
    assert answers[0] != "1"
    assert answers[1] == "1"


def test_a_refused_entry_without_a_person_is_three(desk: Cli, session: Keyring, kamailio: Kamailio) -> None:
    assert desk.run("auth", "save", "work", "--password-file", "-", stdin="old\n").code == 0
    judged = len(kamailio.verdicts())
    done = desk.run("register", "--once", "--json", "--no-input")
    assert done.code == 3, done.stderr
    assert len(kamailio.verdicts()) == judged + 1
    assert session.run(ENTRY) == "None"


def test_doctor_and_providers_name_the_backend(desk: Cli) -> None:
    checks = desk.run("doctor", "--json").result["checks"]
    [keychain] = [check for check in checks if check["name"] == "keychain"]
    assert keychain["state"] == "ok"
    assert "SecretService" in keychain["message"]
    providers = desk.run("providers", "list", "--json").result["providers"]
    assert "SecretService" in {entry["name"]: entry["where"] for entry in providers}["keychain"]


def test_the_entry_is_where_the_contract_says(desk: Cli, session: Keyring) -> None:
    """`auth save` on the terminal, and `keyring get sipcli alice@example.com` finds it."""
    with terminal(desk, "auth", "save", "work") as child:
        while child.expect(["assword.*?: ", pexpect.EOF]) == 0:
            child.send("secret123\n")
        child.wait()
    assert child.exitstatus == 0
    assert session.run(ENTRY) == "secret123"
