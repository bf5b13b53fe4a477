"""Digest AKA through the engine, on a stepped clock, with a SIM in files: answered late, resynchronised, refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipcli.credentials import Denied, SignedCredentials
from sipcli.sip import events
from sipcli.sip.auth import AuthPolicy, GiveUp
from sipcli.testing import make_context, make_request
from sipcli_providers.sim import SimProvider
from tests.support.aka import REALM, SQN, card, nonce, params, proves, resynchronised
from tests.support.pair import Heard, Wire, response

POLICY = AuthPolicy(algorithms=(*AuthPolicy().algorithms, "AKAv1-MD5"))


def challenged(request: Heard, challenge: str) -> bytes:
    line = f'WWW-Authenticate: Digest realm="{REALM}", nonce="{challenge}", qop="auth", algorithm=AKAv1-MD5'
    return response(request, 401, "Unauthorized", line)


def sign(wire: Wire, sim: SimProvider) -> None:
    request = make_request(algorithms=("AKAv1-MD5",))
    key = sim.get(request)
    inputs = wire.session.digest_inputs(wire.token, key)
    wire.respond(*[SignedCredentials(key, each, sim.sign(request, key, each)) for each in inputs])  # type: ignore[arg-type]


def begun(sim_says: str) -> Wire:
    wire = Wire(policy=POLICY)
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(challenged(wire.one(), sim_says))
    return wire


def sim(tmp_path: Path, *, seen: int | None = None) -> SimProvider:
    return SimProvider(make_context(card(tmp_path / "sim", seen=seen)))


def accept(wire: Wire, request: Heard) -> None:
    wire.deliver(response(request, 200, "OK", f"Contact: {request.header('contact').partition(';expires')[0]}"))
    assert wire.last(events.RegistrationChanged).state == "registered"


def test_A29_a_sim_that_takes_its_time_registers(tmp_path: Path) -> None:
    wire = begun(nonce())
    wire.take()
    wire.run(40.0)
    assert wire.silent(), "no transaction runs while the card thinks"
    sign(wire, sim(tmp_path))
    request = wire.one()
    assert proves(request.header("authorization"))
    assert params(request.header("authorization"))["algorithm"] == "AKAv1-MD5"
    accept(wire, request)


def test_A29_a_number_that_was_seen_is_resynchronised_and_the_next_one_answered(tmp_path: Path) -> None:
    card_ = sim(tmp_path, seen=SQN + 640)
    wire = begun(nonce())
    sign(wire, card_)
    first = wire.one().header
    assert proves(first("authorization"), b""), "computed with an empty password (RFC 3310 section 3.4)"
    assert resynchronised(first("authorization")) == SQN + 640
    again = wire.sent[-1]
    wire.deliver(challenged(again, nonce(SQN + 672)))
    sign(wire, card_)
    request = wire.one()
    assert proves(request.header("authorization")) and "auts" not in params(request.header("authorization"))
    accept(wire, request)


def test_A29_a_false_network_gets_no_answer(tmp_path: Path) -> None:
    wire = begun(nonce(mac="00" * 8))
    with pytest.raises(Denied, match="does not know the key"):
        sign(wire, sim(tmp_path))
    wire.do(lambda: wire.session.abandon(wire.token, GiveUp.NO_CREDENTIALS))
    wire.run(60.0)
    assert not [heard for heard in wire.sent if heard.has("authorization")], "tried again later, without an answer"
