"""What a call makes of its ICE: two user agents over a sandbox, in real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from sipcli.errors import LocalProtocolError, MediaFailed
from sipcli.media.candidates import Candidate, priority_of
from sipcli.sandbox import Sandbox
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.agent import UserAgent
from sipcli.ua.calls.call import Call
from sipcli.ua.media.icesettings import IceSettings
from sipcli.ua.notices import Notice
from tests.shell.test_media_session import until
from tests.support.agentkit import Site
from tests.support.authkit import password
from tests.support.real import require


class Line(NamedTuple):
    """A call that is up, seen from both ends."""

    ours: Call
    theirs: Call
    notices: list[Notice]

    def told(self, event: str) -> list[Any]:
        return [notice for notice in self.notices if notice.event == event]


@pytest.fixture(autouse=True)
def _aioice() -> None:
    require("ice")


def _settled(call: Call) -> bool:
    return call.media is not None and call.media.facts().ice in ("host", "prflx", "srflx", "relay")


@asynccontextmanager
async def line(ours: str = "required", theirs: str = "required") -> AsyncIterator[Line]:
    """alice calls bob through a server; both do ICE."""
    taken: list[Call] = []
    async with Sandbox() as box, UserAgent() as agent, UserAgent() as other:
        alice, bob = Site(box, agent), Site(box, other)
        caller = alice.account(own=[password("wonderland")])
        callee = bob.account(
            name="bob", own=[password("builder", username="bob")], username="bob",
            aor=SipUri.parse(f"sip:bob@{box.address('udp')[0]}"),
        )  # fmt: skip

        def take(call: Call) -> None:
            taken.append(call)
            tasks.append(asyncio.ensure_future(call.accept(ice=theirs, audio="tone:880")))

        tasks: list[asyncio.Future[None]] = []
        callee.incoming = take
        await caller.register()
        await callee.register()
        call = await caller.call(f"sip:bob@{box.address('udp')[0]}", ice=ours, audio="tone:440")
        try:
            await call.answered(timeout=10)
            yield Line(call, taken[0], alice.notices)
        finally:
            await call.hangup()
            await asyncio.gather(*tasks)


async def test_E04_a_call_tells_how_its_audio_goes() -> None:
    async with line() as up:
        await until(lambda: any(notice.state == "flowing" for notice in up.told("media")))
    assert [(notice.state, notice.ice) for notice in up.told("media")][:2] == [
        ("negotiated", "checking"),
        ("flowing", "host"),
    ]


async def test_E04_it_is_restarted_in_the_middle_of_a_call() -> None:
    async with line() as up:
        await until(lambda: _settled(up.ours) and _settled(up.theirs))
        for _ in range(2):
            before = up.ours.session.agreement
            await up.ours.ice.restart()
            await until(lambda: _settled(up.ours) and _settled(up.theirs))
            after = up.ours.session.agreement
            assert before is not None and after is not None and before.ice is not None and after.ice is not None
            assert after.ice.ufrag != before.ice.ufrag
        heard = up.ours.session.report(verdict=False).rx.packets
        await until(lambda: up.ours.session.report(verdict=False).rx.packets > heard + 10)


async def test_E04_a_call_without_ice_has_none_to_begin_anew() -> None:
    async with line("off", "optional") as up:
        with pytest.raises(LocalProtocolError, match="does no ICE"):
            await up.ours.ice.restart()


async def test_E04_hold_and_resume_go_on_over_the_same_path() -> None:
    async with line() as up:
        await until(lambda: _settled(up.ours))
        before = up.ours.session.facts().remote
        await up.ours.hold()
        await up.ours.resume()
        assert (up.ours.session.facts().ice, up.ours.session.facts().remote) == ("host", before)


async def test_E04_no_path_ends_the_call_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check of ours is lost; the far end's too."""
    monkeypatch.setattr("sipcli.ua.media.ice.CONNECT_WAIT", 0.3)
    monkeypatch.setattr("sipcli.ua.media.icewire.OwnSocket.sendto", lambda *_: None)
    async with line() as up:
        ends = await asyncio.gather(up.ours.finished(), up.theirs.finished(), return_exceptions=True)
    # Whoever gives up first hangs up, and the other has been hung up on.
    assert {str(end) for end in ends if isinstance(end, MediaFailed)} == {"call: ICE found no path for the audio"}


async def test_E04_lost_consent_is_told_and_ice_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7675 section 5.1: nothing is sent without consent, and a restart may get it back."""
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr("aioice.stun.RETRY_RTO", 0.05)
    async with line() as up:
        await until(lambda: _settled(up.ours) and _settled(up.theirs))
        assert up.theirs.media is not None and up.theirs.media.ice is not None
        desk = up.theirs.media.ice.path._desk
        deaf = desk.sessions.copy()
        desk.sessions.clear()  # they hear our audio, and answer no check of this session
        await until(lambda: any(notice.code == "ice-lost" for notice in up.told("warning")))
        del deaf
        await until(lambda: _settled(up.ours))
        heard = up.theirs.session.report(verdict=False).rx.packets
        await until(lambda: up.theirs.session.report(verdict=False).rx.packets > heard + 10)


async def test_E04_consent_that_does_not_come_back_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr("aioice.stun.RETRY_RTO", 0.05)
    monkeypatch.setattr("sipcli.ua.media.ice.CONNECT_WAIT", 0.5)
    async with line() as up:
        await until(lambda: _settled(up.ours) and _settled(up.theirs))
        monkeypatch.setattr("sipcli.ua.media.icewire.OwnSocket.sendto", lambda *_: None)
        ends = await asyncio.gather(up.ours.finished(), up.theirs.finished(), return_exceptions=True)
    assert [end for end in ends if isinstance(end, MediaFailed)]


async def test_E04_a_peer_of_rfc_5245_is_told_what_was_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8839 section 4.3.4: the default was another candidate, so a re-INVITE says which one it is now."""
    monkeypatch.setattr("sipcli.media.candidates._OPTIONS", "ice1")
    nat = Candidate("n", 1, priority_of("srflx", 1), "127.0.0.9", 4999, "srflx")

    async def gather(self: Any, main: Any, host: str, found: Any) -> None:
        await real(self, main, host, found)
        found.candidates.append(nat._replace(related=found.candidates[0].address))

    from sipcli.ua.media.icegather import Gatherer

    real = Gatherer.gather
    monkeypatch.setattr(Gatherer, "gather", gather)
    async with line() as up:
        await until(lambda: up.theirs.session.agreement is not None)
        agreed = up.theirs.session.agreement
        assert agreed is not None and agreed.remote == nat.address
        await until(lambda: up.theirs.session.agreement != agreed)
        assert up.theirs.session.agreement is not None
        assert up.theirs.session.agreement.remote == up.ours.session.local


async def test_E04_warnings_from_before_the_call_are_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipcli.ua.media.icegather.STUN_WAIT", 0.1)
    from sipcli.config.iceserver import IceServer

    def settings(*_: object) -> IceSettings:
        return IceSettings(policy="required", stun=IceServer("stun", "127.0.0.1", 9))

    monkeypatch.setattr("sipcli.ua.calls.callmedia.ice_for", settings)
    async with line() as up:
        (warning,) = [notice for notice in up.told("warning") if notice.code == "stun-failed"]
    assert warning.message == f"call {up.ours.id}: the STUN server stun:127.0.0.1:9 does not answer"
