"""Calls to the sandbox's extensions and between its users, with audio."""

from __future__ import annotations

import pytest

from sipcli.errors import LocalProtocolError
from sipcli.media.tone import dominant_hz, samples_of
from sipcli.sandbox import Sandbox
from sipcli.sip.events import CallReanswered, CallReoffered, Event, RequestDone
from sipcli.sip.flow import Transport
from sipcli.ua.media.media_io import MediaSession
from tests.support.clock import self_stepping
from tests.support.softphone import Softphone, eventually

G711 = ("PCMU", "PCMA")


async def heard(media: MediaSession, frames: int) -> bytes:
    return b"".join([frame for _ in range(frames) if (frame := await media.read()) is not None])


async def talk(phone: Softphone, number: str, media: MediaSession) -> None:
    """Call *number*, with *media* that is open; it talks when this returns."""
    answer = await phone.answered(await phone.call(number, media))
    assert answer.sdp is not None
    media.accept_answer(answer.sdp)
    media.start()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@self_stepping
async def test_echo_returns_the_audio(transport: Transport) -> None:
    async with (
        Sandbox() as sandbox,
        Softphone("alice", "wonderland", sandbox.uri(transport=transport)) as phone,
    ):
        media = MediaSession(codecs=G711, audio="tone:700")
        await media.open()
        try:
            call = await phone.call("echo", media)
            answer = await phone.answered(call)
            assert answer.sdp is not None
            media.accept_answer(answer.sdp)
            media.start()
            pcm = await heard(media, 40)
            hz = dominant_hz(samples_of(pcm[-2 * 160 * 15 :]))
            assert hz is not None
            assert abs(hz - 700) < 10
            phone.hangup(call)
            ended = await phone.ended(call)
            assert ended.by == "local"
            await eventually(lambda: sandbox.calls[0].ended)
        finally:
            await media.close()
        record = sandbox.calls[0]
        assert (record.extension, record.sip_call_id) == ("echo", call.sip_call_id)
        assert record.report is not None
        assert record.report.rx.packets > 20
        assert sandbox.statuses("INVITE") == [407, 200]
        assert sandbox.statuses("BYE") == [200]
        assert len(sandbox.requests("ACK")) == 2


@self_stepping
async def test_music_plays_by_itself() -> None:
    async with Sandbox() as sandbox, Softphone("alice", "wonderland", sandbox.uri()) as phone:
        media = MediaSession(codecs=G711)
        await media.open()
        try:
            await talk(phone, "music", media)
            while (hz := dominant_hz(samples_of(await heard(media, 4)))) is None:
                pass
            assert 500 < hz < 700
        finally:
            await media.close()


async def test_the_ivr_repeats_digits() -> None:
    async with Sandbox() as sandbox, Softphone("alice", "wonderland", sandbox.uri()) as phone:
        digits: list[str] = []
        media = MediaSession(codecs=G711, on_dtmf=lambda digit, _: digits.append(digit))
        await media.open()
        try:
            await talk(phone, "ivr", media)
            await media.dtmf("42")
            await eventually(lambda: digits == ["4", "2"])
            assert sandbox.calls[0].digits == "42"
        finally:
            await media.close()


@pytest.mark.parametrize(
    ("user", "code"), [("busy", 486), ("decline", 603), ("503", 503), ("nobody", 404), ("bob", 480)]
)
async def test_refusals(user: str, code: int) -> None:
    async with Sandbox() as sandbox, Softphone("alice", "wonderland", sandbox.uri()) as phone:
        ended = await phone.ended(await phone.call(user))
        assert (ended.by, ended.code) == ("remote", code)
        assert sandbox.statuses("INVITE") == [407, code]


async def test_ring_rings_until_the_caller_gives_up() -> None:
    async with Sandbox() as sandbox, Softphone("alice", "wonderland", sandbox.uri()) as phone:
        call = await phone.call("ring")
        await eventually(lambda: 180 in sandbox.statuses("INVITE"))
        await eventually(lambda: any(getattr(event, "state", "") == "ringing" for event in phone.events))
        phone.hangup(call)
        await phone.ended(call)
        await eventually(lambda: sandbox.statuses("INVITE") == [407, 180, 487])
        assert sandbox.statuses("CANCEL") == [200]


async def test_what_has_no_codec_in_common_is_488() -> None:
    async with Sandbox() as sandbox, Softphone("alice", "wonderland", sandbox.uri()) as phone:
        ended = await phone.ended(await phone.call("echo"))
        assert ended.code == 488
        await eventually(lambda: sandbox.calls[0].ended)


