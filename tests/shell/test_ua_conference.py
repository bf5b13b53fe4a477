"""Two callers and the person here hear each other; the tests listen at all ends.  Time is stepped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sipcli.cli.switchctl import SwitchCommands
from sipcli.errors import LocalProtocolError
from sipcli.sandbox.phone import CallRecord
from sipcli.ua.calls.call import Call
from sipcli.ua.calls.conference import Conference
from sipcli.ua.control.line import Request
from sipcli.ua.media.audiospec import AudioSpec, Tone
from tests.support import wavs
from tests.support.agentkit import Site, site
from tests.support.authkit import password
from tests.support.brokerkit import FakeProvider
from tests.support.clock import advance, live, live_until, stepped

G711 = ("PCMU",)


class Table:
    """A user at the server, with two callers who whistle at 500 and 1100 Hz; ours plays what *audio* says."""

    def __init__(self, site: Site, calls: list[Call]) -> None:
        self.site = site
        self.calls = calls

    @property
    def callers(self) -> list[CallRecord]:
        return self.site.box.calls

    async def conference(self) -> Conference:
        return await live(Conference.start(self.calls))


@asynccontextmanager
async def table(*audio: AudioSpec | str, tones: tuple[str, ...] = ("tone:500", "tone:1100")) -> AsyncIterator[Table]:
    async with site(FakeProvider(lambda _: password("wonderland"))) as s:
        account = s.account()
        calls: list[Call] = []
        account.incoming = calls.append
        await live(account.register())
        for number, tone in enumerate(tones):
            calling = asyncio.ensure_future(s.box.call("alice", tone))
            await live_until(lambda number=number: len(calls) > number)  # type: ignore[misc]
            await live(calls[number].accept(audio=audio[number], codecs=G711))
            await live(calling)
        yield Table(s, calls)


def loudest(path: Path, *hertz: float, last: float = 1.0) -> list[bool]:
    """For each of *hertz*: is it a good part of the last second of *path*?"""
    samples, rate = wavs.read_wav(path)
    end = samples[-int(last * rate) :]
    return [wavs.share_of(end, rate, each) > 0.2 for each in hertz]


async def listened(t: Table, tmp_path: Path, seconds: float = 1.5) -> list[Path]:
    """What each call sends to its caller, recorded (right of the stereo is what we heard, left what we sent)."""
    tmp_path.mkdir(exist_ok=True)
    paths = [tmp_path / f"{call.id}.wav" for call in t.calls]
    for call, path in zip(t.calls, paths, strict=True):
        call.session.record(path, "both")
    await advance(seconds)
    for call in t.calls:
        call.session.stop_recording()
    return paths


@stepped
async def test_each_caller_hears_the_other_and_the_person(tmp_path: Path) -> None:
    async with table(Tone(300), "null") as t:
        conference = await t.conference()
        assert conference.calls == tuple(t.calls) and all(call.conference is conference for call in t.calls)
        first, second = await listened(t, tmp_path)
        assert loudest(first, 300, 500, 1100) == [True, False, True]
        assert loudest(second, 300, 500, 1100) == [True, True, False]


@stepped
async def test_muted_is_the_person_and_not_what_the_others_say(tmp_path: Path) -> None:
    async with table(Tone(300), "null") as t:
        conference = await t.conference()
        conference.muted = True
        await advance(0.2)
        first, second = await listened(t, tmp_path)
        assert loudest(first, 300, 1100) == [False, True]
        assert loudest(second, 300, 500) == [False, True]


@pytest.mark.parametrize("which", [0, 1])
@stepped
async def test_whoever_was_muted_before_is_muted_in_it_and_all_hear_the_others(tmp_path: Path, which: int) -> None:
    """The muted call itself heard nobody at all, and the other one heard the person."""
    async with table(Tone(300), "null") as t:
        t.calls[which].session.muted = True
        conference = await t.conference()
        assert conference.muted and all(call.muted for call in t.calls)
        await advance(0.2)
        first, second = await listened(t, tmp_path)
        assert loudest(first, 300, 1100) == [False, True]
        assert loudest(second, 300, 500) == [False, True]
        conference.muted = False
        await advance(0.2)
        assert [loudest(path, 300) for path in await listened(t, tmp_path / "again")] == [[True], [True]]


@pytest.mark.parametrize("how", ["one hangs up", "split"])
@stepped
async def test_whoever_is_muted_in_it_is_muted_after_it(tmp_path: Path, how: str) -> None:
    """The other side left, and the one that was left alone heard the person: he had done nothing."""
    async with table(Tone(300), Tone(400)) as t:
        conference = await t.conference()
        conference.muted = True
        if how == "split":
            conference.end()
        else:
            t.site.box.hang_up(t.callers[1])
            await live_until(lambda: t.calls[0].conference is None)
        left = [call for call in t.calls if not call.is_over]
        assert all(call.conference is None and call.muted for call in left)
        t.calls[:] = left
        await advance(0.2)
        assert [loudest(path, 300, 400) for path in await listened(t, tmp_path)] == [[False, False]] * len(left)


@stepped
async def test_whoever_switches_to_a_muted_conference_is_told_that_he_is_muted() -> None:
    async with table("null", "null") as t:
        conference = await t.conference()
        first = t.calls[0]
        switch = SwitchCommands(t.site.agent).table["call.switch"]
        asked = Request(id=None, command="call.switch", fields={"call": first.id})
        assert await live(switch(asked)) == {"call": first.id, "state": "answered", "muted": False}
        conference.muted = True
        assert (await live(switch(asked)))["muted"] is True


@stepped
async def test_a_call_on_hold_is_resumed_for_it() -> None:
    async with table("null", "null") as t:
        await live(t.calls[0].hold())
        await t.conference()
        assert [call.state for call in t.calls] == ["answered", "answered"]


@stepped
async def test_when_one_leaves_the_other_goes_on_with_the_person(tmp_path: Path) -> None:
    async with table(Tone(300), Tone(700)) as t:
        conference = await t.conference()
        await live(t.calls[0].hangup())
        (rest,) = t.calls = t.calls[1:]
        assert (rest.conference, conference.calls) == (None, ())
        (path,) = await listened(t, tmp_path)
        assert loudest(path, 300, 500, 700) == [True, False, False], "the person, who sat at the other call's audio"
        await live(rest.hangup())


@stepped
async def test_split_again_each_has_its_own_audio(tmp_path: Path) -> None:
    async with table(Tone(300), Tone(700)) as t:
        conference = await t.conference()
        conference.end()
        first, second = await listened(t, tmp_path)
        assert loudest(first, 300, 1100) == [True, False]
        assert loudest(second, 700, 500) == [True, False]


@stepped
async def test_a_third_caller_joins_and_hears_everybody(tmp_path: Path) -> None:
    async with table("null", "null", "null", tones=("tone:500", "tone:1100", "tone:1700")) as t:
        conference = await live(Conference.start(t.calls[:2]))
        await live(conference.add(t.calls[2]))
        *_, third = await listened(t, tmp_path)
        assert loudest(third, 500, 1100, 1700) == [True, True, False]
        with pytest.raises(LocalProtocolError, match="in a conference already"):
            await conference.add(t.calls[2])
        conference.leave(t.calls[2])
        conference.leave(t.calls[2])
        assert conference.calls == tuple(t.calls[:2])


@stepped
async def test_asked_for_twice_at_once_it_is_made_once() -> None:
    """Both resume the same call on hold, and both go on when that is done."""
    async with table("null", "null") as t:
        await live(t.calls[0].hold())
        made = await live(asyncio.gather(*(Conference.start(t.calls) for _ in range(2)), return_exceptions=True))
        assert sorted(type(each).__name__ for each in made) == ["Conference", "LocalProtocolError"]
        (conference,) = (each for each in made if isinstance(each, Conference))
        assert conference.calls == tuple(t.calls) and all(call.conference is conference for call in t.calls)


@stepped
async def test_one_call_is_no_conference() -> None:
    async with table("null", tones=("tone:500",)) as t:
        with pytest.raises(LocalProtocolError, match="two calls that are up"):
            await Conference.start(t.calls)
        assert t.calls[0].conference is None


@stepped
async def test_when_the_agent_closes_all_audio_is_closed() -> None:
    async with table(Tone(300), Tone(700)) as t:
        conference = await t.conference()
        await live(t.site.agent.close())
        assert conference.calls == () and all(call.is_over for call in t.calls)


@stepped
async def test_a_recording_begins_and_ends_in_the_middle(tmp_path: Path) -> None:
    async with table("null", tones=("tone:500",)) as t:
        (path,) = await listened(t, tmp_path, 1.0)
        samples, rate = wavs.read_wav(path)
        assert len(samples) / rate == pytest.approx(1.0, abs=0.1)
        assert not t.calls[0].session.recording and not t.calls[0].session.stop_recording()
        t.calls[0].session.record(path)
        with pytest.raises(LocalProtocolError, match="recorded already"):
            t.calls[0].session.record(path)
