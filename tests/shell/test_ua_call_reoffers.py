"""A call is told by its core that the session changes, or cannot be had: fakes on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from sipcli.errors import LocalProtocolError, MediaFailed, NoAnswer
from sipcli.media.quality import MediaReport
from sipcli.sip.calls.invite import OutgoingCall
from sipcli.sip.events import CallAnswered, CallEnded, CallProgress, CallReanswered, CallRefreshDue, CallReoffered
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.syntax.uri import NameAddr
from sipcli.ua.calls.call import Call
from sipcli.ua.media.mediafacts import MediaFacts
from sipcli.ua.notices import Notice


class FakeMedia:
    """A session that writes down what is done to it; *refuses* what it shall not agree to."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.refuses = False
        self.agreement: Any = None
        self.held = False
        self.state = "stopped"

    def offer(self, *, hold: bool | None = None) -> bytes:
        self.held = self.held if hold is None else hold
        self.done.append("offer")
        return b"our offer"

    def answer(self, offer: bytes) -> bytes:
        if self.refuses:
            raise MediaFailed("no common codec")
        self.agreement = SimpleNamespace(may_receive=offer != b"hold", may_send=offer != b"music on hold")
        return b"our answer"

    def accept_answer(self, answer: bytes) -> None:
        if self.refuses:
            raise MediaFailed("no common codec")
        self.agreement = SimpleNamespace(may_receive=not self.held, may_send=answer != b"held by us, too")
        self.done.append(answer)

    def withdraw_offer(self) -> None:
        self.done.append("withdrawn")

    def start(self) -> None:
        self.done.append("started")

    def answered(self) -> None:
        """Nobody shakes hands here, and there is no microphone."""

    def facts(self) -> MediaFacts:
        return MediaFacts(codec=None, rate=None, ptime_ms=20, local=("::1", 1), remote=("::2", 2), latched=True)

    def report(self, *, verdict: bool = True) -> MediaReport:
        return MediaReport()

    async def close(self) -> None:
        self.done.append("closed")


class FakeCore:
    """What the core's call would be told."""

    id, sip_call_id, direction, over = "call1", "x@y", "outgoing", False
    remote = NameAddr.parse('"Bob" <sip:bob@example.net>')

    def __init__(self) -> None:
        self.said: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.said.append((name, *args))


class LateCore(OutgoingCall):
    """A call of ours whose INVITE had no offer."""

    id, sip_call_id = "call1", "x@y"
    remote = NameAddr.parse('"Bob" <sip:bob@example.net>')

    def __init__(self) -> None:
        self.late_offer = True
        self.acknowledged: list[bytes] = []

    def acknowledge(self, sdp: bytes) -> None:
        self.acknowledged.append(sdp)


class FakeAgent:
    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.tell = self.notices.append
        self.calls: list[Any] = []
        self.add_call, self.drop_call = self.calls.append, self.calls.remove

    @contextmanager
    def turn(self) -> Iterator[None]:
        yield


OK: Any = Response.build(200, "OK", [])


@pytest.fixture
async def rig() -> Any:
    agent, core, media = FakeAgent(), FakeCore(), FakeMedia()
    call = Call(agent, None, core)  # type: ignore[arg-type]
    call.media = media  # type: ignore[assignment]
    return SimpleNamespace(agent=agent, core=core, media=media, call=call)


def states(rig: Any) -> list[str]:
    return [notice.state for notice in rig.agent.notices if notice.event == "call"]


async def test_they_hold_and_resume(rig: Any) -> None:
    rig.call._times.mark_up()
    rig.call.changes.on_reoffered(CallReoffered(rig.core, b"hold", OK))
    rig.call.changes.on_reoffered(CallReoffered(rig.core, b"go on", OK))
    rig.call.changes.on_reoffered(CallReoffered(rig.core, b"music on hold", OK))
    assert rig.core.said == [("answer_reinvite", b"our answer")] * 3
    assert states(rig) == ["held", "answered", "held"]
    assert [notice.by for notice in rig.agent.notices if notice.event == "call"] == ["remote", None, "remote"]
    rig.media.held = True  # they offer anew, and it is we who hold
    rig.call.changes.on_reoffered(CallReoffered(rig.core, b"music on hold", OK))
    assert rig.agent.notices[-1].by == "local"