@pytest.mark.parametrize(("callers", "callees"), [("udp", "udp"), ("tcp", "udp"), ("udp", "tcp"), ("tcp", "tcp")])
async def test_one_user_calls_another(callers: Transport, callees: Transport) -> None:
    async with (
        Sandbox() as sandbox,
        Softphone("alice", "wonderland", sandbox.uri(transport=callers)) as alice,
        Softphone("bob", "builder", sandbox.uri(transport=callees)) as bob,
    ):
        assert (await alice.register()).state == "registered"
        assert (await bob.register()).state == "registered"
        ours, theirs = MediaSession(codecs=G711), MediaSession(codecs=G711)
        await ours.open()
        await theirs.open()
        try:
            call = await alice.call("bob", ours)
            incoming = (await bob.incoming()).call
            with bob.endpoint.turn():
                incoming.ring()
            assert incoming.offer is not None
            with bob.endpoint.turn():
                incoming.accept(theirs.answer(incoming.offer))
            answer = await alice.answered(call)
            assert answer.sdp is not None
            ours.accept_answer(answer.sdp)
            await bob.confirmed(incoming)
            bob.hangup(incoming)
            assert (await alice.ended(call)).by == "remote"
            assert (await bob.ended(incoming)).by == "local"
        finally:
            await ours.close()
            await theirs.close()
        forwarded = [seen.message for seen in sandbox.sent if getattr(seen.message, "method", "") == "INVITE"]
        assert [message.find("Proxy-Authorization") for message in forwarded if message is not None] == [None]


async def test_a_cancelled_call_stops_ringing_at_the_other_user() -> None:
    async with (
        Sandbox() as sandbox,
        Softphone("alice", "wonderland", sandbox.uri()) as alice,
        Softphone("bob", "builder", sandbox.uri()) as bob,
    ):
        await bob.register()
        call = await alice.call("bob")
        incoming = (await bob.incoming()).call
        with bob.endpoint.turn():
            incoming.ring()
        await eventually(lambda: any(getattr(event, "state", "") == "ringing" for event in alice.events))
        alice.hangup(call)
        assert (await bob.ended(incoming)).code == 487
        await alice.ended(call)


async def test_messages_between_users_and_back_from_echo() -> None:
    async with (
        Sandbox() as sandbox,
        Softphone("alice", "wonderland", sandbox.uri()) as alice,
        Softphone("bob", "builder", sandbox.uri(transport="tcp")) as bob,
    ):
        await alice.register()
        await bob.register()
        done = await alice.message("bob", "hello")
        assert done.response is not None
        assert done.response.status == 200
        assert (await bob.received_message()).request.body == b"hello"
        done = await alice.message("echo", "anybody there?")
        assert done.response is not None
        assert done.response.status == 200
        assert (await alice.received_message()).request.body == b"anybody there?"
        sandbox.send_message("bob", "from the sandbox")
        await eventually(
            lambda: any(seen.request.body == b"from the sandbox" for seen in bob.events if hasattr(seen, "request"))
        )


@self_stepping
async def test_the_sandbox_calls_a_user_and_hangs_up() -> None:
    async with Sandbox() as sandbox, Softphone("alice", "wonderland", sandbox.uri(transport="tcp")) as alice:
        await alice.register()
        record = await sandbox.call("alice", "tone:500")
        incoming = (await alice.incoming()).call
        media = MediaSession(codecs=G711)
        await media.open()
        try:
            assert incoming.offer is not None
            with alice.endpoint.turn():
                incoming.accept(media.answer(incoming.offer))
            media.start()
            await alice.confirmed(incoming)
            pcm = await heard(media, 30)
            hz = dominant_hz(samples_of(pcm[-2 * 160 * 10 :]))
            assert hz is not None
            assert abs(hz - 500) < 10
            assert record.answered
            sandbox.hang_up(record)
            assert (await alice.ended(incoming)).by == "remote"
            await eventually(lambda: record.ended)
        finally:
            await media.close()
        with pytest.raises(LocalProtocolError):
            await sandbox.call("bob")


@pytest.mark.parametrize("method", ["BYE", "INFO"])
async def test_requests_inside_a_call_are_challenged_when_told(method: str) -> None:
    """Each nonce serves once, so what the INVITE was let in with is asked for anew."""
    async with (
        Sandbox(challenged=frozenset({"REGISTER", "INVITE", method}), nonce_uses=1) as sandbox,
        Softphone("alice", "wonderland", sandbox.uri()) as phone,
    ):
        await phone.register()
        media = MediaSession(codecs=G711)
        await media.open()
        try:
            call = await phone.call("echo", media)
            await phone.answered(call)
            if method == "INFO":
                with phone.endpoint.turn():
                    info = call.request("INFO", body=b"Signal=1", content_type="application/dtmf-relay")
                done = await phone.wait_for(RequestDone, lambda event: event.oneshot is info)
                assert done.response is not None
                assert done.response.status == 200
            phone.hangup(call)
            await phone.ended(call)
        finally:
            await media.close()
        assert sandbox.statuses(method) == [407, 200]
        assert sandbox.requests(method)[-1].find("Proxy-Authorization") is not None


