"""Tones, levels, Goertzel, concealment, the verdict and the E-model."""

from __future__ import annotations

import random
from array import array
from math import sqrt

import pytest

from sipcli.errors import ConfigError
from sipcli.media.conceal import Concealer
from sipcli.media.quality import AudioMeter, AudioVerdict, mos
from sipcli.media.tone import (
    FLOOR_DBFS,
    SILENCE,
    Oscillator,
    dbfs,
    dominant_hz,
    dtmf_frequencies,
    goertzel,
    pcm_of,
    rms,
    samples_of,
    sum_of_squares,
)


def _noise(count: int, level: int = 8000) -> array[int]:
    source = random.Random(3)
    return array("h", (source.randint(-level, level) for _ in range(count)))


@pytest.mark.parametrize("hz", [50, 200, 440, 1000, 1004, 2600, 3400, 3900])
def test_a_tone_is_what_it_says(hz: int) -> None:
    oscillator = Oscillator(hz)
    pcm = b"".join(oscillator.read() for _ in range(50))
    samples = samples_of(pcm)
    assert len(samples) == 8000
    assert goertzel(samples, hz) > 0.999
    assert goertzel(samples, hz + 60) < 0.001
    assert dominant_hz(samples) == pytest.approx(hz, abs=0.5)
    assert dbfs(rms(pcm)) == pytest.approx(-12, abs=0.01)


def test_frames_join_without_a_click() -> None:
    oscillator, whole = Oscillator(437), Oscillator(437).read(8000)
    pieces = b""
    for size in (160, 1, 7, 500, 3000, 4332):
        pieces += oscillator.read(size)
    assert pieces == whole
    assert len(Oscillator(4000 - 1).read(20_000)) == 40_000


def test_dtmf_pairs_are_those_of_q23() -> None:
    assert [dtmf_frequencies(digit) for digit in "159D*0#"] == [
        (697, 1209), (770, 1336), (852, 1477), (941, 1633), (941, 1209), (941, 1336), (941, 1477)
    ]  # fmt: skip
    samples = samples_of(Oscillator(*dtmf_frequencies("7"), level_dbfs=-14).read(800))
    assert goertzel(samples, 852) == pytest.approx(0.5, abs=0.05)
    assert goertzel(samples, 1209) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("hz", [0, -1, 4000, 96000])
def test_what_does_not_fit_into_8_khz(hz: int) -> None:
    with pytest.raises(ConfigError):
        Oscillator(hz)


def test_noise_and_silence_have_no_tone() -> None:
    assert dominant_hz(_noise(4000)) is None
    assert dominant_hz(array("h", bytes(8000))) is None
    assert dominant_hz(array("h", [1] * 10)) is None
    assert goertzel(array("h"), 440) == 0