async def test_whoever_hangs_up_is_not_said_to_fall_silent(rig: Any) -> None:
    """Their RTCP BYE comes before their answer to our BYE: "no audio arrives" is no news then."""
    rig.call.teller.media("silent")
    rig.core.over = True
    rig.call.teller.media("silent")
    rig.call.teller.media("stopped")
    assert [notice.state for notice in rig.agent.notices if notice.event == "media"] == ["silent", "stopped"]


async def test_they_ask_us_to_offer(rig: Any) -> None:
    rig.call.changes.on_reoffered(CallReoffered(rig.core, None, OK))
    assert rig.core.said == [("answer_reinvite", b"our offer")] and states(rig) == []


async def test_what_they_offer_cannot_be_agreed_on(rig: Any) -> None:
    rig.media.refuses = True
    rig.call.changes.on_reoffered(CallReoffered(rig.core, b"opus only", OK))
    assert rig.core.said == [("reject_reinvite", 488)]


async def test_our_offer_is_refused_and_what_was_agreed_before_holds(rig: Any) -> None:
    task = asyncio.ensure_future(rig.call.hold())
    await asyncio.sleep(0)
    rig.call.changes.on_reanswered(CallReanswered(rig.core, None, 488, "Not Acceptable Here"))
    with pytest.raises(MediaFailed):
        await task
    assert not rig.media.held and "withdrawn" in rig.media.done


async def hear(rig: Any, task: asyncio.Future[None], answer: bytes) -> None:
    """The other side's *answer* to what *task* offered."""
    await asyncio.sleep(0)
    rig.call.changes.on_reanswered(CallReanswered(rig.core, answer))
    await task


async def test_a_second_hold_is_no_news_and_no_offer(rig: Any) -> None:
    await hear(rig, asyncio.ensure_future(rig.call.hold()), b"held")
    await rig.call.hold()
    await hear(rig, asyncio.ensure_future(rig.call.resume()), b"resumed")
    await rig.call.resume()
    assert states(rig) == ["held", "answered"]
    assert rig.core.said == [("reinvite", b"our offer")] * 2


async def test_what_we_resume_stays_held_where_they_hold_it_too(rig: Any) -> None:
    await hear(rig, asyncio.ensure_future(rig.call.hold()), b"held")
    await hear(rig, asyncio.ensure_future(rig.call.resume()), b"held by us, too")
    told = [(notice.state, notice.by) for notice in rig.agent.notices if notice.event == "call"]
    assert told == [("held", "local"), ("held", "remote")]
    assert rig.call.state == "held"


async def test_a_new_offer_may_be_made_of_a_call_on_hold_and_is_no_news(rig: Any) -> None:
    await hear(rig, asyncio.ensure_future(rig.call.hold()), b"held")
    await hear(rig, asyncio.ensure_future(rig.call.changes.reoffer()), b"held")
    assert (states(rig), rig.media.held, len(rig.core.said)) == (["held"], True, 2)


async def test_two_who_ask_at_once_are_served_one_after_the_other(rig: Any) -> None:
    first, second = asyncio.ensure_future(rig.call.hold()), asyncio.ensure_future(rig.call.resume())
    await asyncio.sleep(0)
    assert (len(rig.core.said), rig.media.held) == (1, True)
    rig.call.changes.on_reanswered(CallReanswered(rig.core, b"held"))
    await first
    await asyncio.sleep(0)
    assert (len(rig.core.said), rig.media.held) == (2, False)
    rig.call.changes.on_reanswered(CallReanswered(rig.core, b"resumed"))
    await second
    assert rig.call.state == "answered"


