"""A fork, or an edge before a registrar, asks one realm with 401 and 407: one algorithm answers both (T05)."""

from __future__ import annotations

import pytest

from sipcli.sip import events
from sipcli.sip.auth import GiveUp
from tests.support.pair import ANSWER, Gate, Heard, Wire, password, response

BOB = "Contact: <sip:bob@192.0.2.1:5060>"


def doors(www: str, proxy: str) -> tuple[Gate, Gate]:
    return Gate(algorithm=www), Gate(proxy=True, algorithm=proxy)


def algorithms(request: Heard) -> set[str]:
    values = request.all("authorization") + request.all("proxy-authorization")
    return {value.partition("algorithm=")[2].split(",")[0] for value in values}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("www", "proxy"), [("SHA-256", "MD5"), ("MD5", "SHA-256"), ("SHA-512-256", "SHA-256-sess")])
def test_T05_a_fork_that_asks_in_two_algorithms_ends_the_call_and_gets_no_digest(
    www: str, proxy: str, asynchronous: bool
) -> None:
    """Fails without ``agreed`` in ``AuthSession.challenge``: each branch had the digest that it had asked for."""
    wire = Wire("tls", asynchronous=asynchronous, credentials=(password(),))
    home, branch = doors(www, proxy)
    wire.call()
    wire.deliver(branch.ask(wire.one(), home.header()))
    assert [heard.method for heard in wire.take()] == ["ACK"]
    (ended,) = wire.told(events.CallEnded)
    assert ended.why is GiveUp.AT_ODDS
    wire.run(60)
    assert wire.silent()


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_T05_A07_a_fork_whose_branches_ask_alike_is_answered_at_both_doors(algorithm: str) -> None:
    """RFC 3261 section 22.3: what an honest fork loses by it is nothing."""
    wire = Wire("tls", asynchronous=False, credentials=(password(),))
    home, branch = doors(algorithm, algorithm)
    wire.call()
    wire.deliver(branch.ask(wire.one(), home.header()))
    retry = wire.take()[-1]
    assert home.admits(retry) and branch.admits(retry)
    wire.deliver(response(retry, 200, "OK", BOB, body=ANSWER))
    assert len(wire.told(events.CallAnswered)) == 1


def test_T05_A07_an_edge_with_md5_before_a_registrar_that_offers_both_registers() -> None:
    """RFC 8760 section 2.4: a site that is being upgraded offers the old algorithm below the new one."""
    wire = Wire("tls", asynchronous=False, credentials=(password(),))
    old, edge = doors("MD5", "MD5")
    new = Gate(algorithm="SHA-256")
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(edge.ask(wire.one()))
    wire.deliver(new.ask(wire.one(), old.header()))
    request = wire.one()
    assert old.admits(request) and edge.admits(request)
    assert algorithms(request) == {"MD5"}
    wire.deliver(response(request, 200, "OK", f"Contact: {request.header('contact')};expires=600"))
    assert wire.last(events.RegistrationChanged).state == "registered"


def test_T05_an_edge_with_md5_before_a_registrar_that_left_it_behind_is_told_apart_and_not_answered() -> None:
    """The one honest site that loses: its edge and its registrar have one realm and nothing in common."""
    wire = Wire("tls", asynchronous=False, credentials=(password(),))
    new, edge = doors("SHA-256", "MD5")
    wire.do(lambda: wire.engine.register("work"))
    wire.deliver(edge.ask(wire.one()))
    wire.deliver(new.ask(wire.one()))
    assert not any(request.has("authorization") for request in wire.take())
    assert wire.last(events.RegistrationChanged).why is GiveUp.AT_ODDS
