"""The password of a TURN server comes from providers, and they hear what became of it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from sipcli.config.iceserver import IceServer
from sipcli.credentials import CredentialRequest, Credentials, Ha1Credentials, NotFound, Secret
from sipcli.errors import ConfigError
from sipcli.ua.auth.turnkey import TurnKeys
from tests.support.agentkit import Site, site
from tests.support.authkit import password
from tests.support.brokerkit import FakeProvider, Keeper
from tests.support.softphone import eventually

SERVER = IceServer("turn", "turn.example.com", 3478)
PLACE = ("192.0.2.3", 3478)


def keys(s: Site, **more: Any) -> TurnKeys:
    settings: dict[str, Any] = {"turn": SERVER, "turn_credentials": ("t",), "turn_username": "turner", **more}
    return TurnKeys(s.account(**settings))


async def test_the_named_provider_is_asked_for_the_servers_realm_and_nobody_else() -> None:
    """T01's lesson for TURN: the SIP account's own provider is another server's affair."""
    sip, turn = FakeProvider(password("for sip")), FakeProvider(password("for turn", username="turner"), name="t")
    async with site(sip, turn) as s:
        found = await keys(s).authenticate(SERVER, PLACE, "turn.test")
        assert (found.username, found.password.reveal()) == ("turner", b"for turn")
    (request,) = turn.requests
    assert (request.realm, request.username, request.method, request.scheme) == (
        "turn.test",
        "turner",
        "TURN",
        "digest",
    )
    assert not sip.requests


async def test_without_a_named_provider_nobody_is_asked() -> None:
    sip = FakeProvider(password("for sip"))
    async with site(sip) as s:
        with pytest.raises(ConfigError, match="turn_credentials"):
            await keys(s, turn_credentials=()).authenticate(SERVER, PLACE, "turn.test")
    assert not sip.requests


async def test_what_was_accepted_is_kept_and_what_was_refused_is_not_given_again() -> None:
    turn = Keeper(password("old", username="turner"), password("new", username="turner"), name="t")
    async with site(turn) as s:
        of = keys(s)
        old = await of.authenticate(SERVER, PLACE, "turn.test")
        of.verdict(old, False)
        new = await of.authenticate(SERVER, PLACE, "turn.test")
        assert (old.password.reveal(), new.password.reveal()) == (b"old", b"new")
        of.verdict(new, True)
        again = await of.authenticate(SERVER, PLACE, "turn.test")
        assert again.password.reveal() == b"new"
        assert len(turn.requests) == 2
        await eventually(lambda: bool(turn.forgotten))
    assert [one.secret.reveal() for one in turn.forgotten] == [b"old"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (NotFound("nothing under voip/turn"), "that nobody gave.*nothing under voip/turn"),
        (Ha1Credentials("turner", "turn.test", "MD5", Secret("0" * 32)), "takes a password"),
    ],
)
async def test_what_cannot_serve_is_one_sentence(answer: Any, why: str) -> None:
    async with site(FakeProvider(answer, name="t")) as s:
        with pytest.raises(ConfigError, match=why):
            await keys(s).authenticate(SERVER, PLACE, "turn.test")


async def test_whoever_stops_waiting_withdraws_the_question() -> None:
    gate = threading.Event()

    def slow(_: CredentialRequest) -> Credentials:
        gate.wait(10)
        return password("too late")

    async with site(FakeProvider(slow, name="t")) as s:
        asking = asyncio.ensure_future(keys(s).authenticate(SERVER, PLACE, "turn.test"))
        await eventually(lambda: s.agent.broker.flights == 1)
        asking.cancel()
        await asyncio.wait([asking])
        assert s.agent.broker.flights == 0
        gate.set()
