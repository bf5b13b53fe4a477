"""A 3xx and the policy: whom it lets us follow, once, and whom nobody may send us to (threat T22)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sipcli.config import PolicyConfig
from sipcli.errors import Busy, Refused
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.calls.redirects import RedirectRequest, on_redirected
from tests.shell.test_ua_transfer import Party, party
from tests.support.clock import live, live_until, stepped


async def redirected(people: dict[str, Party], contact: str, target: str = "bob") -> Any:
    """Alice calls *target*, who says 302 with *contact*."""

    def elsewhere(call: Any) -> None:
        people["bob"].calls.append(call)
        with call.agent.turn():
            call.core._tx.reply(302, headers=(("Contact", contact),))
            call.core._end("local", code=302)

    people["bob"].account.incoming = elsewhere
    return await people["alice"].account.call(target, audio="null")


@stepped
@pytest.mark.parametrize("policy", ["refuse", "ask"])
async def test_T22_a_3xx_is_refused_by_default(policy: Any) -> None:
    """Fails when on_redirected follows without a policy that says so, or asks nobody and goes."""
    async with party(alice=PolicyConfig(redirect=policy)) as (_, people):
        call = await redirected(people, "<sip:carol@127.0.0.1>")
        with pytest.raises(Refused, match="302") as failed:
            await live(call.answered())
        assert "--redirect" in (failed.value.hint or "")
        assert people["carol"].calls == []
        told = [(notice.state, notice.code, notice.reason) for notice in people["alice"].told("transfer")]
        assert told == ([] if policy == "refuse" else [("refused", None, "there is nobody to ask")])


@stepped
async def test_same_domain_follows_by_itself() -> None:
    async with party(alice=PolicyConfig(redirect="same-domain")) as (_, people):
        call = await redirected(people, "<sip:carol@127.0.0.1>")
        await live(call.answered())
        assert str(call.remote.uri) == "sip:carol@127.0.0.1"
        [told] = people["alice"].told("transfer")
        assert (told.kind, told.state, told.code, told.target) == ("redirect", "trying", 302, "sip:carol@127.0.0.1")
        await live_until(lambda: people["carol"].calls)


@stepped
@pytest.mark.parametrize(
    "contact",
    [
        "<sip:carol@elsewhere.example>",
        "<sip:+49301234567@127.0.0.1>",
        "<sip:carol@127.0.0.1;maddr=192.0.2.66>",
        "<sip:bob@127.0.0.1>",
        "<sip:alice@127.0.0.1>",
    ],
)
async def test_T22_same_domain_follows_nobody_else(contact: str) -> None:
    """Fails for each contact whose rule is taken out of ``following``, and for the loop in on_redirected."""
    async with party(alice=PolicyConfig(redirect="same-domain")) as (_, people):
        call = await redirected(people, contact)
        with pytest.raises(Refused, match="302"):
            await live(call.answered())
        [told] = people["alice"].told("transfer")
        assert told.state == "refused" and told.reason
        assert (told.code == 482) == (contact in ("<sip:bob@127.0.0.1>", "<sip:alice@127.0.0.1>"))


@stepped
async def test_T22_a_redirection_is_followed_once() -> None:
    """Fails without the trail: two phones could send us to and fro for ever."""
    async with party(alice=PolicyConfig(redirect="same-domain")) as (_, people):

        def back(call: Any) -> None:
            with call.agent.turn():
                call.core._tx.reply(302, headers=(("Contact", "<sip:dave@127.0.0.1>"),))
                call.core._end("local", code=302)

        people["carol"].account.incoming = back
        call = await redirected(people, "<sip:carol@127.0.0.1>")
        with pytest.raises(Refused, match="302"):
            await live(call.answered())
        assert people["alice"].transfer_states() == ["trying", "refused"]


@stepped
@pytest.mark.parametrize("agrees", [True, False])
async def test_T22_a_person_is_asked(agrees: bool) -> None:
    async with party(alice=PolicyConfig(redirect="ask")) as (_, people):
        asked: list[RedirectRequest] = []
        people["alice"].agent.transfers.on_request = asked.append  # type: ignore[assignment]
        call = await redirected(people, "<sip:carol@127.0.0.1>")
        await live_until(lambda: asked)
        assert (asked[0].target, asked[0].kind) == (SipUri.parse("sip:carol@127.0.0.1"), "redirect")
        assert people["carol"].calls == []
        if agrees:
            asked[0].accept()
            await live(call.answered())
        else:
            asked[0].refuse()
            with pytest.raises(Refused):
                await live(call.answered())
        assert bool(people["carol"].calls) == agrees
        assert not asked[0].open
        assert people["alice"].transfer_states() == ["asked", "trying" if agrees else "refused"]


@stepped
async def test_T22_whoever_may_never_be_called_leaves_the_place_to_the_next() -> None:
    """Fails when the first target is taken whatever there is against it: ourselves, here."""
    async with party(alice=PolicyConfig(redirect="same-domain")) as (_, people):
        call = await redirected(people, "<sip:alice@127.0.0.1>;q=1, <sip:carol@127.0.0.1>;q=0.5")
        await live(call.answered())
        assert str(call.remote.uri) == "sip:carol@127.0.0.1"


@pytest.mark.parametrize(("known", "closed"), [(False, False), (True, True), (False, True)])
def test_a_redirection_that_comes_when_all_is_over_leads_nowhere(known: bool, closed: bool) -> None:
    """Nothing else of the call or the agent is looked at, let alone followed."""
    stayed: list[None] = []
    core = SimpleNamespace(id="call1", stay=lambda: stayed.append(None))
    agent = SimpleNamespace(closed=closed, find_call=lambda _: core if known else None)
    on_redirected(cast("Any", SimpleNamespace(agent=agent)), cast("Any", SimpleNamespace(call=core)))
    assert stayed == [None]


@stepped
async def test_several_telephones_that_ring_are_told_once_and_again_after_a_redirection() -> None:
    async with party(alice=PolicyConfig(redirect="same-domain")) as (_, people):

        def rings(call: Any) -> None:
            with call.agent.turn():
                for code in (180, 180, 181, 180, 180):
                    call.core._tx.reply(code)
                if call.account is people["bob"].account:
                    call.core._tx.reply(302, headers=(("Contact", "<sip:carol@127.0.0.1>"),))
                    call.core._end("local", code=302)
                else:
                    call.core._refuse(486)

        people["bob"].account.incoming = people["carol"].account.incoming = rings
        call = await people["alice"].account.call("bob", audio="null")
        with pytest.raises(Busy):
            await live(call.answered())
        told = [(notice.remote[4:].partition("@")[0], notice.code) for notice in people["alice"].told("call")]
        rung = [(who, code) for who, code in told if code in (180, 181)]
        assert rung == [(who, code) for who in ("bob", "carol") for code in (180, 181, 180)]