async def test_whoever_asks_to_go_on_after_a_hold_was_refused_has_nothing_to_ask(rig: Any) -> None:
    first, second = asyncio.ensure_future(rig.call.hold()), asyncio.ensure_future(rig.call.resume())
    await asyncio.sleep(0)
    rig.call.changes.on_reanswered(CallReanswered(rig.core, None, 488))
    with pytest.raises(MediaFailed):
        await first
    await second
    assert (len(rig.core.said), rig.media.held, states(rig)) == (1, False, [])


async def test_whoever_waits_while_the_call_ends_is_told(rig: Any) -> None:
    first, second = asyncio.ensure_future(rig.call.hold()), asyncio.ensure_future(rig.call.resume())
    await asyncio.sleep(0)
    rig.call.on_ended(CallEnded(rig.core, "remote"))
    with pytest.raises(NoAnswer):
        await first
    with pytest.raises(LocalProtocolError, match="is over"):
        await second
    assert len(rig.core.said) == 1


@pytest.mark.parametrize("refused", [False, True])
async def test_a_hold_during_the_refresh_waits_and_takes_an_answer_of_its_own(rig: Any, refused: bool) -> None:
    """The session timer's re-INVITE was out; its answer once settled the hold that had not gone out."""
    rig.call.changes.on_refresh_due(CallRefreshDue(rig.core))
    rig.call.changes.on_refresh_due(CallRefreshDue(rig.core))
    task = asyncio.ensure_future(rig.call.hold())
    await asyncio.sleep(0)
    assert (rig.core.said, rig.media.held) == ([("reinvite", b"our offer")], False)
    refresh = CallReanswered(rig.core, None, 500) if refused else CallReanswered(rig.core, b"refreshed")
    rig.call.changes.on_reanswered(refresh)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    assert (len(rig.core.said), rig.media.held) == (2, True)
    rig.call.changes.on_reanswered(CallReanswered(rig.core, b"held"))
    await task
    assert rig.call.state == "held"


async def test_the_call_ends_while_a_hold_waits_for_the_refresh(rig: Any) -> None:
    rig.call.changes.on_refresh_due(CallRefreshDue(rig.core))
    task = asyncio.ensure_future(rig.call.hold())
    await asyncio.sleep(0)
    rig.call.on_ended(CallEnded(rig.core, "remote"))
    with pytest.raises(NoAnswer):
        await task
    assert [said[0] for said in rig.core.said] == ["reinvite"]


async def test_the_answer_to_what_they_asked_for_settles_no_hold(rig: Any) -> None:
    task = asyncio.ensure_future(rig.call.hold())
    await asyncio.sleep(0)
    rig.call.changes.on_reoffered(CallReoffered(rig.core, None, OK))
    rig.call.changes.on_reanswered(CallReanswered(rig.core, b"theirs", 200, asked=True))
    await asyncio.sleep(0)
    assert not task.done()
    rig.call.changes.on_reanswered(CallReanswered(rig.core, b"ours"))
    await task


async def test_their_answer_to_our_offer_is_nonsense(rig: Any) -> None:
    task = asyncio.ensure_future(rig.call.hold())
    await asyncio.sleep(0)
    rig.media.refuses = True
    rig.call.changes.on_reanswered(CallReanswered(rig.core, b"nonsense"))
    with pytest.raises(MediaFailed):
        await task


async def test_an_answer_nobody_waits_for(rig: Any) -> None:
    rig.call.changes.on_reanswered(CallReanswered(rig.core, b"answer"))
    assert rig.media.done == [b"answer"]


async def test_fresh_sdp_for_an_offer_that_has_waited(rig: Any) -> None:
    rig.call.changes.on_offer_stale()
    assert rig.core.said == [("replace_offer", b"our offer")]


async def test_the_call_ends_while_the_session_is_being_changed(rig: Any) -> None:
    task = asyncio.ensure_future(rig.call.hold())
    await asyncio.sleep(0)
    rig.call.on_ended(CallEnded(rig.core, "remote"))
    rig.call.on_ended(CallEnded(rig.core, "remote"))
    with pytest.raises(NoAnswer):
        await task
    assert rig.media.done[-1] == "closed" and rig.agent.calls == []


