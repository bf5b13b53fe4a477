"""Tones over the sound card: when the call beats, when it does not, and that they end at once."""

from __future__ import annotations

import asyncio
from array import array
from pathlib import Path

import pytest

from sipcli.errors import ConfigError
from sipcli.media.callprogress import LEVEL_DBFS, PLANS, Cadence
from sipcli.media.tone import Oscillator, dbfs, dominant_hz, goertzel, pcm_of, rms, samples_of
from sipcli.media.wav import wav_header
from sipcli.ua.media.earpiece import Earpiece
from sipcli.ua.media.ringfile import FileSound
from tests.support.soundcard import Card

RINGING = PLANS["eu"]["ringing"]


async def test_before_the_call_beats_a_tone_has_a_beat_of_its_own_and_the_microphone_is_nobodys() -> None:
    card = Card()
    ear = Earpiece(card)
    ear.tune(16000)
    ear.play(Cadence(RINGING))
    await card.play(10)
    heard = samples_of(b"".join(card.played[:10]))
    assert dominant_hz(heard, rate=16000) == pytest.approx(425, abs=2)
    assert card.reads >= len(card.played)  # so that a device which vanishes is missed
    ear.hush()
    count = len(card.played)
    await asyncio.sleep(0)
    assert len(card.played) == count
    ear.close()
    assert card.closed == 1


async def test_in_a_call_the_tone_is_mixed_into_what_is_heard_and_comes_once_a_beat() -> None:
    card = Card()
    ear = Earpiece(card)
    voice = Oscillator(1000)
    ear.write(voice.read())
    ear.play(Cadence(RINGING))
    for _ in range(50):
        ear.write(voice.read())
    assert len(card.played) == 51
    heard = samples_of(b"".join(card.played[1:]))
    assert goertzel(heard, 1000) == pytest.approx(0.8, abs=0.05)  # 6 dB louder than the tone
    assert goertzel(heard, 425) == pytest.approx(0.2, abs=0.05)
    ear.hush()
    ear.write(voice.read())
    assert goertzel(samples_of(card.played[-1]), 1000) > 0.99
    ear.close()


async def test_what_the_microphone_gives_is_untouched_by_tones() -> None:
    card = Card()
    ear = Earpiece(card)
    ear.play(Cadence(RINGING))
    assert goertzel(samples_of(ear.read()), 300) > 0.99
    ear.close()


async def test_a_tone_that_ends_outlives_its_call_and_then_the_card_is_free() -> None:
    card = Card()
    ear = Earpiece(card)
    ear.play(Cadence(PLANS["eu"]["busy"], seconds=0.1))
    ear.close()
    assert not card.closed
    await asyncio.wait_for(ear.faded(), 30)
    assert card.closed == 1
    assert dbfs(rms(b"".join(card.played))) == pytest.approx(LEVEL_DBFS, abs=1)
    assert 4 <= len(card.played) <= 5
    ear.play(Cadence(RINGING))  # comes too late
    ear.hush()
    assert card.closed == 1


async def test_who_is_to_go_does_not_wait_for_the_tone() -> None:
    card = Card()
    ear = Earpiece(card)
    ear.play(Cadence(PLANS["eu"]["busy"], seconds=60))
    ear.close()
    ear.hush()
    await asyncio.wait_for(ear.faded(), 30)
    assert card.closed == 1


async def test_only_the_sound_that_is_named_is_hushed() -> None:
    card = Card()
    ear = Earpiece(card)
    first, second = Cadence(RINGING), Cadence(PLANS["eu"]["busy"])
    ear.play(first)
    ear.play(second)
    ear.hush(first)
    ear.write(bytes(320))
    assert rms(card.played[-1])
    ear.hush(second)
    ear.write(bytes(320))
    assert not rms(card.played[-1])
    ear.close()


def _write(path: Path, hz: int, frames: int) -> None:
    pcm = Oscillator(hz).read(160 * frames)
    path.write_bytes(wav_header(len(pcm)) + pcm)


def test_a_file_sounds_over_and_over_and_is_silence_when_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "bell.wav"
    _write(path, 700, 10)
    sound = FileSound(path)
    heard = [sound.read() for _ in range(25)]
    assert dominant_hz(samples_of(b"".join(heard[13:20]))) == pytest.approx(700, abs=2)
    assert not sound.ends and not sound.over
    path.unlink()
    gone = [sound.read() for _ in range(20)]
    assert gone[-1] == bytes(320)
    sound.tune(48000)
    assert sound.read() == bytes(1920)
    sound.close()


def test_a_file_that_is_no_sound_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bell").write_bytes(pcm_of(array("h", range(100))))
    for name in ("bell", "nothing.wav"):
        with pytest.raises(ConfigError) as caught:
            FileSound(tmp_path / name)
        assert caught.value.hint
