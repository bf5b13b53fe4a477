"""Kamailio with all it can ask for and judge: each algorithm, with qop and without, and nonces that serve long, by
count, once or briefly.  It can ask for ``auth-int`` and not judge it: SIPp does (``test_e2e_shapes.py``).

What it made of each request is read from its own log: -5 is a request without
credentials, -4 one with an expired nonce, -6 one with a nonce that served
already; all three are answered 401 or 407.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipcli.config import AccountConfig
from sipcli.credentials import PasswordCredentials, Secret
from sipcli.sip.flow import Transport
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.agent import UserAgent
from sipcli.ua.brokered import BrokeredAccount
from sipcli.ua.calls.call import Call
from tests.e2e.conftest import FILE_PROVIDER, account
from tests.support.brokerkit import FakeProvider
from tests.support.cli import Cli
from tests.support.real import require
from tests.support.servers.kamailio import USERS, Kamailio
from tests.support.softphone import eventually

pytestmark = [pytest.mark.real("kamailio"), pytest.mark.xdist_group("nonces")]

ALGORITHMS = {"MD5": (), "SHA-256": ("SHA256",)}
QOPS = {"auth": (), "no qop": ("NO_QOP",)}
NONCES = {"long": (), "counted": ("NC",), "once": ("ONE_TIME",)}
ASKED, EXPIRED, SERVED, RIGHT = -5, -4, -6, 1

Rounds = dict[str, list[int]]
NEW_CALL = [ASKED, RIGHT]
EXPECTED: dict[str, Rounds] = {
    "long": {"REGISTER": [ASKED, RIGHT, RIGHT], "INVITE": NEW_CALL, "BYE": [RIGHT]},
    "counted": {"REGISTER": [ASKED, RIGHT, RIGHT], "INVITE": NEW_CALL, "BYE": [RIGHT]},
    "once": {"REGISTER": [ASKED, RIGHT, SERVED, RIGHT], "INVITE": NEW_CALL, "BYE": [SERVED, RIGHT]},
}
BRIEF: Rounds = {"REGISTER": [ASKED, RIGHT, EXPIRED, RIGHT], "INVITE": NEW_CALL, "BYE": [RIGHT]}
# Counting nonces without a qop is no combination: there is no nc to count by (RFC 7616 section 3.4).
COMBINATIONS = [
    each for each in itertools.product(ALGORITHMS, QOPS, NONCES) if (each[1], each[2]) != ("no qop", "counted")
]


@contextlib.contextmanager
def running(directory: Path, *switches: str, **options: Any) -> Iterator[Kamailio]:
    require("kamailio")
    server = Kamailio(directory / "kamailio", "WITHIN", *switches, **options)
    try:
        yield server
    finally:
        server.stop()


def rounds(log: str) -> Rounds:
    """The verdicts on each method, in order."""
    judged: Rounds = {}
    for method, verdict in re.findall(r"DIGEST (\w+) user=\S+ algorithm=\S* verdict=(-?\d+)", log):
        judged.setdefault(method, []).append(int(verdict))
    return judged


def configured(server: Kamailio, user: str, transport: Transport) -> AccountConfig:
    return AccountConfig(
        name=user,
        aor=SipUri.parse(f"sip:{user}@sip.test"),
        registrar=SipUri.parse("sip:sip.test"),
        proxy=SipUri.parse(f"sip:{server.address(transport)};transport={transport};lr"),
        transport=transport,
        username=user,
        ca_file=server.certs / "ca.pem" if server.certs else None,
        credentials=(user,),
    )


async def register_and_call(server: Kamailio, transport: Transport = "udp", *, expires: int | None = None) -> Rounds:
    """Alice registers, refreshes (by herself, with *expires* s), calls bob and hangs up; what the server made of it."""
    providers = {user: FakeProvider(PasswordCredentials(user, Secret(USERS[user]), "*")) for user in ("alice", "bob")}
    answers: list[asyncio.Future[None]] = []

    def answer(call: Call) -> None:
        answers.append(asyncio.ensure_future(call.accept(audio="null")))

    async with (
        UserAgent(providers=providers.__getitem__, on_incoming=answer) as theirs,
        UserAgent(providers=providers.__getitem__) as ours,
    ):
        await theirs.add_account(configured(server, "bob", transport), BrokeredAccount).register()
        before = len(server.server.text())
        alice = ours.add_account(configured(server, "alice", transport), BrokeredAccount)
        await alice.register(expires=expires)
        if expires is None:
            alice.refresh()
        await eventually(lambda: len(server.saved("alice")) == 2, within=15)
        call = await alice.call("sip:bob@sip.test", audio="null")
        await call.answered(timeout=10)
        await call.hangup()
        report = await call.finished()
        assert report.code in (None, 200), report
        await asyncio.gather(*answers)
        assert len(providers["alice"].requests) == 1
        return rounds(server.server.text()[before:])


@pytest.mark.parametrize(("algorithm", "qop", "nonces"), COMBINATIONS)
async def test_A08_A10_A11_A13_A18_every_algorithm_qop_and_nonce(
    tmp_path: Path, algorithm: str, qop: str, nonces: str
) -> None:
    """A nonce that may serve again does so without a new question, one that may not costs a round trip; one look-up."""
    with running(tmp_path, *ALGORITHMS[algorithm], *QOPS[qop], *NONCES[nonces]) as server:
        assert await register_and_call(server) == EXPECTED[nonces]
        judged = [line for line in server.verdicts() if "user=alice" in line]
        named = "" if algorithm == "MD5" else algorithm  # where nothing is named it is MD5 (RFC 7616 section 3.3)
        assert all(f"algorithm={named} " in line for line in judged), judged


@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize("nonces", ["counted", "once"])
async def test_A08_A10_A13_A18_over_streams(tmp_path: Path, certs: Path, transport: Transport, nonces: str) -> None:
    with running(tmp_path, "SHA256", *NONCES[nonces], certs=certs) as server:
        assert await register_and_call(server, transport) == EXPECTED[nonces]


async def test_A08_A10_A11_a_nonce_of_two_seconds_costs_a_round_trip_and_no_question(tmp_path: Path) -> None:
    """All at once, as each waits for the refresh of a binding of 10 s, long after its nonce."""
    pairs = list(itertools.product(ALGORITHMS.values(), QOPS.values()))
    places = [tmp_path / str(number) for number in range(len(pairs))]
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(running(place, *algorithm, *qop, nonce_expire=2))
            for place, (algorithm, qop) in zip(places, pairs, strict=True)
        ]
        judged = await asyncio.gather(*[register_and_call(server, expires=10) for server in servers])
    assert judged == [BRIEF] * len(pairs)


async def test_A14_a_nextnonce_spares_the_round_trip_where_each_nonce_serves_once(tmp_path: Path) -> None:
    with running(tmp_path, "SHA256", "ONE_TIME", "AUTH_INFO") as server:
        assert (await register_and_call(server))["REGISTER"] == [ASKED, RIGHT, RIGHT]


@pytest.mark.parametrize(("switches", "nonces"), [(("SHA256", "NC"), "counted"), (("NO_QOP", "ONE_TIME"), "once")])
def test_A08_A10_A11_A13_by_the_command_line(cli: Cli, tmp_path: Path, switches: tuple[str, ...], nonces: str) -> None:
    with running(tmp_path, *switches) as server:
        cli.configure(account(server.address()) + FILE_PROVIDER.format(path=cli.secret("secret", USERS["alice"])))
        done = cli.run("register", "--once", "--json")
        assert done.code == 0, done.stderr
        assert len(done.named("auth.provider")) == 1
        busy = cli.run("call", "sip:code-486@sip.test", "--json", "--no-register")
        assert busy.code == 6, busy.stderr
        judged = rounds(server.server.text())
    assert judged == {"REGISTER": EXPECTED[nonces]["REGISTER"], "INVITE": NEW_CALL}
