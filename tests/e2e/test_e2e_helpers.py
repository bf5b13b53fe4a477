"""Helper programs behind the real command line: each fault has its exit status and its sentence, and SIP goes on."""

from __future__ import annotations

import json
import time

import pytest

from tests.e2e.conftest import account
from tests.e2e.test_e2e_slow_provider import ping
from tests.support.cli import LEAVES_WITHIN, Cli
from tests.support.helpers import FAULTS, processes, signing_helper, store_helper, wait_until, write_helper
from tests.support.servers.kamailio import Kamailio
from tests.support.servers.process import free_port

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("kamailio")]

STATUS = {
    "absent": 4, "silent": 4, "expired": 4, "cancelled": 4, "quitting": 4,
    "failing": 8, "locked": 8, "killed": 8, "hanging": 8, "babbling": 8, "complaining": 8, "deaf": 8, "garbage": 8,
    "binary": 8, "huge": 8, "carriage": 8, "zero": 8, "twice": 8, "both": 8, "newer": 8, "responding": 8,
}  # fmt: skip


def configure(cli: Cli, kamailio: Kamailio, helper: object) -> None:
    cli.configure(
        account(kamailio.address(), credentials='"mine"') + f'[providers.mine]\ntype = "exec"\ncommand = "{helper}"\n'
    )


def test_a_helper_registers_us(cli: Cli, kamailio: Kamailio) -> None:
    helper = store_helper(cli.home, **{"sip:alice@sip.test": "secret123"})
    configure(cli, kamailio, helper)
    done = cli.run("register", "--once", "--json", "--no-input")
    assert done.code == 0, done.stderr
    assert done.result["auth"]["provider"] == "mine"
    assert "secret123" not in done.stdout + done.stderr
    told = json.loads(helper.with_suffix(".log").read_text().splitlines()[0])[2]
    assert (dict(told)["origin"], dict(told)["tls"]) == (kamailio.address(), "none")
    [challenge] = [value for key, value in told if key == "wwwauth[]"]
    assert challenge.startswith('Digest realm="sip.test", nonce="')
    assert cli.run("providers", "test", "mine").code == 0
    assert f"helper {helper}" in cli.run("providers", "list").stdout


def test_T14_a_helper_signs_and_the_key_never_reaches_us(cli: Cli, kamailio: Kamailio) -> None:
    helper = signing_helper(cli.home)
    configure(cli, kamailio, helper)
    trace = cli.home / "trace.jsonl"
    done = cli.run("register", "--once", "--json", "--no-input", "--trace", str(trace))
    assert done.code == 0, (done.result, done.stderr)
    assert done.result["auth"]["provider"] == "mine"
    calls = [json.loads(line) for line in helper.with_suffix(".log").read_text().splitlines()]
    # The second answer is for taking the binding back: another request is another signature, of the same key.
    assert [verb for verb, _ in calls] == ["get", "capability", "sign", "sign"]
    first, second = (told for verb, told in calls if verb == "sign")
    assert (first["algorithm"], first["username"], first["realm"]) == ("MD5", "alice", "sip.test")
    assert (first["method"], first["uri"], first["scheme"]) == ("REGISTER", "sip:sip.test", "digest")
    assert (first["nonce"], first.get("nc")) != (second["nonce"], second.get("nc"))
    assert "secret123" not in done.stdout + done.stderr + trace.read_text() + str(calls)


def test_a_helper_that_signs_wrongly_is_refused_and_keeps_its_key(cli: Cli, kamailio: Kamailio) -> None:
    helper = signing_helper(cli.home, "another")
    configure(cli, kamailio, helper)
    done = cli.run("register", "--once", "--json", "--no-input")
    assert done.code == 3, (done.result, done.stderr)
    verbs = [json.loads(line)[0] for line in helper.with_suffix(".log").read_text().splitlines()]
    assert "erase" not in verbs
    assert verbs.count("sign") == 1, "the server was sent the same refused key again"


@pytest.mark.parametrize("fault", FAULTS)
def test_T17_each_fault_has_its_exit_status_and_one_sentence(cli: Cli, kamailio: Kamailio, fault: str) -> None:
    """Fails for deaf if ``_signal`` never sends SIGKILL; one in ``_living`` or one at exit alone would do here."""
    configure(cli, kamailio, write_helper(cli.home / "helper", FAULTS[fault]))
    done = cli.run("register", "--once", "--json", "--no-input", "--max-wait", "2")
    assert done.code == STATUS[fault], (done.result, done.stderr)
    assert done.result["message"]
    assert "\n" not in done.result["message"]
    assert "Traceback" not in done.stderr
    assert "secret12" not in done.stdout + done.stderr
    wait_until(lambda: not processes(str(cli.home / "helper")))


def test_T16_a_helper_that_others_may_write_is_not_run(cli: Cli, kamailio: Kamailio) -> None:
    """Fails without ``trusted_program`` in ``run_program``."""
    configure(cli, kamailio, write_helper(cli.home / "helper", "echo password=secret123", 0o777))
    done = cli.run("register", "--once", "--json", "--no-input")
    assert done.code == 8
    assert "chmod go-w" in done.stdout + done.stderr


def test_the_stack_answers_while_a_helper_hangs(cli: Cli, kamailio: Kamailio) -> None:
    configure(cli, kamailio, write_helper(cli.home / "helper", f"touch {cli.home}/asked; {FAULTS['deaf']}"))
    port = free_port()
    running = cli.start("listen", "--port", str(port), "--json", "--no-input")
    try:
        wait_until((cli.home / "asked").exists, 15)
        assert max(ping(port, n) for n in range(20)) < 0.5
    finally:
        began = time.monotonic()
        running.leave()
    assert time.monotonic() - began < LEAVES_WITHIN
    wait_until(lambda: not processes(str(cli.home / "helper")))


