"""Calls as one awaits them, through a server on loopback.  Time is stepped, the audio's beat included."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sipcli.errors import (
    Busy,
    ChallengeGone,
    ConfigError,
    LocalProtocolError,
    MediaFailed,
    NoAnswer,
    NoCredentials,
    NotReachable,
    SipcliError,
)
from sipcli.sip.syntax.message import Request
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.account import Account
from sipcli.ua.auth.challenge import AuthChallenge, DeferredChallenge
from sipcli.ua.calls.call import Call
from sipcli.ua.calls.calldigits import digit_of_info
from tests.support.agentkit import Site, site
from tests.support.authkit import password
from tests.support.brokerkit import FakeProvider, right
from tests.support.clock import advance, live, live_until, settle, stepped, until


def call_states(s: Site) -> list[str]:
    return [notice.state for notice in s.told("call")]


class Keeps(Account):
    """Keeps every challenge for the test to decide."""

    kept: list[DeferredChallenge]

    def on_auth_challenge(self, challenge: AuthChallenge) -> None:
        self.kept.append(challenge.defer())


@stepped
async def test_call_echo_and_hear_oneself() -> None:
    async with site(right()) as s:
        account = s.account()
        await live(account.register())
        call = await account.call("echo", audio="tone:440")
        assert (call.direction, call.state, str(call.remote.uri)) == ("out", "calling", "sip:echo@127.0.0.1")
        await live(call.answered(timeout=20))
        await advance(2)
        await live(call.hangup())
        report = await live(call.finished())
        assert (report.by, report.codec) == ("local", "OPUS")
        assert report.rx.packets > 80 and report.tx.packets > 80
        assert report.audio.tone_hz == pytest.approx(440, abs=10)
        assert report.talk_ms is not None and report.talk_ms == pytest.approx(2000, abs=100)
        assert report.setup_ms is not None and report.pdd_ms == report.setup_ms and report.ring_ms is None
        assert call_states(s) == ["calling", "answered", "ended"]
        ended = s.told("call")[-1]
        assert (ended.by, ended.sip_call_id, ended.local) == ("local", call.sip_call_id, "sip:alice@127.0.0.1")
        assert [n.state for n in s.told("media")] == ["negotiated", "flowing", "stopped"]
        assert s.told("stats")[-1].rx.packets == report.rx.packets
        assert call.is_over and s.agent.calls == ()
        assert "ended" in repr(call)


@stepped
async def test_a_call_without_a_registration_finds_its_own_address() -> None:
    async with site(provider := right()) as s:
        call = await s.account().call("echo")
        await live(call.answered())
        assert len(provider.requests) == 1
        (challenged,) = s.told("auth.challenged")
        assert (challenged.method, challenged.code, challenged.call) == ("INVITE", 407, call.id)
        await live(call.hangup())


@stepped
async def test_a_call_of_no_account() -> None:
    async with site(box={"challenged": frozenset()}) as s:
        call = await Call.dial(s.agent, None, SipUri.parse(s.box.uri("echo")))
        await live(call.answered())
        assert call.local == "sip:anonymous@anonymous.invalid"
        await live(call.hangup())


@stepped
async def test_the_library_may_bring_its_own_media() -> None:
    from sipcli.ua.media.media_io import MediaSession

    async with site(right()) as s:
        media = MediaSession(audio="null")
        await media.open()
        call = await s.account().call("music", media=media)
        await live(call.answered())
        assert call.media is media
        await live(call.hangup())


@pytest.mark.parametrize(("extension", "kind", "code"), [("busy", Busy, 486), ("nobody", NotReachable, 404)])
def test_a_call_that_is_not_taken_is_a_typed_error(extension: str, kind: type[SipcliError], code: int) -> None:
    @stepped
    async def run() -> None:
        async with site(right()) as s:
            call = await s.account().call(extension)
            with pytest.raises(kind, match=f"call failed: {code} .* from 127.0.0.1"):
                await live(call.answered())
            with pytest.raises(kind):
                await live(call.finished())
            assert s.told("call")[-1].code == code and s.told("call")[-1].by == "remote"

    run()


@stepped
async def test_nobody_answers_in_time() -> None:
    async with site(right()) as s:
        call = await s.account().call("ring")
        task = asyncio.ensure_future(call.answered(timeout=20))
        await live_until(lambda: call.state == "ringing")
        await advance(20)
        with pytest.raises(NoAnswer, match="nobody answered within 20 s"):
            await task
        await live(call.finished())
        assert s.sent("CANCEL") == 1 and s.sent("BYE") == 0
        assert call_states(s) == ["calling", "ringing", "ended"]
        assert (await live(call.finished())).ring_ms == pytest.approx(20_000, abs=500)


@stepped
async def test_no_credentials_for_a_call() -> None:
    async with site(FakeProvider()) as s:
        call = await s.account().call("echo")
        with pytest.raises(NoCredentials, match="call: no credentials"):
            await live(call.answered())
        assert s.sent("ACK") == 1, "the 407 was acknowledged"


@stepped
async def test_hanging_up_while_the_challenge_is_pending_puts_nothing_on_the_wire() -> None:
    """Issue 2, row 6: no CANCEL, no BYE, and no ghost call afterwards."""
    async with site() as s:
        account = s.account(Keeps)
        account.kept = []
        call = await account.call("echo")
        await live_until(lambda: account.kept)
        assert account.kept[0].call is call
        await live(call.hangup())
        with pytest.raises(NoAnswer, match="hung up"):
            await live(call.answered())
        assert (await live(call.finished())).by == "local"
        with pytest.raises(ChallengeGone, match="revoked"):
            account.kept[0].respond(password("wonderland"))
        await advance(40)
        assert (s.sent("INVITE"), s.sent("ACK"), s.sent("CANCEL"), s.sent("BYE")) == (1, 1, 0, 0)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_an_invite_deferred_for_100_seconds_succeeds(transport: Any) -> None:
    @stepped
    async def run() -> None:
        async with site(max_wait=150) as s:
            account = s.account(Keeps, transport=transport)
            account.kept = []
            call = await account.call("echo")
            await live_until(lambda: account.kept)
            await advance(100)
            account.kept[0].respond(password("wonderland"))
            await live(call.answered())
            await live(call.hangup())

    run()


@stepped
async def test_a_challenged_bye_is_answered_from_what_is_known() -> None:
    every = frozenset({"REGISTER", "INVITE", "BYE"})
    async with site(provider := right(), box={"challenged": every, "nonce_uses": 1}) as s:
        call = await s.account().call("echo")
        await live(call.answered())
        await live(call.hangup())
        assert call.is_over and s.box.statuses("BYE")[-1] == 200
        assert len(provider.requests) == 1


@stepped
async def test_digits_go_out_and_come_back() -> None:
    async with site(right()) as s:
        call = await s.account().call("ivr")
        heard: list[str] = []
        call.on_dtmf = lambda digit, ms: heard.append(digit)
        await live(call.answered())
        task = asyncio.ensure_future(call.dtmf("1,2#"))
        await advance(5)
        await task
        await advance(1)
        assert heard == ["1", "2", "#"]
        assert [(n.direction, n.digit) for n in s.told("dtmf") if n.direction == "out"] == [
            ("out", "1"),
            ("out", "2"),
            ("out", "#"),
        ]
        assert [n.digit for n in s.told("dtmf") if n.direction == "in"] == ["1", "2", "#"]
        await live(call.hangup())


@stepped
async def test_hold_and_resume() -> None:
    async with site(right()) as s:
        call = await s.account().call("echo")
        await live(call.answered())
        await live(call.hold())
        assert call.state == "held" and call.session.held
        await live(call.resume())
        assert call.state == "answered" and not call.session.held
        await live(call.hangup())
        with pytest.raises(LocalProtocolError):
            await live(call.hold())
        assert call_states(s) == ["calling", "answered", "held", "answered", "ended"]


@stepped
async def test_statistics_every_ten_seconds() -> None:
    async with site(right()) as s:
        call = await s.account().call("echo")
        await live(call.answered())
        await advance(21)
        assert len(s.told("stats")) == 2
        await live(call.hangup())


@stepped
async def test_a_recording_that_cannot_be_made_sends_no_invite(tmp_path: Path) -> None:
    async with site(right()) as s:
        with pytest.raises((ConfigError, OSError, SipcliError)):
            await s.account().call("echo", record=tmp_path / "no" / "such" / "folder.wav")
        assert s.sent("INVITE") == 0 and s.agent.calls == ()


@stepped
async def test_a_target_that_is_none() -> None:
    async with site() as s:
        account = s.account()
        with pytest.raises(SipcliError):
            await account.call("bad uri@@")
        assert str(account.parse_target("bob@example.net")) == "sip:bob@example.net"
        assert str(account.parse_target("bob")) == f"sip:bob@{account.aor.authority}"
        assert str(account.parse_target("tel:+49-30-123")) == f"sip:+4930123@{account.aor.authority}"
        assert str(account.parse_target("*61#")) == f"sip:*61%23@{account.aor.authority}"
        with pytest.raises(SipcliError, match="nobody to call"):
            account.parse_target(" ")


# --- incoming -------------------------------------------------------------------------------------------------


@stepped
async def test_take_a_call() -> None:
    async with site(right()) as s:
        account = s.account()
        calls: list[Call] = []

        async def answer(call: Call) -> None:
            call.ring()
            await call.accept(audio="echo")

        def incoming(call: Call) -> None:
            calls.append(call)
            tasks.append(asyncio.ensure_future(answer(call)))

        tasks: list[asyncio.Task[None]] = []
        account.incoming = incoming
        await live(account.register())
        record = await s.box.call("alice", "tone:600")
        await live_until(lambda: record.answered)
        (call,) = calls
        assert (call.direction, call.account, call.request.method) == ("in", account, "INVITE")
        await live(call.answered())
        await advance(2)
        s.box.hang_up(record)
        report = await live(call.finished())
        assert report.by == "remote" and report.audio.tone_hz == pytest.approx(600, abs=10)
        assert call_states(s) == ["ringing", "answered", "ended"]
        came = [(notice.transport, notice.asserted) for notice in s.told("call")]
        assert came == [("udp", "absent"), (None, None), (None, None)], "it is told once, when it rings"
        assert s.told("call")[0].direction == "in"
        assert tasks[0].done()


@pytest.mark.parametrize(
    ("handler", "code"), [(None, 480), (lambda call: call.reject(603), 603), (lambda call: 1 // 0, 500)]
)
def test_refuse_a_call(handler: Any, code: int) -> None:
    @stepped
    async def run() -> None:
        async with site(right(), on_incoming=handler) as s:
            await s.account().register()
            record = await s.box.call("alice")
            await live_until(lambda: record.ended)
            assert record.code == code
            assert s.told("call")[-1].state == "ended"

    run()


@stepped
async def test_an_incoming_call_with_no_common_codec_is_488(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(right()) as s:
        account = s.account()
        errors: list[SipcliError] = []

        async def answer(call: Call) -> None:
            monkeypatch.setattr("sipcli.ua.media.media_io.MediaSession.answer", _no_codec)
            try:
                await call.accept()
            except MediaFailed as error:
                errors.append(error)

        tasks: list[asyncio.Task[None]] = []
        account.incoming = lambda call: tasks.append(asyncio.ensure_future(answer(call)))
        await live(account.register())
        record = await s.box.call("alice")
        await live_until(lambda: record.ended)
        assert record.code == 488 and len(errors) == 1


def _no_codec(self: Any, offer: bytes) -> bytes:
    raise MediaFailed("no common codec", code=488)


@stepped
async def test_an_incoming_call_that_is_cancelled() -> None:
    async with site(right()) as s:
        account = s.account()
        calls: list[Call] = []
        account.incoming = lambda call: (calls.append(call), call.ring())[0]
        await live(account.register())
        record = await s.box.call("alice")
        await until(lambda: calls)
        await settle()
        s.box.hang_up(record)
        await live(calls[0].finished())
        assert (await live(calls[0].finished())).by == "remote"
        with pytest.raises(NoAnswer):
            await live(calls[0].answered())


@stepped
async def test_an_outgoing_call_cannot_be_accepted() -> None:
    async with site(right()) as s:
        call = await s.account().call("ring")
        with pytest.raises(LocalProtocolError):
            call.reject()
        with pytest.raises(LocalProtocolError):
            await call.accept()
        await live(call.hangup())


# --- the end --------------------------------------------------------------------------------------------------


@stepped
async def test_closing_the_agent_hangs_up() -> None:
    async with site(right(), close=False) as s:
        call = await s.account().call("echo")
        await live(call.answered())
        await live(s.agent.close())
        assert (await live(call.finished())).by == "local"
        assert s.sent("BYE") >= 1
        with pytest.raises(SipcliError):
            await s.agent._accounts["work"].call("echo")


@stepped
async def test_closing_the_agent_does_not_wait_for_a_silent_peer() -> None:
    async with site(right(), close=False) as s:
        call = await s.account().call("echo")
        await live(call.answered())
        s.box.change(lose=10**6)
        task = asyncio.ensure_future(s.agent.close(timeout=2))
        await advance(2.1)
        await until(task.done)
        report = await live(call.finished())
        assert report.by == "local" and call.media is not None and call.media.state == "stopped"


# --- digits by INFO -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", ("5", 160)),
        ("application/dtmf-relay", b"signal= 11\nDuration=x", ("#", 0)),
        ("application/dtmf-relay", b"Signal=*", ("*", 0)),
        ("application/dtmf-relay", b"Duration=100", None),
        ("application/dtmf", b"a", ("A", 0)),
        ("application/dtmf", b"\xff", None),
        ("text/plain", b"5", None),
    ],
)
def test_digits_by_info(kind: str, body: bytes, digit: Any) -> None:
    request = Request.build("INFO", "sip:x@y", [("Content-Type", kind)], body)
    assert digit_of_info(request) == digit


@stepped
async def test_early_media_is_heard_before_the_answer_and_goes_on_after_it() -> None:
    async with site(right()) as s:
        account = s.account()
        calls: list[Call] = []

        async def early(call: Call) -> None:
            await call.early(audio="tone:700")
            calls.append(call)

        tasks: list[asyncio.Task[None]] = []
        account.incoming = lambda call: tasks.append(asyncio.ensure_future(early(call)))
        await live(account.register())
        record = await s.box.call("alice", "tone:600")
        await live_until(lambda: bool(calls))
        (call,) = calls
        assert (call.state, call.is_up, call.session.agreement is not None) == ("early", False, True)
        first = call.session
        await call.accept()
        await live_until(lambda: record.answered)
        assert call.session is first and call.is_up
        await advance(2)
        s.box.hang_up(record)
        report = await live(call.finished())
        assert report.audio.tone_hz == pytest.approx(600, abs=10)
        assert call_states(s) == ["ringing", "early", "answered", "ended"]