def test_a_tone_in_noise_is_found() -> None:
    tone = samples_of(Oscillator(440).read(4000))
    mixed = array("h", (a + b // 4 for a, b in zip(tone, _noise(4000), strict=True)))
    assert dominant_hz(mixed) == pytest.approx(440, abs=1)


def test_levels() -> None:
    assert dbfs(0) == FLOOR_DBFS
    assert dbfs(32768 / sqrt(2)) == pytest.approx(0)
    assert rms(b"") == 0
    assert rms(pcm_of(array("h", [-3, 3, -3, 3]))) == 3
    assert rms(b"\x01\x00\x7f") == 1  # an odd octet at the end is not a sample


# -- concealment --------------------------------------------------------------


def test_a_lost_frame_of_a_tone_is_hardly_heard() -> None:
    oscillator, concealer = Oscillator(400), Concealer()
    for _ in range(10):
        concealer.heard(oscillator.read())
    lost = oscillator.read()
    invented = concealer.lost()
    assert len(invented) == len(lost)
    assert dominant_hz(samples_of(invented)) == pytest.approx(400, abs=25)
    # The first half is the tone itself: 400 Hz has a period of 20 samples, which the search finds a multiple of.
    error = array("h", (a - b for a, b in zip(samples_of(invented)[:80], samples_of(lost)[:80], strict=True)))
    assert rms(pcm_of(error)) < 0.05 * rms(lost)


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("period", [40, 47, 61, 80, 99, 113, 120])
def test_the_period_of_a_voice_is_found_to_a_sample(period: int, rate: int) -> None:
    """A buzz of many harmonics, as the voice is; the quick search must find what a search of all lags would."""
    concealer, scale = Concealer(rate), rate // 8000
    buzz = array("h", (int(12000 * (n % (period * scale)) / (period * scale)) - 6000 for n in range(4 * 160 * scale)))
    for at in range(0, len(buzz), 160 * scale):
        concealer.heard(pcm_of(buzz[at : at + 160 * scale]))
    goes_on = array(
        "h",
        (
            int(12000 * (n % (period * scale)) / (period * scale)) - 6000
            for n in range(4 * 160 * scale, 5 * 160 * scale)
        ),
    )
    half = 80 * scale
    invented = samples_of(concealer.lost())[:half]
    error = array("h", (a - b for a, b in zip(invented, goes_on[:half], strict=True)))
    assert rms(pcm_of(error)) < 0.1 * rms(pcm_of(goes_on))


def test_a_gap_in_silence_is_silence_and_costs_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with too much to do is late with every packet: what a gap costs then is what breaks it."""
    concealer = Concealer()
    for _ in range(4):
        concealer.heard(bytes(320))
    monkeypatch.setattr("sipcli.media.conceal._best_lag", None)
    assert concealer.lost() == bytes(320)


def test_a_long_gap_fades_into_silence() -> None:
    oscillator, concealer = Oscillator(400), Concealer()
    for _ in range(10):
        concealer.heard(oscillator.read())
    levels = [rms(concealer.lost()) for _ in range(6)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > 0.8 * rms(oscillator.read())
    assert levels[3:] == [0, 0, 0]


def test_the_way_back_is_blended() -> None:
    concealer = Concealer()
    loud = pcm_of(array("h", [8000] * 160))
    for _ in range(10):
        concealer.heard(loud)
    concealer.lost()
    quiet = pcm_of(array("h", [0] * 160))
    back = samples_of(concealer.heard(quiet))
    assert back[0] > back[10] > back[31] >= 0
    assert set(back[32:]) == {0}
    assert concealer.heard(quiet) == quiet


def test_before_anything_was_heard_a_loss_is_silence() -> None:
    assert Concealer().lost() == SILENCE


# -- the verdict ----------------------------------------------------------------


def _meter(*parts: bytes) -> AudioMeter:
    meter = AudioMeter()
    for part in parts:
        for n in range(0, len(part), 320):
            meter.feed(part[n : n + 320])
    return meter


def test_nothing_was_heard() -> None:
    assert AudioMeter().verdict() == AudioVerdict()
    assert _meter(SILENCE * 50).verdict() == AudioVerdict(
        rms_dbfs=FLOOR_DBFS, speech_pct=0.0, tone_hz=None, longest_gap_ms=1000, clipped_pct=0.0
    )


def test_a_tone_with_a_hole() -> None:
    tone = Oscillator(440)
    verdict = _meter(SILENCE * 5, tone.read(8000), SILENCE * 25, tone.read(16000), SILENCE * 10).verdict()
    assert verdict.tone_hz == pytest.approx(440, abs=0.5)
    assert verdict.longest_gap_ms == 500
    assert verdict.speech_pct == pytest.approx(100 * 150 / 190, abs=0.1)
    assert verdict.clipped_pct == 0


def test_clipping_is_seen() -> None:
    square = pcm_of(array("h", [32124, -32124] * 80))
    assert _meter(square, SILENCE).verdict().clipped_pct == 50


@pytest.mark.parametrize(
    ("sample", "clipped"), [(31999, 0), (32000, 100), (32767, 100), (-31999, 0), (-32000, 100), (-32768, 100)]
)
def test_one_sample_is_enough_to_be_clipped(sample: int, clipped: int) -> None:
    assert _meter(pcm_of(array("h", [0] * 80 + [sample] + [0] * 79))).verdict().clipped_pct == clipped


def test_a_sum_of_squares_is_exact() -> None:
    for samples in (array("h", [-32768] * 48000), array("h", range(-32768, 32767, 7)), array("h", [1]), array("h")):
        assert sum_of_squares(samples) == sum(sample * sample for sample in samples)


def test_a_look_is_the_loudest_moment_since_the_last_one() -> None:
    meter = AudioMeter()
    assert meter.look() is None
    for level in (-40.0, -20.0, -30.0):
        meter.feed(Oscillator(440, level_dbfs=level).read())
    assert meter.look() == (pytest.approx(-20, abs=0.2), False)
    meter.feed(Oscillator(440, level_dbfs=-35).read())
    meter.feed(pcm_of(array("h", [32767] * 160)))
    loud = meter.look()
    assert loud is not None and loud.clipped
    assert meter.look() == loud  # nothing came meanwhile
    meter.feed(bytes(320))
    assert meter.look() == (FLOOR_DBFS, False)


def test_memory_is_bounded() -> None:
    meter = AudioMeter()
    tone = Oscillator(440)
    for _ in range(5000):
        meter.feed(tone.read())
    assert len(meter._run) == 50
    assert meter.verdict().tone_hz == pytest.approx(440, abs=0.5)


# -- the E-model ------------------------------------------------------------------


def test_the_best_g711_can_do() -> None:
    """ITU-T G.107: R = 93.2 with the default values is MOS 4.41."""
    assert mos(loss_pct=0, delay_ms=0) == 4.41


def test_delay_and_loss_cost() -> None:
    assert mos(loss_pct=0, delay_ms=100) == pytest.approx(4.36, abs=0.02)
    assert mos(loss_pct=0, delay_ms=400) < 3.8
    assert mos(loss_pct=1, delay_ms=50) == pytest.approx(4.3, abs=0.05)
    assert mos(loss_pct=5, delay_ms=50) == pytest.approx(3.9, abs=0.1)
    assert mos(loss_pct=100, delay_ms=1000) == 1.0
    scores = [mos(loss_pct=loss, delay_ms=30) for loss in range(0, 101, 5)]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 1


@pytest.mark.parametrize(("level", "speech"), [(73, 0.0), (74, 100.0)])
def test_speech_is_what_is_louder_than_50_dbfs(level: int, speech: float) -> None:
    """A full-scale sine is 0 dBFS: 10 ** (-50 / 20) of its effective value is 73.3."""
    meter = AudioMeter()
    meter.feed(array("h", [level] * 320).tobytes())
    assert meter.speech_pct == speech