def test_a_helper_that_is_deleted_between_two_questions(cli: Cli, kamailio: Kamailio) -> None:
    """It gives a wrong password and is gone when the refusal makes us ask again."""
    helper = write_helper(cli.home / "helper", 'rm "$0"; echo password=wrong')
    configure(cli, kamailio, helper)
    done = cli.run("register", "--once", "--json", "--no-input")
    assert not helper.exists()
    assert done.code == 3, (done.result, done.stderr)
    assert done.named("auth.provider")[-1]["message"] == f"there is no program {helper}"
    assert done.result["message"].startswith("registration refused: 401")
    assert "Traceback" not in done.stderr


# -- windows, and credentials of a service -------------------------------------------------------------------------

WINDOWS = {
    "exit 1": (4, "the window that asked was closed"),
    "echo": (4, "nothing was typed"),
    "kill -9 $$": (4, "the window that asked was closed"),
    "printf 'secret\\000123\\n'": (8, "contains a control character"),
    "exec yes secret123": (8, "more than 64 KiB"),
    "exec sleep 600": (4, "nobody answered"),
    "trap '' TERM; while :; do sleep 600 & wait; done": (4, "nobody answered"),
}


def with_window(cli: Cli, kamailio: Kamailio, body: str, mode: int = 0o755) -> None:
    cli.configure(account(kamailio.address(), credentials='"prompt"'))
    program = write_helper(cli.home / "window", body, mode)
    cli.env |= {"SIPCLI_ASKPASS": str(program), "DISPLAY": ":99"}


def test_a_window_registers_us_and_nobody_is_called_absent(cli: Cli, kamailio: Kamailio) -> None:
    """Without a terminal, as from a desktop's launcher; and somebody at another terminal is not waited for."""
    with_window(cli, kamailio, "echo secret123")
    running = cli.start("register", "--json")
    try:
        running.wait_for("registration", state="registered")
        [needed] = [event for event in running.events if event["event"] == "auth.needed"]
        assert (needed["provider"], needed["at_terminal"]) == ("prompt", False)
        assert "secret123" not in running.stderr + str(running.events)
    finally:
        running.leave()
    said = cli.run("register", "--once")
    assert said.code == 0, said.stderr
    assert "nobody" not in said.stdout + said.stderr


@pytest.mark.parametrize("body", WINDOWS)
def test_T17_each_fault_of_a_window_has_its_exit_status_and_one_sentence(
    cli: Cli, kamailio: Kamailio, body: str
) -> None:
    """Fails for the last if ``_signal`` never sends SIGKILL: the window lives on."""
    with_window(cli, kamailio, body)
    done = cli.run("register", "--once", "--json", "--max-wait", "2")
    status, sentence = WINDOWS[body]
    said = [done.result["message"], *(event.get("message", "") for event in done.named("auth.provider"))]
    assert done.code == status, (done.result, done.stderr)
    assert any(sentence in one for one in said), said
    assert "\n" not in done.result["message"]
    assert "Traceback" not in done.stderr
    assert "secret123" not in done.stdout + done.stderr
    wait_until(lambda: not processes(str(cli.home / "window")))


def test_T16_a_window_that_others_may_write_is_not_opened(cli: Cli, kamailio: Kamailio) -> None:
    """Fails without ``trusted_program`` in ``run_program``."""
    with_window(cli, kamailio, "echo secret123", 0o777)
    done = cli.run("register", "--once", "--json")
    assert done.code == 8, (done.result, done.stderr)
    assert "chmod go-w" in done.result["message"]


@pytest.mark.parametrize(
    ("folder", "mode", "content", "status", "sentence"),
    [
        ("credentials", 0o400, "secret123\n", 0, "registered"),
        (None, 0o400, "secret123\n", 4, "CREDENTIALS_DIRECTORY is not set"),
        ("elsewhere", 0o400, "secret123\n", 4, "there is no file"),
        ("relative", 0o400, "secret123\n", 8, "no absolute path"),
        ("credentials", 0o602, "secret123\n", 8, "chmod go-w"),
        ("credentials", 0o400, "secret123\nmore\n", 8, "more than one line"),
        ("credentials", 0o400, "", 4, "is empty"),
    ],
)
def test_T33_each_fault_of_a_services_credential_has_its_exit_status_and_one_sentence(
    cli: Cli, kamailio: Kamailio, folder: str | None, mode: int, content: str, status: int, sentence: str
) -> None:
    """Fails for the mode without the check of ``_OTHERS_WRITE`` in ``_judge_file``."""
    place = cli.home / "credentials"
    place.mkdir()
    (place / "sip").write_text(content)
    (place / "sip").chmod(mode)
    if folder is not None:
        cli.env["CREDENTIALS_DIRECTORY"] = folder if folder == "relative" else str(cli.home / folder)
    cli.configure(
        account(kamailio.address(), credentials='"service"')
        + '[providers.service]\ntype = "systemd"\ncredential = "sip"\n'
    )
    done = cli.run("register", "--once", "--json", "--no-input")
    assert done.code == status, (done.result, done.stderr)
    assert sentence in str(done.result) + done.stdout
    assert "\n" not in done.result.get("message", "")
    assert "secret123" not in done.stdout + done.stderr
