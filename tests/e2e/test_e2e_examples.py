"""The three example programs against Kamailio: every transport, every end of a challenge, every kind of thread."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartKamailio
from tests.support.real import require
from tests.support.servers.kamailio import Kamailio

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("examples")]

ROOT = Path(__file__).parents[2]
LEVELS = {1: "level1_auth_session.py", 2: "level2_user_agent.py", 3: "level3_account.py"}
THREADS = ["registered", "unregistered", "loop"]
KEYS = {"ok", "outcome", "challenges", "waited_s", "error"}


def run(level: int, address: str, *options: str, password: str = "secret123", status: int) -> dict[str, Any]:
    """The one line that the program prints; it must print nothing else there."""
    done = subprocess.run(
        [
            sys.executable, str(ROOT / "examples" / LEVELS[level]), "--registrar", address, "--user", "alice",
            "--password", password, "--realm", "sip.test", *options,
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    [line] = done.stdout.splitlines()
    said = json.loads(line)
    assert set(said) == KEYS
    assert said["ok"] is (status == 0)
    assert "Traceback" not in done.stderr
    said["stderr"] = done.stderr
    return dict(said)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("level", LEVELS)
def test_a_deferred_answer_registers(start_kamailio: StartKamailio, certs: Path, level: int, transport: str) -> None:
    server = start_kamailio(tls=True)
    before = len(server.saved("alice"))
    options = ("--transport", transport, "--delay", "0.5", "--then", "respond", "--ca", str(certs / "ca.pem"))
    said = run(level, server.address(transport), *options, status=0)
    assert said["outcome"] == "registered"
    assert said["challenges"] == 1
    assert said["waited_s"] >= 0.5
    assert said["error"] is None
    bound, unbound = server.saved("alice")[before:]
    assert bound.startswith(transport)
    assert unbound.endswith("expires=0")
    assert server.contacts("alice") == []


@pytest.mark.parametrize("thread", THREADS)
@pytest.mark.parametrize("level", [2, 3])
def test_which_threads_may_answer(kamailio: Kamailio, level: int, thread: str) -> None:
    """An unregistered thread is told so, and the challenge stays as it was until its ceiling ends it."""
    options = ("--delay", "0.2", "--thread", thread, "--max-wait", "1")
    if thread == "unregistered":
        said = run(level, kamailio.address(), *options, status=1)
        assert said["outcome"] == "expired"
        assert said["error"].startswith("UnregisteredThread")
    else:
        said = run(level, kamailio.address(), *options, status=0)
        assert said["outcome"] == "registered"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("then", ["abandon", "drop", "nothing"])
@pytest.mark.parametrize("level", LEVELS)
def test_each_other_end_of_a_challenge(kamailio: Kamailio, level: int, then: str, transport: str) -> None:
    """Nothing is sent to the registrar but the first REGISTER; a dropped handle abandons itself, with a warning."""
    judged = len(kamailio.verdicts())
    options = ("--transport", transport, "--delay", "0.2", "--then", then, "--max-wait", "1")
    said = run(level, kamailio.address(), *options, status=1)
    forgotten = then == "nothing" or (then == "drop" and level == 1)
    assert said["outcome"] == ("expired" if forgotten else "abandoned")
    assert said["challenges"] == 1
    assert (said["waited_s"] >= 0.9) is forgotten
    assert len(kamailio.verdicts()) == judged
    assert ("dropped unanswered" in said["stderr"]) is (then == "drop" and level != 1)


@pytest.mark.parametrize("level", LEVELS)
def test_a_wrong_password_is_sent_once(kamailio: Kamailio, level: int) -> None:
    judged = len(kamailio.verdicts())
    said = run(level, kamailio.address(), password="not-it", status=1)
    assert said["outcome"] == "refused"
    assert [line for line in kamailio.verdicts()[judged:] if "REGISTER user=alice" in line] != []
    assert len(kamailio.verdicts()) == judged + 1


@pytest.mark.parametrize("level", LEVELS)
def test_the_server_must_be_who_it_says(start_kamailio: StartKamailio, level: int) -> None:
    """Without --ca nobody vouches for it: no challenge is ever seen."""
    require("openssl")
    server = start_kamailio(tls=True)
    said = run(level, server.address("tls"), "--transport", "tls", status=1)
    assert said["challenges"] == 0
    assert said["outcome"] not in ("registered", "abandoned", "expired", "refused")
