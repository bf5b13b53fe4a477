"""What a person hears of the telephone itself, call by call; the sound card is a double, time is stepped."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sipcli.errors import ConfigError, SipcliError
from sipcli.media.callprogress import BELL_DBFS, LEVEL_DBFS
from sipcli.media.tone import Oscillator, dbfs, dominant_hz, goertzel, rms, samples_of
from sipcli.media.wav import wav_header
from sipcli.ua.brokered import BrokeredAccount
from sipcli.ua.calls.call import Call
from sipcli.ua.calls.tones import CallTones, ToneSettings
from sipcli.ua.media.audiospec import Device
from tests.support.agentkit import Site, site
from tests.support.brokerkit import right
from tests.support.clock import advance, live, live_until, stepped
from tests.support.soundcard import Card, Cards

US = ToneSettings(plan="us")
EU = ToneSettings()


class Desk:
    """Somebody who is registered and may call himself; *calls* are those that came in."""

    def __init__(self, site: Site, account: BrokeredAccount, tones: CallTones) -> None:
        self.site, self.account, self.tones = site, account, tones
        self.calls: list[Call] = []
        account.incoming = self.calls.append

    async def dial(self, who: str = "alice", audio: Device | str = "device") -> Call:
        before = len(self.calls)
        call = await live(self.account.call(who, audio=audio, codecs=("PCMU",)))
        if who == "alice":
            await live_until(lambda: len(self.calls) > before)
        return call


@asynccontextmanager
async def desk(settings: ToneSettings | None = EU) -> AsyncIterator[Desk]:
    async with site(right()) as s:
        account = s.account()
        await live(account.register())
        tones = CallTones(s.agent, settings)
        try:
            yield Desk(s, account, tones)
        finally:
            await live(tones.close())


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Cards:
    return Cards(monkeypatch)


def sounds(card: Card, hz: float, *, share: float = 0.9, seconds: float = 0.2) -> bool:
    pcm = card.last(seconds)
    return rms(pcm) > 0 and goertzel(samples_of(pcm), hz) > share


async def ended(call: Call) -> None:
    with pytest.raises(SipcliError):
        await live(call.finished())


@stepped
async def test_a_caller_hears_ringing_from_the_180_to_the_answer_and_nobody_else_does(
    cards: Cards, tmp_path: Path
) -> None:
    async with desk() as d:
        call = await d.dial()
        (card,) = cards.opened
        assert card.played == []
        theirs = d.calls[0]
        theirs.ring()
        await advance(0.6)
        assert sounds(card, 425, seconds=0.5)
        assert dbfs(rms(card.last(0.5))) == pytest.approx(LEVEL_DBFS, abs=0.5)
        await advance(1)
        assert not rms(card.last(0.2))  # a second of it, four of silence
        await advance(3.6)
        assert sounds(card, 425, seconds=0.1)
        call.session.record(tmp_path / "both.wav", "both")
        await live(theirs.accept(audio="tone:1000", codecs=("PCMU",)))
        await live(call.answered())
        await advance(1)
        assert sounds(card, 1000, seconds=0.8)
        call.session.stop_recording()
        for side in (theirs.session.report().audio.tone_hz, wavs_hz(tmp_path / "both.wav", 0)):
            assert side == pytest.approx(300, abs=2)  # our microphone, and it alone
        assert wavs_hz(tmp_path / "both.wav", 1) == pytest.approx(1000, abs=2)
        await live(call.hangup())
        assert card.closed == 1
        await live(d.tones.faded())


def wavs_hz(path: Path, channel: int) -> float | None:
    """The tone of one channel of a stereo file, in its last half second."""
    with wave.open(str(path), "rb") as file:
        samples = samples_of(file.readframes(file.getnframes()))[channel::2]
        return dominant_hz(samples[-file.getframerate() // 2 :], rate=file.getframerate())


@stepped
async def test_the_plan_decides_what_ringing_is(cards: Cards) -> None:
    async with desk(US) as d:
        call = await d.dial()
        d.calls[0].ring()
        await advance(0.6)
        heard = samples_of(cards.opened[0].last(0.5))
        assert [goertzel(heard, hz) for hz in (440, 480)] == pytest.approx([0.5, 0.5], abs=0.05)
        await live(call.hangup())


@stepped
async def test_early_media_is_heard_instead_of_ringing(cards: Cards) -> None:
    """RFC 3960 section 3.2: ringing after a 180, for as long as no audio comes."""
    async with desk() as d:
        call = await d.dial()
        theirs = d.calls[0]
        theirs.ring()
        await advance(0.4)
        (card,) = cards.opened
        assert sounds(card, 425)
        await live(theirs.early(audio="tone:1000", codecs=("PCMU",)))
        await live_until(lambda: call.media is not None and call.media.state == "flowing")
        await advance(0.5)
        assert sounds(card, 1000)
        theirs.ring()  # a 180 once more, and audio comes already
        await advance(0.5)
        assert sounds(card, 1000)
        await live(call.hangup())


@pytest.mark.parametrize(("who", "on_s", "sound_s"), [("busy", 0.48, 1.44), ("nobody", 0.24, 1.2)])
def test_a_call_that_fails_is_busy_or_congestion_and_then_the_card_is_closed(
    who: str, on_s: float, sound_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = Cards(monkeypatch)

    @stepped
    async def run() -> None:
        async with desk() as d:
            call = await d.dial(who)
            await ended(call)
            (card,) = cards.opened
            assert not card.closed
            await live(d.tones.faded())
            assert card.closed == 1
            loud = [bool(rms(frame)) for frame in card.played]
            assert len(loud) == pytest.approx(2.4 * 50, abs=5)
            assert loud.index(False) == pytest.approx(on_s * 50, abs=1)
            assert sum(loud) == pytest.approx(sound_s * 50, abs=2)

    run()


@stepped
async def test_who_hangs_up_himself_hears_nothing_more(cards: Cards) -> None:
    async with desk() as d:
        call = await d.dial("ring")
        await advance(0.5)
        (card,) = cards.opened
        assert sounds(card, 425)
        await live(call.hangup())
        assert card.closed == 1
        await live(d.tones.faded())


@stepped
async def test_closing_does_not_wait_for_a_tone(cards: Cards) -> None:
    async with desk() as d:
        await ended(await d.dial("busy"))
        await d.tones.close()
        assert cards.opened[0].closed == 1


@stepped
async def test_who_is_in_a_call_hears_another_one_wait_and_nobody_else_does(cards: Cards, tmp_path: Path) -> None:
    async with desk() as d:
        call = await d.dial()
        theirs = d.calls[0]
        await live(theirs.accept(audio="null", codecs=("PCMU",)))
        await live(call.answered())
        call.session.record(tmp_path / "both.wav", "both")
        (card,) = cards.opened
        second = await d.dial(audio="null")
        async with d.tones.ringing(d.calls[1]):
            d.calls[1].ring()
            await advance(0.2)
            assert sounds(card, 425, seconds=0.1)
            await advance(0.8)
            assert not rms(card.last(0.1))  # two of 0.2 s, then 5 s of silence
            assert len(cards.opened) == 1
            await advance(4.8)
            assert sounds(card, 425, seconds=0.06)
        await advance(0.2)
        assert not rms(card.last(0.1))
        call.session.stop_recording()
        assert wavs_hz(tmp_path / "both.wav", 0) == pytest.approx(300, abs=2)
        assert wavs_hz(tmp_path / "both.wav", 1) is None  # they say nothing
        assert theirs.session.report().audio.tone_hz == pytest.approx(300, abs=2)
        d.calls[1].reject()
        await ended(second)
        await live(call.hangup())


@stepped
async def test_a_call_that_comes_in_rings_and_the_card_is_free_when_it_is_answered(cards: Cards) -> None:
    async with desk(ToneSettings(bell=Device("kitchen"))) as d:
        caller = await d.dial(audio="tone:1000")
        call = d.calls[0]
        async with d.tones.ringing(call):
            call.ring()
            await live_until(lambda: cards.opened and len(cards.opened[0].played) > 10)
            (bell,) = cards.opened
            assert (bell.name, bell.settings) == ("kitchen", {"output": None, "listens": False})
            assert dbfs(rms(bell.last(0.2))) == pytest.approx(BELL_DBFS, abs=0.5)
            assert not bell.closed
        assert bell.closed == 1
        await live(call.accept(audio=Device(), codecs=("PCMU",)))
        await live(caller.answered())
        await advance(0.5)
        bell, card = cards.opened
        assert sounds(card, 1000)
        assert bell.closed == 1 and len(bell.played) < 50
        await live(call.hangup())


@stepped
async def test_a_file_rings_in_place_of_the_bell(cards: Cards, tmp_path: Path) -> None:
    pcm = Oscillator(700).read(1600)
    (tmp_path / "bell.wav").write_bytes(wav_header(len(pcm)) + pcm)
    async with desk(ToneSettings(file=tmp_path / "bell.wav")) as d:
        caller = await d.dial(audio="null")
        async with d.tones.ringing(d.calls[0]):
            await live_until(lambda: cards.opened and len(cards.opened[0].played) > 30)
            samples = samples_of(cards.opened[0].last(0.15))
            assert dominant_hz(samples, rate=48000) == pytest.approx(700, abs=5)
        await live(caller.hangup())


@stepped
async def test_of_two_that_ring_the_other_one_rings_on_as_a_bell_or_a_beep(cards: Cards) -> None:
    async with desk() as d:
        callers = [await d.dial(audio="null") for _ in range(3)]
        first, second, third = d.calls
        async with d.tones.ringing(third):
            async with d.tones.ringing(first):
                await live_until(lambda: cards.opened and cards.opened[0].played)
                async with d.tones.ringing(second):
                    await advance(0.5)
                    assert len(cards.opened) == 1
                assert cards.opened[0].closed
                second.reject()
                await live_until(lambda: len(cards.opened) == 2 and cards.opened[1].played)
            assert cards.opened[1].closed
            await live(first.accept(audio=Device(), codecs=("PCMU",)))
            await live_until(lambda: len(cards.opened[2].played) > 5)
            assert sounds(cards.opened[2], 425, seconds=0.1)
            assert len(cards.opened) == 3
        for caller in (callers[0], callers[2]):
            await live(caller.hangup())


@stepped
async def test_without_settings_nothing_is_opened_and_nothing_sounds(cards: Cards) -> None:
    async with desk(None) as d:
        call = await d.dial("ring")
        await advance(0.5)
        assert cards.opened[0].played == []
        await live(call.hangup())
        caller = await d.dial(audio="null")
        async with d.tones.ringing(d.calls[0]):
            await advance(0.5)
        assert len(cards.opened) == 1
        await live(caller.hangup())


@pytest.mark.parametrize("audio", ["null", "tone", "echo"])
def test_without_a_sound_card_a_call_has_no_tones(audio: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = Cards(monkeypatch)

    @stepped
    async def run() -> None:
        async with desk() as d:
            call = await d.dial("ring", audio)
            await advance(0.5)
            await live(call.hangup())
            await ended(await d.dial("busy", audio))
            await live(d.tones.faded())
            assert cards.opened == []

    run()


@stepped
async def test_a_bell_that_cannot_ring_is_a_warning_and_the_call_can_be_taken(cards: Cards) -> None:
    async with desk() as d:
        caller = await d.dial(audio="null")
        cards.broken = ConfigError("no sound card “kitchen” is here", hint="look at the list")
        async with d.tones.ringing(d.calls[0]):
            await live_until(lambda: d.site.told("warning"))
        (warning,) = d.site.told("warning")
        assert (warning.code, warning.hint) == ("bell", "look at the list")
        assert "cannot be heard: no sound card “kitchen”" in warning.message
        await live(d.calls[0].accept(audio="null"))
        await live(caller.answered())
        await live(caller.hangup())


@stepped
async def test_what_the_card_of_the_bell_says_is_told(cards: Cards) -> None:
    async with desk() as d:
        caller = await d.dial(audio="null")
        async with d.tones.ringing(d.calls[0]):
            await live_until(lambda: cards.opened)
            assert cards.opened[0].warn is not None
            cards.opened[0].warn("device-lost", "it is gone")
        assert [(notice.code, notice.message) for notice in d.site.told("warning")] == [("device-lost", "it is gone")]
        await live(caller.hangup())


async def test_a_bell_that_is_silenced_before_it_is_open_never_rings(cards: Cards) -> None:
    async with site(right()) as s:
        tones = CallTones(s.agent, EU)
        call = object.__new__(Call)
        async with asyncio.timeout(30), tones.ringing(call):
            pass
        assert all(card.closed and not card.played for card in cards.opened)
        await tones.close()


@stepped
async def test_how_loud_a_call_is_both_ways_is_measured_where_a_card_is_or_somebody_looks(cards: Cards) -> None:
    async with desk() as d:
        call = await d.dial()
        theirs = d.calls[0]
        await live(theirs.accept(audio="tone:1000", codecs=("PCMU",)))
        await live(call.answered())
        await advance(1)
        sent, heard = call.session.end.levels()
        assert (sent, heard) == ((pytest.approx(-12, abs=0.5), False), (pytest.approx(-12, abs=0.5), False))
        assert call.session.report().tx.rms_dbfs == pytest.approx(-12, abs=0.5)
        assert theirs.session.report().tx.rms_dbfs is None
        assert theirs.session.end.levels() == (None, None)
        call.session.muted = True
        call.session.end.levels()
        await advance(0.5)
        sent, heard = call.session.end.levels()
        assert sent is not None and sent.dbfs == -96
        sent, _ = theirs.session.end.levels()
        assert sent is not None and sent.dbfs == pytest.approx(-12, abs=0.5)
        await advance(10)  # the statistics of every ten seconds
        mine, *_ = (notice for notice in d.site.told("stats") if notice.call == call.id)
        assert mine.tx.rms_dbfs is not None
        await live(call.hangup())
