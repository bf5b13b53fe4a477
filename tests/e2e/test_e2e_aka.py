"""SIPp as a registrar of a mobile network: Digest AKA over UDP, from the files of a SIM to the answer on the wire."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.test_e2e_shapes import complaint, listens, registrar
from tests.support.aka import REALM, RES, SQN, USER, card, expected, nonce
from tests.support.cli import Cli, Result
from tests.support.servers.shapes import Shape

pytestmark = [pytest.mark.real("sipp"), pytest.mark.xdist_group("shapes")]


def asks(challenge: str) -> tuple[str, ...]:
    # Without a qop the answer holds nothing of ours, so that SIPp can be told the one right response.
    return (f'WWW-Authenticate: Digest realm="{REALM}", nonce="{challenge}", algorithm=AKAv1-MD5',)


def right(challenge: str, password: bytes = RES) -> tuple[str, ...]:
    """Of a REGISTER to the domain."""
    response = expected(challenge, f"sip:{REALM}", password)
    return (
        f'response="{response}"',
        f'username="{USER}"',
        "algorithm=AKAv1-MD5",
        re.escape(challenge).replace("\\", ""),
    )


def runs(cli: Cli, folder: Path, shape: Shape, *, seen: int | None = None) -> tuple[Result, str]:
    """What sipcli said, and what SIPp complains of."""
    port, server = registrar(folder, shape, "udp")
    options = "\n".join(f'{key} = "{value}"' for key, value in card(folder / "sim", seen=seen).items())
    cli.configure(
        f'[accounts.ims]\naor = "sip:imsi@{REALM}"\nregistrar = "sip:{REALM}"\n'
        f'proxy = "sip:127.0.0.1:{port};transport=udp;lr"\ncredentials = ["card"]\n'
        f'[providers.card]\ntype = "sim"\n{options}\n'
    )
    try:
        server.wait_until(lambda: listens(port, "udp"))
        done = cli.run("register", "ims", "--once", "--json")
        return done, complaint(folder, server)
    finally:
        server.stop()


def test_A29_the_published_challenge_gets_the_published_res(cli: Cli, tmp_path: Path) -> None:
    shape = Shape((asks(nonce()),), right(nonce()), after=())
    done, said = runs(cli, tmp_path / "sipp", shape)
    assert (done.code, said) == (0, ""), done.stderr


def test_A29_an_old_number_is_resynchronised_before_the_next_is_answered(cli: Cli, tmp_path: Path) -> None:
    fresh = nonce(SQN + 672)
    rounds = (asks(nonce()), asks(fresh))
    resynchronises = (f'response="{right(nonce(), b"")[0][10:-1]}"', 'auts="[A-Za-z0-9+/]{19}="')
    shape = Shape(rounds, right(fresh), between=resynchronises, after=())
    done, said = runs(cli, tmp_path / "sipp", shape, seen=SQN + 640)
    assert (done.code, said) == (0, ""), done.stderr


def test_A29_a_false_network_gets_no_answer_and_nobody_is_asked(cli: Cli, tmp_path: Path) -> None:
    done, said = runs(cli, tmp_path / "sipp", Shape((asks(nonce(mac="00" * 8)),), status=8))
    assert said == ""
    assert done.code == 8, done.stderr
    assert "does not know the key" in done.stderr + str(done.events)
    assert not done.named("auth.needed")
