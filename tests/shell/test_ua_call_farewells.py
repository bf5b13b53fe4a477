"""Our audio ends with the BYE, or the CANCEL, whoever's idea that was: what leaves on the RTP socket after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from sipcli.config import AccountConfig, PolicyConfig
from sipcli.sip.engine import EngineConfig
from sipcli.ua.account import Account
from sipcli.ua.agent import UserAgent
from sipcli.ua.calls.call import Call
from tests.support.clock import advance, live, live_until, settle, stepped
from tests.support.farend import FarEnd, far_end
from tests.support.peer import Caller


class House:
    """An account whose server is the far end, and a call to it that sends a tone."""

    def __init__(self, agent: UserAgent, account: Account, far: FarEnd) -> None:
        self.agent, self.account, self.far = agent, account, far
        self.call: Call

    async def dials(self) -> None:
        self.call = await self.account.call(self.far.uri, audio="tone:440", codecs=("PCMU",))

    async def talks(self, *lines: str) -> None:
        await self.dials()
        self.invite = await self.far.answers(*lines)
        await self.heard()

    async def heard(self) -> None:
        before = self.far.rtp
        await live_until(lambda: self.far.rtp > before + 10)


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    async with far_end() as far:
        agent = UserAgent(engine_config=EngineConfig(ring_limit=20.0), on_incoming=lambda call: call.reject(486))
        await agent.start()
        policy = PolicyConfig(transfer="same-domain")
        config = AccountConfig(
            name="work", aor=far.uri, registrar=far.uri, username="alice", policy=policy, silence=0.0
        )
        try:
            yield House(agent, agent.add_account(config, Account), far)
        finally:
            await live(agent.close(timeout=0.5))


async def _by_hand(h: House) -> None:
    await h.talks()
    await live(h.call.hangup(timeout=0.1))


async def _account_removed(h: House) -> None:
    """The engine hangs up by itself."""
    await h.talks()
    with h.agent.turn() as engine:
        engine.remove_account("work")


async def _replaced(h: House) -> None:
    await h.talks()
    other = Caller(
        address=f"127.0.0.1:{h.far.port}",
        call_id="another",
        to=h.invite.header("from").partition(";")[0],
        uri=h.invite.contact,
        contact=f"<{h.far.uri}>",
    )
    elsewhere = h.far.sdp.replace(b"m=audio ", b"m=audio 9 RTP/AVP 0\r\na=x:")  # the ear hears the first call alone
    replaces = f"Replaces: {h.invite.call_id};to-tag={h.invite.from_tag};from-tag=peer"
    h.far.say(other.request("INVITE", replaces, body=elsewhere))
    other.joins(await h.far.comes("200"))
    h.far.say(other.request("ACK", cseq=other.cseq))


async def _transferred(h: House) -> None:
    await h.talks()
    transfer = asyncio.ensure_future(h.call.transfer("sip:carol@example.com"))
    hold = await h.far.comes("INVITE")
    h.far.respond(hold, 488)  # he goes on listening
    h.far.respond(await h.far.comes("REFER"), 202)
    state = ("Event: refer", "Subscription-State: terminated;reason=noresource")
    h.far.say(h.far.caller.request("NOTIFY", *state, body=b"SIP/2.0 200 OK\r\n", kind="message/sipfrag"))
    assert await live(transfer) == 200


async def _not_refreshed(h: House) -> None:
    await h.talks("Require: timer", "Session-Expires: 90;refresher=uas")
    await advance(61)


async def _dialog_gone(h: House) -> None:
    """RFC 5057 section 5.1."""
    await h.talks()
    sending = asyncio.ensure_future(h.call.send_request("OPTIONS"))
    h.far.respond(await h.far.comes("OPTIONS"), 404)
    assert (await live(sending)).code == 404


async def _rang_too_long(h: House) -> None:
    """With early media, which we answer by a tone."""
    await h.dials()
    h.far.respond(await h.far.comes("INVITE"), 183, body=h.far.sdp)
    await h.heard()
    await advance(20)


ENDS: dict[str, tuple[str, Callable[[House], Awaitable[None]]]] = {
    "by hand": ("BYE", _by_hand),
    "the account is removed": ("BYE", _account_removed),
    "another call takes its place": ("BYE", _replaced),
    "its transfer is done": ("BYE", _transferred),
    "nobody refreshed it": ("BYE", _not_refreshed),
    "its dialog is gone": ("BYE", _dialog_gone),
    "it rang too long": ("CANCEL", _rang_too_long),
}


@pytest.mark.parametrize("end", ENDS)
def test_T22_nothing_is_heard_of_us_after_our_good_bye(end: str) -> None:
    """RFC 3261 section 15.1.1; nobody answers it.  Fails without ``media.close`` in ``Call.on_leaving``."""

    @stepped
    async def run() -> None:
        method, act = ENDS[end]
        async with house() as h:
            await act(h)
            await h.far.comes(method)
            await settle()
            before = h.far.rtp
            await advance(5)
            assert h.far.rtp == before
            assert h.call.media is not None and h.call.media.state == "stopped"

    run()


@stepped
async def test_what_is_on_its_way_with_the_bye_is_all_that_follows_it() -> None:
    """The time of our talk ends with it, too, whoever sent it."""
    async with house() as h:
        await _account_removed(h)
        await h.far.comes("BYE")
        await advance(40)
        report = await live(h.call.finished())
        assert report.bye_answered is False
        assert report.talk_ms is not None and report.talk_ms < 2000