async def test_whoever_was_called_may_hold_too() -> None:
    """The sandbox once challenged that re-INVITE, which no phone may answer (decision 16)."""
    async with (
        Sandbox() as sandbox,
        Softphone("alice", "wonderland", sandbox.uri()) as alice,
        Softphone("bob", "builder", sandbox.uri()) as bob,
    ):
        await bob.register()
        ours, theirs = MediaSession(codecs=G711), MediaSession(codecs=G711)
        await ours.open()
        await theirs.open()
        try:
            call = await alice.call("bob", ours)
            incoming = (await bob.incoming()).call
            assert incoming.offer is not None
            with bob.endpoint.turn():
                incoming.accept(theirs.answer(incoming.offer))
            answer = await alice.answered(call)
            assert answer.sdp is not None
            ours.accept_answer(answer.sdp)
            await bob.confirmed(incoming)
            with bob.endpoint.turn():
                incoming.reinvite(theirs.offer(hold=True))
            offered = (await alice.wait_for(CallReoffered)).offer
            assert offered is not None
            with alice.endpoint.turn():
                call.answer_reinvite(ours.answer(offered))
            reanswered = await bob.wait_for(CallReanswered)
            assert reanswered.code == 200, reanswered.why
            bob.hangup(incoming)
            await alice.ended(call)
        finally:
            await ours.close()
            await theirs.close()


async def test_a_call_on_hold_and_back() -> None:
    async with Sandbox() as sandbox, Softphone("alice", "wonderland", sandbox.uri()) as phone:
        media = MediaSession(codecs=G711)
        await media.open()
        try:
            call = await phone.call("echo", media)
            answer = await phone.answered(call)
            assert answer.sdp is not None
            media.accept_answer(answer.sdp)
            for hold, expected in ((True, b"a=recvonly"), (False, b"a=sendrecv")):
                phone.events = [event for event in phone.events if not isinstance(event, CallReanswered)]
                with phone.endpoint.turn():
                    call.reinvite(media.offer(hold=hold))
                reanswered = await phone.wait_for(CallReanswered)
                assert reanswered.sdp is not None
                assert expected in reanswered.sdp
                media.accept_answer(reanswered.sdp)
            phone.hangup(call)
            await phone.ended(call)
        finally:
            await media.close()


@self_stepping
async def test_a_call_without_an_offer_gets_one() -> None:
    async with Sandbox(challenged=frozenset()) as sandbox, Softphone("alice", "", sandbox.uri()) as phone:
        media = MediaSession(codecs=G711, audio="tone:600")
        await media.open()
        try:
            with phone.endpoint.turn():
                call = phone.engine.invite("alice", phone.target("echo"), None)
            answer = await phone.answered(call)
            assert answer.sdp is not None
            with phone.endpoint.turn():
                call.acknowledge(media.answer(answer.sdp))
            media.start()
            pcm = await heard(media, 40)
            hz = dominant_hz(samples_of(pcm[-2 * 160 * 10 :]))
            assert hz is not None
            assert abs(hz - 600) < 10
        finally:
            await media.close()


async def test_whoever_was_killed_in_a_call_is_not_talked_to_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who ended without a BYE was sent audio until the sandbox ended."""
    monkeypatch.setattr("sipcli.sandbox.phone.SILENCE", 0.3)
    async with Sandbox() as sandbox:
        killed = await Softphone("alice", "wonderland", sandbox.uri()).__aenter__()
        media = MediaSession(codecs=G711)
        await media.open()
        try:
            await talk(killed, "echo", media)
            await heard(media, 5)
            assert not sandbox.calls[0].ended
        finally:
            await media.close()
            await killed.endpoint.close()
        await eventually(lambda: sandbox.calls[0].ended)


async def test_who_is_silent_and_still_there_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipcli.sandbox.phone.SILENCE", 0.1)
    events: list[Event] = []
    async with Sandbox(on_event=events.append) as sandbox, Softphone("alice", "wonderland", sandbox.uri()) as phone:
        media = MediaSession(codecs=G711)
        await media.open()
        await talk(phone, "echo", media)
        await heard(media, 5)
        await media.close()
        await eventually(lambda: sum(isinstance(event, RequestDone) for event in events) >= 2)
        assert not sandbox.calls[0].ended
