"""Headers of one's own in a request: in each attempt of it, and in no other request."""

from __future__ import annotations

import pytest

from tests.support.agentkit import site
from tests.support.brokerkit import right
from tests.support.clock import live, stepped

MINE = [("X-A", "b"), ("X-A", "c"), ("Subject", "lunch")]


@stepped
async def test_a_call_has_them_in_the_first_invite_and_in_the_authenticated_one() -> None:
    async with site(right(), box={"challenged": frozenset({"INVITE"})}) as s:
        call = await s.account().call("echo", headers=MINE)
        await live(call.answered())
        await live(call.hangup())
        first, second = s.box.requests("INVITE")
        assert (first.find("Proxy-Authorization"), second.find("Proxy-Authorization") is None) == (None, False)
        for invite in (first, second):
            assert (invite.values("X-A"), invite.find("Subject")) == (("b", "c"), "lunch")
        assert all("X-A" not in s.box.requests(method)[0].headers for method in ("ACK", "BYE"))


@pytest.mark.parametrize("method", ["MESSAGE", "OPTIONS"])
def test_a_request_of_its_own_has_them_in_both_attempts(method: str) -> None:
    @stepped
    async def run() -> None:
        async with site(right(), box={"challenged": frozenset({method})}) as s:
            account = s.account()
            if method == "MESSAGE":
                await live(account.message("echo", "hello", headers=MINE))
            else:
                await live(account.options("echo", headers=MINE))
            sent = s.box.requests(method)
            assert len(sent) == 2
            assert [(one.values("X-A"), one.find("Subject")) for one in sent] == [(("b", "c"), "lunch")] * 2

    run()