@pytest.mark.parametrize("sdp", [None, b"nonsense"])
async def test_an_answer_without_usable_sdp_ends_the_call(rig: Any, sdp: bytes | None) -> None:
    rig.media.refuses = True
    rig.call.on_answered(CallAnswered(rig.core, sdp, OK))
    assert rig.core.said == [("hangup",)]
    rig.call.on_ended(CallEnded(rig.core, "local"))
    with pytest.raises(MediaFailed):
        await rig.call.answered()
    with pytest.raises(MediaFailed):
        await rig.call.finished()


async def test_early_media_is_heard_and_nonsense_there_is_forgiven(rig: Any) -> None:
    ringing = Response.build(183, "Session Progress", [])
    rig.call.on_progress(CallProgress(rig.core, "early", ringing, b"early"))
    assert rig.media.done == [b"early", "started"]
    rig.media.refuses = True
    rig.call.on_progress(CallProgress(rig.core, "early", ringing, b"nonsense"))
    rig.call.on_progress(CallProgress(rig.core, "ringing", Response.build(180, "Ringing", [])))
    assert rig.core.said == [] and states(rig) == ["early", "ringing"], "the same again is no news"
    rig.media.refuses = False
    rig.call.on_answered(CallAnswered(rig.core, None, OK))
    await rig.call.answered()  # what was agreed early holds
    rig.call.on_ended(CallEnded(rig.core, "remote"))
    report = await rig.call.finished()
    assert report.ring_ms is not None and report.pdd_ms is not None and report.by == "remote"


async def test_digits_by_info_are_told(rig: Any) -> None:
    heard: list[tuple[str, int]] = []
    rig.call.on_dtmf = lambda digit, ms: heard.append((digit, ms))
    info = Request.build("INFO", "sip:x@y", [("Content-Type", "application/dtmf-relay")], b"Signal=5\r\nDuration=160")
    rig.call.digits.hear_info(info)
    rig.call.digits.hear_info(Request.build("INFO", "sip:x@y", [("Content-Type", "text/plain")], b"5"))
    assert heard == [("5", 160)]
    (told,) = [notice for notice in rig.agent.notices if notice.event == "dtmf"]
    assert (told.direction, told.via) == ("in", "info")


async def test_what_the_media_tells(rig: Any) -> None:
    rig.call.teller.media("flowing")
    rig.call.teller.warning("recording-failed", "the disk is full")
    media, warning = rig.agent.notices
    assert (media.local, media.remote, media.latched) == ("[::1]:1", "[::2]:2", "[::2]:2")
    assert warning.message == "call call1: the disk is full"


async def test_without_audio_there_is_nothing_to_do(rig: Any) -> None:
    rig.call.media = None
    rig.call.teller.media("flowing")
    assert rig.agent.notices == []
    with pytest.raises(LocalProtocolError):
        await rig.call.dtmf("1")


async def test_to_drop_a_call_is_to_be_over(rig: Any) -> None:
    await rig.call.drop()
    await rig.call.drop()
    assert rig.call.is_over and (await _error(rig.call.finished())).__class__.__name__ == "AgentClosed"


async def _error(awaitable: Any) -> BaseException:
    try:
        await awaitable
    except BaseException as error:
        return error
    raise AssertionError("it did not fail")


async def test_D01_an_offer_in_the_answer_is_answered_in_the_ack(rig: Any) -> None:
    rig.call.core = LateCore()
    rig.call.on_answered(CallAnswered(rig.call.core, b"their offer", OK))
    assert rig.call.core.acknowledged == [b"our answer"]
    assert rig.call.is_up


async def test_D01_of_two_forks_the_one_that_answers_is_heard(rig: Any) -> None:
    for sdp in (b"one", b"two"):
        rig.call.on_progress(CallProgress(rig.core, "early", Response.build(183, "Session Progress", []), sdp))
    rig.call.on_answered(CallAnswered(rig.core, b"one", OK))
    assert [done for done in rig.media.done if done != "started"] == [b"one", b"two", b"one"]
